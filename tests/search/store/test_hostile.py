"""What happens to a store in the real world: files deleted, replaced or full, forks, links, odd names, misuse."""

import copy
import gc
import os
import pickle
import sqlite3

import numpy as np
import pytest

from minillm._files import BadFileError
from minillm.search import ExactIndex, VectorStore, hybrid_weights
from minillm.search.store import engine, matches, qdrant
from tests.search.store.test_durability import run
from tests.search.store.test_verbs import FILMS, WordEncoder, everything

on_posix = pytest.mark.skipif(os.name == "nt", reason="Windows keeps a file that is open")


class OwnIndex(ExactIndex):
    """An index of the user's, which is kept as a snapshot."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "films.db"


@pytest.fixture
def store(path):
    with VectorStore(2, "ip", path) as store:
        store.upsert(FILMS)
        yield store


# --- the file -------------------------------------------------------------------------------------------------


@on_posix
def test_a_write_into_a_file_that_was_deleted_is_not_acknowledged(store, path):
    path.unlink()
    for verb in (lambda: store.upsert(FILMS), store.list, lambda: store.query([1, 0])):
        with pytest.raises(BadFileError, match=r"films.db' is refused: it was deleted while it was open"):
            verb()
    with VectorStore(2, "ip", path) as new:  # nor does the old log come back
        assert new.list() == []
        with pytest.raises(BadFileError, match="another file was put in its place"):
            store.upsert(FILMS)
        new.upsert([("a", [1, 0])])
        assert new.list() == ["a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_must_open_the_store_again(tmp_path):
    code = (
        "import os, sys; from minillm.search.store import VectorStore; s = VectorStore(2, path=sys.argv[1])\n"
        "s.upsert([('a', [1, 0])])\n"
        "if os.fork() == 0:\n"
        "    try: s.upsert([('b', [1, 0])])\n"
        "    except ValueError as error: print(error, flush=True)\n"
        "    VectorStore(2, path=sys.argv[1]).upsert([('c', [1, 0])]); os._exit(0)\n"
        "os.wait(); print(s.list())"
    )
    said = run("-c", code, str(tmp_path / "s.db")).splitlines()
    assert said[0].endswith("was opened by another process: open it again in this one")
    assert said[1:] == ["['a', 'c']"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_two_processes_write_while_others_read(tmp_path):
    """Stores are opened and closed all the time: the last one out folds the log into the file."""
    code = """
import os, sys, traceback
from minillm.search.store import VectorStore

path, children = sys.argv[1], []
VectorStore(2, path=path).close()

def work(number):
    for turn in range(6):
        if number < 2:
            with VectorStore(2, path=path) as store:
                for batch in range(2):
                    store.upsert([(f"{number}-{turn}-{batch}-{i}", [1, i]) for i in range(5)])
        else:
            seen = 0
            with VectorStore.open(path, read_only=True) as store:
                for look in range(10):
                    before, ids = store.stats()["total_vector_count"], store.list()
                    assert seen <= before <= len(ids) and len(ids) % 5 == before % 5 == 0
                    seen = before

for number in range(4):
    child = os.fork()
    if not child:
        try:
            work(number)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children], len(VectorStore.open(path).list()))
"""
    assert run("-c", code, str(tmp_path / "s.db")) == "[0, 0, 0, 0] 120\n"


def test_a_path_is_the_same_file_after_chdir_and_never_memory(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = VectorStore(2, path="s.db", index=OwnIndex)
    store.upsert(FILMS)
    store.query([1, 0])
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="the store itself"):
        store.backup(tmp_path / "s.db")
    store.close()
    assert [file.name for file in tmp_path.glob("*.index")] == ["s.db.1-1.index"]
    assert os.listdir() == []
    if os.name != "nt":
        with VectorStore(2, path=":memory:") as store:
            store.upsert(FILMS)
        assert len(VectorStore.open(":memory:").list()) == 3


@on_posix
def test_a_link_to_a_store_is_the_store(tmp_path):
    real, folder = tmp_path / "s.db", tmp_path / "links"
    folder.mkdir()
    link = folder / "link.db"
    link.symlink_to(real)
    with VectorStore(2, path=real) as writer, VectorStore(2, path=link, index=OwnIndex) as other:
        other.upsert(FILMS)
        assert len(writer.list()) == len(other.query([1, 0])["matches"]) == 3
        with pytest.raises(ValueError, match="path must not be the store itself"):
            writer.backup(link)
    assert os.listdir(folder) == ["link.db"]  # log and snapshot lie beside the file
    assert (tmp_path / "s.db.1-1.index").exists()
    nowhere = tmp_path / "nowhere.db"
    nowhere.symlink_to(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"path must not exist: .*nowhere.db"):
        VectorStore.restore(real, nowhere)


@on_posix
def test_a_reader_in_a_read_only_folder_sees_what_others_write_later(tmp_path):
    code = """
