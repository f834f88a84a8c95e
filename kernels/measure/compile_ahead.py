"""Compile every kernel for GPUs that are not here, and print what the machine code would cost.

    python -m kernels.measure.compile_ahead [--target sm_90] [--only flash] [--jobs 8] [--json FILE] [--markdown FILE]

Triton's compiler needs no GPU: the target is a name. What ships is what is compiled: the public functions are called
with tensors on the CPU, every launch is caught instead of run, and Triton's own launcher code says what it would have
compiled for these arguments (types, alignments, constants). machine_code.py reads the result. A spill, more
shared memory than the GPU has, byte-wide loads, or a product that misses the tensor cores fails the run.

The results stay in Triton's cache: on a machine with a GPU this command, first, saves the time to compile later.
Book 8.2-8.3 (효율적인 트랜스포머 연산).
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import JITFunction, create_function_from_signature

from kernels import _checks
from kernels.measure import machine_code
from kernels.measure._files import write_whole
from kernels.measure.machine_code import SHARED_MEMORY

GRID = (2**31 - 1, 65_535, 65_535)  # programs along each axis of a launch, at most
COLUMNS = "target  wgmma  mma  tc05  tma  load  byte  regs  spill   shared  case, kernel"


@dataclass
class Case:
    """One way a kernel ships: a call of its public function on representative tensors (kernels/measure/cases/*.py).

    name: "flash_attention D128 causal bf16". call: no arguments; runs the function (nothing is launched). dots: one
    of its kernels multiplies matrices (on which units is judged by what it multiplies).
    """

    name: str
    call: Callable[[], Any]
    dots: bool = False


@dataclass
class Launch:
    """A caught launch: what Triton would have been asked to compile."""

    kernel: JITFunction
    signature: dict[str, str]
    constants: dict[tuple[int, ...], Any]
    attributes: dict[tuple[int, ...], list]
    settings: dict[str, Any]
    grid: tuple[int, ...] = ()

    def key(self) -> str:
        """Two launches of one key share one machine code."""
        parts = (self.kernel.__module__, self.signature, self.constants, self.attributes, self.settings)
        return f"{self.kernel.__name__} {parts!r}"


@dataclass
class Report:
    """What the compiler made of one launch. Sizes in bytes; registers and spill a thread."""

    case: str
    module: str
    kernel: str
    target: int
    num_warps: int = 0
    num_stages: int = 0
    wgmma: int = 0
    mma: int = 0
    tcgen05: int = 0
    cp_async: int = 0
    tma: int = 0
    widest_load: int = 0
    byte_loads: int = 0
    registers: int = 0
    spill: int = 0
    shared: int = 0
    dots: bool = False
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The report as a line of the table under COLUMNS."""
        return (
            f"sm_{self.target:<4} {self.wgmma:5} {self.mma:4} {self.tcgen05:5} {self.tma:4} {self.widest_load:4}B "
            f"{self.byte_loads:5} {self.registers:5} {self.spill:6} {self.shared:8}  "
            f"{self.case}, {self.kernel} {self.num_warps}w{self.num_stages}s"
        ) + "".join(f"  FAULT: {fault}" for fault in self.faults)


def all_cases(only: str = "") -> list[Case]:
    """The cases of every file in kernels/measure/cases/ whose name holds `only`."""
    from kernels.measure import cases

    found = []
    for module in sorted(pkgutil.iter_modules(cases.__path__), key=lambda module: module.name):
        found += importlib.import_module(f"kernels.measure.cases.{module.name}").CASES
    return [case for case in found if only in case.name]


def specialise(kernel: JITFunction, arguments: tuple, options: dict[str, Any], target: int) -> Launch:
    """What Triton's launcher would compile for these arguments on a GPU of this compute capability.

    The launcher's own code decides it: a tensor becomes a typed pointer, marked if 16 divides its address; so is an
    int; a 1 and None become constants. Without these marks every load would be byte by byte.
    """
    backend = make_backend(GPUTarget("cuda", target, 32))
    binder = create_function_from_signature(kernel.signature, kernel.params, backend)
    bound, specialization, extra = binder(*arguments, **options)
    parsed, signature, constants, attributes = kernel._pack_args(
        backend, options, bound, specialization, extra
    )
    settings = {name: vars(parsed)[name] for name in options if name not in bound}
    return Launch(kernel, signature, constants, attributes, settings)


def catch_launches(call: Callable[[], Any], target: int) -> list[Launch]:
    """The launches that `call` would make on a GPU of this compute capability (80, 90, 100); none of them runs."""
    caught: list[Launch] = []

    def record(kernel, *arguments, grid, warmup, **options):
        launch = specialise(kernel, arguments, options, target)
        names = dict(zip(kernel.arg_names, arguments)) | options
        launch.grid = tuple(int(size) for size in (grid(names) if callable(grid) else grid))
        caught.append(launch)

    run, before = JITFunction.run, _checks._compiling_for
    JITFunction.run, _checks._compiling_for = record, divmod(target, 10)
    try:
        call()
    finally:
        JITFunction.run, _checks._compiling_for = run, before
    return caught


def compile_launch(launch: Launch, target: int) -> Any:
    """Triton's compiled kernel: `.asm` with "ttir", "ptx" and "cubin", `.metadata` with the shared memory."""
    source = ASTSource(launch.kernel, launch.signature, launch.constants, launch.attributes)
    return triton.compile(source, target=GPUTarget("cuda", target, 32), options=launch.settings)


def read(case: Case, launch: Launch, target: int) -> Report:
    """Compile one launch and judge it."""
    report = Report(case.name, launch.kernel.__module__, launch.kernel.__name__, target)
    try:
        compiled = compile_launch(launch, target)
    except Exception as error:  # a kernel that does not compile is one line of the table, not its end
        reason = " ".join(str(error).split())
        report.faults.append(f"does not compile: {type(error).__name__} {reason[-300:]}")
        return report
    counts = machine_code.count(compiled.asm["ptx"])
    wanted = machine_code.products(compiled.asm["ttir"])
    for name, value in asdict(counts).items():
        setattr(report, name, value)
    report.num_warps, report.num_stages = compiled.metadata.num_warps, compiled.metadata.num_stages
    report.registers, report.spill = machine_code.resources(compiled.asm["cubin"])
    report.shared, report.dots = compiled.metadata.shared, "tt.dot" in compiled.asm["ttir"]
    if report.spill:
        report.faults.append(f"spills {report.spill} bytes a thread")
    if report.shared > SHARED_MEMORY[target]:
        report.faults.append(f"wants {report.shared} bytes of shared memory of {SHARED_MEMORY[target]}")
    columns = getattr(compiled.metadata, "tmem_size", None) or 0
    if columns > machine_code.TENSOR_MEMORY:
        report.faults.append(f"wants {columns} columns of tensor memory of {machine_code.TENSOR_MEMORY}")
    if report.byte_loads:
        report.faults.append(f"{report.byte_loads} byte-wide loads")
    if unit := machine_code.missing_units(counts, wanted, target):
        report.faults.append(f"no {unit} instruction")
    if any(size > most for size, most in zip(launch.grid, GRID)):
        report.faults.append(f"a grid of {launch.grid} programs is more than {GRID}")
    return report


def examine(case: Case, target: int) -> list[Report]:
    """A report for every distinct launch of one case on one target."""
    launches = {launch.key(): launch for launch in catch_launches(case.call, target)}
    if not launches:
        return [Report(case.name, "-", "-", target, faults=["launches nothing"])]
    reports = [read(case, launch, target) for launch in launches.values()]
    if case.dots and not any(report.dots for report in reports):
        reports[0].faults.append("multiplies nothing")
    return reports


def spread(cases: list[Case], targets: list[int]) -> list[tuple[Case, int]]:
    """As few (case, target) as launch every kernel on every target, and on sm_90 with every type of its tensors."""
    chosen, seen = [], set()
    for target in targets:
        for case in cases:
            launches = catch_launches(case.call, target)
            types = [
                sorted({kind for kind in x.signature.values() if kind.startswith(("*", "tensordesc"))})
                for x in launches
            ]
            keys = {(target, x.kernel, str(kinds) * (target == 90)) for x, kinds in zip(launches, types)}
            if not keys <= seen or not launches:
                chosen.append((case, target))
                seen |= keys
    return chosen


_units: list[tuple[Case, int]] = []  # what forked workers inherit: a case's call cannot be pickled


def _examine_numbered(number: int) -> list[Report]:
    return examine(*_units[number])


def survey(targets: list[int], only: str = "", jobs: int = 1, few: bool = False) -> Iterator[Report]:
    """The reports of every case whose name holds `only`, for each target in turn, made by `jobs` processes.

    few: not of every case, but of a spread over kernels, targets and types.
    """
    torch.set_num_threads(1)  # a pool of torch's threads would not survive the fork
    cases = all_cases(only)
    _units[:] = spread(cases, targets) if few else [(case, target) for case in cases for target in targets]
    numbers = range(len(_units))
    if jobs > 1 and len(_units) > 1:
        with multiprocessing.get_context("fork").Pool(min(jobs, len(_units))) as pool:
            for reports in pool.imap(_examine_numbered, numbers):
                yield from reports
    else:
        for number in numbers:
            yield from _examine_numbered(number)


def markdown(reports: list[Report]) -> str:
    """The reports as a table for BENCHMARKS.md: a line a kernel and case, a column a target."""
    targets = sorted({report.target for report in reports})
    rows: dict[tuple[str, str], dict[int, list[str]]] = {}
    for r in reports:
        units = {"wgmma": r.wgmma, "tcgen05": r.tcgen05, "mma": r.mma, "TMA": r.tma}
        parts = [f"{number} {name}" for name, number in units.items() if number]
        parts += [f"{r.num_warps} warps, {r.num_stages} stages", f"{r.registers} registers"]
        parts += [f"{r.shared / 1024:.0f} kB shared" if r.shared >= 1024 else f"{r.widest_load} B loads"]
        cell = "; ".join(parts + [f"**{fault}**" for fault in r.faults])
        rows.setdefault((r.case, r.kernel), {}).setdefault(r.target, []).append(cell)
    lines = [f"| case | kernel | {' | '.join(f'sm_{target}' for target in targets)} |"]
    lines.append("|---" * (2 + len(targets)) + "|")
    for (case, kernel), cells in rows.items():
        columns = " | ".join(" / ".join(cells.get(target, ["-"])) for target in targets)
        lines.append(f"| {case} | `{kernel}` | {columns} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The command: print the table, write the files; exit status 1 if a shipped configuration is at fault.

    2 if there is nothing to compile: TRITON_INTERPRET is set, or no case is named so.
    """
    parser = argparse.ArgumentParser(
        prog="python -m kernels.measure.compile_ahead", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--target", action="append", choices=[f"sm_{n}" for n in SHARED_MEMORY])
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes that compile"
    )
    parser.add_argument("--spread", action="store_true", help="not every case: every kernel on every target")
    parser.add_argument("--json", type=Path, help="write the reports here")
    parser.add_argument("--markdown", type=Path, help="write the table here, for BENCHMARKS.md")
    chosen = parser.parse_args(arguments)
    if triton.knobs.runtime.interpret:
        parser.error("TRITON_INTERPRET is set: the interpreter takes the place of the kernels to be compiled")
    if not all_cases(chosen.only):
        parser.error(f"no case's name holds {chosen.only!r}")
    targets = [int(name[3:]) for name in chosen.target or (f"sm_{n}" for n in SHARED_MEMORY)]
    start, reports = time.perf_counter(), []
    print(COLUMNS + "\n" + "-" * len(COLUMNS))
    for report in survey(targets, chosen.only, chosen.jobs, chosen.spread):
        reports.append(report)
        print(report.line(), flush=True)
    versions = {"torch": torch.__version__, "triton": triton.__version__}
    if chosen.json:
        content = {"versions": versions, "reports": [asdict(report) for report in reports]}
        write_whole(chosen.json, json.dumps(content, indent=1) + "\n")
    if chosen.markdown:
        write_whole(chosen.markdown, markdown(reports))
    faults = sum(bool(report.faults) for report in reports)
    print(f"{len(reports)} kernels compiled in {time.perf_counter() - start:.0f} s, {faults} at fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
