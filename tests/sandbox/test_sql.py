"""SQLSandbox: ordinary queries give what sqlite3 gives, and no statement writes, reads outside, or runs on."""

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from minillm._files import BadFileError
from minillm.sandbox import Failed, Refused, SandboxError, SQLProcess, SQLSandbox, TooMuch, sql
from tests.helpers import soak_count
from tests.sandbox import statements as tried

SCRIPT = """
CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, age INT, size REAL, photo BLOB);
INSERT INTO people VALUES (1, 'Ann', 41, 1.7, x'00ff'), (2, '서연', 35, 1.65, NULL), (3, 'Bo', 9, NULL, NULL),
    (4, 'Ann', NULL, 1.7, NULL);
CREATE INDEX by_name ON people(name);
CREATE VIEW adults AS SELECT * FROM people WHERE age >= 18;
CREATE VIEW trap AS SELECT load_extension('x') FROM people;
"""
SECRET = "nobody shall read this"


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A folder with a database and a file that is none of a statement's business."""
    folder = tmp_path_factory.mktemp("ours")
    outside = sqlite3.connect(folder / "outside.sqlite")
    outside.executescript(f"CREATE TABLE secret (x); INSERT INTO secret VALUES ('{SECRET}')")
    outside.close()
    made = sqlite3.connect(folder / "people.sqlite")
    made.executescript(SCRIPT)
    with suppress(sqlite3.OperationalError):  # an SQLite without full-text search has no such table at all
        made.execute("CREATE VIRTUAL TABLE notes USING fts5(x)")
    made.close()
    return folder


@pytest.fixture(scope="module")
def box(ours):
    with SQLSandbox(ours / "people.sqlite", seconds=20) as sandbox:
        yield sandbox


def snapshot(folder):
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
        for path in folder.iterdir()
    }


def meets(box, statement):
    try:
        return box.run(statement)
    except SandboxError as error:
        return error


def with_paths(statement, ours):
    return statement.replace("OUTSIDE", str(ours / "outside.sqlite"))


def test_no_statement_writes_or_reads_outside_or_runs_on(box, ours):
    """All of them, one after the other, through both walls; then every file is as it was."""
    before, began, tally = snapshot(ours), time.process_time(), 0
    folder = os.getcwd(), sorted(os.listdir("."))
    refused = [
        *tried.FIRST_WALL.values(), *tried.TABLES.values(), *tried.SEVERAL.values(), *tried.BOMBS.values(),
        *(f"SELECT {call} FROM people" for call in tried.FUNCTIONS.values()),
        *(f"SELECT name FROM people WHERE {call} IS NULL ORDER BY {call}" for call in tried.FUNCTIONS.values()),
    ]  # fmt: skip
    for statement in refused:
        found = meets(box, with_paths(statement, ours))
        assert isinstance(found, SandboxError), (statement[:80], found)
        assert SECRET not in str(found)
        tally += 1
    assert snapshot(ours) == before
    assert (os.getcwd(), sorted(os.listdir("."))) == folder
    assert tally >= 190
    assert box.run("SELECT count(*) FROM people") == [(4,)]
    assert time.process_time() - began < 60


@pytest.mark.parametrize("name", [*tried.WRITING, *tried.SETTINGS, *tried.OUT])
def test_the_first_wall_names_what_it_lets_through(box, ours, name):
    statement = with_paths((tried.WRITING | tried.SETTINGS | tried.OUT)[name], ours)
    said = "anything but a query" if statement.startswith("WITH") else "only a query"
    with pytest.raises(Refused, match=said):
        box.run(statement)


def test_the_second_wall_holds_alone(ours, monkeypatch):
    """As if the first had a hole: SQLite itself is asked to do it."""
    monkeypatch.setattr(sql, "check_statement", lambda statement: statement)
    before = snapshot(ours)
    with SQLSandbox(ours / "people.sqlite") as box:
        for name, statement in (tried.WRITING | tried.SETTINGS | tried.OUT).items():
            found = meets(box, with_paths(statement, ours))
            if name in ("explain", "plan"):  # they read nothing but the plan of a query that is allowed
                assert not isinstance(found, SandboxError)
            else:
                assert isinstance(found, (Refused, Failed)), (name, found)
    assert snapshot(ours) == before


@pytest.mark.parametrize("name", tried.FUNCTIONS)
def test_functions_are_those_of_the_list(box, ours, name):
    with pytest.raises((Refused, Failed), match=r"not allowed|no such function|wrong number|unable to use"):
        box.run(f"SELECT {with_paths(tried.FUNCTIONS[name], ours)} FROM people")


