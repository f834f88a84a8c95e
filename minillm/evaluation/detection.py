"""How good is a detector? Ranking (AUC), rates with their intervals, and a threshold taken from data.

    AUC      = P(score of a yes > score of a no) + P(equal) / 2
    interval = (p + z²/2n ± z sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n)          (Wilson; p = k / n)

A detector that never fires has no false alarms, and one that always fires catches all: the two rates are read together.
The interval says what k of n can mean; with 0 of 20 false alarms the true rate may still be 16 %.

Book: 13.3 LLM 평가하기. Papers: Wilson 1927; Fawcett 2006, "An introduction to ROC analysis".
Held against: sklearn's roc_auc_score; scipy's binomtest(k, n).proportion_ci(method="wilson").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from minillm._checks import check_int, check_number, describe
from minillm.evaluation.correlation import finite_numbers, mean_ranks
from minillm.evaluation.paired_correlation import members_of


def auc(scores: Sequence[float], labels: Sequence[Any]) -> float:
    """The share of pairs (a yes, a no) in which the yes has the higher score; a tie counts half. labels: 0 or 1."""
    s, y = _scored(scores, labels)
    yes = int(y.sum())
    # the sum of the ranks of the yes, less what they have among themselves, counts the pairs
    return float((mean_ranks(s)[y == 1].sum() - yes * (yes + 1) / 2) / (yes * (len(y) - yes)))


def auc_interval(
    scores: Sequence[float], labels: Sequence[Any], groups: Sequence[Any], draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % of AUC when whole groups are drawn again: cases of one question rise and fall together. groups: a name for
    each score, None for a group each. Raises ValueError for one group alone, and where no draw held both labels."""
    s, y = _scored(scores, labels)
    check_int("draws", draws, 1)
    places = members_of(groups, len(s))
    rng, found = np.random.default_rng(check_int("seed", seed, 0)), []
    for _ in range(draws):
        chosen = np.concatenate([places[i] for i in rng.integers(len(places), size=len(places))])
        if 0 < y[chosen].sum() < len(chosen):  # a draw of one kind only has no AUC
            found.append(auc(s[chosen], y[chosen]))
    if not found:
        raise ValueError(f"of {draws} draws none held both labels: give more draws")
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def wilson_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of the rate behind `hits` of `n`, also where none or all are hits."""
    n = check_int("n", n, 1)
    p = check_int("hits", hits, 0, n) / n
    z = NormalDist().inv_cdf(0.5 + check_number("confidence", confidence, 0.01, 0.9999) / 2)
    # (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    middle, width = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n * n))
    share = 1 + z**2 / n
    return (middle - width) / share if hits else 0.0, (middle + width) / share if hits < n else 1.0


def threshold_at(scores: Sequence[float], labels: Sequence[Any], most_alarms: float = 0.05) -> float:
    """The lowest threshold at which at most this share of the noes is caught (score >= threshold).

    Between the two scores that it separates, in the middle; one above all noes where none may be caught.
    """
    s, y = _scored(scores, labels)
    noes = np.sort(s[y == 0])[::-1]
    allowed = math.floor(check_number("most_alarms", most_alarms, 0, 1) * len(noes) + 1e-9)
    if allowed >= len(noes):
        return float(s.min())
    worst = noes[allowed]  # this one must not be caught
    above = s[s > worst]
    return float((worst + above.min()) / 2) if len(above) else float(np.nextafter(worst, np.inf))


class Detection(NamedTuple):
    """What a detector did: `caught` of `attacks`, and `alarms` of `benign` texts."""

    caught: int
    attacks: int
    alarms: int
    benign: int

    def __str__(self) -> str:
        return f"catches {_rate(self.caught, self.attacks)}; false alarms {_rate(self.alarms, self.benign)}"


def detection(caught: Sequence[Any], labels: Sequence[Any]) -> Detection:
    """Count what was caught (N,) of texts that are attacks (label 1) or not (0)."""
    c, y = _scored(caught, labels)
    return Detection(int((c * y).sum()), int(y.sum()), int((c * (1 - y)).sum()), int((1 - y).sum()))


def _rate(hits: int, n: int) -> str:
    low, high = wilson_interval(hits, n)
    return f"{hits} of {n} = {hits / n:.2f} [{low:.2f}, {high:.2f}]"


def _scored(scores: Sequence[float], labels: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    s, y = finite_numbers("scores", scores), finite_numbers("labels", labels)
    if s.shape != y.shape or not np.isin(y, (0.0, 1.0)).all() or len(set(y.tolist())) < 2:
        raise ValueError(
            f"expected a score and a label 0 or 1 each, and both labels, got {describe(scores)} and {describe(labels)}"
        )
    return s, y
