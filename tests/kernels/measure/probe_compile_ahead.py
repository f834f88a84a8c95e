"""Run in a process of its own, where kernels are compiled and not interpreted, by test_compile_ahead.py.

Prints one JSON object: what compile_ahead.py makes of good and bad kernels, how it specialises arguments, whether
Triton's own launcher compiles the same, and which kernels of kernels/ a public function can launch.
"""

from __future__ import annotations

import importlib
import json
import pkgutil

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

import kernels
from kernels.measure import compile_ahead
from kernels.measure.compile_ahead import Case


@triton.jit
def doubled(x):
    return x + x


@triton.jit
def copies(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, doubled(tl.load(x + i, mask=i < n)), mask=i < n)


@triton.jit
def holds_too_much(x, y, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a, b = tl.load(x + i), tl.load(x + i + n)
    for k in range(n):
        a = a * b + tl.load(x + k)
        b = tl.exp(a) + b
    tl.store(y + i, a + b)


@triton.jit
def multiplies(a, b, c, K, M: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, PRECISION: tl.constexpr):
    rows, columns, inner = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :], tl.arange(0, BLOCK)
    acc = tl.zeros((M, N), tl.float32)
    for k in range(0, K, BLOCK):
        x = tl.load(a + rows * K + (k + inner)[None, :])  # (M, BLOCK)
        y = tl.load(b + (k + inner)[:, None] + columns * K)  # (BLOCK, N)
        acc = tl.dot(x, y, acc, input_precision=PRECISION)
    tl.store(c + rows * N + columns, acc.to(c.dtype.element_ty))


@triton.jit
def takes(x, number, flag, real, nothing, untouched, BLOCK: tl.constexpr, default=7):
    tl.store(x + tl.arange(0, BLOCK), number)


floats, half, codes = (
    torch.zeros(4096),
    torch.zeros(4096, dtype=torch.float16),
    torch.zeros(4096, dtype=torch.uint8),
)


def call(kernel, *arguments, grid=(1,), **options):
    return lambda: kernel[grid](*arguments, **options)


def product(x, M, precision="tf32", N=64, **options):
    return call(multiplies, x, x, x, 64, M=M, N=N, BLOCK=32, PRECISION=precision, **options)


JUDGED = [
    Case("good", call(copies, floats, floats, 4096, BLOCK=1024)),
    Case("good product", product(half, 64), dots=True),
    Case("few rows", product(half, 16), dots=True),  # mma: a wgmma would need 64 rows
    Case("two warps", product(half, 64, num_warps=2)),  # a wgmma takes four
    Case("full precision", product(floats, 64, "ieee"), dots=True),
    Case("spills", call(holds_too_much, floats, floats, 4096, BLOCK=32768)),
    Case("shared memory", product(floats, 256, N=256, num_warps=8, num_stages=5)),
    Case("bytes", call(copies, codes[1:], codes[1:], 4000, BLOCK=1024)),
    Case("wide bytes", call(copies, codes, codes, 4096, BLOCK=2048)),
    Case("launches nothing", lambda: None),
    Case("multiplies nothing", call(copies, floats, floats, 4096, BLOCK=1024), dots=True),
    Case("does not compile", call(copies, floats, floats, 4096, BLOCK=1000)),
    Case("grid", call(copies, floats, floats, 4096, BLOCK=1024, grid=(1, 70_000))),
    Case(
        "grid from settings",
        call(copies, floats, floats, 4096, BLOCK=1024, grid=lambda s: (1, s["BLOCK"] * 64)),
    ),
]


class Hopper:
    """A driver that names a GPU which is not there: enough for Triton's launcher to compile."""

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)


def specialised(*arguments, **options):
    launch = compile_ahead.specialise(takes, arguments, options, 90)
    divisible = [takes.arg_names[index] for (index,), marks in launch.attributes.items() if marks]
    return [launch.signature, divisible, launch.settings]


def same_as_the_launcher(case):
    """Whether Triton's own launcher, asked to compile but not to run, makes the same machine code."""
    (launch,) = compile_ahead.catch_launches(case.call, 90)
    run, seen = JITFunction.run, []

    def warm(self, *arguments, grid, warmup, **options):
        seen.append(run(self, *arguments, grid=grid, warmup=True, **options))

    JITFunction.run = warm
    try:
        case.call()
    finally:
        JITFunction.run = run
    return seen[0].hash == compile_ahead.compile_launch(launch, 90).hash


def launchable():
    """[module, name] of every kernel of kernels/ that no other kernel calls: what remains, a function launches."""
    found, called = {}, set()
    for module in pkgutil.iter_modules(kernels.__path__, "kernels."):
        names = vars(importlib.import_module(module.name))
        for value in names.values():
            if isinstance(value, JITFunction) and value.fn.__module__ == module.name:
                found[id(value)] = [module.name, value.fn.__name__]
                inside = (value.fn.__globals__.get(name) for name in value.fn.__code__.co_names)
                called |= {id(other) for other in inside if isinstance(other, JITFunction)}
    return [place for key, place in found.items() if key not in called]


def main() -> None:
    torch.set_num_threads(1)
    reports = [
        report
        for case in JUDGED
        for target in (80, 90, 100)
        for report in compile_ahead.examine(case, target)
    ]
    shown = [[report.case, report.target, report.faults] for report in reports]
    x = torch.zeros(64)
    facts = {
        "judged": shown,
        "specialised": {
            "16": specialised(x, 16, True, 1.5, None, x[1:], BLOCK=16, num_warps=8),
            "17": specialised(x[4:], 17, False, 1, None, 0, BLOCK=16, num_stages=2),
            "1": specialised(x.bfloat16(), 1, 1, 2.0, None, 2**31, BLOCK=16, default=32),
            "-16": specialised(x.to(torch.int8), -16, 0, 0.0, None, -(2**31) - 1, BLOCK=16),
        },
    }
    driver.set_active(Hopper())
    facts["same"] = [same_as_the_launcher(case) for case in JUDGED[:4]]
    facts["launchable"] = launchable()
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
