"""Ids with the same vector share one node: `twin` leads from the node's slot to a second one, from there to a third.

A thousand equal vectors would crowd one place of the graph: each links to the same few, these cannot link back to
all, and no walk finds the others. As one node they take one place, and what finds the node has found them all.
"""

from __future__ import annotations

from numba import njit

FREE, LIVE, TWIN = 0, 1, 2  # as in slots.py


@njit(cache=True, nogil=True)
def join_twins(twin, state, slots, nodes):
    """Slots whose node is another slot become its twins."""
    for i in range(len(slots)):
        if nodes[i] != slots[i]:
            state[slots[i]] = TWIN
            twin[slots[i]] = twin[nodes[i]]
            twin[nodes[i]] = slots[i]


@njit(cache=True, nogil=True)
def leave_twins(twin, state, doomed, nodes, heirs):
    """Take doomed slots out of the twins of `nodes`; heirs: the twin whose id moves into a doomed node, or -1."""
    for i in range(len(nodes)):
        node = nodes[i]
        last, slot = node, twin[node]
        while slot >= 0:
            after = twin[slot]
            if doomed[slot]:
                state[slot], twin[slot], twin[last] = FREE, -1, after
            else:
                last = slot
            slot = after
        heirs[i] = twin[node] if doomed[node] else -1
        if heirs[i] >= 0:
            twin[node] = twin[heirs[i]]
            state[heirs[i]], twin[heirs[i]] = FREE, -1


@njit(cache=True, nogil=True)
def spread_to_nodes(twin, state, allowed, passing):
    """passing: which nodes have an id that is allowed, their own or a twin's."""
    for node in range(len(state)):
        passing[node] = allowed[node] and state[node] == LIVE
        if state[node] == LIVE and not passing[node]:
            slot = twin[node]
            while slot >= 0 and not passing[node]:
                passing[node] = allowed[slot]
                slot = twin[slot]
