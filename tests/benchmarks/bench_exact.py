"""Exact nearest neighbours against numpy (float64 distances, argpartition) and scikit-learn's brute force.

Random vectors of 128 dimensions, 20,000 of them, and MNIST-sized ones of 784; k = 10, queries in one batch, one thread.
Ours returns exact distances with ties by id; the peers round in the precision they compute in.
"""

from __future__ import annotations

import numpy as np

from minillm.search import ExactIndex
from tests.benchmarks.harness import Row, in_turn, peer_or_none

K = 10


def brute_force(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """What one writes first: the distance formula as a matrix product, then the k smallest of each row."""
    table = (queries**2).sum(1)[:, None] - 2 * queries @ vectors.T + (vectors**2).sum(1)
    nearest = np.argpartition(table, K, axis=1)[:, :K]
    order = np.take_along_axis(table, nearest, axis=1).argsort(axis=1)
    return np.take_along_axis(nearest, order, axis=1)


def run(quick: bool) -> list[Row]:
    neighbors = peer_or_none("sklearn.neighbors")
    generator = np.random.default_rng(0)
    rows = []
    for dim, count in ((128, 20_000), (784, 9_000)):
        if quick:
            count //= 4
        vectors = generator.normal(size=(count, dim)).astype(np.float32)
        queries = generator.normal(size=(200, dim)).astype(np.float32)
        index = ExactIndex(dim)
        index.add(vectors)
        calls = {
            "ours": lambda index=index, queries=queries: index.search(queries, K),
            "numpy": lambda vectors=vectors, queries=queries: brute_force(vectors, queries),
        }
        if neighbors:
            peer = neighbors.NearestNeighbors(n_neighbors=K, algorithm="brute").fit(vectors)
            calls["sklearn"] = lambda peer=peer, queries=queries: peer.kneighbors(queries)
        times = in_turn(calls, 3 if quick else 7)
        work = f"exact search, {count} x {dim}, batch of {len(queries)}"
        rate = {name: len(queries) / seconds for name, seconds in times.items()}
        for name, label in (("numpy", "numpy brute force"), ("sklearn", "scikit-learn brute force")):
            rows.append(
                Row(work, label, "queries/s", rate["ours"], rate.get(name), spread=times.spread(name))
            )
    return rows
