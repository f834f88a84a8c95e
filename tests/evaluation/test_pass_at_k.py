"""pass@k against a count of all choices, and against what an unbiased estimator must give."""

import itertools
import math
from fractions import Fraction

import pytest

from minillm.evaluation import pass_at_k


@pytest.mark.parametrize("n", range(1, 9))
def test_it_is_the_share_of_all_choices_that_hold_a_right_one(n):
    for c in range(n + 1):
        samples = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            chosen = list(itertools.combinations(samples, k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, chosen)) / len(chosen), abs=1e-12)


def test_large_numbers_agree_with_exact_fractions():
    for n, c, k in [(200, 1, 100), (1000, 3, 10), (10_000, 17, 100), (5, 5, 5), (10**6, 1, 1)]:
        exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k)) if n < 10**6 else Fraction(c, n)
        assert pass_at_k(n, c, k) == pytest.approx(float(exact), rel=1e-9)


def test_it_has_no_bias():
    """Its mean over all outcomes of n samples is 1 - (1 - p)^k, which the plain guess misses."""
    n, k, p = 10, 4, 0.3
    weights = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    true = 1 - (1 - p) ** k
    assert sum(w * pass_at_k(n, c, k) for c, w in enumerate(weights)) == pytest.approx(true, abs=1e-12)
    plain = sum(w * (1 - (1 - c / n) ** k) for c, w in enumerate(weights))
    assert plain < true - 0.02


@pytest.mark.parametrize(
    ("numbers", "match"),
    [
        ((0, 0, 1), "n must be at least 1"), ((5, 6, 1), "c must be between 0 and 5, got 6"), ((5, -1, 1), "c must be"),
        ((5, 2, 0), "k must be between 1 and 5, got 0"), ((5, 2, 6), "k must be between 1 and 5, got 6"),
        ((5.0, 2, 1), "n must be an integer"), ((5, True, 1), "c must be an integer"), ((5, 2, None), "k must be"),
    ],
)  # fmt: skip
def test_bad_numbers_are_refused(numbers, match):
    with pytest.raises(ValueError, match=match):
        pass_at_k(*numbers)
