"""RRF against the book's example, and hybrid search over two retrievers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.search import BM25, HybridSearch, group_ranking, rrf


def test_the_example_of_the_book():
    fused = dict(rrf([[1, 4, 3, 5, 6], [2, 1, 3, 6, 4]], k=5))
    printed = {1: 0.309524, 3: 0.25, 4: 0.242857, 6: 0.211111, 2: 0.166667, 5: 0.111111}
    assert list(fused) == list(printed)
    assert fused == pytest.approx(printed, abs=5e-7)


def test_scores_of_the_input_do_not_matter():
    assert rrf([[("a", 9.0), ("b", 8.9)], [("b", 0.1)]]) == rrf([["a", "b"], ["b"]])


def test_ties_are_broken_by_document_id():
    for rankings in ([["x", "y"], ["y", "x"]], [["y", "x"], ["x", "y"]]):
        assert [one for one, _ in rrf(rankings)] == ["x", "y"]
    # numbers as numbers, and before names
    assert [one for one, _ in rrf([["b"], [10], [9], ["a"]])] == [9, 10, "a", "b"]


@given(st.lists(st.permutations(range(5)), min_size=2, max_size=4), st.randoms())
def test_the_order_of_the_rankings_does_not_matter(rankings, rng):
    fused = rrf(rankings)
    rng.shuffle(rankings)
    assert rrf(rankings) == fused


@given(st.permutations([0, 1, 2, 4, 6]), st.sampled_from([0, 0.1, 5, 60]))
def test_the_same_ranks_in_another_order_are_a_tie(places, k):
    # "a" and "b" stand at the same five places in another order: a plain sum of floats would prefer one of them.
    rankings = []
    for first, second in zip(places, places[1:] + places[:1], strict=True):
        ranking = [f"{len(rankings)} {place}" for place in range(7)]
        ranking[first], ranking[second] = "a", "b"
        rankings.append(ranking)
    scores = dict(rrf(rankings, k=k))
    assert scores["a"] == scores["b"]


def test_weights():
    assert [one for one, _ in rrf([["a", "b"], ["b", "a"]], weights=[1, 2])] == ["b", "a"]
    assert rrf([["a"], ["b"]], k=0, weights=[0.5, 0]) == [("a", 0.5), ("b", 0.0)]


def test_nothing_to_fuse():
    assert rrf([]) == []
    assert rrf([[], []]) == []


@given(
    st.lists(st.permutations(range(6)).map(lambda order: order[:4]), min_size=1, max_size=5),
    st.integers(0, 99),
)
def test_fused_scores_are_sums_of_reciprocal_ranks(rankings, k):
    fused = rrf(rankings, k=k)
    assert {one for one, _ in fused} == {one for ranking in rankings for one in ranking}
    for one, score in fused:
        assert score == pytest.approx(sum(1 / (k + r.index(one) + 1) for r in rankings if one in r))
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rrf(None), "rankings must be a list of rankings"),
        (lambda: rrf("ab"), "rankings must be a list of rankings"),
        (lambda: rrf(["ab"]), r"rankings\[0\] must be a list"),
        (lambda: rrf([["a", "a"]]), r"rankings\[0\] must list every id once, got 'a'"),
        (lambda: rrf([[1.5]]), "must hold ids"),
        (lambda: rrf([["a"]], k=-1), "k must be at least 0"),
        (lambda: rrf([["a"]], k=float("inf")), "k must be a finite number"),
        (lambda: rrf([["a"]], weights=[1, 1]), "got 2 for 1 rankings"),
        (lambda: rrf([["a"]], weights=[-1]), "at least 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_groups_stand_where_their_best_member_stood():
    passages = [("with#2", 9.0), ("try#1", 8.0), ("with#1", 7.0)]
    assert group_ranking(passages, lambda one: one.split("#")[0]) == [("with", 9.0), ("try", 8.0)]


class Fixed:
    """A retriever whose answers are known."""

    def __init__(self, *ranking):
        self.ranking = [(one, 1.0) for one in ranking]
        self.asked = []

    def search(self, queries, k):
        self.asked.append(k)
        return [self.ranking[:k] for _ in queries]


def test_hybrid_is_rrf_of_both():
    hybrid = HybridSearch(Fixed(1, 4, 3, 5, 6), Fixed(2, 1, 3, 6, 4), k=5)
    assert hybrid.search("q", 3) == rrf([[1, 4, 3, 5, 6], [2, 1, 3, 6, 4]], k=5)[:3]
    assert hybrid.search(["q", "r"], 2) == [hybrid.search("q", 2)] * 2


def test_hybrid_looks_deeper_than_it_answers():
    lexical, dense = Fixed("a", "b", "both"), Fixed("c", "d", "both")
    assert HybridSearch(lexical, dense).search("q", 1)[0][0] == "both"
    assert lexical.asked == dense.asked == [100]
    HybridSearch(lexical, dense, depth=2).search("q", 7)
    assert lexical.asked[-1] == 7


def test_hybrid_weights():
    assert HybridSearch(Fixed("a"), Fixed("b"), weights=(1, 3)).search("q")[0][0] == "b"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HybridSearch(None, Fixed()), "lexical must have a method search"),
        (lambda: HybridSearch(Fixed(), "dense"), "dense must have a method search"),
        (lambda: HybridSearch(Fixed(), Fixed(), k=-1), "k must be at least 0"),
        (lambda: HybridSearch(Fixed(), Fixed(), weights=(1,)), "two numbers"),
        (lambda: HybridSearch(Fixed(), Fixed(), depth=0), "depth must be at least 1"),
        (lambda: HybridSearch(Fixed(), Fixed()).search(None), "query must be a list of str"),
        (lambda: HybridSearch(Fixed(), Fixed()).search("q", 0), "k must be at least 1"),
    ],
)
def test_bad_hybrid_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_document_that_only_one_list_holds_is_ranked_by_that_one_alone():
    lexical, dense = BM25().fit(["with enters", "try"], ["a", "b"]), BM25().fit(["try", "with"], ["b", "a"])
    search = HybridSearch(lexical, dense, k=5)
    lexical.add(["with with with leaves"], ["c"])
    found = dict(search.search("with"))
    assert found["c"] == pytest.approx(1 / (5 + 1))
    assert found["a"] == pytest.approx(1 / (5 + 2) + 1 / (5 + 1))
