"""One SQLite file as the ground of the store: transactions whole or not at all, many readers, one writer.

    WAL (write-ahead log)     a commit is appended to FILE-wal; readers go on with the state they began with, beside the
                              one writer. Other writers wait for their turn
    synchronous = FULL        the log is on the disk (fsync) before a write is acknowledged. NORMAL survives kill -9,
                              too, since the operating system has the bytes; a power cut could take the last commits.
                              A batch costs one fsync, however long it is
    a half-written commit     has no valid checksum in the log, and is passed over when the file is opened again

What SQLite says is turned into errors that name the file: damage is a BadFileError, a lock held for too long a
TimeoutError, a full disk an OSError. A file that was deleted or replaced while it is open is refused, too: SQLite would
write into what nobody can open again. Left out: file systems over a network, where WAL does not work.

Book: 12.4 실습: 파인콘으로 벡터 검색 구현하기 (there the database is a service; here it is a file).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from minillm._files import BadFileError, replace_whole

MAGIC = b"SQLite format 3\0"
APPLICATION = 0x6D6C7673  # "mlvs": tells our files from other SQLite files
PATIENCE = 30.0  # seconds to wait for another writer


def _close(connection: sqlite3.Connection, process: int) -> None:
    if process == os.getpid():
        with suppress(sqlite3.Error):
            connection.close()


class SQLiteFile:
    """A connection to the file `path`, or to memory alone for None; one thread at a time.

    tables: the statements that make a new file's tables; version: of the format, which these tables are.
    kind, application: what the file is called in errors, and the number that tells it from others. durable: False is
    synchronous = NORMAL, for what can be made again.
    Raises BadFileError for a file that is not there (read_only), is of another kind or a newer version, or is damaged.
    """

    def __init__(
        self,
        path: Path | None,
        tables: list[str],
        version: int,
        read_only: bool = False,
        new: bool = True,
        kind: str = "vector store",
        application: int = APPLICATION,
        durable: bool = True,
    ) -> None:
        # As it was given. `path` stays right after a chdir, and is where SQLite puts the log of what a link leads to.
        self._name = path
        self.path = path = None if path is None else Path(os.path.realpath(path))
        self.kind, self._application, self._durable = kind, application, durable
        self.read_only, self._process = read_only, os.getpid()
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._lying: tuple[Any, ...] | None = None  # what `_look` saw of a file that is read without its log
        may_be_new = new and not read_only
        if path is not None and (path.exists() or not may_be_new):
            self._check_head(may_be_new)
        if path is not None and may_be_new:
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._named():
            self._hold(self._connect())
        self._identity = self._look()[:2]
        try:
            with self.transaction(write=False) as connection:
                there = connection.execute("PRAGMA application_id").fetchone()[0]
                made = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if not there and not made and may_be_new:
                self._make(tables, version)
            self._check_kind(version)
            self._tune()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return "memory" if self._name is None else repr(str(self._name))

    def bad(self, why: object) -> BadFileError:
        """The refusal of this file."""
        return BadFileError(f"{self.kind} {self} is refused: {why}")

    # --- opening ----------------------------------------------------------------------------------------------

    def _check_head(self, may_be_new: bool) -> None:
        """SQLite itself would take a text file for damaged only later, and an empty one for new."""
        if self.path.is_dir():
            raise self.bad("it is a folder")
        if not self.path.exists():
            raise self.bad("there is no such file")
        if not self.path.is_file():  # reading a pipe would wait for ever
            raise self.bad("it is no ordinary file")
        try:
            with self.path.open("rb") as file:
                head = file.read(len(MAGIC))
        except OSError as error:
            raise self.bad(error.strerror or error) from None
        if head != MAGIC and not (head == b"" and may_be_new):
            raise self.bad("it is empty" if head == b"" else "it is no SQLite file")

    def _connect(self) -> sqlite3.Connection:
        options = {"timeout": PATIENCE, "isolation_level": None, "check_same_thread": False}
        if self.path is None:
            return sqlite3.connect(":memory:", **options)
        if not self.read_only:
            return sqlite3.connect(self.path, **options)
        address = self.path.as_uri() + "?mode=ro"
        lying = None
        connection = sqlite3.connect(address, uri=True, **options)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            connection.close()
            # In a read-only folder the log's shared memory cannot be made. Without a log nobody writes.
            log = Path(f"{self.path}-wal")
            cannot = any(words in str(error) for words in ("unable to open", "readonly"))
            if not cannot or (log.exists() and log.stat().st_size):
                raise
            lying = self._look()
            connection = sqlite3.connect(address + "&immutable=1", uri=True, **options)
        self._lying = lying
        return connection

    def _hold(self, connection: sqlite3.Connection) -> None:
        """Work with this connection from now on, and close it when nobody holds this object any more."""
        if self._connection is not None:
            self._let_go()
        self._connection, self._let_go = connection, weakref.finalize(self, _close, connection, self._process)

    def _look(self) -> tuple[Any, ...]:
        """Which file lies at the path, its size and last change, and whether a log is beside it; () for memory."""
        if self.path is None:
            return ()
        try:
            found = self.path.stat()
        except OSError as error:
            raise self.bad(f"it was deleted while it was open ({error.strerror})") from None
        log = os.path.exists(f"{self.path}-wal")
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, log

    def _still_there(self) -> None:
        if self._look()[:2] != self._identity:
            raise self.bad("another file was put in its place while it was open")

    def _tune(self) -> None:
        """How a file that is written to is written to. Before it is known to be ours, nothing of it is changed."""
        if self.path is None or self.read_only:
            return
        with self._named():
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            self._connection.execute(
                "PRAGMA fullfsync = ON"
            )  # macOS: fsync alone leaves bytes in the disk's cache

    def _make(self, tables: list[str], version: int) -> None:
        """The tables of a new file, and its kind, in one transaction: a killed process leaves all or nothing."""
        self._tune()
        with self.transaction(write=True) as connection:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return  # another process was faster
            for statement in tables:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {self._application}")
            connection.execute(f"PRAGMA user_version = {version}")

    def _check_kind(self, version: int) -> None:
        with self.transaction() as connection:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            found = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != self._application:
            raise self.bad("it is a SQLite file of another kind")
        if found != version:
            raise self.bad(f"its format is version {found}, this minillm reads version {version}")

    # --- use --------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        """All that is read inside is one state of the file; all that is written is there afterwards, or none of it.

        Raises ValueError on writing to a file that was opened read-only, after `close`, inside of another transaction,
        and in a forked process, which must open the file again (SQLite's locks belong to the process that took them).
        """
        if os.getpid() != self._process:
            raise ValueError(f"{self.kind} {self} was opened by another process: open it again in this one")
        with self._lock, self._named():
            if self._connection is None:
                raise ValueError(f"{self.kind} {self} is closed")
            if write and self.read_only:
                raise ValueError(f"{self.kind} {self} was opened read-only")
            if self._connection.in_transaction:
                raise ValueError(f"{self.kind} {self} was called from inside one of its own verbs")
            if self._lying is not None and self._look() != self._lying:
                self._hold(self._connect())  # somebody writes, who may: that connection would not see it
            connection = self._connection
            try:
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                self._still_there()
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What SQLite raises, as errors that name the file."""
        try:
            yield
        except UnicodeDecodeError as error:  # SQLite quotes names that are damaged
            raise self.bad(f"damaged ({error})") from None
        except sqlite3.Error as error:
            text = str(error)
            if "locked" in text or "busy" in text:
                raise TimeoutError(f"{self.kind} {self} is held by another writer: {text}") from None
            if any(word in text for word in ("full", "disk I/O", "unable to open")):
                raise OSError(f"{self.kind} {self}: {text}") from None
            if "readonly" in text or "read-only" in text:
                raise PermissionError(f"{self.kind} {self}: {text}") from None
            raise self.bad(f"damaged ({text})") from None

    def check_pages(self) -> None:
        """BadFileError where the file's pages do not fit together, as SQLite's own check sees it. Reads all of it."""
        with self.transaction() as connection:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            page = connection.execute("PRAGMA page_size").fetchone()[0]
        if found == "ok" and self.path is not None and self.path.stat().st_size % page:
            found = "its last page is cut short"  # SQLite would take zeros for what is missing
        if found != "ok":
            raise self.bad(f"damaged ({' '.join(found.split())})")

    def copy_to(
        self, path: Path, *after: str, check: Callable[[sqlite3.Connection], None] = lambda connection: None
    ) -> Path:
        """One state of the file as one new file without gaps, whole or not at all.

        after: statements that are run in the copy; check: called with the state that is copied, may raise.
        Raises ValueError where a file lies that is in use, or is no store.
        """
        if path.is_dir() or (self.path is not None and path.exists() and os.path.samefile(path, self.path)):
            what = "a folder" if path.is_dir() else "the store itself"
            raise ValueError(f"path must not be {what}, got {str(path)!r}")
        leftovers = [Path(f"{path}{end}") for end in ("-wal", "-shm")]
        if path.exists() and leftovers[0].exists():
            raise ValueError(f"path must not be a store that is in use, got {str(path)!r}")
        if path.exists():
            head = b"-"
            if path.is_file():  # no pipe
                with path.open("rb") as file:
                    head = file.read(72)
            if head and (head[: len(MAGIC)], head[68:]) != (MAGIC, self._application.to_bytes(4, "big")):
                raise ValueError(f"path must be new or an older backup, got {str(path)!r} which is no store")

        def write(temporary: Path) -> None:
            with self.transaction() as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the state begins here
                check(connection)
                copy = sqlite3.connect(temporary, isolation_level=None)
                try:
                    connection.backup(copy)
                    copy.execute("PRAGMA journal_mode = DELETE")  # one file, which opens read-only anywhere
                    for statement in after:
                        copy.execute(statement)
                    copy.execute("VACUUM")  # what was deleted is not carried on
                finally:
                    copy.close()
            for leftover in leftovers:  # a log of another file would be played into this one
                leftover.unlink(missing_ok=True)

        return replace_whole(path, write)

    @property
    def is_open(self) -> bool:
        """Whether it was opened in this process, and not closed yet."""
        return self._connection is not None and self._process == os.getpid()

    def close(self) -> None:
        """Let go of the file; the last one that does puts the log into it."""
        if self._process != os.getpid():
            return  # a forked process must not touch the log of its parent
        with self._lock:
            if self._connection is not None:
                self._let_go()
            self._connection = None
