"""Abbreviated names: the questions and the rows stay, the new query finds what the old one finds."""

import sqlite3

import pytest

from minillm.data import prove_held_out, sql_tasks
from minillm.data.sql_respelled import COLUMN_NAMES, TABLE_NAMES, renamed, respelled_tasks
from minillm.data.sql_schemas import part_of_text
from minillm.data.sql_words import COLUMNS, TABLES


def found(script, sql):
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


def test_the_new_query_finds_what_the_old_one_finds():
    old = {(one.question, one.schema.rows): one for one in sql_tasks(800, tables=(1, 2, 3), seed=3)}
    new = respelled_tasks(200, seed=3, tables=(1, 2, 3))
    assert {len(task.schema.tables) for task in new} == {1, 2, 3}
    assert all((task.question, task.schema.rows) in old for task in new)
    for task in new:
        before = old[task.question, task.schema.rows]
        assert found(task.script, task.sql) == found(before.script, before.sql)
        assert task.sql != before.sql
        assert renamed(task.sql, task.schema, before.schema) == before.sql


def test_texts_in_quotes_stay():
    task = next(one for one in sql_tasks(200) if "'" in one.sql and len(one.schema.tables) == 1)
    name = task.schema.tables[0].name
    other = next(one for one in respelled_tasks(1) if one).schema
    sql = f"SELECT COUNT(*) FROM {name} WHERE name = '{name}'"
    assert renamed(sql, task.schema, other).endswith(f"'{name}'")


def test_every_concept_has_two_names_and_none_is_a_name_of_the_old_world():
    assert set(TABLE_NAMES) == set(TABLES)
    assert set(COLUMN_NAMES) == set(COLUMNS)
    names = [name for pair in (*TABLE_NAMES.values(), *COLUMN_NAMES.values()) for name in pair]
    assert len(set(names)) == len(names) == 2 * (len(TABLES) + len(COLUMNS))
    assert not {s for one in (*TABLES.values(), *COLUMNS.values()) for s in one.spellings} & set(names)


def test_parts_are_apart_and_a_longer_list_begins_with_the_shorter():
    taught, exam = respelled_tasks(400, "train"), respelled_tasks(60, "test")
    for what, of in (("schema", lambda t: t.ddl), ("question", lambda t: t.question)):
        assert prove_held_out({of(t) for t in exam}, {of(t) for t in taught}, what=what).items > 20
    assert all(part_of_text(task.ddl) == "test" for task in exam)
    assert respelled_tasks(30, "train") == taught[:30]
    assert {one.language for one in exam} == {"en", "ko"}
    with pytest.raises(ValueError, match="part must be one of"):
        respelled_tasks(1, "exam")
