"""JSON values as pieces of a grammar, written in one plain way.

    string(0, 3)   "", "a", "한글", ...      integers(7, 12)   7, 8, 9, 10, 11, 12      items_between(BOOLEAN, 1, 2)

Strings stand in their shortest form, one space or none behind a comma or colon, no other white space; numbers have at
most 15 digits before and behind the point. Held against Python's json.
"""

from __future__ import annotations

from functools import lru_cache

from minillm.inference.grammar.patterns import ANY, json_character, pattern
from minillm.inference.grammar.regular import (
    Graph,
    Piece,
    automaton,
    between,
    both,
    choice,
    compact,
    from_table,
    literal,
    optional,
    sequence,
    star,
    times,
)  # fmt: skip

DIGITS = 15  # before and behind the point: what a double holds, and an end to every number
DEPTH = 4  # of a value that may be anything

SPACE = optional(literal(b" "))
COMMA, COLON = sequence(literal(b","), SPACE), sequence(literal(b":"), SPACE)
DIGIT = between(48, 57)
WHOLE = choice(literal(b"0"), sequence(between(49, 57), times(DIGIT, 0, DIGITS - 1)))
INTEGER = sequence(optional(literal(b"-")), WHOLE)
FRACTION = sequence(literal(b"."), times(DIGIT, 1, DIGITS))
EXPONENT = sequence(
    choice(literal(b"e"), literal(b"E")), optional(choice(literal(b"+"), literal(b"-"))), times(DIGIT, 1, 2)
)
NUMBER = sequence(INTEGER, optional(FRACTION), optional(EXPONENT))
BOOLEAN, NULL = choice(literal(b"true"), literal(b"false")), literal(b"null")


def string(least: int = 0, most: int | None = None, expression: str | None = None) -> Piece:
    """A JSON string of `least` to `most` characters in which `expression` is found."""
    inside = times(json_character(ANY), least, most)
    if expression is not None:
        inside = pattern(expression)
        if (least, most) != (0, None):
            inside = from_table(*both(automaton(inside), automaton(times(json_character(ANY), least, most))))
    return sequence(literal(b'"'), inside, literal(b'"'))


def items_between(item: Piece, least: int, most: int | None) -> Piece:
    """`[item, item]` with `least` to `most` items."""
    more = sequence(COMMA, item)
    some = sequence(item, times(more, max(least - 1, 0), None if most is None else most - 1))
    if most == 0:
        some = sequence()
    return sequence(literal(b"["), some if least else optional(some), literal(b"]"))


def members(fields: list[tuple[Piece, bool]]) -> Piece:
    """`{field, field}`, those that are not required left out or not; each field is built once."""

    def add(graph: Graph, start: int) -> int:
        none, some = literal(b"{")(graph, start), graph.state()  # nothing written yet; something is
        for field, required in fields:
            inside, after = graph.state(), graph.state()
            graph.free[none].append(inside)
            graph.free[COMMA(graph, some)].append(inside)
            graph.free[field(graph, inside)].append(after)
            without = graph.state()
            if not required:
                graph.free[none].append(without)
                graph.free[some].append(after)
            none, some = without, after
        end = graph.state()
        for state in (none, some):
            graph.free[literal(b"}")(graph, state)].append(end)
        return end

    return add


def integers(low: int | None, high: int | None) -> Piece:
    """All whole numbers from `low` to `high`, None for no bound (but that of DIGITS)."""
    most = 10**DIGITS - 1
    low, high = max(-most, -most if low is None else low), min(most, most if high is None else high)
    pieces = []
    if low < 0:
        pieces.append(sequence(literal(b"-"), _naturals(max(1, -high), -low)))
    if high >= 0:
        pieces.append(_naturals(max(0, low), high))
    return choice(*pieces)


def _naturals(low: int, high: int) -> Piece:
    """Numbers without sign: cut into ranges whose last digits are free."""
    pieces = []
    while low <= high:
        free = 0
        while low % 10 ** (free + 1) == 0 and low + 10 ** (free + 1) - 1 <= high and len(str(low)) > free + 1:
            free += 1
        step = 10**free
        first = low // step
        last = min(
            first // 10 * 10 + 9, (high + 1) // step - 1
        )  # digits that the place before the free ones may have
        head, (a, b) = str(first)[:-1], (first % 10, last % 10)
        pieces.append(sequence(literal(head.encode()), between(48 + a, 48 + b), *[DIGIT] * free))
        low = (last + 1) * step
    return choice(*pieces)


@lru_cache(maxsize=DEPTH + 1)
def anything(depth: int = DEPTH) -> Piece:
    """Any JSON value with at most `depth` levels of lists and objects."""
    pieces = [string(), NUMBER, BOOLEAN, NULL]
    if depth:
        inside = compact(anything(depth - 1))
        pieces += [items_between(inside, 0, None), any_object(inside)]
    return choice(*pieces)


def any_object(value: Piece) -> Piece:
    """An object of any names."""
    field = sequence(string(), COLON, value)
    return sequence(literal(b"{"), optional(sequence(field, star(sequence(COMMA, field)))), literal(b"}"))
