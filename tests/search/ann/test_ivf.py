"""IVFIndex: all lists are the exact answer, some lists the plain search's, whatever was added and removed before."""

import numpy as np
import pytest

from minillm._files import BadFileError, load_arrays, save_arrays
from minillm.search import IVFIndex
from minillm.search.ann.ivf import search_plain
from minillm.search.ann.products import nearest_lists
from minillm.search.exact import METRICS
from tests.search.ann.helpers import check_rows, clusters, exact, recall, whole_numbers


def filled(vectors, metric="l2", n_lists=12, codes=None, ids=None):
    index = IVFIndex(vectors.shape[1], metric, n_lists, codes)
    index.add(vectors, ids)
    return index


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("codes", [None, "uint8"])
def test_all_lists_are_the_exact_answer(metric, codes):
    vectors, queries = clusters(600, 16), clusters(20, 16, seed=1)
    found, distances = filled(vectors, metric, codes=codes).search(queries, 10, n_probe=12)
    expected, far = exact(vectors, metric).search(queries, 10)
    assert recall(found, expected) == 1
    np.testing.assert_allclose(distances, far, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_some_lists_are_what_the_plain_search_finds(metric):
    vectors, queries = clusters(600, 8), clusters(30, 8, seed=1)
    index = filled(vectors, metric)
    rows = index._vectors[: index._size]  # of length 1 under cosine
    found, _ = index.search(queries, 5, n_probe=3)
    for query, ids in zip(queries, found):
        plain = search_plain(query, rows, index._centres, index._lists, 5, 3, metric)
        assert ids.tolist() == index._ids[plain].tolist()


def test_a_few_lists_find_most():
    vectors, queries = clusters(4000, 24, centres=60), clusters(50, 24, seed=1, centres=60)
    truth = exact(vectors).search(queries, 10)[0]
    floats, codes = filled(vectors, n_lists=40), filled(vectors, n_lists=40, codes="uint8")
    few, more = (recall(floats.search(queries, 10, n_probe=n)[0], truth) for n in (1, 8))
    assert few < more
    assert more > 0.95
    assert recall(codes.search(queries, 10, n_probe=8)[0], truth) > more - 0.01


@pytest.mark.parametrize("codes", [None, "uint8"])
def test_it_stays_exact_while_vectors_come_and_go(codes):
    vectors, generator = clusters(1500, 6), np.random.default_rng(0)
    index, truth = IVFIndex(6, n_lists=10, codes=codes), exact(vectors[:0])
    queries, living = clusters(10, 6, seed=2), set()
    for first in range(0, 1500, 100):
        ids = np.arange(first, first + 100)
        for one in (index, truth):
            one.add(vectors[ids] * (1 + first / 300), ids)  # the range of codes grows
        living |= set(ids.tolist())
        gone = generator.choice(sorted(living), size=60, replace=False)
        for one in (index, truth):
            one.remove(gone)
        living -= set(gone.tolist())
        assert len(index) == len(living)
        found, distances = index.search(queries, 8, n_probe=10)
        check_rows(found, distances, living)
        assert recall(found, truth.search(queries, 8)[0]) > 0.99
    index.remove(sorted(living))
    assert len(index) == 0
    assert (index.search(queries, 3)[0] == -1).all()
    assert index.add(vectors[:2]).tolist() == [1500, 1501]  # no id is given twice


HOSTILE = {
    "clusters": lambda rows: rows,
    "far from the origin": lambda rows: rows + np.float32(300),
    "tiny": lambda rows: rows * np.float32(1e-22),
    "huge": lambda rows: rows * np.float32(1e16),
    "one far away": lambda rows: np.where(np.arange(len(rows))[:, None] == 5, np.float32(1e12), rows),
    "equal distances": lambda rows: np.rint(rows * 2),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("codes", [None, "uint8"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_many_queries_at_once_find_what_each_finds_alone(metric, codes, kind):
    """Many are multiplied with a list, one is measured at once: to the last bit the same."""
    vectors = HOSTILE[kind](clusters(600, 24, seed=3))
    queries = HOSTILE[kind](clusters(200, 24, seed=4))
    if metric == "cosine":
        vectors, queries = (rows[(rows != 0).any(axis=1)] for rows in (vectors, queries))
    index = IVFIndex(24, metric, n_lists=5, codes=codes)
    index.add(vectors)
    every = [index.search(queries, 7, n_probe=5), index.search(queries[:3], 7, n_probe=5)]
    for many, few in zip(*every):
        np.testing.assert_array_equal(many[:3], few)
    alone = [index.search(query[None], 7, n_probe=5) for query in queries]
    for which, many in enumerate(every[0]):
        np.testing.assert_array_equal(many, np.concatenate([one[which] for one in alone]))


def test_products_of_many_dimensions_are_not_taken_for_exact():
    """300 codes of 255 make sums beyond 2^24, which float32 rounds."""
    vectors = np.random.default_rng(0).uniform(size=(400, 300)).astype(np.float32)
    index = IVFIndex(300, n_lists=4, codes="uint8")
    index.add(vectors)
    queries = vectors[:80] + np.float32(0.3)
    many, alone = (
        index.search(queries, 5, n_probe=4),
        [index.search(one[None], 5, n_probe=4) for one in queries],
    )
    np.testing.assert_array_equal(many[0], np.concatenate([one[0] for one in alone]))


def test_the_nearest_lists_are_those_of_a_sort():
    generator = np.random.default_rng(2)
    for lists, count in ((1, 1), (7, 3), (64, 64), (300, 20)):
        table = generator.integers(-50, 50, size=(40, lists)).astype(np.float32)
        np.testing.assert_array_equal(
            nearest_lists(table, count), np.argsort(table, axis=1, kind="stable")[:, :count]
        )


def test_one_by_one_is_as_good_as_at_once():
    vectors, queries = clusters(400, 4), clusters(10, 4, seed=1)
    index = IVFIndex(4, n_lists=8)
    for vector in vectors:
        index.add(vector[None])
    assert index._centres is not None
    truth = exact(vectors).search(queries, 5)[0]
    np.testing.assert_array_equal(index.search(queries, 5, n_probe=8)[0], truth)


def test_filters_and_threads():
    vectors, queries = clusters(2000, 8), clusters(20, 8, seed=1)
    index, truth = filled(vectors, n_lists=20), exact(vectors)
    allowed = {share: np.random.default_rng(1).random(2000) < share for share in (0.002, 0.1, 0.5)}
    for bitmap in allowed.values():
        expected = truth.search(queries, 10, filter=bitmap)[0]
        for form in (bitmap, set(np.flatnonzero(bitmap).tolist()), lambda i, bitmap=bitmap: bitmap[i]):
            assert recall(index.search(queries, 10, filter=form, n_probe=12)[0], expected) > 0.97
    one, three = (index.search(queries, 10, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one[0], three[0])
    np.testing.assert_array_equal(one[1], three[1])


def test_more_than_there_are():
    index = filled(clusters(100, 4), n_lists=5)
    found, distances = index.search(np.zeros((2, 4)), 130)
    check_rows(found, distances, set(range(100)))
    assert index.search(np.zeros((0, 4)), 3)[0].shape == (0, 3)
    empty = IVFIndex(4)
    found, distances = empty.search(np.ones((1, 4)), 2)
    assert found.tolist() == [[-1, -1]]
    assert np.isinf(distances).all()


@pytest.mark.parametrize("codes", [None, "uint8"])
def test_what_is_loaded_answers_as_what_was_saved(tmp_path, codes):
    vectors, queries = clusters(500, 6), clusters(10, 6, seed=1)
    index = filled(vectors, "cosine", 8, codes)
    index.remove(range(0, 30))
    index.add(vectors[:9] + 1)
    other = IVFIndex.load(index.save(tmp_path / "index"))
    for one in (index, other):
        one.add(vectors[:3], ids=[900, 901, 902])
        one.remove([900])
    for mine, theirs in zip(index.search(queries, 5), other.search(queries, 5)):
        np.testing.assert_array_equal(mine, theirs)
    assert other.add(vectors[:1]).tolist() == [903]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("lists", lambda lists: lists + 99),
        ("lists", lambda lists: lists[::-1].copy()),
        ("ids", lambda ids: ids * 0),
        ("ids", lambda ids: ids - 5),
        ("vectors", lambda vectors: vectors[:-1]),
        ("vectors", lambda vectors: vectors * np.float32("inf")),
        ("centres", lambda centres: centres[:3]),
        ("alive", lambda alive: alive.astype(np.uint8)),
    ],
)
def test_a_sealed_file_that_cannot_be_is_refused(tmp_path, name, change):
    path = filled(clusters(200, 4), n_lists=8).save(tmp_path / "index")
    arrays, meta = load_arrays(path, "IVF index")
    with np.errstate(invalid="ignore"):
        save_arrays(path, "IVF index", arrays | {name: change(arrays[name])}, meta)
    with pytest.raises(BadFileError, match="is refused"):
        IVFIndex.load(path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: IVFIndex(0), "dim must be at least 1"),
        (lambda x: IVFIndex(2, "l1"), "metric must be one of"),
        (lambda x: IVFIndex(2, n_lists=0), "n_lists must be at least 1|n_lists must be between"),
        (lambda x: IVFIndex(2, codes="int4"), "codes must be one of None, 'uint8', got 'int4'"),
        (lambda x: IVFIndex(9000, codes="uint8"), "width 8192 at most, got 9000"),
        (lambda x: x.add([[1.0, 2.0, 3.0]]), r"vectors must be numbers of shape \(N, 2\)"),
        (lambda x: x.add([[1.0, float("nan")]]), "vectors must be finite"),
        (lambda x: x.add([[1e30, 0.0]]), r"length 2\^60 at most, got 1e\+30"),
        (lambda x: x.add([[1.0, 2.0]], ids=[1]), "ids must be new, got 1 which is already there"),
        (lambda x: x.add([[1.0, 2.0]] * 2, ids=[7, 7]), "ids must be different"),
        (lambda x: x.add([[1.0, 2.0]], ids=[7, 8]), "got 2 ids for 1 vectors"),
        (lambda x: x.remove([0, 99]), "ids must be in the index, got 99"),
        (lambda x: x.search([[1.0]]), r"queries must be numbers of shape \(N, 2\)"),
        (lambda x: x.search([[1.0, 2.0]], k=0), "k must be at least 1"),
        (lambda x: x.search([[1.0, 2.0]], n_probe=0), "n_probe must be at least 1"),
        (lambda x: x.search([[1.0, 2.0]], threads=0), "threads must be between 1 and"),
        (
            lambda x: x.search([[1.0, 2.0]], filter=5),
            "filter must be a function, a list of ids or a bool array",
        ),
        (lambda x: x.search([[1.0, 2.0]], filter="12"), "filter must be a function, a list of ids or a bool"),
        (lambda x: x.save(None), "path must be a path"),
    ],
)
def test_bad_input_changes_nothing(call, message):
    index = filled(whole_numbers(60, 2), n_lists=4)
    before = index.search(np.eye(2), 5)
    with pytest.raises(ValueError, match=message):
        call(index)
    assert len(index) == 60
    np.testing.assert_array_equal(before, index.search(np.eye(2), 5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"k": -1}, "k must be at least 1"),
        ({"n_probe": 0}, "n_probe must be at least 1"),
        ({"metric": "euclid"}, "metric must be one of"),
        ({"lists": np.zeros(3, int)}, "lists must name a list for each vector"),
        ({"lists": np.zeros(5, int)}, "lists must name a list for each vector"),
        ({"query": np.zeros(1)}, "query and vectors must be arrays"),
    ],
)
def test_the_plain_search_refuses_what_does_not_fit(changes, message):
    vectors = whole_numbers(4, 2)
    given = {"query": vectors[0], "vectors": vectors, "centres": vectors[:2], "lists": np.array([0, 1, 0, 1])}
    assert search_plain(**given, k=1, n_probe=2) == [0]
    with pytest.raises(ValueError, match=message):
        search_plain(**{**given, "k": 1, "n_probe": 2, **changes})


def test_a_zero_vector_has_no_direction():
    index = IVFIndex(2, "cosine")
    with pytest.raises(ValueError, match="must have a direction under cosine, got only zeros in row 1"):
        index.add([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="queries must have a direction"):
        index.search([[0.0, 0.0]])


def test_what_faiss_keeps_on_its_index_is_refused_and_not_taken_in_silence():
    index = filled(clusters(40, 4))
    for name in ("nprobe", "n_probe"):
        with pytest.raises(AttributeError, match="IVFIndex keeps no n_probe: give it to each search"):
            setattr(index, name, 16)
        assert not hasattr(index, name)
