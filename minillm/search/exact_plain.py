"""Exact search as on a whiteboard, and the two steps that lead from there to ExactIndex (exact.py).

    nearest_plain        every distance by its formula; all of them are sorted
    nearest_in_blocks    |q|^2 - 2 q.x + |x|^2: one matrix product for a block of vectors; of the block and of the best
                         so far, a partial sort (부분 정렬) keeps the k smallest

The second one holds (Q, block) numbers whatever N is, and never sorts more than k. But it computes in float32: where
vectors are long and close to each other, a small distance is the difference of two large rounded numbers, and is lost.
Which of several equal distances it keeps is chance, too. ExactIndex takes the product as a proposal only.

Book: 12.2.1 KNN 검색과 그 한계. Peers: torch.cdist, which has both ways to compute distances; faiss IndexFlat.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm._checks import check_choice, check_int, describe
from minillm.search._ids import METRICS
from minillm.search.exact import check_vectors, distances_plain, row_lengths


def nearest_plain(
    queries: np.ndarray, vectors: np.ndarray, k: int = 10, metric: str = "l2"
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of vectors (N, D) to each query (Q, D): numbers (Q, k) int64 and distances (Q, k) float64.

    Equal distances: the lower number first. Where fewer than k exist, number -1 at distance infinity.
    Raises ValueError for a wrong shape, NaN, k < 1 or an unknown metric.
    """
    _check_arguments(queries, vectors, k)
    check_choice("metric", metric, METRICS)
    numbers = np.full((len(queries), k), -1)
    distances = np.full((len(queries), k), np.inf)
    for row, query in enumerate(queries):
        every = distances_plain(query, vectors, metric)  # (N,)
        best = np.argsort(every, kind="stable")[:k]  # stable: of equal distances the lower number first
        numbers[row, : len(best)] = best
        distances[row, : len(best)] = every[best]
    return numbers, distances


def squared_distances(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """|q - x|^2 of each query (Q, D) and vector (N, D) by one matrix product, in their precision: (Q, N).

    Raises ValueError for anything but two arrays of floats of one width. Squares may leave the precision.
    """
    _check_tables(queries, vectors)
    table = queries @ vectors.T  # (Q, N), nearly all of the work
    table *= -2
    table += (queries**2).sum(axis=1)[:, None]
    table += (vectors**2).sum(axis=1)
    return table


def smallest(distances: np.ndarray, numbers: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k smallest distances of each row (Q, C), ascending, and the numbers (Q, C) that go with them.

    Raises ValueError for other shapes, and for a k that is not between 1 and C.
    """
    _check_rows(distances, numbers, k)
    best = np.argpartition(distances, k - 1, axis=1)[:, :k]  # the k smallest, in no order
    distances = np.take_along_axis(distances, best, axis=1)
    order = np.argsort(distances, axis=1)  # only k of them are left to sort
    best = np.take_along_axis(best, order, axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(numbers, best, axis=1)


def nearest_in_blocks(
    queries: np.ndarray, vectors: np.ndarray, k: int = 10, block: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest_plain` with "l2", in the precision of the vectors, `block` of them at a time; ties in any order.

    Raises ValueError as it does, and where the vectors are so long that the squares leave that precision.
    """
    _check_arguments(queries, vectors, k)
    check_int("block", block, minimum=1)
    check_squares(queries, vectors)
    numbers = np.full((len(queries), k), -1)
    distances = np.full((len(queries), k), np.inf, vectors.dtype)
    for start in range(0, len(vectors), block):
        table = squared_distances(queries, vectors[start : start + block])  # (Q, block)
        own = np.broadcast_to(np.arange(start, start + table.shape[1]), table.shape)
        both = np.hstack([distances, table]), np.hstack([numbers, own])  # the best so far and the block
        distances, numbers = smallest(*both, k)
    return numbers, distances


def check_squares(queries: np.ndarray, vectors: np.ndarray) -> None:
    """ValueError unless |q|^2, 2 q.x and |x|^2 of all queries (Q, D) and vectors (N, D), and their sums, are finite."""
    precision = np.result_type(queries, vectors)
    longest = max(row_lengths(array).max(initial=0) for array in (queries, vectors))
    if not 4 * longest**2 < np.finfo(precision).max:
        raise ValueError(
            f"queries and vectors must be so short that their squares fit into {precision}, got a length of "
            f"{longest:.3g}: nearest_plain, which computes in float64, takes them"
        )


def _check_tables(queries: Any, vectors: Any) -> None:
    for name, array in {"queries": queries, "vectors": vectors}.items():
        if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
            raise ValueError(f"{name} must be an array of floats of two dimensions, got {describe(array)}")
    if queries.shape[1] != vectors.shape[1]:
        raise ValueError(f"queries must be numbers of shape (N, {vectors.shape[1]}), got {describe(queries)}")


def _check_rows(distances: Any, numbers: Any, k: Any) -> None:
    for name, array in {"distances": distances, "numbers": numbers}.items():
        if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape != np.shape(distances):
            raise ValueError(f"{name} must be an array (Q, C) as distances is, got {describe(array)}")
    check_int("k", k, 1, distances.shape[1])


def _check_arguments(queries: Any, vectors: Any, k: Any) -> None:
    _check_tables(queries, vectors)
    for name, array in {"queries": queries, "vectors": vectors}.items():
        check_vectors(name, array, vectors.shape[1])
    check_int("k", k, minimum=1)
