"""How a question and a database are put to a model, and how its query is taken out of what it writes.

    an instruction, DDL:, Question:, SQL:                                  sql_prompt: for a model that talks
    " CREATE TABLE staff ( id INTEGER , town TEXT ) ;\\n Who ... ?\\n"      small_prompt: for the course's small model

`spaced` is the small model's spelling: a blank before every word and sign. So a name is the same token in the DDL, in
the question and in the query, wherever it stands, and is copied as it is.
Book: 6.2.3 SQL 생성 프롬프트 (the three parts and their order are the book's).
"""

from __future__ import annotations

import re

from minillm._checks import check_text

INSTRUCTION = "You write SQL. Answer the question with one SQLite query on these tables."
_SIGNS = re.compile(r"\s*([(),.;'\"?!=<>*:]|\n)\s*")
_TEXT = re.compile(r"' (.*?) '")
_START = re.compile(r"\bSELECT\b|\bWITH\s+(?:RECURSIVE\s+)?\w+\s*(?:\([^)]*\)\s*)?AS\s*\(", re.IGNORECASE)
_QUERY = re.compile(r"(?:'[^']*'|(?!\n\s*\n)[^;])*")  # a ; in a text ends nothing
_FENCE = re.compile(r"```(?:sql|sqlite)?\s*(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


def sql_prompt(ddl: str, question: str, instruction: str = INSTRUCTION) -> str:
    """The prompt that ends where the query begins; instruction "": the three parts alone."""
    head = f"{check_text('instruction', instruction)}\n\n" if instruction else ""
    return f"{head}DDL:\n{check_text('ddl', ddl)}\n\nQuestion:\n{check_text('question', question)}\n\nSQL:\n"


def sql_in(reply: str) -> str:
    """The query in a model's reply: in its first fence, or from SELECT or WITH on, up to a ; or an empty line."""
    fenced = _FENCE.search(check_text("reply", reply))
    text = fenced[1] if fenced else reply
    start = _START.search(text)
    text = text[start.start() :] if start else text
    return _QUERY.match(text)[0].strip()  # type: ignore[index]


def spaced(text: str) -> str:
    """ "a(b, 'c')" -> " a ( b , ' c ' )": every word and sign with a blank before it."""
    return " " + " ".join(_SIGNS.sub(r" \1 ", check_text("text", text)).split())


def unspaced(sql: str) -> str:
    """The query of a spaced one: " WHERE town = ' Seoul '" -> "WHERE town = 'Seoul'"."""
    return _TEXT.sub(r"'\1'", check_text("sql", sql)).strip()


def small_prompt(ddl: str, question: str) -> str:
    """What the small model of the course reads: the three parts in its own spelling, without an instruction."""
    return f"{spaced(ddl)}\n{spaced(question)}\n"
