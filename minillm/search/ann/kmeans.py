"""k-means (k-평균 군집화): k centres, each the mean of the vectors that are nearer to it than to any other centre.

    1. choose k of the vectors as centres
    2. give each vector to its nearest centre
    3. move each centre to the mean of its vectors;  again from 2 until nothing moves

Each round makes sum |x - centre(x)|^2 smaller or leaves it, so it ends; where it ends depends on where it began. A
centre that loses all its vectors is put beside the one that has most: half of them come over in the next round.

Book: 12.2.2 (근사 최근접 이웃, ANN). Paper: Lloyd 1982. Peers: faiss.Kmeans, sklearn.cluster.KMeans.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minillm._checks import check_int, describe
from minillm.search._ids import LONGEST
from minillm.search.exact import BLOCK, check_vectors, row_lengths

ROUNDS = 25
SAMPLE = 256  # vectors for each centre are enough to place it
ASIDE = 1 / 1024  # how far a centre without vectors is put from the one it shares with


def _check_centres(vectors: Any, centres: Any) -> None:
    for name, array in {"vectors": vectors, "centres": centres}.items():
        if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
            raise ValueError(f"{name} must be an array of floats of two dimensions, got {describe(array)}")
    if not len(centres) or centres.shape[1] != vectors.shape[1]:
        raise ValueError(
            f"centres must be at least one of width {vectors.shape[1]}, as the vectors, got {describe(centres)}"
        )


def assign_plain(vectors: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of the centres (K, D) to each of vectors (N, D), (N,) int64, the lowest of equal ones, and its
    squared distance, (N,) float64. Raises ValueError for no centre, or anything but arrays of floats of one width."""
    _check_centres(vectors, centres)
    nearest, distances = [], []
    for vector in vectors:
        # |x - c|^2 for every centre c
        squares = ((centres.astype(np.float64) - vector) ** 2).sum(axis=1)  # (K,)
        nearest.append(int(np.argmin(squares)))
        distances.append(squares[nearest[-1]])
    return np.array(nearest, np.int64), np.array(distances)


def assign(vectors: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As assign_plain, by one matrix product for a block of vectors: |x - c|^2 = |x|^2 - 2 x.c + |c|^2."""
    _check_centres(vectors, centres)
    nearest, distances = np.empty(len(vectors), np.int64), np.empty(len(vectors))
    squares = np.einsum("kd,kd->k", centres, centres)
    step = max(1, BLOCK // max(1, len(centres)))
    for first in range(0, len(vectors), step):
        block = vectors[first : first + step]
        table = squares - 2 * (block @ centres.T)  # (n, K)
        nearest[first : first + step] = table.argmin(axis=1)
        best = np.take_along_axis(table, nearest[first : first + step, None], axis=1)[:, 0]
        distances[first : first + step] = best + np.einsum("nd,nd->n", block, block, dtype=np.float64)
    return nearest, np.maximum(distances, 0)


def kmeans(
    vectors: np.ndarray,
    k: int,
    seed: int = 0,
    rounds: int = ROUNDS,
    assign: Callable[..., Any] = assign,
) -> np.ndarray:
    """k centres (k, D) float32 of vectors (N, D), N >= k, of which SAMPLE * k are looked at.

    Raises ValueError for a wrong shape, NaN, k < 1, more centres than vectors or a vector longer than 2^60.
    """
    vectors = check_vectors("vectors", vectors, np.shape(vectors)[-1] if np.ndim(vectors) == 2 else 0)
    k = check_int("k", k, minimum=1)
    if k > len(vectors):
        raise ValueError(f"k must be at most the number of vectors, got {k} for {len(vectors)} vectors")
    generator = np.random.default_rng(check_int("seed", seed, minimum=0))
    sample = generator.permutation(len(vectors))[: SAMPLE * k]
    vectors = vectors[sample]
    if (longest := row_lengths(vectors).max()) > LONGEST:  # their squares would leave float32
        raise ValueError(f"vectors must be of length 2^60 at most, got {longest:.3g}")
    return move_centres(vectors, vectors[:k].copy(), check_int("rounds", rounds, minimum=0), assign)


def move_centres(
    vectors: np.ndarray, centres: np.ndarray, rounds: int, assign: Callable[..., Any] = assign
) -> np.ndarray:
    """Steps 2 and 3: centres (K, D) after `rounds` rounds on vectors (N, D), or when nothing moves. Raises ValueError
    as `assign` does, and for rounds < 0."""
    _check_centres(vectors, centres)
    check_int("rounds", rounds, minimum=0)
    before = None
    for _ in range(rounds):
        nearest, _ = assign(vectors, centres)
        if before is not None and (nearest == before).all():
            break
        before = nearest
        centres = means(vectors, nearest, centres)
    return centres


def _check_nearest(nearest: Any, count: int, centres: int) -> None:
    fits = isinstance(nearest, np.ndarray) and nearest.shape == (count,) and nearest.dtype.kind in "iu"
    if not fits or not count or nearest.min() < 0 or nearest.max() >= centres:
        raise ValueError(
            f"nearest must name one of {centres} centres for each of {count} vectors, at least one, got "
            f"{describe(nearest)}"
        )


def means(vectors: np.ndarray, nearest: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The mean of each centre's vectors, (K, D) in the centres' dtype. nearest (N,): the number of a vector's centre.

    Raises ValueError for numbers that are no centre's, and as `assign` does.
    """
    _check_centres(vectors, centres)
    _check_nearest(nearest, len(vectors), len(centres))
    counts = np.bincount(nearest, minlength=len(centres))
    order = np.argsort(nearest, kind="stable")
    starts = np.cumsum(counts) - counts
    moved, there = centres.copy(), np.flatnonzero(counts)
    sums = np.add.reduceat(vectors[order], starts[there], axis=0, dtype=np.float64)
    moved[there] = sums / counts[there, None]
    for empty in np.flatnonzero(counts == 0):
        crowded = int(np.argmax(counts))
        moved[empty] = moved[crowded] * (1 + ASIDE)
        moved[crowded] *= 1 - ASIDE
        counts[empty] = counts[crowded] // 2
        counts[crowded] -= counts[empty]
    return moved
