"""What survives: kill -9, a second process, a backup, a snapshot of the index; and files that are refused by name."""

import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile

import numpy as np
import pytest

from minillm._files import BadFileError
from minillm.search import ExactIndex, VectorStore
from tests.helpers import cuts, soak_count
from tests.processes import run
from tests.search.store.test_verbs import FILMS, everything


@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(os, "fork"), reason=f"{sys.platform} has no fork")
def test_every_acknowledged_record_survives_kill_9(tmp_path):
    kills = soak_count(200)
    found = json.loads(run("-m", "tests.search.store.killer", str(tmp_path), str(kills), "0", seconds=800))
    assert found["kills"] == kills
    assert found["acknowledged"] > 0
    assert found["torn"] > 0  # a log was left behind, which the next opening had to play in


def test_a_process_that_writes_imports_neither_torch_nor_numba(tmp_path):
    code = (
        "import sys; from minillm.search.store import VectorStore; s = VectorStore(2, path=sys.argv[1]);"
        "s.upsert([('a', [1, 2], {'x': 1})]); s.delete(filter={'x': 2}); s.fetch(['a']); s.close();"
        "print([name for name in ('torch', 'numba', 'matplotlib') if name in sys.modules])"
    )
    assert run("-c", code, str(tmp_path / "s.db")) == "[]\n"
    assert VectorStore.open(tmp_path / "s.db").list() == ["a"]


@pytest.fixture
def path(tmp_path):
    """A file with a store in it that was closed."""
    path = tmp_path / "films.db"
    with VectorStore(2, path=path) as store:
        store.upsert(FILMS)
        store.upsert([{**FILMS[0], "sparse_values": {"indices": [3], "values": [0.5]}}], namespace="b")
    return path


def test_readers_see_each_commit_and_one_state(path):
    writer = VectorStore(2, path=path)
    readers = [VectorStore.open(path, read_only=True) for _ in range(3)]
    for reader in readers:
        assert reader.query([1, 0], filter={"year": 2020})["matches"][0]["id"] == "film#2"
    writer.update("film#2", [1, 0], {"year": 1999})
    writer.delete(["film#1"])
    for reader in readers:
        assert [match["id"] for match in reader.query([1, 0])["matches"]] == ["film#2", "book#1"]
        assert reader.query([1, 0], filter={"year": 2020})["matches"] == []
        with pytest.raises(ValueError, match=r"films.db' was opened read-only"):
            reader.upsert(FILMS)
        with pytest.raises(ValueError, match="was opened read-only"):
            reader.set_token("")
    with writer._engine.file.transaction(write=True) as connection:
        connection.execute("DELETE FROM records")
        assert readers[0].list() == ["book#1", "film#2"]  # not committed
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")
    assert writer.list() == ["book#1", "film#2"]


def test_another_process_reads_and_writes_beside_this_one(path):
    store = VectorStore(2, path=path)
    assert len(store.query([1, 0])["matches"]) == 3
    code = (
        "import sys; from minillm.search.store import VectorStore; s = VectorStore(2, path=sys.argv[1]);"
        "print(s.list()); s.delete(['film#1']); s.upsert([('new', [1, 0])])"
    )
    assert run("-c", code, str(path)) == "['book#1', 'film#1', 'film#2']\n"
    assert [match["id"] for match in store.query([1, 0], 2)["matches"]] == ["new", "film#2"]


def test_two_writers_take_turns(path):
    one, other = VectorStore(2, path=path), VectorStore(2, path=path)
    for number in range(5):
        one.upsert([(f"one{number}", [1, 0])])
        other.upsert([(f"other{number}", [1, 0]), ("both", [number + 1, 0])])
        assert (
            len(one.query([1, 0], 50)["matches"]) == len(other.query([1, 0], 50)["matches"]) == 6 + 2 * number
        )
    one.close()
    other.close()
    VectorStore.open(path).close()  # its checksums add up


def test_a_writer_that_holds_the_file_for_too_long(path, monkeypatch):
    from minillm.search.store import sqlite_file

    monkeypatch.setattr(sqlite_file, "PATIENCE", 0.05)
    store, other = VectorStore(2, path=path), sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TimeoutError, match=r"films.db' is held by another writer"):
        store.upsert(FILMS)
    other.execute("ROLLBACK")
    other.close()
    assert store.upsert(FILMS) == {"upserted_count": 3}


