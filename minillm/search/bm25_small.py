"""The best k documents of a query in a small index: the columns of common words are added whole.

Where all scores fit into the processor's nearest cache, adding a column of impacts is a few hundred instructions, less
than MaxScore (bm25_maxscore.py) needs to find out what it need not add. So columns hold the impacts themselves here:

    1. add up the lists of the rare words, then the columns of the common ones
    2. the kth highest of all lanes is a bound: k documents score at least so much. Only documents above it are ordered
"""

from __future__ import annotations

import numpy as np
from numba import njit

from minillm.search.bm25_best import LANES, highest_of_lanes, order_rare_first, rank_candidates, read_keys
from minillm.search.bm25_postings import BLOCK

CALLED = "fcd6e37c"


@njit(cache=True)
def search_small(words, query_starts, starts, documents, impacts, column_of, columns, k):
    """As bm25_maxscore.search_batch, for postings whose columns are float32."""
    queries, width = len(query_starts) - 1, columns.shape[1]
    found, found_scores = np.full((queries, k), -1, np.int64), np.zeros((queries, k), np.float32)
    lengths_found = np.zeros(queries, np.int64)
    longest = 0
    for q in range(queries):
        longest = max(longest, query_starts[q + 1] - query_starts[q])
    order, lengths = np.empty(longest, np.int64), np.empty(longest, np.int64)
    scores, highest = np.zeros(width, np.float32), np.empty(width // BLOCK * LANES, np.float32)
    bits, tops, half = scores.view(np.int32), highest.view(np.int32), np.empty(BLOCK // 2, np.int32)
    candidates = np.empty(width + 1, np.uint32)
    values, keys = np.empty(k, np.float32), np.empty(k, np.uint64)
    for q in range(queries):
        own = words[query_starts[q] : query_starts[q + 1]]
        order_rare_first(own, starts, order, lengths)
        for word in order[: len(own)]:
            row = column_of[word]
            if row < 0:
                for at in range(np.uint64(starts[word]), np.uint64(starts[word + 1])):
                    scores[documents[at]] += impacts[at]
            else:
                column = columns[row]
                for i in range(width):
                    scores[i] += column[i]
        for block in range(width // BLOCK):
            lanes = tops[block * LANES : (block + 1) * LANES]
            highest_of_lanes(bits[block * BLOCK : (block + 1) * BLOCK], half, lanes)
        filled = rank_candidates(scores, highest, k, values, keys, candidates)
        lengths_found[q] = filled
        read_keys(keys, filled, found[q], found_scores[q])
        scores[:] = 0
    return found, found_scores, lengths_found
