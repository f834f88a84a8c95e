"""A graph index as one file: slots as they are, so that what is loaded answers as what was saved.

Levels, twins, codes and the tables are not in it: they follow from the seed, the vectors and the states. What is in
it is checked before compiled code follows it: every link leads to a node on that layer, every id stands there once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minillm._files import BadFileError, load_arrays, save_arrays
from minillm.search.ann.results import refuse_unless
from minillm.search.ann.row_table import id_words, vector_words
from minillm.search.ann.slots import DEAD, FREE, LIVE, TWIN, Slots, at_cache_lines, draw_levels
from minillm.search.ann.twins import join_twins
from minillm.search.exact import LARGEST_ID

SETTINGS = (
    "dim",
    "metric",
    "m",
    "ef_construction",
    "codes",
    "seed",
    "keep_pruned",
    "extend_candidates",
)
KINDS = {
    "vectors": np.float32, "links": np.int32, "upper": np.int32, "ids": np.int64, "state": np.uint8,
    "low": np.float32, "high": np.float32,
}  # fmt: skip


def kind_of(cls: Any) -> str:
    """How a file calls itself."""
    return "NSW index" if cls.ONE_LAYER else "HNSW index"


def save(index: Any, path: str | Path) -> Path:
    """Write the index; nobody may change it meanwhile."""
    slots = index._slots
    size = slots.size
    nothing = np.zeros(index.dim, np.float32)
    arrays = {name: getattr(slots, name)[:size] for name in ("vectors", "links", "ids", "state")}
    arrays["upper"] = slots.upper[: slots.upper_size]
    arrays["low"], arrays["high"] = (
        (nothing, nothing) if slots.scale is None else (slots.scale.low, slots.scale.high)
    )
    meta = {name: getattr(index, name) for name in SETTINGS}
    meta |= {"entry": slots.entry, "next_id": index._next_id, "changed": index._builder.changed}
    return save_arrays(path, kind_of(type(index)), arrays, meta)


def load(cls: Any, path: str | Path) -> Any:
    """The index; BadFileError for a file that `save` did not write."""
    kind = kind_of(cls)
    arrays, meta = load_arrays(path, kind)
    try:
        index = cls(**{name: meta[name] for name in SETTINGS})
        parts = {name: arrays[name] for name in KINDS}
        entry, next_id, changed = meta["entry"], meta["next_id"], meta["changed"]
    except (KeyError, TypeError, ValueError) as error:
        raise BadFileError(f"{kind} {str(path)!r} is refused: {error}") from None
    fits = type(entry) is type(next_id) is type(changed) is int and min(next_id, changed) >= 0
    refuse_unless(fits and next_id <= LARGEST_ID, kind, path, "its numbers are no numbers")
    size = parts["ids"].size
    levels = draw_levels(index.seed, 0, size, index.m, cls.ONE_LAYER)
    _check_shapes(index, parts, levels, kind, path)
    slots = index._slots
    slots.size, slots.levels = size, levels
    slots.upper_at = (np.cumsum(levels, dtype=np.int64) - levels).astype(np.int32)
    slots.upper_size = len(parts["upper"])
    for name in ("vectors", "links", "upper"):
        setattr(slots, name, at_cache_lines(parts[name]))
    slots.ids, slots.state = parts["ids"], parts["state"]
    slots.twin = np.full(size, -1, np.int32)
    _check_graph(slots, entry, kind, path)
    if slots.scale is not None:
        slots.scale.low, slots.scale.high, slots.scale.fitted = parts["low"], parts["high"], size > 0
        slots.coded = at_cache_lines(slots.scale.encode(slots.vectors))
    _find_twins(slots, kind, path)
    slots.count()
    slots.entry, slots.top = entry, int(levels[entry]) if entry >= 0 else -1
    index._next_id, index._builder.changed = next_id, changed
    return index


def _check_shapes(
    index: Any, parts: dict[str, np.ndarray], levels: np.ndarray, kind: str, path: str | Path
) -> None:
    size, dim, m = len(levels), index.dim, index.m
    shapes = {
        "vectors": (size, dim), "links": (size, 2 * m), "upper": (int(levels.sum(dtype=np.int64)), m),
        "ids": (size,), "state": (size,), "low": (dim,), "high": (dim,),
    }  # fmt: skip
    fits = all(parts[name].shape == shape for name, shape in shapes.items())
    fits = fits and all(parts[name].dtype == wanted for name, wanted in KINDS.items())
    refuse_unless(fits, kind, path, "its parts do not fit")
    finite = all(np.isfinite(parts[name]).all() for name in ("vectors", "low", "high"))
    refuse_unless(finite, kind, path, "a number in it is not finite")


def _check_graph(slots: Slots, entry: int, kind: str, path: str | Path) -> None:
    """Every link leads to a node, on layer l to one whose level is l at least, and -1 stands only at the end of a
    row."""
    nodes = (slots.state == LIVE) | (slots.state == DEAD)
    states = (slots.state <= DEAD).all() and (slots.ids[slots.state != FREE] >= 0).all()
    refuse_unless(bool(states), kind, path, "its slots are in no known state")
    owner = np.repeat(np.arange(slots.size), slots.levels)  # whose row of `upper` it is
    layer = np.arange(len(owner)) - slots.upper_at[owner] + 1
    of_nodes = nodes[owner]
    for table, lowest in (
        (slots.links[nodes], np.zeros(int(nodes.sum()), np.int64)),
        (slots.upper[of_nodes], layer[of_nodes]),
    ):
        inside = (table >= -1) & (table < slots.size)
        refuse_unless(bool(inside.all()), kind, path, "a link leads out of it")
        there = table >= 0
        ends = (there[:, 1:] <= there[:, :-1]).all()
        leads = (nodes[table] & (slots.levels[table] >= lowest[:, None])) | ~there
        refuse_unless(bool(ends and leads.all()), kind, path, "a link leads to no node")
    starts = (0 <= entry < slots.size and bool(nodes[entry])) if nodes.any() else entry == -1
    # An interrupted add may leave DEAD nodes that are higher: no walk started there.
    starts = starts and (entry < 0 or (slots.levels[slots.state == LIVE] <= slots.levels[entry]).all())
    refuse_unless(bool(starts), kind, path, "its entry is no node of the top layer")


def _find_twins(slots: Slots, kind: str, path: str | Path) -> None:
    live, twins = np.flatnonzero(slots.state == LIVE), np.flatnonzero(slots.state == TWIN)
    words, ids = vector_words(slots.vectors), id_words(slots.ids)
    both = np.concatenate([live, twins])
    refuse_unless(bool((slots.by_id.put(ids, both) == both).all()), kind, path, "an id stands there twice")
    alone = (slots.by_vector.put(words, live) == live).all()
    refuse_unless(bool(alone), kind, path, "two nodes have the same vector")
    nodes = slots.by_vector.find(words, words[twins])
    refuse_unless(bool((nodes >= 0).all()), kind, path, "a twin has no node")
    join_twins(slots.twin, slots.state, twins, nodes)
