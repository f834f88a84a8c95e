"""Words by their vectors: which are close, and what is to a as b is to c.

    similarity(a, b) = a . b / (|a| |b|)                                   the cosine
    "Paris" - "France" + "Korea": the word closest to the mean of the unit vectors Paris, -France and Korea

Also the text format of word2vec.c, which gensim, fastText and most published vectors share: a line "V D", then one
line a word with its D numbers, apart by spaces.

Book: 10.1.5 워드투벡. Paper: Mikolov, Yih & Zweig 2013, "Linguistic Regularities in Continuous Space Word
Representations". Peer: gensim's KeyedVectors. Left out: the binary format.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from minillm._checks import check_int, check_path, describe, is_listing
from minillm._files import BadFileError, write_whole
from minillm.search._ids import check_texts
from minillm.search.exact import check_vectors, row_lengths

FORMAT = "file of word vectors"
LONGEST_LINE = 1 << 22  # bytes; a vector of 100,000 numbers fits


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
    def load_word2vec_format(path: str | Path, limit: int | None = None) -> WordVectors:
        """The vectors of a file in the text format, which may be packed (`.gz`); limit: the first so many words only,
        and the rest is not read. Published files hold a million words, the commonest first.

        Raises BadFileError (a ValueError) naming the line that is wrong.
        """
        path = check_path(FORMAT, path)
        limit = None if limit is None else check_int("limit", limit, 1)
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                return WordVectors(*_read(file, limit))
        except (OSError, EOFError, zlib.error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise BadFileError(f"{FORMAT} {str(path)!r} cannot be read: {reason}") from None
        except ValueError as error:
            raise BadFileError(f"{FORMAT} {str(path)!r} is refused: {error}") from None


def _read(file: IO[bytes], limit: int | None) -> tuple[list[str], np.ndarray]:
    """Words and vectors (V, D) float32, line by line, so that memory holds little more than these."""
    first = _line(file)
    try:
        count, dim = map(int, first.split())
    except ValueError:
        count = dim = 0
    if count < 1 or dim < 1:
        raise ValueError(
            f"line 1 must be the numbers of words and of dimensions, got {first.rstrip()[:80]!r}"
        )
    wanted = count if limit is None else min(count, limit)
    words, rows = [], []
    while len(words) < wanted and (line := _line(file)).strip():
        word, *numbers = line.rstrip().split(" ")
        try:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity
                row = np.array(list(map(float, numbers)), np.float32)
        except (ValueError, OverflowError):
            row = np.empty(0, np.float32)
        if len(row) != dim or not np.isfinite(row).all():
            raise ValueError(
                f"line {len(words) + 2} must be a word and {dim} finite numbers, got {line.rstrip()[:80]!r}"
            )
        words.append(word)
        rows.append(row)
    if len(words) < wanted:
        raise ValueError(f"it promises {count} words and has {len(words)}")
    while wanted == count and (line := _line(file)):
        if line.strip():
            raise ValueError(f"it promises {count} words, and a line follows them: {line.rstrip()[:80]!r}")
    return words, np.stack(rows)


def _line(file: IO[bytes]) -> str:
    """The next line of text, "" at the end."""
    data = file.readline(LONGEST_LINE)
    if len(data) == LONGEST_LINE:
        raise ValueError(f"a line has more than {LONGEST_LINE:,} bytes: it is no text format")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 (the binary format is not read)") from None
