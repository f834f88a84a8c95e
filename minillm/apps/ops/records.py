"""Where all records of a project lie: one SQLite file for the rows, and a folder of objects for the bytes.

    address(bytes) = sha256(bytes)            objects/ab/cdef...: the name of a file is the checksum of its content

Equal content has one address, so it is kept once, however many versions hold it. A damaged object no longer has the
checksum that is its name, so it is refused. Objects are written before the rows that name them: kill -9 in between
leaves an object that nobody names, never a row that names nothing.

Book: 13.1 MLOps. Peers: git and DVC (objects by checksum), MLflow (rows in SQL). Left out: collecting unnamed objects.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from minillm._checks import check_path, check_text, describe
from minillm._files import BadFileError, read_bytes, write_whole
from minillm.search.store.sqlite_file import SQLiteFile

APPLICATION = 0x6D6C6F70  # "mlop"
LONGEST_NAME = 250
TABLES = [
    "CREATE TABLE data (number INTEGER PRIMARY KEY, version TEXT NOT NULL UNIQUE, message TEXT NOT NULL)",
    """CREATE TABLE runs (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, experiment TEXT NOT NULL, name TEXT NOT NULL,
        status TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER)""",
    "CREATE TABLE params (run TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (run, key))",
    "CREATE TABLE tags (run TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (run, key))",
    """CREATE TABLE metrics (
        number INTEGER PRIMARY KEY, run TEXT NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, value REAL,
        time INTEGER NOT NULL)""",  # a NaN is NULL: SQLite has none
    "CREATE INDEX metrics_of_run ON metrics (run, key)",
    "CREATE TABLE artifacts (run TEXT, name TEXT, object TEXT NOT NULL, PRIMARY KEY (run, name))",
    """CREATE TABLE models (
        name TEXT, version INTEGER, object TEXT NOT NULL, run TEXT, stage TEXT NOT NULL,
        PRIMARY KEY (name, version))""",
    "CREATE TABLE aliases (name TEXT, alias TEXT, version INTEGER NOT NULL, PRIMARY KEY (name, alias))",
    """CREATE TABLE transitions (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, old TEXT NOT NULL, new TEXT NOT NULL,
        why TEXT NOT NULL)""",
    """CREATE TABLE prompts (
        name TEXT, version INTEGER, template TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (name, version),
        UNIQUE (name, template))""",
    """CREATE TABLE scores (
        name TEXT, version INTEGER, data TEXT, scores TEXT NOT NULL, PRIMARY KEY (name, version, data))""",
]


def address(content: bytes) -> str:
    """The address of bytes: their sha256, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


class Records:
    """The rows (`transaction`) and objects (`put`, `get`) of one folder; several processes may use it at once.

    Raises BadFileError where the folder holds something else's records, or damaged ones.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = check_path("folder", folder)
        self.objects = self.folder / "objects"
        self._file = SQLiteFile(self.folder / "ops.db", TABLES, 1, kind="operations", application=APPLICATION)

    def transaction(self, write: bool = False) -> Any:
        """Every row written inside is there afterwards, or none of them is."""
        return self._file.transaction(write=write)

    def put(self, content: bytes) -> str:
        """Keep bytes; returns their address. What is there already is not written again."""
        if not isinstance(content, bytes):
            raise ValueError(f"content must be bytes, got {describe(content)}")
        name = address(content)
        path = self._path(name)
        if not path.exists() or address(read_bytes(path, "object")) != name:  # damaged: it is mended
            write_whole(path, content)
        return name

    def get(self, name: str) -> bytes:
        """The bytes at an address; BadFileError where they are gone or damaged."""
        content = read_bytes(self._path(name), "object")
        if address(content) != name:
            raise BadFileError(f"object {name} is damaged: its content has another checksum")
        return content

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _path(self, name: str) -> Path:
        if not isinstance(name, str) or len(name) != 64 or set(name) - set("0123456789abcdef"):
            raise ValueError(f"an address is 64 hexadecimal digits, got {describe(name)}")
        return self.objects / name[:2] / name[2:]


def check_name(what: str, value: Any) -> str:
    """A name of a run, a key, a model: not empty, at most 250 characters, no half of a surrogate pair."""
    check_text(what, value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds half a surrogate pair, which is no character: {value!a}") from None
    if not value.strip() or len(value) > LONGEST_NAME or "\0" in value:
        raise ValueError(f"{what} must have 1 to {LONGEST_NAME} characters and no NUL, got {describe(value)}")
    return value


def check_records(value: Any) -> Records:
    """`value` if it is Records."""
    if not isinstance(value, Records):
        raise ValueError(f"records must be Records(folder), got {describe(value)}")
    return value
