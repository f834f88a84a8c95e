"""GeoQuery made short: the short queries find the rows that the data set itself records; names are put back."""

import sqlite3

import pytest

from minillm.apps.text2sql import SQLSandbox
from minillm.data import load_dataset
from minillm.data.geoquery import IDLE, GeoTask, filled, geo_tasks, linked_sql, opposite, short_sql, varied


@pytest.fixture(scope="module")
def geo(real_data):
    real_data("text2sql/geoquery/geoquery.shared.jsonl")
    (path,) = load_dataset("geoquery", "database").values()
    with SQLSandbox(path) as box:
        rows = load_dataset("geoquery", "test")
        yield path, list(rows), geo_tasks(rows, box)


def test_short_queries_find_the_same_rows(geo):
    path, rows, tasks = geo
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    assert len(tasks) == sum(row["executable"] for row in rows)
    for task in tasks:
        expected = connection.execute(task.sql.replace('"', "'")).fetchall()
        assert connection.execute(task.short).fetchall() == expected
    connection.close()
    assert sum(map(len, (task.short for task in tasks))) < 0.7 * sum(map(len, (task.sql for task in tasks)))
    assert not any("alias" in task.short.lower() for task in tasks)


def test_names_are_found_in_the_question_and_put_back(geo):
    _, _, tasks = geo
    for task in tasks:
        assert filled(linked_sql(task.short, task.names), task.names) == task.short
        for place, name in enumerate(task.names):
            assert name in task.question
            assert f"#{place}" in task.linked_question
    linked = [task for task in tasks if task.names]
    assert len(linked) > 100
    assert sum("#0" in task.linked_sql for task in linked) > 0.85 * len(linked)


def test_a_query_whose_short_form_finds_other_rows_keeps_its_names():
    script = "CREATE TABLE A (x INT, y INT); INSERT INTO A VALUES (1, 2), (2, 3);"
    with SQLSandbox(script=script) as box:
        sql = "SELECT Aalias0.x FROM A AS Aalias0 , A AS Aalias1 WHERE Aalias0.y = Aalias1.x ;"
        assert short_sql(box, sql) == "select a0.x from a as a0 , a as a1 where a0.y = a1.x"
        assert short_sql(box, "SELECT Aalias0.x FROM A AS Aalias0 ;") == "select x from a"


def test_an_opposite_asks_for_the_other_end():
    task = GeoTask(
        "",
        "",
        "",
        "what is the largest city in state #0",
        "select max ( x ) from t where y = '#0'",
        ("ohio",),
    )
    turned = opposite(task)
    assert turned.linked_question == "what is the smallest city in state #0"
    assert turned.linked_sql == "select min ( x ) from t where y = '#0'"
    assert opposite(turned) == task
    for question, sql in (
        ("the largest city of the smallest state", task.linked_sql), ("the largest city", "select x from t"),
        ("the largest city", "select max(x), min(x) from t"), ("the highest point", task.linked_sql),
    ):  # fmt: skip
        assert opposite(task._replace(linked_question=question, linked_sql=sql)) is None


def test_opposites_run_and_copies_lose_small_words_alone(geo):
    path, _, tasks = geo
    turned = [one for one in map(opposite, tasks) if one is not None]
    assert len(turned) > 10
    with SQLSandbox(path) as box:
        for task in turned:
            box.run(filled(task.linked_sql, task.names))
    copies = varied(tasks, 2, seed=1)
    assert copies == varied(tasks, 2, seed=1) != varied(tasks, 2, seed=2)
    assert len(copies) == 2 * (len(tasks) + len(turned))
    for task, copy in zip([*tasks, *turned], copies):
        left = iter(copy.linked_question.split())
        assert copy.linked_sql == task.linked_sql
        word = next(left, None)
        for one in task.linked_question.split():
            if one == word:
                word = next(left, None)
            else:
                assert one in IDLE
        assert word is None
