"""Words by their vectors: which are close, and what is to a as b is to c.

    similarity(a, b) = a . b / (|a| |b|)                                   the cosine
    "Paris" - "France" + "Korea": the word closest to the mean of the unit vectors Paris, -France and Korea

Also the text format of word2vec.c, which gensim, fastText and most published vectors share: a line "V D", then one
line a word with its D numbers, apart by spaces.

Book: 10.1.5 워드투벡. Paper: Mikolov, Yih & Zweig 2013, "Linguistic Regularities in Continuous Space Word
Representations". Peer: gensim's KeyedVectors. Left out: the binary format.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm._checks import check_int, describe, is_listing
from minillm._files import BadFileError, read_bytes, write_whole
from minillm.search._ids import check_texts
from minillm.search.exact import check_vectors, row_lengths

FORMAT = "file of word vectors"


class WordVectors:
    """V different words and their vectors (V, D) float32. Raises ValueError when they do not fit, or for NaN."""

    def __init__(self, words: Sequence[str], vectors: np.ndarray) -> None:
        words, vectors = check_texts("words", words), np.asarray(vectors)
        dim = vectors.shape[1] if vectors.ndim == 2 else 1
        vectors = check_vectors("vectors", vectors, dim)
        if len(words) != len(vectors) or len(set(words)) != len(words):
            raise ValueError(
                f"words must be different, one a vector: got {len(words)} for {len(vectors)} vectors"
            )
        self._set(words, vectors)

    def _set(self, words: list[str], vectors: np.ndarray) -> None:
        self.words, self.vectors = words, vectors
        self._number = {word: number for number, word in enumerate(words)}
        self._lengths = np.maximum(row_lengths(vectors), 1e-30)  # a zero vector is similar to nothing

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: Any) -> bool:
        return isinstance(word, str) and word in self._number

    def vector(self, word: str) -> np.ndarray:
        """The word's vector (D,) float32, a copy. Raises ValueError for a word that is not in the vocabulary."""
        return self.vectors[self._find("word", word)].copy()

    def similarity(self, a: str, b: str) -> float:
        """The cosine of two words, -1 to 1. Raises ValueError for a word that is not in the vocabulary."""
        return float(self._unit(self._find("a", a)) @ self._unit(self._find("b", b)))

    def most_similar(
        self, positive: str | Sequence[str] = (), negative: str | Sequence[str] = (), k: int = 10
    ) -> list[tuple[str, float]]:
        """The k words closest to `positive` and far from `negative`, [(word, cosine), ...], best first.

        The words asked about are left out; equal cosines stand in the order of the vocabulary. Fewer than k come when
        there are no more. Raises ValueError for unknown words, none at all, or k < 1.
        """
        plus, minus = self._find_all("positive", positive), self._find_all("negative", negative)
        k = check_int("k", k, 1)
        if not plus and not minus:
            raise ValueError("most_similar needs at least one word, in positive or in negative")
        aim = sum(map(self._unit, plus), np.zeros(self.vectors.shape[1]))
        aim -= sum(map(self._unit, minus), np.zeros(self.vectors.shape[1]))
        aim /= max(np.linalg.norm(aim), 1e-30)
        cosines = self.vectors @ aim.astype(np.float32) / self._lengths
        asked = {*plus, *minus}
        best = np.argsort(-cosines, kind="stable")[: k + len(asked)].tolist()
        return [(self.words[i], float(cosines[i])) for i in best if i not in asked][:k]

    def _find(self, name: str, word: Any) -> int:
        if not isinstance(word, str):
            raise ValueError(f"{name} must be a str, got {describe(word)}")
        if word not in self._number:
            raise ValueError(f"{name} must be one of the {len(self)} words of the vocabulary, got {word!r}")
        return self._number[word]

    def _find_all(self, name: str, words: Any) -> list[int]:
        if not isinstance(words, str) and not is_listing(words):
            raise ValueError(f"{name} must be a word or a list of words, got {describe(words)}")
        return [self._find(name, word) for word in ([words] if isinstance(words, str) else words)]

    def _unit(self, number: int) -> np.ndarray:
        return self.vectors[number] / self._lengths[number]  # float64

    def save_word2vec_format(self, path: str | Path) -> Path:
        """Write the text format, whole or not at all; every number is read back as it was.

        Raises ValueError for a word with a space in it, or an empty one, which the format cannot hold.
        """
        for word in self.words:
            if word.split() != [word]:
                raise ValueError(f"the word2vec text format holds no word with spaces in it, got {word!r}")
        lines = [f"{len(self)} {self.vectors.shape[1]}"]
        lines += [
            f"{word} {' '.join(map(str, row))}" for word, row in zip(self.words, self.vectors, strict=True)
        ]
        return write_whole(path, "\n".join(lines) + "\n")

    @staticmethod
    def load_word2vec_format(path: str | Path) -> WordVectors:
        """The vectors of a file in the text format; BadFileError (a ValueError) naming the line that is wrong."""
        refusal = f"{FORMAT} {str(path)!r} is refused"
        try:
            first, *lines = read_bytes(path, FORMAT).decode("utf-8").split("\n")
        except UnicodeDecodeError:
            raise BadFileError(f"{refusal}: it is not UTF-8 (the binary format is not read)") from None
        try:
            count, dim = map(int, first.split())
        except ValueError:
            count = dim = 0
        if count < 1 or dim < 1:
            raise BadFileError(
                f"{refusal}: line 1 must be the numbers of words and of dimensions, got {first[:80]!r}"
            )
        while lines and not lines[-1].strip():
            lines.pop()
        if len(lines) != count:
            raise BadFileError(f"{refusal}: it promises {count} words and has {len(lines)}")
        words, rows = [], []
        for at, line in enumerate(lines, start=2):
            word, *numbers = line.rstrip().split(" ")
            try:
                with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity
                    row = np.array(list(map(float, numbers)), np.float32)
            except (ValueError, OverflowError):
                row = np.empty(0, np.float32)
            if len(row) != dim or not np.isfinite(row).all():
                raise BadFileError(
                    f"{refusal}: line {at} must be a word and {dim} finite numbers, got {line[:80]!r}"
                )
            words.append(word)
            rows.append(row)
        try:
            return WordVectors(words, np.stack(rows))
        except ValueError as error:
            raise BadFileError(f"{refusal}: {error}") from None
