"""Viterbi in compiled code (비터비, 트라이): the pieces in a trie, all new words of a text in one call.

    trie: root -▁-> -t-> -h-> -e->        every node is a prefix of some piece; `piece` says which piece ends there

The plain version, unigram.viterbi, cuts out every substring and asks a dict. Here one walk down the trie from each
place meets every piece that begins there and stops where none goes on. The trie's edges lie in one hash table, key
node << 8 | byte (open addressing: a taken slot sends the search to the next one).

Book: 2.2.1 토큰화. Held against: unigram.viterbi.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numba import njit


@njit(cache=True)
def _count_nodes(pool, starts):
    """Nodes of the trie of sorted strings: what each does not share with the one before it, and the root."""
    nodes = 1
    for word in range(starts.size - 1):
        size, shared = starts[word + 1] - starts[word], 0
        if word > 0:
            limit = min(size, starts[word] - starts[word - 1])
            while shared < limit and pool[starts[word] + shared] == pool[starts[word - 1] + shared]:
                shared += 1
        nodes += size - shared
    return nodes


@njit(cache=True)
def _slot(keys, key):
    """Where `key` is, or the empty slot where it belongs."""
    h = key * np.int64(-7046029254386353131)
    slot = (h ^ (h >> 32)) & (keys.size - 1)
    while keys[slot] != key and keys[slot] != -1:
        slot = (slot + 1) & (keys.size - 1)
    return slot


@njit(cache=True)
def _build(pool, starts, keys, children, pieces):
    nodes = 1
    for word in range(starts.size - 1):
        node = np.int64(0)
        for i in range(starts[word], starts[word + 1]):
            key = node << 8 | pool[i]
            slot = _slot(keys, key)
            if keys[slot] == -1:
                keys[slot], children[slot] = key, nodes
                nodes += 1
            node = np.int64(children[slot])
        pieces[node] = word


@njit(cache=True)
def _spell(data, ends, keys, children, pieces, scores, unknown, out, counts):
    """For each word that ends at `ends`: the ends of the tokens of its best spelling in `out`, their number in
    `counts`. Returns the number of all."""
    total, begin = 0, 0
    for word in range(ends.size):
        n = ends[word] - begin
        best, back = np.full(n + 1, -np.inf), np.zeros(n + 1, np.int64)
        best[0] = 0.0
        at = 0
        while at < n:
            first = data[begin + at]
            width = 1 + (first >= 0xC0) + (first >= 0xE0) + (first >= 0xF0)
            alone = False
            node = np.int64(0)
            for i in range(at, n):
                slot = _slot(keys, node << 8 | data[begin + i])
                if keys[slot] == -1:
                    break
                node = np.int64(children[slot])
                if pieces[node] >= 0:
                    score = best[at] + scores[pieces[node]]
                    if score > best[i + 1]:
                        best[i + 1], back[i + 1] = score, at
                    alone = alone or i + 1 == at + width
            if not alone and best[at] + unknown > best[at + width]:
                best[at + width], back[at + width] = best[at] + unknown, at
            at += width
        count, at = 0, n
        while at > 0:
            at, count = back[at], count + 1
        at = n
        for i in range(count - 1, -1, -1):
            out[total + i] = begin + at
            at = back[at]
        counts[word] = count
        total += count
        begin = ends[word]
    return total


class PieceTrie:
    """The pieces of a Unigram model, ready for `spell`."""

    def __init__(self, scores: Mapping[str, float], unknown: float) -> None:
        rows = sorted((piece.encode("utf-8"), score) for piece, score in scores.items())
        self._scores = np.array([score for _, score in rows], dtype=np.float64)
        self._unknown = unknown
        pool = np.frombuffer(b"".join(piece for piece, _ in rows), dtype=np.uint8)
        starts = np.cumsum([0, *(len(piece) for piece, _ in rows)], dtype=np.int64)
        nodes = _count_nodes(pool, starts)
        size = 1 << int(2 * nodes).bit_length()
        self._keys = np.full(size, -1, dtype=np.int64)
        self._children = np.zeros(size, dtype=np.int32)
        self._pieces = np.full(nodes, -1, dtype=np.int32)
        _build(pool, starts, self._keys, self._children, self._pieces)

    def spell(self, words: Sequence[str]) -> list[list[str]]:
        """`viterbi` of each word."""
        parts = [word.encode("utf-8") for word in words]
        data = b"".join(parts)
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        out, counts = np.empty(len(data), dtype=np.int64), np.empty(len(parts), dtype=np.int64)
        total = _spell(
            np.frombuffer(data, dtype=np.uint8), ends, self._keys, self._children, self._pieces, self._scores,
            self._unknown, out, counts,
        )  # fmt: skip
        cuts = [0, *out[:total].tolist()]
        tokens = [data[start:end].decode("utf-8") for start, end in pairwise(cuts)]
        spelled, at = [], 0
        for count in counts.tolist():
            spelled.append(tokens[at : at + count])
            at += count
        return spelled
