"""HNSWIndex as a user meets it: recall, ids, filters, threads, results of every size, and bad input."""

import gzip
import threading

import numpy as np
import pytest

from minillm.search import HNSWIndex, NSWIndex, count_distances
from minillm.search.ann import insert
from minillm.search.ann.query import is_walked
from minillm.search.ann.results import is_selective
from minillm.search.exact import METRICS
from tests.search.ann.helpers import check_rows, clusters, exact, recall, whole_numbers


def filled(vectors, metric="l2", kind=HNSWIndex, ids=None, **options):
    index = kind(vectors.shape[1], metric, **options)
    index.add(vectors, ids)
    return index


@pytest.fixture(scope="module")
def big():
    """3,000 vectors: past the skeleton, linked in batches."""
    vectors = clusters(3000, 24)
    return vectors, filled(vectors), exact(vectors)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("codes", [None, "uint8"])
def test_it_finds_the_neighbours(metric, codes):
    vectors, queries = clusters(2000, 24), clusters(50, 24, seed=1)
    index = filled(vectors, metric, codes=codes)
    found, distances = index.search(queries, 10)
    truth = exact(vectors, metric)
    expected, far = truth.search(queries, 10)
    assert recall(found, expected) > 0.98
    same = found == expected
    np.testing.assert_allclose(distances[same], far[same], rtol=1e-4, atol=1e-5)
    check_rows(found, distances, set(range(2000)))


def test_one_layer_finds_them_too(big):
    vectors, _, truth = big
    queries = clusters(50, 24, seed=1)
    found, _ = filled(vectors, kind=NSWIndex).search(queries, 10)
    assert recall(found, truth.search(queries, 10)[0]) > 0.97


def test_mnist_neighbours(real_data):
    folder = real_data("images/mnist_t10k")
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8)[16:].reshape(-1, 784)
    truth = np.load(folder / "ann_groundtruth.shared.npz")
    queries = images[9000 : 9000 + len(truth["l2_index"])]
    for codes in (None, "uint8"):
        index = filled(images[:9000], codes=codes)  # m=16, ef_construction=200
        found, distances = index.search(queries, 10, ef_search=64)
        assert recall(found, truth["l2_index"][:, :10]) >= 0.98
        same = found == truth["l2_index"][:, :10]
        np.testing.assert_allclose(distances[same], truth["l2_sqdist"][:, :10][same], rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_a_cluster_that_comes_in_one_batch_is_linked_to_itself(metric):
    old, new = clusters(1500, 12), clusters(75, 12, seed=2, spread=0.1)[:75] * 0.05 + 9
    index = filled(old, metric)
    ids = index.add(new)
    truth = exact(np.concatenate([old, new]), metric)
    found = index.search(new, 10)[0]
    assert recall(found, truth.search(new, 10)[0]) > 0.97
    assert ids.tolist() == list(range(1500, 1575))


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.5])
def test_filters_keep_recall(big, share):
    _, index, truth = big
    queries = clusters(40, 24, seed=3)
    bitmap = np.random.default_rng(4).random(3000) < share
    bitmap[17] = True
    passing = set(np.flatnonzero(bitmap).tolist())
    expected = truth.search(queries, 10, filter=bitmap)[0]
    for form in (bitmap, passing, lambda i: i in passing):
        found, distances = index.search(queries, 10, filter=form)
        check_rows(found, distances, passing)
        assert recall(found, expected) > 0.97


def test_a_filter_that_lets_nothing_near_pass(big):
    vectors, index, truth = big
    for query in clusters(5, 24, seed=5):
        far = np.argsort(((vectors - query) ** 2).sum(axis=1))[1500:]
        found, distances = index.search(query[None], 10, ef_search=40, filter=far)
        assert is_walked(index._slots, 10, 40, far, len(far), 1)
        check_rows(found, distances, set(far.tolist()))
        assert recall(found, truth.search(query[None], 10, filter=far)[0]) > 0.89


@pytest.mark.parametrize("share", [0.35, 0.45, 0.6])
def test_a_narrow_walk_through_a_filter_keeps_recall_and_measures_less_than_a_look_at_all(big, share):
    """With ef_search = 10, a share of .35 of 3,000 is walked by a batch."""
    _, index, truth = big
    queries = clusters(60, 24, seed=9)
    passing = np.random.default_rng(4).random(3000) < share
    assert is_walked(index._slots, 5, 10, passing, int(passing.sum()), 60)
    expected = truth.search(queries, 5, filter=passing)[0]
    found, distances = index.search(queries, 5, ef_search=10, filter=passing)
    check_rows(found, distances, set(np.flatnonzero(passing).tolist()))
    assert recall(found, expected) > 0.9
    assert count_distances(index, queries, 5, 10, passing).mean() < passing.sum()


