"""Runs benchmarks, each in a process of its own, prints a table, and records it when asked.

    python -m tests.benchmarks.run [NAME ...] [--quick] [--write] [--json]        (`minillm bench` calls this)

--write measures twice, as the machine is and on the code paths that torch and numba take on an older CPU
(AVX2_PATH), into results.json and from there into BENCHMARKS.md (record.py). Thread counts are set in
the child's environment, before numpy, torch or a Rust library start.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from minillm._files import read_json, write_json
from tests.benchmarks import record
from tests.code_paths import as_the_machine_is

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
POOLS = ("OMP", "MKL", "OPENBLAS", "NUMBA", "RAYON")
ONE_THREAD = {f"{pool}_NUM_THREADS": "1" for pool in POOLS} | {"TOKENIZERS_PARALLELISM": "false"}
OFFLINE = {"HF_HUB_OFFLINE": "1"}
# numba compiles for the processor that it is told of; lookup.py reads the features to know how wide a register is
AVX2_PATH = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+popcnt",
}


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def measure(
    name: str, quick: bool, loud: bool, variables: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """The rows of one benchmark, run in a child process under these environment variables.

    Raises RuntimeError with the child's last words if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "tests.benchmarks.run", name, "--child", str(out)]
        command += ["--quick"] if quick else []
        done = subprocess.run(
            command, cwd=ROOT, env=as_the_machine_is() | ONE_THREAD | OFFLINE | (variables or {}), text=True,
            stdout=None if loud else subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"benchmark {name} failed:\n{done.stderr[-3000:]}")
        return read_json(out)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a markdown table."""
    head = ["work", "peer", "ours", "peer's", "unit", "ratio", "at least", "threads", "note"]
    cells = [
        [
            row["work"],
            row["peer"],
            record.number(row["ours"]),
            record.number(row["theirs"]),
            row["unit"],
            record.ratio_of(row),
            f"{row['target']:g}x" if row["target"] else "",
            str(row["threads"]),
            row["note"],
        ]
        for row in rows
    ]
    return record.markdown(head, cells)


def measure_and_record(name: str, quiet: bool) -> dict[str, list[dict[str, Any]]]:
    """The rows of both code paths by their column, recorded; what became slower is said on standard error."""
    make = record.make_of(record.cpu_model())
    results = {}
    for column, variables in ((make, {}), (make + record.AVX2, AVX2_PATH)):
        rows = results[column] = measure(name, False, not quiet, variables)
        for line in record.record(column, name, record.measured(rows)):
            print(f"minillm bench: lower than before: {column}: {line}", file=sys.stderr)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="minillm bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--page", action="store_true", help="only write BENCHMARKS.md's tables from results.json"
    )
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.list:
        print("\n".join(names()))
        return 0
    if options.page:
        record.write_page(record.read_results())
        return 0
    if unknown := set(options.names) - set(names()):
        print(
            f"minillm bench: no benchmark {sorted(unknown)}; there are: {', '.join(names())}", file=sys.stderr
        )
        return 2
    if options.quick and options.write:
        print("minillm bench: --write records whole measurements: leave --quick out", file=sys.stderr)
        return 2
    if options.child:
        import torch

        torch.set_num_threads(1)
        rows = importlib.import_module(f"tests.benchmarks.bench_{options.names[0]}").run(options.quick)
        write_json(options.child, [row.as_dict() for row in rows])
        return 0
    results = {}
    for name in options.names or names():
        try:
            if options.write:
                tables = measure_and_record(name, options.json)
            else:
                tables = {"": measure(name, options.quick, not options.json)}
        except RuntimeError as error:
            print(f"minillm bench: {error}", file=sys.stderr)
            return 1
        results[name] = tables if options.write else tables[""]
        if not options.json:
            for column, rows in tables.items():
                print(f"\n{name}{f' ({column})' if column else ''}\n{table(rows)}\n", flush=True)
    if options.json:
        print(json.dumps(results, ensure_ascii=False, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
