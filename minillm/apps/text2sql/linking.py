"""A question to any database, put into the words that a small model knows, and its query put back.

    orders(id, ship_country, freight)        What is the average freight of the orders whose ship country is Norway?
    products(id, color, price)               What is the average price of the products whose color is red?
    SELECT AVG(price) FROM products WHERE color = 'red'
    SELECT AVG(freight) FROM orders WHERE ship_country = 'Norway'

Which words of the question are names of tables and columns, and which are texts that stand in the database, mentions.py
finds; every one gets a word of data/sql_words.py of its kind. What the model has learned is the forms of
questions, not the names, so it can do without the names. A name like "in" or "no" is found in quotes alone.
Book: 6.1.1. Paper: Wang et al. 2020 (RAT-SQL: schema linking). Left out: synonyms, typing mistakes, joins with more
than two other tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from minillm._checks import describe
from minillm.apps.text2sql.mentions import Mention, mentions
from minillm.apps.text2sql.tables import DatabaseTable, quoted
from minillm.data.particles import with_particle
from minillm.data.sql_words import COLUMNS, MAIN, NAMES, TABLES, Text

MOST_COLUMNS = 4
MOST_NAMES = 180  # letters of a message
_PART = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[가-힣]+")
_PARTICLES = {p: pair for pair in ("은/는", "이/가", "을/를", "과/와") for p in pair.split("/")}


class NothingTouched(ValueError):
    """No word of the question is a table, a column or a text of the database, or it leaves open by which column."""


@dataclass
class Linked:
    """ddl, question: in the model's words. touched: what of the database the question names.

    back, values: of what the model says, the names and the texts of the database. unclear: its names that may be one
    of several, and which.
    """

    ddl: str
    question: str
    touched: list[str]
    back: dict[str, str] = field(repr=False)
    values: dict[str, str] = field(repr=False)
    unclear: dict[str, str] = field(default_factory=dict, repr=False)

    def restore(self, sql: str) -> str:
        """The model's query with the names and texts of the database.

        ValueError for a word that stands for nothing, and for a text or a number that the question does not have;
        NothingTouched where it joins by one of several columns.
        """
        self._check_values(sql)
        parts = re.split(
            "('[^']*')", sql
        )  # blanks go before the names and texts of the database come: these keep theirs
        parts[::2] = (
            re.sub(r"(?<=\() | (?=[),])", "", re.sub(r"(\w+) \(", r"\1(", one)) for one in parts[::2]
        )
        return _WORD.sub(self._one, "".join(parts))

    def _check_values(self, sql: str) -> None:
        """A model that copies 5500 as 550 would answer another question."""
        said = re.sub(r"\s", "", self.question).lower()
        numbers = {*_NUMBER.findall(self.question), *re.findall(r"(?<=LIMIT )1\b", sql)}  # "the best" is one
        for text in re.findall("'([^']*)'", sql):
            if re.sub(r"\s", "", text).lower() not in said:
                raise ValueError(f"the query {describe(sql)} has the text {text!r}, the question has not")
        for number in _NUMBER.findall(re.sub("'[^']*'", "", sql)):
            if number not in numbers:
                raise ValueError(f"the query {describe(sql)} has the number {number}, the question has not")

    def _one(self, found: re.Match[str]) -> str:
        word = found[0]
        if word[0] == "'":
            return "'" + self.values.get(word[1:-1].lower(), word[1:-1]).replace("'", "''") + "'"
        name = re.sub(r"\s", "", word)
        if name in self.back:
            return self.back[name]
        if name in self.unclear:
            raise NothingTouched(self.unclear[name])
        if word.upper() not in _SQL:
            raise ValueError(
                f"the query {describe(found.string)} has the name {word!r}, which stands for nothing here"
            )
        return word


_WORD = re.compile(r"'[^']*'|[A-Za-z_]+\s*\.\s*[A-Za-z_]+|[A-Za-z_]+")
_NUMBER = re.compile(r"(?<![A-Za-z_\d])\d+(?:\.\d+)?")
_SQL = frozenset(
    "SELECT FROM WHERE AND OR JOIN ON GROUP ORDER BY DESC ASC LIMIT COUNT SUM AVG MAX MIN DISTINCT".split()  # noqa: SIM905
)


def link(question: str, tables: dict[str, DatabaseTable]) -> Linked:
    """The question and the part of the database that it speaks of, in the model's words. NothingTouched."""
    found = mentions(question, tables)
    if not found:
        names = ", ".join(f"{table.name} ({', '.join(table.columns)})" for table in tables.values())
        some = names if len(names) <= MOST_NAMES else f"{names[:MOST_NAMES]} ..."
        raise NothingTouched(
            f"no word of the question is a table, a column or a text of this database. It has {some}"
        )
    main = max(tables.values(), key=lambda table: sum(
        (4 * (one.column is None) + 1) * (one.table == table.name) + bool(_parent(table, one.table)) for one in found
    ))  # fmt: skip
    parents = [name for name in dict.fromkeys(one.table for one in found) if _parent(main, name)][:2]
    joins = {name: _meant_reference(main, name, question) for name in parents}
    return _Words(main, [tables[name] for name in parents], found, _korean(question, found), joins).linked(
        question
    )