@pytest.mark.parametrize(
    ("count", "asked", "share"),
    [(5_000, 1, 0.4525), (100_000, 1, 0.1012), (1_000_000, 1, 0.032), (100_000, 10_000, 0.1431)],
)
def test_the_larger_an_index_the_smaller_the_share_that_is_walked(count, asked, share):
    """And the more queries there are, the longer all rows are looked at: they are read once for all."""
    assert is_selective(int(0.99 * share * count), count, 64, asked)
    assert not is_selective(int(1.01 * share * count), count, 64, asked)


def test_a_filter_function_is_asked_once_for_every_id_and_may_search(big):
    _, index, _ = big
    asked = []

    def filter(i):
        if not asked:
            index.search(np.zeros((1, 24)), 1)
        asked.append(i)
        return i % 2 == 0

    found = index.search(clusters(3, 24), 5, filter=filter)[0]
    assert (found % 2 == 0).all()
    assert sorted(asked) == list(range(3000))


def test_filters_of_no_ids(big):
    _, index, _ = big
    for nothing in ([], set(), [99999], lambda i: False, np.zeros(3000, bool), np.zeros(0, bool)):
        found, distances = index.search(np.ones((2, 24)), 3, filter=nothing)
        assert (found == -1).all()
        assert np.isinf(distances).all()


def test_threads_change_nothing(big):
    vectors, index, _ = big
    other = HNSWIndex(24)
    other.add(vectors, threads=3)
    assert all(index.neighbours(i) == other.neighbours(i) for i in range(3000))
    queries = clusters(41, 24, seed=1)
    for mine, theirs in zip(index.search(queries, 7), other.search(queries, 7, threads=4)):
        np.testing.assert_array_equal(mine, theirs)
    for row, query in enumerate(queries):  # a batch answers as its queries do one by one
        np.testing.assert_array_equal(index.search(query[None], 7)[0][0], index.search(queries, 7)[0][row])


def test_the_order_of_threads_changes_nothing_where_candidates_are_extended(monkeypatch):
    def last_part_first(work, count, threads):
        for part in reversed(range(4)):
            if count * part // 4 < count * (part + 1) // 4:
                work(count * part // 4, count * (part + 1) // 4)

    vectors = clusters(1500, 8)
    one, two = (HNSWIndex(8, m=6, ef_construction=24, extend_candidates=True) for _ in range(2))
    one.add(vectors)
    monkeypatch.setattr(insert, "in_parts", last_part_first)
    two.add(vectors)
    assert all(one.neighbours(i) == two.neighbours(i) for i in range(1500))


def test_more_than_there_are():
    index = filled(whole_numbers(40, 3))
    for k in (1, 9, 11, 39, 40, 41, 500):
        found, distances = index.search([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]], k)
        check_rows(found, distances, set(range(40)))
    assert index.search(np.zeros((0, 3)), 3)[0].shape == (0, 3)


@pytest.mark.parametrize("codes", [None, "uint8"])
def test_an_empty_index(codes):
    index = HNSWIndex(3, codes=codes)
    found, distances = index.search(np.ones((2, 3)), 4)
    assert found.tolist() == [[-1] * 4] * 2
    assert np.isinf(distances).all()
    assert index.add(np.empty((0, 3))).tolist() == []
    assert len(index) == 0
    index.remove([])


def test_ids_are_the_users():
    vectors = clusters(700, 5)
    ids = np.random.default_rng(0).permutation(10**6)[:700] * 10**11
    index = filled(vectors, ids=ids)
    np.testing.assert_array_equal(index.search(vectors[:50], 1)[0][:, 0], ids[:50])
    assert index.add(vectors[:1] + 99).tolist() == [ids.max() + 1]


def test_readers_beside_a_writer_find_what_is_there():
    vectors, queries = clusters(3000, 8), clusters(10, 8, seed=1)
    index = filled(vectors[:300])
    stop, faults, searches = threading.Event(), [], [0]

    def read():
        try:
            while not stop.is_set():
                found, distances = index.search(queries, 5)
                assert (found >= 0).all()
                assert (np.diff(distances, axis=1) >= 0).all()
                searches[0] += 1
        except BaseException as error:
            faults.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for first in range(300, 3000, 300):
            index.add(vectors[first : first + 300])
            index.remove(range(first - 150, first))
            index.update(vectors[:5] + first / 1000, range(first, first + 5))
    finally:
        stop.set()
        for reader in readers:
            reader.join(60)
    assert faults == []
    assert searches[0] > 3
    assert not any(reader.is_alive() for reader in readers)


