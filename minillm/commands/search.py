"""`minillm index`, `search` and `ask`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from minillm.commands._show import print_json


def index(options: Namespace) -> None:
    """One stage of the tour, on the user's text."""
    from minillm.course.paths import check_out
    from minillm.course.tour.corpus import cut_passages, load_documents
    from minillm.course.tour.settings import TourSettings

    settings = TourSettings(seed=options.seed, threads=options.threads)
    check_out(options.out, "lexical", "dense")
    documents = load_documents(options.data)
    cut_passages(documents)  # too few are said before torch is imported

    from minillm.course.tour.stages import index_documents

    built = index_documents(documents, settings, options.out, progress=not options.json)
    seconds = {
        "building_seconds": built.value.building_seconds,
        "grading_seconds": built.value.grading_seconds,
    }
    if options.json:
        print_json({"folder": str(options.out), **built.figures, **seconds})
        return
    print(f"{options.out}: {built.figure} {built.meaning}")
    if built.figures["choice"]["queries"]:
        print(grading_table(built.figures["choice"], **seconds))


def grading_table(choice: dict[str, Any], building_seconds: float, grading_seconds: float) -> str:
    """How the index graded itself, the chosen method marked, what the columns mean and what the grading cost."""
    head = f"{'':<12}{'hit@1':>7}{'hit@5':>7}{'MRR':>7}   queries better / worse than {choice['method']}"
    lines = [head]
    for row in choice["table"]:
        chosen = row["method"] == choice["method"]
        versus = "chosen" if chosen else f"{row['better']} / {row['worse']}"
        figure = "".join(f"{row[name]:>7.3f}" for name in ("hit@1", "hit@5", "MRR"))
        lines.append(f"{row['method']:<12}{figure}   {versus}")
    return "\n".join(
        [
            *lines,
            f"{choice['queries']} queries: sentences and titles that were taken out of the text. hit@1, hit@5: the",
            "share whose passage came first, or among the first five; MRR: the mean of 1 / its place. "
            f"{grading_seconds:.1f} of {building_seconds:.1f} s were grading.",
        ]
    )


def search(options: Namespace) -> None:
    """The best passages, each with the part that matched."""
    opened = open_index(options.index)

    from minillm.course.tour.stages import NOTHING, result

    found = opened.search(options.query, options.k, options.method)
    rows = [
        {"rank": rank, **result(opened, options.query, passage, score)}
        for rank, (passage, score) in enumerate(found, 1)
    ]
    if options.json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['rank']:>2}  {row['score']:<8g} {row['id']}  {row['title']}\n    {matched(row)}")
    if not rows:
        print(NOTHING)


def ask(options: Namespace) -> None:
    """The best passage, quoted and named; with -k the next ones too."""
    opened = open_index(options.index)
    from minillm.course.tour.stages import answer_question

    answer = answer_question(opened, options.question, options.method, options.k)
    figures = answer.figures
    if options.json:
        print_json(figures)
        return
    print(answer.meaning)
    if figures["declined"] and "snippet" in figures:
        print(f"    {matched(figures)}")
    for row in figures.get("others", []):
        print(f"\n{row['title']} [{row['id']}]\n    {matched(row)}")


def declining_in_words() -> str:
    """When `ask` says that nothing matches well, and how often it is right about that: for its help."""
    from minillm.data import DECLINING

    return (
        f"ask says that nothing matches well when the best passage holds less than {DECLINING.least_share:g} of the "
        "question's words, rare words counting more. Measured on questions about Python's language reference that "
        f"the figure was not taken from: {DECLINING.declined} of {DECLINING.unanswerable} without an answer were "
        f"declined, and {DECLINING.wrongly} of {DECLINING.answerable} with one."
    )


def matched(row: dict[str, Any]) -> str:
    """The snippet of a result as one line, its matches bold on a terminal (unless NO_COLOR is set)."""
    from minillm.search.snippets import BOLD, PLAIN, Snippet

    part = row["snippet"]
    snippet = Snippet(row["text"], part["start"], part["end"], tuple(map(tuple, part["matches"])))
    bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return snippet.line(BOLD, PLAIN) if bold else snippet.line()


def open_index(given: Path | None) -> Any:
    """The passage index the user named, or the one `minillm tour` left behind."""
    from minillm.course.paths import find_part

    folder = find_part(given, "index")

    from minillm.search import PassageIndex

    return PassageIndex.load(folder)
