"""The verbs: Pinecone's shapes, values by hand, and bad input that leaves the store as it was."""

import sqlite3
import threading

import numpy as np
import pytest
import torch

from minillm.search import ExactIndex, VectorStore, hybrid_weights
from minillm.search.store.access import opens

FILMS = [
    {"id": "film#1", "values": [1.0, 0.0], "metadata": {"year": 2019, "genre": ["drama", "family"]}},
    {"id": "film#2", "values": [0.6, 0.8], "metadata": {"year": 2020, "genre": ["comedy"]}},
    {"id": "book#1", "values": [0.0, 2.0], "metadata": {"year": 2021}},
]


class WordEncoder:
    """Texts to (number of letters, number of spaces, 1)."""

    dim = 3

    def __init__(self, factor=1.0):
        self.factor = factor

    def encode(self, texts):
        return self.factor * np.array([[len(t) - t.count(" "), t.count(" "), 1] for t in texts], np.float32)


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    with VectorStore(2, path=None if request.param == "memory" else tmp_path / "films.db") as store:
        store.upsert(FILMS)
        yield store


def everything(store, **token):
    """All that can be read."""
    spaces = store.stats(**token)["namespaces"]
    return {
        space: store.fetch(store.list(namespace=space, **token), namespace=space, **token) for space in spaces
    }


def test_answers_have_pinecones_shape(store):
    assert store.upsert([("film#3", [1, 1])]) == {"upserted_count": 1}
    assert store.delete(["film#3", "never there"]) == {}
    assert store.query([1, 0], 2, include_values=True) == {
        "matches": [
            {"id": "film#1", "score": 1.0, "values": [1.0, 0.0], "metadata": FILMS[0]["metadata"]},
            {
                "id": "film#2",
                "score": pytest.approx(0.6),
                "values": pytest.approx([0.6, 0.8]),
                "metadata": FILMS[1]["metadata"],
            },
        ],
        "namespace": "",
    }
    assert store.query([1, 0], 1, include_metadata=False)["matches"] == [{"id": "film#1", "score": 1.0}]
    assert store.fetch(["book#1", "film#9"]) == {
        "vectors": {"book#1": {"id": "book#1", "values": [0.0, 2.0], "metadata": {"year": 2021}}},
        "namespace": "",
    }
    assert store.stats() == {
        "dimension": 2,
        "metric": "cosine",
        "total_vector_count": 3,
        "namespaces": {"": {"vector_count": 3}},
    }


@pytest.mark.parametrize(
    ("metric", "scores"), [("cosine", [1.0, 0.6, 0.0]), ("ip", [1.0, 0.6, 0.0]), ("l2", [0.0, 0.8, 5.0])]
)
def test_scores_of_the_three_metrics(metric, scores):
    store = VectorStore(2, metric)
    store.upsert(FILMS)
    matches = store.query(np.array([1.0, 0.0]), 10)["matches"]
    assert [match["id"] for match in matches] == ["film#1", "film#2", "book#1"]
    assert [match["score"] for match in matches] == pytest.approx(scores, abs=1e-7)


def test_filters_ids_and_fewer_than_top_k(store):
    def ids(**options):
        return [match["id"] for match in store.query(top_k=10, **options)["matches"]]

    assert ids(vector=[1, 0], filter={"year": {"$gte": 2020}}) == ["film#2", "book#1"]
    assert ids(vector=[1, 0], filter={"genre": "family"}) == ["film#1"]
    assert ids(vector=[1, 0], filter={"genre": "none"}) == []
    assert ids(vector=[1, 0], namespace="none") == []
    assert ids(id="book#1") == ["book#1", "film#2", "film#1"]


def test_list_by_prefix_and_pages(store):
    assert store.list() == ["book#1", "film#1", "film#2"]
    assert store.list("film#") == ["film#1", "film#2"]
    assert store.list("g") == []
    odd = ["\U0010ffff", "\U0010ffffa", "가", "가a", "%", "_", "*"]
    store.upsert([(id, [1, 1]) for id in odd])
    for prefix in odd:
        assert store.list(prefix) == sorted(id for id in odd if id.startswith(prefix))
    page, seen = store.list_paginated("film#", 1), []
    while page["pagination"]:
        seen += page["vectors"]
        page = store.list_paginated("film#", 1, page["pagination"]["next"])
    assert seen + page["vectors"] == [{"id": "film#1"}, {"id": "film#2"}]


