"""The tables of a store: records by namespace, each row sealed with a checksum.

    records       number, namespace, id, vector (float32), sparse, metadata (JSON), revision, seal
    namespaces    name, hash of the access token, and what its records add up to: how many, and all their seals XORed

    number      what the search index calls a vector. A new vector gets a new number, which is never used again
    revision    counts the writes to a namespace. "What is new since revision 7" brings a reader up to date

SQLite notices pages that do not fit together, not a flipped bit inside a vector: the seals do. A row that is gone is
noticed too, by the XOR of its namespace. Seals tell accidents, not forgers.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

VERSION = 1
TABLES = [
    "CREATE TABLE settings (one INTEGER PRIMARY KEY CHECK (one = 1), dim INTEGER NOT NULL, metric TEXT NOT NULL,"
    " probe BLOB, next_number INTEGER NOT NULL, seal INTEGER NOT NULL)",
    "CREATE TABLE namespaces (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, salt BLOB, token BLOB,"
    " revision INTEGER NOT NULL, removed INTEGER NOT NULL, count INTEGER NOT NULL, seals INTEGER NOT NULL,"
    " seal INTEGER NOT NULL)",
    "CREATE TABLE records (number INTEGER PRIMARY KEY, namespace INTEGER NOT NULL, id TEXT NOT NULL,"
    " vector BLOB NOT NULL, sparse BLOB, metadata TEXT NOT NULL, revision INTEGER NOT NULL, seal INTEGER NOT NULL)",
    "CREATE UNIQUE INDEX records_by_id ON records (namespace, id)",
    "CREATE INDEX records_by_revision ON records (namespace, revision)",
    "CREATE TABLE snapshots (namespace INTEGER PRIMARY KEY, file TEXT NOT NULL, revision INTEGER NOT NULL,"
    " numbers BLOB NOT NULL, seal INTEGER NOT NULL)",
]
AT_ONCE = 500  # values in one statement: old SQLites take 999


class DamagedRow(ValueError):
    """A row whose seal does not fit; the store says in which file."""


class Settings(NamedTuple):
    """What holds for the whole store. probe: the encoder's vector of a fixed text, which tells encoders apart."""

    dim: int
    metric: str
    probe: bytes | None
    next_number: int


class Namespace(NamedTuple):
    """removed: the revision at which a number last went away; seals: of its records, XORed."""

    number: int
    name: str
    salt: bytes | None = None
    token: bytes | None = None
    revision: int = 0
    removed: int = 0
    count: int = 0
    seals: int = 0


class Row(NamedTuple):
    """A record as it is kept."""

    number: int
    namespace: int
    id: str
    vector: bytes
    sparse: bytes | None
    metadata: str
    revision: int
    seal: int = 0


def seal_of(*parts: Any) -> int:
    """CRC-32 of values, their kinds and lengths: finds every flipped bit, and most of what else can happen."""
    seal = 0
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        seal = zlib.crc32(data, zlib.crc32(f"{type(part).__name__} {len(data)} ".encode(), seal))
    return seal


def _checked(kind: type, row: tuple, what: str) -> Any:
    if seal_of(*row[:-1]) != row[-1]:
        raise DamagedRow(f"damaged (the checksum of {what} does not fit)")
    return kind(*row) if kind is Row else kind(*row[:-1])


# --- reading --------------------------------------------------------------------------------------------------


def read_settings(connection: sqlite3.Connection) -> Settings | None:
    """The settings; None in a file that was just made."""
    row = connection.execute("SELECT dim, metric, probe, next_number, seal FROM settings").fetchone()
    return row and _checked(Settings, row, "its settings")


def read_namespaces(connection: sqlite3.Connection, name: str | None = None) -> list[Namespace]:
    """All namespaces in order of their names, or the one of this name, if it is there."""
    command = f"SELECT {', '.join(Namespace._fields)}, seal FROM namespaces"
    if name is None:
        rows = connection.execute(f"{command} ORDER BY name")
    else:
        rows = connection.execute(f"{command} WHERE name = ?", (name,))
    return [_checked(Namespace, row, f"namespace {row[1]!r}") for row in rows]


def read_rows(connection: sqlite3.Connection, where: str, *values: Any) -> Iterator[Row]:
    """The records that an SQL condition picks, each checked."""
    for row in connection.execute(f"SELECT {', '.join(Row._fields)} FROM records WHERE {where}", values):
        yield _checked(Row, row, f"record {row[2]!r}")


