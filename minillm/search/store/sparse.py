"""Sparse vectors (희소 벡터) beside dense ones, and the query that asks for both.

    score(record) = q . x  +  q_sparse . x_sparse         x_sparse: few of 2^32 places hold a number (a word's weight)

Only records that share a place with the query have a sparse product; inverted lists, place -> [(record, number)], find
them all. Every other record's score is its dense one: of those the k nearest suffice. The ones that share a place are
taken by falling product, until no product that is left, with the best dense score that is left, could reach the k best
(the threshold algorithm): a word that every record has does not make the query look at every record.

Book: 12.1 벡터 데이터베이스란. Peer: Pinecone's sparse-dense index. Source of the weights: a BM25 or a SPLADE encoder.
Paper: Fagin, Lotem & Naor 2001, Optimal Aggregation Algorithms for Middleware.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minillm._checks import check_choice, check_number, describe


def check_sparse(name: str, sparse: Any) -> bytes | None:
    """{"indices": [...], "values": [...]} as bytes: uint32 places, ascending, then float32 numbers. None for None.

    Raises ValueError for places that are not different integers in [0, 2^32), and numbers that are not finite in
    float32 or are 0.
    """
    if sparse is None:
        return None
    if not isinstance(sparse, Mapping) or sparse.keys() != {"indices", "values"}:
        raise ValueError(f'{name} must be {{"indices": [...], "values": [...]}}, got {describe(sparse)}')
    try:
        places, numbers = np.asarray(sparse["indices"]), np.asarray(sparse["values"])
    except (TypeError, ValueError, RuntimeError):  # the last one: a tensor that requires grad
        places = numbers = np.empty(0)
    if places.ndim != 1 or places.shape != numbers.shape or not len(places):
        raise ValueError(f"{name} must have as many indices as values, at least one, got {describe(sparse)}")
    if places.dtype.kind not in "iu" or (places < 0).any() or (places >= 2**32).any():
        raise ValueError(f"{name} must have indices from 0 to 2^32 - 1, got {describe(sparse['indices'])}")
    if len(np.unique(places)) != len(places):
        raise ValueError(f"{name} must have different indices, got {describe(sparse['indices'])}")
    with np.errstate(over="ignore", under="ignore"):
        numbers = numbers.astype(np.float32) if numbers.dtype.kind in "fiu" else np.zeros(1)
    if not np.isfinite(numbers).all() or not numbers.all():
        raise ValueError(f"{name} must have finite values other than 0, got {describe(sparse['values'])}")
    order = np.argsort(places)
    return places[order].astype("<u4").tobytes() + numbers[order].astype("<f4").tobytes()


def unpack(data: bytes) -> tuple[list[int], list[float]]:
    """(places, numbers) of what `check_sparse` packed."""
    half = len(data) // 2
    return np.frombuffer(data[:half], "<u4").tolist(), np.frombuffer(data[half:], "<f4").tolist()


class SparseLists:
    """Sparse vectors of records that are called by numbers, as inverted lists."""

    def __init__(self) -> None:
        self.lists: dict[int, dict[int, float]] = {}  # place -> record -> number
        self.places: dict[int, list[int]] = {}  # record -> its places

    def put(self, number: int, data: bytes | None) -> None:
        """Take a record's packed vector in, or its new one; None for a record that has none."""
        self.drop([number])
        if data is not None:
            places, values = unpack(data)
            self.places[number] = places
            for place, value in zip(places, values):
                self.lists.setdefault(place, {})[number] = value

    def drop(self, numbers: Iterable[int]) -> None:
        """Take records out; those that are not there are passed over."""
        for number in numbers:
            for place in self.places.pop(number, ()):
                del self.lists[place][number]
                if not self.lists[place]:
                    del self.lists[place]

    def products(self, query: bytes) -> dict[int, float]:
        """Record -> q_sparse . x_sparse, for every record that shares a place with the packed query."""
        found: dict[int, float] = {}
        for place, weight in zip(*unpack(query)):
            for number, value in self.lists.get(place, {}).items():
                found[number] = found.get(number, 0.0) + weight * value
        return found


def hybrid_weights(
    dense: Any, sparse: Mapping[str, Any], alpha: float, metric: str = "ip"
) -> tuple[list[float], dict[str, Any]]:
    """A query (dense, sparse) in which the dense part counts alpha and the sparse one 1 - alpha.

    ip:      (alpha * dense, (1 - alpha) * sparse)             as in Pinecone's guide
    cosine:  (dense, (1 - alpha) / alpha * sparse)             a cosine does not see how long `dense` is: the same
                                                               ranking, with scores that are 1 / alpha as large
    dense: (D,) numbers. alpha: 0 to 1, not 1 (ask with the dense vector alone), under cosine not 0.
    Raises ValueError for an alpha outside, another metric, or weights that leave float32.
    """
    alpha = check_number("alpha", alpha, 0, 1)
    check_choice("metric", metric, ("ip", "cosine"))
    if alpha == 1:
        raise ValueError("alpha must be below 1, got 1: ask with the dense vector alone")
    if alpha == 0 and metric == "cosine":
        raise ValueError("alpha must be above 0 under cosine, got 0: every query has a dense part")
    if check_sparse("sparse", sparse) is None:
        raise ValueError('sparse must be {"indices": [...], "values": [...]}, got None')
    numbers = np.asarray(dense) if isinstance(dense, (np.ndarray, list, tuple)) else np.empty(0)
    if (
        numbers.ndim != 1
        or numbers.dtype.kind not in "fiu"
        or not len(numbers)
        or not np.isfinite(numbers).all()
    ):
        raise ValueError(f"dense must be finite numbers (D,), got {describe(dense)}")
    of_dense, of_sparse = (alpha, 1 - alpha) if metric == "ip" else (1.0, (1 - alpha) / alpha)
    values = [float(value) * of_sparse for value in sparse["values"]]
    weighted = {"indices": list(sparse["indices"]), "values": values}
    check_sparse("sparse, weighted,", weighted)
    return [float(value) * of_dense for value in numbers], weighted
