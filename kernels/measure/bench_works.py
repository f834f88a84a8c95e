"""What bench.py measures: works with their peers, their references, and the least they must move or compute.

Two counts decide how fast a kernel can be (the roofline, 루프라인; book 8.2 효율적인 트랜스포머 연산):

    time >= max(FLOP / FLOP/s of the tensor cores, bytes / bytes/s of the memory)

The formulas below count the fewest: each input read once, each output written once, and of the arithmetic only the
matrix products. They are the conventions of the FlashAttention papers, so that TFLOP/s compare with theirs.
The works themselves are in works/, a file a room; a work makes its tensors only when it is measured.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

# tiny: small enough for Triton's interpreter, so that a test can run every work
SIZES = ("full", "quick", "tiny")
ROOMS = ("attention", "fusion", "quantized", "scan")


class Pair(NamedTuple):
    """What a kernel computed beside what it should have computed."""

    what: str
    got: Tensor
    expected: Tensor


@dataclass
class Trial:
    """A work with its tensors made.

    ours, peers: calls without arguments that do the same work. pairs: runs ours and a reference in float64 (on a part
    of the work where all of it would not fit) and returns what to compare.
    """

    ours: Callable[[], Any]
    peers: dict[str, Callable[[], Any]]
    pairs: Callable[[], list[Pair]]


@dataclass(frozen=True)
class Work:
    """One line of the benchmark.

    kernel: the public function. name: what it is given. build(device): makes the Trial. flops, bytes: the fewest.
    calls: how often one run of the trial does the work (the counts are of one run). targets: what the line must reach,
    {"TFLOP/s": 450, "floor": 0.8, "sdpa flash": 1.2}: rate, part of the floor, ratio to that peer.
    host: measured by the host's clock (launch overhead). memory: the peak of device memory is compared too.
    series, x: where it goes in the plot, if it goes there.
    """

    kernel: str
    name: str
    build: Callable[[str], Trial]
    flops: int = 0
    bytes: int = 0
    calls: int = 1
    targets: dict[str, float] = field(default_factory=dict)
    host: bool = False
    memory: bool = False
    series: str = ""
    x: int = 0

    @property
    def bound(self) -> str:
        """Which floor holds: "compute" (a bf16 product, int8 may exceed it) where products are counted, or "memory"."""
        return "compute" if self.flops else "memory"


def attention_flops(
    B: int, H: int, T: int, S: int, D: int, causal: bool = False, backward: bool = False
) -> int:
    """Two products of T x S x D a head, two operations a multiply-add; a causal mask leaves half.

    The backward pass has five such products where the forward has two: 2.5 times as much, 3.5 with the forward.
    """
    forward = 4 * B * H * T * S * D // (2 if causal else 1)
    return forward * 7 // 2 if backward else forward


def matmul_flops(M: int, O: int, I: int) -> int:
    """A multiply and an add for each of M x O x I."""
    return 2 * M * O * I


def nbytes(count: int, dtype: torch.dtype, times: int = 1) -> int:
    """Bytes that `times` passes over `count` numbers move."""
    return times * count * dtype.itemsize


def decode_bytes(lengths: Sequence[int], H: int, K: int, D: int, dtype: torch.dtype) -> int:
    """Paged decode: every key and value of every sequence once, a query and an output a head."""
    return nbytes(2 * sum(lengths) * K * D + 2 * len(lengths) * H * D, dtype)


def w4_bytes(M: int, O: int, I: int, group_size: int, dtype: torch.dtype) -> int:
    """A 4-bit weight: half a byte a number, a float32 scale a group, and the rows that come in and go out."""
    return O * I // 2 + 4 * O * -(-I // group_size) + nbytes(M * I + M * O, dtype)


def compiled(function: Callable, device: str) -> Callable:
    """torch.compile of a plain reference, one program a shape; on a CPU, where nothing is timed, as it is."""
    return torch.compile(function, dynamic=False) if device == "cuda" else function


def normal(
    *shape: int, device: str, dtype: torch.dtype = torch.bfloat16, seed: int = 0, grad: bool = False
) -> Tensor:
    """Standard normal numbers: zeros would run faster than real data does."""
    generator = torch.Generator(device).manual_seed(seed)
    x = torch.randn(shape, generator=generator, device=device, dtype=torch.float32).to(dtype)
    return x.requires_grad_(grad)


def doubled(*tensors: Tensor) -> list[Tensor]:
    """Float64 copies that ask for gradients where the originals do."""
    return [x.detach().double().requires_grad_(x.requires_grad) for x in tensors]


def with_gradients(
    call: Callable[..., Any], inputs: Sequence[Tensor], upstream: Sequence[Tensor]
) -> Callable:
    """A call that runs forward and backward; it returns the outputs and the gradients of `inputs`."""

    def run() -> list[Tensor]:
        outputs = call(*inputs)
        outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        return outputs + list(torch.autograd.grad(outputs, inputs, upstream))

    return run


def plan(size: str = "full", only: str = "") -> list[Work]:
    """All works of a size whose "kernel, name" holds `only`, in the order in which they are measured.

    Raises ValueError for another size.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    works: list[Work] = []
    for room in ROOMS:
        works += importlib.import_module(f"kernels.measure.works.{room}").works(size)
    return [work for work in works if only in f"{work.kernel}, {work.name}"]
