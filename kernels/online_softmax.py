"""Online softmax (온라인 소프트맥스): the softmax-weighted mean of values, without ever seeing the whole row of scores.

Three numbers a row are carried from block to block: the maximum m so far, the sum l of exp(score - m), and the
output o, the sum of exp(score - m) · value. A block with scores s and values v changes them to

    m' = max(m, max s)      l' = l · e^(m - m') + Σ e^(s - m')      o' = o · e^(m - m') + Σ e^(s - m') · v

and after the last block  softmax(s) v = o / l,  log Σ e^s = m + log l.  What was summed with an old maximum shrinks by
e^(m - m') when a larger one comes: nothing has to be read again. This is what flash attention is made of.

Book 8.2 (효율적인 트랜스포머 연산). Papers: Milakov and Gimelshein 2018, Dao et al. 2022 (FlashAttention).
Held against torch.softmax. Plain torch: it runs anywhere, and needs no Triton.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from kernels._checks import check_int, describe


class State(NamedTuple):
    """What is known of some rows after a part of their keys."""

    maximum: Tensor  # (...), the largest score so far, -inf before the first
    total: Tensor  # (...), sum of exp(score - maximum)
    output: Tensor  # (..., D), sum of exp(score - maximum) * value: not yet divided


def nothing_seen(scores: Tensor, values: Tensor) -> State:
    """The state before the first block, for scores (..., n) and values (..., n, D): maximum -inf, sums 0."""
    rows = torch.broadcast_shapes(scores.shape[:-1], values.shape[:-2])
    return State(
        scores.new_full(rows, -torch.inf), scores.new_zeros(rows), scores.new_zeros(*rows, values.shape[-1])
    )


def take_in(state: State, scores: Tensor, values: Tensor) -> State:
    """The state after one more block: scores (..., n) and the values (..., n, D) they belong to."""
    maximum = torch.maximum(state.maximum, scores.amax(dim=-1))  # (...)
    # while every score was -inf (all keys hidden) the maximum is, too, and -inf - -inf would be NaN
    shift = maximum.masked_fill(maximum == -torch.inf, 0.0)
    shrink = torch.exp(state.maximum - shift)  # e^(m - m')
    shares = torch.exp(scores - shift.unsqueeze(-1))  # (..., n)
    return State(
        maximum,
        state.total * shrink + shares.sum(dim=-1),
        state.output * shrink.unsqueeze(-1) + torch.einsum("...n,...nd->...d", shares, values),
    )


def finished(state: State) -> tuple[Tensor, Tensor]:
    """(mean of the values (..., D), log-sum-exp of the scores (...)); zeros and -inf for a row that saw nothing."""
    nothing = state.total == 0
    total = state.total.masked_fill(nothing, 1.0)
    return state.output / total.unsqueeze(-1), (state.maximum + total.log()).masked_fill(nothing, -torch.inf)


def online_softmax(scores: Tensor, values: Tensor, block: int) -> list[State]:
    """The state after every block of `block` keys; `finished(states[-1])` is softmax(scores) @ values.

    scores: float (..., S), -inf hides a key. values: float (..., S, D), as many keys. block: at least 1.
    Leading axes broadcast; sums are kept in the dtype of both. Raises ValueError if shapes, dtypes or devices do not
    belong together, or S is 0.
    """
    for name, x in (("scores", scores), ("values", values)):
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.layout != torch.strided:
            raise ValueError(f"{name} must be a dense float tensor, got {describe(x)}")
    if scores.ndim < 1 or values.ndim < 2 or scores.shape[-1] != values.shape[-2] or not scores.shape[-1]:
        raise ValueError(
            f"scores (..., S) need values (..., S, D) and S >= 1, got {describe(scores)} and {describe(values)}"
        )
    if scores.dtype != values.dtype or scores.device != values.device:
        raise ValueError(
            f"scores and values must share dtype and device, got {describe(scores)} and {describe(values)}"
        )
    try:
        torch.broadcast_shapes(scores.shape[:-1], values.shape[:-2])
    except RuntimeError:
        raise ValueError(
            f"the rows of scores must broadcast with those of values, got {describe(scores)} and {describe(values)}"
        ) from None
    block = check_int("block", block, 1)
    states, state = [], nothing_seen(scores, values)
    for first in range(0, scores.shape[-1], block):
        state = take_in(state, scores[..., first : first + block], values[..., first : first + block, :])
        states.append(state)
    return states
