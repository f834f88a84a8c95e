"""Writes spider.json: the verdicts of Spider's two evaluators, on its own queries and on random tables.

python tests/parity/record_spider.py FOLDER

FOLDER holds evaluation.py of github.com/taoyds/spider (exact match, clause by clause) and exec_eval.py of
github.com/taoyds/test-suite-sql-eval (execution match). No row of Spider is written down, only which pairs are equal.
"""

import copy
import itertools
import json
import random
import sqlite3
import sys
import types
from pathlib import Path

from minillm.data import load_dataset

PAIRS = 400  # random tables
VALUES = (None, 0, 1, 1.0, 2, 0.5, "1", "a", "b", "", b"a")


def golds():
    """{database: (its path, its different gold queries in order, Spider's parse of each)}."""
    paths = load_dataset("spider", "databases")
    found = {}
    for row in load_dataset("spider", "validation"):
        path = next(path for path in paths.values() if path.stem == row["db_id"])
        _, queries = found.setdefault(row["db_id"], (path, {}))
        queries.setdefault(row["query"], row["sql"])
    return {
        db: (path, list(queries), list(queries.values())) for db, (path, queries) in sorted(found.items())
    }


def rows_of(path, queries):
    """What each query finds."""
    with sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True) as connection:
        return [connection.execute(query).fetchall() for query in queries]


def disturbed(rows, rng, how):
    """The rows with columns in another order, in another order themselves, with one doubled, gone or changed."""
    rows = list(rows)
    if how == "columns" and rows:
        order = rng.sample(range(len(rows[0])), len(rows[0]))
        rows = [tuple(row[i] for i in order) for row in rows]
    elif how == "rows":
        rng.shuffle(rows)
    elif rows and how == "doubled":
        rows[rng.randrange(len(rows))] = rng.choice(rows)
    elif rows and how == "gone":
        rows.pop(rng.randrange(len(rows)))
    elif rows and how == "null":
        place = rng.randrange(len(rows))
        rows[place] = (None, *rows[place][1:])
    return rows


HOW = ("columns", "rows", "doubled", "gone", "null")


def random_tables(seed):
    """Two tables of up to 4 columns and 6 rows; the second is the first, disturbed once or twice."""
    rng = random.Random(seed)
    columns = rng.randint(1, 4)
    first = [tuple(rng.choices(VALUES[: rng.choice((3, 11))], k=columns)) for _ in range(rng.randint(0, 6))]
    second = first
    for how in rng.choices(HOW, k=rng.randint(1, 2)):
        second = disturbed(second, rng, how)
    return first, second, rng.random() < 0.5


def without_values(sql):
    """Spider's rebuild_sql_val and the removal of DISTINCT, for its stored parses."""
    if sql is None:
        return None
    conditions = {
        part: [
            one if isinstance(one, str) else [
                *one[:3],
                *(without_values(v) if isinstance(v, dict) else v if isinstance(v, list) else None for v in one[3:5]),
            ]
            for one in conds
        ]
        for part, conds in (("from", sql["from"]["conds"]), ("where", sql["where"]), ("having", sql["having"]))
    }  # fmt: skip

    def unit(value):
        return value and [*value[:2], None] if len(value or ()) == 3 and isinstance(value[2], bool) else value

    def plain(value_unit):
        return [value_unit[0], unit(value_unit[1]), unit(value_unit[2])]

    def condition(one):
        return one if isinstance(one, str) else [one[0], one[1], plain(one[2]), one[3], one[4]]

    tables = [
        [kind, without_values(table) if isinstance(table, dict) else table]
        for kind, table in sql["from"]["table_units"]
    ]
    return {
        "select": [None, [[aggregate, plain(value)] for aggregate, value in sql["select"][1]]],
        "from": {"table_units": tables, "conds": list(map(condition, conditions["from"]))},
        "where": list(map(condition, conditions["where"])),
        "having": list(map(condition, conditions["having"])),
        "groupBy": list(map(unit, sql["groupBy"])),
        "orderBy": sql["orderBy"] and [sql["orderBy"][0], list(map(plain, sql["orderBy"][1]))],
        "limit": sql["limit"],
        **{word: without_values(sql[word]) for word in ("intersect", "union", "except")},
    }


def main():
    folder = sys.argv[1]
    sys.path.insert(0, folder)
    for name, parts in {
        "process_sql": ("tokenize", "get_schema", "get_tables_with_alias", "Schema", "get_sql"),
        "parse": ("get_all_preds_for_execution", "remove_distinct"),
        "tqdm": (),
    }.items():  # what the two files import and these verdicts do not need
        sys.modules[name] = types.ModuleType(name)
        for part in parts:
            setattr(sys.modules[name], part, None)
    from evaluation import Evaluator, eval_group
    from exec_eval import result_eq

    assert eval_group
    spider = {}
    for db, (path, queries, parses) in golds().items():
        found = rows_of(path, queries)
        # group columns are compared by name there: col_unit[1] is one, in the parses of dev.json it is a number
        named = [json.loads(json.dumps(without_values(parse))) for parse in parses]
        for parse in named:
            stringed(parse)
        same_rows, same_form = [], []
        for i, j in itertools.permutations(range(len(queries)), 2):
            if result_eq(found[j], found[i], order_matters="order by" in queries[j].lower()):
                same_rows.append([i, j])
            if Evaluator().eval_exact_match(copy.deepcopy(named[i]), copy.deepcopy(named[j])):
                same_form.append([i, j])
        changed = {}
        for how in HOW:
            rng = random.Random(0)
            changed[how] = "".join(
                str(
                    int(result_eq(rows, disturbed(rows, rng, how), order_matters="order by" in query.lower()))
                )
                for query, rows in zip(queries, found)
            )
        spider[db] = {
            "queries": len(queries),
            "same_rows": same_rows,
            "same_form": same_form,
            "changed": changed,
        }
    tables = "".join(str(int(result_eq(a, b, ordered))) for a, b, ordered in map(random_tables, range(PAIRS)))
    path = Path(__file__).with_name("spider.json")
    path.write_text(json.dumps({"spider": spider, "random_tables": tables}) + "\n", encoding="utf-8")


def stringed(sql):
    """Columns of GROUP BY as texts, which eval_group expects."""
    if isinstance(sql, dict):
        for unit in sql.get("groupBy", []):
            unit[1] = str(unit[1])
        for value in sql.values():
            stringed(value)
    elif isinstance(sql, list):
        for value in sql:
            stringed(value)


if __name__ == "__main__":
    main()
