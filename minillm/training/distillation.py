"""Distillation: a student learns what a teacher thinks of every token, and not only which token came.

    p = softmax(teacher / T),  q = softmax(student / T)              T: temperature, above 1 it flattens both
    KL(p || q) = sum_v p_v (log p_v - log q_v)                       forward: q must cover all that p finds possible
    KL(q || p) = sum_v q_v (log q_v - log p_v)                       reverse: q must keep to what p finds possible
    loss = alpha * T² * KL(p || q) + (1 - alpha) * cross_entropy(student, targets)

d KL(p || q) / d student = (q - p) / T, and q - p itself shrinks like 1 / T: T² keeps the two parts of the loss in
proportion while T changes. All are means over the tokens that count, in nats.

Book: 7.3 지식 증류 활용하기. Papers: Hinton et al. 2015; Gu et al. 2024 (MiniLLM, reverse KL); Sanh et al. 2019
(DistilBERT, hidden states), Jiao et al. 2020 (TinyBERT, projections). Held against: torch.nn.functional.kl_div.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from minillm._checks import check_int, check_number, describe
from minillm.training.cross_entropy import AT_A_TIME, AT_A_TIME_ELSEWHERE, cross_entropy


def forward_kl_plain(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Mean of KL(teacher || student) over the tokens of `mask`, without the factor T², in nats, a 0-d float32 tensor.

    student_logits, teacher_logits: float (..., V); mask: bool (...), None for all. The teacher gets no gradient. The
    mean of no tokens is NaN. Raises ValueError for shapes that do not fit (other vocabularies), dtypes, or a
    temperature that is not above 0.
    """
    student, teacher = _rows(student_logits, teacher_logits, temperature, mask)
    log_p = torch.log_softmax(teacher / temperature, dim=1)  # (M, V)
    log_q = torch.log_softmax(student / temperature, dim=1)  # (M, V)
    return _expected(log_p, log_p - log_q).mean()


