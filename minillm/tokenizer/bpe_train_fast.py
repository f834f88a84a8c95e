"""BPE training that keeps its counts (증분 학습), in compiled code on flat arrays, for corpora of many megabytes.

bpe_plain.py counts all pairs before every merge. But joining (a, b) into t changes a count only where it happens:

    ... x a b y ...  ->  ... x t y ...        (x, a) and (b, y) lose the word's count; (x, t) and (t, y) gain it

All distinct words lie in one array of cells, a separator (-1) between two. A token fills as many cells as it has
bytes and writes its id into its first and its last one, so both neighbours are one look away:

    cells  -1 | t h e | -1 | o t h e r | -1        merged (t, h) -> 300:   300 300 e   o 300 300 e r
               weight = how often the word occurred, beside every id

A pair keeps its count and a linked list of the cells where it was seen; a list entry that no longer holds the pair
is skipped. The speed comes from this layout (a merge touches few cache lines) and from summing the changes of one
merge by neighbour, so that the pair table is asked once a neighbour and not once an occurrence.

Book: 2.2.1 토큰화. Held against: bpe_plain.train_bpe_plain, tokenizers' BpeTrainer.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from minillm._checks import check_choice, check_int, describe
from minillm.tokenizer.bpe_plain import Pair
from minillm.tokenizer.byte_alphabet import ALPHABET
from minillm.tokenizer.word_table import WordTable


@njit(cache=True)
def _find(keys, a, b):
    """The slot of pair (a, b) in an open-addressed table, or the empty slot where it belongs."""
    key = np.int64(a) << 32 | np.int64(b)
    h = key * np.int64(-7046029254386353131)
    slot = (h ^ (h >> 32)) & (keys.size - 1)
    while keys[slot] != key and keys[slot] != -1:
        slot = (slot + 1) & (keys.size - 1)
    return slot


@njit(cache=True)
def _bytes_greater(s, t, spell, spell_at):
    """Whether token s is greater than token t as a byte string."""
    i, j = spell_at[s], spell_at[t]
    while i < spell_at[s + 1] and j < spell_at[t + 1]:
        if spell[i] != spell[j]:
            return spell[i] > spell[j]
        i += 1
        j += 1
    return i < spell_at[s + 1]


@njit(cache=True)
def _sooner(count1, pair1, count2, pair2, pairs, spell, spell_at, by_ids):
    """Whether the heap entry (count1, pair1) is merged before (count2, pair2)."""
    if count1 != count2:
        return count1 > count2
    a1, b1, a2, b2 = pairs[pair1, 0], pairs[pair1, 1], pairs[pair2, 0], pairs[pair2, 1]
    if by_ids:
        return a1 < a2 or (a1 == a2 and b1 < b2)
    if a1 != a2:
        return _bytes_greater(a1, a2, spell, spell_at)
    return b1 != b2 and _bytes_greater(b1, b2, spell, spell_at)


@njit(cache=True)
def _push(heap, size, count, pair, pairs, spell, spell_at, by_ids):
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if not _sooner(count, pair, heap[parent, 0], heap[parent, 1], pairs, spell, spell_at, by_ids):
            break
        heap[i, 0], heap[i, 1] = heap[parent, 0], heap[parent, 1]
        i = parent
    heap[i, 0] = count
    heap[i, 1] = pair


@njit(cache=True)
def _pop(heap, size, pairs, spell, spell_at, by_ids):
    """Drop the top entry of a heap of `size` entries."""
    count, pair = heap[size - 1, 0], heap[size - 1, 1]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size - 1:
            break
        other = child + 1
        if other < size - 1 and _sooner(
            heap[other, 0], heap[other, 1], heap[child, 0], heap[child, 1], pairs, spell, spell_at, by_ids
        ):
            child = other
        if not _sooner(heap[child, 0], heap[child, 1], count, pair, pairs, spell, spell_at, by_ids):
            break
        heap[i, 0], heap[i, 1] = heap[child, 0], heap[child, 1]
        i = child
    heap[i, 0] = count
    heap[i, 1] = pair


@njit(cache=True)
def _lay_out(pool, starts, weights, byte_ids):
    """Cells int32 (bytes + words + 1, 2): id and weight of every byte of every word, separators with id -1."""
    cells = np.full((pool.size + weights.size + 1, 2), -1, np.int32)
    at = 1
    for word in range(weights.size):
        for i in range(starts[word], starts[word + 1]):
            cells[at, 0] = byte_ids[pool[i]]
            cells[at, 1] = weights[word]
            at += 1
        at += 1
    return cells


@njit(cache=True)
def _first_pairs(cells, pairs, counts, entries):
    """Number the pairs of bytes, count them, and list where each stands, in order; returns how many there are."""
    seen = np.zeros((256, 256), np.int64)
    for i in range(1, cells.shape[0] - 1):
        if cells[i, 0] >= 0 and cells[i + 1, 0] >= 0:
            seen[cells[i, 0], cells[i + 1, 0]] += 1
    number = np.full((256, 256), -1, np.int64)
    known = used = 0
    for a in range(256):
        for b in range(256):
            if seen[a, b] > 0:
                number[a, b] = known
                pairs[known, 0], pairs[known, 1] = a, b
                pairs[known, 2], pairs[known, 3] = used, used - 1  # the list is filled below
                counts[known] = 0
                used += seen[a, b]
                known += 1
    for i in range(1, cells.shape[0] - 1):
        a, b = cells[i, 0], cells[i + 1, 0]
        if a >= 0 and b >= 0:
            pair = number[a, b]
            counts[pair] += cells[i, 1]
            pairs[pair, 3] += 1
            entries[pairs[pair, 3], 0] = i
            entries[pairs[pair, 3], 1] = pairs[pair, 3] + 1
    for pair in range(known):
        entries[pairs[pair, 3], 1] = -1
    return known, used


@njit(cache=True)
def _index(pairs, known, size):
    """The table pair -> number, with room for `size` entries (a power of two): keys and numbers."""
    keys = np.full(size, -1, np.int64)
    numbers = np.empty(size, np.int32)
    for pair in range(known):
        slot = _find(keys, pairs[pair, 0], pairs[pair, 1])
        keys[slot] = pairs[pair, 0] << 32 | pairs[pair, 1]
        numbers[slot] = pair
    return keys, numbers


@njit(cache=True)
def _join(a, b, t, first, cells, width, entries, used, change, lists, touched):
    """Join (a, b) into t wherever the list from entry `first` finds it.

    Side 0 holds what stood in front of the pair, side 1 what stood behind: `change` sums the weights by neighbour,
    `lists` has the first and last entry of the new pair's list, `touched` the neighbours met.
    Returns (entries used, neighbours in front, neighbours behind).
    """
    la, lb = width[a], width[b]
    met = np.zeros(2, np.int64)
    entry = first
    while entry >= 0:
        i = np.int64(entries[entry, 0])
        entry = entries[entry, 1]
        if cells[i, 0] != a or cells[i + la, 0] != b:
            continue  # joined to something else since
        if a == b:  # "aaaa" merges from the left, whatever place the list names first
            while cells[i - 1, 0] == a:
                i -= la
        while cells[i, 0] == a and cells[i + la, 0] == b:
            weight = np.int64(cells[i, 1])
            after = i + la + lb
            cells[i + la, 0] = -1
            cells[i, 0] = t
            cells[after - 1, 0] = t
            for side in range(2):
                n = cells[i - 1, 0] if side == 0 else cells[after, 0]
                if n < 0:
                    continue
                entries[used, 0] = i - width[n] if side == 0 else i
                entries[used, 1] = -1
                if change[side, n] == 0:
                    touched[side, met[side]] = n
                    met[side] += 1
                    lists[side, n, 0] = used
                else:
                    entries[lists[side, n, 1], 1] = used
                lists[side, n, 1] = used
                change[side, n] += weight
                used += 1
            i = after
    return used, met[0], met[1]


@njit(cache=True)
def _learn(pool, starts, weights, byte_ids, num_merges, floor, by_ids):
    """Merges as int32 (merges, 2): left and right id. Ids below 256 are bytes in the alphabet's order."""
    cells = _lay_out(pool, starts, weights, byte_ids)
    room = 3 * pool.size + 1  # every byte begins one pair, and every join begins two more
    entries = np.empty((room, 2), np.int32)  # cell, next entry of the same pair
    pairs = np.empty((room, 4), np.int64)  # left id, right id, first and last entry of its list
    counts = np.empty(room, np.int64)
    heap = np.empty((room, 2), np.int64)  # count, pair
    known, used = _first_pairs(cells, pairs, counts, entries)
    size = 1 << 17
    keys, numbers = _index(pairs, known, size)

    most = 256 + num_merges
    spell = np.empty(1 << 16, np.uint8)  # the bytes of token t are spell[spell_at[t] : spell_at[t + 1]]
    spell_at = np.zeros(most + 1, np.int64)
    width = np.ones(most, np.int64)
    for byte in range(256):
        spell[byte_ids[byte]] = byte
        spell_at[byte + 1] = byte + 1
    heap_size = 0
    for pair in range(known):
        if counts[pair] >= floor:
            _push(heap, heap_size, counts[pair], pair, pairs, spell, spell_at, by_ids)
            heap_size += 1

    merges = np.empty((num_merges, 2), np.int32)
    change = np.zeros((2, most), np.int64)
    lists = np.empty((2, most, 2), np.int64)
    touched = np.empty((2, most), np.int64)
    t = 256
    while t < most and heap_size > 0:
        count, pair = heap[0, 0], heap[0, 1]
        _pop(heap, heap_size, pairs, spell, spell_at, by_ids)
        heap_size -= 1
        if counts[pair] != count:  # out of date
            if floor <= counts[pair] < count:
                _push(heap, heap_size, counts[pair], pair, pairs, spell, spell_at, by_ids)
                heap_size += 1
            continue
        a, b = pairs[pair, 0], pairs[pair, 1]
        merges[t - 256, 0], merges[t - 256, 1] = a, b
        width[t] = width[a] + width[b]
        end = spell_at[t]
        spell_at[t + 1] = end + width[t]
        if spell_at[t + 1] > spell.size:
            longer = np.empty(2 * spell_at[t + 1], np.uint8)
            for i in range(end):
                longer[i] = spell[i]
            spell = longer
        for i in range(width[t]):
            spell[end + i] = spell[spell_at[a] + i] if i < width[a] else spell[spell_at[b] + i - width[a]]

        used, front, behind = _join(
            a, b, t, pairs[pair, 2], cells, width, entries, used, change, lists, touched
        )
        if 2 * (known + front + behind) > size:
            size *= 4
            keys, numbers = _index(pairs, known, size)
        for side in range(2):  # gains first: with "abab" the new (t, a) is lowered again below
            for k in range(front if side == 0 else behind):
                n = touched[side, k]
                left, right = (n, t) if side == 0 else (t, n)
                slot = _find(keys, left, right)
                if keys[slot] == -1:
                    keys[slot] = np.int64(left) << 32 | np.int64(right)
                    numbers[slot] = known
                    pairs[known, 0], pairs[known, 1], pairs[known, 2] = left, right, lists[side, n, 0]
                    counts[known] = 0
                    known += 1
                else:
                    entries[pairs[numbers[slot], 3], 1] = lists[side, n, 0]
                pairs[numbers[slot], 3] = lists[side, n, 1]
                counts[numbers[slot]] += change[side, n]
        for side in range(2):
            for k in range(front if side == 0 else behind):
                n = touched[side, k]
                left, right = (n, a) if side == 0 else (b, n)
                counts[numbers[_find(keys, left, right)]] -= change[side, n]
        counts[pair] = 0
        for side in range(2):
            for k in range(front if side == 0 else behind):
                n = touched[side, k]
                change[side, n] = 0
                left, right = (n, t) if side == 0 else (t, n)
                p = numbers[_find(keys, left, right)]
                if counts[p] >= floor:
                    _push(heap, heap_size, counts[p], p, pairs, spell, spell_at, by_ids)
                    heap_size += 1
        t += 1
    return merges[: t - 256]


