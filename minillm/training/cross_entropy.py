"""Cross-entropy: how surprised the model is by the token that really came, in nats.

    loss = mean over tokens of  -log softmax(logits)[target]
         = mean over tokens of  log(sum_v exp(logits_v)) - logits_target
    d loss / d logits = (softmax(logits) - one_hot(target)) / number of targets

With label smoothing e the one-hot target becomes (1 - e) * one_hot + e / V: a model need not be certain.

Book: 2.8 주요 사전 학습 메커니즘. Paper of label smoothing: Szegedy et al. 2016.
Held against: torch.nn.functional.cross_entropy. Leaves out: class weights, targets that are distributions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from minillm._checks import check_number, describe
from minillm._kernels import register

# logits worked on at a time. On a CPU few enough to stay in its cache (2 MB of float32); a GPU wants few launches, and
# still not three more tables of the size of the logits
AT_A_TIME = {"cpu": 2**19}
AT_A_TIME_ELSEWHERE = 2**26


def cross_entropy_plain(
    logits: Tensor, targets: Tensor, ignore_index: int = -100, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy of logits (N, V) float against targets (N,) int64, in nats, a 0-d float32 tensor.

    Targets equal to `ignore_index` do not count; the mean of no targets is NaN, as in torch.
    Raises ValueError for wrong shapes, dtypes, or targets outside 0..V-1.
    """
    _check(logits, targets, ignore_index, label_smoothing)
    counted = targets != ignore_index
    logits, targets = logits[counted].float(), targets[counted]  # (M, V), (M,)
    # log softmax(x)_v = x_v - log(sum_u exp(x_u))
    log_probabilities = logits - torch.logsumexp(logits, dim=1, keepdim=True)  # (M, V)
    target_loss = -log_probabilities.gather(1, targets[:, None])[:, 0]  # (M,)
    uniform_loss = -log_probabilities.mean(dim=1)  # (M,)
    return ((1 - label_smoothing) * target_loss + label_smoothing * uniform_loss).mean()


def cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int = -100, label_smoothing: float = 0.0
) -> Tensor:
    """The same number, and the same gradient; by kernels/cross_entropy.py where `use_kernels` wants it.

    Fast because a few rows at a time go from logits to loss AND gradient while they are in the cache;
    autograd would write three float32 tables of the size of the logits to memory, and read them back.
    Raises ValueError as above; on a GPU, where asking would mean waiting, a target outside 0..V-1 gives NaN.
    """
    _check(logits, targets, ignore_index, label_smoothing)
    return _one_pass(logits, targets, ignore_index, label_smoothing)


def rows_at_once(x: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Losses (R, 1) of logits x float32 (R, V) and their gradient (R, V), softmax - (1 - e) * one_hot - e / V.

    target: int64 (R, 1), in 0..V-1.
    """
    gradient = torch.softmax(x, dim=1)  # (R, V)
    # log sum exp, read off the likeliest token: log p = x - log sum exp, and its p is at least 1 / V
    normaliser = x.amax(dim=1, keepdim=True) - gradient.amax(dim=1, keepdim=True).log()  # (R, 1)
    # loss = log sum exp - (1 - e) * logit of the target - e * mean logit
    loss = normaliser - (1 - smoothing) * x.gather(1, target)
    if smoothing:
        loss -= smoothing * x.mean(dim=1, keepdim=True)
        gradient -= smoothing / x.shape[1]
    gradient.scatter_add_(1, target, torch.full_like(normaliser, smoothing - 1))
    return loss, gradient


def counted_and_safe(targets: Tensor, ignore_index: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    """(which targets count, float32 with NaN where one is no id; the targets within 0..V-1). Nothing is waited for."""
    safe = targets.clamp(0, vocabulary - 1)
    counted = targets != ignore_index
    return torch.where(counted & (targets != safe), torch.nan, counted.float()), safe


class _LossWithGradient(torch.autograd.Function):
    """Computes the gradient in the forward pass, where the softmax is at hand anyway."""

    @staticmethod
    def forward(ctx, logits: Tensor, targets: Tensor, ignore_index: int, smoothing: float) -> Tensor:
        counted, safe = counted_and_safe(targets, ignore_index, logits.shape[1])
        number = (targets != ignore_index).sum()
        gradient = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        total = torch.zeros((), dtype=torch.float32, device=logits.device)
        chunk = max(1, AT_A_TIME.get(logits.device.type, AT_A_TIME_ELSEWHERE) // logits.shape[1])
        for start in range(0, len(logits), chunk):
            rows = slice(start, start + chunk)
            weight = counted[rows, None]  # (R, 1)
            loss, row_gradient = rows_at_once(logits[rows].float(), safe[rows, None], smoothing)
            total += torch.where(weight == 0, 0, loss * weight).sum()
            if gradient is not None:
                torch.mul(row_gradient, weight / number, out=gradient[rows])
        ctx.save_for_backward(gradient)
        return total / number

    @staticmethod
    @once_differentiable
    def backward(ctx, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        # the loss itself was differentiated: no second table. (On a GPU, asking would wait for the GPU.)
        unscaled = outer.device.type == "cpu" and outer.item() == 1
        return gradient if unscaled else gradient * outer, None, None, None


def in_float32(kernel: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """A loss of kernels/, which would be rounded to the dtype of the logits, as the float32 that it was."""
    return kernel(*arguments, out_dtype=torch.float32)


_one_pass = register(
    "cross_entropy",
    "kernels.cross_entropy:cross_entropy",
    lambda logits, *rest: True,
    _LossWithGradient.apply,
    in_float32,
)


def _check(logits: Tensor, targets: Tensor, ignore_index: int, label_smoothing: float) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.is_floating_point():
        raise ValueError(f"logits must be a float tensor (N, V), got {describe(logits)}")
    if not isinstance(targets, Tensor) or targets.shape != logits.shape[:1] or targets.dtype != torch.int64:
        raise ValueError(f"targets must be an int64 tensor ({len(logits)},), got {describe(targets)}")
    check_number("label_smoothing", label_smoothing, 0, 1)
    check_ids(targets, ignore_index, logits.shape[1])


def check_ids(targets: Tensor, ignore_index: int, vocabulary: int) -> None:
    """ValueError for a target that is neither an id nor ignored; not on a GPU, where its answer is waited for."""
    if targets.device.type != "cpu":
        return
    wrong = ((targets < 0) | (targets >= vocabulary)) & (targets != ignore_index)
    if wrong.any():
        raise ValueError(f"targets must be ids below {vocabulary}, got {targets[wrong][0].item()}")
