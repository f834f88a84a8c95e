"""The command line: python -m minillm.course.small [--rebuild] [--all]."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

from minillm.course.small.program_models import program_model, reward_model, sft_model
from minillm.course.small.recipe import small_model, small_model_folder
from minillm.course.small.sql_models import sql_model


def report(facts: dict[str, Any]) -> list[str]:
    """The facts in lines for a terminal."""
    lines = [
        f"{facts['parameters']:,} weights, {facts['tokens_read']:,} tokens read in {facts['seconds']:.0f} s "
        f"(Python {facts['python']}, torch {facts['torch']})",
        f"{'bits per byte':16}{'model':>8}" + "".join(f"{name:>8}" for name in ("zlib", "bz2", "lzma")),
    ]
    for language, row in facts["compressors"].items():
        lines.append(
            f"  {language:14}{facts['bits_per_byte'][language]:8.3f}"
            + "".join(f"{x:8.3f}" for x in row.values())
        )
    lines += [f"{language}: {corpus['proof']}" for language, corpus in facts["corpus"].items()]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 when the models are there."""
    parser = argparse.ArgumentParser(
        prog="python -m minillm.course.small",
        description="The small model of the course, made once and kept.",
    )
    parser.add_argument("--rebuild", action="store_true", help="make it again")
    parser.add_argument("--all", action="store_true", help="and those of chapters 4 and 6")
    options = parser.parse_args(arguments)
    try:
        facts = small_model(options.rebuild, progress=True).facts
        shorter = partial(sft_model, steps=150)  # what lessons 05_4 and 05_5 compare adapters with
        for make in (program_model, sft_model, shorter, reward_model, sql_model) if options.all else ():
            make(options.rebuild, progress=True)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for line in [*report(facts), f"kept in {small_model_folder()}"]:
        print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
