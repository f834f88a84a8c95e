"""BPE training in compiled code: the method of bpe_train.py on flat arrays, for corpora of many megabytes.

All distinct words lie in one array of cells, a separator (-1) between two. A token fills as many cells as it has
bytes and writes its id into its first and its last one, so both neighbours are one look away:

    cells  -1 | t h e | -1 | o t h e r | -1        merged (t, h) -> 300:   300 300 e   o 300 300 e r
               weight = how often the word occurred, beside every id

A pair keeps its count and a linked list of the cells where it was seen; a list entry that no longer holds the pair
is skipped. The speed comes from this layout (a merge touches few cache lines) and from summing the changes of one
merge by neighbour, so that the pair table is asked once a neighbour and not once an occurrence.

Book: 2.1 토큰화. Held against: bpe_train.learn_merges, tokenizers' BpeTrainer.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from minillm.tokenizer.bpe_plain import Pair
from minillm.tokenizer.bpe_train import check_training
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
        heap[i] = heap[parent]
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
        heap[i] = heap[child]
        i = child
    heap[i, 0] = count
    heap[i, 1] = pair


@njit(cache=True)
def _doubled(array):
    bigger = np.empty((2 * array.shape[0], array.shape[1]), array.dtype)
    bigger[: array.shape[0]] = array
    return bigger


@njit(cache=True)
def _token_slot(slots, s, spell, spell_at):
    """The slot of the token spelled like s, or the empty slot where it belongs."""
    h = np.int64(-3750763034362895579)
    for i in range(spell_at[s], spell_at[s + 1]):
        h = (h ^ spell[i]) * 1099511628211
    slot = (h ^ (h >> 32)) & (slots.size - 1)
    while slots[slot] >= 0:
        t = slots[slot]
        if not _bytes_greater(s, t, spell, spell_at) and not _bytes_greater(t, s, spell, spell_at):
            break
        slot = (slot + 1) & (slots.size - 1)
    return slot


@njit(cache=True)
def _learn(pool, starts, weights, byte_ids, num_merges, floor, by_ids):
    """Merges as int32 (merges, 3): left id, right id, new id. Ids below 256 are bytes in the alphabet's order."""
    words = weights.size
    cells = np.full((pool.size + words + 1, 2), -1, np.int32)  # id, weight
    at = 1
    for w in range(words):
        for i in range(starts[w], starts[w + 1]):
            cells[at, 0] = byte_ids[pool[i]]
            cells[at, 1] = weights[w]
            at += 1
        at += 1

    spell = np.empty(1 << 16, np.uint8)  # the bytes of every token, one after another
    spell_at = np.zeros(256 + num_merges + 2, np.int64)
    width = np.ones(256 + num_merges + 1, np.int64)  # bytes of each token
    for byte in range(256):
        spell[byte_ids[byte]] = byte
        spell_at[byte + 1] = byte + 1
    token_slots = np.full(1 << 10, -1, np.int32)
    while token_slots.size < 4 * (256 + num_merges):
        token_slots = np.full(2 * token_slots.size, -1, np.int32)
    for byte in range(256):
        token_slots[_token_slot(token_slots, byte, spell, spell_at)] = byte
    tokens = 256

    # Pairs of bytes: count them in a square, then give each a contiguous list of the cells where it stands.
    square = np.zeros((256, 256), np.int64)
    seen = np.zeros((256, 256), np.int64)
    for i in range(1, cells.shape[0] - 1):
        if cells[i, 0] >= 0 and cells[i + 1, 0] >= 0:
            square[cells[i, 0], cells[i + 1, 0]] += cells[i, 1]
            seen[cells[i, 0], cells[i + 1, 0]] += 1
    keys = np.full(1 << 18, -1, np.int64)  # open-addressed: pair -> its number
    numbers = np.empty(1 << 18, np.int32)
    pairs = np.empty((1 << 16, 4), np.int64)  # left id, right id, first and last entry of its list
    counts = np.zeros((1 << 16, 1), np.int64)
    heap = np.empty((1 << 16, 2), np.int64)  # count, pair
    entries = np.empty((3 * pool.size + 1, 2), np.int32)  # cell, next entry of the same pair
    used = heap_size = known = 0
    for a in range(256):
        for b in range(256):
            if seen[a, b]:
                slot = _find(keys, a, b)
                keys[slot] = np.int64(a) << 32 | b
                numbers[slot] = known
                pairs[known, 0], pairs[known, 1] = a, b
                pairs[known, 2], pairs[known, 3] = used, used + seen[a, b] - 1
                counts[known, 0] = square[a, b]
                used, seen[a, b] = used + seen[a, b], used
                if counts[known, 0] >= floor:
                    _push(heap, heap_size, counts[known, 0], known, pairs, spell, spell_at, by_ids)
                    heap_size += 1
                known += 1
    for i in range(1, cells.shape[0] - 1):
        a, b = cells[i, 0], cells[i + 1, 0]
        if a >= 0 and b >= 0:
            entry = seen[a, b]
            entries[entry, 0] = i
            entries[entry, 1] = entry + 1
            seen[a, b] = entry + 1
    for pair in range(known):
        entries[pairs[pair, 3], 1] = -1

    merges = np.empty((num_merges, 3), np.int32)
    made = 0
    # For the merge at hand, by neighbour: summed weight, first and last entry of the list of the new pair.
    change = np.zeros((2, 256 + num_merges + 1), np.int64)
    lists = np.empty((2, 256 + num_merges + 1, 2), np.int64)
    touched = np.empty((2, 256 + num_merges + 1), np.int64)
    number_touched = np.zeros(2, np.int64)
    while made < num_merges and heap_size > 0:
        count, pair = heap[0, 0], heap[0, 1]
        _pop(heap, heap_size, pairs, spell, spell_at, by_ids)
        heap_size -= 1
        now = counts[pair, 0]
        if now != count:  # out of date
            if floor <= now < count:
                _push(heap, heap_size, now, pair, pairs, spell, spell_at, by_ids)
                heap_size += 1
            continue
        a, b = pairs[pair, 0], pairs[pair, 1]
        la, lb = width[a], width[b]

        while spell_at[tokens] + la + lb > spell.size:
            bigger = np.empty(2 * spell.size, np.uint8)
            bigger[: spell.size] = spell
            spell = bigger
        end = spell_at[tokens]
        for i in range(la):
            spell[end + i] = spell[spell_at[a] + i]
        for i in range(lb):
            spell[end + la + i] = spell[spell_at[b] + i]
        spell_at[tokens + 1] = end + la + lb
        slot = _token_slot(token_slots, tokens, spell, spell_at)
        if token_slots[slot] < 0:
            token_slots[slot] = tokens
            width[tokens] = la + lb
            tokens += 1
        t = token_slots[slot]  # an older token when two pairs spell the same bytes
        merges[made, 0], merges[made, 1], merges[made, 2] = a, b, t
        made += 1

        number_touched[:] = 0
        entry = pairs[pair, 2]
        while entry >= 0:
            i = np.int64(entries[entry, 0])
            entry = entries[entry, 1]
            if cells[i, 0] != a or cells[i + la, 0] != b:
                continue
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
                    neighbour = cells[i - 1, 0] if side == 0 else cells[after, 0]
                    if neighbour < 0:
                        continue
                    entries[used, 0] = i - width[neighbour] if side == 0 else i
                    entries[used, 1] = -1
                    if change[side, neighbour] == 0:
                        touched[side, number_touched[side]] = neighbour
                        number_touched[side] += 1
                        lists[side, neighbour, 0] = used
                    else:
                        entries[lists[side, neighbour, 1], 1] = used
                    lists[side, neighbour, 1] = used
                    used += 1
                    change[side, neighbour] += weight
                i = after

        for side in range(2):  # gains first: with "abab" the new (t, a) is lowered again below
            for k in range(number_touched[side]):
                n = touched[side, k]
                left, right = (n, t) if side == 0 else (t, n)
                slot = _find(keys, left, right)
                if keys[slot] == -1:
                    if known == pairs.shape[0]:
                        pairs, counts = _doubled(pairs), _doubled(counts)
                    if 2 * known >= keys.size:
                        keys = np.full(2 * keys.size, -1, np.int64)
                        numbers = np.empty(keys.size, np.int32)
                        for p in range(known):
                            slot = _find(keys, pairs[p, 0], pairs[p, 1])
                            keys[slot] = pairs[p, 0] << 32 | pairs[p, 1]
                            numbers[slot] = p
                        slot = _find(keys, left, right)
                    keys[slot] = np.int64(left) << 32 | np.int64(right)
                    numbers[slot] = known
                    pairs[known, 0], pairs[known, 1], pairs[known, 2] = left, right, -1
                    counts[known, 0] = 0
                    known += 1
                p = numbers[slot]
                counts[p, 0] += change[side, n]
                if pairs[p, 2] < 0:
                    pairs[p, 2] = lists[side, n, 0]
                else:
                    entries[pairs[p, 3], 1] = lists[side, n, 0]
                pairs[p, 3] = lists[side, n, 1]
        for side in range(2):
            for k in range(number_touched[side]):
                n = touched[side, k]
                left, right = (n, a) if side == 0 else (b, n)
                counts[numbers[_find(keys, left, right)], 0] -= change[side, n]
        counts[pair, 0] = 0
        pairs[pair, 2] = -1
        for side in range(2):
            for k in range(number_touched[side]):
                n = touched[side, k]
                change[side, n] = 0
                left, right = (n, t) if side == 0 else (t, n)
                p = numbers[_find(keys, left, right)]
                if counts[p, 0] >= floor:
                    if heap_size == heap.shape[0]:
                        heap = _doubled(heap)
                    _push(heap, heap_size, counts[p, 0], p, pairs, spell, spell_at, by_ids)
                    heap_size += 1
    return merges[:made]


_BYTE_IDS = np.argsort(np.frombuffer(ALPHABET, dtype=np.uint8)).astype(np.int32)


def learn_merges_fast(
    words: WordTable, num_merges: int, min_frequency: int = 1, ties: str = "bytes"
) -> list[Pair]:
    """`bpe_train.learn_merges` in compiled code: same arguments (the words as a WordTable), same merges.

    Raises:
        ValueError: as `learn_merges`; also a word that occurs 2**31 times, more than a cell can hold.
    """
    check_training(num_merges, min_frequency, ties)
    if len(words) and words.counts.max() >= 1 << 31:
        raise ValueError(f"a word occurs {words.counts.max()} times, expected less than {1 << 31}")
    rows = _learn(
        words.pool, words.starts, words.counts, _BYTE_IDS, num_merges, max(1, min_frequency), ties == "ids"
    )
    tokens = {index: bytes([byte]) for index, byte in enumerate(ALPHABET)}
    merges: dict[Pair, None] = {}
    for left, right, new in rows.tolist():
        tokens[new] = tokens[left] + tokens[right]
        merges.setdefault((tokens[left], tokens[right]))
    return list(merges)
