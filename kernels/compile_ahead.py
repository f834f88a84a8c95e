"""Compile every kernel for GPUs that are not here, and read in the machine code what a GPU would run.

    python -m kernels.compile_ahead [--target sm_90] [--only flash] [--json file]

Triton's compiler needs no GPU: the target is a name. What ships is what is compiled: the public functions are called
with tensors on the CPU, every launch is caught instead of run, and its arguments, types, alignments and settings are
specialised as Triton's own launcher does it. The table counts tensor-core instructions (wgmma on Hopper, tcgen05 on
Blackwell, mma elsewhere), registers a thread, spilled bytes, shared memory and byte-wide global loads. A spill or
more shared memory than the GPU has fails the run: such a kernel would be slow, or not launch at all.

Book 8.2-8.3 (효율적인 트랜스포머 연산). Registers and stack are read with the cuobjdump that comes with Triton.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from kernels import _checks

# shared memory a block may ask for, bytes (CUDA C++ programming guide, table of technical specifications)
SHARED_MEMORY = {80: 166_912, 90: 232_448, 100: 232_448}
POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int8: "*i8",
    torch.uint8: "*u8",
    torch.bool: "*i1",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
SETTINGS = ("num_warps", "num_stages", "num_ctas", "maxnreg")


@dataclass
class Case:
    """One way a kernel ships: a call of its public function on representative tensors (kernels/cases/*.py).

    name: "flash_attention D128 causal bf16". call: no arguments; runs the function (nothing is launched). dots:
    whether its products must reach the tensor cores. byte_loads: whether it reads data that is a byte wide.
    """

    name: str
    call: Callable[[], Any]
    dots: bool = False
    byte_loads: bool = False


@dataclass
class Launch:
    """A caught launch: what Triton would have been asked to compile."""

    kernel: JITFunction
    signature: dict[str, str]
    constants: dict[tuple[int, ...], Any]
    attributes: dict[tuple[int, ...], list]
    settings: dict[str, int]


@dataclass
class Report:
    """What the compiler made of one launch. Sizes in bytes; registers a thread."""

    case: str
    kernel: str
    target: int
    num_warps: int
    num_stages: int
    wgmma: int
    mma: int
    tcgen05: int
    cp_async: int
    tma: int
    widest_load: int
    byte_loads: int
    registers: int
    spill: int
    shared: int
    faults: list[str] = field(default_factory=list)


def all_cases(only: str = "") -> list[Case]:
    """The cases of every file in kernels/cases/ whose name holds `only`."""
    from kernels import cases

    found = []
    for module in sorted(pkgutil.iter_modules(cases.__path__), key=lambda module: module.name):
        found += importlib.import_module(f"kernels.cases.{module.name}").CASES
    return [case for case in found if only in case.name]


def specialise(kernel: JITFunction, arguments: tuple, options: dict[str, Any]) -> Launch:
    """What Triton's launcher would compile for these arguments.

    A tensor becomes a typed pointer, aligned if its address is; an int that 16 divides is marked so, and a 1 becomes
    a constant; None and `tl.constexpr` parameters are constants. Without the marks every load would be byte by byte.
    """
    settings = {key: options.pop(key) for key in SETTINGS if key in options}
    bound = inspect.signature(kernel.fn).bind(*arguments, **options)
    bound.apply_defaults()
    signature, constants, attributes = {}, {}, {}
    for index, parameter in enumerate(kernel.params):
        value = bound.arguments[parameter.name]
        free = not parameter.do_not_specialize
        if parameter.is_constexpr or value is None or (free and type(value) is int and value == 1):
            kind, aligned = "constexpr", False
            constants[(index,)] = value
        elif isinstance(value, torch.Tensor):
            kind, aligned = POINTERS[value.dtype], value.data_ptr() % 16 == 0
        elif isinstance(value, bool):
            kind, aligned = "i1", False
        elif isinstance(value, int):
            kind, aligned = "i32" if -(2**31) <= value < 2**31 else "i64", value % 16 == 0
        elif isinstance(value, float):
            kind, aligned = "fp32", False
        else:
            raise ValueError(f"{kernel.__name__}: cannot specialise {parameter.name} = {value!r}")
        signature[parameter.name] = kind
        if free and aligned and not parameter.do_not_specialize_on_alignment:
            attributes[(index,)] = [["tt.divisibility", 16]]
    return Launch(kernel, signature, constants, attributes, settings)


def catch_launches(call: Callable[[], Any], target: int) -> list[Launch]:
    """The launches that `call` would make on a GPU of this compute capability (80, 90, 100); none of them runs."""
    caught: list[Launch] = []

    def record(kernel, *arguments, grid, warmup, **options):
        caught.append(specialise(kernel, arguments, options))

    run, before = JITFunction.run, _checks._compiling_for
    JITFunction.run, _checks._compiling_for = record, divmod(target, 10)
    try:
        call()
    finally:
        JITFunction.run, _checks._compiling_for = run, before
    return caught


def compile_launch(launch: Launch, target: int) -> Any:
    """Triton's compiled kernel: `.asm` with "ptx" and "cubin", `.metadata` with the shared memory."""
    source = ASTSource(launch.kernel, launch.signature, launch.constants, launch.attributes)
    return triton.compile(source, target=GPUTarget("cuda", target, 32), options=launch.settings)


def resources(cubin: bytes) -> tuple[int, int]:
    """(registers a thread, spilled bytes a thread), as cuobjdump reads them from the machine code."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        done = subprocess.run([tool, "-res-usage", path], capture_output=True, text=True, check=True)
    usage = dict(re.findall(r"\b(REG|STACK|LOCAL):(\d+)", done.stdout + done.stderr))
    return int(usage["REG"]), int(usage["STACK"]) + int(usage["LOCAL"])


def read(case: Case, launch: Launch, target: int) -> Report:
    """Compile one launch and judge it."""
    compiled = compile_launch(launch, target)
    ptx = compiled.asm["ptx"]
    registers, spill = resources(compiled.asm["cubin"])
    loads = [
        int(vector or 1) * int(bits)
        for vector, bits in re.findall(r"ld\.global\S*?(?:\.v(\d))?\.[bsuf](\d+)\b", ptx)
    ]
    copies = [8 * int(size, 0) for size in re.findall(r"cp\.async\.c[ag]\..*?\],\s*(0x[0-9a-f]+|\d+)", ptx)]
    report = Report(
        case=case.name,
        kernel=launch.kernel.__name__,
        target=target,
        num_warps=compiled.metadata.num_warps,
        num_stages=compiled.metadata.num_stages,
        wgmma=len(re.findall(r"wgmma\.mma_async", ptx)),
        mma=len(re.findall(r"\bmma\.sync", ptx)),
        tcgen05=len(re.findall(r"tcgen05\.mma", ptx)),
        cp_async=len(re.findall(r"cp\.async\.c[ag]", ptx)),
        tma=len(re.findall(r"cp\.async\.bulk\.tensor", ptx)),
        widest_load=max([*loads, *copies], default=0) // 8,
        byte_loads=sum(bits == 8 for bits in loads),
        registers=registers,
        spill=spill,
        shared=compiled.metadata.shared,
    )
    if spill:
        report.faults.append(f"spills {spill} bytes a thread")
    if report.shared > SHARED_MEMORY[target]:
        report.faults.append(f"wants {report.shared} bytes of shared memory of {SHARED_MEMORY[target]}")
    if report.byte_loads and not case.byte_loads:
        report.faults.append(f"{report.byte_loads} byte-wide loads")
    products = {80: report.mma, 90: report.wgmma, 100: report.tcgen05}[target]
    if case.dots and "dot" in inspect.getsource(launch.kernel.fn) and not products:
        report.faults.append("no tensor-core instruction")
    return report


def survey(targets: list[int], only: str = "") -> Iterator[Report]:
    """A report for every distinct launch of every case, target by target."""
    if triton.knobs.runtime.interpret:
        raise ValueError("TRITON_INTERPRET is set: the interpreter replaces the kernels that are to be compiled")
    for case in all_cases(only):
        for target in targets:
            seen = set()
            for launch in catch_launches(case.call, target):
                key = (launch.kernel.__name__, repr(launch.constants), repr(launch.signature), repr(launch.settings))
                if key not in seen:
                    seen.add(key)
                    yield read(case, launch, target)


def main(arguments: list[str] | None = None) -> int:
    """The command: print the table, write the JSON; exit status 1 if a shipped configuration is at fault."""
    parser = argparse.ArgumentParser(prog="python -m kernels.compile_ahead", description=__doc__.split("\n")[0])
    parser.add_argument("--target", action="append", choices=[f"sm_{n}" for n in SHARED_MEMORY])
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--json", type=Path, help="write the reports here")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    targets = [int(name[3:]) for name in chosen.target or (f"sm_{n}" for n in SHARED_MEMORY)]
    reports = []
    head = "target  wgmma  mma  tc05  tma  load  byte  regs  spill   shared  case, kernel"
    print(head + "\n" + "-" * len(head))
    for r in survey(targets, chosen.only):
        reports.append(r)
        print(
            f"sm_{r.target:<4} {r.wgmma:5} {r.mma:4} {r.tcgen05:5} {r.tma:4} {r.widest_load:4}B {r.byte_loads:5} "
            f"{r.registers:5} {r.spill:6} {r.shared:8}  {r.case}, {r.kernel} {r.num_warps}w{r.num_stages}s"
            + "".join(f"  FAULT: {fault}" for fault in r.faults),
            flush=True,
        )
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(r) for r in reports], indent=1) + "\n", encoding="utf-8")
    faults = sum(bool(r.faults) for r in reports)
    print(f"{len(reports)} kernels compiled, {faults} at fault")
    return 1 if faults or not reports else 0


if __name__ == "__main__":
    sys.exit(main())
