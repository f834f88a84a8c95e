"""`minillm sql`: a user's own database is asked, shown and left as it is."""

import json
import sqlite3

import pytest

from minillm.cli import main
from minillm.course.small import sql_models


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "shop.sqlite"
    made = sqlite3.connect(path)
    made.executescript(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, country TEXT, freight REAL, scan BLOB);"
        "INSERT INTO orders VALUES (1, 'Norway', 3.5, x'00ff'), (2, 'Norway', 1.5, NULL), (3, 'Korea', 9, NULL);"
    )
    made.close()
    return path


def run(capsys, *arguments, code=0):
    assert main(["sql", *map(str, arguments)]) == code
    out = capsys.readouterr()
    return out.err if code else out.out


@pytest.fixture
def writes(monkeypatch):
    """The course's model, replaced by one that writes what it is told."""
    asked = []

    def answers(query):
        monkeypatch.setattr(sql_models, "sql_model", lambda progress: (None, None, {}))
        monkeypatch.setattr(sql_models, "sql_answers", lambda m, t, prompts: [asked.extend(prompts) or query])
        return asked

    return answers


def test_the_schema_is_shown(database, capsys):
    assert run(capsys, database).startswith("CREATE TABLE orders (id INTEGER PRIMARY KEY")
    assert json.loads(run(capsys, database, "--json"))["schema"][0].startswith("CREATE TABLE orders")


def test_a_question_is_answered_with_schema_query_and_rows(database, capsys, writes):
    asked = writes("SELECT AVG ( price ) FROM products WHERE country = 'Korea'")
    before = database.read_bytes(), database.stat().st_mtime_ns
    out = run(capsys, database, "What is the average freight of the orders whose country is Norway?")
    assert 'SELECT AVG("freight") FROM "orders" WHERE "country" = \'Norway\'' in out
    assert "the question names: orders.freight, orders, orders.country, Norway" in out
    assert out.endswith("2.5\n(1 row)\n")
    assert "What is the average price of the products whose country is" in " ".join(asked[0].split())
    assert (database.read_bytes(), database.stat().st_mtime_ns) == before


def test_json_holds_the_same(database, capsys):
    query = "SELECT id, scan, country FROM orders WHERE id < 3"
    found = json.loads(run(capsys, database, "orders", "--query", query, "--json"))
    assert found["columns"] == ["id", "scan", "country"]
    assert found["rows"] == [[1, "00ff", "Norway"], [2, None, "Norway"]]
    assert found["sql"] == query


def test_a_folder_of_csv_files_is_asked_and_stays(tmp_path, capsys):
    (tmp_path / "crew.csv").write_text("name,pay\nAnn,3\n서연,5\n", encoding="utf-8")
    assert run(capsys, tmp_path, "pay", "--query", "SELECT name, pay FROM crew").endswith(
        "Ann | 3\n서연 | 5\n(2 rows)\n"
    )
    assert [one.name for one in tmp_path.iterdir()] == ["crew.csv"]


def test_what_is_not_there_or_not_allowed_is_one_line(database, tmp_path, capsys, writes):
    assert "no word of the question" in run(capsys, database, "What is love?", code=1)
    assert "only a query" in run(capsys, database, "orders", "--query", "DROP TABLE orders", code=1)
    error = run(capsys, database, "orders", "--query", "SELECT x FROM orders", code=1)
    assert "no such column: x, in the query SELECT x FROM orders" in error
    assert "No such file" in run(capsys, tmp_path / "absent", "orders", code=1)
    (tmp_path / "text.sqlite").write_text("no database at all")
    assert "no SQLite database" in run(capsys, tmp_path / "text.sqlite", code=1)
    writes("")
    assert "the model wrote no query" in run(capsys, database, "How many orders are there?", code=1)
    writes("SELECT wage FROM staff")
    assert "stands for nothing here" in run(capsys, database, "How many orders are there?", code=1)


def test_a_korean_folder_is_read_in_its_encoding(tmp_path, capsys):
    (tmp_path / "직원.csv").write_bytes('이름,"연봉 (만원)"\n서연,5000\n'.encode("cp949"))
    assert "cp949" in run(capsys, tmp_path, code=1)
    query = 'SELECT "연봉 (만원)" FROM 직원'
    assert run(capsys, tmp_path, "--encoding", "cp949", "--query", query).endswith("5000\n(1 row)\n")
    assert "encoding must be" in run(capsys, tmp_path, "--encoding", "klingon", code=1)


def test_texts_do_not_command_the_terminal(tmp_path, capsys):
    path = tmp_path / "bad.sqlite"
    made = sqlite3.connect(path)
    made.execute("CREATE TABLE t (x TEXT DEFAULT '\033[2J',\n y TEXT)")
    made.execute("INSERT INTO t VALUES ('\033]0;owned\007', 'two\nlines')")
    made.commit()
    made.close()
    out = run(capsys, path, "--query", "SELECT x, y AS 'a\033b' FROM t")
    assert "\033" not in out.replace(query := "SELECT x, y AS 'a\033b' FROM t", "")
    assert query in out
    assert r"\x1b]0;owned\x07 | two\nlines" in out


def test_millions_of_rows_are_asked(tmp_path, capsys):
    path = tmp_path / "long.sqlite"
    made = sqlite3.connect(path)
    rows = "WITH RECURSIVE a(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM a WHERE i < 600000)"
    made.execute(f"CREATE TABLE t AS {rows} SELECT i, i % 3 AS x FROM a")
    made.close()
    assert "3 rows" in run(capsys, path, "--query", "SELECT x, count(*) FROM t GROUP BY x")


def test_many_rows_are_cut(tmp_path, capsys):
    (tmp_path / "n.csv").write_text("\n".join(["x", *map(str, range(50))]))
    assert run(capsys, tmp_path, "--query", "SELECT x FROM n").endswith("19\n(50 rows, the first 20 shown)\n")
