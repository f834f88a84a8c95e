"""Measure every kernel on a GPU, against named peers and against what the GPU can do, all in one run.

    python -m kernels.measure.bench [--quick] [--only NAME] [--json FILE] [--plot FILE] [--minutes 8]
    python -m kernels.measure.bench --floor          the GPU's copy bandwidth and matrix rate alone
    python -m kernels.measure.bench --check          compare every kernel with float64, time nothing
    python -m kernels.measure.bench --tune NAME      rank other block sizes, warps and stages (bench_tune.py)

A line says what was done, its time, TFLOP/s or GB/s, per cent of the floor, how many times faster than each peer, and
whether the targets were met. Each kernel is first compared with a float64 reference: a wrong one gets no number. The
JSON is written whole after every line, so an interrupted run keeps what it measured. Compile first, in parallel:
`python -m kernels.measure.compile_ahead --target sm_90` leaves its results in Triton's cache.

Book 8.2-8.3 (효율적인 트랜스포머 연산). What is measured: works/; how: bench_timer.py.
Peers: torch's scaled_dot_product_attention (FlashAttention-2 and cuDNN), its other operations, torch.compile.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from kernels.measure._files import write_whole
from kernels.measure.bench_check import check, shortened
from kernels.measure.bench_works import Trial, Work, plan

UNITS = {"compute": ("TFLOP/s", 1e12, "matmul"), "memory": ("GB/s", 1e9, "copy")}


def measure(work: Work, trial: Trial, gpu: Any, floors: dict[str, float]) -> dict[str, Any]:
    """One row of the record: seconds, rates, ratios to the peers, targets; "error" where ours could not run."""
    calls = {"ours": trial.ours} | trial.peers
    times, errors = (gpu.host_seconds if work.host else gpu.seconds)(calls)
    row: dict[str, Any] = {"kernel": work.kernel, "work": work.name, "bound": work.bound, "host": work.host}
    row |= {"flops": work.flops, "bytes": work.bytes, "calls": work.calls, "series": work.series, "x": work.x}
    row["peers"] = {name: {"error": errors[name]} for name in trial.peers if name in errors}
    if "ours" not in times:
        return row | {"error": errors["ours"], "targets": []}
    ours = row["seconds"] = times["ours"]
    for name in trial.peers:
        if name in times:
            row["peers"][name] = {"seconds": times[name], "ratio": times[name] / ours}
    if work.flops or work.bytes:
        unit, scale, floor = UNITS[work.bound]
        rate = (work.flops or work.bytes) / ours
        row |= {"unit": unit, "rate": rate / scale, "floor": rate / floors[floor]}
    if work.memory:
        calls = {name: call for name, call in calls.items() if name in times}
        row["peak_bytes"] = {name: gpu.peak_bytes(call) for name, call in calls.items()}
    return row | {"targets": judge(work, row)}


def judge(work: Work, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The targets of a work beside what was reached; a peer that could not run leaves its target open (None)."""
    found = []
    for what, least in work.targets.items():
        if what == "TFLOP/s":
            reached = row["rate"]
        elif what == "floor":
            reached = row["floor"]
        else:
            reached = row["peers"].get(what, {}).get("ratio")
        met = None if reached is None else reached >= least
        found.append({"what": what, "at_least": least, "reached": reached, "met": met})
    return found


def line(row: dict[str, Any]) -> str:
    """A row for people to read."""
    start = f"{row['kernel']}, {row['work']}:"
    if "error" in row:
        return f"{start} FAILED {row['error']}"
    parts = [f"{row['seconds'] * 1e6:.1f} us" if row["seconds"] < 1e-3 else f"{row['seconds'] * 1e3:.3f} ms"]
    if "rate" in row:
        parts.append(f"{row['rate']:,.0f} {row['unit']} = {row['floor']:.0%} of {UNITS[row['bound']][2]}")
    for name, peer in row["peers"].items():
        parts.append(
            f"{peer['ratio']:.2f}x {name}" if "ratio" in peer else f"{name} cannot ({peer['error'][:60]})"
        )
    if "peak_bytes" in row:
        parts.append(
            "peak " + ", ".join(f"{name} {size / 1e9:.2f} GB" for name, size in row["peak_bytes"].items())
        )
    for target in row["targets"]:
        verdict = {True: "met", False: "MISSED", None: "open"}[target["met"]]
        least = f"{target['at_least']:.0%}" if target["what"] == "floor" else f"{target['at_least']:g}"
        parts.append(f"[{target['what']} >= {least}: {verdict}]")
    return f"{start} " + "; ".join(parts)


