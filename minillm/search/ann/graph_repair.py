"""What keeps a graph whole: mending it where nodes are gone, and linking nodes that no walk reaches.

    mend     a node that has links to dead ones takes their neighbours in their place, and chooses anew among all it has
    lonely   a new node may be turned down by every node it chose: nothing leads to it
    attach   give it a link from the nearest node that a walk finds: a free place there, or between that node w and the
             last of its links e, w -> e becomes w -> node -> e, so that nobody loses the way
    connect  the same for all that cannot be reached from the entry, by a flood over layer 0

Without them removed rows make others unreachable, and so do many rows that are nearly the same.

Literature: Singh et al. 2021 (FreshDiskANN), the consolidation of deletes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from minillm.search.ann.gaps import as_query, gap, make_key, row_of
from minillm.search.ann.graph_build import select
from minillm.search.ann.graph_search import search_layer
from minillm.search.ann.prefetch import prefetch_row

CALLED = "91cd2997"
LIVE, DEAD = 1, 3  # as in slots.py


@njit(cache=True, nogil=True)
def mend(graph, levels, state, first, last, query, keep_pruned, thin):
    """Choose the links of nodes first:last anew where some lead to DEAD nodes; writes into thin (N,) which are left
    with less than half of the links they had on layer 0."""
    nodes = np.empty(graph.links.shape[1] * (1 + graph.links.shape[1]), np.int32)
    for node in range(first, last):
        for layer in range(levels[node] + 1 if state[node] == LIVE else 0):
            table = graph.links if layer == 0 else graph.upper
            row = table[node if layer == 0 else graph.upper_at[node] + layer - 1]
            many = had = dead = 0
            for other in row:
                if other < 0:
                    break
                had += 1
                if state[other] != DEAD:
                    nodes[many] = other
                    many += 1
                    continue
                dead += 1
                for far in table[other if layer == 0 else graph.upper_at[other] + layer - 1]:
                    if far < 0:
                        break
                    if state[far] == LIVE and far != node:
                        nodes[many] = far
                        many += 1
            if dead == 0:
                continue
            as_query(graph.metric, graph.rows, node, query)
            nodes[:many].sort()
            keys, count = np.empty(many, np.uint64), 0
            for i in range(many):
                if i + 2 < many:
                    prefetch_row(graph.rows, nodes[i + 2])
                if i == 0 or nodes[i] != nodes[i - 1]:
                    keys[count] = make_key(gap(graph.metric, query, graph.rows, nodes[i]), nodes[i])
                    count += 1
            keys[:count].sort()
            select(graph, keys, count, len(row), keep_pruned, row)
            if layer == 0:
                thin[node] = 2 * count < had


@njit(cache=True, nogil=True)
def lonely(graph, nodes):
    """Which of nodes, just placed, none of the nodes they chose links to on layer 0."""
    alone = np.ones(len(nodes), np.bool_)
    for i in range(len(nodes)):
        for other in graph.links[nodes[i]]:
            if other < 0:
                break
            for back in graph.links[other]:
                if back == nodes[i]:
                    alone[i] = False
    return nodes[alone]


@njit(cache=True, nogil=True)
def attach(graph, entry, nodes, ef, query):
    """Lead a link to each of nodes that a walk from the entry does not find."""
    width = graph.links.shape[1]
    beam, found = np.empty(ef + width, np.uint64), np.empty(width, np.uint64)
    fresh, nothing = np.empty(width + 1, np.int32), np.empty(0, np.bool_)
    visited = np.empty((len(graph.rows) + 63) >> 6, np.uint64)
    for node in nodes:
        if node == entry:
            continue
        as_query(graph.metric, graph.rows, node, query)
        beam[0] = make_key(gap(graph.metric, query, graph.rows, entry), entry)
        filled = search_layer(graph, 0, query, beam, 1, ef, ef, nothing, visited, fresh, found)
        there = False
        for i in range(filled):
            there |= row_of(beam[i]) == node
        if not there:
            _lead_to(graph.links, node, beam[: min(filled, width)])


@njit(cache=True, nogil=True)
def _lead_to(links, node, keys):
    last = links.shape[1] - 1
    for key in keys:
        near = row_of(key)
        if links[near, last] < 0:
            at = last
            while at > 0 and links[near, at - 1] < 0:
                at -= 1
            links[near, at] = node
            return
    near = row_of(keys[0])
    moved = links[near, last]
    links[near, last] = node
    at = 0
    while at < last and links[node, at] >= 0 and links[node, at] != moved:
        at += 1
    links[node, at] = moved


@njit(cache=True, nogil=True)
def flood(links, start, reached, queue):
    """Mark all nodes that links lead to from `start`, on layer 0."""
    reached[start] = True
    queue[0] = start
    at, end = 0, 1
    while at < end:
        for other in links[queue[at]]:
            if other < 0:
                break
            if not reached[other]:
                reached[other] = True
                queue[end] = other
                end += 1
        at += 1


@njit(cache=True, nogil=True)
def connect(graph, state, entry, ef, query):
    """Attach every LIVE node that the entry does not lead to; returns how many there were."""
    reached, queue = np.zeros(len(state), np.bool_), np.empty(len(state) + 1, np.int32)
    flood(graph.links, entry, reached, queue)
    count = 0
    for node in range(len(state)):
        if state[node] == LIVE and not reached[node]:
            attach(graph, entry, np.full(1, node, np.int64), ef, query)
            flood(graph.links, node, reached, queue)
            count += 1
    return count
