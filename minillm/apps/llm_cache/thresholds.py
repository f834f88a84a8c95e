"""How similar is similar enough? Counted on pairs of questions of which people said whether they mean the same.

    hit rate       = of pairs that mean the same, the share with similarity >= t     answers that are saved
    false-hit rate = of pairs that do not, the share with similarity >= t            wrong answers that are given

Choose t on one half of the pairs and report both on the other one: on the half that chose it, it looks too good. Both
rates are of single pairs. A full cache offers many kept questions to each new one, and one of them is enough for a
false hit: in use there are more of them.
Book 9.2.1 LLM 캐시 작동 원리.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minillm._checks import check_number


class ThresholdRow(NamedTuple):
    """At a threshold: both rates, and of all hits the share that is false (0 where nothing hits)."""

    threshold: float
    hit_rate: float
    false_hit_rate: float
    false_among_hits: float


def threshold_curve(
    similarities: Sequence[float], same: Sequence[bool], thresholds: Sequence[float]
) -> list[ThresholdRow]:
    """A row a threshold. same: whether the pair means the same. ValueError without pairs of both kinds."""
    scores, means_same = _pairs(similarities, same)
    rows = []
    for threshold in thresholds:
        hits = scores >= check_number("a threshold", threshold)
        right, wrong = int((hits & means_same).sum()), int((hits & ~means_same).sum())
        rates = right / means_same.sum(), wrong / (~means_same).sum(), wrong / max(1, right + wrong)
        rows.append(ThresholdRow(float(threshold), *map(float, rates)))
    return rows


def choose_threshold(similarities: Sequence[float], same: Sequence[bool], most_false: float = 0.02) -> float:
    """The lowest threshold whose false-hit rate is at most `most_false` on these pairs: it hits most among those."""
    scores, means_same = _pairs(similarities, same)
    different = np.sort(scores[~means_same])[::-1]
    allowed = int(check_number("most_false", most_false, 0.0, 1.0) * len(different))
    if allowed >= len(different):
        return float(scores.min())
    return float(np.nextafter(different[allowed], np.inf))  # just above the first one that would be too many


def _pairs(similarities: Sequence[float], same: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    scores, means_same = np.asarray(similarities, dtype=np.float64), np.asarray(same, dtype=bool)
    if scores.ndim != 1 or scores.shape != means_same.shape or not np.isfinite(scores).all():
        raise ValueError(
            f"give a finite similarity and a label a pair, got {scores.shape} and {means_same.shape}"
        )
    if not means_same.any() or means_same.all():
        raise ValueError("the pairs must be of both kinds: some that mean the same, some that do not")
    return scores, means_same
