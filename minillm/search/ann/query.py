"""From queries to results: walk on the graph, or look at all rows where that is less work or finds more.

    no filter, or one that lets many pass             a walk; a bitmap says which nodes count
    a filter that lets few pass, or k so large        all that pass are looked at
    a walk that found fewer than k                    the same, for these queries alone

Queries of a batch are answered in the order of where they come down on the upper layers: two that come down together
walk over the same rows, which are then still in the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.search.ann.gaps import NO_KEY
from minillm.search.ann.graph_search import descend, search_batch
from minillm.search.ann.results import as_result, is_selective
from minillm.search.ann.scan import nearest
from minillm.search.ann.slots import Slots
from minillm.search.ann.threads import in_parts
from minillm.search.ann.twins import spread_to_nodes
from minillm.search.ann.vectors import metric_number
from minillm.search.exact import allowed_rows

LARGE = 4  # k times this is more than there are: looking at all is less work
SPARE = 2  # times as many keys as it should take to find ef that pass


def find(
    slots: Slots, queries: np.ndarray, k: int, ef: int, filter: Any, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """ids (Q, k) and distances (Q, k)."""
    allowed = allowed_slots(slots, filter)
    count = len(slots) if allowed is None else int(allowed.sum())
    width = min(k, count)
    keys = np.full((len(queries), k), NO_KEY)
    if width and len(queries):
        rest = np.arange(len(queries))
        if is_walked(slots, width, ef, filter, count, len(queries)):
            keys[:, :width] = walk(slots, queries, width, max(ef, width), allowed, count, threads)
            rest = np.flatnonzero(keys[:, width - 1] == NO_KEY)
        if len(rest):
            places = np.flatnonzero(slots.living() if allowed is None else allowed)
            metric = metric_number(slots.metric)
            keys[rest, :width] = nearest(metric, slots.vectors, places, queries[rest], width, threads)
    return as_result(keys, slots.ids[: slots.size], slots.metric)


def allowed_slots(slots: Slots, filter: Any) -> np.ndarray | None:
    """Which slots may be found, bool (size,); None: all nodes."""
    if filter is None and not slots.dead:
        return None
    living = slots.living()
    return living if filter is None else living & allowed_rows(slots.ids[: slots.size], filter)


def is_walked(slots: Slots, k: int, ef: int, filter: Any, count: int, asked: int) -> bool:
    """Whether `asked` queries for k of `count` slots that may be found walk; else all of these are looked at."""
    few = filter is not None and is_selective(count, len(slots), max(ef, k), asked)
    return slots.entry >= 0 and not few and LARGE * k <= count


def room_for(slots: Slots, ef: int, count: int) -> int:
    """How many keys a walk keeps so that ef of them may be found, where `count` slots may."""
    return max(ef, min(slots.nodes, max(4 * ef, SPARE * ef * len(slots) // max(count, 1))))


def walk(
    slots: Slots, queries: np.ndarray, k: int, ef: int, allowed: np.ndarray | None, count: int, threads: int
) -> np.ndarray:
    """Keys (Q, k) of what walks find. allowed: (size,) bool, which slots may be found, `count` of them; None: all."""
    graph = slots.graph()
    asked = queries if slots.scale is None else slots.scale.encode_queries(queries)
    ef = min(ef, slots.nodes)
    room, passing = ef, np.empty(0, bool)
    if allowed is None:
        allowed = passing
    else:
        room = room_for(slots, ef, count)
        passing = allowed
        if slots.twins:
            passing = np.empty(len(allowed), bool)
            spread_to_nodes(slots.twin, slots.state[: slots.size], allowed, passing)
    starts = np.full((len(queries), 2), slots.entry)
    result = np.full((len(queries), k), NO_KEY)

    def work(first: int, last: int) -> None:
        descend(graph, asked, slots.entry, slots.top, first, last, starts)
        order = first + np.lexsort((starts[first:last, 1], starts[first:last, 0]))
        search_batch(
            graph, asked, order, starts, ef, room, passing, allowed, slots.twin, slots.vectors, queries,
            metric_number(slots.metric), result,
        )  # fmt: skip

    in_parts(work, len(queries), threads)
    return result
