"""An IVF index as one file: its rows as they lie, its centres, and the scale of its codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minillm._files import BadFileError, load_arrays, save_arrays
from minillm.search.ann.results import refuse_unless
from minillm.search.ann.row_table import RowTable, id_words
from minillm.search.exact import LARGEST_ID

KIND = "IVF index"
KINDS = {
    "vectors": np.float32,
    "ids": np.int64,
    "lists": np.int32,
    "alive": np.bool_,
    "centres": np.float32,
    "low": np.float32,
    "high": np.float32,
}


def save(index: Any, path: str | Path) -> Path:
    """Write the index."""
    size = index._size
    centres = index._centres
    arrays = {
        "vectors": index._vectors[:size],
        "ids": index._ids[:size],
        "lists": index._lists[:size],
        "alive": index._alive[:size],
        "centres": np.empty((0, index.dim), np.float32) if centres is None else centres,
        "low": index._scale.low,
        "high": index._scale.high,
    }
    meta = {name: getattr(index, name) for name in ("dim", "metric", "n_lists", "codes", "seed")}
    meta |= {"sorted": index._sorted, "trained": index._trained, "next_id": index._next_id}
    return save_arrays(path, KIND, arrays, meta | {"fitted": index._scale.fitted})


def load(cls: Any, path: str | Path) -> Any:
    """The index; BadFileError for a file that `save` did not write."""
    arrays, meta = load_arrays(path, KIND)
    try:
        index = cls(meta["dim"], meta["metric"], meta["n_lists"], meta["codes"], meta["seed"])
        parts = {name: arrays[name] for name in KINDS}
        sorted_rows, trained, next_id, fitted = (
            meta[name] for name in ("sorted", "trained", "next_id", "fitted")
        )
        numbers = all(type(number) is int and number >= 0 for number in (sorted_rows, trained, next_id))
        numbers = numbers and next_id <= LARGEST_ID
    except BadFileError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise BadFileError(f"{KIND} {str(path)!r} is refused: {error}") from None
    _check(index, parts, sorted_rows, numbers and type(fitted) is bool, path)
    index._vectors, index._ids, index._lists, index._alive = (
        parts[name] for name in ("vectors", "ids", "lists", "alive")
    )
    index._size, index._dead = len(index._ids), int((~index._alive).sum())
    index._sorted, index._trained, index._next_id = sorted_rows, trained, next_id
    index._centres = parts["centres"] if len(parts["centres"]) else None
    index._starts = np.searchsorted(index._lists[:sorted_rows], np.arange(index.n_lists + 1))
    index._scale.low, index._scale.high, index._scale.fitted = parts["low"], parts["high"], fitted
    if index.codes:
        index._coded = index._scale.encode(index._vectors)
    living = np.flatnonzero(index._alive)
    index._table = RowTable()
    same = index._table.put(id_words(index._ids), living)
    refuse_unless(bool((same == living).all()), KIND, path, "an id stands there twice")
    return index


def _check(
    index: Any, parts: dict[str, np.ndarray], sorted_rows: int, numbers: bool, path: str | Path
) -> None:
    """Whether every number is one that the search can use without looking."""
    rows, lists = parts["ids"].size, parts["lists"]
    shapes = {
        "vectors": (rows, index.dim),
        "ids": (rows,),
        "lists": (rows,),
        "alive": (rows,),
        "low": (index.dim,),
        "high": (index.dim,),
    }
    fits = numbers and all(parts[name].dtype == kind for name, kind in KINDS.items())
    fits = fits and all(parts[name].shape == shape for name, shape in shapes.items())
    fits = fits and parts["centres"].shape in ((0, index.dim), (index.n_lists, index.dim))
    refuse_unless(fits, KIND, path, "its parts do not fit")
    fits = sorted_rows <= rows and bool((np.diff(lists[:sorted_rows]) >= 0).all())
    fits = fits and bool(((lists >= 0) & (lists < index.n_lists)).all()) and bool((parts["ids"] >= 0).all())
    fits = fits and (sorted_rows == 0 or len(parts["centres"]) > 0)
    refuse_unless(fits, KIND, path, "its lists are not lists")
    finite = all(np.isfinite(parts[name]).all() for name in ("vectors", "centres", "low", "high"))
    refuse_unless(finite, KIND, path, "a number in it is not finite")
