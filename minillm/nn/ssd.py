"""SSD (상태 공간 쌍대성), the scan of Mamba-2: with one decay a head, a scan is attention with a fading mask.

    h_t = exp(Δ_t A) h_{t-1} + Δ_t x_t B_tᵀ,  y_t = h_t C_t           h (P, N) of a head; A, Δ_t numbers
    y = (L ∘ C Bᵀ) (Δ x),   L_ts = exp(A Σ_{s < r ≤ t} Δ_r)            the same: C, B, x are queries, keys, values

The whole matrix costs T² a head, the loop T steps. So: the matrix within chunks of Q tokens, a state from chunk to
chunk. All that is large is a product of matrices. G groups of heads share B and C, as heads share keys in attention.
Book 16.4 맘바. Paper: Dao and Gu 2024 (Mamba-2). Held against its own loop, against scan_loop with every A of a channel
equal, and against transformers' Mamba2. Leaves out: a Δ that is bounded (the model does that before).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minillm._checks import check_int, describe


def check_ssd(x: Any, dt: Any, A: Any, B: Any, C: Any, state: Any) -> None:
    """ValueError unless x (B, T, H, P), dt (B, T, H), A (H,), B, C (B, T, G, N), H % G == 0, and state fit together."""
    if not isinstance(x, Tensor) or x.dim() != 4 or not x.is_floating_point() or not x.numel():
        raise ValueError(f"x must be a float tensor (B, T, H, P) of at least one token, got {describe(x)}")
    if not isinstance(B, Tensor) or B.dim() != 4 or B.shape[:2] != x.shape[:2] or not B.numel():
        raise ValueError(f"B must be a tensor {(*x.shape[:2], 'G', 'N')}, got {describe(B)}")
    if x.shape[2] % B.shape[2]:
        raise ValueError(f"heads must go evenly into groups, got {x.shape[2]} and {B.shape[2]}")
    sizes = {"dt": (dt, x.shape[:3]), "A": (A, x.shape[2:3]), "C": (C, B.shape)}
    if state is not None:
        sizes["state"] = state, (x.shape[0], *x.shape[2:], B.shape[3])
    for name, (value, shape) in sizes.items():
        if not isinstance(value, Tensor) or value.shape != shape:
            raise ValueError(f"{name} must be a tensor {tuple(shape)}, got {describe(value)}")


def ssd_loop(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The definition: x (B, T, H, P), dt (B, T, H), A (H,), B, C (B, T, G, N) -> (y as x, state (B, H, P, N))."""
    check_ssd(x, dt, A, B, C, state)
    B, C = (one.repeat_interleave(x.shape[2] // B.shape[2], dim=2) for one in (B, C))  # (B, T, H, N)
    decay, write = torch.exp(dt * A), dt[..., None] * x  # (B, T, H), (B, T, H, P)
    h = x.new_zeros(x.shape[0], *x.shape[2:], B.shape[3]) if state is None else state
    shown = []
    for a, b, key, query in zip(decay.unbind(1), write.unbind(1), B.unbind(1), C.unbind(1)):
        h = a[..., None, None] * h + b[..., None] * key[..., None, :]  # (B, H, P, N)
        shown.append((h @ query[..., None])[..., 0])
    return torch.stack(shown, dim=1), h


def ssd_matrix(dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """M (B, H, T, T) with y = M (Δ x), for one text as a whole: attention scores times what has not faded yet.

    dt (B, T, H), A (H,), B, C (B, T, G, N). Raises ValueError for other shapes.
    """
    if not isinstance(dt, Tensor) or dt.dim() != 3 or not dt.is_floating_point() or not dt.numel():
        raise ValueError(f"dt must be a float tensor (B, T, H) of at least one token, got {describe(dt)}")
    check_ssd(dt[..., None], dt, A, B, C, None)
    scores = C.transpose(1, 2) @ B.permute(0, 2, 3, 1)  # (B, G, T, T): C_t · B_s
    scores = scores.repeat_interleave(A.shape[0] // B.shape[2], dim=1)
    return scores * torch.exp(segment_sums((dt * A).transpose(1, 2)))


def segment_sums(steps: Tensor) -> Tensor:
    """S_ts = Σ_{s < r ≤ t} steps_r for s ≤ t, else -inf: steps (..., T) -> (..., T, T).

    Every column is added up for itself. The difference of two running sums would be cheaper, and behind a large step
    (a token that resets the state) it has lost the digits of the small ones.
    """
    every = torch.ones(steps.shape[-1], steps.shape[-1], dtype=torch.bool, device=steps.device)
    sums = steps[..., None].masked_fill(every.triu(), 0.0).cumsum(-2)
    return sums.masked_fill(every.triu(1), -torch.inf)


def ssd_chunked(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None, chunk: int = 32
) -> tuple[Tensor, Tensor]:
    """The same: a (Q, Q) matrix within each chunk of Q = `chunk` tokens, and a state from chunk to chunk."""
    check_ssd(x, dt, A, B, C, state), check_int("chunk", chunk, 1)
    T, Q, G = x.shape[1], min(chunk, x.shape[1]), B.shape[2]
    heads = (G, x.shape[2] // G)
    x, dt, B, C = (F.pad(one, (0, 0) * (one.dim() - 2) + (0, -T % Q)) for one in (x, dt, B, C))
    # chunks and heads first, so that all below are products of matrices
    write = (
        (dt[..., None] * x).unflatten(2, heads).unflatten(1, (-1, Q)).permute(0, 1, 3, 4, 2, 5)
    )  # (B, T/Q, G, R, Q, P)
    steps = (dt * A).unflatten(2, heads).unflatten(1, (-1, Q)).permute(0, 1, 3, 4, 2)  # (B, T/Q, G, R, Q)
    fading = torch.exp(segment_sums(steps))  # (B, T/Q, G, R, Q, Q)
    since = torch.exp(steps.cumsum(-1))  # what is left of the state before the chunk
    B, C = (
        one.unflatten(1, (-1, Q)).transpose(2, 3)[:, :, :, None] for one in (B, C)
    )  # (B, T/Q, G, 1, Q, N)
    y = ((C @ B.transpose(-1, -2)) * fading) @ write  # within each chunk
    # what a chunk adds to the state: Σ_s L_Qs Δ_s x_s B_sᵀ
    left = fading[..., -1, :, None] * write
    added = left.transpose(-1, -2) @ B  # (B, T/Q, G, R, P, N)
    carry, starts = torch.zeros_like(added[:, 0]) if state is None else state.unflatten(1, heads), []
    for a, b in zip(since[..., -1].unbind(1), added.unbind(1)):
        starts.append(carry)
        carry = a[..., None, None] * carry + b
    # what the state before the chunk still says
    y = y + since[..., None] * (C @ torch.stack(starts, dim=1).transpose(-1, -2))
    return y.permute(0, 1, 4, 2, 3, 5).flatten(3, 4).flatten(1, 2)[:, :T], carry.flatten(1, 2)
