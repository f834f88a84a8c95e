"""Encoding pieces in compiled code: the rule of `bpe_plain.encode_word_plain`, with a memory for words seen before.

Text repeats itself: of 100,000 pieces in a manual about 6,000 differ. So every short piece is first looked up in a
direct-mapped cache (단어 캐시): one slot by hash, the newest word wins it, so its size never grows. Only a miss
replays merges: short pieces by scanning the ranks of all pairs, long ones (a megabyte without a blank) with a heap,
so that no text costs more than n log n.

Book: 2.2.1 토큰화. Held against: bpe_plain.encode_word_plain, tiktoken, tokenizers.
Left out: threads; one text is encoded on one core.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_SCAN_AT_MOST = 100  # bytes of a piece up to which scanning all pairs beats a heap
_WORD, _IDS = 32, 12  # the longest word the cache keeps, in bytes, and the most ids for one
_SLOTS = 1 << 15
_NO_RANK = np.int64(1) << 30


@njit(cache=True)
def _rank(keys, ranks, a, b):
    """The rank of merging ids (a, b), or _NO_RANK."""
    key = np.int64(a) << 32 | np.int64(b)
    h = key * np.int64(-7046029254386353131)
    slot = (h ^ (h >> 32)) & (keys.size - 1)
    while keys[slot] != -1:
        if keys[slot] == key:
            return np.int64(ranks[slot])
        slot = (slot + 1) & (keys.size - 1)
    return _NO_RANK


@njit(cache=True)
def _fill(keys, ranks, lefts, rights):
    for rank in range(lefts.size):
        key = np.int64(lefts[rank]) << 32 | np.int64(rights[rank])
        h = key * np.int64(-7046029254386353131)
        slot = (h ^ (h >> 32)) & (keys.size - 1)
        while keys[slot] != -1 and keys[slot] != key:
            slot = (slot + 1) & (keys.size - 1)
        if keys[slot] == -1:
            keys[slot] = key
            ranks[slot] = rank


@njit(cache=True)
def _merge_by_scan(ids, n, pair_ranks, keys, ranks, results):
    """Merge ids[:n] in place, the lowest rank first and of equals the leftmost; returns how many are left."""
    for i in range(n - 1):
        pair_ranks[i] = _rank(keys, ranks, ids[i], ids[i + 1])
    while n > 1:
        best, at = _NO_RANK, -1
        for i in range(n - 1):
            if pair_ranks[i] < best:
                best, at = pair_ranks[i], i
        if at < 0:
            break
        ids[at] = results[best]
        n -= 1
        for i in range(at + 1, n):
            ids[i] = ids[i + 1]
            pair_ranks[i - 1] = pair_ranks[i]
        if at > 0:
            pair_ranks[at - 1] = _rank(keys, ranks, ids[at - 1], ids[at])
        if at < n - 1:
            pair_ranks[at] = _rank(keys, ranks, ids[at], ids[at + 1])
    return n


@njit(cache=True)
def _heap_push(heap, size, item):
    i = size
    while i > 0 and heap[(i - 1) >> 1] > item:
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = item


@njit(cache=True)
def _heap_pop(heap, size):
    item, i = heap[size - 1], 0
    while 2 * i + 1 < size - 1:
        child = 2 * i + 1
        if child + 1 < size - 1 and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= item:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = item


@njit(cache=True)
def _merge_by_heap(ids, n, keys, ranks, results):
    """`_merge_by_scan` for long pieces: a linked list of ids and a heap of rank << 32 | place, so n log n."""
    before, after = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        before[i], after[i] = i - 1, i + 1
    heap = np.empty(3 * n, np.int64)  # every merge removes one id and pushes at most two pairs
    size = 0
    for i in range(n - 1):
        rank = _rank(keys, ranks, ids[i], ids[i + 1])
        if rank < _NO_RANK:
            _heap_push(heap, size, rank << 32 | i)
            size += 1
    while size > 0:
        rank, i = heap[0] >> 32, heap[0] & 0xFFFFFFFF
        _heap_pop(heap, size)
        size -= 1
        j = after[i]
        if ids[i] < 0 or j >= n or _rank(keys, ranks, ids[i], ids[j]) != rank:
            continue  # merged away since
        ids[i], ids[j] = results[rank], -1
        after[i] = after[j]
        if after[j] < n:
            before[after[j]] = i
            right = _rank(keys, ranks, ids[i], ids[after[j]])
            if right < _NO_RANK:
                _heap_push(heap, size, right << 32 | i)
                size += 1
        if before[i] >= 0:
            left = _rank(keys, ranks, ids[before[i]], ids[i])
            if left < _NO_RANK:
                _heap_push(heap, size, left << 32 | before[i])
                size += 1
    kept = 0
    for i in range(n):
        if ids[i] >= 0:
            ids[kept] = ids[i]
            kept += 1
    return kept


@njit(cache=True)
def _encode(data, ends, byte_ids, keys, ranks, results, cache_words, cache_ids, cache_sizes, out):
    """Write the ids of all pieces to `out` (int32, room for one id a byte); returns how many there are."""
    pair_ranks = np.empty(_SCAN_AT_MOST, np.int64)
    count, begin = 0, 0
    for end in ends:
        length = end - begin
        slot = -1
        if length <= _WORD:
            h = np.int64(-3750763034362895579)  # FNV-1a
            for i in range(begin, end):
                h = (h ^ data[i]) * 1099511628211
            slot = (h ^ (h >> 32)) & (_SLOTS - 1)
            if cache_sizes[slot, 0] == length:
                i = 0
                while i < length and cache_words[slot, i] == data[begin + i]:
                    i += 1
                if i == length:  # seen before
                    for k in range(cache_sizes[slot, 1]):
                        out[count + k] = cache_ids[slot, k]
                    count += cache_sizes[slot, 1]
                    begin = end
                    continue
        ids = out[count : count + length]
        for i in range(length):
            ids[i] = byte_ids[data[begin + i]]
        if length <= _SCAN_AT_MOST:
            made = _merge_by_scan(ids, length, pair_ranks, keys, ranks, results)
        else:
            made = _merge_by_heap(ids, length, keys, ranks, results)
        if slot >= 0 and made <= _IDS:
            cache_sizes[slot, 0], cache_sizes[slot, 1] = length, made
            for i in range(length):
                cache_words[slot, i] = data[begin + i]
            for k in range(made):
                cache_ids[slot, k] = ids[k]
        count += made
        begin = end
    return count


class PieceEncoder:
    """The merges of one tokenizer as tables, and its word cache (about 2.8 MB, whatever is encoded)."""

    def __init__(self, byte_ids: list[int], merges: list[tuple[int, int]], results: list[int]) -> None:
        """`byte_ids[b]` is the id of byte b; at rank r the ids `merges[r]` become `results[r]`."""
        size = 16
        while size < 2 * len(merges) + 2:
            size *= 2
        self._byte_ids = np.array(byte_ids, dtype=np.int32)
        self._results = np.array(results, dtype=np.int32)
        self._keys = np.full(size, -1, dtype=np.int64)
        self._ranks = np.zeros(size, dtype=np.int32)
        table = np.array(merges, dtype=np.int32).reshape(-1, 2)
        _fill(self._keys, self._ranks, table[:, 0].copy(), table[:, 1].copy())
        self._cache_words = np.zeros((_SLOTS, _WORD), dtype=np.uint8)
        self._cache_ids = np.zeros((_SLOTS, _IDS), dtype=np.int32)
        self._cache_sizes = np.zeros((_SLOTS, 2), dtype=np.int32)

    def encode(self, data: bytes, ends: np.ndarray) -> list[int]:
        """The ids of the pieces of `data` that end at `ends` (int64, rising)."""
        out = np.empty(len(data), dtype=np.int32)
        view = np.frombuffer(data, dtype=np.uint8)
        cache = self._cache_words, self._cache_ids, self._cache_sizes
        count = _encode(view, ends, self._byte_ids, self._keys, self._ranks, self._results, *cache, out)
        return out[:count].tolist()