_BYTE_IDS = np.argsort(np.frombuffer(ALPHABET, dtype=np.uint8)).astype(np.int32)


def learn_merges_fast(
    words: WordTable, num_merges: int, min_frequency: int = 1, ties: str = "bytes"
) -> list[Pair]:
    """The same merges as `bpe_plain.train_bpe_plain`, without counting everything before each one.

    Args:
        words: how often each piece occurs in the corpus.
        num_merges: how many new tokens to make; fewer come when no pair is left.
        min_frequency: a pair seen less often is not merged.
        ties: "bytes", the greatest pair of byte strings wins; "ids", the pair of the lowest ids, as in tokenizers.

    Raises:
        ValueError: a negative number, another `ties`, or more than 32 bits can number (a word 2**31 times, 715 MB of
            words).
    """
    if not isinstance(words, WordTable):
        raise ValueError(f"words must be a WordTable (WordTable.from_dict makes one), got {describe(words)}")
    check_int("num_merges", num_merges, minimum=0, maximum=1_000_000)
    check_int("min_frequency", min_frequency, minimum=0)
    check_choice("ties", ties, ("bytes", "ids"))
    if len(words) and words.counts.max() >= 1 << 31:
        raise ValueError(f"a word occurs {words.counts.max()} times, expected less than {1 << 31}")
    if 3 * words.pool.size >= 1 << 31:
        raise ValueError(
            f"the different words have {words.pool.size} bytes, expected less than {(1 << 31) // 3}"
        )
    rows = _learn(
        words.pool, words.starts, words.counts, _BYTE_IDS, num_merges, max(1, min_frequency), ties == "ids"
    )
    tokens = {index: bytes([byte]) for index, byte in enumerate(ALPHABET)}
    merges: list[Pair] = []
    for left, right in rows.tolist():
        tokens[len(tokens)] = tokens[left] + tokens[right]
        merges.append((tokens[left], tokens[right]))
    return merges
