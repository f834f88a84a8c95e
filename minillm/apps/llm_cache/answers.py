"""The table of a cache: one row an answer, found by its key, or by the vectors of the questions of its context.

    namespace | key | context | question | vector | value | made | used

All look-ups name the namespace: no answer leaves it. `used` counts uses over the whole file: the smallest goes first
when there are too many (LRU, least recently used). What is too old is passed over, and deleted with the next write.
Book 9.2.1 LLM 캐시 작동 원리.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, NamedTuple

import numpy as np

from minillm.apps.llm_cache import flights
from minillm.inference.chat import Reply

VERSION, APPLICATION = 1, 0x6D6C6361  # "mlca"
TABLES = [
    "CREATE TABLE answers (number INTEGER PRIMARY KEY, namespace TEXT NOT NULL, key BLOB NOT NULL, context BLOB NOT "
    "NULL, question TEXT, vector BLOB, value TEXT NOT NULL, tokens INTEGER NOT NULL, made REAL NOT NULL, "
    "used INTEGER NOT NULL, UNIQUE (namespace, key))",
    "CREATE INDEX by_context ON answers (namespace, context) WHERE vector IS NOT NULL",
    "CREATE INDEX by_use ON answers (used)",
    "CREATE INDEX by_age ON answers (made)",
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB)",
    flights.TABLE,
]


class Found(NamedTuple):
    """An answer of the table. score: the cosine similarity of its question; 1.0 for the very same request."""

    number: int
    value: Any
    tokens: int
    score: float = 1.0


def by_key(connection: sqlite3.Connection, namespace: str, key: bytes, oldest: float) -> Found | None:
    """The answer to exactly this request."""
    row = connection.execute(
        "SELECT number, value, tokens FROM answers WHERE namespace = ? AND key = ? AND made >= ?",
        (namespace, key, oldest),
    ).fetchone()
    return None if row is None else Found(row[0], unpacked(row[1]), row[2])


def by_meaning(
    connection: sqlite3.Connection, namespace: str, context: bytes, vector: np.ndarray, oldest: float
) -> list[tuple[float, int, str]]:
    """(cosine similarity, number, question) of all kept questions of this context, the most similar first."""
    rows = connection.execute(
        "SELECT number, question, vector FROM answers "
        "WHERE namespace = ? AND context = ? AND vector IS NOT NULL AND made >= ?",
        (namespace, context, oldest),
    ).fetchall()
    if not rows:
        return []
    kept = np.frombuffer(b"".join(row[2] for row in rows), dtype="<f4").reshape(len(rows), -1)  # (N, D)
    scores = kept @ vector
    return [(float(scores[i]), rows[i][0], rows[i][1]) for i in np.argsort(-scores, kind="stable")]


def by_number(connection: sqlite3.Connection, number: int, score: float) -> Found | None:
    """An answer that `by_meaning` found; None if it went meanwhile."""
    row = connection.execute("SELECT value, tokens FROM answers WHERE number = ?", (number,)).fetchone()
    return None if row is None else Found(number, unpacked(row[0]), row[1], score)


def touch(connection: sqlite3.Connection, number: int) -> None:
    """This one was used last."""
    connection.execute(
        "UPDATE answers SET used = (SELECT max(used) FROM answers) + 1 WHERE number = ?", (number,)
    )


def put(connection: sqlite3.Connection, row: dict[str, Any], oldest: float, most: int | None) -> int:
    """Keep an answer, drop what is too old and what is too much; how many were dropped."""
    connection.execute(
        "INSERT OR REPLACE INTO answers (namespace, key, context, question, vector, value, tokens, made, used) VALUES "
        "(:namespace, :key, :context, :question, :vector, :value, :tokens, :made, "
        "(SELECT coalesce(max(used), 0) + 1 FROM answers))",
        row,
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
