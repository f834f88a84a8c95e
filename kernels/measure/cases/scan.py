"""The shipped configurations of the selective scan, with gradients: sizes of Mamba-130M to 2.8B, and odd ones."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kernels.measure.compile_ahead import Case
from kernels.selective_scan import selective_scan

HALF, BF16, FP32 = torch.float16, torch.bfloat16, torch.float32


def of_scan(width: int, states: int, dtype: torch.dtype, learning: bool = True) -> Callable[[], None]:
    """A text of 20 tokens as a layer gives it: x and the gate of one projection, B and C of another; gradients too."""

    def call() -> None:
        both = torch.ones(1, 20, 2 * width, dtype=dtype, requires_grad=learning)
        (x, gate), rank = both.chunk(2, dim=-1), width // 32
        picked = torch.ones(1, 20, rank + 2 * states, dtype=dtype, requires_grad=learning)
        _, B, C = picked.split([rank, states, states], dim=-1)
        dt = torch.ones(1, 20, width, dtype=dtype, requires_grad=learning)
        A, skip = -torch.ones(width, states), torch.ones(width)
        y, state = selective_scan(x, dt, A, B, C, skip, gate)
        if learning:
            torch.autograd.backward([y, state], [torch.ones_like(y), torch.ones_like(state)])

    return call


SIZES = [  # width inside a layer, states a channel, dtype, with gradients
    (1536, 16, BF16, True),
    (5120, 16, BF16, True),
    (5120, 16, BF16, False),
    (1536, 16, HALF, True),
    (1536, 16, FP32, True),
    (2048, 64, BF16, True),
    (100, 5, BF16, True),
]
CASES = [
    Case(
        f"selective_scan {width} x {states} {str(dtype).removeprefix('torch.')}{', forward alone' * (not learning)}",
        of_scan(width, states, dtype, learning),
    )
    for width, states, dtype, learning in SIZES
]
