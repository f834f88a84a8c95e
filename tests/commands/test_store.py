"""`minillm index --store FILE` and `minillm search --store FILE`: the same passages, found in a vector store."""

import json

import pytest

from minillm.cli import main
from minillm.search import PassageIndex, VectorStore
from tests.commands.test_search import folder

__all__ = ["folder"]  # the fixture, which pytest finds by its name
QUERIES = ["exception handler", "global names", "augmented operators"]


@pytest.fixture
def asked(capsys):
    def call(*arguments, code=0):
        assert main([*map(str, arguments)]) == code
        out = capsys.readouterr()
        return out.err if code else json.loads(out.out)

    return call


@pytest.fixture
def store(folder, tmp_path, monkeypatch):
    """A store that was filled from the index."""
    from argparse import Namespace

    from minillm.commands._store import keep_passages

    index, path = PassageIndex.load(folder), tmp_path / "kept.db"
    with VectorStore(index.dense.index.dim, path=path) as other:
        other.upsert([("mine", [1.0] * other.dim)])
    options = Namespace(store=path, namespace=None)
    counts = keep_passages(index, folder, options)
    assert counts["kept"] + counts["without"] == len(index)
    assert counts["written"] == counts["kept"]
    assert keep_passages(index, folder, options) == {**counts, "written": 0}
    with VectorStore.open(path) as filled:
        filled.upsert([{"id": "old#0", "values": [1.0] * filled.dim, "metadata": {"kind": "passage"}}])
        filled.update(filled.list()[5], set_metadata={"title": "changed"})
    assert keep_passages(index, folder, options) == {**counts, "written": 1, "removed": 1}
    with VectorStore.open(path) as filled:
        assert filled.list("mine") == ["mine"]  # a record that is no passage stays
    return path


def test_search_finds_the_same_passages_in_the_store(asked, folder, store):
    for query in QUERIES:
        command = ["search", folder, query, "-k", 5, "--json"]
        stored, indexed = asked(*command, "--store", store), asked(*command, "--mode", "dense")
        scores = [[row.pop("score") for row in rows] for rows in (stored, indexed)]
        assert stored == indexed
        assert scores[0] == pytest.approx(scores[1], abs=2e-4)  # rounded from float64, and from float32
    rows = asked(*command, "--store", store, "--filter", '{"document": "with"}')
    assert rows
    assert {row["id"].split("#")[0] for row in rows} == {"with"}
    assert asked(*command, "--store", store, "--namespace", "elsewhere") == []
    assert asked("search", folder, "qqqq", "--json", "--store", store, "--filter", "{}") is not None


def test_what_does_not_fit_is_said_in_one_line(asked, folder, store, tmp_path):
    def refusal(*options):
        return asked("search", folder, QUERIES[0], *options, code=1)

    assert "--store ranks by vectors: --mode dense, got --mode bm25" in refusal(
        "--store", store, "--mode", "bm25"
    )
    assert "--filter and --namespace need --store" in refusal("--filter", "{}")
    assert "--filter must be JSON" in refusal("--store", store, "--filter", "document=with")
    assert "unknown filter operator '$like'" in refusal(
        "--store", store, "--filter", '{"title": {"$like": 1}}'
    )
    assert "there is no such file" in refusal("--store", tmp_path / "none.db")
    with VectorStore.open(store) as other:
        ids = [id for id in other.list() if id != "mine"]
        for id in ids:
            other.update(id, other.fetch([ids[0]])["vectors"][ids[0]]["values"])
    assert "was filled from another index" in refusal("--store", store)


def test_index_refuses_a_store_before_the_work_starts(asked, tmp_path):
    text, path = tmp_path / "songs.db", tmp_path / "s.db"
    text.write_text("no store at all")
    with VectorStore(3, path=path) as store:
        store.set_token("mine")

    def refusal(store, *options):
        arguments = ["--out", tmp_path / "index", "--store", store, *options]
        return asked("index", tmp_path / "nothing.txt", *arguments, code=1)

    assert "songs.db' is refused: it is no SQLite file" in refusal(text)
    assert "is refused: it is a folder" in refusal(tmp_path)
    assert "namespace 'mine' needs its access token" in refusal(path, "--namespace", "mine")
    assert "nothing.txt" in refusal(path)  # the store is fine, the text is not there


@pytest.mark.soak
def test_index_keeps_its_vectors_in_the_store(asked, tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(30):
        (texts / f"{number}.txt").write_text(
            f"Note {number} tells of the {['cat', 'dog', 'owl'][number % 3]}. " * 30
        )
    command = [
        "index",
        texts,
        "--out",
        tmp_path / "index",
        "--store",
        tmp_path / "s.db",
        "--namespace",
        "n",
        "--json",
    ]
    figures = asked(*command)
    with VectorStore.open(tmp_path / "s.db") as store:
        assert len(store.list(namespace="n")) == figures["store"]["kept"] == figures["store"]["written"] > 0
