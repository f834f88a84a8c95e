"""The paper's algorithms in plain Python: by hand on a few points, and link by link against the compiled index."""

import inspect

import numpy as np
import pytest
import torch

from minillm.search import HNSWIndex, NSWIndex
from minillm.search.ann import FirstNSW, PlainHNSW, PlainNSW, SimpleHNSW, plain_copy
from minillm.search.ann.slots import draw_levels
from minillm.search.exact import METRICS
from tests.search.ann.helpers import clusters, exact, whole_numbers


def grown(vectors, *settings, kind=PlainHNSW, **options):
    graph = kind(*settings, **options)
    for vector in vectors:
        graph.add(vector)
    return graph


def on_a_line(*places, **options):
    graph = PlainHNSW(m=2, **options)
    graph.vectors = [np.array([place], np.float32) for place in places]
    return graph


def test_every_function_fits_a_whiteboard():
    functions = [part for _, part in inspect.getmembers(PlainHNSW, inspect.isfunction)]
    lengths = {part.__name__: len(inspect.getsource(part).splitlines()) for part in functions}
    assert len(lengths) >= 8
    assert max(lengths.values()) <= 25, lengths


def test_a_neighbour_behind_another_is_pruned():
    graph = on_a_line(0, 1, 2, -1.5)  # seen from 0: 2 lies behind 1, and -1.5 on the other side
    candidates = [(1.0, 1), (4.0, 2), (2.25, 3)]
    query = graph.vectors[0]
    assert graph.select_simple(candidates, 2) == [1, 3]
    assert graph.select(query, candidates, 3, 0) == [1, 3, 2]  # the pruned one fills the row
    graph.keep_pruned = False
    assert graph.select(query, candidates, 3, 0) == [1, 3]
    assert graph.select(query, [(1.0, 1), (4.0, 2)], 1, 0) == [1]


def test_candidates_are_extended_by_their_neighbours():
    graph = on_a_line(0, 5, 1, -1)
    graph.layers = [{1: [2, 3]}]
    assert graph.select(graph.vectors[0], [(25.0, 1)], 2, 0) == [1]
    assert graph.select(graph.vectors[0], [(25.0, 1)], 2, 0, extend=True) == [2, 3]


def test_a_search_with_room_for_all_is_exact():
    vectors, queries = clusters(150, 5), clusters(10, 5, seed=1)
    truth = exact(vectors)
    for kind in (PlainHNSW, PlainNSW):
        graph = grown(vectors, kind=kind, m=6, ef_construction=40)
        for query in queries:
            found = graph.search(query, 10, ef_search=150)
            ids, distances = truth.search(query[None], 10)
            assert [node for _, node in found] == ids[0].tolist()
            np.testing.assert_allclose([distance for distance, _ in found], distances[0], rtol=1e-5)


def test_more_room_finds_more():
    vectors, queries = clusters(400, 12), clusters(30, 12, seed=1)
    graph, truth = grown(vectors, m=3, ef_construction=10), exact(vectors).search(queries, 5)[0]

    def found(ef):
        return sum(
            len({n for _, n in graph.search(q, 5, ef)} & set(ids)) for q, ids in zip(queries, truth.tolist())
        )

    few, some, many = found(5), found(20), found(100)
    assert few < some < many
    assert many >= 0.99 * truth.size


def test_levels_fall_by_m_from_layer_to_layer():
    for m in (4, 16):
        levels = draw_levels(0, 0, 200_000, m)
        for layer in (1, 2):
            expected = 200_000 / m**layer  # a binomial count: four standard deviations
            assert abs((levels >= layer).sum() - expected) < 4 * expected**0.5
    graph = PlainHNSW(m=4, seed=7)
    assert [graph.draw_level() for _ in range(500)] == draw_levels(7, 0, 500, 4).tolist()
    parts = [draw_levels(7, first, 100, 4) for first in range(0, 500, 100)]
    np.testing.assert_array_equal(np.concatenate(parts), draw_levels(7, 0, 500, 4))


def test_a_greedy_walk_gets_stuck():
    graph = on_a_line(0, 4, 9, 5.5)
    # 0 - 4 - 9 are linked in a row, and 5.5, the nearest to 6, hangs on 9 alone: 9 is further from 6 than 4 is.
    graph.layers = [{0: [1], 1: [0, 2], 2: [1, 3], 3: [2]}]
    assert graph.greedy_path([6.0], 0) == [0, 1]
    assert graph.greedy_path([8.0], 0) == [0, 1, 2]
    found = graph.search_layer(np.array([6.0], np.float32), [(36.0, 0)], 3, 0)
    assert found[0] == (0.25, 3)  # a wider beam walks past the dead end


