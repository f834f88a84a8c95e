"""Calibration: of all the times that a model said "70 %", was it right in 70 %?

    ECE = sum over bins b of  n_b / N * |share of yes in b - mean probability in b|

A ranking may be perfect and badly calibrated, or the other way round. ECE falls with fewer bins and rises with few
items: it is read beside its n.

Book: 4.2.1 선호 데이터셋을 사용한 채점 모델 만들기, 13.3 LLM 평가하기. Papers: Naeini et al. 2015; Guo et al. 2017.
Held against: sklearn's calibration_curve, weighed by its bins. Leaves out: bins of equal counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm._checks import check_int, describe
from minillm.evaluation.correlation import finite_numbers


def expected_calibration_error(
    probabilities: Sequence[float], outcomes: Sequence[Any], bins: int = 10
) -> float:
    """ECE in [0, 1] of probabilities (N,) that something is so, and whether it was (N,), in `bins` of equal width.

    A probability on the border of two bins belongs to the upper one. ValueError for other lengths, no items, numbers
    outside [0, 1], outcomes that are not 0 or 1.
    """
    p, y = finite_numbers("probabilities", probabilities), finite_numbers("outcomes", outcomes)
    bins = check_int("bins", bins, 1)
    if not len(p) or p.shape != y.shape or not np.isin(y, (0.0, 1.0)).all() or p.min() < 0 or p.max() > 1:
        raise ValueError(
            f"expected one probability or more in [0, 1] and as many outcomes 0 or 1, got {describe(probabilities)} "
            f"and {describe(outcomes)}"
        )
    # the bin of p is [b / bins, (b + 1) / bins), the last one with its upper end
    places = np.minimum((p * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(places, weights=y - p, minlength=bins)  # n_b * (share of yes - mean probability)
    return float(np.abs(gaps).sum() / len(p))
