"""HNSW for the whiteboard: the five algorithms of the paper, one function each, in plain Python.

A graph whose nodes are vectors. Every node is on layer 0, one in m of them on layer 1 too, one in m^2 on layer 2, and
so on. A search walks on the top layer to the node nearest to the query, goes down a layer, walks on, and on layer 0
keeps the ef nearest nodes instead of one. The upper layers are the motorways, layer 0 the streets.

    W = [(distance, node), ...]     candidates, nearest first; pairs are compared, so equal distances fall to the
    lower node

`PlainNSW` is the same with one layer; `greedy_path` shows where the walk to the nearest neighbour gets stuck. FirstNSW
and SimpleHNSW choose their links as one did before algorithm 4. The index that one uses is in hnsw.py; on a few hundred
different vectors it builds this graph, link by link, and `plain_copy` makes a plain graph of any of its graphs.

Book: 12.2.3 and 12.2.4 (NSW, HNSW). Paper: Malkov & Yashunin 2016, algorithms 1 to 5; NSW: Malkov et al. 2014.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np

from minillm._checks import check_choice, check_flag, check_int, describe
from minillm.search.ann.vectors import prepare
from minillm.search.exact import METRICS, check_vectors, distances_plain

Candidates = list[tuple[float, int]]


def check_point(name: str, vector: Any, vectors: list[np.ndarray]) -> None:
    """ValueError unless `vector` is finite numbers (D,), of the same width as the vectors of a graph."""
    width = np.size(vectors[0]) if vectors else max(1, np.size(vector))
    try:
        check_vectors(name, [vector], width)
    except (ValueError, TypeError, RuntimeError):
        wanted = f"{width} finite numbers" if vectors else "finite numbers (D,)"
        raise ValueError(f"{name} must be {wanted}, got {describe(vector)}") from None


class PlainHNSW:
    """The graph of the vectors added so far: layers[l][node] lists a node's neighbours on layer l.

    m: links that a new node makes on each layer; a node keeps up to m of them, 2 m on layer 0. keep_pruned and
    extend_candidates are those of algorithm 4. Raises ValueError for a number out of range and an unknown metric; the
    methods do for a vector of another width, NaN, or a node that is not there. Algorithms 2 to 4 check nothing.
    """

    def __init__(
        self,
        metric: str = "l2",
        m: int = 16,
        ef_construction: int = 200,
        seed: int = 0,
        keep_pruned: bool = True,
        extend_candidates: bool = False,
    ) -> None:
        self.metric, self.m = check_choice("metric", metric, METRICS), check_int("m", m, minimum=1)
        self.ef_construction = check_int("ef_construction", ef_construction, minimum=1)
        self.keep_pruned = check_flag("keep_pruned", keep_pruned)
        self.extend_candidates = check_flag("extend_candidates", extend_candidates)
        self.generator = np.random.default_rng(check_int("seed", seed, minimum=0))
        self.vectors: list[np.ndarray] = []
        self.layers: list[dict[int, list[int]]] = []
        self.entry = -1  # the node where every search starts, on the top layer
        self.measured = 0  # distances so far: what a search costs on any machine

    def distance(self, query: np.ndarray, node: int) -> float:
        """From a query to a node."""
        self.measured += 1
        return float(distances_plain(query, self.vectors[node][None], self.metric)[0])

    # level = floor(-ln(u) / ln(m)), u uniform in (0, 1]: one node in m is on layer 1, one in m^2 on layer 2
    def draw_level(self) -> int:
        """The highest layer of a new node. Raises ValueError for m = 1, with which no layer would be the top."""
        check_int("m", self.m, minimum=2)
        return int(-math.log(1 - self.generator.random()) / math.log(self.m))

    # Algorithm 1: INSERT
    def add(self, vector: Any) -> int:
        """Put one vector (D,) in; returns its node."""
        check_point("vector", vector, self.vectors)
        node, level, top = len(self.vectors), self.draw_level(), len(self.layers) - 1
        self.vectors.append(np.asarray(vector, np.float32))
        query = self.vectors[node]
        near = [(self.distance(query, self.entry), self.entry)] if self.entry >= 0 else []
        for layer in range(top, level, -1):
            near = self.search_layer(query, near, 1, layer)
        for layer in range(min(top, level), -1, -1):
            near = self.search_layer(query, near, self.ef_construction, layer)
            self.layers[layer][node] = self.select(query, near, self.m, layer, self.extend_candidates)
            for other in self.layers[layer][node]:
                self.link_back(other, node, layer)
        for _ in range(top + 1, level + 1):
            self.layers.append({node: []})
            self.entry = node
        return node

    # Algorithm 1, lines 11 to 16: a link goes both ways, and a node with too many links keeps the best ones
    def link_back(self, node: int, new: int, layer: int) -> None:
        """Give `node` a link to `new`."""
        links = [*self.layers[layer][node], new]
        most = 2 * self.m if layer == 0 else self.m
        if len(links) > most:
            query = self.vectors[node]
            links = self.select(query, [(self.distance(query, other), other) for other in links], most, layer)
        self.layers[layer][node] = links

    # Algorithm 2: SEARCH-LAYER
    def search_layer(self, query: np.ndarray, entries: Candidates, ef: int, layer: int) -> Candidates:
        """The ef nearest nodes that a walk from `entries` finds on one layer."""
        seen = {node for _, node in entries}
        candidates = list(entries)  # C: a heap of nodes whose neighbours are still to be looked at
        heapq.heapify(candidates)
        found = sorted(entries)[:ef]  # W
        while candidates:
            nearest = heapq.heappop(candidates)
            if nearest > found[-1] and len(found) == ef:
                break  # whatever is left is further than all that was found
            for node in self.layers[layer][nearest[1]]:
                if node in seen:
                    continue
                seen.add(node)
                pair = (self.distance(query, node), node)
                if len(found) < ef or pair < found[-1]:
                    heapq.heappush(candidates, pair)
                    found = sorted([*found, pair])[:ef]
        return found

    # Algorithm 3: SELECT-NEIGHBORS-SIMPLE
    @staticmethod
    def select_simple(candidates: Candidates, m: int) -> list[int]:
        """The m nearest."""
        return [node for _, node in sorted(candidates)[:m]]

    # Algorithm 4: SELECT-NEIGHBORS-HEURISTIC: keep e if d(e, q) < d(e, r) for every neighbour r kept before.
    # What lies behind a neighbour is reached through that neighbour; the link is better spent on another direction.
    def select(
        self, query: np.ndarray, candidates: Candidates, m: int, layer: int, extend: bool = False
    ) -> list[int]:
        """Up to m of the candidates, in different directions from the query."""
        if extend:
            nodes = {node for _, node in candidates}
            around = {other for node in nodes for other in self.layers[layer][node]} - nodes
            candidates = candidates + [(self.distance(query, other), other) for other in around]
        kept: list[int] = []
        pruned: list[int] = []
        for distance, node in sorted(candidates):
            if len(kept) == m:
                break
            vector = self.vectors[node]
            closest = all(distance < self.distance(vector, other) for other in kept)
            (kept if closest else pruned).append(node)
        return (kept + pruned)[:m] if self.keep_pruned else kept

    # Algorithm 5: K-NN-SEARCH
    def search(self, query: Any, k: int, ef_search: int = 64) -> Candidates:
        """The k nearest nodes to query (D,) that are found, nearest first."""
        check_int("k", k, minimum=1)
        check_int("ef_search", ef_search, minimum=1)
        check_point("query", query, self.vectors)
        query = np.asarray(query, np.float32)
        near = [(self.distance(query, self.entry), self.entry)] if self.entry >= 0 else []
        for layer in range(len(self.layers) - 1, 0, -1):
            near = self.search_layer(query, near, 1, layer)
        return self.search_layer(query, near, max(ef_search, k), 0)[:k] if near else []

    def greedy_path(self, query: Any, start: int, layer: int = 0) -> list[int]:
        """The walk that always goes to the neighbour nearest to the query. It ends where no neighbour is nearer than
        the node itself, whether or not that is the nearest node of all."""
        check_point("query", query, self.vectors)
        self._check_node(start, layer)
        query, path = np.asarray(query, np.float32), [start]
        while True:
            here = (self.distance(query, path[-1]), path[-1])
            best = min([here, *((self.distance(query, n), n) for n in self.layers[layer][path[-1]])])
            if best == here:
                return path
            path.append(best[1])

    def _check_node(self, node: Any, layer: Any) -> None:
        check_int("layer", layer, 0, len(self.layers) - 1)
        if check_int("node", node, minimum=0) not in self.layers[layer]:
            raise ValueError(
                f"node {node} is not on layer {layer}, which has {len(self.layers[layer])} nodes"
            )

    def reachable(self, layer: int = 0) -> set[int]:
        """The nodes of a layer to which links lead from the entry: no search can find any other."""
        self._check_node(self.entry, layer)
        reached, waiting = {self.entry}, [self.entry]
        while waiting:
            new = set(self.layers[layer][waiting.pop()]) - reached
            reached |= new
            waiting += new
        return reached


class PlainNSW(PlainHNSW):
    """One layer: every walk starts at the first node and crosses the whole graph by streets."""

    def draw_level(self) -> int:
        """Always layer 0."""
        return 0


class FirstNSW(PlainNSW):
    """The first small world of 2014: a new node is linked with the m nearest that it finds, and no link is given up."""

    def select(
        self, query: np.ndarray, candidates: Candidates, m: int, layer: int, extend: bool = False
    ) -> list[int]:
        """Algorithm 3."""
        return self.select_simple(candidates, m)

    def link_back(self, node: int, new: int, layer: int) -> None:
        """As many links as come."""
        self.layers[layer][node].append(new)


class SimpleHNSW(PlainHNSW):
    """Layers, and everywhere the nearest as neighbours: what algorithm 4 is better than where vectors lie in groups."""

    select = FirstNSW.select


def plain_copy(index: Any, vectors: np.ndarray) -> PlainHNSW:
    """The graph of an HNSWIndex or NSWIndex to which just these vectors (N, D) were added, as ids 0 to N - 1.

    Raises ValueError for other vectors, for none, and where two are equal: there they share a node.
    """
    if not hasattr(index, "neighbours"):
        raise ValueError(f"index must be an HNSWIndex or an NSWIndex, got {describe(index)}")
    own = prepare("vectors", vectors, index.dim, index.metric)
    if len(np.unique(vectors, axis=0)) < len(vectors) or not 0 < len(index) == len(vectors):
        raise ValueError(
            f"vectors must be those of the index, all different, got {len(vectors)} for {len(index)} ids"
        )
    if not np.array_equal(own, index._slots.vectors[index._slots.find(np.arange(len(own)))]):
        raise ValueError("vectors must be those of the index under ids 0, 1, 2, ..., got others")
    graph = PlainHNSW(index.metric, index.m, index.ef_construction, index.seed)
    graph.vectors = list(vectors)
    levels = [0] * len(vectors) if index.ONE_LAYER else [graph.draw_level() for _ in vectors]
    graph.entry = levels.index(max(levels))
    graph.layers = [
        {node: index.neighbours(node, layer) for node, level in enumerate(levels) if level >= layer}
        for layer in range(max(levels) + 1)
    ]
    return graph
