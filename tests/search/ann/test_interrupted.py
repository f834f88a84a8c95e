"""What stops a change in its middle (Ctrl-C, no memory) leaves an index that answers and changes as before."""

import threading

import numpy as np
import pytest

from minillm.search import HNSWIndex, IVFIndex
from minillm.search.ann import insert, ivf, slots
from minillm.search.ann.codes import Codes
from minillm.search.ann.row_table import RowTable
from tests.search.ann.helpers import check_rows, clusters, exact, recall

CODES = pytest.mark.parametrize("codes", [None, "uint8"])
KINDS = {
    "hnsw": lambda codes: HNSWIndex(6, codes=codes),
    "ivf": lambda codes: IVFIndex(6, n_lists=10, codes=codes),
}


def stop_at(monkeypatch, owner, name, call):
    """The call-th call of owner.name is interrupted."""
    real, calls = getattr(owner, name), []

    def stopped(*parts, **options):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*parts, **options)

    monkeypatch.setattr(owner, name, stopped)


def check_whole(index, path, vectors, new):
    """It finds as before, and can be saved, loaded, and given the same vectors again."""
    queries, truth = clusters(30, 6, seed=3), exact(vectors)
    for one in (index, type(index).load(index.save(path))):
        assert len(one) == len(vectors)
        found, distances = one.search(queries, 5)
        check_rows(found, distances, set(range(len(vectors))))
        assert recall(found, truth.search(queries, 5)[0]) > (0.98 if isinstance(one, HNSWIndex) else 0.8)
        assert one.add(new)[0] == len(vectors)
        both = exact(np.concatenate([vectors, new])).search(new, 3)
        far = np.sort(
            one.search(new, 3, **({} if isinstance(one, HNSWIndex) else {"n_probe": 10}))[1], axis=1
        )
        assert np.isclose(far, both[1], rtol=1e-4, atol=1e-5).mean() > 0.98


@CODES
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [(RowTable, "put", 1), (RowTable, "put", 2), (slots, "join_twins", 1), (Codes, "encode", 1), (Codes, "encode", 2),
     (slots, "draw_levels", 1), (insert.Builder, "_insert_batch", 1), (insert.Builder, "_insert_batch", 4),
     (slots.Slots, "mark_linked", 2), (insert.Builder, "_flood_if_needed", 1)],
)  # fmt: skip
def test_an_add_that_stops_anywhere_leaves_what_was_there(tmp_path, monkeypatch, codes, owner, name, call):
    if owner is Codes and codes is None:
        return
    vectors = clusters(700, 6)
    index = HNSWIndex(6, codes=codes)
    index.add(vectors)
    new = np.concatenate([clusters(200, 6, seed=1) * 2, vectors[:40], clusters(40, 6, seed=2)])
    with monkeypatch.context() as patch:
        stop_at(patch, owner, name, call)
        with pytest.raises(KeyboardInterrupt):
            index.add(new)
    check_whole(index, tmp_path / "index", vectors, new)


def test_an_add_that_stops_leaves_no_higher_entry_behind(tmp_path, monkeypatch):
    index, vectors = HNSWIndex(6, m=4), clusters(600, 6)
    highest = int(np.argmax(slots.draw_levels(0, 0, 600, 4)))
    assert highest > 5
    index.add(vectors[:highest])  # the next one is higher than all of them
    with monkeypatch.context() as patch:
        stop_at(patch, slots.Slots, "mark_linked", 1)
        with pytest.raises(KeyboardInterrupt):
            index.add(vectors[highest : highest + 1])
    check_whole(index, tmp_path / "index", vectors[:highest], vectors[highest:])


@CODES
@pytest.mark.parametrize("many", [50, 700])
def test_an_update_that_stops_keeps_the_old_vectors(tmp_path, monkeypatch, codes, many):
    vectors, other = clusters(700, 6), clusters(700, 6, seed=9)
    index = HNSWIndex(6, codes=codes)
    index.add(vectors)
    with monkeypatch.context() as patch:
        stop_at(patch, insert.Builder, "_insert_batch", 1 if many == 50 else 5)
        with pytest.raises(KeyboardInterrupt):
            index.update(other[:many], range(many))
    check_whole(index, tmp_path / "index", vectors, other)


@CODES
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [(ivf, "assign", 1), (ivf, "assign", 2), (ivf, "kmeans", 1), (RowTable, "put", 1), (RowTable, "put", 2),
     (Codes, "encode", 1), (Codes, "widen", 1)],
)  # fmt: skip
def test_an_ivf_add_that_stops_anywhere_leaves_what_was_there(
    tmp_path, monkeypatch, codes, owner, name, call
):
    if owner is Codes and codes is None:
        return
    vectors, new = (
        clusters(300, 6),
        clusters(1000, 6, seed=1) * 2,
    )  # four times as many: the centres are found anew
    index = IVFIndex(6, n_lists=10, codes=codes)
    index.add(vectors)
    with monkeypatch.context() as patch:
        stop_at(patch, owner, name, call)
        with pytest.raises(KeyboardInterrupt):
            index.add(new)
    check_whole(index, tmp_path / "index", vectors, new)


@pytest.mark.parametrize("kind", list(KINDS))
def test_ids_that_ask_the_index_itself_do_not_hang(kind):
    index, vectors = KINDS[kind](None), clusters(300, 6)
    index.add(vectors)
    free = (int(index.search(vectors[[i]], 1)[0][0, 0]) + 1000 for i in range(3))
    adding = threading.Thread(target=lambda: index.add(vectors[:3] + 9, free), daemon=True)
    adding.start()
    adding.join(60)
    assert not adding.is_alive()
    assert len(index) == 303


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_last_id_there_is(kind):
    index, vectors = KINDS[kind](None), clusters(4, 6)
    index.add(vectors[:1], ids=[2**62 - 1])
    with pytest.raises(ValueError, match=r"ids must be below 2\^62, got 4611686018427387904"):
        index.add(vectors[1:2])
    assert len(index) == 1
    index.remove([2**62 - 1])
    assert len(index) == 0
