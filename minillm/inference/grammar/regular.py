"""Regular languages of bytes: built from pieces, turned into a table that is followed byte by byte.

    number = sequence(optional(literal(b"-")), choice(literal(b"0"), sequence(between(49, 57), star(between(48, 57)))))
    table, accepting = automaton(number)          state = table[state, byte], -1: no text of the language goes on so

A piece is a function that adds its states to a graph: `piece(graph, start) -> end`. The graph may be in several states
at once (nondeterministic, Thompson 1968); the table has a state for each set of them that can occur (the subset
construction of Rabin and Scott 1959). From every state of the table an accepting one can be reached: who follows it
never gets stuck.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

MOST_STATES = 20_000
MOST_WORK = (
    2_000_000  # places looked at: some grammars are in thousands of them in each of thousands of states
)


class TooManyStates(ValueError):
    """The language needs a larger table than `automaton` was allowed."""


@dataclass
class Graph:
    """States are numbers. moves: from each state (first byte, last byte, to). free: where one gets without a byte."""

    moves: list[list[tuple[int, int, int]]] = field(default_factory=list)
    free: list[list[int]] = field(default_factory=list)
    work: int = MOST_WORK
    most: int = 3 * MOST_STATES

    def state(self) -> int:
        """A new state."""
        if len(self.moves) >= self.most:
            raise TooManyStates(f"the grammar has more than {self.most:,} places")
        self.moves.append([])
        self.free.append([])
        return len(self.moves) - 1

    def reached(self, states: Iterable[int]) -> frozenset[int]:
        """These states, and all that can be reached from them without a byte."""
        found, left = set(states), list(states)
        while left:
            for other in self.free[left.pop()]:
                if other not in found:
                    found.add(other)
                    left.append(other)
        self.work -= len(found)
        if self.work < 0:
            raise TooManyStates(f"the grammar is in more than {MOST_WORK:,} places")
        return frozenset(found)


class Numbers:
    """Numbers things as they are met, `most` of them at most: the states of a table."""

    def __init__(self, most: int):
        self.things: list[Hashable] = []
        self._number: dict[Hashable, int] = {}
        self._most = most

    def of(self, thing: Hashable) -> int:
        if thing not in self._number:
            if len(self.things) >= self._most:
                raise TooManyStates(f"the grammar needs more than {self._most:,} states")
            self._number[thing] = len(self.things)
            self.things.append(thing)
        return self._number[thing]


Piece = Callable[[Graph, int], int]


def between(first: int, last: int) -> Piece:
    """One byte from `first` to `last`."""

    def add(graph: Graph, start: int) -> int:
        end = graph.state()
        graph.moves[start].append((first, last, end))
        return end

    return add


def literal(text: bytes) -> Piece:
    """These bytes."""
    return sequence(*(between(byte, byte) for byte in text))


def sequence(*pieces: Piece) -> Piece:
    """One after the other."""

    def add(graph: Graph, start: int) -> int:
        for piece in pieces:
            start = piece(graph, start)
        return start

    return add


def choice(*pieces: Piece) -> Piece:
    """One of them; of none: nothing at all."""

    def add(graph: Graph, start: int) -> int:
        end = graph.state()
        for piece in pieces:
            inside = graph.state()  # a loop back to the start of one piece must not lead into another
            graph.free[start].append(inside)
            graph.free[piece(graph, inside)].append(end)
        return end

    return add


def optional(piece: Piece) -> Piece:
    """Once or not at all."""
    return choice(piece, sequence())


def star(piece: Piece) -> Piece:
    """Any number of times, none included."""

    def add(graph: Graph, start: int) -> int:
        again = graph.state()
        graph.free[start].append(again)
        graph.free[piece(graph, again)].append(again)
        end = graph.state()
        graph.free[again].append(end)
        return end

    return add


def times(piece: Piece, least: int, most: int | None) -> Piece:
    """From `least` to `most` times; None: as often as one likes."""

    def add(graph: Graph, start: int) -> int:
        start = sequence(*[piece] * least)(graph, start)
        if most is None:
            return star(piece)(graph, start)
        end = graph.state()
        for _ in range(most - least):
            graph.free[start].append(end)
            start = piece(graph, start)
        graph.free[start].append(end)
        return end

    return add


def from_table(table: np.ndarray, accepting: np.ndarray) -> Piece:
    """The language of an automaton as a piece of a larger one."""

    def add(graph: Graph, start: int) -> int:
        states, end = [graph.state() for _ in range(len(table))], graph.state()
        graph.free[start].append(states[0])
        for state, row in zip(states, table):
            edges = np.flatnonzero(np.diff(row, prepend=-2, append=-2))  # where runs of the same target begin
            for first, stop in zip(edges[:-1].tolist(), edges[1:].tolist()):
                if row[first] >= 0:
                    graph.moves[state].append((first, stop - 1, states[row[first]]))
        for state in np.flatnonzero(accepting).tolist():
            graph.free[states[state]].append(end)
        return end

    return add


def automaton(piece: Piece, most_states: int = MOST_STATES) -> tuple[np.ndarray, np.ndarray]:
    """(table int32 (S, 256), accepting bool (S,)): state 0 is the start, -1 where no text of the language goes on.

    TooManyStates (a ValueError) for a language that needs more than `most_states`, ValueError for an empty one.
    """
    graph = Graph()
    start = graph.state()
    end = piece(graph, start)
    found = Numbers(most_states)
    found.of(graph.reached([start]))
    rows: list[np.ndarray] = []
    for states in found.things:  # grows while it is gone through
        row = np.full(256, -1, np.int32)
        rows.append(row)
        moves = [move for state in states for move in graph.moves[state]]
        cuts = sorted({first for first, _, _ in moves} | {last + 1 for _, last, _ in moves})
        for first, stop in pairwise(cuts):  # all bytes in between lead to the same states
            targets = [to for low, high, to in moves if low <= first <= high]
            if targets:
                row[first:stop] = found.of(graph.reached(targets))
    accepting = np.array([end in states for states in found.things])
    return without_dead_ends(np.array(rows), accepting)


def without_dead_ends(table: np.ndarray, accepting: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same language, from whose every state an accepting one can be reached. ValueError if it holds no text."""
    size = len(table)
    source, byte = np.nonzero(table >= 0)
    source, target = np.divmod(np.unique(source * size + table[source, byte]), size)
    order = np.argsort(target, kind="stable")
    source, begins = (
        source[order],
        np.searchsorted(target[order], np.arange(size + 1)),
    )  # who leads to each state
    alive, left = accepting.copy(), np.flatnonzero(accepting).tolist()
    while left:
        state = left.pop()
        for before in source[begins[state] : begins[state + 1]].tolist():
            if not alive[before]:
                alive[before] = True
                left.append(before)
    if not alive[0]:
        raise ValueError("no text at all follows this grammar")
    names = np.where(alive, np.cumsum(alive) - 1, -1).astype(np.int32)  # state 0 stays 0
    kept = table[alive]
    return np.where(kept >= 0, names[kept], -1).astype(np.int32), accepting[alive]


