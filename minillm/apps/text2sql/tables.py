"""What a database holds, read through the sandbox: tables, columns and their kinds, references, and texts to look for.

Book: 6.1.1 대표적인 Text2SQL 데이터셋. Left out: references of several columns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from minillm.sandbox import Failed, SQLSandbox

MOST_TABLES, SAMPLE, MOST_VALUES, LONGEST_VALUE = 100, 100, 300, 60
_NAME = r"[\"`\[]?(\w+)[\"`\]]?"
_REFERENCE = re.compile(rf"{_NAME}[^,()]*?\bREFERENCES\s+{_NAME}\s*(?:\(\s*{_NAME}\s*\))?", re.IGNORECASE)
_FOREIGN = re.compile(
    rf"FOREIGN\s+KEY\s*\(\s*{_NAME}\s*\)\s*REFERENCES\s+{_NAME}\s*(?:\(\s*{_NAME}\s*\))?", re.IGNORECASE
)
_PRIMARY = re.compile(rf"[(,]\s*{_NAME}[^,()]*\bPRIMARY\s+KEY", re.IGNORECASE)


@dataclass
class DatabaseTable:
    """columns: name -> "text" or "number". references: column -> (table, its column). values: column -> some texts."""

    name: str
    columns: dict[str, str]
    key: str = "id"
    references: dict[str, tuple[str, str]] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)


def quoted(name: str) -> str:
    """The name as SQL takes any name."""
    return '"' + name.replace('"', '""') + '"'


def read_tables(box: SQLSandbox) -> dict[str, DatabaseTable]:
    """name -> table, in the order in which they were made; Failed where there is none."""
    made = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND sql IS NOT NULL"
    found: dict[str, DatabaseTable] = {}
    for name, sql in box.run(f"{made} ORDER BY rowid LIMIT {MOST_TABLES}"):
        if not sql.upper().startswith("CREATE VIRTUAL"):
            found[name] = _read(box, name, sql)
    if not found:
        raise Failed("the database has no table")
    for table in found.values():
        table.references = {
            column: (parent, key or found[parent].key)
            for column, (parent, key) in table.references.items()
            if parent in found
        }
    return found


def _read(box: SQLSandbox, name: str, sql: str) -> DatabaseTable:
    names, rows = box.query(f"SELECT * FROM {quoted(name)} LIMIT {SAMPLE}")
    columns = {}
    for place, column in enumerate(names):
        values = [row[place] for row in rows if row[place] is not None]
        columns[column] = (
            "number" if values and not any(isinstance(one, (str, bytes)) for one in values) else "text"
        )
    keys = [key for key in _PRIMARY.findall(sql) if key in columns]
    table = DatabaseTable(name, columns, keys[0] if keys else next(iter(columns)))
    for pattern in (_REFERENCE, _FOREIGN):
        for column, parent, key in pattern.findall(sql):
            if column in columns:
                table.references[column] = (parent, key)
    for column, kind in columns.items():
        if kind == "text":
            c = quoted(column)
            few = f"SELECT DISTINCT {c} FROM {quoted(name)} WHERE typeof({c}) = 'text'"
            found = box.run(f"{few} AND length({c}) <= {LONGEST_VALUE} LIMIT {MOST_VALUES}")
            table.values[column] = [value for (value,) in found]
    return table