def test_an_interrupted_add_leaves_what_was_there(monkeypatch):
    vectors = clusters(1200, 6)
    index = filled(vectors[:700])
    before = index.search(vectors[:20], 5)
    calls = []

    def interrupted(*parts):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*parts)

    real = index._builder._insert_batch
    monkeypatch.setattr(index._builder, "_insert_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.add(vectors[700:])
    monkeypatch.undo()
    assert len(index) == 700
    np.testing.assert_array_equal(index.search(vectors[:20], 5)[0], before[0])
    index.add(vectors[700:])
    assert len(index) == 1200
    assert recall(index.search(vectors, 5)[0], exact(vectors).search(vectors, 5)[0]) > 0.98


def test_a_float32_index_is_small():
    index = filled(clusters(5000, 128))
    assert index.nbytes / 5000 < 4 * 128 + 8 * 16 + 60  # vector, links, and what hnswlib takes beside them


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: HNSWIndex(0), "dim must be at least 1"),
        (lambda x: HNSWIndex(2, "l1"), "metric must be one of"),
        (lambda x: HNSWIndex(2, m=1), "m must be between 2 and 256, got 1"),
        (lambda x: HNSWIndex(2, ef_construction=0), "ef_construction must be between 1 and"),
        (lambda x: HNSWIndex(2, codes=8), "codes must be one of None, 'uint8', got 8"),
        (lambda x: HNSWIndex(2, keep_pruned=1), "keep_pruned must be True or False, got 1"),
        (lambda x: x.add([[1.0, 2.0, 3.0]]), r"vectors must be numbers of shape \(N, 2\)"),
        (lambda x: x.add([[1.0, float("nan")]]), "vectors must be finite"),
        (lambda x: x.add([[3e38, 3e38]]), r"length 2\^60 at most"),
        (lambda x: x.add([[1.0, 2.0]], ids=[1]), "ids must be new, got 1 which is already there"),
        (lambda x: x.add([[1.0, 2.0]] * 2, ids=[7, 7]), "ids must be different, got 7 more than once"),
        (lambda x: x.add([[1.0, 2.0]], ids=[-1]), "ids must be integers >= 0"),
        (lambda x: x.add([[1.0, 2.0]], ids=["a"]), "ids must be integers >= 0"),
        (lambda x: x.add([[1.0, 2.0]], ids=[7, 8]), "got 2 ids for 1 vectors"),
        (lambda x: x.update([[1.0, 2.0]], [99]), "ids must be in the index, got 99"),
        (lambda x: x.update([[1.0, 2.0]] * 2, [1, 1]), "ids must be different, got 1 more than once"),
        (lambda x: x.update([[1.0, float("inf")]], [1]), "vectors must be finite"),
        (lambda x: x.remove([0, 99]), "ids must be in the index, got 99"),
        (lambda x: x.search([1.0, 2.0]), r"queries must be numbers of shape \(N, 2\)"),
        (lambda x: x.search([[1.0, 2.0]], k=0), "k must be at least 1"),
        (lambda x: x.search([[1.0, 2.0]], ef_search=0), "ef_search must be between 1 and"),
        (lambda x: x.search([[1.0, 2.0]], threads=2.0), "threads must be an integer"),
        (
            lambda x: x.search([[1.0, 2.0]], filter=5),
            "filter must be a function, a list of ids or a bool array",
        ),
        (lambda x: x.search([[1.0, 2.0]], filter=[-1]), "filter must be integers >= 0"),
        (lambda x: x.neighbours(99), "ids must be in the index, got 99"),
        (lambda x: x.neighbours(0, 9), "layer must be between 0 and"),
        (lambda x: x.save([]), "path must be a path"),
    ],
)
def test_bad_input_changes_nothing(call, message):
    index = filled(whole_numbers(60, 2), m=4)
    before = index.search(np.eye(2), 5)
    with pytest.raises(ValueError, match=message):
        call(index)
    assert len(index) == 60
    np.testing.assert_array_equal(before, index.search(np.eye(2), 5))


def test_a_zero_vector_has_no_direction():
    index = filled(np.eye(2, dtype=np.float32), "cosine")
    with pytest.raises(
        ValueError, match="vectors must have a direction under cosine, got only zeros in row 1"
    ):
        index.add([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="queries must have a direction"):
        index.search([[0.0, 0.0]])
    assert len(index) == 2


@pytest.mark.parametrize("kind", [HNSWIndex, NSWIndex])
def test_what_a_peer_keeps_on_its_index_is_refused_and_not_taken_in_silence(kind):
    index = kind(4)
    for name in ("ef", "ef_search"):
        with pytest.raises(
            AttributeError, match=f"{kind.__name__} keeps no ef_search: give it to each search"
        ):
            setattr(index, name, 50)
