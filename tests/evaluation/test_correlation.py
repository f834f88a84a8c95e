"""Correlations against scipy, ties and all, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.evaluation import mean_ranks, pearson, spearman


def test_by_hand():
    assert mean_ranks([5, 7, 7, 1]).tolist() == [2, 3.5, 3.5, 1]
    assert pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert spearman([1, 2, 3], [9, 4, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1)  # no line, but the same order
    assert pearson([1, 2, 3, 4], [1, 10, 100, 1000]) < 0.9
    assert math.isnan(pearson([1, 1], [1, 2]))
    assert math.isnan(spearman([1, 2], [3, 3]))
    assert math.isnan(pearson([0.1] * 3, [1, 2, 4]))  # the mean of three 0.1 is not 0.1


LISTS = st.integers(2, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-4, 4), min_size=n, max_size=n)] * 2)
)  # few different values: many ties


@settings(deadline=None)
@given(LISTS)
def test_equals_scipy(pair):
    stats = pytest.importorskip("scipy.stats", reason="held against scipy")
    x, y = pair
    np.testing.assert_array_equal(mean_ranks(x), stats.rankdata(x))
    if len(set(x)) > 1 and len(set(y)) > 1:  # scipy warns of the others
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2], [1], "x and y must be equally long"),
        ([1], [1], "two numbers at least"),
        ([1, math.nan], [1, 2], "x must be a list of finite numbers"),
        ([1, 2], "ab", "y must be a list of finite numbers"),
        ([[1, 2]], [1, 2], "x must be a list of finite numbers"),
    ],
)
def test_bad_input_is_named(x, y, message):
    with pytest.raises(ValueError, match=message):
        spearman(x, y)
