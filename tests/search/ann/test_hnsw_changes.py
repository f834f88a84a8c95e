"""What comes, goes and changes in a graph: removed, re-added, updated, equal and nearly equal vectors."""

import numpy as np
import pytest

from minillm.search import HNSWIndex
from minillm.search.ann.graph_repair import flood
from minillm.search.ann.slots import LIVE
from minillm.search.exact import METRICS
from tests.search.ann.helpers import check_rows, clusters, exact, recall

CODES = pytest.mark.parametrize("codes", [None, "uint8"])


def filled(vectors, ids=None, **options):
    index = HNSWIndex(vectors.shape[1], **options)
    index.add(vectors, ids)
    return index


def unreachable(index):
    """LIVE nodes that no walk from the entry can come to on layer 0."""
    slots = index._slots
    reached = np.zeros(slots.size, bool)
    flood(slots.links, slots.entry, reached, np.empty(slots.size + 1, np.int32))
    return np.flatnonzero((slots.state[: slots.size] == LIVE) & ~reached)


@CODES
@pytest.mark.parametrize("metric", METRICS)
def test_half_is_replaced_again_and_again(metric, codes):
    vectors, generator = clusters(6000, 12), np.random.default_rng(0)
    queries = clusters(40, 12, seed=1)
    index, truth = filled(vectors[:1200], metric=metric, codes=codes), exact(vectors[:1200], metric)
    living = set(range(1200))
    for turn in range(1, 5):
        gone = generator.choice(sorted(living), size=600, replace=False)
        new = np.arange(1200 * turn, 1200 * turn + 600)
        for one in (index, truth):
            one.remove(gone)
        living -= set(gone.tolist())
        check_rows(*index.search(queries, 10), living)
        for one in (index, truth):
            one.add(vectors[new], new)
        living |= set(new.tolist())
        found, distances = index.search(queries, 10)
        check_rows(found, distances, living)
        assert recall(found, truth.search(queries, 10)[0]) > 0.97
        assert len(unreachable(index)) == 0
    assert index._slots.size <= 1200 * 1.1  # the space of what is gone is used again


def test_removed_one_by_one():
    vectors, queries = clusters(900, 8), clusters(20, 8, seed=1)
    index, truth, living = filled(vectors), exact(vectors), set(range(900))
    for i in np.random.default_rng(0).permutation(900)[:880].tolist():
        index.remove([i])
        truth.remove([i])
        living.discard(i)
        if i % 40 == 0:
            found, distances = index.search(queries, 10)
            check_rows(found, distances, living)
            assert recall(found, truth.search(queries, 10)[0]) > 0.97
    assert len(index) == 20


def test_a_whole_cluster_goes():
    vectors = clusters(2000, 8, centres=4, spread=0.2)
    middle = vectors[0]
    near = np.argsort(((vectors - middle) ** 2).sum(axis=1))
    for count in (150, 900):  # before the graph is mended, and after
        index, truth = filled(vectors), exact(vectors)
        for one in (index, truth):
            one.remove(near[:count])
        found, distances = index.search(middle[None], 10)
        check_rows(found, distances, set(near[count:].tolist()))
        assert recall(found, truth.search(middle[None], 10)[0]) > 0.89
        assert recall(index.search(vectors, 5)[0], truth.search(vectors, 5)[0]) > 0.97
        assert len(unreachable(index)) == 0


def test_the_entry_goes():
    vectors = clusters(600, 6)
    index, living = filled(vectors, m=4), set(range(600))
    for _ in range(40):
        entry = int(index._slots.ids[index._slots.entry])
        if entry not in living:  # DEAD, and still walked over: take any
            entry = min(living)
        index.remove([entry])
        living.discard(entry)
        check_rows(*index.search(vectors[:5], 10), living)


@CODES
def test_all_go_and_others_come(codes):
    vectors = clusters(700, 6)
    index = filled(vectors, codes=codes)
    index.remove(range(700))
    assert len(index) == 0
    assert (index.search(vectors[:3], 4)[0] == -1).all()
    assert index.add(vectors[:5]).tolist() == [700, 701, 702, 703, 704]
    index.remove(range(700, 705))
    index.add(vectors, ids=range(700))  # re-added ids
    assert recall(index.search(vectors, 5)[0], exact(vectors).search(vectors, 5)[0]) > 0.98


def test_an_id_comes_back_with_another_vector():
    vectors = clusters(600, 6)
    index = filled(vectors)
    index.remove([5])
    index.add([[30.0] * 6], ids=[5])
    assert index.search([[30.0] * 6], 1)[0].tolist() == [[5]]
    assert 5 not in index.search(vectors[[5]], 10)[0]
    with pytest.raises(ValueError, match="got 5 which is already there"):
        index.add(vectors[[5]], ids=[5])


