"""Misuse of the object and odd input: copies, tokens, verbs inside verbs, names, weights of a hybrid query."""

import copy
import gc
import pickle
import sqlite3

import numpy as np
import pytest

from minillm.search import ExactIndex, VectorStore, hybrid_weights
from minillm.search.store import engine, matches
from tests.search.store.test_files import OwnIndex, path, store
from tests.search.store.test_verbs import FILMS, WordEncoder, everything

__all__ = ["path", "store"]  # fixtures, which pytest finds by their names


# --- the object -----------------------------------------------------------------------------------------------


def test_a_store_that_is_forgotten_lets_go_of_its_file(path):
    store = VectorStore(2, path=path, index=OwnIndex)
    store.upsert(FILMS)
    store.query([1, 0])
    connection = store._engine.file._connection
    del store
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
    assert not path.with_name("films.db-wal").exists()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_store_is_not_copied_with_its_connection(store, duplicate):
    with pytest.raises(TypeError, match="hand on its path"):
        duplicate(store)
    assert len(store.list()) == 3


def test_a_token_is_in_no_error_and_no_repr(store):
    secret = "a secret of many letters"
    for token in (secret.encode(), [secret], {"": secret}):
        with pytest.raises(ValueError, match="token must be a str") as caught:
            store.set_token("", token)
        assert secret not in str(caught.value)
    store.set_token("", secret)
    with pytest.raises(PermissionError) as caught:
        store.list(token=secret + "!")
    assert secret not in str(caught.value)
    assert repr(store).startswith("VectorStore(2, 'ip', path=")
    assert secret not in repr(store)


def test_a_transaction_of_the_engine_is_whole_or_absent(store):
    before, vector = store.stats(), np.ones(store.dim, "<f4").tobytes()

    def break_off():
        with store.engine.writing("", None) as changes:
            changes.put(None, "half", vector, None, "{}")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        break_off()
    assert store.stats() == before
    with store.engine.writing("", None) as changes:
        changes.put(None, "whole", vector, None, "{}")
    assert list(store.fetch(["half", "whole"])["vectors"]) == ["whole"]


def test_a_verb_inside_a_verb_is_refused(store):
    before = everything(store)

    class Meddler(ExactIndex):
        def search(self, queries, k=10, ef_search=None, filter=None):
            meddled.list()
            return super().search(queries, k, ef_search, filter)

    meddled = VectorStore(2, "ip", index=Meddler)
    meddled.upsert(FILMS)
    with pytest.raises(ValueError, match="memory was called from inside one of its own verbs"):
        meddled.query([1, 0])
    assert everything(meddled) == before


def test_an_encoder_works_outside_of_transactions(tmp_path):
    class Slow(WordEncoder):
        def encode(self, texts):
            assert not store._engine.file._connection.in_transaction
            return super().encode(texts)

    store = VectorStore(3, path=tmp_path / "s.db", encoder=Slow())
    store.upsert([{"id": "a", "text": "one word"}])
    store.update("a", text="two words")
    store.close()


def test_a_text_is_not_asked_with_another_encoder_than_filled_the_store(path):
    one, other = (VectorStore(3, path=path, encoder=WordEncoder(factor)) for factor in (1, 2))
    assert other.query("nothing is there yet")["matches"] == []
    one.upsert([{"id": "a", "text": "one word"}])
    for verb in (lambda: other.query("one word"), lambda: other.upsert([{"id": "b", "text": "b"}])):
        with pytest.raises(ValueError, match=r"films.db' was filled by another encoder"):
            verb()
    assert one.query("one word")["matches"][0]["id"] == "a"
    assert other.query([1, 2, 3])["matches"][0]["id"] == "a"


# --- input ----------------------------------------------------------------------------------------------------


def test_a_generator_may_read_the_store_that_it_fills(store):
    doubled = ({**one, "id": f"{one['id']}+"} for one in store.fetch(store.list())["vectors"].values())
    assert store.upsert(doubled) == {"upserted_count": 3}
    before = everything(store)

    def broken():
        yield ("x", [1, 0])
        raise KeyError("the source broke")

    with pytest.raises(KeyError):
        store.upsert(broken())
    assert everything(store) == before


ODD = [
    "%",
    "_",
    "a%",
    "a_b",
    "axb",
    "'; DROP TABLE records; --",
    '"',
    "\\",
    "😀",
    "가나다",
    "\u00e9",
    "e\u0301",
    "가" * 512,
]


def test_odd_ids_prefixes_and_namespaces_are_only_names(store):
    for space in ("", *ODD):
        store.upsert([(id, [1, 0], {id: id}) for id in ODD], namespace=space)
        for id in ODD:
            expected = sorted(other for other in ODD if other.startswith(id))
            assert [one for one in store.list(id, space) if one in ODD] == expected
            assert store.query([1, 0], 99, {id: id}, space)["matches"][0]["id"] == id
    assert set(store.stats()["namespaces"]) == {"", *ODD}


