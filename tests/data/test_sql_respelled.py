"""Abbreviated names: the questions and the rows stay, the new query finds what the old one finds."""

import random
import sqlite3

import pytest

from minillm.data import prove_held_out, sql_tasks
from minillm.data.sql_respelled import COLUMN_NAMES, TABLE_NAMES, _drawn, renamed, respelled, respelled_tasks
from minillm.data.sql_schemas import part_of_text
from minillm.data.sql_words import COLUMNS, TABLES


def found(script, sql):
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


def test_the_new_query_finds_what_the_old_one_finds():
    rng, tried = random.Random(0), set()
    for task in sql_tasks(200, tables=(1, 2, 3), seed=3):
        schema = _drawn(rng, task.schema, "train")
        if schema is not None:
            new = respelled(task, schema)
            assert sorted(found(new.script, new.sql)) == sorted(found(task.script, task.sql))
            assert new.sql != task.sql
            assert renamed(new.sql, schema, task.schema) == task.sql
            tried.add(len(schema.tables))
    assert tried == {1, 2, 3}


def test_texts_in_quotes_stay():
    task = next(one for one in sql_tasks(200) if "'" in one.sql and len(one.schema.tables) == 1)
    name = task.schema.tables[0].name
    other = next(one for one in respelled_tasks(1) if one).schema
    sql = f"SELECT COUNT(*) FROM {name} WHERE name = '{name}'"
    assert renamed(sql, task.schema, other).endswith(f"'{name}'")


def test_every_concept_has_one_name_and_none_is_a_name_of_the_old_world():
    assert set(TABLE_NAMES) == set(TABLES)
    assert set(COLUMN_NAMES) == set(COLUMNS)
    names = [*TABLE_NAMES.values(), *COLUMN_NAMES.values()]
    assert len(set(names)) == len(names) == len(TABLES) + len(COLUMNS)
    assert not {s for one in (*TABLES.values(), *COLUMNS.values()) for s in one.spellings} & set(names)


def test_parts_are_apart_and_a_longer_list_begins_with_the_shorter():
    taught, exam = respelled_tasks(400, "train"), respelled_tasks(200, "test")
    for what, of in (("schema", lambda t: t.ddl), ("question", lambda t: t.question)):
        assert prove_held_out({of(t) for t in exam}, {of(t) for t in taught}, what=what).items > 20
    assert all(part_of_text(task.ddl) == "test" for task in exam)
    assert respelled_tasks(30, "train") == taught[:30]
    assert len({(t.ddl, t.question) for t in taught}) == 400
    assert len({(t.ddl, t.question) for t in exam}) == 200
    assert {one.language for one in exam} == {"en", "ko"}
    with pytest.raises(ValueError, match="part must be one of"):
        respelled_tasks(1, "exam")
