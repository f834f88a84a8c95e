"""The best k documents of a query without adding up all its postings: MaxScore, with byte columns for common words.

A common word adds little to any score, and its list is long. So the words are taken rare ones first:

    1. add up the lists of the rare words, as the plain search does
    2. as soon as what all the other words can add at most is less than the kth best score so far, no new document can
       get into the result: the long lists are not read, only looked into for the few documents that can still win
    3. if that never happens (a query of common words), go over the byte columns of those words: each byte says, rounded
       up, what the word adds to a document, and a few instructions bound 32 documents at once. Only documents whose
       bound reaches the kth best are scored exactly

Every score that is returned is the exact sum, in the order of `rare_first`; only work is left out. Lists and columns
are a gain for some queries only, so each query is judged by the lengths of its own lists.

Paper: Turtle & Flood 1995, "Query evaluation: strategies and optimizations" (MaxScore). Book: 10.4.1 키워드 검색 방식.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from minillm.search.bm25_best import (
    LANES,
    SHORT_RESULT,
    add_list,
    highest_of_lanes,
    keep_highest,
    list_candidates,
    order_rare_first,
    read_keys,
    sort_key,
)
from minillm.search.bm25_postings import BLOCK, GROUP, Postings, search_simply
from minillm.search.bm25_small import search_small

CALLED = "bb5339f0"
SAMPLE = 1024  # so many of the rarest words' documents tell how high the kth best is at least
WORTH = 2  # reading a list is worth avoiding if it is so many times as long as the list of touched documents


@njit(cache=True)
def _find(word, document, starts, documents):
    """Where the posting of one document is in the word's list, by binary search; -1 where the word does not stand."""
    low, high = starts[word], starts[word + 1]
    while low < high:
        middle = (low + high) >> 1
        if documents[np.uint64(middle)] < document:
            low = middle + 1
        else:
            high = middle
    return low if low < starts[word + 1] and documents[np.uint64(low)] == document else -1


@njit(cache=True)
def _find_in_column(column, document, before):
    """The same by the word's column: so many documents before this one have a byte above 0."""
    group, inside = document // GROUP, np.uint8(document % GROUP)
    part = column[group * GROUP : (group + 1) * GROUP]
    found = np.uint8(0)
    for i in range(GROUP):  # always all of them: without a branch it is a handful of instructions
        found += np.uint8((np.uint8(i) < inside) & (part[i] != 0))
    return np.int64(before[group]) + np.int64(found)


@njit(cache=True)
def _kth_best(scores, listed, k, values):
    """The kth highest score of the listed documents (at least k)."""
    filled = 0
    for document in listed:
        filled = keep_highest(values, filled, k, scores[document])
    return values[k - 1]