def reverse_kl_plain(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Mean of KL(student || teacher); else as forward_kl_plain."""
    student, teacher = _rows(student_logits, teacher_logits, temperature, mask)
    log_p = torch.log_softmax(teacher / temperature, dim=1)  # (M, V)
    log_q = torch.log_softmax(student / temperature, dim=1)  # (M, V)
    return _expected(log_q, log_q - log_p).mean()


def forward_kl(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """The same number and gradient as forward_kl_plain, in a fraction of the memory.

    A few rows at a time go from logits to loss and gradient while they are in the cache; autograd would keep half a
    dozen float32 tables of the size of the logits.
    """
    return _chunked(_forward_rows, student_logits, teacher_logits, temperature, mask)


def reverse_kl(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """The same number and gradient as reverse_kl_plain, in a fraction of the memory."""
    return _chunked(_reverse_rows, student_logits, teacher_logits, temperature, mask)


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    temperature: float = 2.0,
    alpha: float = 0.5,
    ignore_index: int = -100,
    kl: Callable[..., Tensor] = forward_kl,
) -> Tensor:
    """alpha T² KL + (1 - alpha) cross-entropy of logits (..., V) against targets (...) int64, a 0-d float32 tensor.

    Logits and targets stand at the same places (a causal model's have been shifted). Where the target is
    `ignore_index` neither part counts. kl: forward_kl, reverse_kl or a function of the same form. alpha in [0, 1].
    Raises ValueError as forward_kl, and for targets of another shape or outside 0..V-1.
    """
    check_number("alpha", alpha, 0, 1), check_int("ignore_index", ignore_index)
    if not callable(kl):
        raise ValueError(f"kl must be a function like forward_kl, got {describe(kl)}")
    _check(student_logits, teacher_logits, temperature, None)
    if not isinstance(targets, Tensor) or targets.shape != student_logits.shape[:-1]:
        raise ValueError(
            f"targets must have the shape {tuple(student_logits.shape[:-1])} of the logits without the last axis, "
            f"got {describe(targets)}"
        )
    return _both_parts(student_logits, teacher_logits, targets, temperature, alpha, ignore_index, kl)


def _both_parts(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    temperature: float,
    alpha: float,
    ignore_index: int,
    kl: Callable[..., Tensor],
) -> Tensor:
    # soft: all that the teacher thinks of the next token; T² undoes the 1 / T² of its gradient
    soft = temperature**2 * kl(student_logits, teacher_logits, temperature, targets != ignore_index)
    # hard: the token that came
    hard = cross_entropy(student_logits.flatten(0, -2), targets.flatten(), ignore_index)
    return alpha * soft + (1 - alpha) * hard


def hidden_state_loss(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, kind: str = "mse"
) -> Tensor:
    """How far hidden states (..., C) are from a teacher's of the same shape; mean over the tokens of `mask` (...).

    kind: "mse", the mean of squared differences (TinyBERT), or "cosine", 1 - cos of the angle (DistilBERT). The
    teacher gets no gradient. ValueError for other shapes: a student of another width is projected first.
    """
    for name, x in (("student", student), ("teacher", teacher)):
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 2 or x.shape != student.shape:
            raise ValueError(
                f"hidden states must be two float tensors (..., C) of one shape, got {name} {describe(x)}; a student "
                "of another width needs a projection to the teacher's"
            )
    if mask is not None:
        _check_mask(mask, student.shape[:-1])
        student, teacher = student[mask], teacher[mask]
    student, teacher = student.float(), teacher.detach().float()
    if kind == "mse":
        return F.mse_loss(student, teacher)
    if kind == "cosine":
        return (1 - F.cosine_similarity(student, teacher, dim=-1)).mean()
    raise ValueError(f"kind must be 'mse' or 'cosine', got {describe(kind)}")


def _expected(log_weights: Tensor, values: Tensor) -> Tensor:
    """sum_v exp(log_weights_v) values_v over the last axis; what has no weight counts nothing, whatever its value."""
    return (log_weights.exp() * values.masked_fill(log_weights == -math.inf, 0)).sum(dim=-1)


def _rows(student: Tensor, teacher: Tensor, temperature: float, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both logits as float32 rows (M, V) of the tokens that count; the teacher's without a gradient."""
    _check(student, teacher, temperature, mask)
    if mask is None:
        mask = torch.ones(student.shape[:-1], dtype=torch.bool, device=student.device)
    return student[mask].float(), teacher.detach()[mask].float()


def _forward_rows(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """KL(p || q) of float32 rows (R, V), each (R,), and its gradient (R, V): (q - p) / T."""
    log_p, log_q = torch.log_softmax(teacher / temperature, 1), torch.log_softmax(student / temperature, 1)
    return _expected(log_p, log_p - log_q), (log_q.exp() - log_p.exp()) / temperature


def _reverse_rows(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """KL(q || p) and its gradient: q (log q - log p - KL) / T."""
    log_p, log_q = torch.log_softmax(teacher / temperature, 1), torch.log_softmax(student / temperature, 1)
    loss = _expected(log_q, log_q - log_p)
    pull = torch.where(log_q == -math.inf, 0, log_q.exp() * (log_q - log_p - loss[:, None]))
    return loss, pull / temperature


class _LossWithGradient(torch.autograd.Function):
    """Computes the gradient in the forward pass, where both distributions are at hand."""

    @staticmethod
    def forward(
        ctx, student: Tensor, teacher: Tensor, mask: Tensor, temperature: float, rows_at_once
    ) -> Tensor:
        gradient = torch.empty_like(student) if ctx.needs_input_grad[0] else None
        total, number = torch.zeros((), device=student.device), mask.sum()
        chunk = max(1, AT_A_TIME.get(student.device.type, AT_A_TIME_ELSEWHERE) // student.shape[1])
        for start in range(0, len(student), chunk):
            rows = slice(start, start + chunk)
            counted = mask[rows]
            loss, pull = rows_at_once(student[rows].float(), teacher[rows].float(), temperature)
            total += torch.where(counted, loss, 0).sum()
            if gradient is not None:
                gradient[rows] = torch.where(counted[:, None], pull, 0) / number
        ctx.save_for_backward(gradient)
        return total / number

    @staticmethod
    @once_differentiable
    def backward(ctx, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None, None, None


def _chunked(
    rows_at_once: Callable[..., tuple[Tensor, Tensor]],
    student: Tensor,
    teacher: Tensor,
    temperature: float,
    mask: Tensor | None,
) -> Tensor:
    _check(student, teacher, temperature, mask)
    if mask is None:
        mask = torch.ones(student.shape[:-1], dtype=torch.bool, device=student.device)
    flat = student.reshape(-1, student.shape[-1]), teacher.detach().reshape(-1, teacher.shape[-1])
    return _LossWithGradient.apply(*flat, mask.reshape(-1), temperature, rows_at_once)


def _check(student: Tensor, teacher: Tensor, temperature: float, mask: Tensor | None) -> None:
    for name, logits in (("student_logits", student), ("teacher_logits", teacher)):
        floats = isinstance(logits, Tensor) and logits.is_floating_point()
        if not floats or logits.ndim < 2 or not logits.shape[-1]:
            raise ValueError(f"{name} must be a float tensor (..., V), got {describe(logits)}")
    if student.shape[-1] != teacher.shape[-1]:
        raise ValueError(
            f"student and teacher must have one vocabulary, got logits for {student.shape[-1]} and "
            f"{teacher.shape[-1]} ids; texts that the teacher writes can cross vocabularies"
        )
    if student.shape != teacher.shape:
        raise ValueError(
            f"both logits must have one shape, got {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    if check_number("temperature", temperature, 0) == 0:
        raise ValueError("temperature must be above 0, got 0")
    if mask is not None:
        _check_mask(mask, student.shape[:-1])


def _check_mask(mask: Tensor, shape: torch.Size) -> None:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != shape:
        raise ValueError(f"mask must be a bool tensor {tuple(shape)}, got {describe(mask)}")
