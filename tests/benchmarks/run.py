"""Runs benchmarks, each in a process of its own, prints a table, and records it in BENCHMARKS.md when asked.

    python -m tests.benchmarks.run [NAME ...] [--quick] [--write] [--json]        (`minillm bench` calls this)

Thread counts are set in the child's environment, before numpy, torch or a Rust library start.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from minillm._files import read_json, write_json, write_whole

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
RECORD = ROOT / "BENCHMARKS.md"
POOLS = ("OMP", "MKL", "OPENBLAS", "NUMBA", "RAYON")
ONE_THREAD = {f"{pool}_NUM_THREADS": "1" for pool in POOLS} | {"TOKENIZERS_PARALLELISM": "false"}
OFFLINE = {"HF_HUB_OFFLINE": "1"}
NAMED = ("torch", "numpy", "numba", "transformers", "tokenizers", "tiktoken", "rank-bm25", "bm25s")


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def machine() -> str:
    """Date, processor, cores and versions, for the line above a recorded table."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        model = found[1]
    versions = []
    for name in NAMED:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    today = datetime.date.today().isoformat()
    return (
        f"{today}, {model}, {os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(versions)}"
    )


def measure(name: str, quick: bool, loud: bool) -> list[dict[str, Any]]:
    """The rows of one benchmark, run in a child process; RuntimeError with its last words if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "tests.benchmarks.run", name, "--child", str(out)] + [
            "--quick"
        ] * quick
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | ONE_THREAD | OFFLINE, text=True,
            stdout=None if loud else subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"benchmark {name} failed:\n{done.stderr[-3000:]}")
        return read_json(out)


def number(value: float | None) -> str:
    """Three significant digits, without an exponent where a person would not write one."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a markdown table."""
    lines = [
        "| work | peer | ours | peer's | unit | ratio | at least | threads | note |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = f"**{number(row['ratio'])}x**" if row["ratio"] is not None else "peer absent"
        target = f"{row['target']:g}x" if row["target"] is not None else ""
        cells = [
            row["work"],
            row["peer"],
            number(row["ours"]),
            number(row["theirs"]),
            row["unit"],
            ratio,
            target,
        ]
        lines.append(f"| {' | '.join([*cells, str(row['threads']), row['note']])} |")
    return "\n".join(lines)


def record(name: str, rows: list[dict[str, Any]]) -> None:
    """Replace this benchmark's table in BENCHMARKS.md, or add it at the end."""
    text = RECORD.read_text(encoding="utf-8")
    block = f"<!-- bench:{name} -->\n{machine()}\n\n{table(rows)}\n<!-- /bench:{name} -->"
    pattern = re.compile(rf"<!-- bench:{name} -->.*?<!-- /bench:{name} -->", re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda _: block, text)
    else:
        text = f"{text.rstrip()}\n\n## {name}\n\n{block}\n"
    write_whole(RECORD, text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="minillm bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.list:
        print("\n".join(names()))
        return 0
    if unknown := set(options.names) - set(names()):
        print(
            f"minillm bench: no benchmark {sorted(unknown)}; there are: {', '.join(names())}", file=sys.stderr
        )
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
            rows = results[name] = measure(name, options.quick, loud=not options.json)
        except RuntimeError as error:
            print(f"minillm bench: {error}", file=sys.stderr)
            return 1
        if not options.json:
            print(f"\n{name}\n{table(rows)}\n", flush=True)
        if options.write:
            record(name, rows)
    if options.json:
        print(json.dumps(results, ensure_ascii=False, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
