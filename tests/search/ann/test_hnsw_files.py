"""A saved graph: what is loaded answers as what was saved, and nothing else is loaded."""

import copy
import pickle

import numpy as np
import pytest

from minillm._files import BadFileError, load_arrays, save_arrays
from minillm.search import ExactIndex, HNSWIndex, IVFIndex, NSWIndex
from minillm.search.ann.hnsw_file import kind_of
from minillm.search.exact import METRICS
from tests.helpers import cuts
from tests.search.ann.helpers import clusters, exact, recall


def changed_index(metric="l2", kind=HNSWIndex, **options):
    """With removed, updated, equal and reused slots."""
    vectors = clusters(700, 6)
    index = kind(6, metric, m=5, **options)
    index.add(vectors)
    index.add(vectors[:50])
    index.remove(range(100, 250))
    index.add(vectors[:60] + 1)
    index.update(vectors[:5] * 2, range(300, 305))
    index.remove(range(5))
    return index


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("options", [{}, {"codes": "uint8"}, {"kind": NSWIndex, "seed": 4}])
def test_what_is_loaded_answers_as_what_was_saved(tmp_path, metric, options):
    index, queries = changed_index(metric, **options), clusters(20, 6, seed=1)
    other = type(index).load(index.save(tmp_path / "index"))
    for turn in range(3):
        for mine, theirs in zip(index.search(queries, 8), other.search(queries, 8)):
            np.testing.assert_array_equal(mine, theirs)
        for one in (index, other):
            assert one.add(clusters(40, 6, seed=turn + 5)).tolist()[0] == 810 + 40 * turn
            one.remove(range(400 + 70 * turn, 470 + 70 * turn))
    assert len(index) == len(other)
    assert all(index.neighbours(i) == other.neighbours(i) for i in range(260, 300))
    files = [load_arrays(one.save(tmp_path / "file"), kind_of(type(one))) for one in (index, other)]
    assert files[0][1] == files[1][1]
    for name, array in files[0][0].items():
        np.testing.assert_array_equal(array, files[1][0][name], err_msg=name)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))])
@pytest.mark.parametrize("options", [{}, {"codes": "uint8"}, {"kind": NSWIndex}, {"kind": IVFIndex}])
def test_a_copy_answers_alike_and_is_changed_alone(copied, options):
    options = dict(options)
    kind = options.pop("kind", HNSWIndex)
    index, queries = kind(6, "cosine", **options), clusters(20, 6, seed=1)
    index.add(clusters(900, 6))
    index.remove(range(100))
    other = copied(index)
    before = index.search(queries, 8)
    for mine, theirs in zip(before, other.search(queries, 8)):
        np.testing.assert_array_equal(mine, theirs)
    assert other.add(clusters(40, 6, seed=5)).tolist()[0] == 900
    other.remove(range(100, 400))
    assert (len(index), len(other)) == (800, 540)
    np.testing.assert_array_equal(index.search(queries, 8)[0], before[0])
    if kind is HNSWIndex:
        graph = other._slots.graph()
        assert [part.ctypes.data % 64 for part in (graph.rows, graph.links, graph.upper)] == [0, 0, 0]
        assert other._builder.slots is other._slots
        assert other._builder.lock is other._lock is not index._lock


@pytest.mark.parametrize("codes", [None, "uint8"])
def test_what_is_loaded_begins_with_a_cache_line(tmp_path, codes):
    index = HNSWIndex(16, codes=codes)
    index.add(clusters(300, 16))
    graph = HNSWIndex.load(index.save(tmp_path / "index"))._slots.graph()
    assert [part.ctypes.data % 64 for part in (graph.rows, graph.links, graph.upper)] == [0, 0, 0]


def test_an_empty_index_is_a_file_too(tmp_path):
    index = changed_index()
    index.remove(index._living_ids())
    other = HNSWIndex.load(index.save(tmp_path / "index"))
    assert len(other) == 0
    assert other.add(np.ones((1, 6))).tolist() == [810]


