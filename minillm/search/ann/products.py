"""Many queries against one list of rows: a matrix product proposes, the distances themselves decide.

    |q - x|^2 <= d    <=>    q.x - |x|^2 / 2  >=  (|q|^2 - d) / 2

The left side is one product for all queries and rows of a list, made from blocks that stay in the cache; the right side
is one number a query, with a margin for rounding. What passes is measured as everywhere else: the keys are those of
scan.py, to the last bit. With one query a list it is slower than measuring at once.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from minillm.search.ann.gaps import DOT, L2, NO_KEY, gap, gap_of, make_key, sum_of_bits
from minillm.search.ann.prefetch import BARE
from minillm.search.ann.scan import keep_lowest
from minillm.search.exact import row_lengths

CALLED = "f924fb6b"
ROWS = 512  # of a list at a time
WORTH = 5000  # pairs of a query and a row in a list, on average: from here on a product is faster than its own cost


def scan_products(
    metric: int,
    rows: np.ndarray,
    starts: np.ndarray,
    queries: np.ndarray,
    who: np.ndarray,
    bounds: np.ndarray,
    keys: np.ndarray,
) -> None:
    """`scan.scan_groups` for rows[starts[g] : starts[g + 1]], all of them, where many queries ask for the same list.

    Codes are multiplied as float32, which holds whole numbers up to 2^24: with 258 dimensions or fewer nothing is
    rounded.
    """
    numbers = queries.astype(np.float32, copy=False)
    centre = np.float32(128 if metric == DOT and rows.itemsize == 1 else 0)
    own = row_lengths(numbers)
    for g in np.flatnonzero(np.diff(bounds)):
        asking = who[bounds[g] : bounds[g + 1]]
        asked = numbers[asking]
        for first in range(starts[g], starts[g + 1], ROWS):
            part = rows[first : min(first + ROWS, starts[g + 1])]
            if part.itemsize == 1:
                part = part.astype(np.float32) - centre
            lengths = row_lengths(part)
            # of a sum of D products, of the sum that `gap` makes, and of a few more roundings
            margin = (len(part[0]) + 8) * 2.0**-23 * (own[asking] + lengths.max()) ** 2 + 2.0**-120
            halves = (lengths**2 / 2 if metric == L2 else np.zeros(len(part))).astype(np.float32)
            constant = (own[asking] ** 2 / 2 if metric == L2 else 0.0) - margin
            decide(metric, rows, first, asked @ part.T, halves, constant, queries, asking, keys)


@njit(**BARE)
def lowest_product(metric, coded, key, constant):
    """The q.x - |x|^2 / 2 from which a row may be below a key."""
    if key == NO_KEY:
        return np.float32(-np.inf)
    bits = gap_of(key)
    distance = np.float64(bits) - 2.0**31 if coded else np.float64(sum_of_bits(bits))
    return np.float32(constant - (distance if metric == DOT else distance / 2))


@njit(**BARE)
def decide(metric, rows, first, products, halves, constant, queries, who, keys):
    """Measure the rows that products (A, R) propose to the queries numbered `who`; rows[first] is the first of them."""
    last, coded = keys.shape[1] - 1, rows.itemsize == 1
    for a in range(len(who)):
        query, lowest = queries[who[a]], keys[who[a]]
        least = lowest_product(metric, coded, lowest[last], constant[a])
        for i in range(products.shape[1]):
            if products[a, i] - halves[i] >= least:
                key = make_key(gap(metric, query, rows, first + i), first + i)
                if key < lowest[last]:
                    keep_lowest(lowest, key)
                    least = lowest_product(metric, coded, lowest[last], constant[a])


@njit(cache=True, nogil=True)
def nearest_lists(table, count):
    """The `count` smallest of each row of table (Q, L) float32, (Q, count) int64, nearest first."""
    found = np.empty((len(table), count), np.int64)
    best = np.empty(count, np.float32)
    for q in range(len(table)):
        best[:] = np.inf
        filled = 0
        for place in range(table.shape[1]):
            value = table[q, place]
            if filled == count and value >= best[count - 1]:
                continue
            at = min(filled, count - 1)
            while at > 0 and best[at - 1] > value:
                best[at], found[q, at] = best[at - 1], found[q, at - 1]
                at -= 1
            best[at], found[q, at] = value, place
            filled = min(filled + 1, count)
    return found
