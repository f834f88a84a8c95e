"""The other process of SQLSandbox: one request a line comes in as JSON, one answer a line goes out.

    python -I -S -B sql_main.py       started by minillm/sandbox/sql.py, which ends it when a statement takes too long

Every statement gets a connection of its own, so that none can leave anything behind. What it may do is decided by
SQLite itself, before it runs: the authorizer is asked about every table, function and kind of statement.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from typing import Any

MOST_LENGTH = (
    100_000  # of a text, a blob, a statement: one call of a function is not counted in steps, and is short
)
MOST_ANSWER = 1_000_000  # characters of all rows
HEAP = 256 * 2**20  # bytes that SQLite may hold
MAGIC, HEADER = b"SQLite format 3\0", 100  # how a database begins, and the bytes of its header
TICK = 100  # machine steps between two looks at the meter
LIMITS = {  # name in sqlite3, and what is left of SQLite's own, higher number
    "SQLITE_LIMIT_LENGTH": MOST_LENGTH, "SQLITE_LIMIT_SQL_LENGTH": MOST_LENGTH, "SQLITE_LIMIT_COLUMN": 200,
    "SQLITE_LIMIT_EXPR_DEPTH": 200, "SQLITE_LIMIT_COMPOUND_SELECT": 50, "SQLITE_LIMIT_VDBE_OP": 50_000,
    "SQLITE_LIMIT_FUNCTION_ARG": 20, "SQLITE_LIMIT_ATTACHED": 0, "SQLITE_LIMIT_LIKE_PATTERN_LENGTH": 200,
    "SQLITE_LIMIT_VARIABLE_NUMBER": 0, "SQLITE_LIMIT_TRIGGER_DEPTH": 1, "SQLITE_LIMIT_WORKER_THREADS": 0,
}  # fmt: skip
SELECT, READ, FUNCTION, RECURSIVE = 21, 20, 31, 33  # SQLite's numbers for what a statement is about to do
FUNCTIONS = frozenset((
    "abs", "avg", "ceil", "ceiling", "coalesce", "concat", "concat_ws", "count", "cume_dist", "current_date",
    "current_time", "current_timestamp", "date", "datetime", "dense_rank", "exp", "first_value", "floor", "glob",
    "group_concat", "ifnull", "iif", "instr", "julianday", "lag", "last_value", "lead", "length", "like", "ln", "log",
    "log10", "log2", "lower", "ltrim", "max", "min", "mod", "nth_value", "ntile", "nullif", "percent_rank", "pow",
    "power", "rank", "replace", "round", "row_number", "rtrim", "sign", "sqrt", "strftime", "string_agg", "substr",
    "substring", "sum", "time", "total", "trim", "trunc", "typeof", "unicode", "unixepoch", "upper",
))  # fmt: skip


class Meter:
    """How many machine steps are left, and why SQLite was told no."""

    def __init__(self, steps: int) -> None:
        self.left, self.reasons = steps, []

    def tick(self) -> int:
        self.left -= TICK
        return int(self.left < 0)  # 1 ends the statement


class BadFile(Exception):
    """A file that is no database, or not whole by itself."""


def uses_log(path: str) -> bool:
    """Whether the database keeps a log (WAL). BadFile for a file that cannot be read as it is."""
    try:
        with open(path, "rb") as file:
            header = file.read(HEADER)
    except (OSError, ValueError) as error:
        raise BadFile(getattr(error, "strerror", None) or str(error)) from None
    if not header:
        raise BadFile("it is empty")
    if len(header) < HEADER or not header.startswith(MAGIC):
        raise BadFile(f"it is no SQLite database, it begins with {header[:16]!r}")
    for end, what in (("-wal", "a log (WAL) with changes"), ("-journal", "the journal of a write")):
        try:
            with open(path + end, "rb") as file:
                unfinished = file.read(8).strip(
                    b"\0"
                )  # a journal that is done with may stay, its header zeroed
        except OSError:
            continue
        if unfinished:
            raise BadFile(
                f"beside it lies {what} that the file does not hold yet. Close the program that writes to it, then "
                f"run: sqlite3 {os.path.basename(path)} 'PRAGMA wal_checkpoint(TRUNCATE)'"
            )
    return 2 in header[18:20]


def opened(request: dict[str, Any]) -> sqlite3.Connection:
    """A connection that cannot write: to a file as it is on disk, or to tables that `script` makes in memory."""
    if request["uri"] is None:
        connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        connection.executescript(request["script"])
    else:
        if not uses_log(request["path"]):  # immutable looks at no lock, so another connection does
            with_locks = sqlite3.connect(f"{request['uri']}?mode=ro", uri=True, timeout=0)
            with_locks.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with_locks.close()
        uri = f"{request['uri']}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=0)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    for pragma in (
        "query_only=ON",
        "trusted_schema=OFF",
        "temp_store=MEMORY",
        "mmap_size=0",
        f"hard_heap_limit={HEAP}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def confine(connection: sqlite3.Connection, meter: Meter) -> None:
    """From here on the connection runs queries on the tables and views of its database, and nothing else."""
    own = "(type = 'table' AND rootpage > 0 AND sql NOT LIKE 'CREATE VIRTUAL%') OR type = 'view'"
    tables = connection.execute(f"SELECT name FROM sqlite_master WHERE {own}")
    readable = {name.lower() for (name,) in tables} | {"sqlite_master", "sqlite_schema"}
    modules = {name.lower() for (name,) in connection.execute("SELECT name FROM pragma_module_list")}

    def allowed(action: int, first: str | None, second: str | None) -> str | None:
        """None, or what is not allowed."""
        if action in (SELECT, RECURSIVE):
            return None
        if action == FUNCTION:
            return None if (second or "").lower() in FUNCTIONS else f"the function {second}"
        if action == READ:
            name = (first or "").lower()
            named = (
                not second and name not in modules and not name.startswith(("sqlite_", "pragma_"))
            )  # WITH name AS
            return None if name in readable or named else f"the table {first}"
        return "anything but a query"

    def authorize(action: int, first: str | None, second: str | None, *_: Any) -> int:
        why = allowed(action, first, second)
        if why is not None:
            meter.reasons.append(why)
        return sqlite3.SQLITE_OK if why is None else sqlite3.SQLITE_DENY

    if hasattr(
        connection, "setlimit"
    ):  # since Python 3.11; before it, the heap's limit and the clock hold alone
        for name, most in LIMITS.items():
            connection.setlimit(getattr(sqlite3, name), most)
    connection.set_authorizer(authorize)
    connection.set_progress_handler(meter.tick, TICK)


def answer(request: dict[str, Any], meter: Meter) -> dict[str, Any]:
    """{"columns", "rows"}; an exception of sqlite3 where it comes to none."""
    connection = opened(request)
    try:
        confine(connection, meter)
        cursor = connection.execute(request["sql"] or "SELECT 1")
        columns, rows, size = [one[0] for one in cursor.description or ()], [], 0
        for row in cursor:
            size += sum(len(value) if isinstance(value, (str, bytes)) else 8 for value in row)
            if len(rows) == request["rows"] or size > MOST_ANSWER:
                what = (
                    f"{request['rows']:,} rows"
                    if len(rows) == request["rows"]
                    else f"{MOST_ANSWER:,} characters"
                )
                return {"kind": "TooMuch", "why": f"the answer has more than {what}"}
            rows.append([{"hex": value.hex()} if isinstance(value, bytes) else value for value in row])
        return {"kind": "rows", "columns": columns, "rows": rows}
    finally:
        connection.close()


def explained(error: Exception, meter: Meter) -> dict[str, Any]:
    """The name of an error of meter.py, or "file", and the reason in words."""
    said = str(error)
    if isinstance(error, BadFile):
        return {"kind": "file", "why": said}
    if meter.reasons:
        return {"kind": "Refused", "why": f"{meter.reasons[0]} is not allowed"}
    if "interrupted" in said:
        return {"kind": "TooMuch", "why": "it takes too many steps"}
    if "more than one statement" in said or "one statement at a time" in said:
        return {"kind": "Refused", "why": "more than one statement is not allowed"}
    if isinstance(error, MemoryError) or "out of memory" in said:
        return {"kind": "TooMuch", "why": "it takes too much memory"}
    if any(
        words in said for words in ("too big", "too many", "too large", "too complex", "overflow", "too long")
    ):
        return {"kind": "TooMuch", "why": said}
    if type(error) is sqlite3.DatabaseError or "locked" in said or "unable to open" in said:
        return {"kind": "file", "why": said}
    return {"kind": "Failed", "why": said}


def limited() -> None:
    """What the system itself holds, where it can: no file grows, no second process, few open files."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, most in (("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0), ("RLIMIT_NPROC", 0), ("RLIMIT_NOFILE", 24)):
        if hasattr(resource, name):
            number = getattr(resource, name)
            hard = resource.getrlimit(number)[1]
            resource.setrlimit(number, (most if hard < 0 else min(most, hard),) * 2)


def main() -> None:
    """Answer until there is nobody to ask."""
    limited()
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        meter = Meter(request["steps"])
        try:
            found = answer(request, meter)
        except Exception as error:  # whatever a statement does is an answer
            found = explained(error, meter)
        sys.stdout.buffer.write(json.dumps(found).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
