"""Two systems on the same questions: who wins where, and whether the difference is more than luck.

    d_i        = a_i - b_i                         the same item, scored for both
    wins, losses, ties                             how often d_i is above, below, equal to zero
    interval   = the middle 95 % of mean(d*) over resamples d* of the items (percentile bootstrap)
    p          = probability of a split at least as uneven if wins and losses were equally likely (sign test)

Two averages side by side hide this: .85 against .83 on 100 questions may be two wins and no loss, or 30 and 28.

Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap". Book: 13.3 LLM 평가하기.
Held against: scipy.stats.bootstrap with the same resamples, scipy.stats.binomtest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minillm._checks import check_int, check_number
from minillm.evaluation.correlation import finite_numbers


class Paired(NamedTuple):
    """wins, losses, ties of the first system; (low, high) of the mean difference; the difference; the sign test's p."""

    wins: int
    losses: int
    ties: int
    interval: tuple[float, float]
    difference: float
    p: float

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.wins} wins, {self.losses} losses, {self.ties} ties; "
            f"difference {self.difference:+.3f} [{low:+.3f}, {high:+.3f}], n = {sum(self[:3])}"
        )


def paired(
    a: Sequence[float], b: Sequence[float], confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Paired:
    """Compare the scores of two systems on the same items, higher is better: (wins, losses, ties, interval, ...).

    a, b: one number (or bool) an item, equally long. The interval is of mean(a) - mean(b); one that holds zero says
    that the items are too few to tell the systems apart. Raises ValueError for unequal lengths, no items, NaN.
    """
    first, second = finite_numbers("a", a), finite_numbers("b", b)
    if not len(first) or len(first) != len(second):
        raise ValueError(f"a and b must score the same items, got {len(first)} and {len(second)} scores")
    confidence = check_number("confidence", confidence, 0.01, 0.9999)
    resamples = check_int("resamples", resamples, 100)
    rng = np.random.default_rng(check_int("seed", seed, 0))
    d = first - second  # (N,)
    wins, losses = int((d > 0).sum()), int((d < 0).sum())
    means = np.empty(resamples)
    rows = max(1, 5_000_000 // len(d))  # resamples at once: 40 MB at most
    for start in range(0, resamples, rows):
        drawn = rng.integers(0, len(d), (min(rows, resamples - start), len(d)))
        means[start : start + rows] = d[drawn].mean(axis=1)
    low, high = np.percentile(means, [50 * (1 - confidence), 50 * (1 + confidence)])
    return Paired(
        wins,
        losses,
        len(d) - wins - losses,
        (float(low), float(high)),
        float(d.mean()),
        sign_test(wins, losses),
    )


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p of `wins` heads in wins + losses throws of a fair coin; 1.0 without throws."""
    n, few = check_int("wins", wins, 0) + check_int("losses", losses, 0), min(wins, losses)
    # p = 2 * sum over k <= few of (n choose k) / 2^n, at most 1
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(few + 1)) / 2**n)
