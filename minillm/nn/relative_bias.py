"""T5's relative positions: a learned number for every head and every distance, added to the scores.

    score(t, s) = q_t · k_s + table[bucket(s - t), head]

Near distances have a bucket each; farther ones share buckets that grow with the logarithm of the distance, and from
`max_distance` on all are one. So a text may be longer than any in training: it only has more words that are "far".

    n = buckets (both directions: one half of the buckets for what stands before, one for what comes after)
    bucket(d) = d                                                         d < n/2
    bucket(d) = n/2 + ⌊log(d / (n/2)) / log(max_distance / (n/2)) · n/2⌋  d ≥ n/2, at most n - 1

The table belongs to the first layer and serves all of them: the bias is made once a forward pass and handed down.
Book 2.7 BERT, GPT, T5 등 트랜스포머를 활용한 아키텍처. Paper: Raffel et al. 2020 (T5, 2.1).
Held against transformers' T5Attention (_relative_position_bucket, compute_bias).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from minillm._checks import check_flag, check_int, describe
from minillm.nn.positions import PositionScheme, ScoreBias

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8)


def relative_buckets(
    distances: Tensor, buckets: int = 32, max_distance: int = 128, bidirectional: bool = True
) -> Tensor:
    """The bucket 0..buckets-1 of each distance s - t (key's place minus query's), int64 of any shape.

    bidirectional: an encoder's, where keys may come after the query; else a decoder's, where they do not, and every
    later place falls into bucket 0.
    relative_buckets(tensor([-200, -9, -1, 0, 1, 9, 200])) -> [15, 8, 1, 0, 17, 24, 31]
    ValueError for distances that are no tensor of whole numbers, and sizes that leave no bucket for far distances.
    """
    _check_distances(distances)
    _check_buckets(buckets, max_distance, bidirectional)
    start = torch.zeros_like(distances)
    if bidirectional:
        buckets //= 2
        start = torch.where(distances > 0, buckets, 0)  # the second half is for what comes after
        distances = distances.abs()
    else:
        distances = (-distances).clamp(min=0)
    near = buckets // 2
    # n/2 + ⌊log(d / (n/2)) / log(max_distance / (n/2)) · n/2⌋; the clamp keeps log away from 0, where it is not used
    growth = torch.log(distances.clamp(min=1).float() / near) / math.log(max_distance / near)
    far = (near + (growth * (buckets - near)).long()).clamp(max=buckets - 1)
    return start + torch.where(distances < near, distances, far)


def _check_distances(distances: Tensor) -> None:
    if not isinstance(distances, Tensor) or distances.dtype not in INTEGERS:
        raise ValueError(f"distances must be a tensor of whole numbers, got {describe(distances)}")


def _check_buckets(buckets: int, max_distance: int, bidirectional: bool) -> None:
    check_flag("bidirectional", bidirectional)
    check_int("buckets", buckets, 4 if bidirectional else 2)
    near = buckets // (4 if bidirectional else 2)  # distances with a bucket of their own
    check_int("max_distance", max_distance, near + 1)


class RelativeBias(PositionScheme):
    """A learned table (buckets, heads) of what distances add to the scores; one for all layers of a stack.

    buckets: rows, even, at least 4 (2 are enough in one direction). max_distance: from here on all is one bucket.
    bidirectional: as in `relative_buckets`. Raises ValueError for sizes that leave no bucket for far distances.
    """

    def __init__(self, heads: int, buckets: int = 32, max_distance: int = 128, bidirectional: bool = True):
        super().__init__()
        self.heads = check_int("heads", heads, 1)
        _check_buckets(buckets, max_distance, bidirectional)
        self.buckets, self.max_distance, self.bidirectional = buckets, max_distance, bidirectional
        self.table = nn.Embedding(self.buckets, self.heads)

    def check_heads(self, heads: int, head_dim: int) -> None:
        """ValueError for another number of heads."""
        if heads != self.heads:
            raise ValueError(f"the table has columns for {self.heads} heads, but there are {heads}")

    def forward(self, queries: int, keys: int) -> Tensor:
        """The bias of `attention`, (1, H, T, S); the last query is aligned with the last key."""
        check_int("queries", queries, 0), check_int("keys", keys, 0)
        device = self.table.weight.device
        t = torch.arange(keys - queries, keys, device=device)
        s = torch.arange(keys, device=device)
        distances = s[None] - t[:, None]  # (T, S)
        rows = relative_buckets(distances, self.buckets, self.max_distance, self.bidirectional)
        # bias[h, t, s] = table[bucket(s - t), h]
        return self.table(rows).permute(2, 0, 1)[None]  # (1, H, T, S)

    def at(self, positions: int | Tensor, x: Tensor, keys: int) -> ScoreBias:
        """Only distances count here, as with ALiBi: padding on the left moves queries and keys alike."""
        return ScoreBias(self(x.shape[-2], keys))
