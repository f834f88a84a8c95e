"""Cutting text into pieces (사전 토큰화, pre-tokenization): merges happen inside a piece, never across two.

GPT-2's pattern takes, in this order: a contraction ('s, 'll, ...); letters, digits or other signs with at most one
space in front; blanks, all but the last when a word follows (that last one belongs to the word). So
"Hello,  world" -> "Hello" "," " " " world", and every character lands in exactly one piece.

A pattern is read as the tokenizers library reads it (oniguruma.py says where its dialect differs from Python's).
`split_plain` is the idea, `split` the same with a short way and a time limit. bpe_encode.py has GPT-2's pattern again,
as a compiled loop over UTF-8 bytes; all cut alike.

Book: 2.2.1 토큰화. Paper: Radford et al. 2019 (GPT-2). Held against: tiktoken, tokenizers' Split and ByteLevel.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import chain, pairwise

import numpy as np
import regex

from minillm._checks import check_text
from minillm.tokenizer.oniguruma import translate

GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
GPT4_PATTERN = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"""
    r"""\s*[\r\n]+|\s+(?!\S)|\s+"""
)

OTHER, LETTER, NUMBER, SPACE = 0, 1, 2, 3
_LONGEST_SEARCH = 60.0  # seconds
_MAY_TAKE_LONG = regex.compile(r"\)(?:[*+]|\{)|(?:[*+]|\{[\d,]+\})[?+]?\(\?[=!]")


def compile_pattern(pattern: str) -> regex.Pattern:
    """The compiled pattern; ValueError when it is no regular expression, or one that cannot be translated."""
    return _compile(check_text("pattern", pattern))


@lru_cache(maxsize=64)
def _compile(pattern: str) -> regex.Pattern:
    translated = translate(pattern)
    try:
        return regex.compile(translated, regex.V1)
    except (regex.error, RecursionError, OverflowError) as error:
        raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None


@lru_cache(maxsize=64)
def _patience(translated: str) -> float | None:
    """Seconds after which a search is given up; None, for ever, where a search cannot take long.

    A repeated group can take exponential time, `(?:a|aa)+$` on "aaa...b", and a repetition before a condition quadratic
    time, `\\d+(?=px)` on "111...". Oniguruma gives up too, or is as slow. The question costs speed, so it is asked
    only where needed: not for `\\s+(?!\\S)|\\s+`, at the end of most published patterns, which takes a run of blanks at
    its first try. (A ")" of a translated pattern always ends a group.)
    """
    if translated.endswith((r"|\p{White_Space}+", r"|\p{White_Space}")):
        translated = regex.sub(r"(\\p\{White_Space\})[*+]+(?=\(\?[=!])", r"\1", translated)
    return _LONGEST_SEARCH if _MAY_TAKE_LONG.search(translated) else None


def _given_up(compiled: regex.Pattern, text: str) -> ValueError:
    return ValueError(
        f"pattern {compiled.pattern!r} needs more than {_LONGEST_SEARCH} seconds for a text of {len(text)} characters"
    )


def find_matches(compiled: regex.Pattern, text: str) -> list[tuple[int, int]]:
    """(start, end) of every match in order, as Oniguruma's finder lists them: `a*` in "ba" -> [(0, 0), (1, 2)]."""
    patience = _patience(compiled.pattern)
    try:
        found = [match.span() for match in compiled.finditer(text, timeout=patience)]
        if all(start < end for start, end in found):
            return found
        found, at, last = [], 0, -1  # an empty match right behind a match does not count
        while at <= len(text) and (match := compiled.search(text, at, timeout=patience)):
            start, end = match.span()
            if start == end == last:
                at += 1
            else:
                found.append((start, end))
                at = last = end
        return found
    except TimeoutError:
        raise _given_up(compiled, text) from None


def cut_at(text: str, spans: Iterable[tuple[int, int]]) -> list[str]:
    """`text` cut where each (start, end) begins and ends: `"abcd"` at `[(1, 2)]` -> `["a", "b", "cd"]`.

    What lies between two spans is a piece of its own, so that no character is lost. ValueError for a span that does
    not lie in the text.
    """
    check_text("text", text)
    cuts = sorted({0, len(text), *chain.from_iterable(spans)})
    if cuts[0] < 0 or cuts[-1] > len(text):
        raise ValueError(f"spans must lie in 0 to {len(text)}, got {cuts[0]} to {cuts[-1]}")
    return [text[start:end] for start, end in pairwise(cuts)]


def split_plain(text: str, pattern: str = GPT2_PATTERN) -> list[str]:
    """`split` on a whiteboard: cut where a match of the pattern begins and where it ends."""
    check_text("text", text)
    return cut_at(text, [match.span() for match in compile_pattern(pattern).finditer(text)])


def split(text: str, pattern: str = GPT2_PATTERN) -> list[str]:
    """The pieces of `text` in order; joined, they are `text` again.

    Text between two matches becomes a piece of its own, so that no pattern can lose a character.

    Raises:
        ValueError: `text` or `pattern` is not a str, `pattern` is no regular expression, or it takes too long.
    """
    check_text("text", text)
    compiled = compile_pattern(pattern)
    try:
        pieces = compiled.findall(text, timeout=_patience(compiled.pattern))
    except TimeoutError:
        raise _given_up(compiled, text) from None
    if sum(map(len, pieces)) == len(text) and "" not in pieces:
        return pieces  # the matches cover everything: the usual case, in one call
    return cut_at(text, find_matches(compiled, text))


@lru_cache(maxsize=1)
def character_classes() -> np.ndarray:
    """uint8 (0x110000,): the class of every code point, OTHER, LETTER, NUMBER or SPACE, asked of `regex` once."""
    table = np.zeros(0x110000, dtype=np.uint8)
    everything = "".join(map(chr, range(0x110000)))
    for value, pattern in ((LETTER, r"\p{L}+"), (NUMBER, r"\p{N}+"), (SPACE, r"\s+")):
        for match in regex.finditer(pattern, everything):
            table[match.start() : match.end()] = value
    return table
