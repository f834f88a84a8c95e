"""Questions to databases: what they ask is what their query finds, computed a second time in plain Python."""

import random
import re
import sqlite3
from collections import Counter
from statistics import mean

import pytest

from minillm.data import (
    prove_held_out,
    shared_forms,
    small_prompt,
    spaced,
    sql_in,
    sql_prompt,
    sql_tasks,
    unspaced,
)
from minillm.data.sql_forms import Asked, DoesNotFit
from minillm.data.sql_questions import FORMS
from minillm.data.sql_schemas import part_of_text, random_schema
from minillm.data.sql_words import COLUMNS, TABLES, Number, Text
from tests.helpers import soak_count


@pytest.fixture(scope="module")
def tasks():
    return sql_tasks(max(800, soak_count(8000)), "train", seed=1)


def found(task):
    connection = sqlite3.connect(":memory:")
    connection.executescript(task.script)
    rows = connection.execute(task.sql).fetchall()
    connection.close()
    return rows


def test_every_query_runs_and_finds_something(tasks):
    for task in tasks:
        rows = found(task)
        assert rows, task
        assert rows[0][0] not in (None, 0) or task.form in ("join_aggregate", "aggregate_text"), task


def test_every_form_language_and_number_of_tables_is_there(tasks):
    forms = Counter((task.form, task.language) for task in tasks)
    assert set(forms) == {(form, language) for form in FORMS for language in ("en", "ko")}
    assert {len(task.schema.tables) for task in tasks} == {1, 2, 3}
    assert {task.schema.korean for task in tasks} == {True, False}


def test_what_is_asked_in_english_is_what_the_query_finds(tasks):
    """The sentence is read by patterns and answered from the rows in plain Python; SQL is not looked at."""
    answered = Counter()
    for task in tasks:
        if task.language == "en" and len(task.schema.tables) == 1:
            expected = by_hand(task)
            if expected is not None:
                assert sorted(map(repr, found(task))) == sorted(map(repr, expected)), task
                answered[task.form] += 1
    assert len(answered) >= 10
    assert answered.total() > 100


def by_hand(task):
    """The rows that answer an English question to one table."""
    table = task.schema.tables[0]
    column = {COLUMNS[concept].english: name for concept, name in table.columns}
    values = {english: task.schema.values(0, name) for english, name in column.items()}
    rows = range(len(task.schema.rows[0]))

    def fits(condition, row):
        sides = re.fullmatch(r"(.+?) is (above|after|below|before) (\d+)", condition)
        if sides:
            number = values[sides[1]][row]
            return number > int(sides[3]) if sides[2] in ("above", "after") else number < int(sides[3])
        name, text = re.fullmatch(r"(.+?) is (.+)", condition).groups()
        return values[name][row] == text

    words, question = TABLES[table.concept].english, task.question.rstrip("?.")
    question, _, condition = question.partition(" whose ")
    chosen = [row for row in rows if all(fits(one, row) for one in condition.split(" and whose ") if one)]
    if re.fullmatch(rf"How many {words} are there", question):
        return [(len(chosen),)]
    if one := re.fullmatch(rf"How many {words} are there for each (.+)", question):
        return list(Counter(values[one[1]]).items())
    if one := re.fullmatch(rf"What is the average (.+) of the {words} for each (.+)", question):
        groups = {
            text: [values[one[1]][r] for r in rows if values[one[2]][r] == text]
            for text in set(values[one[2]])
        }
        return [(text, float(mean(group))) for text, group in groups.items()]
    if one := re.fullmatch(
        rf"What is the (average|highest|latest|lowest|earliest|total) (.+) of the {words}", question
    ):
        work = {"average": mean, "highest": max, "latest": max, "lowest": min, "earliest": min, "total": sum}[
            one[1]
        ]
        value = work(values[one[2]][row] for row in chosen)
        return [(float(value) if one[1] == "average" else value,)]
    if one := re.fullmatch(rf"What is the (.+) of the {words}", question):
        return [(values[one[1]][row],) for row in chosen]
    if one := re.fullmatch(
        rf"(?:Show|List|Give me) the (.+) of the (\d) {words} with the (\w+) (.+)", question
    ):
        down = one[3] in ("highest", "latest")
        best = sorted(rows, key=lambda row: values[one[4]][row], reverse=down)[: int(one[2])]
        return [(values[one[1]][row],) for row in best]
    if one := re.fullmatch(rf"(?:Show|List|Give me) the (.+?)(?: and (.+))? of all {words}", question):
        return [tuple(values[name][row] for name in one.groups() if name) for row in rows]
    return None