def smallest(table: np.ndarray, accepting: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same language with the fewest states: those that nothing tells apart become one (Moore 1956)."""
    group = accepting.astype(np.int64)
    while True:
        told = np.concatenate([group[:, None], np.where(table >= 0, group[table], -1)], axis=1)
        _, first, finer = np.unique(told, axis=0, return_index=True, return_inverse=True)
        finer = finer.reshape(-1)
        if len(first) == len(np.unique(group)):
            break
        group = finer
    order = np.argsort(first)  # the start's group comes first
    names = np.argsort(order)[finer]
    kept = table[first[order]]
    return np.where(kept >= 0, names[kept], -1).astype(np.int32), accepting[first[order]]


def compact(piece: Piece) -> Piece:
    """The same language with the fewest states: worth it for what stands in many places of a grammar."""
    return from_table(*smallest(*automaton(piece)))


def both(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    most_states: int = MOST_STATES,
) -> tuple[np.ndarray, np.ndarray]:
    """The texts of two automata that stand in both languages (their product)."""
    (a, accepts_a), (b, accepts_b) = first, second
    pairs, rows = Numbers(most_states), []
    pairs.of((0, 0))
    for i, j in pairs.things:  # grows while it is gone through
        row = np.full(256, -1, np.int32)
        for byte in np.flatnonzero((a[i] >= 0) & (b[j] >= 0)).tolist():
            row[byte] = pairs.of((int(a[i, byte]), int(b[j, byte])))
        rows.append(row)
    accepting = np.array([accepts_a[i] and accepts_b[j] for i, j in pairs.things])
    return without_dead_ends(np.array(rows), accepting)


def matches(table: np.ndarray, accepting: np.ndarray, text: bytes) -> bool:
    """Whether a text stands in the language: the plain walk."""
    state = 0
    for byte in text:
        state = table[state, byte]
        if state < 0:
            return False
    return bool(accepting[state])


def characters(ranges: Sequence[tuple[int, int]]) -> Piece:
    """One character with a code point in one of the ranges (both ends count), as UTF-8; surrogates have none."""
    pieces = []
    for low, high in ranges:
        for first, last in ((low, min(high, 0xD7FF)), (max(low, 0xE000), high)):
            pieces += [
                sequence(*(between(a, b) for a, b in run)) for run in _utf8_runs(first, last) if first <= last
            ]
    return choice(*pieces)


def _utf8_runs(first: int, last: int) -> list[list[tuple[int, int]]]:
    """Runs of byte ranges that together are the UTF-8 of first..last: cut where the length or a leading byte turns."""
    if first > last:
        return []
    for limit in (0x7F, 0x7FF, 0xFFFF):
        if first <= limit < last:
            return _utf8_runs(first, limit) + _utf8_runs(limit + 1, last)
    a, b = chr(first).encode(), chr(last).encode()
    for i in range(len(a) - 1, 0, -1):  # the last i bytes run through all values, or the range is cut there
        block = 64**i
        if first // block != last // block:
            if first % block:
                middle = (first // block + 1) * block
                return _utf8_runs(first, middle - 1) + _utf8_runs(middle, last)
            if last % block != block - 1:
                middle = last // block * block
                return _utf8_runs(first, middle - 1) + _utf8_runs(middle, last)
    return [list(zip(a, b))]
