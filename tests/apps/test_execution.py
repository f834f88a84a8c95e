"""Execution match: rows, their order, columns, NULL and numbers; random tables against every order of the columns."""

import itertools
import random
import time
from collections import Counter

import pytest

from minillm._files import BadFileError
from minillm.apps.text2sql import SQLSandbox, compare_execution, execution_match, orders, same_rows
from minillm.sandbox import SandboxError, TooMuch
from tests.helpers import soak_count

SCRIPT = """
CREATE TABLE people (name TEXT, age INT, city TEXT, pay REAL);
INSERT INTO people VALUES ('Ann', 41, 'Ulm', 0.1), ('Bo', 9, NULL, 0.2), ('Cy', 41, 'Ulm', 0.3),
    ('Ann', 7, 'Bonn', NULL);
"""
RIGHT = {
    "the same": ("SELECT name FROM people", "SELECT name FROM people"),
    "columns swapped": ("SELECT age, name FROM people", "SELECT name, age FROM people"),
    "another order where none is asked": ("SELECT name FROM people ORDER BY name DESC", "SELECT name FROM people"),
    "the order that is asked": ("SELECT name FROM people ORDER BY pay", "SELECT name FROM people ORDER BY pay"),
    "another way to the same": ("SELECT max(age) FROM people", "SELECT age FROM people ORDER BY age DESC LIMIT 1"),
    "an order within only": (
        "SELECT name FROM people WHERE age = 7",
        "SELECT name FROM people WHERE age = (SELECT age FROM people ORDER BY age LIMIT 1)",
    ),
    "another name": ("SELECT count(*) AS n FROM people", "SELECT count(*) FROM people"),
    "NULL": ("SELECT city FROM people WHERE age < 10", "SELECT city FROM people WHERE name = 'Bo' OR age = 7"),
    "a whole number as a decimal": ("SELECT 41.0", "SELECT 41"),
    "the last digits of a sum": ("SELECT 0.1 + 0.2 + 0.3", "SELECT 0.3 + 0.2 + 0.1"),
    "a large number as a decimal": ("SELECT 1409517397.0", "SELECT 1409517397"),
    "a large sum": ("SELECT 1409517397.1 + 0.2", "SELECT 1409517397.3"),
    "no rows": ("SELECT name FROM people WHERE age > 99", "SELECT name, age FROM people WHERE city = 'Rom'"),
    "LIMIT without an order": ("SELECT name FROM people LIMIT 2", "SELECT name FROM people LIMIT 2"),
}  # fmt: skip
WRONG = {
    "a row more": ("SELECT name FROM people", "SELECT name FROM people LIMIT 3", "4 rows, expected 3"),
    "equal rows are two": ("SELECT DISTINCT name FROM people", "SELECT name FROM people", "3 rows, expected 4"),
    "other counts of equal rows": (
        "SELECT age FROM people WHERE age > 8 UNION ALL SELECT 9", "SELECT age FROM people", "other values",
    ),
    "the order": ("SELECT name FROM people ORDER BY age", "SELECT name FROM people ORDER BY age DESC", "other order"),
    "a column more": ("SELECT name, age FROM people", "SELECT name FROM people", "2 columns, expected 1"),
    "values mixed up": (
        "SELECT 1, 2 UNION ALL SELECT 2, 3", "SELECT 1, 3 UNION ALL SELECT 2, 2", "other values",
    ),
    "NULL is not zero": ("SELECT 0", "SELECT NULL", "other values"),
    "a text is no number": ("SELECT '41'", "SELECT 41", "other values"),
    "not the last digits": ("SELECT 0.3", "SELECT 0.3001", "other values"),
    "not one of a billion": ("SELECT 1409517396.0", "SELECT 1409517397", "other values"),
    "it does not run": ("SELECT nope FROM people", "SELECT name FROM people", "Failed: no such column: nope"),
    "it is not allowed": ("DROP TABLE people", "SELECT name FROM people", "Refused: only a query"),
    "it says nothing": ("", "SELECT name FROM people", "Refused: only a query"),
    "it runs on": (
        "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x FROM a) SELECT count(*) FROM a", "SELECT 1", "TooMuch",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def box():
    with SQLSandbox(script=SCRIPT, steps=200_000) as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", RIGHT)
def test_what_finds_the_same_is_right(box, name):
    assert compare_execution(box, *RIGHT[name]) == (True, None)


@pytest.mark.parametrize("name", WRONG)
def test_what_finds_something_else_is_wrong_and_says_why(box, name):
    predicted, gold, why = WRONG[name]
    found = compare_execution(box, predicted, gold)
    assert not found.match
    assert found.why.startswith(why)
    assert not execution_match(box, predicted, gold)


def test_a_gold_query_that_does_not_run_is_an_error(box):
    with pytest.raises(SandboxError, match=r"gold query 'SELECT x' gives no answer: no such column: x"):
        execution_match(box, "SELECT 1", "SELECT x")


def test_a_path_is_opened_and_one_that_is_no_database_named(tmp_path):
    with pytest.raises(BadFileError, match="No such file"):
        execution_match(tmp_path / "absent.sqlite", "SELECT 1", "SELECT 1")


def any_order(found, expected, ordered):
    """Every order of the columns, tried: what same_rows must come to."""
    if len(found) != len(expected) or not found:
        return len(found) == len(expected)
    if len(found[0]) != len(expected[0]):
        return False
    for order in itertools.permutations(range(len(found[0]))):
        rows = [tuple(row[i] for i in order) for row in found]
        if rows == expected if ordered else Counter(rows) == Counter(expected):
            return True
    return False


def test_random_tables_against_every_order_of_the_columns():
    rng, verdicts = random.Random(0), Counter()
    for _ in range(soak_count(20_000)):
        columns, values = rng.randint(1, 5), rng.choice(((0, 1), (None, 0, 1, "a", 2.5)))
        first = [tuple(rng.choices(values, k=columns)) for _ in range(rng.randint(0, 5))]
        second = [tuple(rng.sample(row, columns)) for row in first] if rng.random() < 0.3 else list(first)
        if rng.random() < 0.7:
            order = rng.sample(range(columns), columns)
            second = [tuple(row[i] for i in order) for row in second]
        if rng.random() < 0.4:
            rng.shuffle(second)
        ordered = rng.random() < 0.4
        expected = any_order(second, first, ordered)
        assert same_rows(second, first, ordered) == expected, (second, first, ordered)
        verdicts[expected] += 1
    assert min(verdicts.values()) > sum(verdicts.values()) / 10


def test_tables_that_are_built_to_need_every_order_end():
    """Forty columns, each a permutation of the same values; every pair of columns looks alike."""
    rng = random.Random(0)
    rows = [tuple(int(i == j) for i in range(40)) for j in range(40)]
    other = [tuple(rng.sample(row, 40)) for row in rows]
    start = time.process_time()
    try:
        found = same_rows(other, rows)
    except TooMuch:
        found = None
    assert found in (None, False)
    assert time.process_time() - start < 20


def test_only_the_order_of_the_whole_counts():
    assert orders("SELECT a FROM t ORDER BY a LIMIT 3")
    assert orders("select a from t union select b from u order by 1;")
    assert not orders("SELECT a FROM (SELECT a FROM t ORDER BY a)")
    assert not orders("SELECT 'ORDER BY' FROM t -- ORDER BY")
    assert not orders('SELECT "order" FROM t')
    assert not orders("SELECT (")
