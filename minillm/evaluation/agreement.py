"""Do two judges agree more than luck would have it, and does a score tell yes from no?

    kappa = (observed - expected) / (1 - expected)      observed: share labelled alike; expected: the share if each
                                                        kept its own habits and knew nothing of the item
    AUC   = P(score of a yes > score of a no)           ties count half

A judge that says A in 39 of 40 agrees with a balanced one in half of all cases, and kappa is about 0: that is why an
agreement is never reported alone. AUC needs no threshold: 0.5 is a coin, 0 is a perfect score with the wrong sign.

Book: 13.3.4 LLM을 통한 평가. Papers: Cohen 1960; Hanley and McNeil 1982. Held against: scikit-learn's
cohen_kappa_score and roc_auc_score.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from minillm._checks import check_int, check_number, describe, is_listing
from minillm.evaluation.correlation import finite_numbers, mean_ranks


def auc(scores: Sequence[float], outcomes: Sequence[Any]) -> float:
    """The share of (yes, no) pairs that the scores put in the right order, ties half: 0..1.

    scores (N,), higher for yes; outcomes (N,) of 0 and 1. ValueError for other lengths, or one outcome alone.
    """
    s, y = finite_numbers("scores", scores), finite_numbers("outcomes", outcomes)
    if s.shape != y.shape or not np.isin(y, (0.0, 1.0)).all():
        raise ValueError(f"expected as many outcomes 0 or 1 as {len(s)} scores, got {describe(outcomes)}")
    yes = int(y.sum())
    no = len(y) - yes
    if not yes or not no:
        raise ValueError(f"outcomes must hold both 0 and 1, got {no} times 0 and {yes} times 1")
    # the ranks of the yeses, less those that they have among themselves: pairs with a lower no (Mann and Whitney)
    return float((mean_ranks(s)[y == 1].sum() - yes * (yes + 1) / 2) / (yes * no))


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Agreement of two judges beyond luck, -1..1; NaN where both give one and the same label to everything.

    a, b: the labels of the same items. Raises ValueError for other lengths, no items, and labels that are no values.
    """
    a, b = _labels("a", a), _labels("b", b)
    if len(a) != len(b) or not a:
        raise ValueError(f"a and b must label the same items, one at least, got {len(a)} and {len(b)}")
    observed = sum(map(lambda one, other: one == other, a, b)) / len(a)
    first, second = Counter(a), Counter(b)
    expected = sum(first[label] * second[label] for label in first) / len(a) ** 2
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def _labels(name: str, values: Any) -> list[Hashable]:
    values = values.tolist() if hasattr(values, "tolist") else values
    if not is_listing(values):
        raise ValueError(f"{name} must be a list of labels, got {describe(values)}")
    values = list(values)
    for value in values:
        if not isinstance(value, Hashable) or value != value:
            raise ValueError(f"{name} must hold str or numbers, got {describe(value)}")
    return values


def share_interval(right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share, `right` of n: (low, high) within 0..1, also where all or none are right."""
    check_int("n", n, 1), check_int("right", right, 0, n)
    check_number("confidence", confidence, 0.01, 0.9999)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    # (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    p, middle = right / n, right / n + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return (low if right else 0.0, high if right < n else 1.0)
