"""Walking on the graph, compiled: the plain search of hnsw_plain.py with one sorted array in place of two heaps.

    beam = [key, key, ...]    the nearest nodes so far, ascending; key = distance | node | done (gaps.py)

    1. take the first key that is not done, and mark it
    2. measure its neighbours that were not seen yet; those that are nearer than the last of a full beam are sorted
    3. merge them into the beam in one pass from its end, and cut the beam at ef;  again from 1 until all are done

It finds what the heaps find: a candidate that the beam has dropped could only have ended the search. The time goes into
waiting for memory, so the rows of neighbours, and the links of the node that comes next, are asked for before they are
needed. Where only some nodes may be found (a filter, removed nodes) all are walked on, and the beam is cut behind the
ef-th that may.

Book: 12.2.4 (HNSW). Paper: Malkov & Yashunin 2016, algorithms 2 and 5. Peer: hnswlib.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from minillm.search.ann.gaps import NO_KEY, ONE, gap, gap_of, make_key, row_of
from minillm.search.ann.prefetch import BARE, LINE, prefetch, prefetch_row

CALLED = "af880c09"
AHEAD = 8  # rows that are on their way while one is measured
UNDONE = np.uint64(0xFFFFFFFFFFFFFFFE)


class Graph(NamedTuple):
    """What a walk reads. Rows of links end with -1 where they are not full."""

    rows: np.ndarray  # (N, D): what distances are measured on, float32 vectors or uint8 codes
    links: np.ndarray  # (N, 2 M) int32: a node's neighbours on layer 0
    upper: np.ndarray  # (U, M) int32: those on the layers above
    upper_at: np.ndarray  # (N,) int32: where a node's layer 1 is in `upper`; its layer 2 is the next row
    metric: int  # L2 or DOT


@njit(**BARE)
def greedy(graph, query, node, layer):
    """Algorithm 2 with ef = 1 on an upper layer: go to the nearest neighbour until none is nearer."""
    rows, upper, upper_at, metric = graph.rows, graph.upper, graph.upper_at, graph.metric
    best = make_key(gap(metric, query, rows, node), node)
    while True:
        before, row = best, upper_at[row_of(best)] + layer - 1
        for j in range(upper.shape[1]):
            other = upper[row, j]
            if other < 0:
                break
            best = min(best, make_key(gap(metric, query, rows, other), other))
        if best == before:
            return row_of(best)


@njit(**BARE)
def prefetch_links(table, row):
    """Ask for a row of links."""
    for byte in range(0, table.shape[1] * 4, LINE):
        prefetch(table, row, byte)


@njit(**BARE)
def merge(beam, filled, found, new):
    """Merge found[:new] into beam[:filled], both ascending; returns where the first of them went."""
    i, j, at = filled - 1, new - 1, filled + new - 1
    while j >= 0:
        if i >= 0 and beam[i] > found[j]:
            beam[at] = beam[i]
            i -= 1
        else:
            beam[at] = found[j]
            j -= 1
        at -= 1
    return at + 1


@njit(**BARE)
def look_at_neighbours(metric, rows, table, row, query, limit, visited, fresh, found):
    """Write the keys below `limit` of the neighbours in table[row] that were not visited into found, ascending; returns
    how many."""
    count = 0
    for j in range(table.shape[1]):
        other = table[row, j]
        if other < 0:
            break
        word, bit = other >> 6, ONE << np.uint64(other & 63)
        # Written in any case and kept only if it is new: no branch foresees which.
        fresh[count] = other
        count += (visited[word] & bit) == 0
        visited[word] |= bit
    for i in range(min(count, AHEAD)):
        prefetch_row(rows, fresh[i])
    new = 0
    for i in range(count):
        if i + AHEAD < count:
            prefetch_row(rows, fresh[i + AHEAD])
        key = make_key(gap(metric, query, rows, fresh[i]), fresh[i])
        if key < limit:
            at = new
            while at > 0 and found[at - 1] > key:
                found[at] = found[at - 1]
                at -= 1
            found[at] = key
            new += 1
    return new


@njit(**BARE)
def search_layer(graph, layer, query, beam, filled, ef, room, passing, visited, fresh, found):
    """Algorithm 2 from the undone keys beam[:filled]; returns how many keys the beam holds at the end.

    passing: (N,) bool, which nodes count for ef, or empty: all; then at most `room` keys are kept. visited: (N / 64,)
    uint64; fresh, found: a row of links wide; beam: room + such a row.
    """
    # Taken out of the tuple once: each look into it counts a reference, which costs as much as a distance.
    rows, upper_at, metric = graph.rows, graph.upper_at, graph.metric
    table = graph.links if layer == 0 else graph.upper
    some = len(passing) > 0
    visited[:] = 0
    inside = 0  # of the nodes in the beam, those that count
    for i in range(filled):
        node = row_of(beam[i])
        visited[node >> 6] |= ONE << np.uint64(node & 63)
        inside += some and passing[node]
    at = 0
    while True:
        while at < filled and beam[at] & ONE:
            at += 1
        if at >= filled:
            return filled
        node = row_of(beam[at])
        beam[at] |= ONE
        if at + 1 < filled and layer == 0:
            prefetch_links(table, row_of(beam[at + 1]))
        full = (inside >= ef or filled >= room) if some else filled >= ef
        limit = beam[filled - 1] if full else NO_KEY
        row = node if layer == 0 else upper_at[node] + layer - 1
        new = look_at_neighbours(metric, rows, table, row, query, limit, visited, fresh, found)
        if new == 0:
            continue
        at = min(at, merge(beam, filled, found, new))
        filled += new
        if not some:
            filled = min(filled, ef)
            continue
        for i in range(new):
            inside += passing[row_of(found[i])]
        while filled > room or inside > ef:
            filled -= 1
            inside -= passing[row_of(beam[filled])]
        while inside == ef and not passing[row_of(beam[filled - 1])]:
            filled -= 1


@njit(cache=True, nogil=True)
def descend(graph, queries, entry, top, first, last, starts):
    """Write where queries first:last come down on layer 2 and on layer 1 into starts (Q, 2)."""
    for q in range(first, last):
        node = np.int64(entry)
        for layer in range(top, 0, -1):
            starts[q, 0] = node
            node = greedy(graph, queries[q], node, layer)
        starts[q, 1] = node


@njit(cache=True, nogil=True)
def give_out(keys, filled, k, twin, allowed, result):
    """Write the first k ids' keys into result: a node's own, then those of its twins, which have the same vector."""
    count = 0
    for i in range(filled):
        bits, slot = gap_of(keys[i]), row_of(keys[i])
        while slot >= 0:
            if count == k:
                return
            if len(allowed) == 0 or allowed[slot]:
                result[count] = make_key(bits, slot)
                count += 1
            slot = np.int64(twin[slot])


@njit(cache=True, nogil=True)
def search_batch(
    graph, queries, order, starts, ef, room, passing, allowed, twin, vectors, sharp, metric, result
):
    """Write the keys of the nearest ids of queries[order], each from the node `starts` says, into result (Q, k).

    allowed: (N,) bool or empty, which slots may be found; passing: which nodes have one of these. Where the graph's
    rows are codes, the beam is put in order by vectors, sharp and metric: what the codes stand for.
    """
    rows, near = graph.rows, graph.metric
    width, exact = graph.links.shape[1], rows.itemsize == 4
    beam, found = np.empty(room + width, np.uint64), np.empty(width, np.uint64)
    fresh = np.empty(width + 1, np.int32)
    visited = np.empty((len(rows) + 63) >> 6, np.uint64)
    for q in order:
        query, start = queries[q], starts[q, 1]
        beam[0] = make_key(gap(near, query, rows, start), start)
        filled = search_layer(graph, 0, query, beam, 1, ef, room, passing, visited, fresh, found)
        many = 0
        for i in range(filled):
            key = beam[i] & UNDONE
            if len(passing) == 0 or passing[row_of(key)]:
                beam[many] = key
                many += 1
        if not exact:
            for i in range(min(many, AHEAD)):
                prefetch_row(vectors, row_of(beam[i]))
            for i in range(many):
                if i + AHEAD < many:
                    prefetch_row(vectors, row_of(beam[i + AHEAD]))
                node = row_of(beam[i])
                beam[i] = make_key(gap(metric, sharp[q], vectors, node), node)
            beam[:many].sort()
        give_out(beam, many, result.shape[1], twin, allowed, result[q])
