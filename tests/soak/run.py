"""The long runs, one after the other, with one table of what came of them.

    python -m tests.soak.run [--only PART ...] [--list] [--write]          (`make soak`; hours)

    long ROOM  every test of a room at full length (MINILLM_SOAK_SHARE=1), the ones marked `soak` too; "long": all rooms
    kernels    the kernels' tests under the oldest Triton we support, in build/oldest (`make soak` puts it there)
    compile    every kernel compiled by that Triton for every GPU
    portable   the suite on every code path and every Python (tests/portable.py)

--write puts each part's row into BENCHMARKS.md as it ends, in the place of what the part had: the parts together take
hours, and may be run on several days. A row says when it ran and of which commit.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests import portable
from tests.benchmarks import record

ROOT = record.PAGE.parent
OLDEST = ROOT / "build" / "oldest"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile"]
PATIENT = ["-o", "timeout=3600", "-o", "faulthandler_timeout=4000"]  # pyproject's limits are for short tests
HEAD = ["part", "command", "result", "minutes", "day", "tree"]
PARTS: dict[str, tuple[list[str], dict[str, str]]] = {
    f"long {Path(room).name}": ([*PYTEST, *PATIENT, "-m", "", room], {"MINILLM_SOAK_SHARE": "1"})
    for room in portable.default_rooms("native")
} | {
    "kernels": ([*PYTEST, "tests/kernels"], {"PYTHONPATH": str(OLDEST)}),
    "compile": ([sys.executable, "-m", "kernels.measure.compile_ahead"], {"PYTHONPATH": str(OLDEST)}),
    "portable": (["make", "portable", "ARGS="], {}),  # ours would reach it through make's environment
}


def parts_of(names: Sequence[str]) -> list[str]:
    """The parts that are asked for, in their order; "long" stands for all that begin so. ValueError if unknown."""
    if unknown := set(names) - set(PARTS) - {"long"}:
        raise ValueError(f"no part {sorted(unknown)}; there are: long, {', '.join(PARTS)}")
    return [name for name in PARTS if name in names or ("long" in names and name.startswith("long "))]


def run_part(name: str) -> list[str]:
    """The cells of the part's row: its name, its command, what came of it, minutes, day, commit."""
    command, variables = PARTS[name]
    shown = " ".join([*(f"{key}={value}" for key, value in variables.items()), shlex.join(command)])
    tree, start = portable.commit(), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=os.environ | variables)
    minutes = (time.perf_counter() - start) / 60
    came = "green" if done.returncode == 0 else f"failed (exit status {done.returncode})"
    shown = shown.replace(sys.executable, "python").replace(str(ROOT) + os.sep, "")
    return [name, f"`{shown}`", came, f"{minutes:.1f}", datetime.date.today().isoformat(), tree]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="PART", help='only these; "long" is every room')
    parser.add_argument("--list", action="store_true", help="print the parts there are")
    parser.add_argument("--write", action="store_true", help="record each part in BENCHMARKS.md")
    options = parser.parse_args()
    if options.list:
        print("\n".join(PARTS))
        return 0
    try:
        parts = parts_of(options.only or list(PARTS))
    except ValueError as error:
        parser.error(str(error))
    if {"kernels", "compile"} & {*parts} and not OLDEST.exists():
        parser.error(
            "the oldest Triton is not in build/oldest: run `make soak` first, or leave it out (--only)"
        )
    rows = []
    for name in parts:
        rows.append(run_part(name))
        if options.write:
            record.put_rows("soak", HEAD, rows[-1:], list(PARTS))
    print(f"\n{record.markdown(HEAD, rows)}")
    return 0 if all(row[2] == "green" for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
