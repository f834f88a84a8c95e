"""The long runs, one after the other, with one table of what came of them.

    python -m tests.soak.run [--only PART ...] [--write]          (`make soak`; hours)

    long       every test at full length (MINILLM_SOAK_SHARE=1), the ones marked `soak` too
    kernels    the kernels' tests under the oldest Triton we support, in build/oldest (`make soak` puts it there)
    compile    every kernel compiled by that Triton for every GPU
    portable   the suite on every code path and every Python (tests/portable.py)

--write puts the table, with today's date, into BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import time

from minillm._files import write_whole
from tests.benchmarks import record

ROOT = record.PAGE.parent
OLDEST = ROOT / "build" / "oldest"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile"]
PATIENT = ["-o", "timeout=3600", "-o", "faulthandler_timeout=4000"]  # pyproject's limits are for short tests
PARTS: dict[str, tuple[list[str], dict[str, str]]] = {
    "long": ([*PYTEST, *PATIENT, "-m", "", "tests", "--ignore=tests/kernels"], {"MINILLM_SOAK_SHARE": "1"}),
    "kernels": ([*PYTEST, "tests/kernels"], {"PYTHONPATH": str(OLDEST)}),
    "compile": ([sys.executable, "-m", "kernels.measure.compile_ahead"], {"PYTHONPATH": str(OLDEST)}),
    "portable": (["make", "portable", "ARGS="], {}),  # ours would reach it through make's environment
}


def run_part(name: str) -> list[str]:
    """One line of the table: the part, its command, what came of it, minutes."""
    command, variables = PARTS[name]
    shown = " ".join([*(f"{key}={value}" for key, value in variables.items()), *command])
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=os.environ | variables)
    minutes = (time.perf_counter() - start) / 60
    came = "green" if done.returncode == 0 else f"failed (exit status {done.returncode})"
    shown = shown.replace(sys.executable, "python").replace(str(ROOT) + os.sep, "")
    return [name, f"`{shown}`", came, f"{minutes:.0f}"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--write", action="store_true", help="record the table in BENCHMARKS.md")
    options = parser.parse_args()
    if {"kernels", "compile"} & {*(options.only or PARTS)} and not OLDEST.exists():
        parser.error(
            "the oldest Triton is not in build/oldest: run `make soak` first, or leave it out (--only)"
        )
    rows = [run_part(name) for name in options.only or PARTS]
    table = record.markdown(["part", "command", "result", "minutes"], rows)
    print(f"\n{table}")
    if options.write:
        block = (
            f"{datetime.date.today().isoformat()}, {record.cpu_model()}, {os.cpu_count()} cores\n\n{table}"
        )
        page = record.PAGE.read_text(encoding="utf-8")
        write_whole(record.PAGE, record.with_blocks(page, {"soak": block}))
    return 0 if all(row[2] == "green" for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
