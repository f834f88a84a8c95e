"""`minillm index`, `search` and `ask`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from minillm.commands._show import print_json


def index(options: Namespace) -> None:
    """One stage of the tour, on the user's text."""
    from minillm.course.paths import check_out
    from minillm.course.tour.corpus import load_corpus
    from minillm.course.tour.settings import TourSettings

    settings = TourSettings(seed=options.seed, threads=options.threads)
    check_out(options.out, "lexical", "dense")
    corpus = load_corpus(settings, options.data)

    from minillm.course.tour.stages import build_index

    built = build_index(corpus, settings, options.out, progress=not options.json)
    if options.json:
        print_json({"folder": str(options.out), **built.figures})
    else:
        print(f"{options.out}: {built.figure}")


def search(options: Namespace) -> None:
    """The best passages, one line each."""
    found = open_index(options.index).search(options.query, options.k, options.method)
    rows = [
        {
            "rank": rank,
            "id": passage.id,
            "title": passage.title,
            "score": round(float(score), 4),
            "text": passage.text,
        }
        for rank, (passage, score) in enumerate(found, 1)
    ]
    if options.json:
        print_json(rows)
        return
    for row in rows:
        first = " ".join(row["text"].split())
        print(f"{row['rank']:>2}  {row['score']:<8g} {row['id']}  {row['title']}\n    {first[:100]}")
    if not rows:
        print("nothing in the index matches")


def ask(options: Namespace) -> None:
    """The best passage, quoted and named."""
    index = open_index(options.index)

    from minillm.course.tour.stages import answer_question

    answer = answer_question(index, options.question, options.method)
    if options.json:
        print_json(answer.figures)
    else:
        print(answer.meaning)


def open_index(given: Path | None) -> Any:
    """The passage index the user named, or the one `minillm tour` left behind."""
    from minillm.course.paths import find_part

    folder = find_part(given, "index")

    from minillm.search import PassageIndex

    return PassageIndex.load(folder)
