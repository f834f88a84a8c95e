"""The shipped configurations of softmax, the norms, rotary and SwiGLU: every branch of settings, with gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.layer_norm import layer_norm
from kernels.measure.compile_ahead import Case
from kernels.rms_norm import rms_norm
from kernels.rotary import rotary
from kernels.softmax import softmax
from kernels.swiglu import swiglu

HALF, BF16, FP32 = torch.float16, torch.bfloat16, torch.float32


def ones(*shape: int, dtype: torch.dtype = FP32) -> Tensor:
    """A tensor of ones that requires a gradient."""
    return torch.ones(shape, dtype=dtype, requires_grad=True)


def of_softmax(width: int, dtype: torch.dtype) -> Callable[[], None]:
    """The softmax of 4 rows and its gradient."""
    return lambda: softmax(ones(4, width, dtype=dtype)).sum().backward()


def of_norm(
    norm: Callable, width: int, dtype: torch.dtype, weights: torch.dtype, residual: bool
) -> Callable[[], None]:
    """A norm whose weights (for layer norm a bias too) have a dtype of their own; with a residual, of both outputs."""

    def call() -> None:
        x, r = ones(4, width, dtype=dtype), ones(4, width, dtype=dtype) if residual else None
        affine = [ones(width, dtype=weights) for _ in range(2 if norm is layer_norm else 1)]
        y = norm(x, *affine, residual=r)
        torch.autograd.backward(y, [torch.ones_like(x)] * 2 if residual else torch.ones_like(x))

    return call


def of_rotary(
    width: int, turned: int, dtype: torch.dtype, interleaved: bool, keys: int = 8
) -> Callable[[], None]:
    """32 query heads and `keys` key heads, in the layout a projection leaves them in; cos and sin in float32."""

    def call() -> None:
        table = torch.ones(4, turned // 2)
        q, k = (ones(1, 4, heads, width, dtype=dtype).transpose(1, 2) for heads in (32, max(keys, 1)))
        if keys:
            q, k = rotary(q, k, table, table, interleaved)
            torch.autograd.backward([q, k], [torch.ones_like(q), torch.ones_like(k)])
        else:
            rotary(q, None, table, table, interleaved)

    return call


def of_swiglu(rows: int, width: int, dtype: torch.dtype, packed: bool) -> Callable[[], None]:
    """The gated product and its gradients. packed: gate and up are the halves of one tensor, as one projection
    leaves them."""

    def call() -> None:
        x = ones(rows, 2 * width, dtype=dtype)
        gate, up = x.chunk(2, dim=-1) if packed else (ones(rows, width, dtype=dtype) for _ in range(2))
        swiglu(gate, up).sum().backward()

    return call


def name(dtype: torch.dtype) -> str:
    """A dtype as it stands in the name of a case: bfloat16."""
    return str(dtype).removeprefix("torch.")


SOFTMAX = [(64, BF16), (4096, BF16), (16384, BF16), (32000, BF16), (50257, BF16), (4096, HALF)]
SOFTMAX += [(16384, FP32), (50257, FP32), (131072, FP32)]
NORMS = [  # width, dtype of x, dtype of the weights, residual
    (64, BF16, BF16, False),
    (64, FP32, FP32, True),
    (768, BF16, FP32, True),
    (2048, BF16, BF16, False),
    (2048, FP32, FP32, True),
    (4096, BF16, BF16, True),
    (4096, HALF, FP32, False),
    (5120, BF16, FP32, True),
    (8192, BF16, BF16, False),
    (8192, FP32, FP32, True),
    (16384, BF16, FP32, True),  # two parts a row
    (16384, FP32, FP32, False),
]
ROTARY = [  # head width, turned part, dtype, interleaved
    (64, 64, BF16, False),
    (128, 128, BF16, False),
    (128, 128, BF16, True),
    (96, 96, HALF, False),
    (80, 32, BF16, False),
    (256, 64, BF16, True),
    (256, 256, FP32, False),
    (128, 128, FP32, True),
]
SWIGLU = [(16, 11008, BF16, False), (16, 11008, BF16, True), (64, 256, BF16, True), (16, 11008, FP32, True)]

CASES = [Case(f"softmax {width} {name(dtype)}", of_softmax(width, dtype)) for width, dtype in SOFTMAX]
CASES += [
    Case(
        f"{norm.__name__} {width} {name(dtype)}, weights {name(weights)}{', residual' * residual}",
        of_norm(norm, width, dtype, weights, residual),
    )
    for norm in (rms_norm, layer_norm)
    for width, dtype, weights, residual in NORMS
]
CASES += [
    Case(
        f"rotary {turned} of {width} {name(dtype)}{', interleaved' * interleaved}",
        of_rotary(width, turned, dtype, interleaved),
    )
    for width, turned, dtype, interleaved in ROTARY
]
CASES += [Case("rotary 128 of 128 bfloat16, q alone", of_rotary(128, 128, BF16, False, keys=0))]
CASES += [
    Case(
        f"swiglu {rows} x {width} {name(dtype)}{', halves of one' * packed}",
        of_swiglu(rows, width, dtype, packed),
    )
    for rows, width, dtype, packed in SWIGLU
]
