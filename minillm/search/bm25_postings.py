"""The inverted index (역색인) of BM25: for each word the documents that have it, in compressed columns.

    the postings of word w:  documents[starts[w] : starts[w + 1]], ascending, and beside each what w adds to its score

`count_words` turns documents into postings in two passes over their words: the first counts how long each list will
be, the second writes every posting at its place, so nothing is ever sorted. `join` takes documents in and out.
`with_impacts` puts beside each posting what it adds to a score (its impact): everything in the formula but the sum is
known before a query comes. `search_simply` adds up the postings of a query's words and keeps the best k; the same
with less work is in bm25_small.py and bm25_maxscore.py.

Book: 10.4.1 키워드 검색 방식: BM25. Peer: bm25s, whose idea the stored impacts are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

DENSE = 16  # a word that one document in so many has gets a column of its own
LEVELS = 255  # of a byte
GROUP = 64  # documents: the bytes of a column that lie in one line of the cache
SMALL = (
    8192  # documents, up to which columns hold the impacts themselves: all scores fit into the nearest cache
)
BLOCK = 512  # documents that a search goes over at a time; columns are filled up to whole blocks


class Counts(NamedTuple):
    """What stands in N documents, whatever the formula says of it: P postings of W words."""

    starts: np.ndarray  # (W + 1,) int64
    documents: np.ndarray  # (P,) uint32, ascending inside a word
    times: np.ndarray  # (P,) uint32: how often the word stands in that document (tf)
    lengths: np.ndarray  # (N,) int64: words in each document


class Postings(NamedTuple):
    """What a search reads. The columns of a small index are float32, the impacts themselves; `before` is then empty."""

    starts: np.ndarray  # (W + 1,) int64
    documents: np.ndarray  # (P,) uint32
    impacts: np.ndarray  # (P,) float32: what the word adds to that document
    most: np.ndarray  # (W,) float32: a word's highest impact; 0: it adds nothing or less somewhere
    column_of: np.ndarray  # (W,) int32: the row in `columns` of a word that many documents have, else -1
    columns: np.ndarray  # (C, N or more) uint8: impacts in `units`, rounded up; 0: not there
    units: np.ndarray  # (C,) float32
    before: np.ndarray  # (C, groups) uint32: postings of the word before each GROUP documents, to find one's


@njit(cache=True)
def _count_words(words, lengths, vocabulary):
    # The last document that had the word: a word's second time in a document is no second posting.
    last = np.full(vocabulary, -1, np.int64)
    starts = np.zeros(vocabulary + 1, np.int64)
    at = 0
    for document in range(len(lengths)):
        for word in words[at : at + lengths[document]]:
            if last[word] != document:
                last[word] = document
                starts[word + 1] += 1
        at += lengths[document]
    starts = np.cumsum(starts)
    documents, times = np.empty(starts[-1], np.uint32), np.zeros(starts[-1], np.uint32)
    free = starts[:-1].copy()  # where the next posting of each word goes
    last[:] = -1
    at = 0
    for document in range(len(lengths)):
        for word in words[at : at + lengths[document]]:
            if last[word] != document:
                last[word] = document
                documents[free[word]] = document
                free[word] += 1
            times[free[word] - 1] += 1
        at += lengths[document]
    return starts, documents, times


def count_words(words: np.ndarray, lengths: np.ndarray, vocabulary: int) -> Counts:
    """The postings of documents that follow each other in `words`, (T,) int32 word numbers below `vocabulary`;
    lengths: (N,) int64, how many of the words each document has."""
    return Counts(*_count_words(words, lengths, vocabulary), lengths)


@njit(cache=True)
def _copy_kept(starts, documents, times, word, places, to_documents, to_times, free):
    """Copy the postings of one word whose documents stay, under their new numbers; returns the next free place."""
    if word < len(starts) - 1:
        for at in range(starts[word], starts[word + 1]):
            place = places[documents[at]]
            if place >= 0:
                to_documents[free], to_times[free] = place, times[at]
                free += 1
    return free


@njit(cache=True)
def _join(starts, documents, times, more_starts, more_documents, more_times, places, more_places):
    vocabulary = max(len(starts), len(more_starts)) - 1
    joined = np.zeros(vocabulary + 1, np.int64)
    to_documents = np.empty(len(documents) + len(more_documents), np.uint32)
    to_times = np.empty(len(to_documents), np.uint32)
    free = 0
    for word in range(vocabulary):
        free = _copy_kept(starts, documents, times, word, places, to_documents, to_times, free)
        free = _copy_kept(
            more_starts, more_documents, more_times, word, more_places, to_documents, to_times, free
        )
        joined[word + 1] = free
    return joined, to_documents[:free].copy(), to_times[:free].copy()


def join(counts: Counts, more: Counts, removed: Sequence[int]) -> Counts:
    """The counts of the documents of `counts` and then of `more`, without those whose numbers `removed` lists. Words
    that no document has any more keep their number and have no postings."""
    if not removed and not len(counts.lengths):
        return more
    lengths = np.concatenate([counts.lengths, more.lengths])
    kept = np.ones(len(lengths), bool)
    kept[list(removed)] = False
    places = np.where(kept, np.cumsum(kept) - 1, -1)
    size = len(counts.lengths)
    return Counts(*_join(*counts[:3], *more[:3], places[:size], places[size:]), lengths[kept])


def without_unused(counts: Counts) -> tuple[Counts, np.ndarray]:
    """The counts without the words that no document has, and which words (W,) stay."""
    stays = np.diff(counts.starts) > 0
    return counts._replace(starts=np.concatenate([counts.starts[:1], counts.starts[1:][stays]])), stays


def check_postings(counts: Counts, impacts: np.ndarray, words: int) -> None:
    """ValueError for arrays that do not fit each other: compiled code reads what they point at, without looking."""
    starts, documents, times, lengths = counts
    if (
        tuple(part.dtype for part in (*counts, impacts))
        != (np.int64, np.uint32, np.uint32, np.int64, np.float32)
        or any(part.ndim != 1 for part in (*counts, impacts))
        or len(starts) != words + 1
        or not len(documents) == len(times) == len(impacts) == starts[-1]
        or starts[0] != 0
        or (np.diff(starts) < 0).any()
        or (len(documents) and documents.max() >= len(lengths))
    ):
        raise ValueError("its words and postings do not fit")


@njit(cache=True)
def all_impacts(starts, documents, times, weights, norms):
    """What each posting adds to a score, (P,) float32: the formula without its sum."""
    impacts = np.empty(len(documents), np.float32)
    for word in range(len(weights)):
        for at in range(starts[word], starts[word + 1]):
            tf = np.float64(times[at])
            # weight * tf / (tf + k1 * (1 - b + b * |d| / average |d|))
            impacts[at] = weights[word] * (tf / (tf + norms[documents[at]]))
    return impacts


@njit(cache=True)
def _highest(starts, impacts):
    most = np.zeros(len(starts) - 1, np.float32)
    for word in range(len(most)):
        highest = np.float32(0)
        for impact in impacts[starts[word] : starts[word + 1]]:
            if not impact > 0:
                highest = np.float32(0)
                break
            highest = max(highest, impact)
        most[word] = highest
    return most


@njit(cache=True)
def _fill_columns(words, starts, documents, impacts, units, size):
    columns = np.zeros((len(words), -(-size // BLOCK) * BLOCK), np.uint8)
    before = np.zeros((len(words), size // GROUP + 2), np.uint32)
    for row, word in enumerate(words):
        for at in range(starts[word], starts[word + 1]):
            columns[row, documents[at]] = min(LEVELS, int(np.ceil(impacts[at] / units[row])))
            before[row, documents[at] // GROUP + 1] += 1
        for group in range(1, before.shape[1]):
            before[row, group] += before[row, group - 1]
    return columns, before


@njit(cache=True)
def impact_columns(words, starts, documents, impacts, size):
    """A column of impacts for each of `words` (W,), (W, size) float32, made longer to whole blocks."""
    columns = np.zeros((len(words), -(-size // BLOCK) * BLOCK), np.float32)
    for row, word in enumerate(words):
        for at in range(starts[word], starts[word + 1]):
            columns[row, documents[at]] += impacts[at]
    return columns


def with_impacts(counts: Counts, weights: np.ndarray, norms: np.ndarray) -> Postings:
    """What a search reads, of words that weigh `weights` (W,) and documents whose k1 * (1 - b + b * |d| / average)
    is `norms` (N,), both float64: an impact is weight * tf / (tf + norm)."""
    return with_columns(counts, all_impacts(*counts[:3], weights, norms))


def with_columns(counts: Counts, impacts: np.ndarray) -> Postings:
    """The postings with a column for each word that 1 in DENSE of the documents has; of impacts in a small index."""
    starts, documents, size = counts.starts, counts.documents, len(counts.lengths)
    most = _highest(starts, impacts)
    words = np.flatnonzero((np.diff(starts) * DENSE >= size) & (most > 0))
    column_of = np.full(len(most), -1, np.int32)
    column_of[words] = np.arange(len(words))
    units = most[words] / np.float32(LEVELS)
    if size <= SMALL:
        columns = impact_columns(words, starts, documents, impacts, size)
        return Postings(
            starts, documents, impacts, most, column_of, columns, units, np.empty((0, 0), np.uint32)
        )
    columns, before = _fill_columns(words, starts, documents, impacts, units, size)
    return Postings(starts, documents, impacts, most, column_of, columns, units, before)


@njit(cache=True)
def add_query(words, starts, documents, impacts, scores, seen, mark, touched):
    """Add the postings of `words` into scores (N,); returns how many documents `touched` lists."""
    count = 0
    for word in words:
        # Unsigned numbers spare the check for negative indices, a third of the time of this loop.
        for at in range(np.uint64(starts[word]), np.uint64(starts[word + 1])):
            document = documents[at]
            if seen[document] != mark:
                seen[document] = mark
                scores[document] = impacts[at]
                touched[np.uint64(count)] = document
                count += 1
            else:
                scores[document] += impacts[at]
    return count


def rare_first(words: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The words (numbers) in the order in which their impacts are added up: those that few documents have first,
    equally rare ones as they stand. The last bit of a sum of floats depends on it."""
    return words[np.argsort(starts[words + 1] - starts[words], kind="stable")]


def add_all(words: np.ndarray, postings: Postings, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The score of every document, (size,) float32, and which documents have one of the words, ascending."""
    scores, seen, touched = np.zeros(size, np.float32), np.zeros(size, np.int32), np.empty(size, np.uint32)
    count = add_query(words, *postings[:3], scores, seen, 1, touched)
    return scores, np.sort(touched[:count]).astype(np.int64)


def search_simply(words: np.ndarray, postings: Postings, size: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best k documents for the words and their scores, best first, equal scores in the order of the documents;
    fewer where fewer have a word."""
    scores, found = add_all(rare_first(words, postings.starts), postings, size)
    best = found[np.argsort(-scores[found], kind="stable")[:k]]
    return best, scores[best]
