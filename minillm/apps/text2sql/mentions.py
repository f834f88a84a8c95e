"""Where a question names tables, columns and texts of a database: found by comparing letters.

    How many orders are there whose ship country is Norway?
             orders                 ship_country    Norway

The longest wins where two overlap. Of columns that are called the same, the one of the table that stands near; of
columns with the same text, the one that was named before it. Words as common as "in", "no" or "me" are no names, unless
they stand in quotes; a Korean word ends where its particles do.
Book: 6.1.1. Left out: synonyms, typing mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minillm.apps.text2sql.tables import DatabaseTable
from minillm.data.sql_words import COLUMNS, TABLES

# What the forms of questions are made of, and other common words: none of them means a column "no" or a state "ME".
_COMMON = frozenset((
    "a", "above", "all", "an", "and", "are", "as", "at", "be", "below", "by", "can", "did", "do", "does", "each",
    "every", "first", "for", "from", "give", "has", "have", "how", "i", "if", "in", "is", "it", "its", "list", "many",
    "me", "most", "my", "no", "not", "of", "on", "or", "our", "out", "show", "so", "than", "that", "the", "their",
    "them", "there", "they", "this", "those", "to", "up", "us", "was", "we", "were", "what", "when", "where", "which",
    "who", "whose", "with", "you", "your",
))  # fmt: skip
# What may stand behind a Korean word without a blank: else 수학 would be the column 수, 책임자 the table 책
_ENDING = re.compile(
    "(?:들|별|수|명|님|순|당|총합|합계|평균|개수|목록|최댓값|최솟값)*"
    "(?:은|는|이|가|을|를|과|와|의|에|에서|에게|한테|께|으로|로|도|만|까지|부터|보다|마다|처럼|중|이나|나|이랑|랑|하고)*"
    "(?:이?(?:고|며|면|거나|다|라는|란|었던|였던|예요|에요|야)|인|인데|인지|인가요|입니까|입니다|일)?(?![가-힣])"
)


@dataclass
class Mention:
    start: int
    end: int
    table: str
    column: str | None = None
    value: str | None = None


def mentions(question: str, tables: dict[str, DatabaseTable]) -> list[Mention]:
    """Where the question names a table, a column or a text of the database; the longest wins where two overlap."""
    found, low = [], question.lower()
    for table in tables.values():
        found += [
            Mention(*span, table.name) for span in _spans(question, _phrases(table.name, TABLES.values()))
        ]
        for column in table.columns:
            phrases = _phrases(column, COLUMNS.values())
            found += [Mention(*span, table.name, column) for span in _spans(question, phrases)]
        for column, values in table.values.items():
            for value in values:
                if len(value) > 1 and value.lower() in low:  # most are not there at all
                    found += [
                        Mention(*span, table.name, column, value) for span in _spans(question, [value], False)
                    ]
    tables_said = sorted((one for one in found if one.column is None), key=lambda one: one.start)
    columns_said = sorted((one for one in found if one.column and one.value is None), key=lambda one: one.end)
    named = {one.table for one in tables_said}
    found.sort(
        key=lambda one: (
            one.start - one.end,
            one.value is not None,
            one.value is not None and _key(one) not in _before(one, columns_said),
            one.column is not None and one.table != _near(question, one, tables_said),
            one.table not in named,
        )
    )
    kept: list[Mention] = []
    for one in found:
        if all(one.end <= other.start or one.start >= other.end for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: one.start)


def _key(one: Mention) -> tuple[str, str | None]:
    return one.table, one.column


def _before(one: Mention, columns: list[Mention]) -> set[tuple[str, str | None]]:
    """The columns (of several tables, if they are called the same) whose name stands last before a text."""
    ends = [column.end for column in columns if column.end <= one.start]
    return {_key(column) for column in columns if ends and column.end == ends[-1]}


def _near(question: str, one: Mention, tables: list[Mention]) -> str | None:
    """The table whose column is meant: "city of the schools", else the one named last before it, else the first."""
    of = re.match(r"\s+of\s+(?:(?:the|all|each|every)\s+)*", question[one.end :], re.IGNORECASE)
    follows = [table.table for table in tables if of and table.start == one.end + of.end()]
    before = [table.table for table in tables if table.end <= one.start]
    return (follows or before[-1:] or [table.table for table in tables] or [None])[0]


def _phrases(name: str, known: Iterable) -> list[str]:
    """What a question may call a table or a column: its name, and the words of the world that has the same name."""
    plain = re.sub(r"[_\s]+", " ", name).strip()
    words = [plain, name]
    for one in known:
        if name.lower() in one.spellings:
            words += [one.english, one.korean]
    return [word for word in dict.fromkeys(words) if word]


def _spans(question: str, phrases: Sequence[str], plural: bool = True) -> list[tuple[int, int]]:
    found = []
    for phrase in phrases:
        stem = "|".join(
            map(re.escape, sorted(_numbers(phrase), key=len, reverse=True) if plural else [phrase])
        )
        # a Latin word ends where its letters do; a Korean one goes on with its particle
        said = re.finditer(rf"(?<![A-Za-z0-9_가-힣])(?:{stem})(?![A-Za-z0-9_])", question, re.IGNORECASE)
        found += [one.span() for one in said if _meant(question, *one.span(), code=not plural)]
    return found


def _meant(question: str, start: int, end: int, code: bool) -> bool:
    """Whether what has the letters of a name is one: no longer Korean word, no common English one without quotes.

    code: whether capitals show that it is meant: the text IN, of a column of states.
    """
    said = question[start:end]
    if re.search("[가-힣]$", said) and not _ENDING.match(question, end):
        return False
    quotes = question[max(0, start - 1) : start] + question[end : end + 1]
    if said.lower() not in _COMMON or quotes in ('""', "''", "``", "“”", "‘’"):
        return True
    return code and len(said) > 1 and said.isupper() and not question.isupper()


def _numbers(phrase: str) -> set[str]:
    """A word in singular and plural, as English makes them mostly: city, cities; boxes, box."""
    found = {phrase}
    if re.search("[A-Za-z]$", phrase):
        found |= {phrase + "s", phrase + "es", re.sub("y$", "ies", phrase), re.sub("ies$", "y", phrase)}
        found |= {re.sub("s$", "", phrase), re.sub("(?<=[sxzh])es$", "", phrase)}
    return found
