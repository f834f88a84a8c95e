"""Answers that may call functions, as a regular language: free text, or a call in the one form that a model writes.

    form        <tool_call>\\n{"name": "  NAME  ", "arguments":   ARGUMENTS  }\\n</tool_call>
    auto        any text; once it holds the marker <tool_call>, a whole call follows
    required    calls alone

ARGUMENTS follow the function's JSON schema (json_schema.py), so they always parse and validate. Where an answer may
hold both, free text is any text without the marker: the model decides by writing the marker or not, and after it
nothing but a call can come. Book 8.4 LLM 서빙 프레임워크. Held against jsonschema and the openai client.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from minillm.inference.grammar.json_schema import schema_automaton
from minillm.inference.grammar.regular import (
    Graph,
    Piece,
    automaton,
    choice,
    from_table,
    literal,
    sequence,
    star,
)  # fmt: skip


@dataclass(frozen=True)
class CallForm:
    """The text around a call: before NAME middle ARGUMENTS after; `between` two calls: from arguments to the next name.

    marker: what `before` begins with and free text does not hold. anywhere: whether a call may follow other text; if
    not, an answer is a call where it begins with the marker, and holds it as text elsewhere.
    """

    marker: str
    before: str
    middle: str
    after: str
    between: str | None = None  # None: one call an answer
    anywhere: bool = True


@dataclass(frozen=True)
class Calls:
    """What an answer may be. functions: (name, JSON schema of its arguments as text) of each, one at least.

    text: whether it may be free text (or begin with it). several: whether more than one call may come. schema: a JSON
    schema as text that an answer without calls follows, instead of free text. ValueError as `schema_automaton`.
    """

    form: CallForm
    functions: tuple[tuple[str, str], ...]
    text: bool = True
    several: bool = True
    schema: str | None = None

    def __post_init__(self) -> None:
        calls_automaton(self)


@lru_cache(maxsize=16)
def calls_automaton(calls: Calls) -> tuple[np.ndarray, np.ndarray]:
    """(table, accepting) as `automaton` returns them; ValueError naming the function whose schema will not do."""
    form = calls.form
    functions = []
    for name, schema in calls.functions:
        try:
            arguments = from_table(*schema_automaton(json.loads(schema)))
        except ValueError as error:
            raise ValueError(f"the parameters of function {name!r} will not do: {error}") from None
        functions.append(sequence(literal(name.encode()), literal(form.middle.encode()), arguments))
    one = choice(*functions)
    some = one
    if calls.several and form.between is not None:
        some = sequence(one, star(sequence(literal(form.between.encode()), one)))
    marker = form.marker.encode()
    call = sequence(literal(form.before.encode()[len(marker) :]), some, literal(form.after.encode()))
    if calls.schema is not None and calls.text:
        if not form.anywhere:
            raise ValueError(
                "calls have no marker here: an answer cannot be told from one under a JSON schema"
            )
        plain = from_table(*schema_automaton(json.loads(calls.schema)))
        return automaton(choice(plain, sequence(literal(marker), call)))
    if calls.text:
        return automaton(text_until(marker, call, form.anywhere))
    return automaton(sequence(literal(marker), call))


def text_until(marker: bytes, then: Piece, anywhere: bool = True) -> Piece:
    """Any bytes without `marker`, or up to and with it, and then `then`. anywhere False: it counts at the start alone.

    The states are how much of the marker the text ends with (Knuth, Morris and Pratt 1977).
    """

    def add(graph: Graph, start: int) -> int:
        begun = [graph.state() for _ in marker]  # so many bytes of it are there
        other, inside, end = graph.state(), graph.state(), graph.state()
        graph.free[start].append(begun[0])
        for length, state in enumerate(begun):
            graph.free[state].append(end)
            for first, last, after in _runs(marker, length, anywhere):
                to = other if after is None else inside if after == len(marker) else begun[after]
                graph.moves[state].append((first, last, to))
        graph.moves[other].append((0, 255, other))  # the marker means nothing any more
        graph.free[other].append(end)
        graph.free[then(graph, inside)].append(end)
        return end

    return add


def _runs(marker: bytes, length: int, anywhere: bool) -> Iterator[tuple[int, int, int | None]]:
    """(first byte, last byte, how much of the marker is there after one of them; None: it cannot come any more)."""

    def after(byte: int) -> int | None:
        text = marker[:length] + bytes([byte])
        if not anywhere:
            return length + 1 if marker.startswith(text) else None
        return next(n for n in range(len(text), -1, -1) if text.endswith(marker[:n]))

    first = 0
    for byte in range(1, 257):
        if byte == 256 or after(byte) != after(first):
            yield first, byte - 1, after(first)
            first = byte
