"""Has what comes in changed since the model was made? Three distances between two samples.

    PSI  = sum over bins  (a_i - e_i) ln(a_i / e_i)      e, a: shares of the expected and of the actual sample; the bins
                                                         hold equal parts of the expected one
    KS   = max over x  |F_e(x) - F_a(x)|                  the largest gap of the two cumulative curves
    centroid_distance = 1 - cos(mean e, mean a)           of vectors: has the middle of the texts moved?

PSI under .1 is usually read as no change, above .25 as a large one: a habit, not a test. In small samples all three
differ from 0 by chance; compare with what two halves of the old data give.

Book: 13.1.4 모델 모니터링. Held against: scipy.stats.ks_2samp; PSI by its definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm._arrays import as_array
from minillm._checks import check_int, check_number, describe
from minillm.evaluation.correlation import finite_numbers


def psi(expected: Sequence[float], actual: Sequence[float], bins: int = 10, least: float = 1e-4) -> float:
    """Population stability index, 0 (the same shares) and up, of two samples of numbers.

    bins: parts of equal size of the expected sample. Equal numbers never part, and a number that fills a bin has one of
    its own, so that there may be fewer or more. least: what an empty bin counts as. Raises ValueError for no numbers,
    or numbers that are not finite.
    """
    e, a = _sample("expected", expected), _sample("actual", actual)
    check_int("bins", bins, 2), check_number("least", least, 1e-12, 0.1)
    edges = np.unique(np.quantile(e, np.linspace(0, 1, bins + 1)[1:-1]))
    # of yes and no with 95 % yes every edge is the yes: the no below it must not share its bin
    full = [edge for edge in edges if (e == edge).sum() * bins >= len(e)]
    edges = np.unique([*edges, *np.nextafter(full, -np.inf)])
    shares = [
        np.maximum(
            np.bincount(np.searchsorted(edges, one, side="left"), minlength=len(edges) + 1) / len(one), least
        )
        for one in (e, a)
    ]
    # sum (a_i - e_i) ln(a_i / e_i)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def ks_statistic(expected: Sequence[float], actual: Sequence[float]) -> float:
    """The largest gap between the two cumulative distributions, 0..1; ValueError as `psi`."""
    e, a = (np.sort(_sample(name, one)) for name, one in (("expected", expected), ("actual", actual)))
    every = np.concatenate([e, a])
    curves = [np.searchsorted(one, every, side="right") / len(one) for one in (e, a)]
    return float(np.abs(curves[0] - curves[1]).max())


def centroid_distance(expected: Any, actual: Any) -> float:
    """1 - cosine of the two mean vectors, 0..2: expected (N, D), actual (M, D).

    Raises ValueError for other shapes, numbers that are not finite, and means of length 0.
    """
    means = []
    for name, value in (("expected", expected), ("actual", actual)):
        try:
            vectors = as_array(value).astype(np.float64)
        except (TypeError, ValueError, RuntimeError):
            vectors = np.zeros(0)
        if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
            raise ValueError(f"{name} must be finite vectors (N, D), got {describe(value)}")
        means.append(vectors.mean(0))
    if means[0].shape != means[1].shape:
        raise ValueError(f"expected and actual must be of one width, got {len(means[0])} and {len(means[1])}")
    lengths = [float(np.linalg.norm(mean)) for mean in means]
    if not all(lengths):
        raise ValueError("the mean of the vectors has length 0, and so no direction")
    return float(1 - means[0] @ means[1] / (lengths[0] * lengths[1]))


def _sample(name: str, values: Sequence[float]) -> np.ndarray:
    numbers = finite_numbers(name, values)
    if not len(numbers):
        raise ValueError(f"{name} must hold at least one number, got none")
    return numbers
