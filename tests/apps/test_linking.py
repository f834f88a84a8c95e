"""Linking: a question to any database in the small model's words, and its query back in the database's names."""

import sqlite3

import pytest

from minillm._files import BadFileError
from minillm.apps.text2sql import SQLSandbox
from minillm.apps.text2sql.csv_folder import database_of_csv
from minillm.apps.text2sql.linking import NothingTouched, link, mentions
from minillm.apps.text2sql.tables import read_tables
from minillm.sandbox import Failed

SCRIPT = """
CREATE TABLE customers (customer_id INTEGER PRIMARY KEY, company_name TEXT, region TEXT);
CREATE TABLE "order list" (
    "order no" INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers(customer_id), "ship country" TEXT,
    freight REAL, note TEXT
);
CREATE TABLE 강의 (번호 INTEGER, 과목 TEXT, 학점 INTEGER);
INSERT INTO customers VALUES (1, 'Alfreds', 'North'), (2, 'Bolido', 'South'), (3, 'O''Neil', 'North');
INSERT INTO "order list" VALUES
    (1, 1, 'Norway', 3.5, NULL), (2, 2, 'Norway', 1.5, 'late'), (3, 1, 'Korea', 9, NULL), (4, 3, 'Korea', 2, NULL);
INSERT INTO 강의 VALUES (1, '물리학', 3), (2, '국사', 2);
"""


@pytest.fixture(scope="module")
def box():
    with SQLSandbox(script=SCRIPT) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def tables(box):
    return read_tables(box)


def test_tables_are_read(tables):
    assert list(tables) == ["customers", "order list", "강의"]
    orders = tables["order list"]
    assert orders.columns == {
        "order no": "number", "customer_id": "number", "ship country": "text", "freight": "number", "note": "text",
    }  # fmt: skip
    assert orders.references == {"customer_id": ("customers", "customer_id")}
    assert (orders.key, tables["customers"].key, tables["강의"].key) == ("order no", "customer_id", "번호")
    assert sorted(tables["customers"].values["region"]) == ["North", "South"]
    with SQLSandbox(script="SELECT 1;") as empty, pytest.raises(Failed, match="no table"):
        read_tables(empty)


@pytest.mark.parametrize(
    ("question", "touched", "model", "rows"),
    [
        (
            "What is the average freight of the order list whose ship country is Norway?",
            ["order list.freight", "order list", "order list.ship country", "Norway"],
            "SELECT AVG ( price ) FROM products WHERE color = 'red'",
            [(2.5,)],
        ),
        (
            "How many order lists are there whose customer has the region North?",
            ["order list", "customers", "customers.region", "North"],
            "SELECT COUNT ( * ) FROM products JOIN companies ON products . companies_id = companies . id "
            "WHERE companies . city = 'Seoul'",
            [(3,)],
        ),
        (
            "학점이 가장 높은 강의 2개의 과목을 보여 줘.",
            ["강의.학점", "강의", "강의.과목"],
            "SELECT color FROM products ORDER BY price DESC LIMIT 2",
            [("물리학",), ("국사",)],
        ),
        (
            "What is the freight of the order list whose customer has the company name O'Neil?",
            ["order list.freight", "order list", "customers", "customers.company_name", "O'Neil"],
            "SELECT products . price FROM products JOIN companies ON products . companies_id = companies . id "
            "WHERE companies . name = 'Nova'",
            [(2.0,)],
        ),
    ],
)
def test_a_question_and_its_query_come_back(box, tables, question, touched, model, rows):
    linked = link(question, tables)
    assert linked.touched == touched
    for name in ("freight", "ship", "order", "Norway", "North", "학점", "과목", "강의", "O'Neil"):
        assert name not in linked.question
    built = sqlite3.connect(":memory:")
    built.executescript(linked.ddl)
    built.execute(model)  # it is a query to the tables that the model reads
    built.close()
    assert box.run(linked.restore(model)) == rows


def test_a_word_that_is_nothing_here_is_declined(tables):
    for question in ("What is love?", "", "저녁 메뉴는?", "ordered", "12"):
        with pytest.raises(
            NothingTouched,
            match=r"no word of the question .* customers \(customer_id, company_name, region\)",
        ):
            link(question, tables)
    linked = link("How many customers are there?", tables)
    with pytest.raises(ValueError, match="the name 'salary', which stands for nothing here"):
        linked.restore("SELECT salary FROM products")


def test_the_longest_mention_wins(tables):
    found = mentions("order list by ship country", tables)
    assert [(one.table, one.column) for one in found] == [
        ("order list", None),
        ("order list", "ship country"),
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [("country", "countries"), ("boxes", "box"), ("dog", "dogs"), ("companies", "company"), ("Bus", "buses")],
)
def test_singular_and_plural_are_one(name, said):
    with SQLSandbox(script=f"CREATE TABLE {name} (id INTEGER); INSERT INTO {name} VALUES (1);") as box:
        assert link(f"How many {said} are there?", read_tables(box)).touched == [name]
        with pytest.raises(NothingTouched):
            link(f"How many {said}x are there?", read_tables(box))


def test_known_names_keep_their_meaning():
    script = "CREATE TABLE staff (id INTEGER PRIMARY KEY, town TEXT, wage INT); INSERT INTO staff VALUES (1, 'Ulm', 3);"
    with SQLSandbox(script=script) as box:
        linked = link("직원의 연봉 합계는 얼마인가요?", read_tables(box))
        assert linked.question == "직원의 연봉 합계는 얼마인가요?"
        assert box.run(linked.restore("SELECT SUM ( salary ) FROM employees")) == [(3,)]


# --- folders of CSV files ---


def test_a_folder_of_csv_files_is_a_database(tmp_path):
    (tmp_path / "crew.csv").write_text('\ufeffname,"pay, net",code\nAnn,1.5,007\n서연,,1\n', encoding="utf-8")
    (tmp_path / "도시.CSV").write_text("이름,인구\n서울,9\n부산,3\n", encoding="utf-8")
    (tmp_path / "note.txt").write_text("x")
    assert database_of_csv(tmp_path, tmp_path / "made.sqlite") == ["crew", "도시"]
    with SQLSandbox(tmp_path / "made.sqlite") as box:
        assert box.query("SELECT * FROM crew") == (
            ("name", "pay, net", "code"),
            [("Ann", 1.5, "007"), ("서연", None, "1")],
        )
        assert box.run('SELECT sum("인구") FROM "도시"') == [(12,)]
        assert read_tables(box)["도시"].columns == {"이름": "text", "인구": "number"}


def test_a_folder_that_will_not_do_is_named(tmp_path):
    with pytest.raises(BadFileError, match=r"must hold 1 to 100 \.csv files, it holds 0"):
        database_of_csv(tmp_path, tmp_path / "made.sqlite")
    (tmp_path / "a.csv").write_bytes(b"x\n\xff\xfe\n")
    with pytest.raises(BadFileError, match=r"a\.csv"):
        database_of_csv(tmp_path, tmp_path / "made.sqlite")
