"""Rows that a model writes, what is found wrong with them, which values a prompt shows, and the nearest question."""

import sqlite3
from collections import Counter

import pytest

from minillm.apps.text2sql import SQLProcess, SQLSandbox
from minillm.apps.text2sql.nearest import nearest_query, slotted
from minillm.apps.text2sql.prompt_values import ddl_with_values, few_values
from minillm.apps.text2sql.row_filters import fault_of
from minillm.apps.text2sql.row_writing import request_of, rows_in, second_query, written_rows
from minillm.apps.text2sql.shapes import PARTS, query_parts, sql_template
from minillm.data import sql_tasks
from minillm.inference import Reply, ScriptedChat
from tests.helpers import soak_count

DDL = "CREATE TABLE staff (id INTEGER PRIMARY KEY, full_name TEXT, town TEXT, wage INTEGER);"
STAFF = f"""{DDL}
INSERT INTO staff VALUES (1, '민준', '서울', 5000), (2, '서연', '부산', 4000), (3, '지호', '서울', 6000);"""
REPLY = """Here you are:
1. Q: 도시가 서울인 직원은 몇 명인가요?
   SQL: SELECT COUNT(*) FROM staff WHERE town = '서울';
**Q:** Who earns most?
**SQL:** ```sql
SELECT full_name
FROM staff ORDER BY wage DESC LIMIT 1
```
Q: no query
Q: How many earn above 4500?
SQL: SELECT COUNT(*) FROM staff WHERE wage > 45"""


def test_rows_are_read_from_a_reply_however_it_is_written():
    rows = rows_in(REPLY)
    assert [row.question for row in rows] == [
        "도시가 서울인 직원은 몇 명인가요?",
        "Who earns most?",
        "How many earn above 4500?",
    ]
    assert rows[0].sql == "SELECT COUNT(*) FROM staff WHERE town = '서울'"
    assert rows[1].sql.split() == "SELECT full_name FROM staff ORDER BY wage DESC LIMIT 1".split()  # noqa: SIM905
    assert rows_in("") == rows_in("SQL: SELECT 1") == rows_in("I cannot do that.") == []
    assert rows_in("Q: a\nSQL:") == [("a", "")]
    assert rows_in("Q: what is 9) SQL: ?\nSQL: SELECT 9") == [("what is 9) SQL: ?", "SELECT 9")]


def test_a_reply_that_was_cut_off_loses_its_last_row():
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    chat = ScriptedChat([Reply(REPLY, usage, "length"), REPLY, "It is:\nSELECT 1; That is all."])
    assert len(written_rows(chat, DDL, 4)) == 2
    assert len(written_rows(chat, DDL, 4)) == 3
    assert DDL in chat.asked[0][0]["content"]
    assert "Write 4 questions" in chat.asked[0][0]["content"]
    assert second_query(chat, DDL, "몇 명?") == "SELECT 1"
    assert "몇 명?" in chat.asked[2][0]["content"]
    for n in (0, 101, 1.5):
        with pytest.raises(ValueError, match="n must be"):
            request_of(DDL, n)


@pytest.mark.parametrize(
    ("sql", "second", "fault"),
    [
        ("SELECT COUNT(*) FROM staff WHERE town = '서울'", None, None),
        (
            "SELECT COUNT(*) FROM staff WHERE town = '서울'",
            "SELECT COUNT(id) FROM staff WHERE wage > 4000",
            None,
        ),
        ("SELECT name FROM staff", None, "does not run"),
        ("DELETE FROM staff", None, "does not run"),
        ("SELECT full_name FROM staff WHERE town = 'Seoul'", None, "finds nothing"),
        ("SELECT AVG(wage) FROM staff WHERE town = 'Seoul'", None, "finds nothing"),
        (
            "SELECT COUNT(*) FROM staff WHERE town = 'Seoul'",
            "SELECT COUNT(*) FROM staff WHERE wage > 9000",
            None,
        ),
        ("SELECT MAX(wage) FROM staff", "SELECT MIN(wage) FROM staff", "disagrees"),
        ("SELECT MAX(wage) FROM staff", "SELECT MAX(pay) FROM staff", "disagrees"),
        ("SELECT full_name FROM staff", "SELECT full_name FROM staff ORDER BY wage", None),
        ("SELECT full_name FROM staff ORDER BY wage", "SELECT full_name FROM staff", "disagrees"),
        ("SELECT full_name, town FROM staff", "SELECT town, full_name FROM staff", None),
    ],
)
def test_what_is_wrong_with_a_row(sql, second, fault):
    with SQLSandbox(script=STAFF) as box:
        assert fault_of(box, sql, second) == fault