@pytest.mark.parametrize("name", tried.TABLES)
def test_tables_are_those_of_the_file(box, ours, name):
    with pytest.raises(
        (Refused, Failed),
        match=r"not allowed|no such table|no such module|syntax error|prohibited|unsafe use",
    ):
        box.run(with_paths(tried.TABLES[name], ours))


@pytest.mark.parametrize("name", tried.SEVERAL)
def test_one_statement_at_a_time(box, ours, name):
    with pytest.raises(Refused, match="more than one statement"):
        box.run(with_paths(tried.SEVERAL[name], ours))


@pytest.mark.parametrize("name", tried.HARMLESS)
def test_queries_are_answered(box, name):
    statement, rows = tried.HARMLESS[name]
    assert box.run(statement) == rows


def test_many_random_queries_give_what_sqlite3_gives(box, ours):
    rng = random.Random(0)
    plain = sqlite3.connect(f"file:{ours / 'people.sqlite'}?mode=ro", uri=True)
    parts = [
        "id",
        "name",
        "age",
        "size",
        "photo",
        "age + 1",
        "upper(name)",
        "count(*)",
        "avg(age)",
        "max(size)",
        "NULL",
    ]
    for _ in range(soak_count(2000)):
        chosen = ", ".join(rng.choices(parts, k=rng.randint(1, 4)))
        where = rng.choice(["", " WHERE age > 20", " WHERE name LIKE 'A%'", " WHERE size IS NULL"])
        group = rng.choice(["", " GROUP BY name", " GROUP BY age"])
        query = f"SELECT {chosen} FROM people{where}{group} ORDER BY 1"
        expected = plain.execute(query)
        found = box.query(query)
        assert found.rows == expected.fetchall()
        assert found.columns == tuple(one[0] for one in expected.description)
    plain.close()


def test_steps_are_counted_so_it_ends_at_the_same_place(ours):
    """The smallest number of steps that answers is the same in another process."""

    def least(box):
        low, high = 1, 10_000_000
        while low < high:
            box.steps = middle = (low + high) // 2
            if isinstance(meets(box, query), TooMuch):
                low = middle + 1
            else:
                high = middle
        return low

    query = "SELECT count(*) FROM people a, people b, people c, people d"
    found = []
    for _ in range(2):
        with SQLSandbox(ours / "people.sqlite") as box:
            found.append(least(box))
    assert found[0] == found[1] > 256


def test_an_answer_has_limits(ours):
    with SQLSandbox(ours / "people.sqlite", rows=4) as box:
        assert len(box.run("SELECT * FROM people")) == 4
        with pytest.raises(TooMuch, match="more than 4 rows"):
            box.run("SELECT * FROM people UNION ALL SELECT * FROM people")
    long = "substr(replace(replace('aaaaaaaaaa', 'a', 'bbbbbbbbbb'), 'b', 'cccccccccccccccccccc'), 1)"
    many = (
        f"WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a WHERE x < 600) SELECT {long} FROM a"
    )
    with (
        SQLSandbox(ours / "people.sqlite") as box,
        pytest.raises(TooMuch, match="more than 1,000,000 characters"),
    ):
        box.run(many)


def test_the_clock_ends_what_steps_do_not(ours, monkeypatch):
    """A process that does not answer is ended, and the next query has a new one."""
    child = ours.parent / "stuck.py"
    child.write_text("import sys, time\nprint('ready', flush=True)\nsys.stdin.readline()\ntime.sleep(600)\n")
    with SQLSandbox(ours / "people.sqlite") as box:
        box.close()
        box.seconds = 0.2
        monkeypatch.setattr(sql, "CHILD", child)
        with pytest.raises(TooMuch, match=r"more than 0\.2 seconds"):
            box.run("SELECT 1")
        child.write_text("import sys\nprint('ready', flush=True)\nsys.stdin.readline()\n")
        with pytest.raises(TooMuch, match="has died"):
            box.run("SELECT 1")
        child.write_text("import time\ntime.sleep(600)\n")
        monkeypatch.setattr(sql, "START", 0.2)
        with pytest.raises(TooMuch, match=r"more than 0\.2 seconds"):
            box.run("SELECT 1")
        monkeypatch.undo()
        box.seconds = 20.0
        assert box.run("SELECT 1") == [(1,)]


