"""Hashed words (해싱 트릭): a text as counts of its words, each word at the place that its checksum says.

    v[h(w) mod D] += s(w) * (1 + ln tf(w)),   s(w) = +1 or -1 by another bit of h;   v / |v|

No training, no vocabulary, no file, and the same on every machine: an encoder for examples, tests and a first try. It
knows words, not meaning: synonyms share nothing, and two words that meet at one place cannot be told apart. Korean is
cut into pairs of letters as in BM25 (words.py).

Book: 10.1 텍스트 임베딩 이해하기. Paper: Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning".
Held against: the closed form of the inner product where no two words meet. Left out: weights of rare words (idf).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from minillm._checks import check_int
from minillm.search._ids import check_texts
from minillm.search.words import content_words, standard_words


class HashedWords:
    """An encoder of `dim` numbers a text, float32 (N, dim), of length 1; zeros for white space. Where all words of a
    text meet and cancel each other, the first of them stands for it."""

    def __init__(self, dim: int = 1024) -> None:
        self.dim = check_int("dim", dim, 1)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts. ValueError for anything but a list of str."""
        texts = check_texts("texts", texts)
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(vectors, texts):
            counts = Counter(self.words(text))
            for word, count in counts.items():
                place, sign = self._place(word)
                row[place] += sign * (1 + np.log(count))
            if counts and not row.any():
                place, sign = self._place(next(iter(counts)))
                row[place] = sign
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1)

    def _place(self, word: str) -> tuple[int, int]:
        """h(w) mod D and s(w)."""
        number = zlib.crc32(word.encode("utf-8", "replace"))
        return number % self.dim, 1 if number & 1 << 31 else -1

    @staticmethod
    def words(text: str) -> list[str]:
        """The words that count: without those of which questions are made, in their singular; where there are none, all
        of them, and of "***" the signs."""
        return standard_words(" ".join(content_words(text))) or standard_words(text) or text.split()