import os, sys, tempfile
from minillm.search.store import VectorStore

warm = VectorStore(2)  # imports what a query needs, before nobody may read it
warm.upsert([("a", [1, 0])])
warm.query([1, 0])

def may_write(yes):
    if os.getuid() == 0:
        os.seteuid(0)
    os.chmod(folder, 0o755 if yes else 0o555)
    if os.getuid() == 0 and not yes:
        os.seteuid(65534)  # the rights of a folder do not bind root

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "s.db")
    with VectorStore(2, path=path) as store:
        store.upsert([("a", [1, 0])])
    may_write(False)
    reader = VectorStore.open(path, read_only=True)
    found = [reader.list()]
    may_write(True)
    with VectorStore(2, path=path) as store:
        store.upsert([(f"b{i}", [1, 0], {"pad": "x" * 1000}) for i in range(50)])
        store.delete(["a"])
    may_write(False)
    found.append(reader.list())
    found.append(reader.query([1, 0], 60)["matches"][-1]["id"])
    reader.close()
    may_write(True)
    print(found[0], len(found[1]), found[1][0], found[2])
"""
    assert run("-c", code) == "['a'] 50 b0 b49\n"


def test_a_full_disk_leaves_the_store_as_it_was(store):
    before = everything(store)
    store._engine.file._connection.execute("PRAGMA max_page_count = 20")
    with pytest.raises(OSError, match=r"films.db': .*full"):
        store.upsert([(str(number), [1, 0], {"pad": "x" * 3000}) for number in range(100)])
    assert everything(store) == before
    assert store.upsert([("small", [1, 0])]) == {"upserted_count": 1}


# --- backups and snapshots ------------------------------------------------------------------------------------


def test_a_backup_replaces_no_file_of_another_kind(store, tmp_path):
    thesis, songs = tmp_path / "thesis.txt", tmp_path / "songs.db"
    thesis.write_text("years of work")
    connection = sqlite3.connect(songs)
    connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    for file in (thesis, songs):
        before = file.read_bytes()
        with pytest.raises(ValueError, match=f"path must be new or an older backup, got .*{file.name}"):
            store.backup(file)
        assert file.read_bytes() == before


def test_a_backup_has_no_gaps_and_nothing_that_was_deleted(store, path, tmp_path):
    secret = "private " * 400
    store.upsert([(str(number), [1, 0], {"pad": secret}) for number in range(100)])
    large = store.backup(tmp_path / "large.db").stat().st_size
    store.delete([str(number) for number in range(100)])
    small = store.backup(tmp_path / "small.db")
    assert small.stat().st_size < large / 5
    assert b"private private" not in small.read_bytes()
    with VectorStore.restore(small, tmp_path / "again.db") as again:
        assert everything(again) == everything(store)
    assert not [name for name in os.listdir(tmp_path) if ".part" in name]


def test_snapshots_leave_files_of_the_user_alone(tmp_path):
    mine = [tmp_path / name for name in ("notes.songs.index", "notes.index", "notes.b.1-2.index")]
    for file in mine:
        file.write_text("mine")
    for turn in range(2):
        with VectorStore(2, path=tmp_path / "notes", index=OwnIndex) as store:
            store.upsert([(f"a{turn}", [1, 0])])
            store.query([1, 0])
    assert [file.name for file in sorted(tmp_path.glob("*.index"))] == sorted(
        [file.name for file in mine] + ["notes.1-2.index"]
    )


def test_a_snapshot_that_cannot_be_kept_does_not_stop_close(tmp_path, monkeypatch):
    store = VectorStore(2, path=tmp_path / "s.db", index=OwnIndex)
    store.upsert(FILMS)
    store.query([1, 0])

    def full(self, path):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(OwnIndex, "save", full)
        with pytest.raises(OSError, match="no space left"):
            store.save_index()  # who asks for it is told
        store.close()
    with VectorStore(2, path=tmp_path / "s.db", index=OwnIndex) as store:
        assert len(store.query([1, 0])["matches"]) == 3


def test_from_qdrant_leaves_no_half_of_a_store(tmp_path, monkeypatch):
    def read_points(client, collection):
        yield {"": FILMS}
        raise ConnectionError("gone")

    monkeypatch.setattr(qdrant, "read_shape", lambda client, collection: (2, "ip"))
    monkeypatch.setattr(qdrant, "read_points", read_points)
    with pytest.raises(ConnectionError):
        VectorStore.from_qdrant(None, "films", tmp_path / "s.db")
    assert os.listdir(tmp_path) == []


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
        (("abc", {"indices": [1], "values": [1]}, 0.5), r"dense must be numbers \(D,\), got 'abc'"),
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