def test_a_question_in_both_languages_has_one_query():
    """The two sentences of a form are drawn with the same query."""
    rng = random.Random(0)
    for form in FORMS.values():
        while True:
            try:
                schema = random_schema(rng, 3 if form.__name__ == "join_both" else 2)
                sql, english, korean = form(Asked(random.Random(5), schema))
                break
            except DoesNotFit:
                continue
        numbers = re.findall(r"\d+", sql)
        for one in numbers + re.findall(r"'(\w+)'", sql):
            if not sql.endswith("LIMIT " + one):
                assert one in english
            assert one in korean


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ("where_text", r"(.+)[이가] (\S+)인 (\S+)의 (.+)[은는] (무엇|어디|언제|얼마|몇 [살점개쪽])인가요\?"),
        ("count_number", r"(.+)[이가] (\d+)[세점개쪽년]?보다 (\S+) (\S+)[은는] 몇 (\S+)인가요\?"),
        ("best", r"(.+)[이가] 가장 (\S+) (\S+) (\d)(\S)의 (.+)[을를] 보여 줘\."),
        ("group_count", r"(.+)별 (\S+) 수를 보여 줘\."),
    ],
)
def test_korean_particles_fit(tasks, form, wanted):
    """은 after a consonant, 는 after a vowel, by the Unicode number of the syllable before it."""
    asked = [task.question for task in tasks if task.form == form and task.language == "ko"]
    assert asked
    for question in asked:
        assert re.fullmatch(wanted, question), question
        for letter, particle in re.findall(r"([가-힣])([은는이가을를](?= )|[과와](?= ))", question):
            final = (ord(letter) - 0xAC00) % 28 != 0
            if particle in "은을과" and question[question.index(letter + particle) + 1] == particle:
                assert final or letter + particle in ("높은", "많은", "적은", "늦은", "낮은"), question


def test_korean_says_years_as_years_and_asks_as_one_asks(tasks):
    """2014년보다, never 2014보다; 언제 for a year, 어디 for a city; nobody asks for an average of years."""
    years = {
        name for one in COLUMNS.values() if isinstance(one, Number) and one.year for name in one.spellings
    }
    korean = [task for task in tasks if task.language == "ko"]
    compared = [task for task in korean if re.search(rf"\b({'|'.join(years)}) [<>]", task.sql)]
    assert len(compared) > 5
    assert all(re.search(r"연도가 \d{4}년보다 (늦은|이른) ", task.question) for task in compared)
    for task in tasks:
        assert not re.search(rf"(AVG|SUM)\([a-z]*\.?({'|'.join(years)})\)", task.sql), task
        if task.language == "ko":
            assert not re.search(r"(도시|국가|연도)[은는] (무엇|얼마)", task.question), task
            assert not re.search(r"나이는 (무엇|얼마)", task.question), task
    assert any(re.search(r"\d[세점개쪽]보다", task.question) for task in korean)
    assert any(
        re.search(r"(나이|점수|재고|쪽수|평점|객실 수)[이가] \d+보다", task.question) for task in korean
    )


