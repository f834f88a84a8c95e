"""The words and signs of a query, and where its brackets stand.

    SELECT "T1".Name FROM people AS T1 WHERE city <> 'Ulm';      select t1 . name from people as t1 where city != 'Ulm'

Book: 6.2.1 Text2SQL 평가 방식. Left out: names that differ in their capitals alone; blobs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from minillm._checks import check_text, describe

_TOKEN = re.compile(
    r"""\s+|--[^\n]*|/\*(?:[^*]|\*(?!/))*(?:\*/|\Z)|(?P<text>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])|
    (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|(?P<word>[^\W\d]\w*)|(?P<sign><>|<=|>=|==|!=|\|\||[^\s\w'"`\[])""",
    re.VERBOSE,
)
Tokens = list[Any]  # str, and values for what is taken apart already
CLAUSES = ("select", "from", "where", "group", "having", "order", "limit", "offset")
JOINS = {"join", "inner", "left", "right", "full", "outer", "cross", "natural", ","}
_BEFORE_NAMES = {"select", "distinct", "by", "where", "having", "on", "and", "or", "not", "(", ","}
_BEFORE_BRACKETS = {
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "total",
    "where",
    "having",
    "on",
    "and",
    "or",
    "not",
    "(",
}
WORDS = frozenset(
    ("in", "not", "like", "between", "and", "or", "is", "null", "exists", "desc", "distinct", "case", "when", "then",
     "else", "end", "as", "escape", "glob", "cast", "all", "collate", "nocase", "integer", "real", "text")
)  # fmt: skip


def tokens_of(sql: str, names: Collection[str] = ()) -> list[str]:
    """The words and signs of a query: names in small letters, texts as 'text', a sign for each operator.

    "Ulm" in double quotes is a text, as in many data sets, unless it is one of `names`, or stands beside a point, or
    after FROM, JOIN or AS. Without `names`, it is a name also where no text would stand: SELECT "name", GROUP BY "no".
    ValueError for a text or a name that does not end.
    """
    found, place = [], 0
    check_text("sql", sql)
    while place < len(sql):
        match = _TOKEN.match(sql, place)
        if match is None:
            raise ValueError(f"a query cannot be read from {describe(sql[place : place + 20])} on")
        place, kind, token = match.end(), match.lastgroup, match[0]
        if kind == "text":
            found.append(token)
        elif kind == "quoted":
            inner = token[1:-1].replace('""', '"')
            if token[0] == '"' and inner.lower() not in names and not _names(found, sql[place:], not names):
                found.append("'" + inner.replace("'", "''") + "'")
                continue
            inner = inner.lower()
            found.append(f'"{inner}"' if inner in WORDS or inner in CLAUSES or inner in JOINS else inner)
        elif kind is not None:
            found.append({"<>": "!=", "==": "="}.get(token, token.lower()))
    while found and found[-1] == ";":
        found.pop()
    if not found:
        raise ValueError(f"expected a query, got {describe(sql)}")
    return found


def _names(found: Sequence[str], rest: str, guess: bool) -> bool:
    """Whether "this" between what was found and the rest of a query is a name, where no schema says so."""
    before = found[-1] if found else ""
    if before in (".", "from", "join", "as") or rest.lstrip().startswith("."):
        return True
    if not guess or before not in _BEFORE_NAMES:
        return False
    if before == "and":
        return "between" not in found[-4:]
    if before not in ("(", ","):
        return True
    depth, place = 0, len(found) - 1  # where the bracket around it opens
    while place >= 0 and (found[place] != "(" or depth):
        depth += (found[place] == ")") - (found[place] == "(")
        place -= 1
    if before == "(":
        return found[place - 1] in _BEFORE_BRACKETS
    return place < 0 or found[place + 1] == "select"


def orders(sql: str) -> bool:
    """Whether the query as a whole has an order: an ORDER BY in a query within it says nothing of the rows."""
    try:
        tokens = tokens_of(sql)
        return any(word == "order" for word, depth in zip(tokens, depths_of(tokens)) if depth == 0)
    except ValueError:
        return False


def depths_of(tokens: Sequence[Any]) -> list[int]:
    """In how many brackets each token stands; a bracket stands in itself. ValueError where they do not fit."""
    depth, found = 0, []
    for token in tokens:
        depth += token == "("
        found.append(depth)
        depth -= token == ")"
        if depth < 0:
            break
    if depth != 0:
        raise ValueError("the brackets of the query do not fit")
    return found


def split(tokens: Tokens, words: Sequence[str]) -> list[Tokens]:
    """The parts of the tokens around these words, where they stand in no bracket."""
    parts: list[Tokens] = [[]]
    for token, depth in zip(tokens, depths_of(tokens)):
        if depth == 0 and token in words:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def closes(tokens: Tokens) -> bool:
    """Whether the first bracket is closed by the last token."""
    depths = depths_of(tokens)
    return (
        tokens[-1] == ")"
        and min(depths) >= 1
        and not any(d == 1 and token == ")" for token, d in zip(tokens[:-1], depths[:-1]))
    )
