"""The k nearest of some rows, by looking at all of them: what IVF does inside its lists, and a filter that lets few
pass.

    for each block of rows that fits the nearest cache:
        for each query that asks for this block:
            keep its k lowest keys (distance, row), in order, by insertion: nearly every row fails the first comparison

The rows of a block are read from memory once for all queries of a batch, which is where the speed comes from.

Book: 12.2.1 KNN 검색과 그 한계. The exact answer to the last bit is ExactIndex's; these sums are float32's.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from minillm.search.ann.gaps import NO_KEY, gap, make_key, row_of
from minillm.search.ann.prefetch import BARE, prefetch_row
from minillm.search.ann.threads import in_parts

CALLED = "af880c09"
BLOCK_BYTES = 16384  # of rows that are looked at together
LONG = 1024  # results longer than this are sorted, not inserted


@njit(**BARE)
def keep_lowest(keys, key):
    """Put a key that is below the last one into keys (k,), ascending."""
    at = len(keys) - 1
    while at > 0 and keys[at - 1] > key:
        keys[at] = keys[at - 1]
        at -= 1
    keys[at] = key


@njit(**BARE)
def scan(metric, rows, places, queries, who, keys):
    """Put rows[places] among the lowest keys (Q, k) of the queries numbered `who`."""
    block = max(1, BLOCK_BYTES // (rows.shape[1] * rows.itemsize))
    last = keys.shape[1] - 1
    for first in range(0, len(places), block):
        end = min(first + block, len(places))
        for i in range(first, end):
            prefetch_row(rows, places[i])
        for q in who:
            query, lowest = queries[q], keys[q]
            worst = lowest[last]
            for i in range(first, end):
                row = np.uint64(places[i])
                key = make_key(gap(metric, query, rows, row), row)
                if key < worst:
                    keep_lowest(lowest, key)
                    worst = lowest[last]


@njit(cache=True, nogil=True)
def scan_groups(metric, rows, places, starts, queries, who, bounds, keys):
    """`scan` for groups: rows places[starts[g] : starts[g + 1]] for queries who[bounds[g] : bounds[g + 1]]."""
    for g in range(len(starts) - 1):
        if bounds[g] < bounds[g + 1]:
            scan(
                metric, rows, places[starts[g] : starts[g + 1]], queries, who[bounds[g] : bounds[g + 1]], keys
            )


@njit(cache=True, nogil=True)
def all_keys(metric, rows, places, query, keys):
    """The key of each of rows[places], into keys."""
    for i in range(len(places)):
        keys[i] = make_key(gap(metric, query, rows, places[i]), places[i])


@njit(cache=True, nogil=True)
def order_again(metric, vectors, queries, candidates, keys):
    """The lowest keys (Q, k) by the vectors themselves of the rows in the keys `candidates` (Q, C), made of codes."""
    last = keys.shape[1] - 1
    for q in range(len(queries)):
        for candidate in candidates[q]:
            if candidate != NO_KEY:
                row = row_of(candidate)
                key = make_key(gap(metric, queries[q], vectors, row), row)
                if key < keys[q, last]:
                    keep_lowest(keys[q], key)


def nearest(
    metric: int, rows: np.ndarray, places: np.ndarray, queries: np.ndarray, k: int, threads: int = 1
) -> np.ndarray:
    """Keys (Q, k) of the k nearest of rows[places] to each query, ascending, NO_KEY where there are fewer."""
    keys = np.full((len(queries), k), NO_KEY)
    places = np.ascontiguousarray(places, np.int64)
    if k <= LONG:

        def work(first: int, last: int) -> None:
            scan(metric, rows, places, queries, np.arange(first, last), keys)

        in_parts(work, len(queries), threads)
        return keys
    every = np.empty(len(places), np.uint64)
    for q in range(len(queries)):
        all_keys(metric, rows, places, queries[q], every)
        keys[q, : min(k, len(every))] = np.sort(every)[:k]
    return keys
