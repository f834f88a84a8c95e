"""Counting pieces in compiled code: a hash table (해시 테이블) from byte strings to counts, as five flat arrays.

The plain version is `bpe_plain.count_words`. Here every distinct word lies once in `pool`, word w at
pool[starts[w] : starts[w + 1]], and `slots` holds word numbers by hash (open addressing: a taken slot sends the
search to the next one). The speed comes from never making a Python object for a piece of text.

Book: 2.2.1 토큰화. Held against: bpe_plain.count_words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numba import njit

from minillm._checks import describe, is_listing
from minillm.tokenizer.bpe_encode import piece_ends
from minillm.tokenizer.bpe_plain import count_words
from minillm.tokenizer.special import encode_text
from minillm.tokenizer.splitting import GPT2_PATTERN

_BATCH_BYTES = 1 << 22  # texts are joined to about this size before one call of the kernel


@njit(cache=True)
def _count(data, ends, first, weights, slots, hashes, starts, counts, pool, words):
    """Count pieces `first`...; stop early when a table is full. Returns (next piece, number of words)."""
    mask = slots.size - 1
    for piece in range(first, ends.size):
        begin = ends[piece - 1] if piece > 0 else 0
        end = ends[piece]
        if 2 * words >= slots.size or starts[words] + end - begin > pool.size:
            return piece, words
        h = np.int64(-3750763034362895579)  # FNV-1a
        for i in range(begin, end):
            h = (h ^ data[i]) * 1099511628211
        slot = (h ^ (h >> 32)) & mask
        while True:
            word = slots[slot]
            if word < 0:  # not seen before
                slots[slot] = words
                hashes[words] = h
                counts[words] = weights[piece] if weights.size else 1
                at = starts[words]
                for i in range(begin, end):
                    pool[at + i - begin] = data[i]
                starts[words + 1] = at + end - begin
                words += 1
                break
            if hashes[word] == h and starts[word + 1] - starts[word] == end - begin:
                at = starts[word]
                i = begin
                while i < end and pool[at + i - begin] == data[i]:
                    i += 1
                if i == end:
                    counts[word] += weights[piece] if weights.size else 1
                    break
            slot = (slot + 1) & mask
    return ends.size, words


@njit(cache=True)
def _refill(slots, hashes, words):
    mask = slots.size - 1
    for word in range(words):
        h = hashes[word]
        slot = (h ^ (h >> 32)) & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = word


class WordTable:
    """Distinct words and how often each occurred.

    Attributes:
        pool: uint8 (bytes of all words), one word after another in order of first appearance.
        starts: int64 (words + 1,), where each begins.   counts: int64 (words,).
    """

    def __init__(self) -> None:
        self._slots = np.full(1 << 13, -1, dtype=np.int32)
        self._hashes = np.zeros(1 << 12, dtype=np.int64)
        self._starts = np.zeros((1 << 12) + 1, dtype=np.int64)
        self._counts = np.zeros(1 << 12, dtype=np.int64)
        self._pool = np.zeros(1 << 15, dtype=np.uint8)
        self._words = 0

    @property
    def starts(self) -> np.ndarray:
        return self._starts[: self._words + 1]

    @property
    def counts(self) -> np.ndarray:
        return self._counts[: self._words]

    @property
    def pool(self) -> np.ndarray:
        return self._pool[: self._starts[self._words]]

    def __len__(self) -> int:
        return self._words

    def add(self, data: bytes, ends: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Count the pieces of `data` that end at `ends` (int64, rising), each once or `weights` times."""
        view = np.frombuffer(data, dtype=np.uint8)
        weights = np.zeros(0, dtype=np.int64) if weights is None else weights
        done = 0
        while done < ends.size:
            tables = self._slots, self._hashes, self._starts, self._counts, self._pool
            done, self._words = _count(view, ends, done, weights, *tables, self._words)
            if done < ends.size:
                self._grow(int(ends[done] - (ends[done - 1] if done else 0)))

    def _grow(self, needed: int) -> None:
        if 2 * self._words >= self._slots.size:
            capacity = 2 * self._hashes.size
            self._hashes = np.resize(self._hashes, capacity)
            self._counts = np.resize(self._counts, capacity)
            self._starts = np.resize(self._starts, capacity + 1)
            self._slots = np.full(2 * self._slots.size, -1, dtype=np.int32)
            _refill(self._slots, self._hashes, self._words)
        else:
            self._pool = np.resize(self._pool, 2 * self._pool.size + needed)

    def as_dict(self) -> dict[bytes, int]:
        """The table as `bpe_plain.count_words` gives it."""
        pool, starts = self.pool.tobytes(), self.starts.tolist()
        return {pool[a:b]: count for a, b, count in zip(starts, starts[1:], self.counts.tolist())}

    @classmethod
    def from_dict(cls, words: Mapping[bytes, int]) -> WordTable:
        """The table of word counts that were counted elsewhere."""
        table = cls()
        ends = np.cumsum([len(word) for word in words], dtype=np.int64)
        table.add(b"".join(words), ends, np.array(list(words.values()), dtype=np.int64))
        return table


def count_words_fast(texts: Iterable[str], pattern: str = GPT2_PATTERN) -> WordTable:
    """`bpe_plain.count_words` as a WordTable; compiled for GPT-2's pattern, any other one runs as a regex.

    Texts are taken one by one and never kept. Raises ValueError for texts that are one str, and for a text that is no
    str or has a lone surrogate.
    """
    if not is_listing(texts):
        raise ValueError(f"texts must be an iterable of str, got {describe(texts)}")
    if pattern != GPT2_PATTERN:
        return WordTable.from_dict(count_words(texts, pattern))
    table = WordTable()
    batch: list[bytes] = []
    size = 0

    def flush() -> None:
        data = b"".join(batch)
        table.add(data, piece_ends(data, np.cumsum([len(text) for text in batch], dtype=np.int64)))

    for text in texts:
        batch.append(encode_text(text))
        size += len(batch[-1])
        if size >= _BATCH_BYTES:
            flush()
            batch, size = [], 0
    if batch:
        flush()
    return table
