"""`minillm sql`: a question to your own database, the query that the course's model writes, and what it finds."""

from __future__ import annotations

import re
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from minillm.commands._show import print_json

MOST_SHOWN = 20  # rows
STEPS = 1_000_000_000  # one's own tables may have millions of rows: the clock ends what takes too long
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def sql(options: Namespace) -> None:
    """Schema, query, rows. Nothing is written; a folder of CSV files becomes a database that is gone afterwards."""
    from minillm.apps.text2sql.csv_folder import database_of_csv
    from minillm.sandbox import SQLSandbox

    with tempfile.TemporaryDirectory(prefix="minillm-sql-") as folder:
        path = options.database
        if path.is_dir():
            path = Path(folder) / "tables.sqlite"
            database_of_csv(options.database, path, options.encoding)
        with SQLSandbox(path, steps=STEPS) as box:
            answer(box, options)


def answer(box: Any, options: Namespace) -> None:
    """Ask, and print."""
    from minillm.apps.text2sql.linking import link
    from minillm.apps.text2sql.tables import read_tables
    from minillm.sandbox import SandboxError

    query, touched = options.query, []
    if query is None and options.question is None:
        return show(options, {"schema": box.schema()})
    if query is None:
        linked = link(options.question, read_tables(box))  # declines before a model is made
        touched = linked.touched
        query = written(linked)
    try:
        found = box.query(query)
    except SandboxError as error:
        raise type(error)(f"{error}, in the query {query}") from None
    facts = {
        "schema": box.schema(),
        "touched": touched,
        "sql": query,
        "columns": found.columns,
        "rows": found.rows,
    }
    return show(options, facts)


def written(linked: Any) -> str:
    """The model's query to a question in its own words, in the database's names."""
    from minillm.course.small.sql_models import sql_answers, sql_model, sql_model_folder
    from minillm.data import small_prompt

    if not sql_model_folder().is_dir():
        print("minillm: making the model that writes SQL, once: about two minutes", file=sys.stderr)
    model, tokenizer, _ = sql_model(progress=True)
    (query,) = sql_answers(model, tokenizer, [small_prompt(linked.ddl, linked.question)])
    if not query:
        raise ValueError(f"the model wrote no query for this question; it read: {linked.question}")
    return linked.restore(query)


def show(options: Namespace, facts: dict[str, Any]) -> None:
    """For a terminal, or as JSON."""
    if options.json:
        values = {
            "rows": [
                [one.hex() if isinstance(one, bytes) else one for one in row] for row in facts.get("rows", [])
            ]
        }
        print_json({**facts, **(values if "rows" in facts else {})})
        return
    print(*("\n".join(map(plain, one.splitlines())) for one in facts["schema"]), sep="\n")
    if "sql" not in facts:
        return
    if facts["touched"]:
        print(f"\nthe question names: {', '.join(map(plain, facts['touched']))}")
    print(f"\n{facts['sql']}\n")
    print(" | ".join(map(plain, facts["columns"])))
    for row in facts["rows"][:MOST_SHOWN]:
        print(" | ".join("NULL" if value is None else plain(value) for value in row))
    rows = len(facts["rows"])
    print(f"({rows} row{'s' * (rows != 1)}{f', the first {MOST_SHOWN} shown' if rows > MOST_SHOWN else ''})")


def plain(value: Any) -> str:
    """As text in one line; what would command the terminal is written out."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], str(value))


EXPLAINED = """\
the model was trained on small made-up databases (one to two minutes, once) and knows nineteen forms of questions,
English and Korean, for example:
  What is the average price of the books whose genre is Drama?      장르별 영화 수를 보여 줘.
  Show the name of the 3 employees with the highest salary.         도시가 서울인 직원은 몇 명인가요?
Name tables, columns and texts as they stand in the database. Questions in other words mostly fail: of 666 that people
wrote freely (Spider) it answered 22. What it finds may be wrong: read the query.
"""
