"""Which tokens may come next, so that a text stays in a language of bytes: all whose bytes the automaton can follow.

    tokens in the order of their bytes      {      {"     {"a     {"n     ,     "
    bytes they share with the one before           1      2       2       0     0

A token is followed from where it parts from the one before; once a byte leads nowhere, all tokens that share this byte
are passed over. So a step costs about a byte or two of each token: less than a thousandth of a second for 49,000 of
them. A token that ends inside a string, a key or half a character is as good as any other. Book 8.4. Papers: Willard
and Louf 2023; Koo et al. 2024.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numba import njit

from minillm._checks import describe
from minillm.inference.grammar.calls import Calls, calls_automaton
from minillm.inference.grammar.json_schema import schema_automaton
from minillm.inference.grammar.regular import without_dead_ends

MOST_BYTES = 256  # of a token; longer ones are never chosen


class Vocabulary:
    """The bytes of all tokens, in order: `data` with `starts` (T + 1,), `shared` (T,); `ids` (T,): whose they are."""

    def __init__(self, tokenizer: Any):
        special = {tokenizer.token_to_id(name) for name in tokenizer.special_tokens}
        spelled = [(tokenizer.decode_bytes([i]), i) for i in range(tokenizer.vocab_size) if i not in special]
        spelled = sorted(pair for pair in spelled if 0 < len(pair[0]) <= MOST_BYTES)
        texts = [text for text, _ in spelled]
        self.size = tokenizer.vocab_size
        self.ids = np.array([i for _, i in spelled], np.int64)
        self.data = np.frombuffer(b"".join(texts), np.uint8)
        self.starts = np.cumsum([0, *map(len, texts)]).astype(np.int64)
        self.shared = np.array([_common(a, b) for a, b in zip([b"", *texts], texts)], np.int64)
        self.spells = np.zeros(self.size, bool)  # the tokens that stand for bytes
        self.spells[self.ids] = True
        self.bytes = np.zeros(256, bool)  # those that are a token of their own
        self.bytes[[text[0] for text in texts if len(text) == 1]] = True


def _common(a: bytes, b: bytes) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


@njit(cache=True, nogil=True)
def follow(table, state, data, starts, shared, ends):  # pragma: no cover
    """Where each token leads from `state`, -1 for nowhere, in ends (T,)."""
    states = np.empty(MOST_BYTES + 1, np.int32)  # after so many bytes of the token at hand
    states[0] = state
    known = 0  # how many of them hold; after those the walk has got stuck, or the token is at its end
    stuck = False
    for t in range(shared.size):
        if stuck and shared[t] > known:  # it shares the byte at which the one before got stuck
            ends[t] = -1
            continue
        known, stuck = min(known, shared[t]), False
        for i in range(known, starts[t + 1] - starts[t]):
            after = table[states[i], data[starts[t] + i]]
            if after < 0:
                stuck = True
                break
            known = i + 1
            states[known] = after
        ends[t] = -1 if stuck else states[known]


class Guide:
    """An automaton over bytes for the tokens of a tokenizer. It does not change: a text keeps its state, 0 at first.

    ValueError for a language of which no text can be written with these tokens.
    """

    def __init__(self, table: np.ndarray, accepting: np.ndarray, vocabulary: Vocabulary):
        writable = np.where(
            vocabulary.bytes, table, -1
        )  # then a byte alone always leads on: nobody gets stuck
        self.table, self.accepting = without_dead_ends(writable, accepting)
        self.vocabulary = vocabulary
        self._shortest: int | None = None

    def _ends(self, state: int) -> np.ndarray:
        words = self.vocabulary
        ends = np.empty(len(words.ids), np.int32)
        follow(self.table, state, words.data, words.starts, words.shared, ends)
        return ends

    def allowed(self, state: int) -> np.ndarray:
        """bool (V,): the tokens that may come next. End tokens are the caller's: they may where `may_end`."""
        allowed = np.zeros(self.vocabulary.size, bool)
        allowed[self.vocabulary.ids[self._ends(state) >= 0]] = True
        return allowed

    def after(self, state: int, text: bytes) -> int:
        """The state behind these bytes. ValueError where they lead nowhere."""
        for byte in text:
            state = int(self.table[state, byte])
            if state < 0:
                raise ValueError(f"{text!r} leads out of the grammar")
        return state

    def may_end(self, state: int) -> bool:
        """Whether the text is complete."""
        return bool(self.accepting[state])

    def must_end(self, state: int) -> bool:
        """Whether it is complete, and nothing may follow."""
        return self.may_end(state) and not (self.table[state] >= 0).any()

    def shortest(self, enough: int) -> int:
        """The fewest tokens of a text of the language; where `enough` are enough, a number up to that may come.

        The exact number is found once; it takes half a minute for the largest of grammars.
        """
        if self._shortest is None:
            by_bytes = self._steps(lambda state: self.table[state])  # no text needs more tokens than bytes
            if by_bytes <= enough:
                return by_bytes
            self._shortest = self._steps(self._ends)
        return self._shortest

    def _steps(self, lead: Callable[[int], np.ndarray]) -> int:
        """How many steps from the start to the nearest end; lead(state): where one step leads, -1 for nowhere."""
        reached, seen, steps = {0}, {0}, 0
        while not any(map(self.may_end, reached)):
            reached = {to for state in reached for to in set(lead(state).tolist())} - {-1} - seen
            seen |= reached
            steps += 1
        return steps


class _Guides:
    """What was made for one tokenizer: its vocabulary, and the guides of the last schemas."""

    def __init__(self, tokenizer: Any):
        self.vocabulary = Vocabulary(tokenizer)
        self.of_schema = lru_cache(maxsize=16)(lambda text: Guide(*compiled(text), self.vocabulary))
        self.of_calls = lru_cache(maxsize=16)(lambda calls: Guide(*calls_automaton(calls), self.vocabulary))


_MADE: WeakKeyDictionary[Any, _Guides] = WeakKeyDictionary()


def json_guide(schema: Mapping[str, Any] | bool, tokenizer: Any) -> Guide:
    """The guide to the texts of a JSON schema. ValueError as `schema_automaton`, and for a tokenizer without bytes."""
    return _guides(tokenizer, "json_schema").of_schema(schema_text(schema))


def calls_guide(calls: Calls, tokenizer: Any) -> Guide:
    """The guide to answers that may call functions. ValueError for a tokenizer without bytes."""
    return _guides(tokenizer, "calls").of_calls(calls)


def _guides(tokenizer: Any, what: str) -> _Guides:
    if not callable(getattr(tokenizer, "decode_bytes", None)):
        raise ValueError(f"{what} needs a tokenizer of ours, got {describe(tokenizer)}")
    if tokenizer not in _MADE:
        _MADE[tokenizer] = _Guides(tokenizer)
    return _MADE[tokenizer]


def schema_text(schema: Any) -> str:
    """A schema as JSON text. ValueError for what is no JSON."""
    try:
        return json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"json_schema must be a JSON schema (a dict), got {describe(schema)}") from None


@lru_cache(maxsize=16)
def compiled(text: str) -> tuple[np.ndarray, np.ndarray]:
    """The automaton of a schema given as text."""
    return schema_automaton(json.loads(text))
