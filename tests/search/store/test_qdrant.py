"""A store in Qdrant and back, through its client in local mode, and our filters against its own."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.search import VectorStore
from minillm.search.store.qdrant import point_id, qdrant_filter
from tests.helpers import soak_count
from tests.search.store.examples import filters, metadata
from tests.search.store.test_verbs import FILMS, everything

qdrant_client = pytest.importorskip("qdrant_client", reason="Qdrant's client is in the qdrant extra")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def client():
    client = qdrant_client.QdrantClient(":memory:")
    yield client
    client.close()


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_there_and_back(client, metric, tmp_path):
    store = VectorStore(2, metric)
    store.upsert(FILMS)
    store.upsert([(f"n{number}", [1, number], {"n": number}) for number in range(600)], namespace="many")
    if metric != "l2":
        store.upsert(
            [{"id": "s", "values": [0, 1], "sparse_values": {"indices": [3, 9], "values": [1, -2]}}], "many"
        )
    before = everything(store)
    assert (
        store.to_qdrant(client, "films") == client.count("films").count == store.stats()["total_vector_count"]
    )
    store.to_qdrant(client, "films")  # the same records land on the same points
    assert client.count("films").count == store.stats()["total_vector_count"]
    back = VectorStore.from_qdrant(client, "films", tmp_path / "back.db")
    assert (back.dim, back.metric) == (2, metric)
    found = everything(back)
    assert found.keys() == before.keys()
    for space, records in before.items():
        assert found[space]["vectors"].keys() == records["vectors"].keys()
        for id, record in records["vectors"].items():
            length = math.hypot(*record["values"]) if metric == "cosine" else 1
            record["values"] = pytest.approx([value / length for value in record["values"]], abs=1e-6)
            assert found[space]["vectors"][id] == record


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_qdrant_finds_the_same_with_the_same_scores(client, metric):
    store = VectorStore(2, metric)
    vectors = np.random.default_rng(0).normal(size=(60, 2))
    store.upsert([(f"n{n}", vectors[n], {"n": n, "kind": ["even", "odd"][n % 2]}) for n in range(60)], "a")
    store.upsert([("other", [1, 1], {"n": 5, "kind": "odd"})], "b")
    store.to_qdrant(client, "c")
    filter = {"n": {"$gte": 4, "$lt": 40}, "kind": "odd"}
    ours = store.query([2, 5], 6, filter, "a")["matches"]
    theirs = client.query_points(
        "c", query=[2.0, 5.0], using="dense", limit=6, query_filter=qdrant_filter(filter, "a")
    ).points
    assert [point.payload["id"] for point in theirs] == [match["id"] for match in ours]
    scores = [point.score**2 if metric == "l2" else point.score for point in theirs]
    assert scores == pytest.approx([match["score"] for match in ours], rel=1e-5)


@settings(max_examples=soak_count(1500))
@given(st.lists(metadata, min_size=1, max_size=8), filters)
def test_filters_mean_the_same_in_qdrant(records, filter):
    client = qdrant_client.QdrantClient(":memory:")
    store = VectorStore(2)
    store.upsert([(str(number), [1, 1], one) for number, one in enumerate(records)], namespace="n")
    store.to_qdrant(client, "c")
    ours = {match["id"] for match in store.query([1, 1], 20, filter, "n")["matches"]}
    points, _ = client.scroll("c", scroll_filter=qdrant_filter(filter, "n"), limit=20)
    assert {point.payload["id"] for point in points} == ours
    client.close()


def test_what_does_not_fit_is_refused(client):
    store = VectorStore(2)
    store.upsert(FILMS)
    store.to_qdrant(client, "films")
    with pytest.raises(
        ValueError, match=r"'films' must have dim and metric \(3, 'cosine'\), got \(2, 'cosine'\)"
    ):
        VectorStore(3).to_qdrant(client, "films")
    with pytest.raises(ValueError, match="collection must be there, got 'none'"):
        VectorStore.from_qdrant(client, "none")
    client.create_collection(
        "plain", qdrant_client.models.VectorParams(size=2, distance=qdrant_client.models.Distance.COSINE)
    )
    with pytest.raises(ValueError, match="'plain' must have a vector 'dense'"):
        VectorStore.from_qdrant(client, "plain")
    point = qdrant_client.models.PointStruct(id=1, vector={"dense": [1.0, 0.0]}, payload={"x": 1})
    client.upsert("films", [point])
    with pytest.raises(ValueError, match=r"point 1 must be one that to_qdrant wrote, got {'x': 1}"):
        VectorStore.from_qdrant(client, "films")
    with pytest.raises(ValueError, match='a field with " in its name'):
        qdrant_filter({'a"b': 1})
    assert point_id("", "a") != point_id("a", "")