def test_namespaces_do_not_see_each_other(store):
    store.upsert([("film#1", [0, 1], {"in": "b"})], namespace="b")
    assert store.fetch(["film#1"], namespace="b")["vectors"]["film#1"]["metadata"] == {"in": "b"}
    assert store.query([1, 0], 1)["matches"][0]["metadata"] == FILMS[0]["metadata"]
    assert store.stats()["namespaces"] == {"": {"vector_count": 3}, "b": {"vector_count": 1}}
    store.delete(delete_all=True)
    assert store.stats()["namespaces"] == {"b": {"vector_count": 1}}
    store.delete(delete_all=True, namespace="never there")


def test_update_changes_parts_and_upsert_all(store):
    store.query([1, 0], filter={"year": 2019})  # the views are there before the change
    assert store.update("film#1", set_metadata={"year": 2000, "seen": True}) == {}
    assert store.fetch(["film#1"])["vectors"]["film#1"] == {
        "id": "film#1",
        "values": [1.0, 0.0],
        "metadata": {"year": 2000, "genre": ["drama", "family"], "seen": True},
    }
    assert [m["id"] for m in store.query([1, 0], filter={"year": 2000})["matches"]] == ["film#1"]
    assert store.query([1, 0], filter={"year": 2019})["matches"] == []
    store.update("film#1", [0, 1])
    assert [m["id"] for m in store.query([0, 1], 2)["matches"]] == ["book#1", "film#1"]
    store.upsert([("film#1", [0, 1])])
    assert store.fetch(["film#1"])["vectors"]["film#1"]["metadata"] == {}


def test_delete_by_filter_and_an_id_twice_in_a_batch(store):
    store.delete(filter={"year": {"$lte": 2020}})
    assert store.list() == ["book#1"]
    assert store.upsert([("a", [1, 0]), ("a", [0, 1])]) == {"upserted_count": 1}
    assert store.fetch(["a"])["vectors"]["a"]["values"] == [0, 1]


def test_hybrid_scores_are_the_sum_of_both_products():
    store = VectorStore(2, "ip")
    store.upsert(
        [
            {"id": "a", "values": [3, 0], "sparse_values": {"indices": [7, 2], "values": [1, 2]}},
            {"id": "b", "values": [2, 0], "sparse_values": {"indices": [4000000000], "values": [-4]}},
            {"id": "c", "values": [1, 0]},
            {"id": "d", "values": [-9, 0], "sparse_values": {"indices": [2], "values": [6]}},
        ]
    )
    sparse = {"indices": [2, 4000000000], "values": [2, 1]}
    found = store.query([1, 0], 4, sparse_vector=sparse, include_values=True)["matches"]
    assert [(match["id"], match["score"]) for match in found] == [("a", 7), ("d", 3), ("c", 1), ("b", -2)]
    assert found[0]["sparse_values"] == {"indices": [2, 7], "values": [2, 1]}
    assert [m["id"] for m in store.query([1, 0], 3)["matches"]] == ["a", "b", "c"]
    store.update("c", sparse_values={"indices": [2], "values": [50]})
    assert store.query([1, 0], 1, sparse_vector=sparse)["matches"][0]["score"] == 101
    dense, weighted = hybrid_weights([1, 0], sparse, 0.25)
    assert (dense, weighted["values"]) == ([0.25, 0], [1.5, 0.75])


def test_texts_are_encoded_by_the_encoder_given_once(tmp_path):
    with VectorStore(None, path=tmp_path / "t.db", encoder=WordEncoder()) as store:
        store.upsert(
            [{"id": "a", "text": "two words", "metadata": {"n": 2}}, {"id": "b", "values": [9, 9, 9]}]
        )
        assert store.fetch(["a"])["vectors"]["a"] == {
            "id": "a",
            "values": [8, 1, 1],
            "metadata": {"n": 2, "text": "two words"},
        }
        assert store.query("two words", 1)["matches"][0]["id"] == "a"
        store.update("a", text="one")
        assert store.fetch(["a"])["vectors"]["a"]["values"] == [3, 0, 1]
        assert store.fetch(["a"])["vectors"]["a"]["metadata"] == {"n": 2, "text": "one"}
        with pytest.raises(ValueError, match="a text and another metadata"):
            store.upsert([{"id": "c", "text": "x", "metadata": {"text": "y"}}])
    VectorStore.open(tmp_path / "t.db", WordEncoder()).close()
    with pytest.raises(ValueError, match="was filled by another encoder"):
        VectorStore.open(tmp_path / "t.db", WordEncoder(2.0))
    with pytest.raises(ValueError, match=r"encoder must give vectors of the store's dim 4, got 3"):
        VectorStore(4, path=tmp_path / "new.db", encoder=WordEncoder())
    assert not (tmp_path / "new.db").exists()
    with VectorStore.open(tmp_path / "t.db") as plain, pytest.raises(ValueError, match="a text needs"):
        plain.query("two words")


