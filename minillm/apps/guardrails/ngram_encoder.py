"""A text as a vector of hashed character n-grams: no vocabulary, no training, every language.

    count[h(g) mod D] for every run g of 2 to 4 characters;  x = log(1 + count) / |log(1 + count)|

The text is read in `joined_view` and lower case, with a blank at both ends, so that look-alikes and spaced letters give
the n-grams of the plain word. Two n-grams may share a place (a collision): the price of not keeping a vocabulary.

Held against: scikit-learn's CountVectorizer(analyzer="char") where no two n-grams collide. Paper: Weinberger et al.
2009, "Feature Hashing for Large Scale Multitask Learning". Book: 9.3.1 데이터 검증 방식 (임베딩 기반).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from minillm._checks import check_int
from minillm.apps.guardrails.views import joined_view


def ngrams(text: str, shortest: int = 2, longest: int = 4) -> list[str]:
    """Every run of so many characters: ("abc", 2, 3) -> ["ab", "bc", "abc"]."""
    return [text[i : i + n] for n in range(shortest, longest + 1) for i in range(len(text) - n + 1)]


def hashed_counts(text: str, dim: int, shortest: int = 2, longest: int = 4) -> np.ndarray:
    """How many n-grams fall on each of `dim` places: (dim,) float32."""
    places = [zlib.crc32(g.encode("utf-8", "surrogatepass")) % dim for g in ngrams(text, shortest, longest)]
    return np.bincount(np.array(places, np.int64), minlength=dim).astype(np.float32)


class NgramEncoder:
    """`encode(texts)` as a SentenceEncoder has it, without a model: what shares letters is near."""

    def __init__(self, dim: int = 4096, shortest: int = 2, longest: int = 4):
        self.dim = check_int("dim", dim, 1, 2**22)
        self.shortest = check_int("shortest", shortest, 1)
        self.longest = check_int("longest", longest, self.shortest)

    def encode(self, texts: str | Sequence[str]) -> np.ndarray:
        """(N, dim) float32, rows of length 1; (dim,) for one str. A text without an n-gram is all zeros."""
        if isinstance(texts, str):
            return self.encode([texts])[0]
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts):
            shown = f" {joined_view(text).text.casefold()} "
            row += np.log1p(hashed_counts(shown, self.dim, self.shortest, self.longest))
            row /= np.linalg.norm(row) or 1.0
        return rows


def windows(text: str, size: int = 300) -> list[str]:
    """Pieces of `size` characters, each half over the one before: one sentence is not lost in a long document."""
    step = max(1, size // 2)
    return [text[i : i + size] for i in range(0, max(1, len(text) - size + step), step)]
