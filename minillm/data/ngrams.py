"""Runs of words that two texts share: n-grams as sets, and the longest run.

word_ngrams("a b c", 2)                          -> {("a", "b"), ("b", "c")}
longest_shared_run(["x a b c"], ["a b c y"])     -> 3
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def word_ngrams(text: str, n: int = 8) -> set[tuple[str, ...]]:
    """The runs of `n` words of a text, letter case and how Hangul is composed aside; white space separates words."""
    words = unicodedata.normalize("NFC", text).lower().split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def longest_shared_run(texts: Sequence[str], others: Sequence[str]) -> int:
    """How many words in a row stand in one of `texts` and in one of `others`; 0 when they share no word.

    A shared run of n words contains shared runs of all smaller lengths, so lengths can be tried by halving.
    """

    def share(n: int) -> bool:
        known = set().union(*(word_ngrams(text, n) for text in others))
        return any(not known.isdisjoint(word_ngrams(text, n)) for text in texts)

    low, high = 0, 1  # the answer is at least `low`
    while share(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share(middle) else (low, middle)
    return low