def test_a_token_is_asked_for_by_every_verb(tmp_path):
    store = VectorStore(2, path=tmp_path / "t.db")
    token = store.set_token("mine")
    store.upsert([("a", [1, 0])], namespace="mine", token=token)
    store.upsert([("b", [0, 1])], namespace="open")
    verbs = [
        lambda **t: store.upsert([("a", [1, 0])], namespace="mine", **t),
        lambda **t: store.query([1, 0], namespace="mine", **t),
        lambda **t: store.fetch(["a"], namespace="mine", **t),
        lambda **t: store.update("a", [1, 0], namespace="mine", **t),
        lambda **t: store.list(namespace="mine", **t),
        lambda **t: store.list_paginated(namespace="mine", **t),
        lambda **t: store.backup(tmp_path / "backup.db", **t),
        lambda **t: store.to_qdrant(None, "c", **t),
        lambda **t: store.delete(["x"], namespace="mine", **t),
        lambda **t: store.set_token("mine", "another one of 20 letters", **t),
    ]
    for wrong in ({}, {"token": "wrong"}, {"token": token[:-1]}, {"token": {"open": token}}, {"token": 5}):
        for verb in verbs:
            with pytest.raises(PermissionError, match="'mine' needs its access token"):
                verb(**wrong)
        assert store.stats(**wrong)["namespaces"] == {"open": {"vector_count": 1}}
    assert not (tmp_path / "backup.db").exists()
    assert store.stats(token)["total_vector_count"] == 2
    for verb in (*verbs[:7], *verbs[8:]):
        verb(token=token)
    with pytest.raises(PermissionError):
        store.list(namespace="mine", token=token)
    assert store.list(namespace="mine", token={"mine": "another one of 20 letters"}) == ["a"]
    store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token.encode() not in kept
    assert b"another one" not in kept
    with VectorStore.open(tmp_path / "backup.db") as copy:  # the token that was in force then
        assert copy.list(namespace="mine", token=token) == ["a"]
        copy.set_token("mine", remove=True, token=token)
        assert copy.list(namespace="mine") == ["a"]
    assert not opens("n", b"salt", b"hash", None)


