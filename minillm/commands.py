"""What each command of the command line does: take the options, call the library, print what came back.

Imports sit inside the functions, so that `minillm --help` answers at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any


def print_json(value: Any) -> None:
    """One JSON value, Korean text as it is."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


# --- the tour ---


def tour(options: Namespace) -> None:
    """Every stage in order, then the table."""
    from minillm.course.tour.run import run_tour
    from minillm.course.tour.stages import TourSettings

    settings = TourSettings(seed=options.seed, threads=options.threads)
    result = run_tour(
        out=options.out,
        data=options.data,
        ask=options.ask,
        settings=settings.quick() if options.quick else settings,
        say=(lambda _: None) if options.json else print,
        progress=not options.json,
    )
    if options.json:
        print_json(result)


def study(options: Namespace) -> None:
    """Run JupyterLab on the lessons until it is closed."""
    from minillm.course.paths import checkout

    notebooks = checkout() / "notebooks"
    try:
        import jupyterlab  # noqa: F401
    except ImportError:
        raise ImportError("JupyterLab is not installed: pip install -e '.[lab]', or `make study`") from None
    command = [sys.executable, "-m", "jupyterlab", str(notebooks)]
    if options.no_browser:
        command.append("--no-browser")
    raise SystemExit(subprocess.run(command).returncode)


# --- models ---


def train(options: Namespace) -> None:
    """Two stages of the tour, with sizes of the user's choice."""
    from minillm.course.tour.stages import TourSettings, load_corpus, train_model, train_tokenizer

    settings = TourSettings(
        vocab_size=options.vocab_size, layers=options.layers, width=options.width, steps=options.steps,
        batch_size=options.batch_size, context=options.context, learning_rate=options.learning_rate,
        seed=options.seed, threads=options.threads,
    )  # fmt: skip
    corpus = load_corpus(settings, options.data)
    tokenizer = train_tokenizer(corpus, settings)
    trained = train_model(corpus, tokenizer.value, settings, options.out, progress=not options.json)
    summary = {"folder": str(options.out), **tokenizer.figures, **trained.figures}
    if options.json:
        print_json(summary)
    else:
        print(f"{options.out}: {trained.figure}; {trained.meaning}")


def generate(options: Namespace) -> None:
    """Print the continuation as it is drawn, or one JSON value at its end."""
    from minillm.inference import SamplingParams, stream
    from minillm.models import load_model
    from minillm.tokenizer import load_tokenizer

    folder = model_folder(options.model)
    model = load_model(folder)
    tokenizer = load_tokenizer(options.tokenizer or folder)
    prompt = tokenizer.encode(options.prompt) or [tokenizer.encode("\n")[0]]
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    given |= {"max_tokens": options.max_tokens, "seed": options.seed, "n": 1}
    if model.generation_config:  # the settings that the model's makers found to work
        params = SamplingParams.from_folder(folder, **given)
    else:
        params = SamplingParams(**{"temperature": 0.8} | given)
    new: list[int] = []
    shown = options.prompt
    if not options.json:
        print(shown, end="", flush=True)
    for token in stream(model, prompt, params, tokenizer=tokenizer):
        new.append(token)
        text = tokenizer.decode(prompt + new)
        # a character may be split over two tokens: print only what later tokens cannot change
        if not options.json and not text.endswith("\ufffd") and text.startswith(shown):
            print(text[len(shown) :], end="", flush=True)
            shown = text
    if options.json:
        print_json({"prompt": options.prompt, "token_ids": new, "text": tokenizer.decode(prompt + new)})
    else:
        print()


def model_folder(given: Path | None) -> Path:
    """The model the user named, or the one `minillm tour` left behind."""
    from minillm.course.paths import tour_folder

    folder = given or tour_folder() / "model"
    if not folder.exists():
        hint = (
            "run `minillm tour` first, or name a folder with --model"
            if given is None
            else "no such file or folder"
        )
        raise ValueError(f"no model at {folder}: {hint}")
    return folder


# --- search ---


def index(options: Namespace) -> None:
    """One stage of the tour, on the user's text."""
    from minillm.course.tour.stages import TourSettings, build_index, load_corpus

    settings = TourSettings(seed=options.seed, threads=options.threads)
    built = build_index(load_corpus(settings, options.data), settings, options.out)
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
    from minillm.course.tour.stages import answer_question

    answer = answer_question(open_index(options.index), options.question, options.method)
    if options.json:
        print_json(answer.figures)
    else:
        print(answer.meaning)


def open_index(given: Path | None) -> Any:
    """The passage index the user named, or the one `minillm tour` left behind."""
    from minillm.course.paths import tour_folder
    from minillm.search import PassageIndex

    folder = given or tour_folder() / "index"
    if not folder.exists():
        hint = (
            "run `minillm tour` first, or name a folder with --index" if given is None else "no such folder"
        )
        raise ValueError(f"no index at {folder}: {hint}")
    return PassageIndex.load(folder)


# --- measuring, grading, the machine ---


def bench(options: Namespace) -> None:
    """Run the harness in the checkout; its exit code is ours."""
    from minillm.course.paths import checkout

    flags = [f"--{name}" for name in ("list", "quick", "write", "json") if getattr(options, name)]
    command = [sys.executable, "-m", "tests.benchmarks.run", *options.names, *flags]
    raise SystemExit(subprocess.run(command, cwd=checkout()).returncode)


def assignment_make(options: Namespace) -> None:
    """Write the student version of a lesson."""
    from minillm.course.classroom.assignments import make_assignment

    made = make_assignment(options.lesson, options.out)
    print_json(made) if options.json else print(made["message"])


def assignment_grade(options: Namespace) -> None:
    """Grade what is in submitted/."""
    from minillm.course.classroom.assignments import grade_assignment

    graded = grade_assignment(options.folder)
    print_json(graded) if options.json else print(graded["message"])


def doctor(options: Namespace) -> None:
    """One line a fact, with advice under what is missing."""
    from minillm.course.tour.doctor import report

    rows = report()
    if options.json:
        print_json(rows)
        return
    width = max(len(row["what"]) for row in rows)
    for row in rows:
        print(
            f"{row['what']:<{width}}  {row['found']}"
            + (f"\n{'':<{width}}  -> {row['advice']}" if row.get("advice") else "")
        )
