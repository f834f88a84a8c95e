"""Exact nearest-neighbour search (최근접 이웃 검색): measure the distance to every vector, keep the k smallest.

    l2:      |q - x|^2  =  |q|^2 - 2 q.x + |x|^2        (squared, as hnswlib and faiss give it)
    cosine:  1 - q.x / (|q| |x|)                        (a zero vector is at distance 1 from everything)
    ip:      1 - q.x                                    (inner product; may be negative)

The right-hand sides are one matrix product for a whole block of queries. float32 rounds them, so the product only
proposes candidates, with a margin for the rounding; the candidates' distances are then computed in float64. What
comes out is exact, and equal distances go to the lower id: this is the truth that HNSW and IVF are measured against.
Vectors so long or so short that their products leave float32's range are multiplied in float64, which holds them all.

The two simpler versions, a full sort and blocks, are in exact_plain.py.
Book: 12.2.1 KNN 검색과 그 한계. Peers: hnswlib's BFIndex, faiss IndexFlat, sklearn NearestNeighbors(brute).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from minillm._arrays import as_array
from minillm._checks import check_choice, check_int, describe
from minillm._files import BadFileError, load_arrays, save_arrays
from minillm.search._ids import LONGEST, METRICS

# Numbers in one block of the distance table (16 MB as float32): bounds memory, fills the caches.
BLOCK = 1 << 22
MOST_FOUND = 1 << 31  # places in the table that a search gives back: 24 GB
# From here to LONGEST what underflows float32 is far below the margin, and nothing overflows.
SHORTEST = 2.0**-40


def check_vectors(name: str, vectors: Any, dim: int) -> np.ndarray:
    """`vectors` as a C-contiguous float32 (N, dim) array; ValueError for another shape, text, NaN or infinity."""
    try:
        array = as_array(vectors)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity and is refused below
            array = np.ascontiguousarray(array, np.float32) if array.dtype.kind in "fiu" else None
    except (TypeError, ValueError, RuntimeError):  # the last one: a list of tensors that require grad
        array = None
    if array is None or array.ndim != 2 or array.shape[1] != dim:
        raise ValueError(f"{name} must be numbers of shape (N, {dim}), got {describe(vectors)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite in float32, got NaN or infinity")
    return array


LARGEST_ID = 2**62  # so that the next free number is an int64, too


def check_ids(name: str, ids: Any) -> np.ndarray:
    """`ids` as an int64 (N,) array of numbers in [0, 2^62); ValueError for anything else."""
    try:
        if isinstance(ids, (str, bytes)):
            raise TypeError
        array = np.asarray(ids if hasattr(ids, "dtype") else list(ids))
    except (TypeError, ValueError, RuntimeError):  # the last one: a list of tensors that require grad
        array = None
    if array is not None and array.size == 0:
        array = np.empty(0, np.int64)
    if array is None or array.ndim != 1 or array.dtype.kind not in "iu" or (array < 0).any():
        raise ValueError(f"{name} must be integers >= 0 in one dimension, got {describe(ids)}")
    if (array >= LARGEST_ID).any():
        raise ValueError(f"{name} must be below 2^62, got {array.max()}")
    return array.astype(np.int64)


def allowed_rows(ids: np.ndarray, filter: Any) -> np.ndarray:
    """Which of ids (N,) a filter lets pass, bool (N,): a function of the id, ids, or a bool array indexed by id.

    Raises ValueError for another kind of filter.
    """
    if callable(filter):
        return np.array([bool(filter(int(i))) for i in ids], bool)
    if isinstance(filter, np.ndarray) and filter.dtype == bool:
        if filter.ndim != 1:
            raise ValueError(f"a bool filter must have one dimension, got {describe(filter)}")
        inside = (ids >= 0) & (ids < len(filter))
        inside[inside] = filter[ids[inside]]
        return inside
    if isinstance(filter, (str, bytes)) or not isinstance(filter, (Iterable, np.ndarray)):
        raise ValueError(f"filter must be a function, a list of ids or a bool array, got {describe(filter)}")
    return np.isin(ids, check_ids("filter", filter))


def _check_distances(query: Any, vectors: Any, metric: Any) -> None:
    fits = isinstance(query, np.ndarray) and isinstance(vectors, np.ndarray) and vectors.ndim == 2
    if not fits or query.shape != vectors.shape[1:]:
        raise ValueError(
            f"query and vectors must be arrays (D,) and (N, D), got {describe(query)} and {describe(vectors)}"
        )
    if metric not in METRICS:
        check_choice("metric", metric, METRICS)


def distances_plain(query: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """Distance of one query (D,) to each of vectors (N, D), float64 (N,): the formula, one vector at a time.

    Raises ValueError for other shapes or an unknown metric.
    """
    _check_distances(query, vectors, metric)
    query = query.astype(np.float64)
    found = []
    for vector in vectors.astype(np.float64):
        if metric == "l2":
            found.append(((query - vector) ** 2).sum())
        elif metric == "cosine":
            lengths = np.sqrt((query**2).sum() * (vector**2).sum())
            found.append(1 - (query @ vector / lengths if lengths else 0.0))
        else:
            found.append(1 - query @ vector)
    return np.array(found)


def row_lengths(vectors: np.ndarray) -> np.ndarray:
    """|x| of each row of vectors (N, D), float64 (N,)."""
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))


def fits_float32(lengths: np.ndarray) -> bool:
    """Whether products of vectors of these lengths can be left to float32. Zero vectors do no harm."""
    return bool((((lengths >= SHORTEST) & (lengths <= LONGEST)) | (lengths == 0)).all())


@njit(cache=True)
def kth_smallest(table, k):
    """The k-th smallest value of each row of floats, table (Q, N): (Q,) in its dtype. Faster than np.partition for
    small k: nearly every value fails the one comparison with the k-th best so far, and nothing is copied. Infinity
    where a row has fewer than k. Raises ValueError for k < 1."""
    if k < 1:  # compiled code would read and write beside the array
        raise ValueError("k must be at least 1")
    found = np.empty(len(table), table.dtype)
    best = np.empty(k, table.dtype)
    for row in range(len(table)):
        best[:] = np.inf
        for value in table[row]:
            if value < best[k - 1]:
                at = k - 1
                while at > 0 and best[at - 1] > value:
                    best[at] = best[at - 1]
                    at -= 1
                best[at] = value
        found[row] = best[k - 1]
    return found


class ExactIndex:
    """Vectors of width `dim` under integer ids, searched exactly.

    metric: "l2" (squared), "cosine" or "ip", always as a distance: smaller is nearer. Raises ValueError otherwise.
    """

    def __init__(self, dim: int, metric: str = "l2") -> None:
        self.dim = check_int("dim", dim, minimum=1)
        self.metric = check_choice("metric", metric, METRICS)
        self._vectors = np.empty((0, self.dim), np.float32)  # (N, D), rows in order of their ids
        self._ids = np.empty(0, np.int64)  # (N,), ascending
        self._room = (
            self._vectors,
            self._ids,
        )  # arrays with space behind the N rows, whose beginnings the two are
        self._next_id = 0

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self._ids)

    def add(self, vectors: np.ndarray, ids: Any = None) -> np.ndarray:
        """Store vectors (N, D) under `ids` (N different integers >= 0, new to the index); returns the ids, int64.

        Without ids the next free numbers are given: removed ones are not used again. Raises ValueError for a wrong
        shape, NaN, infinity, or an id that is already there; then nothing was added.
        """
        vectors = check_vectors("vectors", vectors, self.dim)
        if ids is None:
            ids = np.arange(self._next_id, self._next_id + len(vectors))
        ids = check_ids("ids", ids)
        if len(ids) != len(vectors):
            raise ValueError(f"ids must name every vector: got {len(ids)} ids for {len(vectors)} vectors")
        if len(ids) and (len(self) == 0 or ids[0] > self._ids[-1]) and (ids[1:] > ids[:-1]).all():
            self._append(vectors, ids)
            return ids
        everything = np.concatenate([self._ids, ids])
        order = np.argsort(everything, kind="stable")
        everything = everything[order]
        if (everything[1:] == everything[:-1]).any():
            twice = everything[1:][everything[1:] == everything[:-1]][0]
            raise ValueError(f"ids must be new and different, got {twice} which is already there")
        self._vectors = np.concatenate([self._vectors, vectors])[order]
        self._ids = everything
        self._next_id = max(self._next_id, int(everything[-1]) + 1) if len(everything) else self._next_id
        return ids

    def _append(self, vectors: np.ndarray, ids: np.ndarray) -> None:
        """Store vectors whose ids follow all others. The arrays double when they are full, so that N vectors that come
        one by one are copied about once each, not N / 2 times."""
        size, needed = len(self), len(self) + len(ids)
        rows, numbers = self._room
        if (
            len(rows) < needed or self._vectors.base is not rows
        ):  # full, or not the beginning of `rows` any more
            many = max(needed, 2 * size)
            rows, numbers = np.empty((many, self.dim), np.float32), np.empty(many, np.int64)
            rows[:size], numbers[:size] = self._vectors, self._ids
        rows[size:needed], numbers[size:needed] = vectors, ids
        self._room = rows, numbers
        self._vectors, self._ids = rows[:needed], numbers[:needed]
        self._next_id = max(self._next_id, int(ids[-1]) + 1)

    def remove(self, ids: Any) -> None:
        """Take vectors out (their memory too). Raises ValueError when an id is not there; then nothing was removed."""
        ids = check_ids("ids", ids)
        missing = ids[~np.isin(ids, self._ids)]
        if len(missing):
            raise ValueError(f"ids must be in the index, got {missing[0]} which is not")
        keep = ~np.isin(self._ids, ids)
        self._vectors, self._ids = self._vectors[keep], self._ids[keep]

    def search(
        self,
        queries: np.ndarray,
        k: int = 10,
        ef_search: int | None = None,
        filter: Callable[[int], bool] | Iterable[int] | np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest of each query (Q, D): ids (Q, k) int64 and distances (Q, k) float32, nearest first.

        Where fewer than k exist, the rest is id -1 at distance infinity. Equal distances: lower id first,
        where equal means in float64 as computed, finer than the float32 that is returned (a distance that float32
        cannot hold is returned as infinity, in its right place).
        filter: which ids may be found, as a function of the id, a list of ids, or a bool array indexed by id (an id
        beyond its end may not). ef_search is accepted so that all indexes are called alike; exact search ignores it.
        Raises ValueError for a wrong shape, NaN, k < 1, or another kind of filter.
        """
        queries = check_vectors("queries", queries, self.dim)
        k = check_int("k", k, minimum=1)
        if len(queries) * k > MOST_FOUND:
            raise ValueError(f"k must leave room for a table of {len(queries)} rows, got {k}")
        allowed = None if filter is None else allowed_rows(self._ids, filter)
        vectors, ids = (
            (self._vectors, self._ids) if allowed is None else (self._vectors[allowed], self._ids[allowed])
        )
        found = np.full((len(queries), k), -1, np.int64)
        distances = np.full((len(queries), k), np.inf, np.float32)
        if len(vectors) == 0:
            return found, distances
        lengths = row_lengths(vectors)
        step = max(1, BLOCK // len(vectors))
        for start in range(0, len(queries), step):
            block = queries[start : start + step]
            own = row_lengths(block)
            rows, columns = self._candidates(block, own, vectors, lengths, min(k, len(vectors)))
            exact = self._order(block, own, vectors, lengths, rows, columns)
            # The k best of each row: sort by row, then distance, then column (columns are in order of ids).
            order = np.lexsort((columns, exact, rows))
            rows, columns, exact = rows[order], columns[order], exact[order]
            rank = np.arange(len(rows)) - np.searchsorted(rows, rows)  # place of a candidate in its own row
            best = rank < k
            found[start + rows[best], rank[best]] = ids[columns[best]]
            with np.errstate(over="ignore"):
                distances[start + rows[best], rank[best]] = exact[best] + (self.metric != "l2")
        return found, distances

    def computed_again(self, queries: np.ndarray, k: int = 10) -> np.ndarray:
        """Of how many vectors a search for the k nearest of each query (Q, D) computes the distance again: (Q,) int64.

        Raises ValueError as `search` does.
        """
        queries, k = check_vectors("queries", queries, self.dim), check_int("k", k, minimum=1)
        if len(self) == 0:
            return np.zeros(len(queries), np.int64)
        own, lengths = row_lengths(queries), row_lengths(self._vectors)
        rows, _ = self._candidates(queries, own, self._vectors, lengths, min(k, len(self)))
        return np.bincount(rows, minlength=len(queries))

    def _candidates(
        self, queries: np.ndarray, own: np.ndarray, vectors: np.ndarray, lengths: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(row, column) of a superset of the k nearest of each query, row by row; own, lengths: |q| and |x|."""
        precision = np.float32 if fits_float32(own) and fits_float32(lengths) else np.float64
        table = queries.astype(precision, copy=False) @ vectors.astype(precision, copy=False).T  # (Q, N)
        # What orders the vectors, and `size` (Q,), what its rounding errors are relative to.
        if self.metric == "l2":  # |q|^2 is the same for all of a query's vectors: it is left out
            table *= -2
            table += (lengths**2).astype(precision)
            size = 2 * own * lengths.max() + lengths.max() ** 2
        elif self.metric == "cosine":
            table *= -np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0).astype(precision)
            size = own
        else:
            np.negative(table, out=table)
            size = own * lengths.max()
        # A sum of D products errs by at most D * 2^-24 of its size (2^-53 in float64); a few roundings are added.
        margin = (self.dim + 8) * np.finfo(precision).eps / 2 * size
        kth = kth_smallest(table, k) if k <= 128 else np.partition(table, k - 1, axis=1)[:, k - 1]
        return np.nonzero(table <= (kth + 2 * margin)[:, None])

    def _order(
        self,
        queries: np.ndarray,
        own: np.ndarray,
        vectors: np.ndarray,
        lengths: np.ndarray,
        rows: np.ndarray,
        columns: np.ndarray,
    ) -> np.ndarray:
        """What orders the pairs (row, column), float64: |q - x|^2, -cos or -q.x. The 1 of a distance is added later:
        here it would hide differences below 2^-53."""
        exact = np.empty(len(rows))
        step = max(1, BLOCK // 64 // self.dim)  # pairs at a time: they stay in the cache
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            q, x = queries[rows[part]].astype(np.float64), vectors[columns[part]].astype(np.float64)
            if self.metric == "l2":
                q -= x
                exact[part] = np.einsum("pd,pd->p", q, q)
            else:
                exact[part] = -np.einsum("pd,pd->p", q, x)
        if self.metric == "cosine":
            scale = own[rows] * lengths[columns]
            np.divide(exact, scale, out=exact, where=scale > 0)  # a zero vector's product is 0 already
        return exact

    def save(self, path: str | Path) -> Path:
        """Write the index as one file, whole or not at all."""
        meta = {"metric": self.metric, "dim": self.dim, "next_id": self._next_id}
        return save_arrays(path, "exact index", {"vectors": self._vectors, "ids": self._ids}, meta)

    @classmethod
    def load(cls, path: str | Path) -> ExactIndex:
        """The index that `save` wrote; BadFileError (a ValueError) naming the file when it is cut or damaged."""
        arrays, meta = load_arrays(path, "exact index")
        try:
            index = cls(meta["dim"], meta["metric"])
            vectors, ids, index._next_id = arrays["vectors"], arrays["ids"], meta["next_id"]
        except (KeyError, TypeError) as error:
            raise BadFileError(f"exact index {str(path)!r} is refused: it lacks {error}") from None
        if vectors.shape != (len(ids), index.dim) or (vectors.dtype, ids.dtype) != (np.float32, np.int64):
            raise BadFileError(f"exact index {str(path)!r} is refused: its ids and vectors do not fit")
        index._vectors, index._ids = vectors, ids
        return index