@njit(cache=True, fastmath=True)
def _bounds(bounds, highest, scores, terms, column_of, columns, units):
    """The most that each document can score, into bounds, and the highest of each lane of each block, into highest."""
    bits, tops, half = bounds.view(np.int32), highest.view(np.int32), np.empty(BLOCK // 2, np.int32)
    for first in range(0, len(bounds), BLOCK):
        block = bounds[first : first + BLOCK]
        block[:] = scores[first : first + BLOCK]
        # Two columns a pass: the block is read and written half as often.
        for at in range(0, len(terms) - 1, 2):
            row, other = column_of[terms[at]], column_of[terms[at + 1]]
            column, unit = columns[row, first : first + BLOCK], units[row]
            second, other_unit = columns[other, first : first + BLOCK], units[other]
            for i in range(BLOCK):
                block[i] += unit * np.float32(column[i]) + other_unit * np.float32(second[i])
        if len(terms) % 2:
            row = column_of[terms[-1]]
            column, unit = columns[row, first : first + BLOCK], units[row]
            for i in range(BLOCK):
                block[i] += unit * np.float32(column[i])
        lanes = tops[first // BLOCK * LANES : (first // BLOCK + 1) * LANES]
        highest_of_lanes(bits[first : first + BLOCK], half, lanes)


@njit(cache=True)
def search_all(
    words, query_starts, starts, documents, impacts, most, column_of, columns, units, before, size, k
):
    """As search_batch.

    words: word numbers of all queries, those of query q at query_starts[q] : query_starts[q + 1]; every word's `most`
    must be above 0.
    """
    queries = len(query_starts) - 1
    found = np.full((queries, k), -1, np.int64)
    found_scores = np.zeros((queries, k), np.float32)
    lengths_found = np.zeros(queries, np.int64)
    longest = 0
    for q in range(queries):
        longest = max(longest, query_starts[q + 1] - query_starts[q])
    order, lengths = np.empty(longest, np.int64), np.empty(longest, np.int64)
    rest = np.zeros(longest + 1)
    width = columns.shape[1]
    scores = np.zeros(width, np.float32)  # all 0 again after each query
    touched, candidates = np.empty(size + 1, np.uint32), np.empty(size + 1, np.uint32)
    bounds, highest = np.empty(width, np.float32), np.empty(width // BLOCK * LANES, np.float32)
    values, keys = np.empty(k, np.float32), np.empty(k, np.uint64)
    for q in range(queries):
        own = words[query_starts[q] : query_starts[q + 1]]
        many = len(own)
        order_rare_first(own, starts, order, lengths)
        terms = order[:many]
        rest[many] = 0
        for i in range(many - 1, -1, -1):
            rest[i] = rest[i + 1] + most[terms[i]]
        # Sums of float32 are rounded up or down at each step; a bound must not be below one.
        slack = 1 + (many + 2) * 2.0**-22

        # 1. the lists of the rare words
        count = 0
        done = 0
        least = np.float32(0)  # the kth best score is at least this
        while done < many and column_of[terms[done]] < 0:
            # No score can be above what its words add at most, so half of that must be done to stop.
            if count >= k and lengths[done] > WORTH * count and 2 * rest[done] < rest[0]:
                least = _kth_best(scores, touched[: min(count, SAMPLE)], k, values)
                if rest[done] * slack < least:
                    break
            count = add_list(terms[done], starts, documents, impacts, scores, touched, count)
            done += 1
        if done < many and count >= k and 2 * rest[done] < rest[0]:
            least = _kth_best(scores, touched[: min(count, SAMPLE)], k, values)

        # 2. or 3.: what is left, `terms[done:]`, is not read but looked into, for documents that can still win.
        # They are written in any case and kept only if they can: half of them do, and no branch foresees which.
        every = done < many and not rest[done] * slack < least
        limit = np.float32(least / slack)
        many_left = 0
        if every:
            loss = 0.0  # a bound is above the score by less than one unit a word
            for i in range(done, many):
                loss += units[column_of[terms[i]]]
            _bounds(bounds, highest, scores, terms[done:], column_of, columns, units)
            if len(highest) >= k:  # the best of k groups are k documents
                filled = 0
                for top in highest:
                    filled = keep_highest(values, filled, k, top)
                least = max(least, np.float32((values[k - 1] - loss) / slack))
                limit = np.float32(least / slack)
            many_left = list_candidates(bounds, highest, limit, candidates)
        else:
            for i in range(np.uint64(count)):
                document = touched[i]
                candidates[np.uint64(many_left)] = document
                many_left += scores[document] + rest[done] >= limit
        filled = 0
        for document in candidates[:many_left]:
            score = scores[document]
            if done < many:
                bound = np.float64(score)
                if every:
                    bound = np.float64(bounds[document])
                else:  # the columns say more than `rest`
                    for i in range(done, many):
                        column = column_of[terms[i]]
                        bound += most[terms[i]] if column < 0 else units[column] * columns[column, document]
                if bound < limit:
                    continue
                for i in range(done, many):
                    column = column_of[terms[i]]
                    if column < 0:
                        at = _find(terms[i], document, starts, documents)
                        if at >= 0:
                            score += impacts[at]
                    elif columns[column, document]:
                        score += impacts[
                            starts[terms[i]] + _find_in_column(columns[column], document, before[column])
                        ]
            if score < least:
                continue
            filled = keep_highest(keys, filled, k, sort_key(score, document))
            if filled == k:
                least = max(least, np.uint32(keys[k - 1] >> np.uint64(32)).view(np.float32))
                limit = np.float32(least / slack)
        lengths_found[q] = filled
        read_keys(keys, filled, found[q], found_scores[q])
        for i in range(count):
            scores[touched[i]] = 0
    return found, found_scores, lengths_found


def search_batch(
    words: np.ndarray, query_starts: np.ndarray, postings: Postings, size: int, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best documents of every query, (Q, k) int64, their scores, (Q, k) float32, and how many there are, (Q,).

    words: the numbers of the words of all queries, those of query q at query_starts[q] : query_starts[q + 1].
    """
    k, queries = max(min(k, size), 1), len(query_starts) - 1
    if k <= SHORT_RESULT and (postings.most[words] > 0).all():
        if postings.columns.dtype == np.float32:
            return search_small(words, query_starts, *postings[:3], postings.column_of, postings.columns, k)
        return search_all(words, query_starts, *postings, size, k)
    # Long results are sorted; and where an impact may lower a score ("okapi"), no bound can be known before.
    found, scores = np.full((queries, k), -1, np.int64), np.zeros((queries, k), np.float32)
    lengths = np.zeros(queries, np.int64)
    for q in range(queries):
        best, own = search_simply(words[query_starts[q] : query_starts[q + 1]], postings, size, k)
        lengths[q] = len(best)
        found[q, : len(best)], scores[q, : len(best)] = best, own
    return found, scores, lengths