def test_backup_and_restore_are_one_file(path, tmp_path):
    store = VectorStore(2, path=path)
    store.upsert([("late", [3, 4])])
    before = everything(store)
    copy = store.backup(tmp_path / "copies" / "films.backup")
    store.delete(delete_all=True)
    assert os.listdir(copy.parent) == ["films.backup"]
    with VectorStore.open(copy, read_only=True) as reader:
        assert everything(reader) == before
    assert os.listdir(copy.parent) == ["films.backup"]
    with VectorStore.restore(copy, tmp_path / "again.db") as restored:
        assert everything(restored) == before
        assert restored.query([3, 4], 1)["matches"][0]["id"] == "late"
        restored.delete(delete_all=True)
    with pytest.raises(ValueError, match=r"path must not exist: .*again.db"):
        VectorStore.restore(copy, tmp_path / "again.db")
    with pytest.raises(ValueError, match="must not be the store itself"):
        store.backup(path)
    with pytest.raises(ValueError, match="must not be a folder"):
        store.backup(tmp_path)
    memory = VectorStore(2)
    memory.upsert(FILMS)
    memory.backup(copy)  # an older backup is replaced
    assert VectorStore.open(copy).list() == ["book#1", "film#1", "film#2"]
    used = VectorStore.open(copy)
    used.upsert(FILMS)
    with pytest.raises(ValueError, match="must not be a store that is in use"):
        memory.backup(copy)


def test_a_backup_does_not_take_up_the_log_of_a_file_that_was_deleted(path, tmp_path):
    store = VectorStore(2, path=path)
    store.upsert([("late", [3, 4])])
    log = path.with_name("new.db-wal")
    shutil.copy(f"{path}-wal", log)  # new.db itself was deleted by hand
    memory = VectorStore(2)
    memory.upsert([("m", [1, 1])])
    memory.backup(path.with_name("new.db"))
    assert VectorStore.open(path.with_name("new.db")).list() == ["m"]


def test_what_is_no_store_is_refused_by_name(tmp_path, path):
    def refused(file, said, **options):
        with pytest.raises(BadFileError, match=rf"vector store .*{file.name}' is refused: {said}"):
            VectorStore.open(file, **options)

    text, empty, other, new = (tmp_path / name for name in ("text.db", "empty.db", "other.db", "new.db"))
    text.write_text("not a database, but long enough")
    empty.touch()
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    foreign = {file: file.read_bytes() for file in (text, other)}
    for options in ({}, {"read_only": True}):
        refused(tmp_path / "gone.db", "there is no such file", **options)
        refused(tmp_path, "it is a folder", **options)
        refused(text, "it is no SQLite file", **options)
        refused(empty, "it is empty", **options)
        refused(other, "it is a SQLite file of another kind", **options)
    for file, before in foreign.items():
        with pytest.raises(BadFileError, match=f"{file.name}' is refused"):
            VectorStore(2, path=file)
        assert file.read_bytes() == before
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    refused(path, "its format is version 2, this minillm reads version 1")
    assert not (tmp_path / "gone.db").exists()
    VectorStore(2, path=empty).close()  # an empty file is a new one where one may be made
    with pytest.raises(ValueError, match=r"has dim 2 and metric 'cosine', got dim 3 and metric 'cosine'"):
        VectorStore(3, path=empty)
    with pytest.raises(ValueError, match=r"has dim 2 and metric 'cosine', got dim 2 and metric 'l2'"):
        VectorStore(2, "l2", path=empty)
    with pytest.raises(BadFileError, match="there is no such file"):
        VectorStore(2, path=new, read_only=True)


def open_copy(path, data):
    """All that can be read of a file with these bytes; the refusal, if it is refused."""
    path.write_bytes(data)
    try:
        with VectorStore.open(path, read_only=True) as store:
            return everything(store)
    except BadFileError as error:
        return str(error)


def test_a_file_cut_short_is_refused_by_name(path):
    data, cut = path.read_bytes(), path.with_name("cut.db")
    for length in cuts(data):
        assert "cut.db' is refused" in open_copy(cut, data[:length]), length


