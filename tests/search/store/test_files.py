"""Files as they are found: deleted, replaced, full, linked, read-only, no store at all; backups and snapshots."""

import os
import sqlite3

import pytest

from minillm._files import BadFileError
from minillm.search import ExactIndex, VectorStore
from minillm.search.store import qdrant
from minillm.search.store.views import MetadataView
from tests.search.store.test_durability import run
from tests.search.store.test_verbs import FILMS, everything

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
        "    s.close()\n"
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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among the files")
def test_a_pipe_is_refused_and_not_waited_for(store, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for make in (lambda: VectorStore(2, path=pipe), lambda: VectorStore.open(pipe, read_only=True)):
        with pytest.raises(BadFileError, match="pipe' is refused: it is no ordinary file"):
            make()
    with pytest.raises(ValueError, match=r"path must be new or an older backup, got .*pipe"):
        store.backup(pipe)


def test_a_delete_by_filter_reads_the_metadata_before_it_takes_the_write_lock(store, monkeypatch):
    locked, seen, real = sqlite3.connect(store.path, isolation_level=None, timeout=0), [], MetadataView.put

    def put(self, rows):
        rows = list(rows)
        if rows:
            locked.execute("BEGIN IMMEDIATE")  # fails where the store is writing
            locked.execute("ROLLBACK")
            seen.extend(row.id for row in rows)
        return real(self, rows)

    monkeypatch.setattr(MetadataView, "put", put)
    store.delete(filter={"year": 2019})
    locked.close()
    assert seen == ["film#1", "film#2", "book#1"]
    assert store.list() == ["book#1", "film#2"]


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