def test_parts_share_no_schema_and_no_question():
    parts = {part: sql_tasks(soak_count(8000), part, seed=0) for part in ("train", "validation", "test")}
    for one, other in (("test", "train"), ("validation", "train"), ("test", "validation")):
        for what, of in (("schema", lambda t: t.ddl), ("question", lambda t: t.question)):
            proof = prove_held_out({of(t) for t in parts[one]}, {of(t) for t in parts[other]}, what=what)
            assert proof.items > 50
    assert all(
        part_of_text(task.ddl) == part == part_of_text(task.question)
        for part in parts
        for task in parts[part]
    )
    assert shared_forms(parts["test"], parts["train"]) > 0.9  # said, not hidden


def test_the_same_seed_gives_the_same_and_a_longer_list_begins_with_the_shorter():
    short, long, other = sql_tasks(40, seed=3), sql_tasks(90, seed=3), sql_tasks(40, seed=4)
    assert long[:40] == short != other
    assert all(
        len(task.schema.tables) == 2 and task.language == "ko"
        for task in sql_tasks(20, languages=("ko",), tables=(2,))
    )
    assert sql_tasks(0) == []


def test_every_column_has_several_spellings_and_none_means_two_things_in_a_table():
    for table in TABLES.values():
        names = [name for concept in table.columns for name in COLUMNS[concept].spellings]
        assert len(set(names)) == len(names)
        assert all(len(COLUMNS[concept].spellings) == 3 for concept in table.columns)
    tables = [name for table in TABLES.values() for name in table.spellings]
    assert len(set(tables)) == len(tables)
    for one in COLUMNS.values():
        assert isinstance(one, Number) or (len(set(one.english_values)) == len(one.english_values) >= 6)
        assert isinstance(one, (Text, Number))


def test_bad_arguments_are_named():
    for given, words in (
        ({"n": -1}, "n must be"), ({"n": 1, "part": "exam"}, "part must be one of"),
        ({"n": 1, "languages": ("fr",)}, "languages"),
        ({"n": 1, "tables": (4,)}, "tables"), ({"n": 1, "tables": ()}, "tables must be a list"),
        ({"n": 1, "seed": -1}, "seed"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            sql_tasks(**given)
    with pytest.raises(ValueError, match="at least one task"):
        shared_forms([], [])


# --- prompts ---


def test_the_prompt_has_the_three_parts_in_the_books_order():
    prompt = sql_prompt("CREATE TABLE t (a TEXT);", "누구?")
    assert re.fullmatch(
        r"You write SQL[^\n]*\n\nDDL:\nCREATE TABLE t \(a TEXT\);\n\nQuestion:\n누구\?\n\nSQL:\n", prompt
    )
    assert sql_prompt("d", "q", "") == "DDL:\nd\n\nQuestion:\nq\n\nSQL:\n"
    with pytest.raises(ValueError, match="question must be a str"):
        sql_prompt("d", None)


@pytest.mark.parametrize(
    ("reply", "sql"),
    [
        ("SELECT a FROM t", "SELECT a FROM t"),
        ("Sure! Here it is:\n```sql\nSELECT a\nFROM t;\n```\nDone.", "SELECT a\nFROM t"),
        ("The query is SELECT a FROM t; it lists a.", "SELECT a FROM t"),
        ("select a from t\n\nThis selects a.", "select a from t"),
        ("```\nWITH x AS (SELECT 1) SELECT * FROM x", "WITH x AS (SELECT 1) SELECT * FROM x"),
        ("I do not know.", "I do not know."),
        ("", ""),
    ],
)
def test_the_query_is_found_in_a_reply(reply, sql):
    assert sql_in(reply) == sql


def test_spaced_queries_come_back_as_the_same_query(tasks):
    connection = sqlite3.connect(":memory:")
    for task in tasks[: soak_count(8000)]:
        text = spaced(task.sql)
        assert unspaced(text).replace(" ", "") == task.sql.replace(" ", "")
        assert " ".join(re.findall(r"'(.*?)'", unspaced(text))) == " ".join(re.findall(r"'(.*?)'", task.sql))
        assert all(
            f" {word}" in small_prompt(task.ddl, task.question) for word in text.split() if word.islower()
        )
        assert sqlite3.complete_statement(unspaced(text) + ";")
    connection.close()