def links(index, nodes, layers):
    return [
        {node: index.neighbours(node, layer) for node in graph} for layer, graph in enumerate(layers[:nodes])
    ]


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize(
    "options",
    [{}, {"keep_pruned": False}, {"extend_candidates": True}, {"m": 8, "ef_construction": 60, "seed": 5}],
)
def test_the_compiled_index_builds_the_same_graph(monkeypatch, metric, options):
    monkeypatch.setattr("minillm.search.ann.insert.attach", lambda *parts: None)  # nodes that all turn down
    monkeypatch.setattr("minillm.search.ann.insert.connect", lambda *parts: None)
    settings = {"m": 4, "ef_construction": 20, "seed": 3} | options
    vectors, queries = whole_numbers(220, 6), whole_numbers(30, 6, seed=9)
    plain, index = grown(vectors, metric, **settings), HNSWIndex(6, metric, **settings)
    index.add(vectors)
    for layer, graph in enumerate(plain.layers):
        for node, neighbours in graph.items():
            assert index.neighbours(node, layer) == sorted(neighbours), (layer, node)
    for query in queries:
        found = [node for _, node in plain.search(query, 5, ef_search=12)]
        ids, distances = index.search(query[None], 5, ef_search=12)
        far = [plain.distance(query, node) for node in ids[0]]
        assert sorted(ids[0].tolist()) == sorted(found)
        np.testing.assert_array_equal(distances[0], far)


def test_nsw_is_the_same_with_one_layer():
    vectors = whole_numbers(200, 6)
    plain, index = (
        grown(vectors, m=4, ef_construction=20, kind=PlainNSW),
        NSWIndex(6, m=4, ef_construction=20),
    )
    index.add(vectors)
    assert len(plain.layers) == 1
    same = sum(index.neighbours(node) == sorted(found) for node, found in plain.layers[0].items())
    assert same >= 195  # but for nodes that all turned down, which are led to
    with pytest.raises(ValueError, match="layer must be between 0 and 0, got 1"):
        index.neighbours(0, 1)


@pytest.mark.parametrize("metric", METRICS)
def test_one_by_one_and_at_once_are_the_same_graph(metric):
    vectors = clusters(300, 8)
    one, all_at_once = HNSWIndex(8, metric, m=5), HNSWIndex(8, metric, m=5)
    for vector in vectors:
        one.add(vector[None])
    all_at_once.add(vectors)
    same = sum(one.neighbours(i) == all_at_once.neighbours(i) for i in range(300))
    assert same >= 290  # a flood after every vector may lead to a node that a flood at the end finds led to


def test_distances_are_counted():
    graph = on_a_line(0, 1, 2)
    graph.layers = [{0: [1], 1: [0, 2], 2: [1]}]
    graph.entry = 0
    graph.search([2.0], 1, ef_search=3)
    assert graph.measured == 3  # each node once: the entry, its neighbour, the neighbour of that


def test_the_first_small_world_gives_up_no_link():
    vectors = clusters(120, 4)
    graph = grown(vectors, m=3, ef_construction=30, kind=FirstNSW)
    links = graph.layers[0]
    assert all(node in links[other] for node, row in links.items() for other in row)
    assert sum(map(len, links.values())) == 2 * (1 + 2 + 3 * 117)  # the second node finds one, the third two
    truth = exact(vectors[:100])
    near = grown(vectors[:100], m=3, ef_construction=100, kind=FirstNSW)
    vector = vectors[100]
    near.add(vector)
    assert near.layers[0][100] == truth.search(vector[None], 3)[0][0].tolist()


def test_the_nearest_alone_cut_groups_off():
    groups = np.concatenate([whole_numbers(30, 2, seed=n) + 100 * n for n in range(4)])
    np.random.default_rng(0).shuffle(groups)  # they come mixed
    simple, graph = (grown(groups, m=3, ef_construction=40, kind=kind) for kind in (SimpleHNSW, PlainHNSW))
    assert len(graph.reachable()) == 120
    assert len(simple.reachable()) < 120


