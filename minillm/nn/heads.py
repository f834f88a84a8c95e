"""The ladder to multi-head attention: one head, one that cannot look ahead, several, shared keys, a second text.

Each class is one before it plus one idea; MultiHeadAttention (attention.py) then computes any of them in one go.

    OneHead       y = softmax(Q Kᵀ / √D) V            every token looks at every token
    CausalHead    + scores of later tokens become -∞  a token looks at itself and back: it can be trained to predict
    ManyHeads     + H heads, side by side, mixed      several questions at once
    GroupedHeads  + neighbours share K and V          fewer keys and values to keep
    CrossHead     one head, K and V of another text   a decoder asks the source text; T queries, S keys

Book 2.3 어텐션 이해하기, 2.6 디코더 (cross-attention), 7.1.4 (shared keys). Papers: Vaswani et al. 2017; Ainslie et
al. 2023. Held against MultiHeadAttention and torch's. Left out: masks for padding, positions, a cache.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from minillm._checks import check_flag, check_int
from minillm.nn.backends import check_dtype, check_sequence


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
        check_sequence("x", x, self.query.in_features), check_dtype("x", x, self.query.weight)
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
        scores = super().scores(x)
        later = torch.ones_like(scores, dtype=torch.bool).triu(1)
        return scores.masked_fill(later, -torch.inf)


class ManyHeads(nn.Module):
    """New: H heads of width C/H side by side, and a last matrix that mixes what they found."""

    def __init__(self, width: int, heads: int, causal: bool = True):
        super().__init__()
        if check_int("width", width, 1) % check_int("heads", heads, 1):
            raise ValueError(f"width must be divisible by heads, got {width} and {heads}")
        check_flag("causal", causal)
        head = CausalHead if causal else OneHead
        self.heads = nn.ModuleList(head(width, width // heads) for _ in range(heads))
        self.mix = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        return self.mix(torch.cat([head(x) for head in self.heads], dim=-1))


class GroupedHeads(ManyHeads):
    """New: neighbouring heads share one key and one value matrix, so K = kv_heads of each are left.

    Each head still computes the shared keys again; MultiHeadAttention computes and keeps them once.
    """

    def __init__(self, width: int, heads: int, kv_heads: int, causal: bool = True):
        super().__init__(width, heads, causal)
        if heads % check_int("kv_heads", kv_heads, 1):
            raise ValueError(f"heads must be divisible by kv_heads, got {heads} and {kv_heads}")
        group = heads // kv_heads
        for h, head in enumerate(self.heads):
            first = self.heads[h - h % group]  # of its group
            head.key, head.value = first.key, first.value


class CrossHead(OneHead):
    """New: x (B, T, C) asks, and a second text (context, B, S, C) is found and answers -> (B, T, D)."""

    def scores(self, x: Tensor, context: Tensor) -> Tensor:
        """Q Kᵀ / √D: how well token t of x fits token s of the context, (B, T, S)."""
        check_sequence("x", x, self.query.in_features), check_sequence("context", context, x.shape[2])
        check_dtype("x", x, self.query.weight), check_dtype("context", context, self.query.weight)
        if len(x) != len(context):
            raise ValueError(f"x and context must hold as many texts, got {len(x)} and {len(context)}")
        q, k = self.query(x), self.key(context)  # (B, T, D), (B, S, D)
        return q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])

    def weights(self, x: Tensor, context: Tensor) -> Tensor:
        """The attention map (B, T, S): row t is what token t of x takes of every token of the context."""
        return torch.softmax(self.scores(x, context), dim=-1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x (B, T, C), context (B, S, C) -> (B, T, D)."""
        return self.weights(x, context) @ self.value(context)
