"""The same questions to databases whose names are abbreviations, as in a company: a convention to be learned anew.

    CREATE TABLE staff (id INTEGER PRIMARY KEY, full_name TEXT, wage INTEGER);
    CREATE TABLE tb_emp (id INTEGER PRIMARY KEY, emp_nm TEXT, sal_amt INTEGER);

    respelled_tasks(600, "train", seed=0)     as sql_tasks; each thing has one name, and columns stand in a new order

Held out as there, by text: a task stands in "test" only where its new DDL and its question are of "test".
Book: 6.3.2 미세 조정 수행. Left out: codes in place of values.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from minillm._checks import check_int
from minillm.data.sql_questions import LANGUAGES, SQLTask, sql_tasks
from minillm.data.sql_schemas import Schema, SchemaTable, part_of_text

TABLE_NAMES = {
    "employee": "tb_emp", "student": "tb_std", "product": "tb_prd",
    "book": "tb_bk", "movie": "tb_mv", "car": "tb_car",
    "hotel": "tb_htl", "company": "tb_cmp", "school": "tb_sch",
    "shop": "tb_shp", "publisher": "tb_pub", "studio": "tb_stu",
}  # fmt: skip
COLUMN_NAMES = {
    "name": "emp_nm", "brand": "itm_nm", "title": "ttl_nm",
    "city": "cty_nm", "country": "ntn_nm", "department": "dpt_nm",
    "major": "maj_nm", "genre": "gnr_nm", "color": "clr_nm",
    "age": "age_cnt", "salary": "sal_amt", "score": "scr_pt",
    "price": "prc_amt", "stock": "stk_qty", "pages": "pg_cnt",
    "rating": "rtg_pt", "rooms": "rm_cnt", "speed": "spd_kmh",
    "year": "rls_yr", "founded": "est_yr",
}  # fmt: skip
TRIES = 40  # orders of the columns, until the DDL is of the part
_WORD = re.compile(r"'[^']*'|\w+\.\w+|\w+")


def respelled_tasks(
    n: int,
    part: str = "train",
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    tables: Collection[int] = (1,),
) -> list[SQLTask]:
    """`n` tasks of the part with abbreviated names, no two alike; questions and rows are those of `sql_tasks`."""
    check_int("n", n, 0, 100_000)
    asked, found = 2 * n, {}
    while len(found) < n:
        rng = random.Random(f"respelled {part} {check_int('seed', seed, 0)}")
        tasks = sql_tasks(asked, part, seed, languages, tables)
        schemas = {one.ddl: _drawn(rng, one.schema, part) for one in {one.ddl: one for one in tasks}.values()}
        found = {}  # two old names of a table may be one new name: of the same question to the same table one stays
        for one in (respelled(one, schemas[one.ddl]) for one in tasks if schemas[one.ddl] is not None):
            found.setdefault((one.ddl, one.question), one)
        asked *= 2
    return list(found.values())[:n]


def respelled(task: SQLTask, schema: Schema) -> SQLTask:
    """The task with the names of another schema of the same tables, its columns in any order."""
    return replace(task, schema=schema, sql=renamed(task.sql, task.schema, schema))


def _drawn(rng: random.Random, schema: Schema, part: str) -> Schema | None:
    """The schema with abbreviated names, its columns in an order whose DDL is of the part; None where none is found."""
    names = {table.name: TABLE_NAMES[table.concept] for table in schema.tables}
    for _ in range(TRIES):
        tables, contents = [], []
        for table, rows in zip(schema.tables, schema.rows):
            count = len(table.columns)
            order = rng.sample(range(count), count)
            columns = tuple((table.columns[i][0], COLUMN_NAMES[table.columns[i][0]]) for i in order)
            parents = tuple(names[parent] for parent in table.parents)
            tables.append(SchemaTable(table.concept, names[table.name], columns, parents))
            contents.append(tuple((row[0], *(row[1 + i] for i in order), *row[1 + count :]) for row in rows))
        drawn = replace(schema, tables=tuple(tables), rows=tuple(contents))
        if part_of_text(drawn.ddl) == part:
            return drawn
    return None


def renamed(sql: str, before: Schema, after: Schema) -> str:
    """The query with the names of another schema of the same shape; texts in quotes stay."""
    words = {}
    for old, new in zip(
        reversed(before.tables), reversed(after.tables)
    ):  # a lone column is the first table's
        words[old.name] = new.name
        others = dict(new.columns)  # concept -> its name
        for concept, one in old.columns:
            other = others[concept]
            words |= {one: other, f"{old.name}.{one}": f"{new.name}.{other}"}
        for one, other in zip(old.parents, new.parents):
            words[f"{old.name}.{one}_id"] = f"{new.name}.{other}_id"
        words[f"{old.name}.id"] = f"{new.name}.id"
    return _WORD.sub(lambda found: words.get(found[0], found[0]), sql)
