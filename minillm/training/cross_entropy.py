"""Cross-entropy: how surprised the model is by the token that really came, in nats.

    loss = mean over tokens of  -log softmax(logits)[target]
         = mean over tokens of  log(sum_v exp(logits_v)) - logits_target
    d loss / d logits = (softmax(logits) - one_hot(target)) / number of targets

With label smoothing e the one-hot target becomes (1 - e) * one_hot + e / V: a model is not asked to be
certain.

Book: 2.8 주요 사전 학습 메커니즘. Paper of label smoothing: Szegedy et al. 2016.
Held against: torch.nn.functional.cross_entropy. Leaves out: class weights, targets that are distributions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from minillm._checks import check_number, describe

AT_A_TIME = {
    "cpu": 2**19
}  # logits worked on at a time: on a CPU few enough to stay in its cache (2 MB of float32)
AT_A_TIME_ELSEWHERE = (
    2**26
)  # a GPU wants few launches, and still not three more tables of the size of the logits


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
    """The same number, and the same gradient.

    Fast because a few rows at a time go from logits to loss AND gradient while they are in the cache;
    autograd would write three float32 tables of the size of the logits to memory, and read them back.
    """
    _check(logits, targets, ignore_index, label_smoothing)
    return _LossWithGradient.apply(logits, targets, ignore_index, label_smoothing)


class _LossWithGradient(torch.autograd.Function):
    """Computes the gradient in the forward pass, where the softmax is at hand anyway."""

    @staticmethod
    def forward(ctx, logits: Tensor, targets: Tensor, ignore_index: int, smoothing: float) -> Tensor:
        vocabulary = logits.shape[1]
        counted = targets != ignore_index
        safe = torch.where(counted, targets, 0)
        number = counted.sum()
        gradient = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        total = torch.zeros((), dtype=torch.float32, device=logits.device)
        chunk = max(1, AT_A_TIME.get(logits.device.type, AT_A_TIME_ELSEWHERE) // vocabulary)
        for start in range(0, len(logits), chunk):
            rows = slice(start, start + chunk)
            x, target, weight = (
                logits[rows].float(),
                safe[rows, None],
                counted[rows, None],
            )  # (R, V), (R, 1), (R, 1)
            probability = torch.softmax(x, dim=1)  # (R, V)
            # log sum exp, read off the likeliest token: log p = x - log sum exp, and its p is at least 1 / V
            normaliser = x.amax(dim=1, keepdim=True) - probability.amax(dim=1, keepdim=True).log()  # (R, 1)
            # loss = log sum exp - (1 - e) * logit of the target - e * mean logit
            loss = normaliser - (1 - smoothing) * x.gather(1, target)
            if smoothing:
                loss -= smoothing * x.mean(dim=1, keepdim=True)
            total += torch.where(weight, loss, 0).sum()
            if gradient is not None:
                # (softmax - (1 - e) * one_hot - e / V) / number
                if smoothing:
                    probability -= smoothing / vocabulary
                probability.scatter_add_(1, target, torch.full_like(normaliser, smoothing - 1))
                torch.mul(probability, weight / number, out=gradient[rows])
        ctx.save_for_backward(gradient)
        return total / number

    @staticmethod
    @once_differentiable
    def backward(ctx, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        # the loss itself was differentiated: no second table. (On a GPU, asking would wait for the GPU.)
        unscaled = outer.device.type == "cpu" and outer.item() == 1
        return gradient if unscaled else gradient * outer, None, None, None


def _check(logits: Tensor, targets: Tensor, ignore_index: int, label_smoothing: float) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.is_floating_point():
        raise ValueError(f"logits must be a float tensor (N, V), got {describe(logits)}")
    if not isinstance(targets, Tensor) or targets.shape != logits.shape[:1] or targets.dtype != torch.int64:
        raise ValueError(f"targets must be an int64 tensor ({len(logits)},), got {describe(targets)}")
    check_number("label_smoothing", label_smoothing, 0, 1)
    wrong = ((targets < 0) | (targets >= logits.shape[1])) & (targets != ignore_index)
    if wrong.any():
        raise ValueError(f"targets must be ids below {logits.shape[1]}, got {targets[wrong][0].item()}")