def test_no_query_of_the_generator_is_at_fault_and_sqlite_says_the_same_of_broken_ones():
    tasks = sql_tasks(soak_count(1000), seed=4)
    faults = Counter()
    with SQLProcess() as process:
        for task in tasks:
            box = SQLSandbox(script=task.script, process=process)
            assert fault_of(box, task.sql, task.sql) is None
            cut = task.sql[: len(task.sql) * 2 // 3]
            plain = sqlite3.connect(":memory:")
            plain.executescript(task.script)
            try:
                rows = plain.execute(cut).fetchall()
                expected = (
                    None if any(value is not None for row in rows for value in row) else "finds nothing"
                )
            except sqlite3.Error:
                expected = "does not run"
            plain.close()
            assert fault_of(box, cut) == expected
            faults[expected] += 1
    assert faults["does not run"] > len(tasks) / 4


@pytest.mark.parametrize(
    ("sql", "template", "named"),
    [
        (
            "SELECT town, COUNT(*) FROM staff AS s WHERE s.wage > 3000 AND \"town\" = 'x' GROUP BY town;",
            "select _ , count ( * ) from _ where _ > ? and _ = ? group by _",
            "select town , count ( * ) from staff where wage > ? and town = ? group by town",
        ),
        (
            "SELECT T1.a FROM x AS T1 JOIN y AS T2 ON T1.id = T2.x_id LIMIT 3",
            "select _ from _ join _ on _ = _ limit ?",
            "select a from x join y on id = x_id limit ?",
        ),
        (
            "SELECT staff.town FROM staff WHERE id IN (SELECT id FROM b)",
            "select _ from _ where _ in ( select _ from _ )",
            "select staff . town from staff where id in ( select id from b )",
        ),
    ],
)
def test_a_template_has_no_names_and_no_values(sql, template, named):
    assert sql_template(sql) == template
    assert sql_template(sql, names=True) == named


def test_parts_of_queries():
    assert query_parts("SELECT a FROM x") == frozenset()
    assert query_parts("SELECT a FROM x, y WHERE x.i = y.i ORDER BY a LIMIT 1") == {"join", "order"}
    assert query_parts("SELECT a FROM x WHERE b > (SELECT AVG(b) FROM x)") == {"nested"}
    assert query_parts("SELECT a FROM x GROUP BY a HAVING COUNT(*) > 1 UNION SELECT a FROM y") == {
        "group",
        "having",
        "set",
    }
    with pytest.raises(ValueError, match="expected SELECT"):
        query_parts("DELETE FROM x")


def test_the_parts_are_those_of_the_forms():
    for task in sql_tasks(soak_count(2000), seed=5):
        expected = {"join"} if "JOIN" in task.sql else set()
        expected |= {"group"} if "GROUP" in task.sql else set()
        expected |= {"order"} if "ORDER" in task.sql else set()
        assert query_parts(task.sql) == expected <= set(PARTS)


VALUES = """CREATE TABLE people (name TEXT, grade TEXT, note TEXT, zip TEXT, "home town" TEXT);
INSERT INTO people VALUES ('Ann', 'gold', 'a
b', '123', 'Ulm'), ('Bo', 'gold', 'a
b', '456', 'Ulm'), ('Cy', 'it''s', NULL, '789', 'Bonn'), ('Di', 'it''s', '', '123', 'Bonn'),
('Ed', 'rare', NULL, '1', NULL);"""


def test_a_prompt_shows_texts_that_rows_share_and_no_others():
    with SQLSandbox(script=VALUES) as box:
        assert few_values(box) == {
            "people.grade": ["gold", "it's"],
            "people.zip": ["123"],
            "people.home town": ["Bonn", "Ulm"],
        }
        assert few_values(box, most=2) == {"people.home town": ["Bonn", "Ulm"]}
        assert "people.name" in few_values(box, repeats=1)
        lines = ddl_with_values(box).splitlines()
        assert lines[-3:] == [
            "-- people.grade: 'gold', 'it''s'",
            "-- people.zip: '123'",
            "-- people.home town: 'Bonn', 'Ulm'",
        ]
        plain = sqlite3.connect(":memory:")
        plain.executescript(ddl_with_values(box))  # still a script that makes the tables
        assert [one[1] for one in plain.execute("PRAGMA table_info(people)")] == [
            "name",
            "grade",
            "note",
            "zip",
            "home town",
        ]
        plain.close()
        with pytest.raises(ValueError, match="most must be"):
            few_values(box, most=0)


def test_the_nearest_question_lends_its_query():
    known = [
        slotted(
            "How many staff are there whose town is Seoul?",
            "SELECT COUNT(*) FROM staff WHERE town = 'Seoul'",
            ["Seoul"],
        ),
        slotted("Show staff above 30 with the 2 best", "SELECT a FROM staff WHERE b > 30 LIMIT 2"),
        slotted(
            "도시가 서울인 직원은 몇 명인가요?",
            "SELECT COUNT(*) FROM 직원 WHERE 도시 = '서울'",
            ["서울", "서"],
        ),
    ]
    assert known[1].sql == "SELECT a FROM staff WHERE b > #0 LIMIT #1"
    assert known[1].values == ("30", "2")
    asked = slotted("How many staff are there whose town is Busan?", "", ["Busan"])
    assert nearest_query(asked, known) == "SELECT COUNT(*) FROM staff WHERE town = 'Busan'"
    asked = slotted("도시가 부산인 직원은 몇 명인가요?", "", ["부산"])
    assert nearest_query(asked, known) == "SELECT COUNT(*) FROM 직원 WHERE 도시 = '부산'"
    assert slotted("t1 and 2.5", "SELECT t1 FROM x WHERE y > 2.5").sql == "SELECT t1 FROM x WHERE y > #0"
    for bad in ("서울", 5, None, ["서울", 5]):
        with pytest.raises(ValueError, match="texts must"):
            slotted("도시가 서울인 직원은 몇 명인가요?", "", bad)
    with pytest.raises(ValueError, match="at least one question"):
        nearest_query(asked, [])
