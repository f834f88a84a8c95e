"""Growing the graph, compiled: algorithms 1 and 4 of the paper, for a batch of nodes at a time.

    place      each new node searches the graph as it was before the batch, and chooses its neighbours among what it
               finds and among its mates, the other nodes of the batch; it writes only its own rows of links
    link_back  links go both ways: those to the same node are added together, and where they are too many, chosen anew

So no node waits for another, any number of threads builds the same graph, and a node that gets three links chooses once
instead of three times. A batch of one is algorithm 1 to the letter. The search does not see the mates, which would be
the nearest of all where a whole new cluster comes in one batch: they are measured one by one.

Paper: Malkov & Yashunin 2016. Peer: hnswlib's addPoint.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from minillm.search.ann.gaps import as_query, between, gap, gap_of, make_key, row_of
from minillm.search.ann.graph_search import UNDONE, greedy, merge, search_layer
from minillm.search.ann.prefetch import BARE, prefetch_row
from minillm.search.ann.scan import keep_lowest

CALLED = "5346ca95"


@njit(**BARE)
def select(graph, keys, count, m, keep_pruned, row):
    """Algorithm 4: write up to m of the nodes in keys[:count], ascending, into a row of links.

    e is kept if d(e, q) < d(e, r) for every r kept before; if keep_pruned, the nearest of the others fill the row.
    """
    rows, metric = graph.rows, graph.metric
    kept = pruned = 0
    for i in range(count):
        if kept == m:
            break
        if i + 1 < count:
            prefetch_row(rows, row_of(keys[i + 1]))
        node, bits, closest = row_of(keys[i]), gap_of(keys[i]), True
        for r in range(kept):
            if between(metric, rows, node, row[r]) <= bits:
                closest = False
                break
        if closest:
            row[kept] = node
            kept += 1
        else:
            keys[pruned] = keys[i]  # to the front, where no key is read any more
            pruned += 1
    for i in range(pruned if keep_pruned else 0):
        if kept == m:
            break
        row[kept] = row_of(keys[i])
        kept += 1
    row[kept:] = -1


@njit(cache=True, nogil=True)
def extended(graph, layer, query, keys, count, visited):
    """Algorithm 4's extendCandidates: keys[:count] and the neighbours of their nodes, ascending."""
    table = graph.links if layer == 0 else graph.upper
    every = np.empty(count * (1 + table.shape[1]), np.uint64)
    visited[:] = 0
    for i in range(count):
        node = row_of(keys[i])
        visited[node >> 6] |= np.uint64(1) << np.uint64(node & 63)
    every[:count] = keys[:count]
    many = count
    for i in range(count):
        node = row_of(keys[i])
        for other in table[node if layer == 0 else graph.upper_at[node] + layer - 1]:
            if other < 0:
                break
            word, bit = other >> 6, np.uint64(1) << np.uint64(other & 63)
            if visited[word] & bit == 0:
                visited[word] |= bit
                every[many] = make_key(gap(graph.metric, query, graph.rows, other), other)
                many += 1
    every[:many].sort()
    return every[:many]