GOOD = {"id": "good", "values": [1, 1]}
BAD = [
    (
        lambda s: s.upsert([GOOD, {"id": "x", "values": [1, 2, 3]}]),
        r"record 'x': values must be 2 numbers, got 3",
    ),
    (lambda s: s.upsert([GOOD, ("x", np.ones((2, 2)))]), r"must be 2 numbers, got ndarray of shape \(2, 2\)"),
    (lambda s: s.upsert([GOOD, ("x", [1, float("nan")])]), "'x': values must be finite in float32, got NaN"),
    (lambda s: s.upsert([GOOD, ("x", [1, 1e39])]), "must be finite in float32"),
    (
        lambda s: s.upsert([GOOD, ("x", [1, 1e30])]),
        r"'x': values must be of length 2\^60 at most, got 1e\+30",
    ),
    (
        lambda s: s.upsert([GOOD, ("x", torch.ones(2, requires_grad=True))]),
        "got Tensor .* that requires grad",
    ),
    (
        lambda s: s.upsert(
            [{**GOOD, "sparse_values": {"indices": [1], "values": torch.ones(1, requires_grad=True)}}]
        ),
        "sparse_values must have as many indices",
    ),
    (lambda s: s.upsert([GOOD, ("x", ["1", "2"])]), "'x': values must be 2 numbers"),
    (lambda s: s.upsert([GOOD, ("x", [0.0, 0.0])]), "'x': values must not be all zeros"),
    (lambda s: s.upsert([GOOD, (5, [1, 1])]), "record 1: id must be a str, got 5"),
    (lambda s: s.upsert([GOOD, ("", [1, 1])]), "record 1: id must not be empty"),
    (lambda s: s.upsert([GOOD, ("a\0", [1, 1])]), "record 1: id must be Unicode text without NUL"),
    (lambda s: s.upsert([GOOD, ("a\ud800", [1, 1])]), "record 1: id must be Unicode text"),
    (lambda s: s.upsert([GOOD, ("a" * 513, [1, 1])]), "id must have at most 512 characters, got 513"),
    (lambda s: s.upsert([GOOD, {"values": [1, 1]}]), r'record 1 must be {"id": .* got {\'values\''),
    (lambda s: s.upsert([GOOD, {"id": "x"}]), "record 'x' must have values or a text, got neither"),
    (lambda s: s.upsert([GOOD, {"id": "x", "vector": [1, 1]}]), "must have no keys but id, .* got 'vector'"),
    (lambda s: s.upsert([GOOD, ("x", [1, 1], [])]), r"'x': metadata must be a dict, got \[\]"),
    (
        lambda s: s.upsert([GOOD, ("x", [1, 1], {"a": None})]),
        r"metadata\['a'\] must be .* got None: leave the key out",
    ),
    (
        lambda s: s.upsert([GOOD, ("x", [1, 1], {"a": {"b": 1}})]),
        r"metadata\['a'\] must be a text, .* got {'b': 1}",
    ),
    (
        lambda s: s.upsert([GOOD, ("x", [1, 1], {"a": [1]})]),
        r"metadata\['a'\] must be .* a list of texts, got \[1\]",
    ),
    (
        lambda s: s.upsert([GOOD, ("x", [1, 1], {"a": float("inf")})]),
        r"metadata\['a'\] must be a finite number",
    ),
    (lambda s: s.upsert([GOOD, ("x", [1, 1], {"a": 10**400})]), r"metadata\['a'\] must fit into 64 bits"),
    (
        lambda s: s.upsert([GOOD, ("x", [1, 1], {"a": "\udfff"})]),
        "metadata must be Unicode text, got half a surrogate",
    ),
    (lambda s: s.upsert([GOOD, ("x", [1, 1], {"$a": 1})]), "must have str keys, .* got '\\$a'"),
    (
        lambda s: s.upsert([GOOD, ("x", [1, 1], {"a": "가" * 14_000})]),
        "at most 40960 bytes as JSON, got 42008",
    ),
    (
        lambda s: s.upsert([GOOD, {"id": "x", "text": "hello"}]),
        "a text needs VectorStore.*encoder.*got 'hello'",
    ),
    (
        lambda s: s.upsert(
            [GOOD, {**GOOD, "id": "x", "sparse_values": {"indices": [1, 1], "values": [1, 2]}}]
        ),
        "'x': sparse_values must have different indices",
    ),
    (
        lambda s: s.upsert([{**GOOD, "sparse_values": {"indices": [-1], "values": [1]}}]),
        r"sparse_values must have indices from 0 to .* got \[-1\]",
    ),
    (lambda s: s.upsert([{**GOOD, "sparse_values": {"indices": [1]}}]), "sparse_values must be"),
    (lambda s: s.upsert([{**GOOD, "sparse_values": {"indices": [1], "values": [0]}}]), "values other than 0"),
    (lambda s: s.upsert(GOOD), "vectors must be a list of records, got {'id'"),
    (lambda s: s.upsert("abc"), "vectors must be a list of records, got 'abc'"),
    (lambda s: s.upsert([GOOD], namespace=None), "namespace must be a str, got None"),
    (lambda s: s.query([1, 2, 3]), "vector must be 2 numbers, got 3"),
    (lambda s: s.query([[1, 2]]), "vector must be 2 numbers, got 1 x 2"),
    (lambda s: s.query([0, 0]), "vector must not be all zeros"),
    (lambda s: s.query([1, float("inf")]), "vector must be finite"),
    (lambda s: s.query([1, 1], 0), "top_k must be at least 1, got 0"),
    (lambda s: s.query([1, 1], filter={"a": {"$like": 1}}), r"unknown filter operator '\$like'"),
    (lambda s: s.query([1, 1], include_values=1), "include_values must be True or False, got 1"),
    (lambda s: s.query(), "query takes a vector or an id, got neither"),
    (lambda s: s.query([1, 1], id="film#1"), "query takes a vector or an id, got both"),
    (lambda s: s.query(id="none"), "id must be in namespace '', got 'none'"),
    (lambda s: s.query([1, 1], sparse_vector=[1]), "sparse_vector must be"),
    (lambda s: s.fetch("film#1"), "ids must be a list of str, got 'film#1'"),
    (lambda s: s.fetch([1]), r"ids\[0\] must be a str, got 1"),
    (lambda s: s.update("none", [1, 1]), "id must be in namespace '', got 'none' which is not"),
    (lambda s: s.update("film#1"), "update of record 'film#1' must change something"),
    (lambda s: s.update("film#1", [1]), "values must be 2 numbers, got 1"),
    (lambda s: s.update("film#1", set_metadata={"a": "x" * 40_940}), "at most 40960 bytes as JSON, got"),
    (lambda s: s.delete(), "delete takes one of ids, filter and delete_all=True"),
    (lambda s: s.delete(["film#1"], delete_all=True), "delete takes one of"),
    (lambda s: s.delete(filter={}), "filter must hold a condition"),
    (lambda s: s.delete(filter={"a": {"$x": 1}}), r"unknown filter operator '\$x'"),
    (lambda s: s.delete("film#1"), "ids must be a list of str, got 'film#1'"),
    (lambda s: s.list(5), "prefix must be a str, got 5"),
    (lambda s: s.list_paginated(limit=0), "limit must be at least 1, got 0"),
    (lambda s: s.set_token("", "short"), "token must be a str of at least 16 characters, got one of 5"),
    (lambda s: s.backup(5), "path must be a path, got 5"),
]


