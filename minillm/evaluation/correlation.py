"""Do two lists of numbers rise together? Pearson asks for a straight line, Spearman only for the same order.

    pearson  = sum (x - mean x)(y - mean y) / sqrt(sum (x - mean x)^2 * sum (y - mean y)^2)        -1 to 1
    spearman = pearson of the ranks; equal numbers share the mean of their ranks: [5, 7, 7] -> [1, 2.5, 2.5]

How an embedding model is judged on pairs with a score: its cosines need not be the scores, their order shall be.
Book: 11.2 언어 모델을 임베딩 모델로 만들기. Held against: scipy.stats.pearsonr, scipy.stats.spearmanr.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm._arrays import as_array
from minillm._checks import describe


def mean_ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 1, float64 (N,), equal values sharing the mean of theirs: [5, 7, 7] -> [1, 2.5, 2.5].
    ValueError for anything but finite numbers."""
    _, group, sizes = np.unique(finite_numbers("values", values), return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)  # the rank of the last of each group of equals
    return (last - (sizes - 1) / 2)[group]


def pearson(x: Sequence[float], y: Sequence[float]) -> float:
    """The correlation of two lists of N numbers, -1 to 1; NaN where one of them is all the same.

    Raises ValueError for lists of different lengths, or of fewer than two finite numbers.
    """
    x, y = _two(x, y)
    if (x == x[0]).all() or (y == y[0]).all():  # the mean of equal numbers may miss them by a last bit
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    # sum xy / sqrt(sum x^2 * sum y^2), of centred numbers
    lengths = math.sqrt((x**2).sum()) * math.sqrt((y**2).sum())
    return float((x * y).sum() / lengths) if lengths else math.nan


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """The rank correlation of two lists, -1 to 1, ties by their mean rank; NaN and ValueError as `pearson`."""
    x, y = _two(x, y)
    return pearson(mean_ranks(x), mean_ranks(y))


def _two(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = finite_numbers("x", x), finite_numbers("y", y)
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(f"x and y must be equally long, two numbers at least, got {len(x)} and {len(y)}")
    return x, y


def finite_numbers(name: str, values: Any) -> np.ndarray:
    """`values` as float64 (N,); ValueError for anything but a list of finite numbers."""
    try:
        numbers = as_array(values)
        numbers = numbers.astype(np.float64) if numbers.dtype.kind in "biufO" else np.zeros((0, 0))
    except (TypeError, ValueError, RuntimeError):  # the last one: a list of tensors that require grad
        numbers = np.zeros((0, 0))
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be a list of finite numbers, got {describe(values)}")
    return numbers
