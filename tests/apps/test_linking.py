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


def test_a_value_that_the_question_does_not_have_is_declined(box, tables):
    linked = link("How many order lists are there whose freight is above 5500 or note is Foo (bar)?", tables)
    assert "> 5500" in linked.restore("SELECT COUNT ( * ) FROM products WHERE price > 5500")
    assert linked.restore("SELECT color FROM products WHERE color = 'foo ( bar )' ORDER BY price LIMIT 1")
    for wrong in ("price > 550", "price > 5500 LIMIT 2", "color = 'blue'", "color = 'foo' AND price < 1"):
        with pytest.raises(ValueError, match="the question has not"):
            linked.restore(f"SELECT COUNT ( * ) FROM products WHERE {wrong}")


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


@pytest.mark.parametrize(
    ("script", "question", "touched", "model", "rows"),
    [
        (  # the blanks of names and texts stay
            "CREATE TABLE films (id INTEGER PRIMARY KEY, title TEXT, \"cost (USD)\" REAL);"
            "INSERT INTO films VALUES (1, 'Toy Story (1995)', 3), (2, 'A , B', 4);",
            "What is the cost (USD) of the films whose title is Toy Story (1995)?",
            ["films.cost (USD)", "films", "films.title", "Toy Story (1995)"],
            "SELECT year FROM movies WHERE title = 'Dawn'",
            [(3.0,)],
        ),
        (  # two references to one table: the one that is named
            "CREATE TABLE airports (id INTEGER PRIMARY KEY, city TEXT);"
            "CREATE TABLE flights (id INTEGER PRIMARY KEY, origin_id INT REFERENCES airports(id),"
            "destination_id INT REFERENCES airports(id), price INT);"
            "INSERT INTO airports VALUES (1, 'Seoul'), (2, 'Oslo');"
            "INSERT INTO flights VALUES (1, 1, 2, 5), (2, 2, 1, 6);",
            "What is the price of the flights whose destination airport has the city Oslo?",
            ["flights.price", "flights", "airports", "airports.city", "Oslo"],
            "SELECT products . price FROM products JOIN companies ON products . companies_id = companies . id "
            "WHERE companies . city = 'Seoul'",
            [(5,)],
        ),
        (  # two tables with a column of the same name: that of the table beside it; names in other capitals
            "CREATE TABLE firms (id INTEGER PRIMARY KEY, tag TEXT, place TEXT);"
            "CREATE TABLE gadgets (id INTEGER PRIMARY KEY, tag TEXT, firm_id INT REFERENCES Firms(ID));"
            "INSERT INTO firms VALUES (1, 'Zed', 'Ulm'); INSERT INTO gadgets VALUES (1, 'Q7', 1);",
            "What is the tag of the gadgets whose firm has the place Ulm?",
            ["gadgets.tag", "gadgets", "firms", "firms.place", "Ulm"],
            "SELECT products . color FROM products JOIN companies ON products . companies_id = companies . id "
            "WHERE companies . city = 'Seoul'",
            [("Q7",)],
        ),
        (  # a text that stands in two columns: the one that was named; a view is a table
            "CREATE TABLE t (id INTEGER PRIMARY KEY, home_team TEXT, away_team TEXT);"
            "CREATE VIEW games AS SELECT * FROM t;"
            "INSERT INTO t VALUES (1, 'Ajax', 'Porto'), (2, 'Porto', 'Ajax'), (3, 'Porto', 'Ajax');",
            "How many games are there whose away team is Ajax?",
            ["games", "games.away_team", "Ajax"],
            "SELECT COUNT ( * ) FROM products WHERE color = 'red'",
            [(2,)],
        ),
        (  # "me" is no state, IN is one
            "CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT, state TEXT, no INTEGER);"
            "INSERT INTO staff VALUES (1, 'Kim', 'ME', 3), (2, 'Lee', 'IN', 3), (3, 'Oh', 'OR', 2);",
            "Give me the name of the staff whose state is IN.",
            ["staff.name", "staff", "staff.state", "IN"],
            "SELECT name FROM employees WHERE city = 'Seoul'",
            [("Lee",)],
        ),
    ],
)  # fmt: skip
def test_what_is_not_clear_by_letters_alone(script, question, touched, model, rows):
    with SQLSandbox(script=script) as box:
        linked = link(question, read_tables(box))
        assert linked.touched == touched
        built = sqlite3.connect(":memory:")
        built.executescript(linked.ddl)
        built.execute(model)
        built.close()
        assert box.run(linked.restore(model)) == rows


def test_common_words_and_longer_words_are_no_names():
    script = 'CREATE TABLE 책 (a INTEGER, 수 INTEGER, i INTEGER, "no" INTEGER, state TEXT);'
    with SQLSandbox(script=f"{script} INSERT INTO 책 VALUES (1, 2, 3, 4, 'OR');") as box:
        tables = read_tables(box)
    for question in (
        "책임자는 수학을 잘하나요?",
        "Is there a cat in or not?",
        "What is love?",
        "No, all of them.",
    ):
        with pytest.raises(NothingTouched):
            link(question, tables)
    said = {'"no" of 책': ["책.no", "책"], "책들의 수는?": ["책", "책.수"], "책별 수": ["책", "책.수"]}
    said["책인가요"] = ["책"]
    for question, touched in said.items():
        assert link(question, tables).touched == touched


