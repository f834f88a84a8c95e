"""The selective scan (선택적 스캔): a recurrence whose decay and input the token itself chooses, in four ways.

    h_t = exp(Δ_t A) h_{t-1} + Δ_t x_t B_t,     y_t = C_t · h_t             per channel d: h (N,), A (D, N), Δ, x (T, D)

Δ, B and C depend on the token, so that it can say "write me down" (Δ large) or "pass by" (Δ near 0); then no FFT helps,
the answer to a pulse is another one at every place. But steps compose: (a, b) then (a', b') is (a' a, a' b + b').

    loop          T steps, one after another: the definition
    associative   log₂ T rounds, each over all tokens: (a, b) of 1, 2, 4, ... steps; T log T work
    tree          neighbours joined, the half of them scanned, the gaps filled: 2 log₂ T rounds, 2T work
    chunked       Q steps side by side in all T/Q chunks from zero, then T/Q steps that carry; T work

Book 16.3 선택 메커니즘. Papers: Gu and Dao 2023; Hillis and Steele 1986; Brent and Kung 1982. Held against each other,
a loop in Python and transformers' Mamba. Compiled: scan_compiled.py; a scalar A: ssd.py; on a GPU: kernels/.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minillm._checks import check_int, describe


def check_scan(x: Any, dt: Any, A: Any, B: Any, C: Any, state: Any) -> None:
    """ValueError unless x, dt (B, T, D), A (D, N), B, C (B, T, N) and state (B, D, N) or None fit together."""
    if not isinstance(x, Tensor) or x.dim() != 3 or not x.is_floating_point() or not x.numel():
        raise ValueError(f"x must be a float tensor (B, T, D) of at least one token, got {describe(x)}")
    if not isinstance(A, Tensor) or A.dim() != 2 or A.shape[0] != x.shape[2] or not A.shape[1]:
        raise ValueError(f"A must be a tensor ({x.shape[2]}, N), got {describe(A)}")
    sizes = {"dt": (dt, x.shape), "B": (B, (*x.shape[:2], A.shape[1])), "C": (C, (*x.shape[:2], A.shape[1]))}
    if state is not None:
        sizes["state"] = state, (x.shape[0], *A.shape)
    for name, (value, shape) in sizes.items():
        if not isinstance(value, Tensor) or value.shape != shape:
            raise ValueError(f"{name} must be a tensor {tuple(shape)}, got {describe(value)}")


# What a token does: h = a h + b. One run of steps after another is such a pair again


def steps_of(x: Tensor, dt: Tensor, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """a = exp(Δ A) and b = Δ x B of every token: x, dt (..., D), A (D, N), B (..., N) -> (..., D, N) each."""
    return torch.exp(dt[..., None] * A), (dt * x)[..., None] * B[..., None, :]


def join(earlier: tuple[Any, Any], later: tuple[Any, Any]) -> tuple[Any, Any]:
    """Two runs of steps as one: h -> a h + b, then h -> a' h + b', is h -> (a' a) h + (a' b + b')."""
    (a, b), (a_later, b_later) = earlier, later
    return a_later * a, a_later * b + b_later


def begun(a: Tensor, b: Tensor, state: Tensor | None) -> Tensor:
    """b (B, T, D, N) whose first token starts from a state (B, D, N), and not from zero."""
    if state is None:
        return b
    return torch.cat((a[:, :1] * state[:, None] + b[:, :1], b[:, 1:]), dim=1)


def scan_loop(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The definition: x, dt (B, T, D), A (D, N), B, C (B, T, N) -> (y (B, T, D), the last state (B, D, N)).

    state: before the first token, None for zeros. Raises ValueError for shapes that do not fit.
    """
    check_scan(x, dt, A, B, C, state)
    decay, write = steps_of(x, dt, A, B)  # (B, T, D, N)
    h, shown = torch.zeros_like(write[:, 0]) if state is None else state, []
    # unbind: decay[:, t] would have a gradient of all T tokens at every step
    for a, b, c in zip(decay.unbind(1), write.unbind(1), C.unbind(1)):
        h = a * h + b  # (B, D, N)
        shown.append((h @ c[..., None])[..., 0])  # (B, D)
    return torch.stack(shown, dim=1), h


def scan_associative(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same in log₂ T rounds: after a round with distance s, (a, b) at t stand for 2s steps up to t."""
    check_scan(x, dt, A, B, C, state)
    a, b = steps_of(x, dt, A, B)  # (B, T, D, N)
    b = begun(a, b, state)
    distance = 1
    while distance < x.shape[1]:
        joined = join((a[:, :-distance], b[:, :-distance]), (a[:, distance:], b[:, distance:]))
        a, b = (torch.cat((old[:, :distance], new), dim=1) for old, new in zip((a, b), joined))
        distance *= 2
    return (b @ C[..., None])[..., 0], b[:, -1]


def scan_tree(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same with at most twice the loop's joins, in 2 log₂ T rounds: up a tree of pairs and down again."""
    check_scan(x, dt, A, B, C, state)
    a, b = steps_of(x, dt, A, B)
    h = states_by_pairs(a, begun(a, b, state))
    return (h @ C[..., None])[..., 0], h[:, -1]


def states_by_pairs(a: Tensor, b: Tensor) -> Tensor:
    """h of every token from a zero state: a, b (B, T, ...) -> (B, T, ...)."""
    T = a.shape[1]
    if T < 2:
        return b
    # up: tokens 0 and 1, 2 and 3, ... become one step each
    joined = join((a[:, 0 : T - 1 : 2], b[:, 0 : T - 1 : 2]), (a[:, 1::2], b[:, 1::2]))
    known = states_by_pairs(*joined)  # h of tokens 1, 3, 5, ...
    # down: tokens 2, 4, ... are one step behind a known state
    h = torch.empty_like(b)
    h[:, :1], h[:, 1::2] = b[:, :1], known
    h[:, 2::2] = a[:, 2::2] * known[:, : (T - 1) // 2] + b[:, 2::2]
    return h


def scan_chunked(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None, chunk: int = 16
) -> tuple[Tensor, Tensor]:
    """The same in Q = `chunk` steps over all chunks side by side, and T/Q steps from chunk to chunk."""
    check_scan(x, dt, A, B, C, state), check_int("chunk", chunk, 1)
    T, Q = x.shape[1], min(chunk, x.shape[1])
    # steps behind the end have Δ = 0: decay 1, nothing written
    x, dt, B, C = (F.pad(one, (0, 0, 0, -T % Q)).unflatten(1, (-1, Q)) for one in (x, dt, B, C))
    decay, write = steps_of(x, dt, A, B)  # (B, T/Q, Q, D, N)
    h, inner = torch.zeros_like(write[:, :, 0]), []
    for a, b in zip(decay.unbind(2), write.unbind(2)):
        h = a * h + b  # of every chunk, as if it began from zero
        inner.append(h)
    # what a chunk does to the state it begins with: Π exp(Δ A) = exp(A Σ Δ)
    since = torch.exp(dt.cumsum(2)[..., None] * A)  # (B, T/Q, Q, D, N)
    carry, starts = torch.zeros_like(h[:, 0]) if state is None else state, []
    for a, b in zip(since[:, :, -1].unbind(1), h.unbind(1)):
        starts.append(carry)
        carry = a * carry + b
    states = torch.stack(inner, dim=2) + since * torch.stack(starts, dim=1)[:, :, None]
    return (states @ C[..., None])[..., 0].flatten(1, 2)[:, :T], carry
