"""The selective scan (선택적 스캔): a recurrence whose decay and input the token itself chooses, in three ways.

    h_t = exp(Δ_t A) h_{t-1} + Δ_t x_t B_t,     y_t = C_t · h_t             per channel d: h (N,), A (D, N), Δ, x (T, D)

Δ, B and C depend on the token, so that it can say "write me down" (Δ large) or "pass by" (Δ near 0); then no FFT helps,
the answer to a pulse is another one at every place. But steps compose: (a, b) then (a', b') is (a' a, a' b + b').

    loop          T steps, one after another: the definition
    associative   log₂ T rounds, each over all tokens: (a, b) of 1, 2, 4, ... steps; T log T work
    chunked       Q steps side by side in all T/Q chunks from zero, then T/Q steps that carry; T work

Book 16.3 선택 메커니즘. Paper: Gu and Dao 2023 (Mamba); Hillis and Steele 1986. Held against each other, and against
transformers' Mamba as a whole. The compiled one: scan_compiled.py; with a scalar A: ssd.py; on a GPU: kernels/.
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


def scan_loop(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The definition: x, dt (B, T, D), A (D, N), B, C (B, T, N) -> (y (B, T, D), the last state (B, D, N)).

    state: before the first token, None for zeros. Raises ValueError for shapes that do not fit.
    """
    check_scan(x, dt, A, B, C, state)
    decay = torch.exp(dt[..., None] * A)  # (B, T, D, N)
    write = (dt * x)[..., None] * B[:, :, None]  # (B, T, D, N)
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
    a = torch.exp(dt[..., None] * A)  # (B, T, D, N)
    b = (dt * x)[..., None] * B[:, :, None]
    if state is not None:
        b = torch.cat((a[:, :1] * state[:, None] + b[:, :1], b[:, 1:]), dim=1)
    distance = 1
    while distance < x.shape[1]:
        # (a, b) of the earlier steps, then these: (a' a, a' b + b')
        b = torch.cat((b[:, :distance], a[:, distance:] * b[:, :-distance] + b[:, distance:]), dim=1)
        a = torch.cat((a[:, :distance], a[:, distance:] * a[:, :-distance]), dim=1)
        distance *= 2
    return (b @ C[..., None])[..., 0], b[:, -1]


def scan_chunked(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None, chunk: int = 16
) -> tuple[Tensor, Tensor]:
    """The same in Q = `chunk` steps over all chunks side by side, and T/Q steps from chunk to chunk."""
    check_scan(x, dt, A, B, C, state), check_int("chunk", chunk, 1)
    T, Q = x.shape[1], min(chunk, x.shape[1])
    # steps behind the end have Δ = 0: decay 1, nothing written
    x, dt, B, C = (F.pad(one, (0, 0, 0, -T % Q)).unflatten(1, (-1, Q)) for one in (x, dt, B, C))
    decay = torch.exp(dt[..., None] * A)  # (B, T/Q, Q, D, N)
    write = (dt * x)[..., None] * B[..., None, :]
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
