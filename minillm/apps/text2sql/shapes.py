"""What a query is made of, whatever it asks for: its template and its parts.

    SELECT town, COUNT(*) FROM staff AS s WHERE wage > 3000 GROUP BY town
    sql_template                select _ , count ( * ) from _ where _ > ? group by _
    sql_template, names=True    select town , count ( * ) from staff where wage > ? group by town
    query_parts                 {"group"}

A test set whose templates stand in the training data asks for nothing new but names and values: `sql_template` counts
that. The parts say how hard a set is.
Book: 6.1.1 대표적인 Text2SQL 데이터셋. Papers: Finegan-Dollak et al. 2018 (splits by query); Yu et al. 2018 (Spider).
Held against: the parses that Spider gives with its queries. Left out: the parts of a query within a query, besides that
it is there; Spider's four levels of hardness.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from minillm.apps.text2sql.clauses import read_sql
from minillm.apps.text2sql.words import CLAUSES, JOINS, WORDS, depths_of, tokens_of

PARTS = ("join", "group", "having", "order", "nested", "set")
SETS = ("union", "intersect", "except")
_KEPT = {*WORDS, *CLAUSES, *JOINS, *SETS, "on", "using", "by", "with", "recursive"}


def sql_template(sql: str, names: bool = False) -> str:
    """The query with a ? for each text and number, and a _ for each name unless `names`; without aliases after AS.

    ValueError for a query whose words cannot be read.
    """
    tokens = tokens_of(sql)
    aliases = {b for a, b, c in zip(tokens, tokens[1:], [*tokens[2:], ""]) if a == "as" and c != "("}
    words: list[str] = []
    for token, after in zip(tokens, [*tokens[1:], ""]):
        name = (token[0].isalpha() or token[0] in '_"') and token not in _KEPT and after != "("
        if token[0] == "'" or token[0].isdigit():
            words.append("?")
        elif name and token in aliases:
            words.append("_alias")
        else:
            words.append("_" if name and not names else token)
    text = re.sub(
        r" as _alias\b|\b_alias \. ", "", " ".join(words)
    )  # people as t1 -> people, t1 . age -> age
    return text.replace("_alias", "_").replace("_ . _", "_")


def query_parts(sql: str) -> frozenset[str]:
    """Which of PARTS a query has; ValueError where it cannot be taken apart."""
    tokens = tokens_of(sql)
    found = {"nested"} if any(t == "select" and d for t, d in zip(tokens, depths_of(tokens))) else set()
    queries = [*_selects(read_sql(sql))]
    for query in queries:
        found |= {part for part in ("group", "having", "order") if query.get(part)}
        if sum(query.get("from", {}).values()) > 1:
            found.add("join")
    return frozenset(found | ({"set"} if len(queries) > 1 else set()))


def _selects(query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The queries on both sides of UNION, INTERSECT and EXCEPT."""
    if "set" in query:
        yield from _selects(query["left"])
        yield from _selects(query["right"])
    else:
        yield query