def test_a_question_that_leaves_the_reference_open_is_declined():
    script = (
        "CREATE TABLE teams (id INTEGER PRIMARY KEY, city TEXT); CREATE TABLE games (id INTEGER PRIMARY KEY, "
        "home_id INT REFERENCES teams, away_id INT REFERENCES teams); INSERT INTO teams VALUES (1, 'Ulm');"
    )
    joined = "SELECT COUNT ( * ) FROM products JOIN companies ON products . companies_id = companies . id"
    with SQLSandbox(script=script) as box:
        tables = read_tables(box)
        linked = link("How many games are there whose team has the city Ulm?", tables)
        with pytest.raises(NothingTouched, match="games refers to teams by home_id and by away_id"):
            linked.restore(joined)
        assert box.run(linked.restore("SELECT COUNT ( * ) FROM companies")) == [(1,)]
        for word in ("home", "away"):
            linked = link(f"How many games are there whose {word} team has the city Ulm?", tables)
            assert f'"games"."{word}_id" = "teams"."id"' in linked.restore(joined)


def test_a_korean_text_does_not_make_a_question_korean():
    script = "CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT, city TEXT);"
    with SQLSandbox(script=f"{script} INSERT INTO staff VALUES (1, '민준', '서울');") as box:
        tables = read_tables(box)
    english = link("What is the name of the employees whose city is 서울?", tables).question
    assert english == "What is the name of the employees whose city is Seoul?"
    assert link("name이 서울인 staff는?", tables).question.startswith("이름이")


def test_declared_keys_and_references_are_read_however_they_are_written():
    script = """
        CREATE TABLE "order list" (x INT, "order no" VARCHAR(5), CONSTRAINT k PRIMARY KEY ("order no"));
        CREATE TABLE parts (
            w NUMERIC(5, 2) DEFAULT (1 + 1), "the order" VARCHAR(5) REFERENCES "Order List"("Order No"),
            other VARCHAR(5), two INT, gone INT REFERENCES absent(id), FOREIGN KEY (other) REFERENCES [order list],
            FOREIGN KEY (w, two) REFERENCES "order list"(x, "order no")
        );
    """
    with SQLSandbox(script=script) as box:
        tables = read_tables(box)
    assert tables["order list"].key == "order no"
    place = ("order list", "order no")
    assert tables["parts"].references == {"the order": place, "other": place}


def test_a_large_database_is_read(tmp_path):
    """Long tables, long texts, pictures, many tables, views that do not run."""
    path = tmp_path / "large.sqlite"
    made = sqlite3.connect(path)
    made.execute("CREATE TABLE long (id INTEGER PRIMARY KEY, land TEXT, picture BLOB, story TEXT)")
    rows = "WITH RECURSIVE a(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM a WHERE i < 250000)"
    made.execute("INSERT INTO long VALUES (-1, 'c0', zeroblob(300000), ?)", ("x" * 150_000,))
    made.execute(f"INSERT INTO long {rows} SELECT i, 'c' || (i % 7), NULL, NULL FROM a")
    made.execute("CREATE VIEW broken AS SELECT random() AS r FROM absent")
    made.execute(f"CREATE TABLE wide ({', '.join(f'c{i}' for i in range(300))})")
    for i in range(150):
        made.execute(f"CREATE TABLE t{i} (id INTEGER)")
    made.commit()
    made.close()
    with SQLSandbox(path, steps=2_000_000) as box:
        tables = read_tables(box)
    assert list(tables) == ["long", *(f"t{i}" for i in range(150))]
    assert tables["long"].columns == {"id": "number", "land": "text", "picture": "text", "story": "text"}
    assert sorted(tables["long"].values["land"]) == [f"c{i}" for i in range(7)]
    script = "".join(f"CREATE TABLE t{i} (x);" for i in range(501))
    with SQLSandbox(script=script) as box, pytest.raises(Failed, match="more than 500 tables"):
        read_tables(box)


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
    (tmp_path / "a.csv").write_bytes("이름,나이\n서연,3\n".encode("cp949"))
    (tmp_path / "._a.csv").write_bytes(b"\0\xff")  # as macOS leaves beside a file
    with pytest.raises(BadFileError, match="cp949"):
        database_of_csv(tmp_path, tmp_path / "made.sqlite")
    assert database_of_csv(tmp_path, tmp_path / "other.sqlite", "cp949") == ["a"]
    with SQLSandbox(tmp_path / "other.sqlite") as box:
        assert box.query("SELECT * FROM a") == (("이름", "나이"), [("서연", 3)])
