"""SQL that a model wrote, run on somebody's database so that it can do no harm: `SQLSandbox(db).run(sql)`.

    what it cannot                        who holds it
    write, attach, change settings        the file is opened read-only and immutable; query_only; the authorizer
    read what is no table of this file    the authorizer: tables and views by name, functions by a list
    run on                                machine steps are counted, so it ends at the same place everywhere
    grow                                  100,000 characters a text, rows and characters of an answer, bytes of the heap
    stop us                               it runs in another process, which is ended after `seconds`
    leave something behind                a new connection for each statement

The database file stays as it is, byte for byte. Book: 6.2 성능 평가 파이프라인 준비하기.
Held against: the statements of tests/sandbox/statements.py. Left out: databases other than SQLite; virtual tables
(full-text indexes); what a statement learns from its own time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from minillm._checks import check_int, check_number, check_path, check_text, describe
from minillm._files import BadFileError
from minillm.sandbox.meter import Failed, Refused, TooMuch
from minillm.sandbox.processes import seconds_left, waited

CHILD = Path(__file__).parent / "child" / "sql_main.py"
MOST_SQL = 100_000  # characters of a statement
MOST_TABLES = 10_000  # of a schema that is shown, whatever the rows of an answer may be
START = 60.0  # seconds for the other process to start
_SPACE = re.compile(r"(?:\s|--[^\n]*(?:\n|\Z)|/\*(?:[^*]|\*(?!/))*\*/)*")  # and comments
_QUERY = re.compile(r"(?:select|with|values)\b", re.IGNORECASE)


class Answer(NamedTuple):
    """What a query found: the names of its columns, and its rows as tuples of int, float, str, bytes and None."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class SQLSandbox:
    """A database that a stranger may ask, and nothing else.

    db: the path of an SQLite file; or, with `script`, None: tables in memory that your own script of CREATE and INSERT
    makes anew for each query. steps: of SQLite's machine, a few for each row that it looks at. rows: of an answer.
    seconds: of the clock, without the time in which it waits for a processor. process: an SQLProcess that several
    sandboxes share. Close it, or use `with`.

    Raises BadFileError for a file that is missing, empty, no database, locked, or not whole without what stands in the
    log beside it (WAL); ValueError for other arguments.
    """

    def __init__(
        self,
        db: str | Path | None = None,
        script: str | None = None,
        steps: int = 10_000_000,
        rows: int = 10_000,
        seconds: float = 10.0,
        process: SQLProcess | None = None,
    ) -> None:
        if (db is None) == (script is None):
            raise ValueError(f"a sandbox needs a db or a script, got {'neither' if db is None else 'both'}")
        self.path = None if db is None else check_path("db", db)
        self.script = None if script is None else check_text("script", script)
        self.steps, self.rows = check_int("steps", steps, 1), check_int("rows", rows, 1)
        self.seconds = check_number("seconds", seconds, 0.01, 3600)
        if process is not None and not isinstance(process, SQLProcess):
            raise ValueError(f"process must be an SQLProcess, got {describe(process)}")
        self._process, self._own = process or SQLProcess(), process is None
        try:
            self._ask(None)  # a file or a script that will not do is said now
        except BaseException:
            self.close()
            raise

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query. Refused, TooMuch or Failed (all SandboxError, a ValueError) where it gives none."""
        return self.query(sql).rows

    def query(self, sql: str) -> Answer:
        """(columns, rows) of a query; errors as `run`."""
        return self._ask(check_statement(sql))

    def _ask(self, sql: str | None, rows: int | None = None) -> Answer:
        given = {
            "path": None,
            "uri": None,
            "script": self.script,
            "sql": sql,
            "steps": self.steps,
            "rows": rows or self.rows,
        }
        before = None
        if self.path is not None:
            path = self.path.absolute()
            given |= {"path": str(path), "uri": path.as_uri()}
            before = _state(path)
        found = self._process.ask(given, self.seconds)
        if self.path is not None and _state(self.path) != before:
            raise Failed(f"the database {str(self.path)!r} was changed while it was read")
        if found["kind"] == "file":
            raise BadFileError(
                f"database {str(self.path or 'of the script')!r} cannot be read: {found['why']}"
            )
        if found["kind"] != "rows":
            error = {"Refused": Refused, "TooMuch": TooMuch}.get(found["kind"], Failed)
            raise error(found["why"])
        return Answer(tuple(found["columns"]), [tuple(map(_value, row)) for row in found["rows"]])

    def schema(self) -> list[str]:
        """The CREATE statements of its tables and views, in the order in which they were made."""
        own = "type IN ('table', 'view') AND lower(substr(name, 1, 7)) <> 'sqlite_'"
        made = self._ask(f"SELECT sql FROM sqlite_master WHERE {own} ORDER BY rowid", MOST_TABLES)
        return [sql for (sql,) in made.rows]

    def close(self) -> None:
        """End the other process, unless it is shared. The next query starts a new one."""
        if self._own:
            self._process.close()

    def __enter__(self) -> SQLSandbox:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def check_statement(sql: str) -> str:
    """`sql` if it may be one query; Refused for what is empty, begins otherwise, or holds what SQLite does not read."""
    if len(check_text("sql", sql)) > MOST_SQL:
        raise TooMuch(f"a statement of {len(sql):,} characters, at most {MOST_SQL:,} are allowed")
    if "\0" in sql:
        raise Refused("a NUL in the statement is not allowed")
    try:
        sql.encode("utf-8")
    except UnicodeEncodeError:
        raise Refused(f"the statement is no Unicode text: {describe(sql)}") from None
    if not _QUERY.match(sql, _SPACE.match(sql).end()):  # type: ignore[union-attr]
        raise Refused(f"only a query (SELECT, WITH, VALUES) is allowed, got {describe(sql)}")
    return sql


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does. It is not opened here: if this process writes to the database by another
    connection, closing a second handle of the file would let go of that one's locks (as POSIX has it)."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _value(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


class SQLProcess:
    """The process in which statements run; started by the first one, and again after one that had to be ended."""

    def __init__(self) -> None:
        self._lock, self._child, self._end, self._owner = threading.Lock(), None, None, 0

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to one request; TooMuch where none came within so many seconds."""
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            if self._child is None or self._owner != os.getpid() or self._child.poll() is not None:
                self._start()
            return json.loads(self._said(line, seconds))

    def _said(self, line: bytes, seconds: float) -> bytes:
        """The line that comes back for a line."""
        child: Any = self._child
        clock = _Clock(child, seconds)
        try:
            child.stdin.write(line)
            child.stdin.flush()
            reply = child.stdout.readline()
        except BrokenPipeError:
            reply = b""
        except BaseException:  # Ctrl-C: the reply to this one must not be taken for that to the next
            self._stop()
            raise
        finally:
            clock.stop()
        if not reply.endswith(b"\n"):
            self._stop()
            late = f"it takes more than {seconds:g} seconds"
            raise TooMuch(late if clock.late else "the process that ran it has died")
        return reply

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._stop()

    def __enter__(self) -> SQLProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start(self) -> None:
        if self._owner == os.getpid():  # after a fork it is the other's
            self._stop()
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(CHILD)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            env={name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ},
        )  # fmt: skip
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _end, self._child, self._owner)
        self._said(b"", START)  # it says that it is there: the time of a statement begins after that

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
        self._child = self._end = None


def _end(child: subprocess.Popen, owner: int) -> None:
    if owner != os.getpid():
        return
    child.kill()
    child.wait(START)
    for pipe in (child.stdin, child.stdout):
        with suppress(OSError):  # what was not written yet has no reader any more
            pipe.close()


class _Clock:
    """Ends a process whose time is up. Time in which it waits for a processor is not its own (processes.py)."""

    def __init__(self, child: subprocess.Popen, seconds: float) -> None:
        self.child, self.seconds, self.late = child, seconds, False
        self.began, self.before = time.monotonic(), waited(child.pid)
        self.answered = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        left = self.seconds
        while not self.answered.wait(left):
            left = seconds_left(self.child.pid, self.began, self.seconds, self.before)
            if left <= 0:
                self.late = True
                self.child.kill()
                return

    def stop(self) -> None:
        """After this it ends nothing any more."""
        self.answered.set()
        self.thread.join()