def test_the_index_links_the_islands_that_pruned_links_leave():
    draw, middles = np.random.default_rng(0), np.random.default_rng(7).integers(0, 1000, (20, 2))
    rows = middles[draw.integers(20, size=900)] + draw.integers(-20, 21, (900, 2))
    groups = np.random.default_rng(0).permutation(np.unique(rows, axis=0)).astype(np.float32)[:700]
    assert len(grown(groups, m=4, ef_construction=20).reachable()) < len(groups)  # keep_pruned: rows are full
    index = HNSWIndex(2, m=4, ef_construction=20)
    index.add(groups)
    assert len(plain_copy(index, groups).reachable()) == len(groups)


def test_a_plain_copy_is_the_graph_of_the_index():
    vectors = clusters(800, 6)
    for kind, index in ((PlainHNSW, HNSWIndex(6, m=5, seed=2)), (PlainNSW, NSWIndex(6, m=5, seed=2))):
        index.add(vectors)
        graph = plain_copy(index, vectors)
        assert (len(graph.layers) == 1) == (kind is PlainNSW)
        for layer, nodes in enumerate(graph.layers):
            assert all(index.neighbours(node, layer) == row for node, row in nodes.items())
        with pytest.raises(ValueError, match="layer"):
            index.neighbours(graph.entry, len(graph.layers))
        queries = clusters(40, 6, seed=1)
        found = index.search(queries, 5, ef_search=40)[0]
        same = sum([n for _, n in graph.search(q, 5, 40)] == row for q, row in zip(queries, found.tolist()))
        assert same >= 36  # the compiled walk rounds to float32
    index = HNSWIndex(6)
    index.add(np.ones((2, 6)))
    with pytest.raises(ValueError, match="all different, got 2 for 2 ids"):
        plain_copy(index, np.ones((2, 6), np.float32))


TRIPLE = [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: PlainHNSW("euclid"), "metric must be one of"),
        (lambda g: PlainHNSW(m=1).add(TRIPLE), "m must be at least 2, got 1"),
        (lambda g: PlainHNSW(m=1.5), "m must be an integer"),
        (lambda g: PlainHNSW(ef_construction=0), "ef_construction must be at least 1"),
        (lambda g: PlainHNSW().add(2.0), r"vector must be finite numbers \(D,\)"),
        (lambda g: g.add([1.0]), "vector must be 3 finite numbers"),  # numpy would stretch it
        (lambda g: g.add([1.0, np.nan, 2.0]), "vector must be 3 finite numbers"),
        (lambda g: g.add([TRIPLE]), "vector must be 3 finite numbers"),
        (lambda g: g.add("벡터"), "vector must be 3 finite numbers"),
        (
            lambda g: g.add(torch.ones(3, requires_grad=True)),
            "3 finite numbers, got Tensor .* that requires grad",
        ),
        (lambda g: g.search([1.0], 1), "query must be 3 finite numbers"),
        (lambda g: g.search(TRIPLE, 0), "k must be at least 1"),
        (lambda g: g.search(TRIPLE, 1, 0), "ef_search must be at least 1"),
        (lambda g: g.greedy_path(TRIPLE, 9), "node 9 is not on layer 0, which has 2 nodes"),
        (lambda g: g.greedy_path(TRIPLE, 0, 9), "layer must be between 0 and"),
        (lambda g: g.greedy_path([np.nan] * 3, 0), "query must be 3 finite numbers"),
        (lambda g: PlainHNSW().reachable(), "layer must be between 0 and"),
        (lambda g: plain_copy(g, np.ones((2, 3))), "index must be an HNSWIndex or an NSWIndex"),
        (lambda g: plain_copy(HNSWIndex(3), np.ones((0, 3))), "vectors must be those of the index"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(call, message):
    graph = grown([TRIPLE, [3.0, 2.0, 1.0]], m=3)
    before = [dict(layer) for layer in graph.layers], len(graph.vectors)
    with pytest.raises(ValueError, match=message):
        call(graph)
    assert ([dict(layer) for layer in graph.layers], len(graph.vectors)) == before


def test_a_plain_copy_refuses_other_vectors_than_those_of_the_index():
    vectors = clusters(50, 4)
    for metric in METRICS:
        index = HNSWIndex(4, metric, m=4)
        index.add(vectors)
        assert plain_copy(index, vectors).metric == metric
        for other in (vectors[::-1], vectors + 1):
            with pytest.raises(ValueError, match="vectors must be those of the index under ids"):
                plain_copy(index, other)
