"""Which texts of a database go into a prompt: those that many rows share, of columns that have few of them.

    CREATE TABLE staff (full_name TEXT, email TEXT, department TEXT, wage INTEGER)
    -- staff.department: 'Finance', 'Sales'

A model that reads the DDL alone does not know that a department is written 'Sales', not 'sales team'. So it is told
the texts of such columns. It is not told names or e-mail addresses: a text that stands in fewer than `repeats` rows
may say who somebody is. A question brings such a text itself.
Book: 6.2.3 SQL 생성 프롬프트. Paper: Sweeney 2002 (k-anonymity). Left out: numbers; what several columns
together say of one person; texts that are an order to the model.
"""

from __future__ import annotations

from minillm._checks import check_int
from minillm.apps.text2sql.tables import LONGEST_VALUE, quoted, read_tables
from minillm.sandbox import SandboxError, SQLSandbox

MOST_VALUES = 50  # of a column


def few_values(box: SQLSandbox, most: int = 6, repeats: int = 2) -> dict[str, list[str]]:
    """ "table.column" -> its texts that stand in `repeats` rows or more, where it has at most `most` different ones.

    A text that is long, or has more than one line, is not shown.
    """
    check_int("most", most, 1, MOST_VALUES), check_int("repeats", repeats, 1)
    found: dict[str, list[str]] = {}
    for table in read_tables(box).values():
        for column in (name for name, kind in table.columns.items() if kind == "text"):
            c = quoted(column)
            counted = f"SELECT {c}, COUNT(*) FROM {quoted(table.name)} WHERE {c} <> '' GROUP BY {c}"
            try:
                values = box.run(f"{counted} ORDER BY {c} LIMIT {most + 1}")
            except SandboxError:  # too long, or too many to be counted
                continue
            shown = [value for value, rows in values if rows >= repeats and _fits(value)]
            if shown and len(values) <= most:
                found[f"{table.name}.{column}"] = shown
    return found


def _fits(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_VALUE and value.isprintable()


def ddl_with_values(box: SQLSandbox, most: int = 6, repeats: int = 2) -> str:
    """The DDL of a database, and behind it a comment for each column of which texts are shown."""
    lines = []
    for column, values in few_values(box, most, repeats).items():
        texts = ("'" + value.replace("'", "''") + "'" for value in values)
        lines.append(f"-- {' '.join(column.split())}: {', '.join(texts)}")
    return "\n".join([*(f"{made};" for made in box.schema()), *lines])
