"""SentencePiece's table of normalisations (문자 변환표): which characters become which others before a text is cut.

    "ｱ" -> "ア"   "ﬁ" -> "fi"   "e◌́" -> "é"   "\u200b" -> " "   "①" -> "1"

A model file carries the table in compiled form ("precompiled charsmap"): the size of a double-array trie, the trie,
and the results, each ended by a zero byte. In the trie every number is a node: eight bits are the byte that leads to
it, one bit says whether a key ends there, the others where its children lie; the child for byte b of node n is at
(n's offset) XOR b, and is one if its own label is b (`Trie`).

The longest key wins, as in SentencePiece (`Charsmap`). The tokenizers library reads the same table another way
(`Precompiled`): where a cluster of letter and marks has less than six bytes, its shortest key replaces all of it, else
every character stands for itself. So Hangul written in single letters stays so there, and SentencePiece composes it.

Papers: Kudo and Richardson 2018 (SentencePiece); Aoe 1989 (double array). Held against: sentencepiece, tokenizers.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import regex

from minillm._checks import check_text, describe
from minillm.tokenizer.parts import Normalizer
from minillm.tokenizer.special import encode_text
from minillm.tokenizer.unicode_forms import origins_of

_LONGEST_KEY = 16  # characters; real tables have keys of 4
_REMEMBERED, _WINDOW = 1 << 14, 1 << 8
_DAMAGED = "the table of normalisations is cut short or damaged"
_LABEL, _VALUE = 0x800000FF, 0x7FFFFFFF


def children_of(unit):
    """Where the children of a node lie, relative to the node itself."""
    return (unit >> 10) << ((unit & 0x200) >> 6)


class Trie:
    """The compiled table: `matches` looks a text up, `characters` lists what keys begin with."""

    def __init__(self, data: bytes) -> None:
        """`data` as model files hold it. Raises ValueError when it is cut short or damaged."""
        size = int.from_bytes(data[:4], "little")
        if size % 4 or not 4 <= size <= len(data) - 5 or data[-1]:
            raise ValueError(_DAMAGED)
        self._array = np.frombuffer(data, "<u4", size // 4, 4).astype(np.int64)
        self._units: list[int] = self._array.tolist()
        self._results = data[4 + size :]
        self.root = children_of(self._units[0])
        self._check()

    def _check(self) -> None:
        """Every node that can be reached must lie inside, and every result begin where one begins."""
        try:
            self._results.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(_DAMAGED) from None
        begins = np.frombuffer(b"\0" + self._results, np.uint8) == 0
        seen = np.zeros(self._array.size, dtype=bool)
        nodes = np.array([self.root])
        while nodes.size:
            _, _, places = self._step(nodes)
            places = np.unique(places[~seen[places]])
            seen[places] = True
            nodes = places ^ children_of(self._array[places])
            ends = nodes[(self._array[places] >> 8 & 1) == 1]
            if ends.size and ends.max() >= seen.size:
                raise ValueError(_DAMAGED)
            values = self._array[ends] & _VALUE
            if values.size and (values.max() >= len(self._results) or not begins[values].all()):
                raise ValueError(_DAMAGED)

    def _step(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(which of `nodes`, by which byte, where) of all children."""
        found = []
        labels = np.arange(1, 256)
        for first in range(0, nodes.size, 4096):  # 8 MB at a time
            at = nodes[first : first + 4096, None] ^ labels
            inside = at < self._array.size
            which, label = np.nonzero(inside & (self._array[np.where(inside, at, 0)] & _LABEL == labels))
            found.append((which + first, label + 1, at[which, label]))
        return tuple(np.concatenate(column) for column in zip(*found))

    def characters(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(code point, node behind it, whether a key ends there) of every character that leads on from `nodes`."""
        done = [(nodes[:0], nodes[:0], nodes[:0] > 0)]
        codes, missing = np.zeros(nodes.size, dtype=np.int64), np.full(nodes.size, -1)
        while nodes.size:
            which, byte, places = self._step(nodes)
            codes, missing = codes[which], missing[which]
            first = missing < 0
            width = 1 * (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            codes = np.where(first, byte & (0x7F >> (width + (width > 0))), codes << 6 | byte & 0x3F)
            missing = np.where(first, width, missing - 1)
            nodes = places ^ children_of(self._array[places])
            whole = missing == 0
            done.append((codes[whole], nodes[whole], (self._array[places[whole]] >> 8 & 1) == 1))
            codes, missing, nodes = codes[~whole], missing[~whole], nodes[~whole]
        return tuple(np.concatenate(column) for column in zip(*done))

    def matches(self, text: str) -> list[tuple[int, str]]:
        """(its characters, its replacement) of every key that `text` begins with, the shortest first."""
        found: list[tuple[int, str]] = []
        at = self.root
        for count, letter in enumerate(text, 1):
            for byte in letter.encode("utf-8"):
                place = at ^ byte
                unit = self._units[place] if place < len(self._units) else -1
                if unit & _LABEL != byte or not byte:
                    return found
                at = place ^ children_of(unit)
            if unit >> 8 & 1:
                value = self._units[at] & _VALUE
                found.append((count, self._results[value : self._results.index(0, value)].decode("utf-8")))
        return found


def write_charsmap(table: Mapping[str, str]) -> bytes:
    """The compiled form of a table {key: replacement}, which sentencepiece and tokenizers read, too.

    Every node takes the first place (of the last few hundred) where all of its children are free; no two nodes share
    a place, so that a label alone tells whose child a node is. Raises ValueError for an empty key or a zero in a text.
    """
    tree: dict[int, Any] = {}  # byte -> subtree; 0 -> where the replacement begins
    results = bytearray(b"\0")
    for key, new in table.items():
        if not check_text("a key", key) or "\0" in key + check_text("a replacement", new):
            raise ValueError(
                f"{describe(key)}: {describe(new)} cannot be written: empty, or with a zero byte"
            )
        node = tree
        for byte in encode_text(key, "a key"):
            node = node.setdefault(byte, {})
        node[0] = len(results) if new else 0
        results += encode_text(new, "a replacement") + b"\0" if new else b""
    units: dict[int, int] = {0: 0}
    bases: set[int] = {0}
    waiting = [(0, tree)]
    first, last = 1, 0  # no base before the first is free; none behind the last is taken
    for place, node in waiting:
        base = max(first, last - _WINDOW)
        while base in bases or any(base ^ byte in units for byte in node):
            base += 1
        bases.add(base)
        while first in bases:
            first += 1
        units[place] |= (place ^ base) << 10 | (0 in node) << 8
        last = max(last, base)
        for byte, child in node.items():
            units[base ^ byte] = byte if byte else child | 1 << 31
            if byte:
                waiting.append((base ^ byte, child))
    size = (max(units) | 0xFF) + 1
    if size > 1 << 21:
        raise ValueError(f"a table of {len(table)} keys is too large to be written")
    array = np.zeros(size, dtype="<u4")
    array[list(units)] = list(units.values())
    return (4 * size).to_bytes(4, "little") + array.tobytes() + bytes(results)


class Charsmap(Normalizer):
    """A table of normalisations, the longest key first."""

    def __init__(self, trie: Trie) -> None:
        self.trie = trie
        codes, nodes, ends = trie.characters(np.array([trie.root]))
        after, _, _ = trie.characters(np.unique(nodes))
        parts = [_class(codes[ends])] if ends.any() else []
        if after.size:
            parts.append(f"{_class(codes)}(?={_class(after)})")
        self._begins = re.compile("|".join(parts) or r"(?!)")  # where a key may begin
        self._known: dict[str, list[tuple[int, str]]] = {}

    def matches(self, text: str) -> list[tuple[int, str]]:
        """`Trie.matches` of a short text, remembered."""
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[text] = self.trie.matches(text)
        return found

    def __call__(self, text: str) -> str:
        if not self._begins.search(text):
            return text
        return "".join([new for _, new in self.parts(text)])

    def parts(self, text: str) -> Iterator[tuple[str, str]]:
        """`text` as (part, what it becomes)."""
        done = 0
        for match in self._begins.finditer(text):
            start = match.start()
            if start < done:
                continue
            if found := self.matches(text[start : start + _LONGEST_KEY]):
                if done < start:
                    yield text[done:start], text[done:start]
                size, new = found[-1]
                yield text[start : start + size], new
                done = start + size
        if done < len(text):
            yield text[done:], text[done:]

    def origins(self, text: str) -> list[int]:
        changes: list[int] = []
        for old, new in self.parts(text):
            more = len(new) - len(old)
            changes += [0] * min(len(old), len(new)) + [1] * max(more, 0)
            if more < 0 and changes:  # what goes without a trace counts to the character before it
                changes[-1] += more
        return origins_of(changes)

    def drops_front(self, text: str) -> bool:
        return next((new == "" for _, new in self.parts(text)), False)


class Precompiled(Charsmap):
    """The table of a tokenizer.json, read as the tokenizers library reads it."""

    _clusters = regex.compile(r"\X")

    def __init__(self, precompiled_charsmap: str | None) -> None:
        try:
            data = base64.b64decode(check_text("precompiled_charsmap", precompiled_charsmap), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"precompiled_charsmap is no base64: {error}") from None
        super().__init__(Trie(data))

    def parts(self, text: str) -> Iterator[tuple[str, str]]:
        for cluster in self._clusters.findall(text):
            found = self.matches(cluster) if len(cluster) < 6 and len(cluster.encode("utf-8")) < 6 else []
            if found:
                yield cluster, found[0][1]
                continue
            for letter in cluster:
                alone = self.matches(letter)
                yield letter, alone[0][1] if alone else letter


def _class(codes: np.ndarray) -> str:
    """A regular expression for one of the characters."""
    codes = np.unique(codes[codes <= 0x10FFFF])
    if not codes.size:
        return r"(?!)"
    breaks = np.nonzero(np.diff(codes) > 1)[0]
    lows, highs = codes[np.append(0, breaks + 1)], codes[np.append(breaks, codes.size - 1)]
    return "[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in zip(lows, highs)) + "]"
