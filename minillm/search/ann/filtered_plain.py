"""A search with a filter (필터) on a plain graph: it walks over all nodes, and finds those that pass.

    found    the ef nearest of the nodes that pass and were measured
    end      when the nearest node not yet looked at is farther than all ef of them

A node that does not pass is measured and walked over like any other: without it the ways to the nodes behind it would
be gone. So the fewer pass, the longer the walk. The compiled walk (graph_search.py) is this one, with a limit to what
it keeps; where few pass the index looks at all of these and does not walk (query.py).

Book: 12.3. Peer: hnswlib, whose filter is asked at every node of a walk, too.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from minillm._checks import describe
from minillm.search.ann.hnsw_plain import Candidates, PlainHNSW


class FilteredHNSW(PlainHNSW):
    """A plain graph's nodes and links, searched for the nodes that pass: passes(node) says whether a node may be found.

    It is for searches: nodes are added to the graph itself. Raises ValueError for another kind of graph or filter.
    """

    def __init__(self, graph: PlainHNSW, passes: Callable[[int], bool]) -> None:
        if not isinstance(graph, PlainHNSW):
            raise ValueError(f"graph must be a PlainHNSW, got {describe(graph)}")
        if not callable(passes):
            raise ValueError(f"passes must be a function, got {describe(passes)}")
        super().__init__(graph.metric, graph.m, graph.ef_construction)
        self.vectors, self.layers, self.entry = graph.vectors, graph.layers, graph.entry
        self.passes = passes

    def search_layer(self, query: np.ndarray, entries: Candidates, ef: int, layer: int) -> Candidates:
        """Algorithm 2, of which only the nodes that pass are found; upper layers only lead to a place to begin."""
        if layer > 0:
            return super().search_layer(query, entries, ef, layer)
        seen = {node for _, node in entries}
        candidates = list(entries)  # C: a heap of nodes whose neighbours are still to be looked at
        heapq.heapify(candidates)
        found = sorted(pair for pair in entries if self.passes(pair[1]))[:ef]  # W
        while candidates:
            nearest = heapq.heappop(candidates)
            if len(found) == ef and nearest > found[-1]:
                break  # whatever is left is further than all that was found
            for node in self.layers[layer][nearest[1]]:
                if node in seen:
                    continue
                seen.add(node)
                pair = (self.distance(query, node), node)
                if len(found) < ef or pair < found[-1]:
                    heapq.heappush(candidates, pair)
                    if self.passes(node):
                        found = sorted([*found, pair])[:ef]
        return found
