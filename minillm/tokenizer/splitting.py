"""Cutting text into pieces (사전 토큰화, pre-tokenization): merges happen inside a piece, never across two.

GPT-2's pattern takes, in this order: a contraction ('s, 'll, ...); letters, digits or other signs with at most one
space in front; blanks, all but the last when a word follows (that last one belongs to the word). So
"Hello,  world" -> "Hello" "," " " " world", and every character lands in exactly one piece.

`split` is the plain version: the pattern itself. `piece_ends` is the fast one for GPT-2's pattern: the same rule
written as a loop over UTF-8 bytes that looks each character's class up in a table instead of running a regex.

Book: 2.2.1 토큰화. Paper: Radford et al. 2019 (GPT-2). Held against: tiktoken, tokenizers' ByteLevel.
Left out: lookbehind tricks; a custom pattern runs as a regex, never as a compiled loop.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import regex
from numba import njit

from minillm._checks import check_text

GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
GPT4_PATTERN = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"""
    r"""\s*[\r\n]+|\s+(?!\S)|\s+"""
)

OTHER, LETTER, NUMBER, SPACE = 0, 1, 2, 3


def compile_pattern(pattern: str) -> regex.Pattern:
    """The compiled splitting pattern; ValueError when it is no regular expression."""
    return _compile(check_text("pattern", pattern))


@lru_cache(maxsize=64)
def _compile(pattern: str) -> regex.Pattern:
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None


def split(text: str, pattern: str = GPT2_PATTERN) -> list[str]:
    """The pieces of `text` in order; joined, they are `text` again.

    Text between two matches becomes a piece of its own, so that no pattern can lose a character.

    Raises:
        ValueError: `text` or `pattern` is not a str, or `pattern` is no regular expression.
    """
    check_text("text", text)
    compiled = compile_pattern(pattern)
    if compiled.groups == 0:
        pieces = compiled.findall(text)
        if sum(map(len, pieces)) == len(text):  # the matches cover everything: the usual case, in one call
            return list(filter(None, pieces))
    pieces, end = [], 0
    for match in compiled.finditer(text):
        if match.start() > end:
            pieces.append(text[end : match.start()])
        if match.end() > match.start():
            pieces.append(match.group())
        end = match.end()
    if end < len(text):
        pieces.append(text[end:])
    return pieces


@lru_cache(maxsize=1)
def character_classes() -> np.ndarray:
    """uint8 (0x110000,): the class of every code point, OTHER, LETTER, NUMBER or SPACE, asked of `regex` once."""
    table = np.zeros(0x110000, dtype=np.uint8)
    everything = "".join(map(chr, range(0x110000)))
    for value, pattern in ((LETTER, r"\p{L}+"), (NUMBER, r"\p{N}+"), (SPACE, r"\s+")):
        for match in regex.finditer(pattern, everything):
            table[match.start() : match.end()] = value
    return table


@njit(cache=True)
def _class_at(data, i, classes):  # -> (class of the character that starts at byte i, its length in bytes)
    first = np.int64(data[i])
    if first < 0x80:
        return classes[first], 1
    if first < 0xE0:
        return classes[(first & 0x1F) << 6 | data[i + 1] & 0x3F], 2
    if first < 0xF0:
        return classes[(first & 0x0F) << 12 | (data[i + 1] & 0x3F) << 6 | data[i + 2] & 0x3F], 3
    high = (first & 0x07) << 18 | (data[i + 1] & 0x3F) << 12
    return classes[high | (data[i + 2] & 0x3F) << 6 | data[i + 3] & 0x3F], 4


@njit(cache=True)
def _piece_ends(data, limits, classes, ends):
    count, i = 0, 0
    for limit in limits:
        while i < limit:
            first = data[i]
            j = i
            if first == 39 and i + 1 < limit:  # an apostrophe: 's 'd 'm 't, then 'll 've 're
                second = data[i + 1]
                if second == 115 or second == 100 or second == 109 or second == 116:
                    j = i + 2
                elif i + 2 < limit and (
                    (second == 108 and data[i + 2] == 108)
                    or ((second == 118 or second == 114) and data[i + 2] == 101)
                ):
                    j = i + 3
            if j == i:
                kind, width = _class_at(data, i, classes)
                if first == 32 and i + 1 < limit:  # one space goes with the word behind it
                    next_kind, next_width = _class_at(data, i + 1, classes)
                    if next_kind != 3:
                        kind, width = next_kind, next_width + 1
                j = i + width
                last = i  # where the latest character of the run starts
                while j < limit:
                    next_kind, next_width = _class_at(data, j, classes)
                    if next_kind != kind:
                        break
                    last = j
                    j += next_width
                if kind == 3 and j < limit and last > i:  # a word follows: leave it the last blank
                    j = last
            ends[count] = j
            count += 1
            i = j
    return count


def piece_ends(data: bytes, limits: np.ndarray | None = None) -> np.ndarray:
    """Where GPT-2's pattern ends each piece of UTF-8 `data`, as byte offsets, int64 (pieces,).

    `limits` (int64, rising, the last one `len(data)`) are ends of texts that were joined: no piece crosses one.
    `data` must be valid UTF-8; whoever calls has encoded it from a str.
    """
    view = np.frombuffer(data, dtype=np.uint8)
    if limits is None:
        limits = np.array([len(data)], dtype=np.int64)
    ends = np.empty(len(data), dtype=np.int64)
    return ends[: _piece_ends(view, limits, character_classes(), ends)]