def run(
    works: list[Work], gpu: Any, json_file: Path | None = None, minutes: float = 8.0, checked: bool = True
) -> dict:
    """Measure the works one by one, print each, and keep the record; works beyond the time are skipped with a word."""
    began = time.monotonic()
    record: dict[str, Any] = gpu.describe() | {"floors": gpu.floors(), "rows": [], "skipped": []}
    floors = record["floors"]
    print(f"{record['device']}, torch {record['torch']}, triton {record['triton']}, cuda {record['cuda']}")
    print(
        f"floors: copy {floors['copy'] / 1e9:,.0f} GB/s, bf16 product {floors['matmul'] / 1e12:,.0f} TFLOP/s\n"
    )
    for work in works:
        if time.monotonic() - began > 60 * minutes:
            record["skipped"].append(f"{work.kernel}, {work.name}")
            continue
        row: dict[str, Any] = {"kernel": work.kernel, "work": work.name, "peers": {}, "targets": []}
        try:
            trial = work.build(gpu.device)
            fault = check(trial) if checked else ""
            row = row | {"error": fault} if fault else measure(work, trial, gpu, floors)
        except Exception as error:  # the other kernels are still worth measuring
            row["error"] = shortened(error)
        record["rows"].append(row)
        print(line(row), flush=True)
        if json_file:
            write_whole(json_file, json.dumps(record, indent=1) + "\n")
        trial = None  # its tensors make room for the next one's
        try:
            gpu.forget()
        except Exception as error:  # an illegal access, say: every later call would fail too
            print(f"the GPU is lost to this process, stopping here: {shortened(error)}")
            break
    print(summary(record), f"{time.monotonic() - began:.0f} s")
    return record


def summary(record: dict[str, Any]) -> str:
    """The lines that failed or missed a target once more, and how many there were of each kind."""
    rows = record["rows"]
    targets = [target for row in rows for target in row["targets"]]
    bad = [line(row) for row in rows if "error" in row or any(t["met"] is False for t in row["targets"])]
    met, failed = sum(target["met"] is True for target in targets), sum("error" in row for row in rows)
    counts = f"{len(rows)} lines, {failed} failed, {met} of {len(targets)} targets met"
    return "\n".join(
        ["", *(["failed or missed:"] if bad else []), *bad, f"{counts}, {len(record['skipped'])} skipped,"]
    )


def check_all(works: list[Work], device: str) -> int:
    """Compare every work with its reference; how many are wrong."""
    failed = 0
    for work in works:
        fault = check(work.build(device))
        failed += bool(fault)
        print(f"{work.kernel}, {work.name}: {fault or 'right'}", flush=True)
    return failed


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit status 0; 1 if a kernel failed or was wrong; 2 without a GPU."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels.measure.bench", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--only", default="", help="works whose 'kernel, name' holds this")
    parser.add_argument("--quick", action="store_true", help="a dozen works instead of all")
    parser.add_argument("--json", type=Path, help="write the record here, after every line")
    parser.add_argument("--plot", type=Path, help="draw the record here (PNG, needs matplotlib)")
    parser.add_argument("--minutes", type=float, default=8.0, help="start no work after this long")
    parser.add_argument(
        "--floor", action="store_true", help="measure copy bandwidth and matrix rate, nothing else"
    )
    parser.add_argument("--check", action="store_true", help="compare with float64, time nothing")
    parser.add_argument("--no-check", action="store_true", help="time without comparing")
    parser.add_argument(
        "--tune", metavar="NAME", help="rank other settings of the works whose name holds this"
    )
    chosen = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("kernels.measure.bench needs a GPU: there is none here", file=sys.stderr)
        return 2
    if chosen.plot and importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not installed: no plot will be drawn", file=sys.stderr)
        chosen.plot = None
    works = plan("quick" if chosen.quick else "full", chosen.tune or chosen.only)
    if not works:
        print(f"no work is named like {chosen.tune or chosen.only!r}", file=sys.stderr)
        return 2
    if chosen.check:
        return 1 if check_all(works, "cuda") else 0
    from kernels.measure.bench_timer import Gpu

    gpu = Gpu()
    if chosen.tune:
        from kernels.measure.bench_tune import tune

        return tune(works, gpu, chosen.minutes)
    record = run([] if chosen.floor else works, gpu, chosen.json, chosen.minutes, not chosen.no_check)
    if chosen.plot and record["rows"]:
        from kernels.measure.bench_plot import plot

        plot(record, chosen.plot)
    return 1 if any("error" in row for row in record["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