def _korean(question: str, found: list[Mention]) -> bool:
    """Whether a question is Korean: names and texts of the database do not count, if there is more."""
    rest = list(question)
    for one in found:
        rest[one.start : one.end] = " " * (one.end - one.start)
    text = "".join(rest)
    return bool(re.search("[가-힣]", question if not re.search("[A-Za-z]{2}", text) else text))


def _parent(table: DatabaseTable, other: str) -> list[str]:
    """The columns by which the table refers to the other."""
    return [column for column, (parent, _) in table.references.items() if parent == other != table.name]


def _meant_reference(table: DatabaseTable, other: str, question: str) -> str | None:
    """The one of them that the question means; None where there are several and it names not one alone."""
    columns, low = _parent(table, other), question.lower()
    if len(columns) == 1:
        return columns[0]
    words = {
        column: {one.lower() for one in _PART.findall(column)} for column in columns
    }  # DestAirport, dest_airport
    shared = set.intersection(*words.values())
    said = [
        column for column in columns if any(word in low for word in words[column] - shared if len(word) > 1)
    ]
    return said[0] if len(said) == 1 else None


class _Words:
    """The words that stand for what a question names."""

    def __init__(
        self,
        main: DatabaseTable,
        parents: list[DatabaseTable],
        found: list[Mention],
        korean: bool,
        joins: dict[str, str | None],
    ) -> None:
        self.tables, self.found, self.korean, self.joins = [main, *parents], found, korean, joins
        concepts = self._concepts(len(parents))
        self.concept = dict(zip((table.name for table in self.tables), concepts))
        self.spelled = {name: TABLES[concept].spellings[0] for name, concept in self.concept.items()}
        self.columns = {
            table.name: self._columns(table) for table in self.tables
        }  # table -> column -> concept
        self.values: dict[str, str] = {}
        self.unclear: dict[str, str] = {}

    def _concepts(self, parents: int) -> list[str]:
        name = self.tables[0].name.lower()
        own = [one for one in MAIN if name in TABLES[one].spellings and len(TABLES[one].parents) >= parents]
        main = own[0] if own else "product"
        return [main, *TABLES[main].parents[:parents]]

    def _columns(self, table: DatabaseTable) -> dict[str, str]:
        """Each column that is named, and some that are not, get a concept of their kind that no other has."""
        named = [one.column for one in self.found if one.table == table.name and one.column]
        keys = {table.key, *table.references}
        wanted = list(dict.fromkeys([*named, *(c for c in table.columns if c not in keys)]))[
            : max(MOST_COLUMNS, len(set(named)))
        ]
        usual = [*TABLES[self.concept[table.name]].columns, *COLUMNS]
        taken: dict[str, str] = {}
        for column in wanted:
            kind = table.columns[column]
            same = [
                c
                for c in usual
                if column.lower() in COLUMNS[c].spellings and _kind(c) == kind and c not in taken.values()
            ]
            free = [c for c in usual if _kind(c) == kind and c not in taken.values() and c not in NAMES]
            if (
                kind == "text"
                and re.search("name|title|이름|제목", column.lower())
                and usual[0] not in taken.values()
            ):
                free.insert(0, usual[0])  # what has a value of its own in each row
            if same or free:
                taken[column] = (same or free)[0]
        return taken

    def linked(self, question: str) -> Linked:
        pieces, place, touched = [], 0, []
        for one in self.found:
            word = self._word(one)
            if word is None:
                continue
            pieces += [question[place : one.start], word]
            place = one.end
            particle = question[place : place + 1]
            if self.korean and one.value is None and particle in _PARTICLES:
                pieces[-1] = with_particle(word, _PARTICLES[particle])
                place += 1
            touched.append(one.value or ".".join([one.table, *([one.column] if one.column else [])]))
        pieces.append(question[place:])
        return Linked(self._ddl(), "".join(pieces), touched, self._back(), self.values, self.unclear)

    def _word(self, one: Mention) -> str | None:
        if one.table not in self.concept:
            return None
        if one.column is None:
            table = TABLES[self.concept[one.table]]
            parent = one.table != self.tables[0].name
            return table.korean if self.korean else table.one if parent else table.english
        concept = self.columns[one.table].get(one.column)
        if concept is None:
            return None
        words = COLUMNS[concept]
        if one.value is None:
            return words.korean if self.korean else words.english
        if isinstance(words, Text):  # a text of the same kind, which the model copies
            pool = [*words.korean_values, *words.english_values] if self.korean else words.english_values
            free = [text for text in pool if text.lower() not in self.values]
            if free:
                self.values[free[0].lower()] = one.value
                return free[0]
        return one.value

    def _ddl(self) -> str:
        lines = []
        for table in self.tables:
            kinds = [
                f"{COLUMNS[concept].spellings[0]} {'TEXT' if _kind(concept) == 'text' else 'INTEGER'}"
                for concept in self.columns[table.name].values()
            ]
            if table is self.tables[0]:
                others = [self.spelled[one.name] for one in self.tables[1:]]
                kinds += [f"{one}_id INTEGER REFERENCES {one}(id)" for one in others]
            lines.append(
                f"CREATE TABLE {self.spelled[table.name]} ({', '.join(['id INTEGER PRIMARY KEY', *kinds])});"
            )
        return "\n".join(lines)

    def _back(self) -> dict[str, str]:
        """The model's names, qualified and alone -> those of the database."""
        back: dict[str, str] = {}
        main = self.tables[0]
        for table in reversed(
            self.tables
        ):  # a column without its table is the main table's, where that has one
            spelled, name = self.spelled[table.name], quoted(table.name)
            back[spelled] = name
            for column, concept in [*self.columns[table.name].items(), (table.key, None)]:
                short = "id" if concept is None else COLUMNS[concept].spellings[0]
                back[f"{spelled}.{short}"] = f"{name}.{quoted(column)}"
                back[short] = quoted(column)
        for parent in self.tables[1:]:
            column = self.joins[parent.name]
            short = f"{self.spelled[main.name]}.{self.spelled[parent.name]}_id"
            if column is None:
                ways = " and by ".join(_parent(main, parent.name))
                self.unclear[short] = (
                    f"{main.name} refers to {parent.name} by {ways}: the question must name one of them"
                )
                continue
            key = main.references[column][1]
            back[short] = f"{quoted(main.name)}.{quoted(column)}"
            back[f"{self.spelled[parent.name]}.id"] = f"{quoted(parent.name)}.{quoted(key)}"
        return back


def _kind(concept: str) -> str:
    return "text" if isinstance(COLUMNS[concept], Text) else "number"
