"""Keeping the best k of many documents: what the compiled searches of BM25 and FieldSearch share.

Scores are looked at by blocks of BLOCK documents, of which LANES stand side by side in the processor's wide registers:
the highest score of each lane tells in one look whether one of its documents can be among the best.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from minillm.search.bm25_postings import BLOCK

CALLED = "4b6b7388"
SHORT_RESULT = 128  # up to here keeping the best k in order by insertion beats sorting
LANES = 32  # of a block: documents first, first + LANES, ... share one highest score


@njit(cache=True)
def order_rare_first(words, starts, order, lengths):
    """Write `words` into `order` as bm25_postings.rare_first has them, and the lengths of their lists."""
    many = len(words)
    if many > 64:
        lists = starts[words + 1] - starts[words]
        ranks = np.argsort(lists, kind="mergesort")
        order[:many], lengths[:many] = words[ranks], lists[ranks]
        return
    for i in range(many):
        word = words[i]
        length = starts[word + 1] - starts[word]
        at = i
        while at > 0 and lengths[at - 1] > length:
            lengths[at], order[at] = lengths[at - 1], order[at - 1]
            at -= 1
        lengths[at], order[at] = length, word


@njit(cache=True)
def add_list(word, starts, documents, impacts, scores, touched, count):
    """Add one list into scores, which are 0 where nothing was added yet; returns how many `touched` lists."""
    for at in range(np.uint64(starts[word]), np.uint64(starts[word + 1])):
        document = documents[at]
        # Written in any case and kept only if it is new: a branch that nobody can foresee would cost more.
        touched[np.uint64(count)] = document
        count += scores[document] == 0
        scores[document] += impacts[at]
    return count


@njit(cache=True)
def sort_key(score, document):
    """One integer that orders positive scores like (score, then lower document first)."""
    # Floats that are not negative order like their bits.
    bits = np.uint64(np.float32(score).view(np.uint32))
    return (bits << np.uint64(32)) | (np.uint64(0xFFFFFFFF) - np.uint64(document))


@njit(cache=True)
def keep_highest(values, filled, k, value):
    """Put a value, a score or a key, among the `filled` highest in order; returns how many there are now."""
    if filled == k:
        if value <= values[k - 1]:
            return filled
        filled -= 1
    at = filled
    while at > 0 and values[at - 1] < value:
        values[at] = values[at - 1]
        at -= 1
    values[at] = value
    return filled + 1


@njit(cache=True)
def highest_of_lanes(block, half, tops):
    """The highest of documents lane, lane + LANES, ... of a block, into tops (LANES,). block, tops: the bits of floats
    that are not negative as int32, which order like them and have a fast instruction for the higher one; half:
    (BLOCK / 2,) to work in."""
    for i in range(BLOCK // 2):
        half[i] = max(block[i], block[i + BLOCK // 2])
    many = BLOCK // 2
    while many > LANES:  # halved until LANES are left: the higher of two lies in the lower half
        many //= 2
        for i in range(many):
            half[i] = max(half[i], half[i + many])
    tops[:] = half[:LANES]


@njit(cache=True)
def list_candidates(bounds, highest, limit, candidates):
    """Write the documents whose bound is above 0 and at least `limit` into `candidates`; returns how many."""
    count = 0
    for lane in range(len(highest)):
        if highest[lane] >= limit:
            first = lane // LANES * BLOCK + lane % LANES
            for row in range(0, BLOCK, LANES):
                document = np.uint64(first + row)
                # Written in any case and kept only if it may win: a branch that nobody can foresee would cost more.
                candidates[np.uint64(count)] = document
                count += (bounds[document] >= limit) & (bounds[document] > 0)
    return count


@njit(cache=True)
def read_keys(keys, filled, found, scores):
    """The documents and scores of the keys, into one row of a result."""
    for rank in range(filled):
        found[rank] = np.int64(np.uint64(0xFFFFFFFF) - (keys[rank] & np.uint64(0xFFFFFFFF)))
        scores[rank] = np.uint32(keys[rank] >> np.uint64(32)).view(np.float32)


@njit(cache=True)
def rank_candidates(scores, highest, k, values, keys, candidates):
    """Write the keys of the best k scores above 0, by the highest of all lanes; returns how many there are."""
    least = np.float32(0)
    if len(highest) >= k:  # the best of k lanes are k documents
        filled = 0
        for top in highest:
            filled = keep_highest(values, filled, k, top)
        least = values[k - 1]
    filled = 0
    for document in candidates[: list_candidates(scores, highest, least, candidates)]:
        filled = keep_highest(keys, filled, k, sort_key(scores[document], document))
    return filled


@njit(cache=True)
def _best_of(scores, k):
    width = len(scores)
    highest = np.empty(width // BLOCK * LANES, np.float32)
    values, keys = np.empty(k, np.float32), np.empty(k, np.uint64)
    half, candidates = np.empty(BLOCK // 2, np.int32), np.empty(width + 1, np.uint32)
    # The bits of floats that are not negative order like the floats.
    bits, tops = scores.view(np.int32), highest.view(np.int32)
    for block in range(width // BLOCK):
        lanes = tops[block * LANES : (block + 1) * LANES]
        highest_of_lanes(bits[block * BLOCK : (block + 1) * BLOCK], half, lanes)
    filled = rank_candidates(scores, highest, k, values, keys, candidates)
    found, found_scores = np.empty(filled, np.int64), np.empty(filled, np.float32)
    read_keys(keys, filled, found, found_scores)
    return found


def best_of(scores: np.ndarray, k: int) -> np.ndarray:
    """The best k places of scores (N,), float32 and not negative: best first, equal ones in their order, int64.
    Places whose score is 0 are left out."""
    if k > SHORT_RESULT:
        above = np.flatnonzero(scores > 0)
        return above[np.argsort(-scores[above], kind="stable")[:k]]
    whole_blocks = np.zeros(-(-len(scores) // BLOCK) * BLOCK, np.float32)
    whole_blocks[: len(scores)] = scores
    return _best_of(whole_blocks, k)
