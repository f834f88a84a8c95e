"""Exact match: what counts as the same query and what does not; whatever comes in ends."""

import random
import re

import pytest

from minillm.apps.text2sql import differing_clauses, exact_match_sql, read_sql
from minillm.data import sql_tasks
from tests.helpers import soak_count

SAME = {
    "letters, spaces and a semicolon": ("select  NAME\nfrom People ;", "SELECT name FROM people"),
    "a comment": ("SELECT name /* all */ FROM people -- of them", "SELECT name FROM people"),
    "an alias": ("SELECT p.name FROM people AS p WHERE p.age > 3", "SELECT name FROM people WHERE age > 3"),
    "an alias without AS": ("SELECT p.name FROM people p", "SELECT people.name FROM people"),
    "quotes": ('SELECT name FROM people WHERE city = "Ulm"', "SELECT name FROM people WHERE city = 'Ulm'"),
    "names in quotes": ("SELECT `name` FROM [people]", "SELECT name FROM people"),
    "names in double quotes": (
        'SELECT "T1"."name", "T1".city FROM "people" AS "T1" WHERE "T1"."age" > 3 ORDER BY "T1"."age"',
        "SELECT name, city FROM people WHERE age > 3 ORDER BY age",
    ),
    "columns in double quotes": (
        'SELECT "a", count("b") FROM "t" WHERE "c" > 3 AND "d" IN ("x", "y") GROUP BY "a"',
        "SELECT a, count(b) FROM t WHERE c > 3 AND d IN ('x', 'y') GROUP BY a",
    ),
    "texts in double quotes": (
        'SELECT a FROM t WHERE b BETWEEN "m" AND "n" AND c LIKE "%x" OR replace(b, "x", "y") = "z"',
        "SELECT a FROM t WHERE b BETWEEN 'm' AND 'n' AND c LIKE '%x' OR replace(b, 'x', 'y') = 'z'",
    ),
    "the order of columns": ("SELECT age, name FROM people", "SELECT name, age FROM people"),
    "the order of conditions": ("SELECT a FROM t WHERE b = 1 AND c > 2", "SELECT a FROM t WHERE c > 2 AND b = 1"),
    "the order of OR": ("SELECT a FROM t WHERE b = 1 OR c = 2", "SELECT a FROM t WHERE c = 2 OR b = 1"),
    "the two sides of =": ("SELECT a FROM t WHERE 1 = b", "SELECT a FROM t WHERE b = 1"),
    "a comparison from the other side": ("SELECT a FROM t WHERE 3 < b", "SELECT a FROM t WHERE b > 3"),
    "brackets around a whole": ("SELECT a FROM t WHERE ((b = 1) AND (c = 2))", "SELECT a FROM t WHERE b = 1 AND c = 2"),
    "<>": ("SELECT a FROM t WHERE b <> 1", "SELECT a FROM t WHERE b != 1"),
    "ASC": ("SELECT a FROM t ORDER BY b ASC", "SELECT a FROM t ORDER BY b"),
    "a name for a count": (
        "SELECT count(*) AS n FROM t GROUP BY a ORDER BY n", "SELECT count(*) FROM t GROUP BY a ORDER BY count(*)",
    ),
    "a join and a condition": (
        "SELECT t.a FROM t JOIN u ON t.i = u.i WHERE u.b = 1", "SELECT t.a FROM u, t WHERE u.b = 1 AND u.i = t.i",
    ),
    "INNER": ("SELECT t.a FROM t INNER JOIN u ON t.i = u.i", "SELECT x.a FROM t AS x JOIN u AS y ON y.i = x.i"),
    "a query within": (
        "SELECT a FROM t WHERE b IN (SELECT z.c FROM u AS z WHERE z.d = 1)",
        "select a from t where b in (select c from u where d = 1)",
    ),
    "both sides of UNION": ("SELECT p.a FROM t p UNION SELECT b FROM u", "SELECT a FROM t UNION SELECT u.b FROM u"),
    "BETWEEN": (
        "SELECT a FROM t WHERE c = 1 AND b BETWEEN 1 AND 2", "SELECT a FROM t WHERE b BETWEEN 1 AND 2 AND c = 1",
    ),
    "WITH, written the same": ("WITH x AS (SELECT 1) SELECT * FROM x", "with x as (select 1) select * from x;"),
    "Korean": ("SELECT 이름 FROM 직원 WHERE 도시='서울'", "select 이름 from 직원 where 도시 = '서울'"),
}  # fmt: skip
OTHER = {
    "another column": ("SELECT a FROM t", "SELECT b FROM t", ["select"]),
    "a column twice": ("SELECT a, a FROM t", "SELECT a FROM t", ["select"]),
    "another table": ("SELECT t.a FROM t, u", "SELECT t.a FROM t, v", ["from"]),
    "DISTINCT": ("SELECT DISTINCT a FROM t", "SELECT a FROM t", ["distinct"]),
    "a text in other letters": ("SELECT a FROM t WHERE b = 'ULM'", "SELECT a FROM t WHERE b = 'Ulm'", ["where"]),
    "the value": ("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = 2", ["where"]),
    "the sign": ("SELECT a FROM t WHERE b > 1", "SELECT a FROM t WHERE b < 1", ["where"]),
    "AND or OR": ("SELECT a FROM t WHERE b = 1 AND c = 2", "SELECT a FROM t WHERE b = 1 OR c = 2", ["where"]),
    "brackets that matter": (
        "SELECT a FROM t WHERE b = 1 AND (c = 2 OR d = 3)",
        "SELECT a FROM t WHERE (b = 1 AND c = 2) OR d = 3", ["where"],
    ),
    "NOT": ("SELECT a FROM t WHERE NOT b = 1", "SELECT a FROM t WHERE b = 1", ["where"]),
    "the order of keys": ("SELECT a FROM t ORDER BY b, c", "SELECT a FROM t ORDER BY c, b", ["order"]),
    "DESC": ("SELECT a FROM t ORDER BY b DESC", "SELECT a FROM t ORDER BY b", ["order"]),
    "the limit": ("SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 2", ["limit"]),
    "the group": ("SELECT a FROM t GROUP BY a", "SELECT a FROM t GROUP BY b", ["group"]),
    "HAVING": ("SELECT a FROM t GROUP BY a HAVING b > 1", "SELECT a FROM t GROUP BY a", ["having"]),
    "LEFT JOIN": (
        "SELECT t.a FROM t LEFT JOIN u ON t.i = u.i", "SELECT t.a FROM t JOIN u ON t.i = u.i", ["from", "where"],
    ),
    "UNION ALL": ("SELECT a FROM t UNION ALL SELECT b FROM u", "SELECT a FROM t UNION SELECT b FROM u", ["set"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_the_same_query_in_another_spelling(name):
    one, other = SAME[name]
    assert exact_match_sql(one, other)
    assert exact_match_sql(other, one)
    assert one.startswith("WITH") or differing_clauses(one, other) == []


@pytest.mark.parametrize("name", OTHER)
def test_another_query_and_the_clauses_it_differs_in(name):
    one, other, clauses = OTHER[name]
    assert not exact_match_sql(one, other)
    assert not exact_match_sql(other, one)
    assert differing_clauses(one, other) == clauses


def test_a_schema_says_whose_column_it_is():
    one, other = (
        "SELECT name FROM dogs JOIN owners ON dogs.o = owners.i",
        "SELECT owners.name FROM dogs JOIN owners ON dogs.o = owners.i",
    )
    assert not exact_match_sql(one, other)
    assert exact_match_sql(one, other, {"Dogs": ["o"], "owners": ["i", "Name"]})
    assert exact_match_sql('SELECT "name" FROM dogs', "SELECT name FROM dogs", {"dogs": ["name"]})


def test_masked_leaves_values_and_distinct_out():
    one, other = "SELECT DISTINCT a FROM t WHERE b = 'x' LIMIT 3", "SELECT a FROM t WHERE b = 'y' LIMIT 5"
    assert not exact_match_sql(one, other)
    assert exact_match_sql(one, other, masked=True)
    assert not exact_match_sql(one, "SELECT a FROM t WHERE c = 'y' LIMIT 5", masked=True)


def test_a_prediction_that_cannot_be_read_is_wrong_and_a_gold_query_an_error():
    for bad in (
        "",
        "hello",
        "SELECT",
        "SELECT (a FROM t",
        "SELECT a FROM t)",
        "SELECT a FROM t WHERE",
        "\0",
        "SELECT 'a",
        "SELECT a FROM t ORDER a",
        "SELECT a FROM t BY ORDER a",
        "SELECT a FROM t GROUP BY",
        "SELECT a FROM t ORDER BY a, ",
        "SELECT a FROM t LIMIT 1 WHERE b",
        "SELECT a FROM",
        "SELECT a FROM t, JOIN u",
        "SELECT a FROM t JOIN JOIN u",
        "SELECT a FROM t LEFT u",
        "SELECT a FROM t AS",
        "SELECT a FROM t AS by",
        "SELECT a FROM t u v",
        "SELECT a FROM t 3",
        "SELECT a FROM (SELECT a FROM t) 'x'",
        "SELECT a FROM t WHERE = b c",
        "SELECT a FROM [t",
    ):
        assert not exact_match_sql(bad, "SELECT a FROM t")
        with pytest.raises(ValueError):
            read_sql(bad)
    with pytest.raises(ValueError, match=r"gold query 'hello' cannot be read: expected SELECT"):
        exact_match_sql("SELECT a FROM t", "hello")
    with pytest.raises(ValueError, match="predicted must be a str"):
        exact_match_sql(None, "SELECT a FROM t")
    for deep in (
        "(" * 100_000,
        "SELECT " + "(" * 5000 + "1" + ")" * 5000,
        "SELECT a FROM t WHERE " + "NOT " * 50_000 + "a",
    ):
        assert not exact_match_sql(deep, "SELECT a FROM t")


def test_queries_of_the_generator_are_equal_to_themselves_alone():
    """Two queries of one schema that are written differently are different ones: no form says a thing in two ways."""
    queries = sorted({task.sql for task in sql_tasks(soak_count(4000), "train", seed=3)})
    rng = random.Random(0)
    for query in queries:
        assert exact_match_sql(query.replace("SELECT", "select").replace(" FROM ", "\nfrom "), query)
        other = rng.choice(queries)
        assert exact_match_sql(other, query) == (other == query)


def test_pieces_of_queries_end_in_a_verdict():
    rng = random.Random(0)
    words = "SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT ( ) , . * = > AND OR NOT IN UNION JOIN ON AS t a"
    pieces = [*re.findall(r"\S+", words), "'x'", "1", '"', ";", "--"]
    read = 0
    for _ in range(soak_count(20_000)):
        sql = " ".join(["SELECT", *rng.choices(pieces, k=rng.randint(1, 25))])
        try:
            read += read_sql(sql) is not None
        except ValueError:
            continue
        assert exact_match_sql(sql, sql)
    assert read > 50
