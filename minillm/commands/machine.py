"""`minillm tour`, `bench` and `doctor`: what this machine can do."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace

from minillm.commands._show import print_json


def tour(options: Namespace) -> None:
    """Every stage in order, then the table. A wrong path is said before torch is imported."""
    from minillm.course.paths import check_out, tour_folder
    from minillm.course.tour.corpus import load_corpus
    from minillm.course.tour.settings import TourSettings

    settings = TourSettings(seed=options.seed, threads=options.threads)
    settings = settings.quick() if options.quick else settings
    out = check_out(options.out or tour_folder(), "model", "index")
    if (out / "tour.html").is_dir():
        raise ValueError(f"cannot write {out / 'tour.html'}: it is a folder")
    corpus = load_corpus(settings, options.data)

    from minillm.course.tour.run import run_tour

    result = run_tour(
        out=out,
        data=options.data,
        ask=options.ask,
        settings=settings,
        say=(lambda _: None) if options.json else print,
        progress=not options.json,
        corpus=corpus,
    )
    if options.json:
        print_json(result)


def bench(options: Namespace) -> None:
    """Run the harness in the checkout; its exit code is ours."""
    from minillm.course.paths import checkout

    flags = [f"--{name}" for name in ("list", "quick", "write", "json") if getattr(options, name)]
    command = [sys.executable, "-m", "tests.benchmarks.run", *options.names, *flags]
    # through us, so that a reader who has seen enough is noticed here
    with subprocess.Popen(
        command, cwd=checkout(), stdout=subprocess.PIPE, text=True, errors="replace"
    ) as child:
        try:
            for line in child.stdout:
                print(line, end="", flush=True)
        except BaseException:
            child.terminate()
            raise
    raise SystemExit(child.returncode)


def doctor(options: Namespace) -> None:
    """One line a fact, with advice under what is missing; of a model that is named, whether it is whole."""
    if options.model is None:
        from minillm.course.tour.doctor import report

        rows = report()
    else:
        from minillm.commands._find import find_model

        path = find_model(options.model)
        from minillm.course.tour.doctor import model_row

        rows = [model_row(path)]
    if options.json:
        print_json(rows)
        return
    width = max(len(row["what"]) for row in rows)
    for row in rows:
        print(
            f"{row['what']:<{width}}  {row['found']}"
            + (f"\n{'':<{width}}  -> {row['advice']}" if row.get("advice") else "")
        )
