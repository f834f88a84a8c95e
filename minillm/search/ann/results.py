"""What searches end with: the bitmap of a filter at the start, ids and distances at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minillm._checks import check_choice, check_int
from minillm._files import BadFileError
from minillm.search.ann.gaps import read_keys
from minillm.search.ann.vectors import as_distances
from minillm.search.exact import allowed_rows, check_ids

LINKED = 8  # distances that a walk measures for each node that it keeps
APART = 4  # times as long as for a row in the cache it takes to measure one that a walk jumps to
CODES = (None, "uint8")


def check_codes(codes: Any, dim: int, largest: int) -> str | None:
    """`codes` if it is None or "uint8"; codes hold vectors up to a width."""
    if check_choice("codes", codes, CODES) is not None and dim > largest:
        raise ValueError(f"codes='uint8' hold vectors of width {largest} at most, got {dim}")
    return codes


def is_selective(passing: int, count: int, ef: int, asked: int) -> bool:
    """Whether a look at all `passing` of `count` vectors is less work than walks on to ef of them, for `asked` queries.

    A walk keeps ef / share nodes to find ef that pass; so the share below which it loses falls as the root of `count`.
    Who looks at all reads rows side by side, which takes as long again as measuring them, once for all queries.
    """
    look, walk = passing * (1 + 1 / asked), LINKED * APART * ef * count / max(passing, 1)
    return look < walk


def check_threads(threads: Any) -> int:
    """`threads` as an int of at least 1."""
    return check_int("threads", threads, minimum=1, maximum=1024)


def check_pairs(vectors: np.ndarray, ids: np.ndarray) -> None:
    """ValueError unless there is one id for each vector, and no id twice."""
    if len(ids) != len(vectors):
        raise ValueError(f"ids must name every vector: got {len(ids)} ids for {len(vectors)} vectors")
    different, counts = np.unique(ids, return_counts=True)
    if len(different) < len(ids):
        raise ValueError(f"ids must be different, got {different[counts > 1][0]} more than once")


def fixed_filter(filter: Any, living_ids: Callable[[], np.ndarray]) -> np.ndarray | None:
    """A filter as ids or as a bool array by id. A function is called here, once for every id, before a search takes its
    lock: what the function does may need the lock, too. Raises ValueError for another kind of filter."""
    if filter is None or (isinstance(filter, np.ndarray) and filter.dtype == bool):
        return filter
    ids = living_ids() if callable(filter) else np.empty(0, np.int64)
    if isinstance(filter, (str, bytes)) or not hasattr(filter, "__iter__") or callable(filter):
        return ids[allowed_rows(ids, filter)]
    return check_ids("filter", filter)


def as_result(keys: np.ndarray, ids: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """ids (Q, k) int64 and distances (Q, k) float32 of keys (Q, k): nearest first, of equal ones the lower id first."""
    rows, sums = read_keys(keys)
    found = np.where(rows >= 0, ids[rows] if len(ids) else -1, -1)
    distances = as_distances(sums, metric)
    if (distances[:, 1:] <= distances[:, :-1]).any():  # equal ones: keys have them in order of their rows
        last = np.where(found < 0, np.iinfo(np.int64).max, found)
        order = np.lexsort((last, distances), axis=-1)
        found, distances = (
            np.take_along_axis(found, order, axis=1),
            np.take_along_axis(distances, order, axis=1),
        )
    return found, distances


def refuse_unless(fits: bool, kind: str, path: Any, why: str) -> None:
    """BadFileError for a file whose checksum is right and whose content is not: nothing compiled may trust it."""
    if not fits:
        raise BadFileError(f"{kind} {str(path)!r} is refused: {why}")
