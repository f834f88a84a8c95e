"""What a compiled kernel costs, read in its PTX and its machine code: no GPU is needed to see most faults.

Four questions decide whether a kernel can be fast at all (book 8.2, 효율적인 트랜스포머 연산):
does the product run on the tensor cores (wgmma on Hopper, tcgen05 on Blackwell, mma elsewhere), do all values fit in
the registers (a spill goes to memory and back), are the loads 16 bytes wide, does a block fit in shared memory.

PTX is the compiler's readable output; registers and stack are in the machine code only, which `cuobjdump` reads
(Triton's wheel carries it). NVIDIA: PTX ISA, CUDA binary utilities. Leaves out: time. Only a GPU can tell that.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import triton

# shared memory a block may ask for, bytes (CUDA C++ programming guide, table of technical specifications)
SHARED_MEMORY = {80: 166_912, 90: 232_448, 100: 232_448}
TENSOR_MEMORY = 512  # columns of tensor memory a block may ask for on Blackwell
WGMMA_ROWS = 64  # a wgmma multiplies 64 rows at once; tiles of fewer rows are left to mma

# ld.global.L1::evict_last.v4.b32 {%r1, ...}: four words of 32 bits, 16 bytes a thread
LOAD = re.compile(
    r"\bld\.(?:volatile\.|relaxed\.|acquire\.)?(?:\w+\.)?global[\w.:]*?(?:\.v(\d))?\.[bsuf](\d+)\b"
)
# cp.async.cg.shared.global [ %r1 + 0 ], [ %rd1 + 0 ], 0x10, %r2; 16 bytes straight to shared memory
COPY = re.compile(r"\bcp\.async\.c[ag]\.[^;]*?\],[^;]*?\],\s*(0x[0-9a-fA-F]+|\d+)")
# tt.dot %a, %b, %c, inputPrecision = tf32 : tensor<128x64xf16> * tensor<64x128xf16> -> tensor<128x128xf32>
PRODUCT = re.compile(r"\btt\.dot\b([^\n]*?):\s*tensor<(\d+)x\d+x(\w+)>\s*\*\s*tensor<")


@dataclass
class Counts:
    """What stands in one kernel's PTX: instructions of each kind, and how wide the loads are (bytes a thread)."""

    wgmma: int
    mma: int
    tcgen05: int
    cp_async: int
    tma: int
    widest_load: int
    byte_loads: int


def count(ptx: str) -> Counts:
    """Count the instructions that matter. A load of one 8-bit value is a byte load; `.v4.b32` is 16 bytes wide."""
    loads = [int(vector or 1) * int(bits) // 8 for vector, bits in LOAD.findall(ptx)]
    copies = [int(size, 0) for size in COPY.findall(ptx)]
    tma = len(re.findall(r"\bcp\.async\.bulk\.tensor\.\S*shared::c\w+\S*\.global", ptx))
    return Counts(
        wgmma=len(re.findall(r"\bwgmma\.mma_async\b", ptx)),
        mma=len(re.findall(r"(?<![\w.])mma\.sync\b", ptx)),
        tcgen05=len(re.findall(r"\btcgen05\.mma\b", ptx)),
        cp_async=len(copies),
        tma=tma,
        widest_load=max([*loads, *copies], default=0),
        byte_loads=sum(size <= 1 for size in loads),
    )


def products(ttir: str) -> list[tuple[int, str]]:
    """(rows, operand type) of each product in Triton's own IR that tensor cores should do, helpers inlined.

    A float32 product of full precision ("ieee") is not among them: it runs on the ordinary units by choice.
    """
    found = [(int(rows), kind, options) for options, rows, kind in PRODUCT.findall(ttir)]
    return [(rows, kind) for rows, kind, options in found if kind != "f32" or "tf32" in options]


def missing_units(counts: Counts, wanted: list[tuple[int, str]], target: int) -> str:
    """Which tensor-core instruction the products ask for and the PTX lacks ("" if none is missing)."""
    if not wanted:
        return ""
    if target == 90 and max(rows for rows, _ in wanted) >= WGMMA_ROWS:
        return "" if counts.wgmma else "wgmma"
    return "" if counts.mma + counts.wgmma + counts.tcgen05 else "tensor-core"


def resources(cubin: bytes) -> tuple[int, int]:
    """(registers a thread, bytes of stack and local memory a thread): the second is what spilled."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        done = subprocess.run([tool, "-res-usage", path], capture_output=True, text=True, check=True)
    usage = dict(re.findall(r"\b(REG|STACK|LOCAL):(\d+)", done.stdout + done.stderr))
    return int(usage["REG"]), int(usage["STACK"]) + int(usage["LOCAL"])
