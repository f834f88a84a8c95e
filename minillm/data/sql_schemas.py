"""Databases of one to three tables: their DDL, and rows to ask for. Everything is drawn from a seed.

    CREATE TABLE staff (id INTEGER PRIMARY KEY, town TEXT, wage INTEGER, firms_id INTEGER REFERENCES firms(id));
    CREATE TABLE firms (id INTEGER PRIMARY KEY, label TEXT, nation TEXT);

The first table is what is asked about; it refers to the second and the third, where there are any. Held out by
construction: whether a schema is for learning or for the exam depends on its DDL alone, as text.
Book: 6.1.3 합성 데이터 활용. Left out: several references to one table, NULL, dates.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from minillm.data.sql_words import COLUMNS, MAIN, NAMES, TABLES, Number, Text

ROWS, FEW = 12, 5  # of the first table, of those that it refers to
MOST_COLUMNS = 4


@dataclass(frozen=True)
class SchemaTable:
    """A table of one database: what it holds, what it is called, (concept, name) of its columns."""

    concept: str
    name: str
    columns: tuple[tuple[str, str], ...]
    parents: tuple[str, ...] = ()  # names of the tables that it refers to

    @property
    def ddl(self) -> str:
        """Its CREATE statement."""
        kinds = (
            f"{name} {'TEXT' if isinstance(COLUMNS[concept], Text) else 'INTEGER'}"
            for concept, name in self.columns
        )
        references = (f"{parent}_id INTEGER REFERENCES {parent}(id)" for parent in self.parents)
        return f"CREATE TABLE {self.name} ({', '.join(['id INTEGER PRIMARY KEY', *kinds, *references])});"

    def columns_of(self, kind: type) -> list[tuple[str, str]]:
        """Its columns of texts, or of numbers."""
        return [one for one in self.columns if isinstance(COLUMNS[one[0]], kind)]


@dataclass(frozen=True)
class Schema:
    """A database: its tables, the first one is asked about; the rows of each; whether its texts are Korean."""

    tables: tuple[SchemaTable, ...]
    rows: tuple[tuple[tuple, ...], ...]
    korean: bool

    @property
    def ddl(self) -> str:
        """The CREATE statements, a line each."""
        return "\n".join(table.ddl for table in self.tables)

    @property
    def script(self) -> str:
        """CREATE and INSERT: what SQLSandbox(script=...) takes."""
        inserts = [
            f"INSERT INTO {table.name} VALUES {', '.join(map(_written, rows))};"
            for table, rows in zip(self.tables, self.rows)
        ]
        return "\n".join([self.ddl, *inserts])

    def values(self, table: int, column: str) -> list:
        """What stands in a column, row by row."""
        names = ["id", *(name for _, name in self.tables[table].columns)]
        return [row[names.index(column)] for row in self.rows[table]]


def _written(row: Sequence) -> str:
    return f"({', '.join(repr(value) if isinstance(value, int) else _quoted(value) for value in row)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def random_schema(rng: random.Random, tables: int) -> Schema:
    """A database of so many tables."""
    concept = rng.choice([name for name in MAIN if len(TABLES[name].parents) >= tables - 1])
    parents = rng.sample(TABLES[concept].parents, tables - 1)
    korean = rng.random() < 0.5
    made = [_table(rng, parent) for parent in parents]
    made = [_table(rng, concept, tuple(parent.name for parent in made)), *made]
    few = [FEW] * len(parents)
    rows = [
        _rows(rng, table, count, korean, few if not i else ())
        for i, (table, count) in enumerate(zip(made, [ROWS, *few]))
    ]
    return Schema(tuple(made), tuple(rows), korean)


def _table(rng: random.Random, concept: str, parents: tuple[str, ...] = ()) -> SchemaTable:
    """Its first column stays; of the others some, in any order; each in one of its spellings."""
    first, *others = TABLES[concept].columns
    while True:
        chosen = [first, *rng.sample(others, min(len(others), rng.randint(2, MOST_COLUMNS - 1)))]
        if any(isinstance(COLUMNS[one], Number) for one in chosen):
            break
    rng.shuffle(chosen)
    columns = tuple((one, rng.choice(COLUMNS[one].spellings)) for one in chosen)
    return SchemaTable(concept, rng.choice(TABLES[concept].spellings), columns, parents)


def _rows(
    rng: random.Random, table: SchemaTable, count: int, korean: bool, parents: Sequence[int]
) -> tuple[tuple, ...]:
    """Names are all different, other texts few, so that a condition finds several rows; numbers all different."""
    columns: list[Sequence] = [range(1, count + 1)]
    for concept, _ in table.columns:
        one = COLUMNS[concept]
        if isinstance(one, Number):
            columns.append(rng.sample(range(one.low, one.high, one.step), count))
            continue
        pool = one.korean_values if korean else one.english_values
        if concept in NAMES:
            columns.append(rng.sample(pool, count))
        else:
            few = rng.sample(pool, min(4, count - 1))
            columns.append(rng.choices(few, k=count))
    columns += [rng.choices(range(1, many + 1), k=count) for many in parents]
    return tuple(zip(*columns))


def part_of_text(text: str) -> str:
    """ "test" or "validation", a tenth of all texts each, else "train"; by the text alone."""
    tenth = zlib.crc32(text.encode()) % 10
    return "test" if tenth == 0 else "validation" if tenth == 1 else "train"