@CODES
def test_updated_vectors_are_found_where_they_are_now(codes):
    vectors, other = clusters(900, 8), clusters(900, 8, seed=7)
    index, now = filled(vectors, codes=codes), vectors.copy()
    for first in range(0, 900, 90):
        ids = np.arange(first, first + 60)
        index.update(other[ids], ids)
        now[ids] = other[ids]
        assert len(index) == 900
        check_rows(*index.search(other[ids], 5), set(range(900)))
    truth = exact(now)
    assert recall(index.search(now, 5)[0], truth.search(now, 5)[0]) > 0.97
    before = index.neighbours(3)
    index.update(now[[3]], [3])  # the same vector: nothing happens
    assert index.neighbours(3) == before
    assert len(unreachable(index)) == 0


def test_the_only_vector_is_updated():
    index = filled(np.ones((1, 2), np.float32))
    index.update([[5.0, 5.0]], [0])
    assert index.search([[1.0, 1.0]], 2)[0].tolist() == [[0, -1]]
    assert index.search([[1.0, 1.0]], 1)[1].tolist() == [[32.0]]


@CODES
@pytest.mark.parametrize("metric", METRICS)
def test_thousands_of_equal_vectors_hide_nobody(metric, codes):
    same = np.tile(np.array([[1.0, 2.0, -0.0, 4.0]], np.float32), (3000, 1))
    others = clusters(1000, 4, seed=1)
    order = np.random.default_rng(0).permutation(4000)
    vectors = np.concatenate([same, others])[order]
    index = filled(vectors, metric=metric, codes=codes)
    copies = np.flatnonzero(order < 3000)
    if metric != "ip":  # under which a longer vector is nearer than the same one
        found, distances = index.search(same[:1], 3000)
        assert sorted(found[0].tolist()) == copies.tolist()
        assert np.ptp(distances[0]) == 0
    truth = exact(vectors, metric)
    asked = others[:100]
    far = truth.search(asked, 10)[1]
    np.testing.assert_allclose(np.sort(index.search(asked, 10)[1]), far, rtol=1e-4, atol=1e-5)
    gone = copies[:2990]
    index.remove(gone)
    assert len(index) == 1010
    if metric != "ip":
        assert set(index.search(same[:1], 10)[0][0].tolist()) == set(copies[2990:].tolist())
    index.remove(copies[2990:])
    assert set(index.search(same[:1], 900)[0][0].tolist()) <= set(np.flatnonzero(order >= 3000).tolist())


def test_nothing_but_equal_vectors():
    index = filled(np.ones((5000, 3), np.float32))
    assert sorted(index.search(np.ones((1, 3)), 5000)[0][0].tolist()) == list(range(5000))
    assert len(set(index.search(np.ones((1, 3)), 20)[0][0].tolist())) == 20
    some = set(range(0, 5000, 2))
    found = index.search(np.ones((1, 3)), 100, filter=some)[0][0]
    assert set(found.tolist()) <= some
    index.remove(range(4999))
    assert index.search(np.ones((1, 3)), 2)[0].tolist() == [[4999, -1]]


@CODES
def test_nearly_equal_vectors_hide_nobody(codes):
    generator = np.random.default_rng(0)
    near = (np.ones((1500, 8)) + 1e-4 * generator.normal(size=(1500, 8))).astype(np.float32)
    vectors = np.concatenate([near, clusters(500, 8)])
    index = filled(vectors, codes=codes)
    assert len(unreachable(index)) == 0
    # To codes the 1,500 are all the same: the walk must keep the whole crowd for the vectors to tell them apart.
    found = index.search(vectors, 1, ef_search=300 if codes is None else 2000)[0][:, 0]
    assert (found == np.arange(2000)).mean() > 0.99


@pytest.mark.parametrize("metric", METRICS)
def test_values_that_grow_keep_their_codes_apart(metric):
    vectors = clusters(600, 6) * np.linspace(1, 1000, 600)[:, None].astype(np.float32)
    index = HNSWIndex(6, metric, codes="uint8")
    for first in range(0, 600, 20):
        index.add(vectors[first : first + 20])
    queries = vectors[::7]
    assert recall(index.search(queries, 5)[0], exact(vectors, metric).search(queries, 5)[0]) > 0.9


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-44, 1e-39, 1e17])
def test_the_smallest_and_the_largest_numbers_have_codes(metric, scale):
    vectors = (clusters(300, 6) * scale).astype(np.float32)
    index = HNSWIndex(6, metric, codes="uint8")
    if metric == "cosine":
        vectors = vectors[(vectors != 0).any(axis=1)]
    with np.errstate(divide="raise", invalid="raise"):
        index.add(vectors)
        found, distances = index.search(vectors, 5)
    check_rows(found, distances, set(range(len(vectors))))
    if scale > 1 or metric == "cosine":
        # At 1e-44 a number has a handful of values left: equal directions are equally good.
        far = exact(vectors, metric).search(vectors, 5)[1]
        assert np.isclose(distances, far, rtol=1e-4, atol=1e-5).mean() > 0.95
