"""`minillm index`, `search` and `ask`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minillm.commands._answering import check_generate, generate_answer
from minillm.commands._pictures import KEPT, holds_pictures, index_pictures, search_pictures
from minillm.commands._show import print_json
from minillm.commands._store import check_store, in_words, keep_passages, search_store


def index(options: Namespace) -> None:
    """An index of the user's files, or the one that is there brought up to date."""
    if options.images is not None:
        index_pictures(options)
        return
    if options.model is not None:
        raise ValueError("--model needs --images PATH: it reads pictures")
    if holds_pictures(options.out):
        raise ValueError(f"--out must be another folder: {options.out} holds pictures ({KEPT})")
    from minillm.course.paths import check_out
    from minillm.course.tour.corpus import cut_passages
    from minillm.course.tour.settings import TourSettings

    settings = TourSettings(seed=options.seed, threads=options.threads)
    check_out(options.out, "lexical", "dense")
    name = options.encoder or ""
    if name:
        check_encoder(name)
    if options.store is not None:
        check_store(options)
    documents, files, reading = read_sources(sources(options), options.out)
    passages = cut_passages(documents)  # too few are said before torch is imported
    quiet = options.json or not sys.stderr.isatty()
    for why in reading.refused.values():
        print(f"minillm: left out: {why}", file=sys.stderr)

    from minillm.course.tour.stages import describe_index, train_on_one_thread, use_threads
    from minillm.search import open_encoder
    from minillm.search.index_store import update_index

    if name:
        use_threads(settings)
        encoder, training = open_encoder(name), {}
    else:
        train_on_one_thread()
        encoder, training = None, {"steps": settings.dense_steps}
    bars = Bars(quiet)
    try:
        done = update_index(
            options.out, passages, files, encoder, name, settings.seed, bars.start, **training
        )
    finally:
        bars.close()
    if options.store is not None:
        stored = keep_passages(done.index, options.out, options)
    figure, meaning, figures = describe_index(done.index, len(documents))
    timed = done.index.building_seconds > 0  # nothing had changed: nothing was built
    seconds = {
        "building_seconds": done.index.building_seconds,
        "grading_seconds": done.index.grading_seconds,
    }
    counts = {
        what: getattr(done, what) for what in ("added", "changed", "removed", "same", "kept", "encoded")
    }
    if options.json:
        left = {"refused": reading.refused, "others": dict(sorted(reading.others.items()))}
        if options.store is not None:
            left["store"] = stored
        print_json({"folder": str(options.out), **figures, **seconds, **counts, **left})
        return
    print(f"{options.out}: {figure} {meaning}")
    print(files_in_words(counts, reading))
    if options.store is not None:
        print(in_words(options.store, stored))
    if figures["choice"]["queries"] and timed and done.index.grading_seconds:
        print(grading_table(figures["choice"], **seconds))


def updating_in_words() -> str:
    """What a second run does: for the help of `index`."""
    return (
        "Run it again after files have changed, or after Ctrl-C: with --encoder, what did not change keeps its "
        "vectors. A file that cannot be read is named, and the others are indexed."
    )


def sources(options: Namespace) -> list[Path]:
    """The paths that the user named, --data as one more; none for Python's reference."""
    return [*options.paths, *([] if options.data is None else [options.data])]


def read_sources(paths: list[Path], out: Path) -> tuple[list[Any], dict[str, list], Any]:
    """(documents, name -> [bytes, sha256] of each file, what was refused); without paths Python's own reference."""
    import hashlib

    from minillm.data import python_docs
    from minillm.data.text_files import Reading, read_files

    if paths:
        reading = read_files(paths, leave_out=out)
        return reading.documents, {file.name: [file.size, file.sha256] for file in reading.files}, reading
    documents = python_docs()
    texts = {document.id: document.text.encode() for document in documents}
    files = {name: [len(text), hashlib.sha256(text).hexdigest()] for name, text in texts.items()}
    return documents, files, Reading()


def check_encoder(name: str) -> None:
    """ValueError for an encoder that is not here, before any file is read."""
    from minillm.data.hub import find, is_name
    from minillm.data.real_models import REAL_MODELS

    if name in REAL_MODELS or not is_name(name):
        path = find(name, "model")  # a real model that was not fetched is said here
        if not path.exists():
            raise ValueError(f"--encoder must be e5, minilm, a folder or owner/name of the hub, got {name!r}")


def files_in_words(counts: dict[str, int], reading: Any) -> str:
    """What became of the files, in one or two lines."""
    names = {"added": "new", "changed": "changed", "removed": "gone", "same": "as before"}
    files = ", ".join(f"{counts[key]:,} {word}" for key, word in names.items() if counts[key])
    line = f"files: {files}; vectors: {counts['kept']:,} kept, {counts['encoded']:,} made"
    if reading.refused:
        line += f"\nleft out: {len(reading.refused):,} that could not be read (named above)"
    if reading.others:
        most = sorted(reading.others.items(), key=lambda one: (-one[1], one[0]))[:5]
        listed = ", ".join(f"{count:,} {suffix or 'without an ending'}" for suffix, count in most)
        more = ", ..." if len(reading.others) > 5 else ""
        line += f"\nof other kinds, passed over: {reading.others.total():,} ({listed}{more})"
    return line


class Bars:
    """Progress bars on standard error, one after the other; none with `quiet`."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.bar = quiet, None

    def start(self, what: str, total: int | None) -> Callable[[int], None]:
        """A new bar; what it gives is called with each number that is done."""
        from tqdm import tqdm

        self.close()
        self.bar = tqdm(total=total, desc=what, disable=self.quiet)
        return self.bar.update

    def close(self) -> None:
        """End the bar that runs."""
        if self.bar is not None:
            self.bar.close()


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
    """The best passages, each with the part that matched; of a folder of pictures the nearest ones."""
    named = index_named(options)
    if options.picture is not None or holds_pictures(named):
        search_pictures(options, named)
        return
    folder = find_index(named)
    if options.store is None and (options.filter is not None or options.namespace):
        raise ValueError("--filter and --namespace need --store PATH")
    opened = open_index(folder)

    from minillm.course.tour.stages import NOTHING, result

    if options.store is None:
        found = opened.search(options.query, options.k, options.method)
    else:
        found = search_store(opened, folder, options)
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
    """The best passage, quoted and named; with -k the next ones too. With --generate an answer in a model's words."""
    check_generate(options)
    opened = open_index(find_index(index_named(options)))
    from minillm.course.tour.stages import answer_question

    answer = answer_question(opened, options.question, options.method, options.k or 1)
    if options.generate:
        generate_answer(opened, options, answer)
        return
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


def index_named(options: Namespace) -> Path | None:
    """The index folder in front of the question, or of --index; ValueError for both."""
    if options.named is not None and options.index is not None:
        raise ValueError(f"name the index once: {options.named} and --index {options.index} came")
    return options.index if options.named is None else options.named


def find_index(given: Path | None) -> Path:
    """The folder of the passage index the user named, or of the one `minillm tour` left behind."""
    from minillm.course.paths import find_part

    return find_part(given, "index")


def open_index(folder: Path) -> Any:
    """The passage index in a folder."""
    from minillm.search import PassageIndex

    return PassageIndex.load(folder)
