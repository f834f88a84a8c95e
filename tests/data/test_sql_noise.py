"""Bad training rows: each kind is what it says, and running finds those that do not run."""

import sqlite3

import pytest

from minillm.data import sql_tasks
from minillm.data.sql_noise import found_by_kind, noisy_rows, running
from tests.helpers import soak_count


def plain(task, sql):
    """What sqlite3 itself finds, or None."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(task.script)
    try:
        return sorted(map(repr, connection.execute(sql).fetchall()))
    except (sqlite3.Error, sqlite3.Warning):
        return None
    finally:
        connection.close()


def test_running_finds_what_does_not_run_and_nothing_else():
    tasks = sql_tasks(soak_count(4000), seed=2)
    rows = noisy_rows(tasks, {"truncated": 0.2, "wrong_schema": 0.2, "valid_but_wrong": 0.2}, seed=1)
    kept = running(rows)
    assert [row for row in rows if plain(row.task, row.task.sql) is not None] == kept
    counts = found_by_kind(rows, kept)
    assert counts["clean"][0] == counts["valid_but_wrong"][0] == 0
    assert counts["wrong_schema"][0] >= 0.8 * counts["wrong_schema"][1] > 10
    assert counts["truncated"][0] >= 0.8 * counts["truncated"][1] > 10
    assert sum(there for _, there in counts.values()) == len(rows)
    for task, row in zip(tasks, rows):
        assert (row.task.sql == task.sql) == (row.kind == "clean")
        assert row.task.question == task.question
        if row.kind == "truncated":
            assert task.sql.startswith(row.task.sql)


def test_the_same_seed_spoils_the_same_rows():
    tasks = sql_tasks(100, seed=2)
    assert noisy_rows(tasks, seed=1) == noisy_rows(tasks, seed=1) != noisy_rows(tasks, seed=2)
    assert all(row.kind == "clean" for row in noisy_rows(tasks, {}))
    for shares, words in (({"bad": 0.1}, "shares must name"), ({"truncated": 2}, "between 0 and 1"),
                          ({"truncated": 0.6, "wrong_schema": 0.6}, "at most 1")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            noisy_rows(tasks, shares)