def test_a_flipped_bit_is_refused_by_name_or_harmless(path):
    """One in free space may do no harm, but none ever changes an answer."""
    with VectorStore.open(path) as store:
        expected = everything(store)
    data, flipped, rng, refused = path.read_bytes(), path.with_name("flipped.db"), random.Random(0), 0
    used = [place for place, byte in enumerate(data) if byte]
    places = rng.choices(used, k=soak_count(3000)) + [rng.randrange(len(data)) for _ in range(20)]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.randrange(8)
        found = open_copy(flipped, bytes(damaged))
        assert found == expected or "flipped.db' is refused" in found, f"byte {place}"
        refused += found != expected
    assert refused > len(places) // 2


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE records SET vector = zeroblob(8) WHERE id = 'film#1'",
        "UPDATE records SET metadata = '{}' WHERE id = 'film#1'",
        "UPDATE records SET namespace = 2 WHERE id = 'film#2'",
        "DELETE FROM records WHERE id = 'film#1'",
        "UPDATE namespaces SET name = 'c' WHERE name = 'b'",
        "DELETE FROM namespaces WHERE name = 'b'",
        "UPDATE settings SET metric = 'l2'",
    ],
)
def test_rows_that_do_not_add_up_are_refused(path, damage):
    connection = sqlite3.connect(path)
    connection.execute(damage)
    connection.commit()
    connection.close()
    with pytest.raises(BadFileError, match=r"films.db' is refused: damaged"):
        VectorStore.open(path)


def test_a_record_that_is_damaged_while_the_store_is_open_is_not_returned(path):
    store = VectorStore(2, path=path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE records SET vector = zeroblob(8) WHERE id = 'film#1' AND namespace = 1")
    connection.commit()
    connection.close()
    for call in (lambda: store.fetch(["film#1"]), lambda: store.query([1, 0])):
        with pytest.raises(
            BadFileError, match=r"films.db' is refused: damaged \(the checksum of record 'film#1'"
        ):
            call()
    assert list(store.fetch(["film#2"])["vectors"]) == ["film#2"]


class CountedIndex(ExactIndex):
    """Counts what is added, to tell an index that was loaded from one that was built."""

    added = 0

    def add(self, vectors, ids=None):
        CountedIndex.added += len(vectors)
        return super().add(vectors, ids)


def test_an_index_is_loaded_from_its_snapshot_and_goes_on_from_there(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "s.db"
    vectors = rng.normal(size=(60, 4)).astype(np.float32)

    def opened():
        CountedIndex.added = 0
        return VectorStore(4, "l2", path, index=CountedIndex)

    def answer(store):
        return [match["id"] for match in store.query(vectors[7], 5)["matches"]]

    with opened() as store:
        store.upsert([(str(i), vectors[i]) for i in range(50)])
        first = answer(store)
        assert CountedIndex.added == 50
    assert [file.name for file in tmp_path.glob("*.index")] == ["s.db.1-1.index"]
    with opened() as store:
        assert answer(store) == first
        assert CountedIndex.added == 0
        store.upsert([(str(i), vectors[i]) for i in range(50, 60)])
        store.delete(["7", "8"])
        store.update("9", vectors[7])
    with opened() as store:  # was not asked, so nothing new was kept
        assert answer(store)[0] == "9"
        assert CountedIndex.added == 11
    assert [file.name for file in tmp_path.glob("*.index")] == ["s.db.1-4.index"]
    snapshot = tmp_path / "s.db.1-4.index"
    data = bytearray(snapshot.read_bytes())
    data[-5] ^= 4
    for content in (bytes(data), b"", None):
        snapshot.unlink(missing_ok=True)
        if content is not None:
            snapshot.write_bytes(content)
        with opened() as store:
            assert answer(store)[0] == "9"
            assert CountedIndex.added == 58  # built anew
        with opened() as store:
            assert answer(store)[0] == "9"
            assert CountedIndex.added == 0  # and kept again
    with VectorStore(4, "l2", path) as exact:
        assert answer(exact)[0] == "9"


@pytest.mark.skipif(os.name == "nt", reason="the rights of a folder do not bind Windows")
def test_a_read_only_folder_can_be_read():
    """No log is beside the file, and none can be made: it is read as it lies there."""
    code = (
        "import os, sys, urllib.parse; from minillm.search.store import VectorStore; VectorStore(2).list();"
        "os.geteuid() or os.seteuid(65534);"  # the rights of a folder do not bind root
        "print(os.access(os.path.dirname(sys.argv[1]), os.W_OK, effective_ids=True));"
        "print(VectorStore.open(sys.argv[1], read_only=True).list())"
    )
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path: only its owner can get there
        path = os.path.join(folder, "s.db")
        with VectorStore(2, path=path) as store:
            store.upsert(FILMS)
        os.chmod(folder, 0o555)
        try:
            assert run("-c", code, path) == "False\n['book#1', 'film#1', 'film#2']\n"
        finally:
            os.chmod(folder, 0o700)
