"""What a database holds, read through the sandbox: tables, columns and their kinds, references, and texts to look for.

A view is a table here. What cannot be read (more than 200 columns, a view that does not run) is left out, and so are
the texts of a column that holds very long ones; of a long table the first rows are looked at.

Book: 6.1.1 대표적인 Text2SQL 데이터셋. Left out: keys and references of several columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from minillm.apps.text2sql.words import depths_of, split, tokens_of
from minillm.sandbox import Failed, SandboxError, SQLSandbox

MOST_TABLES, SAMPLE, LOOKED, MOST_VALUES, LONGEST_VALUE = 500, 100, 100_000, 5000, 60


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
    """name -> table, in the order in which they were made; Failed where there is none, or there are too many."""
    made = (
        "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'view') AND sql NOT LIKE 'CREATE VIRTUAL%' "
        "AND lower(substr(name, 1, 7)) <> 'sqlite_' ORDER BY rowid"
    )
    declared = dict(box.run(f"{made} LIMIT {MOST_TABLES + 1}"))
    if len(declared) > MOST_TABLES:
        raise Failed(f"the database has more than {MOST_TABLES} tables")
    found, why = {}, ""
    for name in declared:
        try:
            found[name] = _read(box, name)
        except SandboxError as error:
            why = f" that can be read: {name}: {error}"
    if not found:
        raise Failed(f"the database has no table{why}")
    names = {name.lower() for table in found.values() for name in (table.name, *table.columns)}
    said = {name: _declared(declared[name], names) for name in found}
    for name, table in found.items():
        own = {column.lower(): column for column in table.columns}
        table.key = own.get(said[name][0], table.key)
    for name, table in found.items():
        table.references = _references(table, said[name][1], found)
    return found


def _read(box: SQLSandbox, name: str) -> DatabaseTable:
    names = box.query(f"SELECT * FROM {quoted(name)} LIMIT 0").columns
    kinds = ", ".join(f"typeof({quoted(column)})" for column in names)
    rows = box.run(f"SELECT {kinds} FROM {quoted(name)} LIMIT {SAMPLE}")
    columns = {}
    for column, *some in zip(names, *rows):
        numbers = {*some} - {"null"}
        columns[column] = "number" if numbers and numbers <= {"integer", "real"} else "text"
    table = DatabaseTable(name, columns, names[0])
    for column, kind in columns.items():
        if kind == "text":
            c = quoted(column)
            some = f"SELECT {c} FROM {quoted(name)} LIMIT {LOOKED}"
            few = f"SELECT DISTINCT {c} FROM ({some}) WHERE typeof({c}) = 'text'"
            try:
                found = box.run(f"{few} AND length({c}) <= {LONGEST_VALUE} LIMIT {MOST_VALUES}")
            except SandboxError:  # texts that are too long to be looked at
                found = []
            table.values[column] = [value for (value,) in found]
    return table


def _declared(sql: str, names: set[str]) -> tuple[str, dict[str, tuple[str, str]]]:
    """(column of the primary key, column -> (table, its column)) of a CREATE TABLE, in small letters, "" for none."""
    key, references = "", {}
    try:
        tokens = [token.strip('"') for token in tokens_of(sql, names)]
        depths = depths_of(tokens)
    except ValueError:
        return key, references
    if tokens[:2] != ["create", "table"] or "(" not in tokens:
        return key, references
    start = tokens.index("(")
    end = next(i for i in range(start, len(tokens)) if tokens[i] == ")" and depths[i] == 1)
    for part in filter(None, split(tokens[start + 1 : end], [","])):
        # a INTEGER PRIMARY KEY; PRIMARY KEY (a); a INTEGER REFERENCES b (c); FOREIGN KEY (a) REFERENCES b (c)
        bracket = next((i for i in range(len(part) - 3) if part[i : i + 2] == ["key", "("]), None)
        if bracket is not None and part[bracket + 3] != ")":
            continue  # several columns
        column = part[0] if bracket is None else part[bracket + 2]
        if "primary" in part:
            key = key or column
        if "references" in part[:-1]:
            parent, *rest = part[part.index("references") + 1 :]
            references[column] = parent, rest[1] if rest[:1] == ["("] else ""
    return key, references


def _references(
    table: DatabaseTable, said: dict[str, tuple[str, str]], tables: dict[str, DatabaseTable]
) -> dict[str, tuple[str, str]]:
    """The declared ones as the database spells them; SQLite does not tell capitals from small letters."""
    found, known = {}, {name.lower(): other for name, other in tables.items()}
    for column in table.columns:
        parent, key = said.get(column.lower(), ("", ""))
        if other := known.get(parent):
            own = {one.lower(): one for one in other.columns}
            found[column] = other.name, own.get(key, other.key)
    return found