def test_sandboxes_share_a_process_and_threads_a_sandbox(ours):
    with SQLProcess() as process:
        boxes = [SQLSandbox(ours / "people.sqlite", process=process)]
        boxes += [
            SQLSandbox(script=f"CREATE TABLE t (x); INSERT INTO t VALUES ({i})", process=process)
            for i in range(3)
        ]
        wrong = []

        def ask(i):
            for _ in range(20):
                if boxes[i + 1].run("SELECT x FROM t") != [(i,)]:
                    wrong.append(i)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        boxes[0].close()  # it is not its own
        assert boxes[1].schema() == ["CREATE TABLE t (x)"]
        few = SQLSandbox(script="CREATE TABLE sqlites (x); CREATE TABLE b (y);", rows=1, process=process)
        assert few.schema() == ["CREATE TABLE sqlites (x)", "CREATE TABLE b (y)"]
        with pytest.raises(SandboxError):
            boxes[1].run("DELETE FROM t")


def test_the_process_ends_with_its_owner(ours):
    code = (
        "from minillm.sandbox import SQLSandbox\n"
        f"box = SQLSandbox({str(ours / 'people.sqlite')!r})\n"
        "box.run('SELECT 1'); print(box._process._child.pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


# --- files ---


def refused(path, words):
    with pytest.raises(BadFileError, match=words):
        SQLSandbox(path)


def test_what_is_no_database_is_named(tmp_path):
    for name, data, words in (
        ("empty", b"", "is empty"), ("text", b"name,age\nAnn,41\n" * 20, "no SQLite database"),
        ("short", b"SQLite format 3\0", "no SQLite database"), ("zero", bytes(4096), "no SQLite database"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, words)
    refused(tmp_path / "absent", "No such file")
    refused(tmp_path, "directory|Permission")


def test_a_cut_or_damaged_database_is_named(ours, tmp_path):
    data = (ours / "people.sqlite").read_bytes()
    for place, damaged in enumerate(
        (data[:1000], data[:100] + bytes(len(data) - 100), data[:16] + bytes(84) + data[100:])
    ):
        path = tmp_path / f"{place}.sqlite"
        path.write_bytes(damaged)
        with pytest.raises(BadFileError, match="cannot be read"), SQLSandbox(path) as box:
            box.run("SELECT * FROM people")


def test_a_log_that_is_not_in_the_file_is_named(tmp_path):
    path = tmp_path / "wal.sqlite"
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE t (x)")
    writer.commit()
    before = path.read_bytes()
    refused(path, r"a log \(WAL\) .* wal_checkpoint")
    assert path.read_bytes() == before
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    writer.close()
    names = sorted(os.listdir(tmp_path))
    with SQLSandbox(path) as box:
        assert box.schema() == ["CREATE TABLE t (x)"]
    assert sorted(os.listdir(tmp_path)) == names  # no -wal, no -shm


def test_a_locked_database_is_named(tmp_path):
    path = tmp_path / "locked.sqlite"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE t (x)")
    with SQLSandbox(path) as box:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BadFileError, match="locked"):
            box.run("SELECT * FROM t")
        writer.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(BadFileError, match=r"journal of a write|locked"):
            box.run("SELECT * FROM t")
        writer.execute("COMMIT")
        writer.close()
        assert box.run("SELECT * FROM t") == [(1,)]


def test_odd_names_and_encodings_are_read(tmp_path):
    path = tmp_path / "a b?c#d%41&mode=rwc 한글.sqlite"
    made = sqlite3.connect(path)
    made.executescript(
        'PRAGMA encoding = \'UTF-16le\'; CREATE TABLE "틀 ""x" ("열 1"); INSERT INTO "틀 ""x" VALUES (\'값\')'
    )
    made.close()
    with SQLSandbox(str(path)) as box:
        assert box.query('SELECT "열 1" FROM "틀 ""x"') == (("열 1",), [("값",)])
    assert os.listdir(tmp_path) == [path.name]


def test_bad_arguments_are_named(ours):
    path = ours / "people.sqlite"
    for given, words in (
        ({}, "needs a db or a script, got neither"), ({"db": path, "script": "SELECT 1"}, "got both"),
        ({"db": 7}, "db must be a path"),
        ({"db": path, "steps": 0}, "steps must be at least 1"), ({"db": path, "rows": 1.5}, "rows must be an integer"),
        ({"db": path, "seconds": 0}, "seconds must be"), ({"db": path, "process": 3}, "process must be an SQLProcess"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            SQLSandbox(**given)
    with SQLSandbox(path) as box:
        for statement in (b"SELECT 1", None, 7):
            with pytest.raises(ValueError, match="sql must be a str"):
                box.run(statement)
    with pytest.raises(Failed, match=r"incomplete|syntax"):
        SQLSandbox(script="CREATE TABLE")
