"""ALiBi: every score loses slope · distance, so each head forgets at a speed of its own.

    score(t, s) - slope_h · |t - s|,   slope_h = 2^(-8h/H),  h = 1 ... H

Nothing is learned, and no position is unknown: a longer text only has longer distances. Book 8.2.3 상대적 위치 인코딩.
Paper: Press et al. 2021. Held against transformers' Bloom slopes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from minillm._checks import check_int
from minillm.nn.positions import PositionScheme, ScoreBias


def alibi_slopes(heads: int) -> Tensor:
    """Float32 (H,): 2^(-8h/H) for h = 1..H; for H no power of two, the odd steps of the next one fill up.

    alibi_slopes(4) -> [1/4, 1/16, 1/64, 1/256]
    """
    power = 2 ** math.floor(math.log2(check_int("heads", heads, 1)))  # the greatest power of two up to H
    slopes = [2 ** (-8 * h / power) for h in range(1, power + 1)]
    slopes += [2 ** (-4 * h / power) for h in range(1, 2 * (heads - power) + 1, 2)]
    return torch.tensor(slopes, device="cpu")


class ALiBi(PositionScheme):
    """A straight line on the scores: each head forgets with distance, at its own slope. No parameters."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def check_heads(self, heads: int, head_dim: int) -> None:
        """ValueError for another number of heads."""
        if heads != self.heads:
            raise ValueError(f"ALiBi has slopes for {self.heads} heads, but there are {heads}")

    def forward(self, queries: int, keys: int) -> Tensor:
        """The bias of `attention`, (1, H, T, S); the last query is aligned with the last key."""
        check_int("queries", queries, 0), check_int("keys", keys, 0)
        # bias[h, t, s] = -slope_h · |t - s|
        t = torch.arange(keys - queries, keys, device=self.slopes.device)
        s = torch.arange(keys, device=self.slopes.device)
        return -self.slopes[:, None, None] * (t[:, None] - s).abs()[None, None]  # (1, H, T, S)

    def at(self, positions: int | Tensor, x: Tensor, keys: int) -> ScoreBias:
        """Only distances count here: padding on the left moves queries and keys alike, so S and T say it all."""
        return ScoreBias(self(x.shape[-2], keys))
