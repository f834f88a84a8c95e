"""The tour: raw text -> tokenizer -> transformer -> training -> cached generation -> quantized weights -> search
-> an answer with its source, on this machine, every figure measured in this run.

`run_tour` is the composition of the functions in `stages.py`; `report.py` writes what it found as tour.html.
Book: 1장 LLM 지도.
"""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minillm.course.paths import tour_folder
from minillm.course.tour import real_model, stages
from minillm.course.tour.corpus import Corpus, load_corpus
from minillm.course.tour.report import write_report
from minillm.course.tour.settings import TourSettings
from minillm.course.tour.stages import DEFAULT_QUESTION, Stage


def run_tour(
    out: str | Path | None = None,
    data: str | Path | None = None,
    ask: str | None = None,
    settings: TourSettings | None = None,
    say: Callable[[str], None] = print,
    progress: bool = True,
    corpus: Corpus | None = None,
) -> dict[str, Any]:
    """Run every stage in order and leave model/, index/ and tour.html in `out` (default: tour/).

    data: the user's own text files instead of Python's reference; ask: the question to answer at the end; corpus: what
    `load_corpus(settings, data)` gave, where it was called before.
    Returns a dict: "stages" (name, seconds, figures, ... of each), "answer", "real_answer" (None where no real
    model was asked), "seconds", "peak_memory_bytes" (None where the system does not tell), "folder", "report". Same
    settings, same machine: the same figures, times aside.
    Raises ValueError for too little text or settings out of range.
    """
    start = time.perf_counter()
    settings = settings or TourSettings()
    out = Path(out) if out is not None else tour_folder()
    model_folder, index_folder = out / "model", out / "index"
    done: list[Stage] = []

    def keep(stage: Stage) -> Any:
        done.append(stage)
        say(f"{stage.seconds:6.1f} s  {stage.name:<15} {stage.figure}: {shortened(stage.meaning)}")
        return stage.value

    threads = stages.use_threads(settings)
    corpus = corpus or load_corpus(settings, data)
    say(f"{corpus.name}: {len(corpus.documents)} documents; {threads} thread(s); results go to {out}/")

    tokenizer = keep(stages.train_tokenizer(corpus, settings))
    model, history = keep(stages.train_model(corpus, tokenizer, settings, model_folder, progress))
    prompt = "The with statement" if data is None else " ".join(corpus.training_text.split()[:3])
    text = stages.sample(model, tokenizer, prompt, settings)
    say(textwrap.indent(textwrap.shorten(text, 400, placeholder=" ..."), " " * 10))
    curves = keep(stages.compare_cache(model, tokenizer, prompt, settings))
    sizes = keep(stages.compare_quantization(model, tokenizer, corpus, settings))
    index = keep(stages.build_index(corpus, settings, index_folder, progress))
    quality = keep(stages.compare_search(index, corpus.questions)) if corpus.questions else None
    if quality:
        say(quality_table(quality))
    question = ask or (DEFAULT_QUESTION if data is None else corpus.documents[0].title)
    answered = stages.answer_question(index, question)
    passage = keep(answered)
    told = real_model.ask(question, passage, settings.answer_tokens, lambda why: say(f"{'':10}{why}"))
    if told:
        keep(told)

    seconds = time.perf_counter() - start
    result = {
        "settings": vars(settings) | {"threads": threads},
        "corpus": {
            "name": corpus.name, "documents": len(corpus.documents),
            "training_characters": len(corpus.training_text), "held_out_characters": len(corpus.held_out_text),
        },
        "folder": str(out), "report": str(out / "tour.html"), "prompt": prompt, "sample": text,
        "stages": [stage.as_dict() for stage in done], "question": question, "answer": answered.figures,
        "real_answer": told.figures if told else None,
        "seconds": seconds, "peak_memory_bytes": peak_memory_bytes(),
    }  # fmt: skip
    write_report(out / "tour.html", result, history, curves, sizes, quality)
    closing = answered.meaning + (f"\n\n{real_model.words(told)}" if told else "")
    for line in summary(result, done, closing):
        say(line)
    return result


def summary(result: dict[str, Any], done: list[Stage], answer: str) -> list[str]:
    """The closing lines: a table of the stages, each with what its figure means, then the answer and the totals."""
    rows = [("stage", "seconds", "figure", "lesson", "file")]
    rows += [(stage.name, f"{stage.seconds:.1f}", stage.figure, stage.lesson, stage.file) for stage in done]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    table = [lines[0], "  ".join("-" * width for width in widths)]
    for stage, line in zip(done, lines[1:]):
        table += [line, f"    {shortened(stage.meaning)}"]
    memory = result["peak_memory_bytes"]
    peak = f", {memory / 1e9:.1f} GB of memory at most" if memory else ""
    totals = f"{result['seconds']:.0f} s in all{peak}. Plots and figures: {result['report']}"
    return ["", *table, "", result["question"], f"-> {answer}", "", totals]


def shortened(meaning: str) -> str:
    """What a figure means, as one line of a table."""
    return textwrap.shorten(meaning.splitlines()[0], 200, placeholder=" ...")


def quality_table(quality: dict[str, dict[str, float]]) -> str:
    """hit@1, hit@5 and MRR of each method, as an indented table."""
    names = list(next(iter(quality.values())))
    rows = [["", *names]] + [
        [method, *(f"{row[name]:.3f}" for name in names)] for method, row in quality.items()
    ]
    return "\n".join(
        " " * 10 + f"{row[0]:<10}" + "  ".join(f"{cell:<5}" for cell in row[1:]).rstrip() for row in rows
    )


def peak_memory_bytes() -> int | None:
    """The most memory this process has held, in bytes; None on Windows, whose Python does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
