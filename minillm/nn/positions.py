"""Where a token stands (위치 인코딩): added to the input as waves or a table, or added to the scores as a
slope.

    sinusoid:  P[t, 2i] = sin(t / 10000^(2i/C)),  P[t, 2i+1] = cos(t / 10000^(2i/C))
    learned:   P[t] = a row of a trained table
    ALiBi:     score(t, s) - slope_h · (t - s),   slope_h = 2^(-8h/H)

Attention alone cannot tell orders of words apart; these say where a token stands. Rotary positions: rope.py.
Book 2.2 텍스트를 임베딩으로 변환하기 (2.2.3 위치 인코딩). Papers: Vaswani et al. 2017; Press et al. 2021
(ALiBi). Held against closed forms and transformers' Bloom slopes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from minillm._checks import check_int, check_number, describe


def sinusoids(length: int, width: int, base: float = 10000.0) -> Tensor:
    """Float32 (length, width): column pairs (sin, cos) of wavelengths from 2π to base·2π tokens."""
    check_int("length", length, 1)
    if check_int("width", width, 2) % 2:
        raise ValueError(f"width must be even, one sine and one cosine a wavelength, got {width}")
    check_number("base", base, 1.0)
    # angle[t, i] = t / base^(2i / C)
    frequencies = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)  # (C/2,)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies  # (T, C/2)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).float()  # (T, C)


def _check_hidden(x: Tensor, start: int, length: int, width: int) -> None:
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != width:
        raise ValueError(f"x must be a float tensor (B, T, {width}), got {describe(x)}")
    if check_int("start", start) < 0 or start + x.shape[1] > length:
        raise ValueError(
            f"positions {start} to {start + x.shape[1] - 1} do not fit into the {length} there are"
        )


class SinusoidalPosition(nn.Module):
    """Adds fixed waves to x (B, T, C); nothing is learned. ValueError past `max_length` positions."""

    def __init__(self, max_length: int, width: int):
        super().__init__()
        self.register_buffer("table", sinusoids(max_length, width), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """x (B, T, C) + P[start : start + T] -> (B, T, C)."""
        _check_hidden(x, start, *self.table.shape)
        return x + self.table[start : start + x.shape[1]].to(x.dtype)


class LearnedPosition(nn.Module):
    """Adds a trained row per position to x (B, T, C), as GPT-2 does. ValueError past `max_length` positions."""

    def __init__(self, max_length: int, width: int):
        super().__init__()
        self.table = nn.Embedding(check_int("max_length", max_length, 1), check_int("width", width, 1))

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """x (B, T, C) + P[start : start + T] -> (B, T, C)."""
        _check_hidden(x, start, self.table.num_embeddings, self.table.embedding_dim)
        return x + self.table.weight[start : start + x.shape[1]]


def alibi_slopes(heads: int) -> Tensor:
    """Float32 (H,): 2^(-8h/H) for h = 1..H; for H no power of two, the odd steps of the next one fill up.

    alibi_slopes(4) -> [1/4, 1/16, 1/64, 1/256]
    """
    power = 2 ** math.floor(math.log2(check_int("heads", heads, 1)))  # the greatest power of two up to H
    slopes = [2 ** (-8 * h / power) for h in range(1, power + 1)]
    slopes += [2 ** (-4 * h / power) for h in range(1, 2 * (heads - power) + 1, 2)]
    return torch.tensor(slopes)


class ALiBi(nn.Module):
    """A straight line on the scores: each head forgets with distance, at its own slope. No parameters."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def forward(self, queries: int, keys: int) -> Tensor:
        """The bias of `attention`, (1, H, T, S); the last query is aligned with the last key."""
        check_int("queries", queries, 0), check_int("keys", keys, 0)
        # bias[h, t, s] = -slope_h · (t - s)
        t = torch.arange(keys - queries, keys, device=self.slopes.device)
        s = torch.arange(keys, device=self.slopes.device)
        return -self.slopes[:, None, None] * (t[:, None] - s).abs()[None, None]  # (1, H, T, S)
