"""Correlations against scipy, ties and all, and by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.evaluation import (
    CharacterNaiveBayes,
    centroid_distance,
    cohen_kappa,
    mean_ranks,
    pearson,
    spearman,
)


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


def test_numbers_of_torch_serve_and_texts_do_not():
    for x in (
        torch.tensor([1.0, 2.0, 4.0], requires_grad=True),
        torch.tensor([1, 2, 4], dtype=torch.bfloat16),
    ):
        assert pearson(x, [1, 2, 4]) == pytest.approx(1)
    for bad in (["1", "2", "4"], [1, "2", 4], list(torch.ones(3, requires_grad=True)), [1j, 2, 3]):
        with pytest.raises(ValueError, match="x must be a list of finite numbers"):
            pearson(bad, [1, 2, 4])
    moved = torch.tensor([[1.0, 0.0]], requires_grad=True)
    assert centroid_distance(moved, [[0.0, 1.0]]) == pytest.approx(1)


def test_labels_that_are_tensors_are_their_numbers():
    """Two tensors of one number have two hashes: each would be a label of its own."""
    a, b = [1, 0, 1, 1], [1, 0, 0, 1]
    assert cohen_kappa(list(torch.tensor(a)), list(torch.tensor(b))) == cohen_kappa(a, b)
    naive = CharacterNaiveBayes().fit(["ab", "cd", "ab"], list(torch.tensor([1, 0, 1])))
    assert (naive.labels, naive.predict(["ab"])) == ([0, 1], [1])
