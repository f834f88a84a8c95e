"""How likely a model finds a text that is given: the number that every method of alignment compares.

    log p(answer | prompt) = sum over the answer's tokens t of  log softmax(logits_{t-1})[token_t]

A policy against its reference, the better answer against the worse one, the new policy against the one that wrote: all
are differences of such sums. Logits of the prompt are not needed, and those of the answer come a few rows at a time.

    d log p_i / d logits = one_hot(token) - softmax(logits)

Book: 4.2.3 PPO: 보상 해킹 피하기, 4.3.2 DPO: 선호 데이터셋을 직접 학습하기.
Held against: trl's fused log probabilities, F.log_softmax.
Leaves out: temperature, encoder-decoders.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from minillm._checks import describe
from minillm.training.cross_entropy import AT_A_TIME, AT_A_TIME_ELSEWHERE

IGNORED = -100


def label_logprobs_plain(logits: Tensor, labels: Tensor) -> Tensor:
    """The formula: logits (..., V), labels (...) int64 -> log p of each label, float32 (...); 0 where it is -100."""
    counted = labels != IGNORED
    # log softmax(x)_v = x_v - log(sum_u exp(x_u))
    log_probabilities = torch.log_softmax(logits.float(), dim=-1)  # (..., V)
    chosen = log_probabilities.gather(-1, labels.clamp(min=0)[..., None])[..., 0]  # (...)
    return torch.where(counted, chosen, 0.0)


def linear_logprobs(hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None = None) -> Tensor:
    """log p of each label from the last hidden states: hidden (N, C), weight (V, C), labels (N,), none of them -100.

    The same number and gradients as label_logprobs_plain(F.linear(hidden, weight, bias), labels). The logits (N, V) are
    made a few rows at a time, and made again for the gradient.
    """
    if len(hidden) * len(weight) <= _at_a_time(hidden):
        return label_logprobs_plain(F.linear(hidden, weight, bias), labels)
    return _InPieces.apply(hidden, weight, labels, bias)


class _InPieces(torch.autograd.Function):
    """Of a piece's logits only log sum exp outlives the piece; the way back makes them again from it."""

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None) -> Tensor:
        logprobs, normalisers = [], []
        for rows in torch.arange(len(hidden)).split(_rows(hidden, weight)):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            logits = F.linear(hidden[part], weight, bias).float()  # (R, V)
            normalisers.append(torch.logsumexp(logits, dim=1))
            logprobs.append(logits.gather(1, labels[part, None])[:, 0] - normalisers[-1])
        ctx.save_for_backward(hidden, weight, labels, bias, torch.cat(normalisers))
        return torch.cat(logprobs)

    @staticmethod
    @once_differentiable
    def backward(ctx, outer: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, labels, bias, normalisers = ctx.saved_tensors
        d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        d_bias = None if bias is None else torch.zeros_like(bias)
        for rows in torch.arange(len(hidden)).split(_rows(hidden, weight)):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            logits = F.linear(hidden[part], weight, bias).float()
            # one_hot - softmax, times what the row weighs
            gradient = torch.exp(logits - normalisers[part, None]).mul_(-outer[part, None])  # (R, V)
            gradient.scatter_add_(1, labels[part, None], outer[part, None])
            gradient = gradient.to(hidden.dtype)
            torch.mm(gradient, weight, out=d_hidden[part])
            d_weight += gradient.T @ hidden[part]
            if bias is not None:
                d_bias += gradient.sum(dim=0)
        return d_hidden, d_weight, None, d_bias


def token_logprobs(
    model: Any, input_ids: Tensor, labels: Tensor, attention_mask: Tensor | None = None
) -> Tensor:
    """log p of each labelled token given those before it: (B, T - 1) float32, 0 where the label is -100.

    input_ids, labels: int64 (B, T), at the same places, labels -100 in the prompt and in the padding, which stands on
    the right. Column t is the token at t + 1. ValueError for other shapes, and for labels that are no ids of the model
    (on a CPU: a GPU would have to be waited for).
    """
    _check(input_ids, labels, attention_mask)
    targets, inputs = labels[:, 1:], {"input_ids": input_ids[:, :-1]}
    if attention_mask is not None:
        inputs["attention_mask"] = attention_mask[:, :-1]
    head = getattr(model, "head", None)
    if not hasattr(model, "body") or not isinstance(head, nn.Linear) or input_ids.device.type != "cpu":
        # a GPU would have to be waited for to learn how many labels there are
        logits = model(**inputs).logits  # (B, T - 1, V)
        check_labels(targets, logits.shape[-1])
        return label_logprobs_plain(logits, targets)
    hidden, counted = model.body(**inputs).last_hidden_state, targets != IGNORED  # (B, T - 1, C)
    check_labels(targets, len(head.weight))
    found = linear_logprobs(hidden[counted], head.weight, targets[counted], head.bias)
    return found.new_zeros(targets.shape).masked_scatter(counted, found)


def sequence_logprobs(
    model: Any, input_ids: Tensor, labels: Tensor, attention_mask: Tensor | None = None
) -> Tensor:
    """log p of each text's labelled part, the sum over its tokens: (B,) float32. Arguments as token_logprobs."""
    return token_logprobs(model, input_ids, labels, attention_mask).sum(dim=1)


def _at_a_time(x: Tensor) -> int:
    return AT_A_TIME.get(x.device.type, AT_A_TIME_ELSEWHERE)


def _rows(hidden: Tensor, weight: Tensor) -> int:
    return max(1, _at_a_time(hidden) // len(weight))


def _check(input_ids: Tensor, labels: Tensor, attention_mask: Tensor | None) -> None:
    given = {"input_ids": input_ids, "labels": labels}
    given |= {} if attention_mask is None else {"attention_mask": attention_mask}
    for name, x in given.items():
        fits = isinstance(x, Tensor) and x.ndim == 2 and (name != "labels" or x.dtype == torch.int64)
        if not fits or x.shape != input_ids.shape or x.shape[1] < 2:
            raise ValueError(f"{name} must be a LongTensor (B, T), T at least 2, got {describe(x)}")
    check_right_padding(attention_mask)


def check_labels(labels: Tensor, ids: int) -> None:
    """ValueError for a label that is neither -100 nor below `ids`. Not asked of a GPU."""
    if labels.device.type != "cpu":
        return
    wrong = (labels != IGNORED) & ((labels < 0) | (labels >= ids))
    if wrong.any():
        raise ValueError(f"every label must be -100 or between 0 and {ids - 1}, got {int(labels[wrong][0])}")


def check_right_padding(attention_mask: Tensor | None) -> None:
    """ValueError for rows (B, T) that do not begin with a token, or go on behind padding: their positions would be
    wrong, without a sign. Not asked of a GPU, which would have to be waited for."""
    if attention_mask is None or attention_mask.device.type != "cpu":
        return
    there = attention_mask.bool()
    if not there[:, 0].all() or (there[:, 1:] & ~there[:, :-1]).any():
        raise ValueError(
            "padding must stand on the right: a row of attention_mask is 1 1 1 0 0, 1 at its first place"
        )


def check_rows(*rows: Any) -> None:
    """ValueError for what are no float tensors (B,) of one length."""
    for one in rows:
        fits = isinstance(one, Tensor) and one.ndim == 1 and one.is_floating_point() and len(one)
        if not fits or one.shape != rows[0].shape:
            got = ", ".join(map(describe, rows))
            raise ValueError(f"expected float tensors (B,) of one length, B at least 1, got {got}")
