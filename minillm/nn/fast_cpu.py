"""Faster layers on a CPU, for as long as one asks for them: `with fast_layers(model): ...`.

The layers of the house are torch's own. Five things are faster by another way on the CPUs they were measured on
(BENCHMARKS.md has the figures), and this file is the only place that knows:

    one row, no gradient    writing one token reads every weight once, so a matrix times a vector should take as long
                            as reading the matrix. torch's BLAS keeps to one stream of memory; `four_rows` reads four.
    many rows               a training step, the reading of a prompt. torch sends a float32 product to its BLAS, on a PC
                            Intel's MKL. On an AMD EPYC oneDNN, which torch ships too, is the quicker one; on an
                            Intel Xeon it is not (the gradient of x takes up to twice as long), and MKL keeps them.
    a few rows, again and   several texts written side by side, guesses checked: oneDNN again, and only with weights in
    again                   the order in which it reads them. So whoever makes many passes may have them copied.
    GPT-2's GELU            x σ(2√(2/π) (x + 0.044715 x³)), the same as with tanh, because 1 + tanh(u) = 2 σ(2u): σ is
    and its gradient        the cheaper one, and value and slope come of one pass, in pieces that stay in the cache.
    norms under autocast    what a norm gives, q, k, v and the feed-forward layer each narrow to bfloat16 for
                            themselves, and their gradients back; it is narrowed once.

Everything else is as without, and the results are the same, rounding aside. Generation and the Trainer ask for it by
themselves. Book 7.1 언어 모델 추론 이해하기, 3.4 모델 학습시키기. Held against torch.nn.Linear and F.gelu.
Leaves out: gradients of gradients inside the block (they raise), other dtypes, layers of less than 2^17 weights.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from minillm._kernels import autocast_dtype
from minillm._machine import cpu_model
from minillm.nn.blocks import GELU_TANH, EncoderBlock, FeedForward, LayerNorm, RMSNorm

LARGE = 2**17  # weights from which reading them is what takes the time
MANY = 256  # rows from which oneDNN's product is the faster one
ONE_DNN = torch.backends.mkldnn.is_available()
MKL_AT_HOME = torch.backends.mkl.is_available() and "Intel" in cpu_model()
WORTH_A_COPY = 2**19  # weights of a layer; below, a few rows are no faster for it
COPIED_AT_MOST = 2**28  # numbers, 1 GiB
PASSES = 3  # with an unchanged weight, before it is copied


@contextmanager
def fast_layers(model: nn.Module, copies: bool = False) -> Iterator[None]:
    """Inside, the layers of `model` take the ways above where they apply; after it they are torch's again.

    copies: weights may be copied, 1 GiB at most, for as long as the block is open; what is written through
    `weight.data` or another library's view meanwhile is not seen, all other changes are. Safe to nest and to leave open
    (a generator that waits): what the layers compute does not change.
    """
    kept = _Copies() if copies and ONE_DNN and platform.machine() in ("x86_64", "AMD64") else None
    swaps = [swap for module in model.modules() for swap in _swaps(module, kept)]
    before = [vars(module).get(name) for module, name, _ in swaps]
    for module, name, fast in swaps:
        setattr(module, name, fast)
    try:
        yield
    finally:
        for (module, name, fast), old in zip(swaps, before):
            if vars(module).get(name) is not fast:
                continue  # somebody has put in another one meanwhile
            delattr(module, name) if old is None else setattr(module, name, old)


def _swaps(
    module: nn.Module, copies: _Copies | None
) -> Iterator[tuple[nn.Module, str, Callable[..., Tensor]]]:
    """(module, name of an attribute, what it is inside) of what has a faster way and has not got it yet."""
    if type(module) is nn.Linear and module.weight.numel() >= LARGE and "forward" not in vars(module):
        yield module, "forward", partial(_forward, module, copies)
    if isinstance(module, FeedForward) and module.activation is GELU_TANH:
        yield module, "activation", fast_gelu
    if isinstance(module, EncoderBlock) and module.pre_norm:  # else the norm's output is the residual, too
        for norm in (module.norm1, module.norm2):
            if isinstance(norm, (LayerNorm, RMSNorm)) and "forward" not in vars(norm):
                yield norm, "forward", partial(_narrowed_norm, norm)


def is_own(module: nn.Module) -> bool:
    """Whether a module computes what its class does: by it, or by one of the ways above."""
    forward = vars(module).get("forward")
    return forward is None or getattr(forward, "func", None) in (_forward, _narrowed_norm)


def _narrowed_norm(norm: LayerNorm | RMSNorm, x: Tensor) -> Tensor:
    """x (..., C) -> (..., C) in the dtype that autocast gives linear layers."""
    y = type(norm).forward(norm, x)
    narrow = autocast_dtype(y) if y.device.type == "cpu" else None
    return y if narrow is None else y.to(narrow)


def _forward(layer: nn.Linear, copies: _Copies | None, x: Tensor) -> Tensor:
    """x (..., C) -> (..., O)."""
    weight, bias = layer.weight, layer.bias
    way = _way(x, weight, copies)
    return F.linear(x, weight, bias) if way is None else way(x, weight, bias)


def _way(x: Tensor, weight: Tensor, copies: _Copies | None = None) -> Callable[..., Tensor] | None:
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
    if rows >= MANY and ONE_DNN and not MKL_AT_HOME:
        return _OneDNNLinear.apply if learning else one_dnn_product
    if rows > 1 and not learning and copies is not None and weight.numel() >= WORTH_A_COPY:
        copy = copies.of(weight)
        return None if copy is None else lambda x, _, bias: one_dnn_product(x, copy, bias)
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


def one_dnn_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b in float32 by oneDNN, through the operator that torch.compile uses too (it has no public name)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _OneDNNLinear(torch.autograd.Function):
    """y = x Wᵀ + b:   ∂L/∂x = g W,   ∂L/∂W = gᵀ x,   ∂L/∂b = Σ g   with g = ∂L/∂y."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return one_dnn_product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])  # (N, O)
        grad_x = one_dnn_product(grad, weight.t()) if need_x else None
        grad_weight = rows.t() @ x.reshape(-1, x.shape[-1]) if need_weight else None
        return grad_x, grad_weight, rows.sum(dim=0) if need_bias else None


