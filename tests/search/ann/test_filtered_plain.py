"""The plain walk with a filter: by hand, against a full sort, and node by node against the compiled walk."""

import numpy as np
import pytest

from minillm.search import NSWIndex, count_distances
from minillm.search.ann import PlainHNSW, plain_copy
from minillm.search.ann.counting import count_walks
from minillm.search.ann.filtered_plain import FilteredHNSW
from minillm.search.ann.gaps import read_keys
from minillm.search.ann.query import walk
from tests.search.ann.helpers import whole_numbers


def nodes(found):
    return [node for _, node in found]


def test_it_walks_over_a_node_that_does_not_pass():
    """0 - 1 - 2 - 3 on a line: 1 is the only way to 2."""
    graph = PlainHNSW()
    graph.vectors = [np.array([place], np.float32) for place in range(4)]
    graph.layers, graph.entry = [{0: [1], 1: [0, 2], 2: [1, 3], 3: [2]}], 0
    search = FilteredHNSW(graph, lambda node: node != 1)
    assert nodes(search.search([1.1], 2, ef_search=2)) == [2, 0]
    assert search.measured == 4
    assert nodes(FilteredHNSW(graph, lambda node: node == 3).search([0], 2)) == [3]
    assert FilteredHNSW(graph, lambda node: False).search([0], 2) == []
    assert FilteredHNSW(PlainHNSW(), lambda node: True).search([0], 2) == []


def test_where_all_pass_it_is_the_search_without_a_filter():
    vectors = whole_numbers(330, 6)
    graph = PlainHNSW(m=5, ef_construction=20)
    for vector in vectors[:300]:
        graph.add(vector)
    search = FilteredHNSW(graph, lambda node: True)
    graph.measured = 0
    for query in vectors[300:]:
        assert search.search(query, 5, 12) == graph.search(query, 5, 12)
    assert search.measured == graph.measured > 300


@pytest.mark.parametrize("share", [0.7, 0.3, 0.05])
def test_it_is_the_compiled_walk(share):
    """The same nodes, and as many distances. ef is so large that the compiled beam has room for all 250."""
    vectors = whole_numbers(280, 6)
    index = NSWIndex(6, m=6, ef_construction=30)
    index.add(vectors[:250])
    passes, queries = np.random.default_rng(1).random(250) < share, vectors[250:]
    search = FilteredHNSW(plain_copy(index, vectors[:250]), lambda node: bool(passes[node]))
    slots, k, ef, found, measured = index._slots, 5, 64, [], []
    for query in queries:
        search.measured = 0
        found.append(nodes(search.search(query, k, ef)))
        measured.append(search.measured)
    compiled = read_keys(walk(slots, queries, k, ef, passes, int(passes.sum()), 1))[0]
    assert [row[row >= 0].tolist() for row in compiled] == found
    counts = np.zeros((len(queries), 3), np.int64)
    count_walks(slots.graph(), queries, slots.entry, slots.top, ef, 250, passes, counts)
    assert (counts[:, 0] + counts[:, 1]).tolist() == measured
    right = np.flatnonzero(passes)
    truth = right[np.argsort(((queries[:, None] - vectors[right]) ** 2).sum(axis=2), axis=1, kind="stable")]
    assert found == truth[:, :k].tolist()
    assert (
        count_distances(index, queries, k, ef, passes) == passes.sum()
    ).all()  # which the index does instead


def test_what_is_refused():
    with pytest.raises(ValueError, match="graph must be a PlainHNSW"):
        FilteredHNSW([], lambda node: True)
    with pytest.raises(ValueError, match="passes must be"):
        FilteredHNSW(PlainHNSW(), [True, False])
