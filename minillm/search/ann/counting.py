"""How many distances a search measures: what it costs, in a number that is the same on every machine.

    walk       layers above 0: the neighbours of every node on the way;  layer 0: each node that the walk meets, once
    no walk    (a filter that lets few pass, or k so large): every vector that may be found
    codes      those of the walk are measured on bytes, and what it kept is measured again on vectors

The walks are taken again, with the search's own steps, and counted; the search itself stays as it is. A walk waits for
memory about as often as it measures, so for one machine and one width the count is nearly in proportion to the time.

Book: 12.3 (HNSW 인덱스의 핵심 파라미터 이해하기). Peer: faiss.cvar.hnsw_stats.ndis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from minillm._checks import check_int, describe
from minillm.search.ann.gaps import NO_KEY, gap, make_key, row_of
from minillm.search.ann.graph_search import search_layer
from minillm.search.ann.hnsw import EF_SEARCH, HNSWIndex
from minillm.search.ann.query import allowed_slots, is_walked, room_for, walk
from minillm.search.ann.results import fixed_filter
from minillm.search.ann.twins import spread_to_nodes
from minillm.search.ann.vectors import prepare

CALLED = "6c9962cf"


@njit(cache=True, nogil=True)
def count_descent(graph, query, entry, top):
    """Where a query comes down on layer 0, and how many distances it took."""
    node, count = np.int64(entry), 0
    for layer in range(top, 0, -1):
        best, before = make_key(gap(graph.metric, query, graph.rows, node), node), np.int64(-1)
        count += 1
        while row_of(best) != before:
            before = row_of(best)
            for other in graph.upper[graph.upper_at[before] + layer - 1]:
                if other < 0:
                    break
                best = min(best, make_key(gap(graph.metric, query, graph.rows, other), other))
                count += 1
        node = row_of(best)
    return node, count


@njit(cache=True, nogil=True)
def count_walks(graph, queries, entry, top, ef, room, passing, counts):
    """Write (above, on layer 0, kept in the beam) into counts (Q, 3): distances, distances, nodes that may be found."""
    width = graph.links.shape[1]
    beam, found = np.empty(room + width, np.uint64), np.empty(width, np.uint64)
    fresh, visited = np.empty(width + 1, np.int32), np.empty((len(graph.rows) + 63) >> 6, np.uint64)
    for q in range(len(queries)):
        node, counts[q, 0] = count_descent(graph, queries[q], entry, top)
        beam[0] = make_key(gap(graph.metric, queries[q], graph.rows, node), node)
        filled = search_layer(graph, 0, queries[q], beam, 1, ef, room, passing, visited, fresh, found)
        for word in visited:  # a bit for each node that was measured
            while word:
                word &= word - np.uint64(1)
                counts[q, 1] += 1
        for i in range(filled):
            counts[q, 2] += len(passing) == 0 or passing[row_of(beam[i])]


def count_distances(
    index: HNSWIndex, queries: Any, k: int = 10, ef_search: int | None = None, filter: Any = None
) -> np.ndarray:
    """The distances that index.search(queries, k, ef_search, filter) measures for each query (Q, D): int64 (Q,).

    Raises ValueError as the search does, and for an index without a graph.
    """
    if not isinstance(index, HNSWIndex):
        raise ValueError(f"index must be an HNSWIndex or an NSWIndex, got {describe(index)}")
    queries, k = prepare("queries", queries, index.dim, index.metric), check_int("k", k, minimum=1)
    ef = check_int("ef_search", EF_SEARCH if ef_search is None else ef_search, minimum=1, maximum=2**31)
    filter = fixed_filter(filter, index._living_ids)
    with index._lock.shared():
        slots = index._slots
        allowed = allowed_slots(slots, filter)
        count = len(slots) if allowed is None else int(allowed.sum())
        if (
            not count
            or not len(queries)
            or not is_walked(slots, min(k, count), ef, filter, count, len(queries))
        ):
            return np.full(len(queries), count, np.int64)
        width = min(k, count)
        short = walk(slots, queries, width, max(ef, width), allowed, count, 1)[:, -1] == NO_KEY
        ef = min(max(ef, width), slots.nodes)
        room, passing = ef, np.empty(0, bool)
        if allowed is not None:
            room, passing = room_for(slots, ef, count), np.empty(len(allowed), bool)
            spread_to_nodes(slots.twin, slots.state[: slots.size], allowed, passing)
        asked = queries if slots.scale is None else slots.scale.encode_queries(queries)
        counts = np.zeros((len(queries), 3), np.int64)
        count_walks(slots.graph(), asked, slots.entry, slots.top, ef, room, passing, counts)
    again = counts[:, 2] if slots.scale is not None else 0
    return counts[:, 0] + counts[:, 1] + again + np.where(short, count, 0)