# A few rows


def _reorder(weight: Tensor, rows: int) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, rows)


class _Copies:
    """Weights in the order in which oneDNN reads them. One that changes is copied anew."""

    def __init__(self) -> None:
        self.left = COPIED_AT_MOST
        self.kept: dict[int, _Copy] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> None:
        """A model that is copied inside the block would keep them for ever."""

    def of(self, weight: Tensor) -> Tensor | None:
        """The copy of a weight; None at its first passes, and where there is no room left."""
        if weight.is_inference():  # it does not tell whether it has changed
            return None
        state, found = (weight.data_ptr(), weight._version), self.kept.get(id(weight))
        if found is None or found.state != state:
            if found is not None and found.copy is not None:
                self.left += weight.numel()
            found = self.kept[id(weight)] = _Copy(weight, weight.detach(), state)
        found.passes += 1
        if found.copy is None and found.passes > PASSES and weight.numel() <= self.left:
            self.left -= weight.numel()
            # 16: the number of rows that oneDNN is to have in mind; for others it is good, too
            found.copy = _reorder(weight.detach(), 16)
        return found.copy


@dataclass
class _Copy:
    weight: Tensor  # held, so that its id is nobody else's,
    numbers: Tensor  # and so that its memory is not, after a `.to(...)` that gave it other memory
    state: tuple[int, int]  # where its numbers are, and how often they have changed
    passes: int = 0
    copy: Tensor | None = None


# GELU

LINEAR = 2 * math.sqrt(2 / math.pi)  # σ's argument is LINEAR · x + CUBIC · x³
CUBIC = LINEAR * 0.044715
AT_A_TIME = (
    2**17
)  # numbers worked on at a time: 512 kB of float32, so that a few such pieces stay in the cache


def fast_gelu(x: Tensor) -> Tensor:
    """GPT-2's GELU of x, any float tensor: the form with σ when training on a CPU, else torch's own."""
    if x.requires_grad and torch.is_grad_enabled() and x.device.type == "cpu":
        return _SigmoidForm.apply(x)
    return GELU_TANH(x)


class _SigmoidForm(torch.autograd.Function):
    """With u = LINEAR·x + CUBIC·x³ and s = σ(u):   y = x·s,   dy/dx = s + s·(1 - s)·x·u',   x·u' = 3u - 2·LINEAR·x"""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        x = x.contiguous()
        y, slope = torch.empty_like(x), torch.empty_like(x)
        wide = torch.promote_types(x.dtype, torch.float32)  # half precision is worked on in float32
        linear = torch.tensor(LINEAR, dtype=wide)
        pieces = (tensor.view(-1).split(AT_A_TIME) for tensor in (x, y, slope))
        for x_piece, y_piece, slope_piece in zip(*pieces):
            x_piece = x_piece.to(wide)
            u = torch.addcmul(linear, x_piece, x_piece, value=CUBIC).mul_(x_piece)
            s = torch.sigmoid(u)
            torch.mul(x_piece, s, out=y_piece)
            third = u.sub_(x_piece, alpha=2 / 3 * LINEAR)  # x·u' / 3
            torch.addcmul(s, torch.addcmul(s, s, s, value=-1), third, value=3, out=slope_piece)
        ctx.save_for_backward(slope)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return slope * grad