def read_by(
    connection: sqlite3.Connection, column: str, wanted: Collection[Any], namespace: int
) -> dict[Any, Row]:
    """value -> record, for the records of a namespace whose `column` (id or number) is one of `wanted`."""
    wanted, found = list(wanted), {}
    for start in range(0, len(wanted), AT_ONCE):
        part = wanted[start : start + AT_ONCE]
        marks = ", ".join("?" * len(part))
        for row in read_rows(connection, f"namespace = ? AND {column} IN ({marks})", namespace, *part):
            found[getattr(row, column)] = row
    return found


def check_everything(connection: sqlite3.Connection) -> None:
    """DamagedRow where a seal does not fit, or a namespace lacks a record. Reads all rows."""
    read_settings(connection)
    for namespace in read_namespaces(connection):
        count = seals = 0
        for row in read_rows(connection, "namespace = ?", namespace.number):
            count, seals = count + 1, seals ^ row.seal
        if (count, seals) != (namespace.count, namespace.seals):
            raise DamagedRow(f"damaged (the records of namespace {namespace.name!r} do not add up)")
    stray = connection.execute(
        "SELECT id FROM records WHERE namespace NOT IN (SELECT number FROM namespaces) LIMIT 1"
    ).fetchone()
    if stray:
        raise DamagedRow(f"damaged (record {stray[0]!r} is in no namespace)")


# --- writing --------------------------------------------------------------------------------------------------


def write_settings(connection: sqlite3.Connection, settings: Settings) -> None:
    """Put the settings in the place of those that are there."""
    connection.execute(
        "INSERT OR REPLACE INTO settings VALUES (1, ?, ?, ?, ?, ?)", (*settings, seal_of(*settings))
    )


def write_namespace(connection: sqlite3.Connection, namespace: Namespace) -> None:
    """Put a namespace in, or in the place of the one that has its number."""
    marks = ", ".join("?" * (len(namespace) + 1))
    connection.execute(
        f"INSERT OR REPLACE INTO namespaces VALUES ({marks})", (*namespace, seal_of(*namespace))
    )


class Changes:
    """What one transaction does to one namespace. `finish` writes the sums; nothing counts before the commit."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self.connection = connection
        found = read_namespaces(connection, name)
        if found:
            self.namespace = found[0]
        else:
            highest = connection.execute("SELECT max(number) FROM namespaces").fetchone()[0]
            self.namespace = Namespace((highest or 0) + 1, name)
        self.revision = self.namespace.revision + 1
        self.removed = self.namespace.removed
        self.count, self.seals = self.namespace.count, self.namespace.seals
        self.next_number = read_settings(connection).next_number
        self.any = False

    def find(self, wanted: Collection[Any], column: str = "id") -> dict[Any, Row]:
        """The records of these ids (or numbers) that are there."""
        return read_by(self.connection, column, wanted, self.namespace.number)

    def delete(self, row: Row) -> None:
        """Take a record out."""
        self.any = True
        self.connection.execute("DELETE FROM records WHERE number = ?", (row.number,))
        self.count, self.seals, self.removed = self.count - 1, self.seals ^ row.seal, self.revision

    def clear(self) -> None:
        """Take all records out."""
        self.any = True
        self.connection.execute("DELETE FROM records WHERE namespace = ?", (self.namespace.number,))
        self.count, self.seals, self.removed = 0, 0, self.revision

    def put(self, old: Row | None, id: str, vector: bytes, sparse: bytes | None, metadata: str) -> Row:
        """Put a record in, in the place of `old`, whose number it keeps if the vector is the same."""
        self.any = True
        if old is not None and old.vector == vector:
            number = old.number
            self.connection.execute("DELETE FROM records WHERE number = ?", (number,))
            self.count, self.seals = self.count - 1, self.seals ^ old.seal
        else:
            number, self.next_number = self.next_number, self.next_number + 1
            if old is not None:
                self.delete(old)
        row = Row(number, self.namespace.number, id, vector, sparse, metadata, self.revision)
        row = row._replace(seal=seal_of(*row[:-1]))
        marks = ", ".join("?" * len(row))
        self.connection.execute(f"INSERT INTO records ({', '.join(Row._fields)}) VALUES ({marks})", row)
        self.count, self.seals = self.count + 1, self.seals ^ row.seal
        return row

    def finish(self, **fields: Any) -> None:
        """Write the namespace with its new sums, and `fields` of it (salt, token), if there is anything to write."""
        if not self.any and not fields:
            return
        sums = {"revision": self.revision, "removed": self.removed, "count": self.count, "seals": self.seals}
        write_namespace(self.connection, self.namespace._replace(**sums, **fields))
        settings = read_settings(self.connection)
        if settings.next_number != self.next_number:
            write_settings(self.connection, settings._replace(next_number=self.next_number))
