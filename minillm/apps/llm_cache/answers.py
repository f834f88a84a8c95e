"""The table of a cache: one row an answer, found by its key, or by the vectors of the questions of its context.

    namespace | key | context | question | vector | value | made | used

All look-ups name the namespace: no answer leaves it. A checksum covers all of a row, the namespace too: a row with a
flipped bit is no answer, and is made again. `used` counts uses over the whole file: the smallest goes first
when there are too many (LRU, least recently used). What is too old is passed over, and deleted with the next write.
Book 9.2.1 LLM 캐시 작동 원리.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from minillm.apps.llm_cache import flights
from minillm.inference.chat import Reply

VERSION, APPLICATION = 1, 0x6D6C6361  # "mlca"
TABLES = [
    "CREATE TABLE answers (number INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, key BLOB NOT NULL, "
    "context BLOB NOT NULL, question TEXT, vector BLOB, value TEXT NOT NULL, tokens INTEGER NOT NULL, "
    "made REAL NOT NULL, used INTEGER NOT NULL, checksum INTEGER NOT NULL, UNIQUE (namespace, key))",
    "CREATE INDEX by_context ON answers (namespace, context)",
    "CREATE INDEX by_use ON answers (used)",
    "CREATE INDEX by_age ON answers (made)",
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB)",
    flights.TABLE,
]
CHECKED = ("namespace", "key", "context", "question", "vector", "value")


class Found(NamedTuple):
    """An answer of the table. score: the cosine similarity of its question; 1.0 for the very same request."""

    number: int
    value: Any
    tokens: int
    score: float = 1.0


def by_key(connection: sqlite3.Connection, namespace: str, key: bytes, oldest: float) -> Found | None:
    """The answer to exactly this request."""
    where = "namespace = ? AND key = ? AND made >= ?"
    return _one(connection, where, (namespace, key, oldest), 1.0)


def by_meaning(
    connection: sqlite3.Connection, namespace: str, context: bytes, vector: np.ndarray, oldest: float
) -> list[tuple[float, int, str]]:
    """(cosine similarity, number, question) of all kept questions of this context, the most similar first."""
    rows = connection.execute(
        "SELECT number, question, vector FROM answers "
        "WHERE namespace = ? AND context = ? AND length(vector) = ? AND made >= ?",
        (namespace, context, vector.nbytes, oldest),
    ).fetchall()
    if not rows:
        return []
    kept = np.frombuffer(b"".join(row[2] for row in rows), dtype="<f4").reshape(len(rows), -1)  # (N, D)
    scores = kept @ vector
    return [(float(scores[i]), rows[i][0], rows[i][1]) for i in np.argsort(-scores, kind="stable")]


def by_number(
    connection: sqlite3.Connection, namespace: str, context: bytes, number: int, score: float
) -> Found | None:
    """An answer that `by_meaning` found; None if it went meanwhile."""
    where = "number = ? AND namespace = ? AND context = ?"
    return _one(connection, where, (number, namespace, context), score)


def _one(connection: sqlite3.Connection, where: str, values: tuple[Any, ...], score: float) -> Found | None:
    sql = f"SELECT number, tokens, checksum, {', '.join(CHECKED)} FROM answers WHERE {where}"
    row = connection.execute(sql, values).fetchone()
    if row is None or checksum(row[3:]) != row[2]:
        return None
    return Found(row[0], unpacked(row[-1]), row[1], score)


def checksum(fields: Iterable[Any]) -> int:
    """Of the fields CHECKED."""
    total = 0
    for field in fields:
        data = field.encode() if isinstance(field, str) else field or b""
        total = zlib.crc32(b"%d " % len(data) + data, total)
    return total


def touch(connection: sqlite3.Connection, number: int) -> None:
    """This one was used last."""
    connection.execute(
        "UPDATE answers SET used = (SELECT max(used) FROM answers) + 1 WHERE number = ?", (number,)
    )


def put(connection: sqlite3.Connection, row: dict[str, Any], oldest: float, most: int | None) -> int:
    """Keep an answer, drop what is too old and what is too much; how many were dropped."""
    connection.execute(
        "INSERT OR REPLACE INTO answers (namespace, key, context, question, vector, value, tokens, made, checksum, "
        "used) VALUES (:namespace, :key, :context, :question, :vector, :value, :tokens, :made, :checksum, "
        "(SELECT coalesce(max(used), 0) + 1 FROM answers))",
        row | {"checksum": checksum(row[name] for name in CHECKED)},
    )
    gone = connection.execute("DELETE FROM answers WHERE made < ?", (oldest,)).rowcount
    if most is not None:
        many = connection.execute("SELECT count(*) FROM answers").fetchone()[0] - most
        gone += connection.execute(
            "DELETE FROM answers WHERE number IN (SELECT number FROM answers ORDER BY used LIMIT ?)",
            (max(0, many),),
        ).rowcount
    return gone


def packed(value: Any) -> str:
    """A Reply, a text or a JSON value as a text. ValueError for anything else."""
    if isinstance(value, Reply):
        form = ["reply", {"text": value.text, "usage": value.usage, "finish_reason": value.finish_reason}]
        form[1]["tool_calls"] = list(value.tool_calls)
    else:
        form = ["value", value]
    try:
        text = json.dumps(form, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"a cache keeps replies, texts and JSON values, got {type(value).__name__}: {error}"
        ) from None
    if json.loads(text) != form:  # a tuple, keys that are numbers: it would come back as something else
        raise ValueError(
            f"a cache keeps replies, texts and JSON values, got {type(value).__name__} that is none"
        )
    return text


def unpacked(text: str) -> Any:
    """The value again."""
    kind, value = json.loads(text)
    return value if kind == "value" else Reply(**{**value, "tool_calls": tuple(value["tool_calls"])})