@njit(**BARE)
def near_mates(graph, levels, mates, node, layer, query, keys):
    """Write the keys of the nearest mates of a node on a layer into keys, ascending; returns how many."""
    keys[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
    rows, metric, count = graph.rows, graph.metric, 0
    for mate in mates:
        if mate != node and levels[mate] >= layer:
            key = make_key(gap(metric, query, rows, mate), mate)
            if key < keys[-1]:
                keep_lowest(keys, key)
            count += 1
    return min(count, len(keys))


@njit(cache=True, nogil=True)
def come_down(graph, nodes, entry, top, query, starts):
    """Write where nodes come down on layer 2 and on layer 1 into starts (N, 2), as graph_search.descend."""
    for i in range(len(nodes)):
        as_query(graph.metric, graph.rows, nodes[i], query)
        start = np.int64(entry)
        for layer in range(top, 0, -1):
            starts[i, 0] = start
            start = greedy(graph, query, start, layer)
        starts[i, 1] = start


@njit(cache=True, nogil=True)
def place(
    graph, levels, mates, first, last, query, entry, top, ef, keep_pruned, extend_candidates, mates_too
):
    """Write the links of nodes mates[first:last]. query: (D,) to work in; entry: -1 in an empty graph.

    A node that is in the graph already is placed anew. mates_too: whether mates are not yet in the graph.
    """
    width, m = graph.links.shape[1], graph.upper.shape[1]
    nothing = np.empty(0, np.bool_)
    beam = np.empty(ef + 2 * width, np.uint64)
    pool = np.empty((ef * (1 + width) if extend_candidates else ef) + 2 * width, np.uint64)
    found, near = np.empty(width, np.uint64), np.empty(width, np.uint64)
    fresh = np.empty(width + 1, np.int32)
    visited = np.empty((len(graph.rows) + 63) >> 6, np.uint64)
    for node in mates[first:last]:
        as_query(graph.metric, graph.rows, node, query)
        level, start, filled = np.int64(levels[node]), np.int64(entry), 0
        for layer in range(top, level, -1):
            start = greedy(graph, query, start, layer)
        if start >= 0:
            beam[0], filled = make_key(gap(graph.metric, query, graph.rows, start), start), 1
        for layer in range(level, -1, -1):
            many = 0
            if layer <= top and filled > 0:
                for i in range(filled):
                    beam[i] &= UNDONE
                filled = search_layer(
                    graph, layer, query, beam, filled, ef, ef, nothing, visited, fresh, found
                )
                for i in range(filled):
                    if row_of(beam[i]) != node:
                        pool[many] = beam[i] & UNDONE
                        many += 1
            if extend_candidates:  # before the mates come in: other threads are writing their links
                every = extended(graph, layer, query, pool, many, visited)
                many = len(every)
                pool[:many] = every
            if mates_too and len(mates) > 1:
                new = near_mates(graph, levels, mates, node, layer, query, near)
                merge(pool, many, near, new)
                many += new
            table = graph.links if layer == 0 else graph.upper
            row = table[node if layer == 0 else graph.upper_at[node] + layer - 1]
            select(graph, pool, many, m, keep_pruned, row)


@njit(cache=True, nogil=True)
def links_of(graph, levels, nodes, layer):
    """Every link that nodes have on a layer, as target << 32 | source; sorted, they lie by target."""
    table = graph.links if layer == 0 else graph.upper
    pairs = np.empty(len(nodes) * table.shape[1], np.uint64)
    count = 0
    for node in nodes:
        if levels[node] >= layer:
            for other in table[node if layer == 0 else graph.upper_at[node] + layer - 1]:
                if other < 0:
                    break
                pairs[count] = (np.uint64(other) << np.uint64(32)) | np.uint64(node)
                count += 1
    return pairs[:count]


@njit(cache=True, nogil=True)
def link_back(graph, layer, pairs, bounds, first, last, query, keep_pruned):
    """Algorithm 1, lines 11 to 16, for targets first:last: pairs[bounds[i] : bounds[i + 1]] go to target i."""
    table = graph.links if layer == 0 else graph.upper
    rows, metric, width = graph.rows, graph.metric, table.shape[1]
    for i in range(first, last):
        target = np.int64(pairs[bounds[i]] >> np.uint64(32))
        row = table[target if layer == 0 else graph.upper_at[target] + layer - 1]
        count = 0
        while count < width and row[count] >= 0:
            count += 1
        before = count
        nodes = np.empty(count + bounds[i + 1] - bounds[i], np.int64)
        nodes[:count] = row[:count]
        for pair in pairs[bounds[i] : bounds[i + 1]]:
            source, there = np.int64(pair & np.uint64(0xFFFFFFFF)), False
            for j in range(before):
                there |= row[j] == source
            if not there:
                nodes[count] = source
                count += 1
        if count <= width:
            row[before:count] = nodes[before:count]
            continue
        for j in range(count):
            prefetch_row(rows, nodes[j])
        as_query(metric, rows, target, query)
        keys = np.empty(count, np.uint64)
        for j in range(count):
            keys[j] = make_key(gap(metric, query, rows, nodes[j]), nodes[j])
        keys.sort()
        select(graph, keys, count, width, keep_pruned, row)
