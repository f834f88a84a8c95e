"""The ladder to multi-head attention: one head, one head that cannot look ahead, several heads side by side.

Each class is the one before it plus one idea; MultiHeadAttention (attention.py) then computes the last one in one go.

    OneHead     y = softmax(Q Kᵀ / √D) V            every token looks at every token
    CausalHead  + scores of later tokens become -∞  a token looks at itself and back: it can be trained to predict
    ManyHeads   + H heads, side by side, mixed      several questions at once

Book 2.3 어텐션 이해하기. Paper: Vaswani et al. 2017. Held against MultiHeadAttention and torch's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from minillm._checks import check_int


class OneHead(nn.Module):
    """One head: x (B, T, C) asks with Q, is found by K and answers with V -> (B, T, D)."""

    def __init__(self, width: int, head_dim: int):
        super().__init__()
        check_int("width", width, 1), check_int("head_dim", head_dim, 1)
        self.query = nn.Linear(width, head_dim, bias=False)
        self.key = nn.Linear(width, head_dim, bias=False)
        self.value = nn.Linear(width, head_dim, bias=False)

    def scores(self, x: Tensor) -> Tensor:
        """Q Kᵀ / √D: how well token t's question fits token s, (B, T, T)."""
        q, k = self.query(x), self.key(x)  # (B, T, D)
        return q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])

    def weights(self, x: Tensor) -> Tensor:
        """The attention map (B, T, T): row t is what token t takes of every token, adding up to 1."""
        return torch.softmax(self.scores(x), dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, D)."""
        return self.weights(x) @ self.value(x)


class CausalHead(OneHead):
    """New: what comes later is hidden. exp(-∞) = 0, so later tokens get no weight and rows still add up to 1."""

    def scores(self, x: Tensor) -> Tensor:
        """Scores (B, T, T) with -∞ where s > t."""
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        return super().scores(x).masked_fill(later, -torch.inf)


class ManyHeads(nn.Module):
    """New: H heads of width C/H side by side, and a last matrix that mixes what they found."""

    def __init__(self, width: int, heads: int, causal: bool = True):
        super().__init__()
        if check_int("width", width, 1) % check_int("heads", heads, 1):
            raise ValueError(f"width must be divisible by heads, got {width} and {heads}")
        head = CausalHead if causal else OneHead
        self.heads = nn.ModuleList(head(width, width // heads) for _ in range(heads))
        self.mix = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        return self.mix(torch.cat([head(x) for head in self.heads], dim=-1))