def test_names_of_numpy_are_names(store):
    """A str_ of numpy, or another str with a type of its own, is kept as the str that it is."""
    ids, space = np.array(["a", "나"]), np.str_("films")
    store.upsert([{"id": id, "values": [1, 0]} for id in ids], namespace=space)
    store.update(ids[0], set_metadata={"year": 2024}, namespace=space)
    assert [one["id"] for one in store.query([1, 0], 9, namespace="films")["matches"]] == ["a", "나"]
    store.delete(list(ids), namespace=space)
    assert store.list(namespace="films") == []


def test_misuse_is_named(store):
    with pytest.raises(
        ValueError, match=r"set_metadata\['year'\] must not be None: upsert the record without"
    ):
        store.update("film#1", set_metadata={"year": None})
    with pytest.raises(ValueError, match=r"filter must be what parse_filter gives, got {'year': 2019}"):
        matches({"year": 2019}, {"year": 2019})
    with pytest.raises(ValueError, match="pagination_token must be a str, got 0"):
        store.list_paginated(pagination_token=0)
    with pytest.raises(ValueError, match="read_only=True needs a path"):
        VectorStore(2, read_only=True)


def test_weights_of_a_hybrid_count_under_cosine_too():
    rng = np.random.default_rng(0)
    dense, sparse = rng.normal(size=(30, 4)), rng.integers(1, 9, size=30).astype(float)
    query, alpha = 5 * rng.normal(size=4), 0.8
    store = VectorStore(4)
    store.upsert(
        {"id": str(n), "values": dense[n], "sparse_values": {"indices": [7], "values": [sparse[n] / 8]}}
        for n in range(30)
    )
    cosines = dense @ query / np.linalg.norm(dense, axis=1) / np.linalg.norm(query)
    wanted = alpha * cosines + (1 - alpha) * sparse / 8
    vector, places = hybrid_weights(query, {"indices": [7], "values": [1]}, alpha, "cosine")
    found = store.query(vector, 30, sparse_vector=places)["matches"]
    assert [match["id"] for match in found] == [str(n) for n in np.argsort(-wanted)]
    assert [match["score"] * alpha for match in found] == pytest.approx(
        sorted(wanted, reverse=True), rel=1e-5
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (([1, 2], {"indices": [1], "values": [1]}, 0, "cosine"), "alpha must be above 0 under cosine"),
        (([1, 2], {"indices": [1], "values": [1]}, 1), "alpha must be below 1"),
        (
            ([1, 2], {"indices": [1], "values": [1]}, 0.5, "l2"),
            "metric must be one of 'ip', 'cosine', got 'l2'",
        ),
        (("abc", {"indices": [1], "values": [1]}, 0.5), r"dense must be finite numbers \(D,\), got 'abc'"),
        (([1, np.nan], {"indices": [1], "values": [1]}, 0.5), "dense must be finite numbers"),
        (([1, 2], None, 0.5), "sparse must be .* got None"),
        (([1, 2], {"indices": [1], "values": [1e-45]}, 0.9), "sparse, weighted, must have finite values"),
    ],
)
def test_weights_that_cannot_be(given, said):
    with pytest.raises(ValueError, match=said):
        hybrid_weights(*given)


@pytest.mark.parametrize("metric", ["ip", "cosine"])
@pytest.mark.parametrize("shape", ["alike", "few values", "below zero", "any"])
def test_a_place_that_all_records_share_is_not_read_whole(metric, shape, monkeypatch):
    rng = np.random.default_rng(1)
    dense = rng.normal(size=(3000, 3)).astype(np.float32)
    values = {
        "alike": np.full(3000, 0.5),
        "few values": rng.integers(1, 5, 3000) / 4,
        "below zero": -rng.integers(1, 5, 3000) / 4,
        "any": rng.normal(size=3000) / 9,
    }[shape].astype(np.float32)
    store = VectorStore(3, metric)
    with_sparse = range(2900)
    store.upsert(
        {"id": str(n), "values": dense[n]}
        | ({"sparse_values": {"indices": [7], "values": [values[n]]}} if n in with_sparse else {})
        for n in range(3000)
    )
    query = rng.normal(size=3).astype(np.float32)
    wanted = dense.astype(float) @ query.astype(float)
    if metric == "cosine":
        wanted /= np.linalg.norm(dense.astype(float), axis=1) * np.linalg.norm(query.astype(float))
    wanted[:2900] += values[:2900]
    read = []
    real = engine.read_by
    monkeypatch.setattr(engine, "read_by", lambda *given: read.append(len(given[2])) or real(*given))
    found = store.query(query, 10, sparse_vector={"indices": [7], "values": [1]})["matches"]
    assert [match["id"] for match in found] == [str(n) for n in np.argsort(-wanted)[:10]]
    assert [match["score"] for match in found] == pytest.approx(np.sort(wanted)[::-1][:10])
    if shape == "alike":
        assert sum(read) < 100
    elif shape != "any":
        assert sum(read) < 3000
