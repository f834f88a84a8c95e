"""Which of two systems orders items more like people do: two rank correlations on the same items, and their difference.

    difference = spearman(a, scores) - spearman(b, scores)
    interval   = the middle 95 % of the difference over resamples of the items, or of whole groups of them

A correlation belongs to all items together, so `paired`, which takes a mean of differences, cannot compare two. Items
that share something (pairs of texts with the same first text) are no independent draws: `groups` resamples them
together.

Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap". Book: 11.2 언어 모델을 임베딩 모델로 만들기.
Held against: scipy.stats.bootstrap of the difference, with the same resamples.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minillm._arrays import plain_items
from minillm._checks import check_int, check_number, describe, is_listing
from minillm.evaluation.correlation import finite_numbers, pearson, spearman


class PairedCorrelation(NamedTuple):
    """Spearman of the first system and of the second, their difference, its (low, high); n items in `groups` groups."""

    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    n: int
    groups: int

    def __str__(self) -> str:
        low, high = self.interval
        grouped = f" in {self.groups} groups" if self.groups < self.n else ""
        return (
            f"{self.first:.3f} against {self.second:.3f}; "
            f"difference {self.difference:+.3f} [{low:+.3f}, {high:+.3f}], n = {self.n}{grouped}"
        )


def paired_spearman(
    a: Sequence[float],
    b: Sequence[float],
    scores: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> PairedCorrelation:
    """Compare what two systems say of the same N items by Spearman's correlation with `scores`.

    groups: to which group an item belongs, None for items drawn one by one. Raises ValueError for lists of different
    lengths, fewer than two numbers, or numbers that are all the same, of which there is no correlation.
    """
    a, b, scores = (finite_numbers(*one) for one in (("a", a), ("b", b), ("scores", scores)))
    whole = spearman(a, scores), spearman(b, scores)
    if not np.isfinite(whole).all():
        raise ValueError("a, b and scores must each hold different numbers, got one whose numbers are equal")
    # each number by its place among the different ones: then a resample is ranked by counting, without sorting it again
    a, b, scores = (np.unique(one, return_inverse=True)[1] for one in (a, b, scores))
    confidence = check_number("confidence", confidence, 0.01, 0.9999)
    resamples = check_int("resamples", resamples, 100)
    rng = np.random.default_rng(check_int("seed", seed, 0))
    members = members_of(groups, len(scores))
    differences = np.empty(resamples)
    for place, drawn in enumerate(rng.integers(0, len(members), (resamples, len(members)))):
        rows = drawn if groups is None else np.concatenate([members[one] for one in drawn])
        ours, theirs, truth = (_ranks(one[rows]) for one in (a, b, scores))
        differences[place] = pearson(ours, truth) - pearson(theirs, truth)
    # a resample may hold one number alone, of a handful of items; it has no correlation and says nothing
    low, high = np.nanpercentile(differences, [50 * (1 - confidence), 50 * (1 + confidence)])
    return PairedCorrelation(
        *whole, whole[0] - whole[1], (float(low), float(high)), len(scores), len(members)
    )


def _ranks(codes: np.ndarray) -> np.ndarray:
    """Ranks from 1, float64 (N,), equal codes sharing the mean of theirs; codes: whole numbers from 0."""
    sizes = np.bincount(codes)
    return (np.cumsum(sizes) - (sizes - 1) / 2)[codes]


def members_of(groups: Any, count: int) -> list[np.ndarray]:
    """The places of each group's items, in the order in which the groups come; None is a group for each of `count`
    items. ValueError for other than `count` names of two groups or more."""
    if groups is None:
        return [np.array([place]) for place in range(count)]
    if not is_listing(groups) or len(names := plain_items(groups)) != count:
        raise ValueError(f"groups must name a group for each of {count} items, got {describe(groups)}")
    places: dict[Hashable, list[int]] = {}
    for place, group in enumerate(names):
        if not isinstance(group, Hashable) or group != group:  # NaN would be a group of its own each time
            raise ValueError(f"groups must hold str or numbers, got {describe(group)}")
        places.setdefault(group, []).append(place)
    if len(places) < 2:
        raise ValueError(f"groups must be at least two, got {len(places)}")
    return [np.array(rows) for rows in places.values()]
