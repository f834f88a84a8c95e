"""The shipped configurations of the two losses: short and long rows, rows at odd addresses, in place or not."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kernels.cross_entropy import cross_entropy
from kernels.linear_cross_entropy import linear_cross_entropy
from kernels.measure.compile_ahead import Case

HALF, BF16, FP32 = torch.float16, torch.bfloat16, torch.float32


def loss(width: int, dtype: torch.dtype, smoothing: float = 0.0, **options: bool) -> Callable[[], object]:
    """A loss of logits (16, width), and its gradient unless gradient=False."""
    gradient = options.pop("gradient", True)

    def call() -> None:
        logits = torch.zeros(16, width, dtype=dtype, requires_grad=gradient)
        if options:  # a leaf may not be overwritten
            logits = logits * 2
        found = cross_entropy(logits, torch.zeros(16, dtype=torch.long), -100, smoothing, **options)
        if gradient:
            found.backward()

    return call


def last_layer(width: int, dtype: torch.dtype) -> Callable[[], object]:
    """The loss of a last layer and its three gradients."""

    def call() -> None:
        shapes = ((4, 16), (width, 16), (width,))
        hidden, weight, bias = (torch.zeros(shape, dtype=dtype, requires_grad=True) for shape in shapes)
        linear_cross_entropy(hidden, weight, torch.zeros(4, dtype=torch.long), bias).backward()

    return call


# up to 16,384 in registers; GPT-2's divides by nothing
WIDTHS = (64, 1000, 4096, 16_384, 32_000, 50_257, 131_072)

CASES = [Case(f"cross_entropy V{width} bf16", loss(width, BF16)) for width in WIDTHS]
CASES += [Case(f"cross_entropy V{width} fp16 smoothed", loss(width, HALF, 0.1)) for width in (16_384, 50_257)]
CASES += [
    Case(f"cross_entropy V{width} fp32 smoothed", loss(width, FP32, 0.1)) for width in (16_384, 131_072)
]
CASES += [
    Case(f"cross_entropy V{width} bf16 forward", loss(width, BF16, gradient=False))
    for width in (4096, 131_072)
]
CASES += [
    Case(f"cross_entropy V{width} bf16 in place", loss(width, BF16, overwrite_logits=True))
    for width in (4096, 50_257)
]
CASES += [Case(f"linear_cross_entropy V{width} bf16", last_layer(width, BF16)) for width in (4096, 50_257)]
CASES += [Case("linear_cross_entropy V131072 fp32", last_layer(131_072, FP32))]
