"""The best k documents of a query in a small index: the columns of common words are added whole.

Where all scores fit into the processor's nearest cache, adding a column of impacts is a few hundred instructions, less
than MaxScore (bm25_maxscore.py) needs to find out what it need not add. So columns hold the impacts themselves here:

    1. add up the lists of the rare words, then the columns of the common ones
    2. the kth highest of all lanes is a bound: k documents score at least so much. Only documents above it are ordered;
       where no word had a column, those that stand in the lists
"""

from __future__ import annotations

import numpy as np
from numba import njit

from minillm.search.bm25_best import (
    LANES,
    add_list,
    highest_of_lanes,
    keep_highest,
    order_rare_first,
    rank_candidates,
    read_keys,
    sort_key,
)
from minillm.search.bm25_postings import BLOCK

CALLED = "57ccf38f"


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
    touched = np.empty(width + 1, np.uint32)
    values, keys = np.empty(k, np.float32), np.empty(k, np.uint64)
    for q in range(queries):
        own = words[query_starts[q] : query_starts[q + 1]]
        order_rare_first(own, starts, order, lengths)
        count, whole = 0, False
        for word in order[: len(own)]:
            row = column_of[word]
            if row < 0:
                count = add_list(word, starts, documents, impacts, scores, touched, count)
            else:
                whole, column = True, columns[row]
                for i in range(width):
                    scores[i] += column[i]
        filled = 0
        if whole:
            for block in range(width // BLOCK):
                lanes = tops[block * LANES : (block + 1) * LANES]
                highest_of_lanes(bits[block * BLOCK : (block + 1) * BLOCK], half, lanes)
            filled = rank_candidates(scores, highest, k, values, keys, touched)
            scores[:] = 0
        else:
            for document in touched[:count]:
                filled = keep_highest(keys, filled, k, sort_key(scores[document], document))
                scores[document] = 0
        lengths_found[q] = filled
        read_keys(keys, filled, found[q], found_scores[q])
    return found, found_scores, lengths_found