@pytest.mark.parametrize(("call", "said"), BAD)
def test_bad_input_says_what_came_and_changes_nothing(store, call, said):
    before = everything(store)
    with pytest.raises(ValueError, match=said):
        call(store)
    assert everything(store) == before


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: VectorStore(0), "dim must be at least 1, got 0"),
        (lambda: VectorStore(None), "dim must be an integer, got None"),
        (lambda: VectorStore(2, "dot"), "metric must be one of 'l2', 'cosine', 'ip', got 'dot'"),
        (lambda: VectorStore(2, encoder="e5"), r"encoder must have encode\(texts\), got 'e5'"),
        (lambda: VectorStore(2, index="hnsw"), r"index must be called with \(dim, metric\), got 'hnsw'"),
        (lambda: VectorStore(2, path=5), "path must be a path, got 5"),
        (lambda: VectorStore(2, read_only=1), "read_only must be True or False, got 1"),
        (
            lambda: VectorStore(2, "l2").upsert([{**GOOD, "sparse_values": {"indices": [1], "values": [1]}}]),
            "no sparse",
        ),
        (
            lambda: hybrid_weights([1], {"indices": [1], "values": [1]}, 2),
            "alpha must be between 0 and 1, got 2",
        ),
    ],
)
def test_a_store_that_cannot_be_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_another_index_is_put_in_with_one_argument(tmp_path):
    made = []

    class Counted(ExactIndex):
        def __init__(self, dim, metric):
            super().__init__(dim, metric)
            made.append(self)

    with VectorStore(2, index=Counted) as store:
        store.upsert(FILMS)
        assert made == []  # a store that only writes builds none
        assert store.query([1, 0], 1)["matches"][0]["id"] == "film#1"
    assert [len(index) for index in made] == [3]


def test_threads_share_a_store(store):
    errors = []

    def write():
        try:
            for number in range(20):
                store.upsert([(f"t{number}", [1, number + 1], {"n": number})])
        except Exception as error:
            errors.append(error)

    def read():
        try:
            for _ in range(20):
                found = store.query([1, 1], 50)["matches"]
                assert len({match["id"] for match in found}) == len(found) >= 3
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=target) for target in (write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert store.stats()["total_vector_count"] == 23


def test_a_closed_store_says_so(store):
    store.close()
    store.close()
    with pytest.raises(ValueError, match="is closed"):
        store.list()


def test_a_verb_that_fails_on_the_way_leaves_no_half(store, monkeypatch):
    before, calls = everything(store), []

    def put(self, *record):
        calls.append(record)
        if len(calls) == 3:
            raise sqlite3.OperationalError("database or disk is full")
        return real(self, *record)

    from minillm.search.store.table import Changes

    real = Changes.put
    monkeypatch.setattr(Changes, "put", put)
    with pytest.raises(OSError, match="full"):
        store.upsert([(f"n{number}", [1, 1]) for number in range(5)])
    monkeypatch.undo()
    assert everything(store) == before
    assert store.upsert([("n", [1, 1])]) == {"upserted_count": 1}
