"""The weighted sum of standard scores: against hand-worked numbers and against its two parts."""

import numpy as np
import pytest
import torch

from minillm.search import BM25, WeightedSearch, standard_scores

TEXTS = ["with enters", "with with leaves", "try catches", "for visits items"]


class Fixed:
    """A retriever with given scores, whatever is asked."""

    def __init__(self, scores, ids="abcd"):
        self.ids, self._scores = list(ids), np.array(scores, np.float32)

    def scores(self, query):
        return self._scores


def test_standard_scores_by_hand():
    # mean 2, variance (1 + 0 + 1) / 3
    np.testing.assert_allclose(standard_scores([1, 2, 3]), [-(1.5**0.5), 0, 1.5**0.5])
    np.testing.assert_array_equal(standard_scores([7, 7, 7]), [0, 0, 0])
    ours = torch.tensor([1.0, 2, 3], requires_grad=True)  # of a model that somebody still trains
    np.testing.assert_allclose(standard_scores(ours), standard_scores([1, 2, 3]))
    drawn = np.random.default_rng(0).normal(5, 3, 1000)
    assert standard_scores(drawn).mean() == pytest.approx(0, abs=1e-9)
    assert standard_scores(drawn).std() == pytest.approx(1)


def test_the_sum_by_hand_and_its_two_ends():
    words, meaning = Fixed([0, 0, 0, 4]), Fixed([3, 1, 2, 0])
    # standard scores: words [-.577, -.577, -.577, 1.732], meaning [1.342, -.447, .447, -1.342]
    both = WeightedSearch(words, meaning, 0.5)
    np.testing.assert_allclose(both.scores("q"), [0.382, -0.512, -0.065, 0.195], atol=1e-3)
    assert [one for one, _ in both.search(["q"], 3)[0]] == ["a", "d", "c"]
    assert [one for one, _ in WeightedSearch(words, meaning, 0).search(["q"])[0]] == ["d", "a", "b", "c"]
    assert [one for one, _ in WeightedSearch(words, meaning, 1).search(["q"])[0]] == ["a", "c", "b", "d"]


def test_weight_zero_ranks_as_bm25_and_an_unknown_query_finds_nothing():
    lexical = BM25().fit(TEXTS, list("abcd"))
    search = WeightedSearch(lexical, Fixed([0, 0, 0, 0]), 0.3)
    (expected,) = lexical.search(["with leaves"], 2)
    assert [one for one, _ in search.search(["with leaves"], 2)[0]] == [one for one, _ in expected]
    assert search.search(["nothing known"]) == [[]]


def test_ids_that_differ_after_a_change_are_refused():
    lexical, dense = BM25().fit(TEXTS, list("abcd")), BM25().fit(TEXTS, list("abcd"))
    search = WeightedSearch(lexical, dense, 0.5)
    before = search.search(["with leaves"])
    lexical.add(["with a fifth"], ["e"])
    for call in (
        lambda: search.search(["with"]),
        lambda: search.scores("with"),
        lambda: search.parts("with"),
    ):
        with pytest.raises(ValueError, match="same ids in the same order, got 5 and 4 ids"):
            call()
    lexical.remove(["d"])  # as many again, but others
    with pytest.raises(ValueError, match="got 4 and 4 ids that differ"):
        search.search(["with"])
    lexical.fit(TEXTS, list("abcd"))
    assert search.search(["with leaves"]) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, Fixed([1] * 4), 0.5), "lexical must have scores"),
        ((Fixed([1] * 4), Fixed([1] * 4, "abdc"), 0.5), "same ids in the same order"),
        ((Fixed([1] * 4), Fixed([1] * 4), 1.1), "dense_weight must be between 0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WeightedSearch(*arguments)
