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

from minillm.search.bm25_postings import GROUP, Postings, search_simply

CALLED = "2ba4cfb6"
SHORT_RESULT = 128  # up to here keeping the best k in order by insertion beats sorting
SAMPLE = 1024  # so many of the rarest words' documents tell how high the kth best is at least
WORTH = 2  # reading a list is worth avoiding if it is so many times as long as the list of touched documents
BLOCK = 512  # documents whose bounds are computed at a time: they stay in the nearest cache


@njit(cache=True)
def _rare_first(words, starts, order, lengths):
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
def _sort_key(score, document):
    """One integer that orders positive scores like (score, then lower document first)."""
    # Positive floats order like their bits.
    bits = np.uint64(np.float32(score).view(np.uint32))
    return (bits << np.uint64(32)) | (np.uint64(0xFFFFFFFF) - np.uint64(document))


@njit(cache=True)
def _add_word(word, starts, documents, impacts, scores, touched, count):
    """Add one list into scores, which are 0 where nothing was added yet; returns how many `touched` lists."""
    for at in range(np.uint64(starts[word]), np.uint64(starts[word + 1])):
        document = documents[at]
        # Written in any case and kept only if it is new: a branch that nobody can foresee would cost more.
        touched[np.uint64(count)] = document
        count += scores[document] == 0
        scores[document] += impacts[at]
    return count


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
def _keep(values, filled, k, value):
    """Put a value among the `filled` highest, which are in order; returns how many there are now."""
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
def _kth_best(scores, listed, k, values):
    """The kth highest score of the listed documents (at least k)."""
    filled = 0
    for document in listed:
        filled = _keep(values, filled, k, scores[document])
    return values[k - 1]


@njit(cache=True, fastmath=True)
def _bounds(bounds, highest, scores, terms, column_of, columns, units):
    """The most that each document can score, into bounds (N,), and the highest of each group of them, into highest."""
    for first in range(0, len(bounds), BLOCK):
        block = bounds[first : first + BLOCK]
        block[:] = scores[first : first + BLOCK]
        for term in terms:
            row = column_of[term]
            column, unit = columns[row, first : first + BLOCK], units[row]
            for i in range(len(block)):
                block[i] += unit * np.float32(column[i])
    # Floats that are not negative order like their bits, and integers have a fast instruction for the higher one.
    bits, tops = bounds.view(np.int32), highest.view(np.int32)
    for group in range(len(tops)):
        part = bits[group * GROUP : (group + 1) * GROUP]
        top = np.int32(0)
        for i in range(len(part)):
            top = max(top, part[i])
        tops[group] = top


@njit(cache=True)
def _search_all(
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
    scores = np.zeros(size, np.float32)  # all 0 again after each query
    touched, candidates = np.empty(size + 1, np.uint32), np.empty(size + 1, np.uint32)
    bounds, highest = np.empty(size, np.float32), np.empty(-(-size // GROUP), np.float32)
    values, keys = np.empty(k, np.float32), np.empty(k, np.uint64)
    for q in range(queries):
        own = words[query_starts[q] : query_starts[q + 1]]
        many = len(own)
        _rare_first(own, starts, order, lengths)
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
            count = _add_word(terms[done], starts, documents, impacts, scores, touched, count)
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
                    filled = _keep(values, filled, k, top)
                least = max(least, np.float32((values[k - 1] - loss) / slack))
                limit = np.float32(least / slack)
            for group in range(len(highest)):
                if highest[group] >= limit:
                    for document in range(np.uint64(group * GROUP), np.uint64(min((group + 1) * GROUP, size))):
                        candidates[np.uint64(many_left)] = document
                        many_left += (bounds[document] >= limit) & (bounds[document] > 0)
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
            key = _sort_key(score, document)
            if filled < k or key > keys[k - 1]:
                place = filled if filled < k else k - 1
                while place > 0 and keys[place - 1] < key:
                    keys[place] = keys[place - 1]
                    place -= 1
                keys[place] = key
                filled = min(filled + 1, k)
                if filled == k:
                    least = max(least, np.uint32(keys[k - 1] >> np.uint64(32)).view(np.float32))
                    limit = np.float32(least / slack)
        lengths_found[q] = filled
        for rank in range(filled):
            found[q, rank] = np.int64(np.uint64(0xFFFFFFFF) - (keys[rank] & np.uint64(0xFFFFFFFF)))
            found_scores[q, rank] = np.uint32(keys[rank] >> np.uint64(32)).view(np.float32)
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
        return _search_all(words, query_starts, *postings, size, k)
    # Long results are sorted; and where an impact may lower a score ("okapi"), no bound can be known before.
    found, scores = np.full((queries, k), -1, np.int64), np.zeros((queries, k), np.float32)
    lengths = np.zeros(queries, np.int64)
    for q in range(queries):
        best, own = search_simply(words[query_starts[q] : query_starts[q + 1]], postings, size, k)
        lengths[q] = len(best)
        found[q, : len(best)], scores[q, : len(best)] = best, own
    return found, scores, lengths
