"""Paired comparison: counts by hand, the interval and the sign test against scipy with the same resamples."""

import numpy as np
import pytest
from scipy import stats

from minillm.evaluation import paired
from minillm.evaluation.paired import sign_test


def test_counts_by_hand():
    result = paired([1, 0, 1, 1, 0], [0, 0, 1, 0, 1])
    assert result[:3] == (2, 1, 2)
    assert result.difference == pytest.approx(0.2)
    assert "2 wins, 1 losses, 2 ties" in str(result)
    assert "n = 5" in str(result)


@pytest.mark.parametrize(("n", "seed"), [(8, 0), (60, 3), (1000, 1)])
def test_the_interval_is_scipys_percentile_bootstrap(n, seed):
    rng = np.random.default_rng(seed + 100)
    a, b = rng.integers(0, 2, n), rng.normal(0.4, 0.5, n)
    ours = paired(a, b, confidence=0.9, resamples=2000, seed=seed)
    theirs = stats.bootstrap(
        (a - b,), np.mean, n_resamples=2000, batch=2000, confidence_level=0.9, method="percentile",
        rng=np.random.default_rng(seed), vectorized=True,
    )  # fmt: skip
    assert ours.interval == pytest.approx(tuple(theirs.confidence_interval), abs=1e-12)


def test_resamples_in_parts_are_the_same_resamples():
    d = np.arange(3000) % 7 / 7.0  # 3,000 items: 1,666 resamples at once
    whole = d[np.random.default_rng(0).integers(0, 3000, (2000, 3000))].mean(axis=1)
    assert paired(d, np.zeros(3000), resamples=2000).interval == pytest.approx(
        tuple(np.percentile(whole, [2.5, 97.5])), abs=1e-12
    )


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 0), (0, 7), (30, 28), (12, 3), (400, 350)])
def test_the_sign_test_is_scipys_binomial_test(wins, losses):
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected, rel=1e-9)


def test_equal_systems_tie_everywhere():
    assert paired([1, 0, 1], [1, 0, 1]) == (0, 0, 3, (0.0, 0.0), 0.0, 1.0)


@pytest.mark.parametrize(
    ("a", "b"),
    [([], []), ([1], [1, 0]), ([float("nan")], [1]), (["x"], [1]), ([[1]], [[1]]), (None, [1]), ([1], "1")],
)
def test_bad_scores_are_refused(a, b):
    with pytest.raises(ValueError, match=r"^(a|b) "):
        paired(a, b)
