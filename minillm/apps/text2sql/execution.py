"""Execution match: a predicted query is right if it finds what the gold query finds in this database.

    gold       SELECT name, age FROM people ORDER BY age       (Bo, 9), (Ann, 41)
    predicted  SELECT age, name FROM people ORDER BY age       (9, Bo), (41, Ann)     the same, columns swapped: right

    rows      equal as a multiset: two equal rows are not one. Where the gold query orders, in its order, too
    columns   some order of the predicted columns makes the rows equal; their names do not count
    values    1 equals 1.0; numbers agree to nine digits, before the point to all (at most 15)
              NULL equals NULL; the text '1' is not the number 1

What it cannot see: two different queries that find the same rows here by chance. No rows equal no rows, whatever was
asked for. With LIMIT and no order, or with ties, the rows are those that SQLite happened to take.
Book: 6.2.1 Text2SQL 평가 방식. Papers: Yu et al. 2018 (Spider), Zhong et al. 2020 (test suites).
Held against: the verdicts of Spider's evaluator. Left out: several databases for one query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minillm._checks import describe
from minillm.apps.text2sql.words import orders
from minillm.sandbox import SandboxError, SQLSandbox, TooMuch

DIGITS = 9  # a sum depends on the order of its numbers in the last of 16 digits
MOST_TRIES = 10_000  # column orders that are begun; tables that need more are made to need them
Row = tuple[Any, ...]


class Execution(NamedTuple):
    """Whether the predicted query found what the gold query finds; if not, why: "Failed: no such column: x", ..."""

    match: bool
    why: str | None


def execution_match(db: SQLSandbox | str | Path, predicted: str, gold: str) -> bool:
    """Whether both queries find the same in the database, a path or a sandbox of it. A query that gives none is wrong.

    Raises SandboxError (a ValueError) where the gold query itself gives no answer.
    """
    return compare_execution(db, predicted, gold).match


def compare_execution(db: SQLSandbox | str | Path, predicted: str, gold: str) -> Execution:
    """As execution_match, with the reason."""
    if not isinstance(db, SQLSandbox):
        with SQLSandbox(db) as box:
            return compare_execution(box, predicted, gold)
    try:
        expected = db.run(gold)
    except SandboxError as error:
        raise type(error)(f"the gold query {describe(gold)} gives no answer: {error}") from None
    try:
        found = db.run(predicted)
        if same_rows(found, expected, ordered=orders(gold)):
            return Execution(True, None)
    except SandboxError as error:
        return Execution(False, f"{type(error).__name__}: {error}")
    return Execution(False, difference(found, expected))


def same_rows(found: Sequence[Row], expected: Sequence[Row], ordered: bool = False) -> bool:
    """Whether some order of the columns of `found` gives the rows of `expected`; `ordered`: in their order.

    TooMuch for tables that are built so that thousands of column orders have to be tried.
    """
    if len(found) != len(expected) or not found:
        return len(found) == len(expected)
    if len(found[0]) != len(expected[0]):
        return False
    ours, theirs = ([tuple(map(plain, column)) for column in zip(*rows)] for rows in (found, expected))
    return _fits(ours, theirs, ordered, [], iter(range(MOST_TRIES)))


def plain(value: Any) -> Any:
    """A number as it is compared: to nine digits, before the point to all that a float has."""
    if not isinstance(value, float):
        return value
    digits = max(DIGITS, min(15, len(f"{abs(value):.0f}")))
    return float(f"{value:.{digits}g}")


def _fits(ours: list[Row], theirs: list[Row], ordered: bool, taken: list[int], tries: Iterator[int]) -> bool:
    """Whether the columns `taken` of ours, which fit the first of theirs, can go on to all of them."""
    if len(taken) == len(theirs):
        return True
    target = _rows(theirs[: len(taken) + 1], ordered)
    tried: set[Row] = set()
    for place, column in enumerate(ours):
        if place in taken or column in tried:  # one of two equal columns is as good as the other
            continue
        tried.add(column)
        if next(tries, None) is None:
            raise TooMuch(f"more than {MOST_TRIES:,} orders of its columns have to be tried")
        if _rows([*(ours[i] for i in taken), column], ordered) == target and _fits(
            ours, theirs, ordered, [*taken, place], tries
        ):
            return True
    return False


def _rows(columns: list[Row], ordered: bool) -> Any:
    """The rows of these columns, to be compared."""
    rows = list(zip(*columns))
    return rows if ordered else Counter(rows)


def difference(found: Sequence[Row], expected: Sequence[Row]) -> str:
    """In words: what the rows differ in."""
    if len(found) != len(expected):
        return f"{len(found):,} rows, expected {len(expected):,}"
    if len(found[0]) != len(expected[0]):
        return f"{len(found[0])} columns, expected {len(expected[0])}"
    return "other order" if same_rows(found, expected) else "other values"
