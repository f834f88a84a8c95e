"""A baseline that learns nothing: the query of the nearest known question, with the values of the new one.

    known    How many employees are there whose city is #0?        SELECT COUNT(*) FROM staff WHERE town = '#0'
    asked    How many employees are there whose city is Busan?     SELECT COUNT(*) FROM staff WHERE town = 'Busan'

Near is what shares most words, |A & B| / |A | B| (Jaccard). Where this is right, a test asks for nothing that a model
had to learn. Values are found by comparing letters in the question alone.
Book: 6.1. Paper: Finegan-Dollak et al. 2018. Left out: words that mean the same; texts with a ' in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from minillm._checks import check_text, describe, is_listing
from minillm.data.geoquery import filled

_NUMBER = r"(?<![\w.#])\d+(?:\.\d+)?"


class Slotted(NamedTuple):
    """words: of the question, its values replaced by #0, #1, ...; sql: its query likewise; values: what stood there."""

    words: frozenset[str]
    sql: str
    values: tuple[str, ...]


def slotted(question: str, sql: str, texts: Iterable[str] = (), context: str = "") -> Slotted:
    """A question made ready. texts: of its database. context: more that is compared, for example its DDL."""
    check_text("question", question), check_text("sql", sql), check_text("context", context)
    if not is_listing(texts):
        raise ValueError(f"texts must list the texts of the database, got {describe(texts)}")
    values: list[str] = []

    def slot(found: re.Match[str]) -> str:
        if found[0] not in values:
            values.append(found[0])
        return f"#{values.index(found[0])}"

    longest_first = sorted(
        {check_text("each of texts", text) for text in texts} - {""}, key=lambda text: (-len(text), text)
    )
    asked = re.sub("|".join([*map(re.escape, longest_first), _NUMBER]), slot, question)
    query = re.sub(
        rf"(?<=')[^']*(?=')|{_NUMBER}",
        lambda found: f"#{values.index(found[0])}" if found[0] in values else found[0],
        sql,
    )
    return Slotted(frozenset(re.findall(r"#?\w+", f"{asked} {context}")), query, tuple(values))


def nearest_query(asked: Slotted, known: Sequence[Slotted]) -> str:
    """The query of the known question that shares most words, the first of several; ValueError where none is known."""
    if not known:
        raise ValueError("known must hold at least one question, got none")

    def near(one: Slotted) -> float:
        shared = len(asked.words & one.words)
        return shared / max(1, len(asked.words) + len(one.words) - shared)

    best = max(known, key=near)
    return filled(best.sql, asked.values)
