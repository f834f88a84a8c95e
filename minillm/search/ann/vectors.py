"""What the approximate indexes ask of vectors: lengths that float32 sums can hold, and a direction under cosine."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.search._ids import LONGEST
from minillm.search.ann.gaps import DOT, L2
from minillm.search.exact import check_vectors, row_lengths


def metric_number(metric: str) -> int:
    """How compiled code knows a metric: cosine is the product of vectors of length 1."""
    return L2 if metric == "l2" else DOT


def prepare(name: str, vectors: Any, dim: int, metric: str) -> np.ndarray:
    """Checked vectors (N, D) float32, as they are compared: of length 1 under cosine.

    Raises ValueError for another shape, text, NaN, infinity, a vector longer than 2^60, or under cosine one of zeros.
    """
    checked = check_vectors(name, vectors, dim)
    lengths = row_lengths(checked)
    if len(lengths) and lengths.max() > LONGEST:
        raise ValueError(f"{name} must be of length 2^60 at most, got {lengths.max():.3g}")
    if metric == "cosine":
        if (lengths == 0).any():
            first = int(np.flatnonzero(lengths == 0)[0])
            raise ValueError(f"{name} must have a direction under cosine, got only zeros in row {first}")
        return (checked / lengths[:, None]).astype(np.float32)
    return checked + np.float32(0)  # a copy, in which -0 is 0: equal vectors have equal bytes


def as_distances(sums: np.ndarray, metric: str) -> np.ndarray:
    """Distances from what `read_keys` gives: the 1 of 1 - q.x."""
    return sums if metric == "l2" else (sums + np.float32(1)).astype(np.float32)
