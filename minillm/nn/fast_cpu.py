"""Faster linear layers on a CPU, for as long as one asks for them: `with fast_linear(model): ...`.

The layers of the house are torch's own. Two products in float32 are faster by another way on every CPU they were
measured on (BENCHMARKS.md has the figures), and this file is the only place that knows:

    one row, no gradient    writing one token reads every weight once, so a matrix times a vector should take as long
                            as reading the matrix. torch's BLAS keeps to one stream of memory; `four_rows` reads four.
    many rows, a gradient   a training step. torch sends a float32 product to its BLAS; of the two libraries it ships
                            with, oneDNN is the quicker one.

Everything else goes to torch.nn.functional.linear, and the results are the same, rounding aside. Generation and the
Trainer ask for it by themselves. Book 7.1 언어 모델 추론 이해하기. Held against torch.nn.Linear.
Leaves out: gradients of gradients inside the block (they raise), other dtypes, layers of less than 2^17 weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LARGE = 2**17  # weights from which reading them is what takes the time
MANY = 256  # rows from which oneDNN's product is the faster one
ONE_DNN = torch.backends.mkldnn.is_available()


@contextmanager
def fast_linear(model: nn.Module) -> Iterator[None]:
    """Inside, the large linear layers of `model` take the ways above where they apply; after it they are torch's again.

    Safe to nest and to leave open (a generator that waits): what the layers compute does not change.
    """
    layers = [m for m in model.modules() if type(m) is nn.Linear and m.weight.numel() >= LARGE]
    layers = [m for m in layers if "forward" not in vars(m)]  # those of an outer block stay its own
    forwards = [partial(_forward, layer) for layer in layers]
    for layer, forward in zip(layers, forwards):
        layer.forward = forward
    try:
        yield
    finally:
        for layer, forward in zip(layers, forwards):
            if vars(layer).get("forward") is forward:  # else somebody has put in another one meanwhile
                del layer.forward


def _forward(layer: nn.Linear, x: Tensor) -> Tensor:
    """x (..., C) -> (..., O)."""
    weight, bias = layer.weight, layer.bias
    way = _way(x, weight)
    return F.linear(x, weight, bias) if way is None else way(x, weight, bias)


def _way(x: Tensor, weight: Tensor) -> Callable[..., Tensor] | None:
    """The faster product of x (..., C) and weight (O, C), or None."""
    if not (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and x.shape[-1] == weight.shape[1]
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
    ):
        return None
    rows, learning = x.numel() // x.shape[-1], torch.is_grad_enabled()
    if rows == 1 and not learning and weight.shape[0] % 4 == 0:
        return one_row_linear
    if rows >= MANY and learning and ONE_DNN:
        return _OneDNNLinear.apply
    return None


# One row


@njit(
    cache=True, fastmath=True, nogil=True
)  # sums in any order (fastmath) let the compiler use wide registers
def four_rows(weight, x, y):  # pragma: no cover
    """y[o] = weight[o] . x for all o, four at a time: weight (O, C) with O divisible by 4, x (C,), y (O,)."""
    for o in range(0, weight.shape[0], 4):
        a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for i in range(x.size):
            a += weight[o, i] * x[i]
            b += weight[o + 1, i] * x[i]
            c += weight[o + 2, i] * x[i]
            d += weight[o + 3, i] * x[i]
        y[o], y[o + 1], y[o + 2], y[o + 3] = a, b, c, d


def one_row_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """y = W x + b of one row: x (1, ..., 1, C), weight (O, C), O divisible by 4, bias (O,) -> (1, ..., 1, O)."""
    y = torch.empty(*x.shape[:-1], weight.shape[0])
    four_rows(weight.detach().numpy(), x.detach().reshape(-1).numpy(), y.view(-1).numpy())
    return y if bias is None else y.add_(bias)


# Many rows


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b in float32 by oneDNN, through the operator that torch.compile uses too (it has no public name)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _OneDNNLinear(torch.autograd.Function):
    """y = x Wᵀ + b:   ∂L/∂x = g W,   ∂L/∂W = gᵀ x,   ∂L/∂b = Σ g   with g = ∂L/∂y."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])  # (N, O)
        grad_x = _product(grad, weight.t()) if need_x else None
        grad_weight = rows.t() @ x.reshape(-1, x.shape[-1]) if need_weight else None
        return grad_x, grad_weight, rows.sum(dim=0) if need_bias else None