def test_a_cut_or_changed_file_is_refused(tmp_path):
    path = changed_index().save(tmp_path / "index")
    whole = path.read_bytes()
    for length in cuts(whole, 30):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFileError, match="is refused"):
            HNSWIndex.load(path)
    for number, place in enumerate(cuts(whole, 40)[1:-1]):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << number % 8
        path.write_bytes(damaged)
        with pytest.raises(BadFileError, match="is refused"):
            HNSWIndex.load(path)


def first_live(arrays, many=1):
    return np.flatnonzero(arrays["state"] == 1)[:many]


def set_link(value, table="links", place=0):
    def change(arrays):
        links = arrays[table].copy()
        row = first_live(arrays)[0] if table == "links" else np.flatnonzero(links[:, 0] >= 0)[0]
        links[row, place] = value
        return {table: links}

    return change


def set_state(which, value):
    def change(arrays):
        state = arrays["state"].copy()
        state[np.flatnonzero(state == which)[0]] = value
        return {"state": state}

    return change


def copy_row(name):
    def change(arrays):
        one, two = first_live(arrays, 2)
        array = arrays[name].copy()
        array[two] = array[one]
        return {name: array}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_link(10**6), "a link leads out of it"),
        (set_link(-2), "a link leads out of it"),
        (set_link(-1), "a link leads to no node"),
        (set_link(10**6, "upper"), "a link leads out of it"),
        (lambda a: {"links": np.where(a["links"] >= 0, np.flatnonzero(a["state"] == 2)[0], -1).astype(np.int32)},
         "a link leads to no node"),
        (lambda a: {"upper": np.where(a["upper"] >= 0, first_live(a)[0], -1).astype(np.int32)},
         "a link leads to no node"),
        (set_state(1, 4), "its slots are in no known state"),
        (set_state(2, 1), "two nodes have the same vector"),
        (copy_row("ids"), "an id stands there twice"),
        (copy_row("vectors"), "two nodes have the same vector"),
        (lambda a: {"ids": a["ids"] - 10**6}, "its slots are in no known state"),
        (lambda a: {"vectors": a["vectors"] * np.float32("nan")}, "a number in it is not finite"),
        (lambda a: {"vectors": a["vectors"][:, :4]}, "its parts do not fit"),
        (lambda a: {"links": a["links"].astype(np.int64)}, "its parts do not fit"),
        (lambda a: {"upper": a["upper"][:-1]}, "its parts do not fit"),
        (lambda a: {"state": a["state"] * 0}, "its entry is no node of the top layer"),
        (lambda a: {"ids": np.array(5)}, "its parts do not fit"),
    ],
)  # fmt: skip
def test_a_sealed_file_that_cannot_be_is_refused(tmp_path, change, message):
    path = changed_index().save(tmp_path / "index")
    arrays, meta = load_arrays(path, "HNSW index")
    save_arrays(path, "HNSW index", arrays | change(arrays), meta)
    with pytest.raises(BadFileError, match=message):
        HNSWIndex.load(path)


@pytest.mark.parametrize(
    "change",
    [{"entry": 10**6}, {"entry": -1}, {"entry": "0"}, {"m": 1}, {"seed": 99}, {"dim": 7}, {"codes": "int4"},
     {"next_id": -3}, {"next_id": 2**63}, {"metric": None}],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(tmp_path, change):
    path = changed_index().save(tmp_path / "index")
    arrays, meta = load_arrays(path, "HNSW index")
    save_arrays(path, "HNSW index", arrays, meta | change)
    with pytest.raises(BadFileError, match="is refused"):
        HNSWIndex.load(path)


def test_a_file_of_another_index_is_refused(tmp_path):
    vectors = clusters(30, 4)
    path = exact(vectors).save(tmp_path / "exact")
    with pytest.raises(BadFileError, match="it holds a exact index, expected a HNSW index"):
        HNSWIndex.load(path)
    one_layer = NSWIndex(4)
    one_layer.add(vectors)
    path = one_layer.save(tmp_path / "nsw")
    for kind in (HNSWIndex, ExactIndex):
        with pytest.raises(BadFileError, match="it holds a NSW index"):
            kind.load(path)
    assert recall(NSWIndex.load(path).search(vectors, 3)[0], exact(vectors).search(vectors, 3)[0]) == 1
