"""Random programs of every verb against a plain dict, with the store closed, dropped and opened again in between."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.search import VectorStore
from tests.helpers import soak_count

IDS = ("a", "b", "a#1", "a#2", "가")
SPACES = ("", "n")
# each filter and what it means, in other words
FILTERS = (
    ({"x": {"$gte": 1}}, lambda m: m.get("x", 0) >= 1),
    ({"x": {"$in": [0, 2]}}, lambda m: m.get("x") in (0, 2)),
    ({"tags": "p"}, lambda m: "p" in m.get("tags", [])),
    ({"tags": {"$ne": "p"}}, lambda m: "tags" in m and "p" not in m["tags"]),
    ({"x": {"$exists": False}}, lambda m: "x" not in m),
    ({"$or": [{"x": 1}, {"tags": "q"}]}, lambda m: m.get("x") == 1 or "q" in m.get("tags", [])),
    (
        {"x": {"$lt": 2}, "tags": {"$nin": ["q"]}},
        lambda m: m.get("x", 9) < 2 and "q" not in m.get("tags", ["q"]),
    ),
)

ids, spaces = st.sampled_from(IDS), st.sampled_from(SPACES)
vectors = st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any)  # their products are exact
metadata = st.fixed_dictionaries(
    {}, optional={"x": st.integers(0, 3), "tags": st.lists(st.sampled_from("pqr"), max_size=2)}
)
sparse = st.none() | st.dictionaries(
    st.integers(0, 3), st.sampled_from([-2, -1, 1, 2]), min_size=1, max_size=3
)
records = st.tuples(ids, vectors, metadata, sparse)
filters = st.sampled_from(FILTERS)
steps = st.one_of(
    st.tuples(st.just("upsert"), spaces, st.lists(records, max_size=4)),
    st.tuples(st.just("update"), spaces, ids, st.none() | vectors, metadata, sparse),
    st.tuples(st.just("delete"), spaces, st.lists(ids, max_size=2)),
    st.tuples(st.just("delete by filter"), spaces, filters),
    st.tuples(st.just("delete all"), spaces),
    st.tuples(st.just("query"), spaces, vectors, st.integers(1, 6), st.none() | filters, sparse),
    st.tuples(st.just("fetch"), spaces),
    st.tuples(st.just("list"), spaces, st.sampled_from(["", "a", "a#", "b", "z"])),
    st.tuples(st.just("refused"), spaces, records),
    st.tuples(st.just("open again"), st.booleans()),
)


def as_sparse(one):
    return one and {"indices": sorted(one), "values": [one[place] for place in sorted(one)]}


def as_record(id, vector, metadata, sparse):
    record = {"id": id, "values": vector, "metadata": metadata}
    return record | ({"sparse_values": as_sparse(sparse)} if sparse else {})


def score(metric, query, asked, vector, kept):
    product = sum(map(lambda a, b: a * b, query, vector))
    if metric == "l2":
        return math.dist(query, vector) ** 2
    if metric == "cosine":
        product /= math.sqrt(sum(a * a for a in query) * sum(a * a for a in vector))
    return product + sum(weight * (kept or {}).get(place, 0) for place, weight in (asked or {}).items())


class Program:
    """A store and the dict that it is held against: namespace -> id -> [vector, metadata, sparse]."""

    def __init__(self, metric, path):
        self.metric, self.path = metric, path
        self.store = VectorStore(3, metric, path)
        self.expected = {space: {} for space in SPACES}

    def run(self, name, *arguments):
        getattr(self, name.replace(" ", "_"))(*arguments)

    def known(self, sparse):
        """Sparse values have no meaning under l2."""
        return None if self.metric == "l2" else sparse

    def upsert(self, space, records):
        records = [(*record[:3], self.known(record[3])) for record in records]
        many = self.store.upsert([as_record(*record) for record in records], namespace=space)
        assert many == {"upserted_count": len({id for id, *_ in records})}
        self.expected[space].update({id: list(rest) for id, *rest in records})

    def update(self, space, id, vector, metadata, sparse):
        sparse = self.known(sparse)
        change = {"values": vector, "set_metadata": metadata or None, "sparse_values": as_sparse(sparse)}
        old = self.expected[space].get(id)
        if old is None or not any(change.values()):
            with pytest.raises(ValueError, match="must"):
                self.store.update(id, **change, namespace=space)
            return
        self.store.update(id, **change, namespace=space)
        self.expected[space][id] = [vector or old[0], {**old[1], **metadata}, sparse or old[2]]

    def delete(self, space, ids):
        self.store.delete(ids, namespace=space)
        for id in ids:
            self.expected[space].pop(id, None)

    def delete_by_filter(self, space, filter):
        self.store.delete(filter=filter[0], namespace=space)
        kept = {id: record for id, record in self.expected[space].items() if not filter[1](record[1])}
        self.expected[space] = kept

    def delete_all(self, space):
        self.store.delete(delete_all=True, namespace=space)
        self.expected[space] = {}

    def query(self, space, vector, k, filter, sparse):
        sparse = self.known(sparse)
        found = self.store.query(
            vector, k, filter and filter[0], space, True, sparse_vector=as_sparse(sparse)
        )["matches"]
        scores = {
            id: score(self.metric, vector, sparse, kept, its)
            for id, (kept, metadata, its) in self.expected[space].items()
            if filter is None or filter[1](metadata)
        }
        best = sorted(scores.values(), reverse=self.metric != "l2")[:k]
        assert [match["score"] for match in found] == pytest.approx(best, abs=1e-9)
        assert len({match["id"] for match in found}) == len(found)
        for match in found:
            assert match["score"] == pytest.approx(scores[match["id"]], abs=1e-9)
            self.same(space, match.pop("score") * 0 == 0 and match)

    def same(self, space, record):
        assert record == as_record(record["id"], *self.expected[space][record["id"]])

    def fetch(self, space):
        found = self.store.fetch([*IDS, "nobody"], space)["vectors"]
        assert found.keys() == self.expected[space].keys()
        for record in found.values():
            self.same(space, record)
        counts = {name: {"vector_count": len(there)} for name, there in self.expected.items() if there}
        assert self.store.stats()["namespaces"] == counts

    def list(self, space, prefix):
        assert self.store.list(prefix, space) == sorted(
            id for id in self.expected[space] if id.startswith(prefix)
        )

    def refused(self, space, record):
        with pytest.raises(ValueError, match="bad"):
            self.store.upsert([as_record(*record[:3], None), ("bad", [1, 2])], space)

    def open_again(self, closed):
        if self.path is not None:
            if closed:
                self.store.close()
            self.store = VectorStore(3, self.metric, self.path)


@settings(max_examples=soak_count(1200))
@given(st.sampled_from(["l2", "cosine", "ip"]), st.lists(steps, max_size=40))
def test_programs_in_memory(metric, program):
    run = Program(metric, None)
    for step in program:
        run.run(*step)
    for space in SPACES:
        run.fetch(space)


@settings(max_examples=soak_count(300))
@given(metric=st.sampled_from(["l2", "cosine", "ip"]), program=st.lists(steps, max_size=40))
def test_programs_on_a_file_that_is_opened_again(tmp_path_factory, metric, program):
    run = Program(metric, tmp_path_factory.mktemp("program") / "p.db")
    for step in program:
        run.run(*step)
    run.open_again(True)
    for space in SPACES:
        run.fetch(space)
        run.query(space, [1, 2, 3], 6, None, None)
    run.store.close()


@pytest.mark.timeout(900)
def test_a_long_program(tmp_path):
    """Many writes to one file, opened again now and then; at its end every record is what was written last."""
    rng, store, expected = np.random.default_rng(0), VectorStore(8, "ip", tmp_path / "long.db"), {}
    for step in range(soak_count(2000)):
        picked = rng.integers(0, 300, size=rng.integers(1, 8)).tolist()
        if rng.random() < 0.3:
            store.delete([str(i) for i in picked])
            for i in picked:
                expected.pop(str(i), None)
        else:
            new = {str(i): rng.integers(-9, 9, 8).astype(np.float32).tolist() for i in picked}
            store.upsert(
                [{"id": id, "values": vector, "metadata": {"step": step}} for id, vector in new.items()]
            )
            expected |= new
        if step % 50 == 0:
            store = VectorStore(8, "ip", tmp_path / "long.db", verify=step % 500 == 0)
        if step % 20 == 0 and expected:
            query = rng.integers(-9, 9, 8).tolist()
            scores = sorted((float(np.dot(query, vector)) for vector in expected.values()), reverse=True)[:10]
            assert [match["score"] for match in store.query(query, 10)["matches"]] == scores
    found = store.fetch(store.list())["vectors"]
    assert {id: record["values"] for id, record in found.items()} == expected
    assert json.dumps(found)  # plain values throughout
