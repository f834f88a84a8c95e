"""The command line: `minillm tour` and its friends. What each command does is in `minillm/commands/`.

Errors a user can mend are one line on standard error and exit code 1; a wrong command line is exit code 2;
Ctrl-C is exit code 130, and leaves whole files only. `--json` prints one JSON value on standard output.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minillm import __version__
from minillm.commands import classroom, machine, models, search

# Threads that spin for long while they wait fight with whatever else the machine runs: beside one busy program a
# training step took about 190 ms, and about 130 with short spins; alone, 50 to 60 either way. GNU OpenMP reads this
# when torch is loaded, which the commands do later.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code."""
    options = build_parser().parse_args(arguments)
    try:
        options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # `minillm search ... | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("minillm: stopped; every file that was written is whole", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"minillm: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


class _Commands:
    """Adds commands and their options to a parser, one line each."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(self, name: str, run: Callable[[argparse.Namespace], None] | None, summary: str) -> _Options:
        parser = self.verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        parser.set_defaults(command=run)
        return _Options(parser)


class _Options:
    """The options of one command; those that several commands share are named once, here."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser

    def take(self, name: str, text: str, **how: Any) -> _Options:
        if how.get("default") is not None:
            text = f"{text} (default {how['default']})"
        self.parser.add_argument(*name.split(), help=text, **how)
        return self

    def data(self) -> _Options:
        text = "your own text: a .txt or .md file, or a folder of them (default: Python's language reference)"
        return self.take("--data", text, type=Path, metavar="PATH")

    def run(self) -> _Options:
        self.take("--seed", "the same seed on the same machine gives the same figures", type=int, default=0)
        return self.take("--threads", "CPU threads (default: two, or one on a one-core machine)", type=int)

    def json(self) -> _Options:
        return self.take("--json", "print one JSON value instead of text", action="store_true")


def build_parser() -> argparse.ArgumentParser:
    """Every command with its options and help."""
    parser = argparse.ArgumentParser(
        prog="minillm",
        description="Every system of a modern LLM stack, built by hand. Start with `minillm tour`.",
        epilog="`minillm COMMAND --help` explains one command.",
    )
    parser.add_argument("--version", action="version", version=f"minillm {__version__}")
    top = _Commands(parser)

    one = top.add("tour", machine.tour, "the whole stack here, from raw text to an answer with its source")
    one.take("--ask", "the question to answer at the end", metavar="QUESTION")
    one.take("--quick", "a smaller model, under 45 seconds", action="store_true")
    one.take("--out", "where model/, index/ and tour.html go (default: tour/)", type=Path, metavar="DIR")
    one.data().run().json()

    one = top.add("study", classroom.study, "open the lessons in JupyterLab")
    one.take("--no-browser", "print the address instead of opening a browser", action="store_true")

    one = top.add("train", models.train, "train a tokenizer and a small model on text")
    one.take("--out", "the model folder to write", type=Path, required=True, metavar="DIR")
    one.take("--vocab-size", "tokens in the vocabulary", type=int, default=2048)
    one.take("--layers", "transformer blocks", type=int, default=4)
    one.take("--width", "model width, a multiple of 64", type=int, default=192)
    one.take("--steps", "optimizer steps", type=int, default=1600)
    one.take("--batch-size", "sequences a step", type=int, default=4)
    one.take("--context", "tokens a sequence", type=int, default=128)
    one.take("--learning-rate", "peak of the cosine schedule", type=float, default=2e-3)
    one.data().run().json()

    one = top.add("generate", models.generate, "continue a prompt with a trained model")
    one.take("prompt", "the text to continue")
    one.take("--model", "a model folder or a llama2.c .bin (default: the tour's)", type=Path, metavar="PATH")
    one.take(
        "--tokenizer", "a tokenizer file or folder (default: beside the model)", type=Path, metavar="PATH"
    )
    one.take("--max-tokens", "new tokens at most", type=int, default=100)
    own = "default: the checkpoint's generation_config.json"
    one.take("--temperature", f"0 takes the likeliest token each time ({own}, else 0.8)", type=float)
    one.take("--top-k", f"sample among the k likeliest, 0 for all ({own}, else 0)", type=int)
    one.take("--top-p", f"sample among the likeliest that sum to p ({own}, else 1)", type=float)
    one.take(
        "--min-p", f"drop tokens under this share of the likeliest's probability ({own}, else 0)", type=float
    )
    one.take("--repetition-penalty", f"over 1 discourages repeats ({own}, else 1)", type=float)
    one.take("--seed", "seed of the sampling", type=int, default=0).json()

    one = top.add("index", search.index, "index text for keyword, dense and hybrid search")
    one.take("--out", "the index folder to write", type=Path, required=True, metavar="DIR")
    one.data().run().json()

    listed = top.add("search", search.search, "rank the passages of an index for a query")
    listed.take("query", "what to look for, in plain words")
    listed.take("-k", "passages to list", type=int, default=5)
    ask = top.add("ask", search.ask, "answer a question with the best passage, quoted and named")
    ask.take("question", "the question, in plain words")
    ask.take("-k", "passages to show, the first in full", type=int, default=1)
    ask.parser.epilog = search.declining_in_words()
    for one in (listed, ask):
        one.take("--index", "an index folder (default: the tour's)", type=Path, metavar="DIR")
        one.take(
            "--mode --method", "the ranking; auto: what `index` found best on this text",
            choices=["auto", "bm25", "dense", "hybrid", "weighted"], default="auto", dest="method",
        ).json()  # fmt: skip

    one = top.add("bench", machine.bench, "measure against the real libraries on this machine")
    one.take("names", "benchmarks to run (default: all)", nargs="*", metavar="NAME")
    one.take("--list", "list the benchmarks", action="store_true")
    one.take("--quick", "fewer rounds and smaller inputs", action="store_true")
    one.take("--write", "record the results in BENCHMARKS.md", action="store_true").json()

    group = top.add("assignment", None, "hand a lesson out to a class, and grade what comes back")
    verbs = _Commands(group.parser)
    one = verbs.add("make", classroom.assignment_make, "write the student version of a lesson")
    one.take("lesson", "the lesson's number, for example 02_1")
    one.take("--out", "the course folder to write", type=Path, required=True, metavar="DIR").json()
    one = verbs.add("grade", classroom.assignment_grade, "grade the notebooks students handed in")
    one.take("folder", "the course folder that `assignment make` wrote", type=Path, metavar="DIR").json()

    top.add("doctor", machine.doctor, "what this machine has, and what to do about what is missing").json()
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
