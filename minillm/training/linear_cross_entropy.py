"""The last layer and its loss in one, so that the logits are never there as a whole.

    loss = cross_entropy(h W^T + b, targets)     with G = d loss / d logits:   dh = G W,   dW = G^T h,   db = sum of G

8,192 tokens and a vocabulary of 128,000 make 4 GB of float32 logits and as much gradient; but G needs only its own
row of logits. So rows come in chunks: a chunk's logits are made, turned into G, and G into its shares of dh and dW,
before the next chunk takes the place. All of that happens in the forward pass, and costs the same products.

Book: 8.3.1 커널 퓨전, 2.8 주요 사전 학습 메커니즘. Paper: Hsu et al. 2024 (Liger kernel).
Held against: F.cross_entropy(F.linear(h, W, b)). Leaves out: class weights, a soft cap of the logits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from minillm._checks import check_number, describe
from minillm._kernels import autocast_dtype, register
from minillm.training.cross_entropy import (
    check_ids,
    counted_and_safe,
    cross_entropy_plain,
    in_float32,
    rows_at_once,
)

FEWEST_ROWS = 256  # of a chunk: W is read, and the sum of dW read and written, once a chunk


def linear_cross_entropy_plain(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The formula: hidden (..., C), weight (V, C), targets (...) int64, bias (V,) -> mean loss in nats, 0-d float32."""
    _check(hidden, weight, targets, bias, label_smoothing)
    logits = F.linear(hidden.reshape(-1, hidden.shape[-1]), weight, bias)  # (N, V)
    return cross_entropy_plain(logits, targets.reshape(-1), ignore_index, label_smoothing)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The same number, and the same gradients of hidden, weight and bias, in a fraction of the memory.

    By kernels/linear_cross_entropy.py where `use_kernels` wants it, else chunk by chunk in torch. Autocast narrows
    hidden, weight and bias as it does for F.linear. Targets equal to `ignore_index` do not count; the mean of no
    targets is NaN. Raises ValueError for shapes, dtypes or devices that do not fit, or targets outside 0..V-1; on a
    GPU, where asking would mean waiting, those give NaN.
    """
    _check(hidden, weight, targets, bias, label_smoothing)
    check_ids(targets, ignore_index, len(weight))
    narrow = autocast_dtype(hidden) or hidden.dtype
    rows = hidden.reshape(-1, hidden.shape[-1]).to(narrow)  # (N, C)
    bias = None if bias is None else bias.to(narrow)
    return _chunked(rows, weight.to(narrow), targets.reshape(-1), bias, ignore_index, label_smoothing)


class _Chunked(torch.autograd.Function):
    """Computes the gradients in the forward pass, where a chunk's logits are at hand."""

    @staticmethod
    def forward(
        ctx,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        bias: Tensor | None,
        ignore_index: int,
        smoothing: float,
    ) -> Tensor:
        (N, C), V = hidden.shape, len(weight)
        counted, safe = counted_and_safe(targets, ignore_index, V)
        wanted = [ctx.needs_input_grad[place] for place in (0, 1, 3)]
        d_hidden = torch.empty_like(hidden) if wanted[0] else None
        d_weight, d_bias = (
            torch.zeros(shape, device=hidden.device) if want else None
            for shape, want in zip(((V, C), (V,)), wanted[1:])
        )
        total = torch.zeros((), device=hidden.device)
        # as many rows as make the logits of a chunk as large as hidden, but not so few that W is read all the time
        chunk = max(FEWEST_ROWS, N * C // V)
        for start in range(0, N, chunk):
            rows = slice(start, start + chunk)
            h, weights = hidden[rows], counted[rows, None]
            logits = F.linear(h, weight, bias).float()  # (R, V)
            loss, gradient = rows_at_once(logits, safe[rows, None], smoothing)
            total += torch.where(weights == 0, 0, loss * weights).sum()
            gradient = gradient.mul_(weights).to(h.dtype)
            if wanted[0]:
                torch.mm(gradient, weight, out=d_hidden[rows])
            if wanted[1]:
                d_weight += gradient.T @ h
            if wanted[2]:
                d_bias += gradient.sum(dim=0)
        number = (targets != ignore_index).sum()
        ctx.dtype = hidden.dtype
        ctx.save_for_backward(number, d_hidden, d_weight, d_bias)
        return total / number

    @staticmethod
    @once_differentiable
    def backward(ctx, outer: Tensor) -> tuple[Tensor | None, ...]:
        number, *gradients = ctx.saved_tensors
        d_hidden, d_weight, d_bias = (
            None if gradient is None else (gradient * (outer / number)).to(ctx.dtype)
            for gradient in gradients
        )
        return d_hidden, d_weight, None, d_bias, None, None


def _check(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, label_smoothing: float
) -> None:
    for name, x, axes in (("hidden", hidden, None), ("weight", weight, 2), ("bias", bias, 1)):
        if name == "bias" and x is None:
            continue
        if not isinstance(x, Tensor) or not x.is_floating_point() or not x.ndim or x.ndim != (axes or x.ndim):
            raise ValueError(
                f"{name} must be a float tensor, hidden (..., C), weight (V, C), got {describe(x)}"
            )
        if x.dtype != hidden.dtype or x.device != hidden.device:
            raise ValueError(
                f"{name} must be {hidden.dtype} on {hidden.device} as hidden is, got {describe(x)}"
            )
    if weight.shape[1] != hidden.shape[-1] or (bias is not None and bias.shape != weight.shape[:1]):
        shapes = [None if x is None else tuple(x.shape) for x in (hidden, weight, bias)]
        raise ValueError(f"hidden (..., C), weight (V, C) and bias (V,) must fit together, got {shapes}")
    if not isinstance(targets, Tensor) or targets.shape != hidden.shape[:-1] or targets.dtype != torch.int64:
        raise ValueError(
            f"targets must be an int64 tensor {tuple(hidden.shape[:-1])}, got {describe(targets)}"
        )
    check_number("label_smoothing", label_smoothing, 0, 1)


_chunked = register(
    "linear_cross_entropy",
    "kernels.linear_cross_entropy:linear_cross_entropy",
    lambda hidden, *rest: True,
    _Chunked.apply,
    in_float32,
)
