"""Distances counted: those of the plain walk, call by call, and what a search without a walk looks at."""

import numpy as np
import pytest

from minillm.search import ExactIndex, HNSWIndex, IVFIndex, NSWIndex, count_distances
from minillm.search.ann import PlainNSW
from minillm.search.ann.counting import count_descent
from minillm.search.ann.graph_search import descend
from tests.search.ann.helpers import clusters, whole_numbers


class CountedNSW(PlainNSW):
    calls = 0

    def distance(self, query, node):
        self.calls += 1
        return super().distance(query, node)


@pytest.mark.parametrize("ef", [10, 25, 60])
def test_it_counts_what_the_plain_walk_measures(ef):
    vectors = whole_numbers(330, 6)
    plain, index = CountedNSW(m=5, ef_construction=20), NSWIndex(6, m=5, ef_construction=20)
    index.add(vectors[:300])
    for vector in vectors[:300]:
        plain.add(vector)
    measured = []
    for query in vectors[300:]:
        plain.calls = 0
        plain.search(query, 10, ef)
        measured.append(plain.calls)
    np.testing.assert_array_equal(count_distances(index, vectors[300:], 10, ef), measured)


def test_it_comes_down_where_the_search_does():
    vectors, queries = whole_numbers(900, 6), whole_numbers(50, 6, seed=1)
    index = HNSWIndex(6, m=4)
    index.add(vectors)
    slots, starts = index._slots, np.zeros((50, 2), np.int64)
    descend(slots.graph(), queries, slots.entry, slots.top, 0, 50, starts)
    came = [count_descent(slots.graph(), query, slots.entry, slots.top) for query in queries]
    assert [node for node, _ in came] == starts[:, 1].tolist()
    assert min(count for _, count in came) > slots.top > 2


def test_without_a_walk_all_that_may_be_found_are_measured():
    vectors = clusters(1000, 6)
    index = HNSWIndex(6, m=5)
    assert count_distances(index, vectors[:2]).tolist() == [0, 0]
    index.add(vectors)
    assert count_distances(index, vectors[:2], filter=range(100)).tolist() == [100, 100]
    assert count_distances(index, vectors[:2], k=300).tolist() == [1000, 1000]
    walked = count_distances(index, vectors[:20])
    assert (walked < 700).all()
    assert (count_distances(index, vectors[:20], filter=range(900)) >= walked).all()
    assert (count_distances(index, vectors[:20], ef_search=128) > walked).all()
    assert (count_distances(index, vectors[:20] + 50, filter=np.arange(1000) % 3 > 0) > walked.min()).all()
    coded = HNSWIndex(6, m=5, codes="uint8")
    coded.add(vectors)
    assert (count_distances(coded, vectors[:20], ef_search=64) >= 64).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: count_distances(x, [[1.0]]), r"queries must be numbers of shape \(N, 6\)"),
        (lambda x: count_distances(x, np.ones((1, 6)), k=0), "k must be at least 1"),
        (lambda x: count_distances(x, np.ones((1, 6)), ef_search=0), "ef_search must be between 1"),
        (lambda x: count_distances(x, np.ones((1, 6)), filter=5), "filter must be a function"),
        (
            lambda x: count_distances(ExactIndex(6), np.ones((1, 6))),
            "index must be an HNSWIndex or an NSWIndex",
        ),
        (
            lambda x: count_distances(IVFIndex(6), np.ones((1, 6))),
            "index must be an HNSWIndex or an NSWIndex",
        ),
    ],
)
def test_bad_input(call, message):
    index = HNSWIndex(6)
    index.add(clusters(50, 6))
    with pytest.raises(ValueError, match=message):
        call(index)
