"""The same questions to databases whose names are abbreviations, as in a company: a convention to be learned anew.

    CREATE TABLE staff (id INTEGER PRIMARY KEY, full_name TEXT, wage INTEGER);
    CREATE TABLE tb_emp (id INTEGER PRIMARY KEY, emp_nm TEXT, sal_amt INTEGER);

    respelled_tasks(600, "train", seed=0)     as sql_tasks, each name by one of two abbreviations of what it means

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
    "employee": ("tb_emp", "emp_mst"), "student": ("tb_std", "std_mst"), "product": ("tb_prd", "prd_mst"),
    "book": ("tb_bk", "bk_mst"), "movie": ("tb_mv", "mv_mst"), "car": ("tb_car", "car_mst"),
    "hotel": ("tb_htl", "htl_mst"), "company": ("tb_cmp", "cmp_mst"), "school": ("tb_sch", "sch_mst"),
    "shop": ("tb_shp", "shp_mst"), "publisher": ("tb_pub", "pub_mst"), "studio": ("tb_stu", "stu_mst"),
}  # fmt: skip
COLUMN_NAMES = {
    "name": ("emp_nm", "psn_nm"), "brand": ("itm_nm", "brd_nm"), "title": ("ttl_nm", "ttl_txt"),
    "city": ("cty_nm", "cty_cd"), "country": ("ntn_nm", "ntn_cd"), "department": ("dpt_nm", "dpt_cd"),
    "major": ("maj_nm", "maj_cd"), "genre": ("gnr_nm", "gnr_cd"), "color": ("clr_nm", "clr_cd"),
    "age": ("age_cnt", "age_no"), "salary": ("sal_amt", "pay_amt"), "score": ("scr_pt", "scr_no"),
    "price": ("prc_amt", "unt_prc"), "stock": ("stk_qty", "inv_qty"), "pages": ("pg_cnt", "pg_no"),
    "rating": ("rtg_pt", "rvw_pt"), "rooms": ("rm_cnt", "rm_qty"), "speed": ("spd_kmh", "max_spd"),
    "year": ("rls_yr", "mk_yr"), "founded": ("est_yr", "fnd_yr"),
}  # fmt: skip
TRIES = 40  # draws of names for one schema, until its DDL is of the part
_WORD = re.compile(r"'[^']*'|\w+\.\w+|\w+")


def respelled_tasks(
    n: int,
    part: str = "train",
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    tables: Collection[int] = (1,),
) -> list[SQLTask]:
    """`n` tasks of the part with abbreviated names; the questions, forms and rows are those of `sql_tasks`."""
    check_int("n", n, 0, 100_000)
    rng = random.Random(f"respelled {part} {check_int('seed', seed, 0)}")
    known: dict[str, Schema | None] = {}
    asked, found = 2 * n, []
    while len(found) < n:
        found = []
        for task in sql_tasks(asked, part, seed, languages, tables):
            if task.ddl not in known:
                known[task.ddl] = _drawn(rng, task.schema, part)
            schema = known[task.ddl]
            if schema is not None:
                found.append(replace(task, schema=schema, sql=renamed(task.sql, task.schema, schema)))
        asked *= 2
    return found[:n]


def _drawn(rng: random.Random, schema: Schema, part: str) -> Schema | None:
    """The schema with drawn names; None where no draw is of the part."""
    for _ in range(TRIES):
        names = {table.name: rng.choice(TABLE_NAMES[table.concept]) for table in schema.tables}
        tables = []
        for table in schema.tables:
            columns = tuple((one, rng.choice(COLUMN_NAMES[one])) for one, _ in table.columns)
            parents = tuple(names[parent] for parent in table.parents)
            tables.append(SchemaTable(table.concept, names[table.name], columns, parents))
        drawn = replace(schema, tables=tuple(tables))
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
        for (_, one), (_, other) in zip(old.columns, new.columns):
            words |= {one: other, f"{old.name}.{one}": f"{new.name}.{other}"}
        for one, other in zip(old.parents, new.parents):
            words[f"{old.name}.{one}_id"] = f"{new.name}.{other}_id"
        words[f"{old.name}.id"] = f"{new.name}.id"
    return _WORD.sub(lambda found: words.get(found[0], found[0]), sql)
