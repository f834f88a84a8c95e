"""A hash table from a row of 32-bit words to the place where the same row stands: ids and whole vectors are found by
it.

    table[h], table[h + 1], ...     places, from h = hash(row) on, until the row at a place is the same, or EMPTY

The rows themselves stay where they are, so an entry is 4 bytes: a dict of a million ids takes 100 MB, this table 8.

Literature: open addressing with linear probing (Knuth, vol. 3, 6.4).
"""

from __future__ import annotations

import numpy as np
from numba import njit

EMPTY, TAKEN_OUT = -1, -2
FULLEST = 0.7  # of the table


@njit(cache=True, nogil=True)
def hash_row(words, i):
    """64 bits that depend on every bit of words[i]."""
    h = np.uint64(0x9E3779B97F4A7C15)
    for j in range(words.shape[1]):
        h = (h ^ np.uint64(words[i, j])) * np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(29)
    return h


@njit(cache=True, nogil=True)
def _where(table, words, wanted, i):
    """The entry whose row is wanted[i], or the EMPTY one where the search for it ends."""
    mask = np.uint64(len(table) - 1)
    at = hash_row(wanted, i) & mask
    while table[at] != EMPTY:
        if table[at] >= 0:
            place, same = table[at], True
            for j in range(words.shape[1]):
                if words[place, j] != wanted[i, j]:
                    same = False
                    break
            if same:
                return at
        at = (at + np.uint64(1)) & mask
    return at


@njit(cache=True, nogil=True)
def _find(table, words, wanted, found):
    for i in range(len(wanted)):
        found[i] = table[_where(table, words, wanted, i)]


@njit(cache=True, nogil=True)
def _put(table, words, places, found):
    for i in range(len(places)):
        at = _where(table, words, words, places[i])
        if table[at] == EMPTY:
            table[at] = places[i]
        found[i] = table[at]


@njit(cache=True, nogil=True)
def _take(table, words, places):
    for i in range(len(places)):
        at = _where(table, words, words, places[i])
        if table[at] == places[i]:
            table[at] = TAKEN_OUT


class RowTable:
    """Places of different rows. `words`, (N, W) uint32, is handed in with each call: it may have moved."""

    def __init__(self) -> None:
        self._table = np.full(16, EMPTY, np.int32)
        self._used = 0  # entries that are not EMPTY

    def find(self, words: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """The place of each row of wanted (Q, W), int64 (Q,), -1 where there is none."""
        found = np.empty(len(wanted), np.int64)
        _find(self._table, words, wanted, found)
        return found

    def put(self, words: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Put places in; where the same row is in already, the answer is its place, else the place itself. (P,)"""
        self._make_room(words, len(places))
        found = np.empty(len(places), np.int64)
        _put(self._table, words, places, found)
        self._used += int((found == places).sum())
        return found

    def take(self, words: np.ndarray, places: np.ndarray) -> None:
        """Take places out, whose rows still stand there; those that are not in are left alone."""
        _take(self._table, words, places)

    def _make_room(self, words: np.ndarray, more: int) -> None:
        if self._used + more <= FULLEST * len(self._table):
            return
        inside = self._table[self._table >= 0].astype(np.int64)
        size = 16
        while len(inside) + more > FULLEST * size / (1 if len(inside) == 0 else 1.1):
            size *= 2
        self._table, self._used = np.full(size, EMPTY, np.int32), len(inside)
        _put(self._table, words, inside, np.empty(len(inside), np.int64))

    @property
    def nbytes(self) -> int:
        """Memory."""
        return self._table.nbytes


def id_words(ids: np.ndarray) -> np.ndarray:
    """ids (N,) int64 as rows (N, 2) of 32 bits; no copy."""
    return ids.view(np.uint32).reshape(-1, 2)


def vector_words(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D) float32 as rows of 32 bits; no copy."""
    return vectors.view(np.uint32)
