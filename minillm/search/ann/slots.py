"""Where the vectors of a graph index lie: numbered slots, used again when what was in them is gone.

    LIVE      a node of the graph under an id
    TWIN      an id whose vector a LIVE node has, too; `twin` leads from that node to all of them
    DEAD      removed, but still walked over, until the links around it are mended
    WAITING   a new node, not linked yet
    FREE      to be used again

So a thousand equal vectors are one node, and none of them is hidden behind the others. When a node with twins is
removed, a twin's id moves into its slot. The level of a slot is drawn when it is first used, and kept for what comes
later: levels do not depend on vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm._checks import check_int
from minillm.search.ann.codes import Codes
from minillm.search.ann.gaps import L2
from minillm.search.ann.graph_search import Graph
from minillm.search.ann.row_table import RowTable, id_words, vector_words
from minillm.search.ann.twins import join_twins, leave_twins
from minillm.search.ann.vectors import metric_number

FREE, LIVE, TWIN, DEAD, WAITING = range(5)
GROWTH = 1.5


def aligned(shape: tuple[int, ...], kind: Any) -> np.ndarray:
    """An array that begins with a cache line: rows of 64 bytes then lie in one line, not in two."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    room = np.empty(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(kind).reshape(shape)


def at_cache_lines(array: np.ndarray) -> np.ndarray:
    """A copy that is `aligned`: a file gives arrays that begin anywhere."""
    copy = aligned(array.shape, array.dtype)
    copy[...] = array
    return copy


class Slots:
    """The arrays of an index of vectors of width dim, with m links a node, whose levels go up to `highest`."""

    def __init__(self, dim: int, metric: str, m: int, codes: str | None, seed: int, one_layer: bool) -> None:
        self.dim, self.metric, self.m, self.seed, self.one_layer = dim, metric, m, seed, one_layer
        self.scale = Codes(dim, metric == "ip") if codes else None
        self.size = 0  # slots that were ever used
        self.entry, self.top = -1, -1  # where walks start, and on which layer
        self.nodes = self.dead = self.twins = 0  # in the graph (LIVE or DEAD); of these DEAD; TWIN
        self.free = np.empty(0, np.int64)
        self.vectors, self.coded = np.empty((0, dim), np.float32), np.empty((0, dim), np.uint8)
        self.links, self.upper = np.empty((0, 2 * m), np.int32), np.empty((0, m), np.int32)
        self.upper_at, self.levels = np.empty(0, np.int32), np.empty(0, np.uint8)
        self.ids, self.twin, self.state = np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.uint8)
        self.upper_size = 0
        self.by_id, self.by_vector = RowTable(), RowTable()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a copy, whose arrays would begin anywhere."""
        lines = {name: at_cache_lines(state[name]) for name in ("vectors", "coded", "links", "upper")}
        vars(self).update(state | lines)

    def __len__(self) -> int:
        return self.nodes - self.dead + self.twins

    def graph(self) -> Graph:
        """What walks read. Codes of cosine vectors are compared as l2: of vectors of length 1 the order is the same."""
        metric = metric_number(self.metric)
        if self.scale is None:
            return Graph(self.vectors, self.links, self.upper, self.upper_at, metric)
        metric = metric if self.metric == "ip" else L2
        return Graph(self.coded, self.links, self.upper, self.upper_at, metric)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = [part for part in vars(self).values() if isinstance(part, np.ndarray)]
        return sum(part.nbytes for part in arrays) + self.by_id.nbytes + self.by_vector.nbytes

    def neighbours(self, slot: int, layer: int) -> list[int]:
        """Ids that the node of a slot has links to, ascending."""
        node = int(self.by_vector.find(vector_words(self.vectors), self.vectors[[slot]].view(np.uint32))[0])
        layer = check_int("layer", layer, minimum=0, maximum=int(self.levels[node]))
        row = self.links[node] if layer == 0 else self.upper[self.upper_at[node] + layer - 1]
        return sorted(self.ids[other].item() for other in row if other >= 0 and self.state[other] == LIVE)

    def find(self, ids: np.ndarray) -> np.ndarray:
        """Slots of ids, -1 for those that are not in."""
        return self.by_id.find(id_words(self.ids), id_words(ids))

    def living(self) -> np.ndarray:
        """Which slots have an id that can be found, bool (size,)."""
        state = self.state[: self.size]
        return (state == LIVE) | (state == TWIN)

    def take_in(self, vectors: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Put vectors into slots; returns the slots, and those of them that must be linked as nodes."""
        count = len(ids)
        reused = self.free[:count]
        self._reserve(count - len(reused))
        slots = np.concatenate([reused, np.arange(self.size - (count - len(reused)), self.size)])
        self.free = self.free[len(reused) :]
        self.vectors[slots], self.ids[slots] = vectors, ids
        self.state[slots], self.twin[slots], self.links[slots] = WAITING, -1, -1
        for slot in reused[self.levels[reused] > 0]:
            self.upper[self.upper_at[slot] : self.upper_at[slot] + self.levels[slot]] = -1
        if self.scale is not None:
            grown = self.scale.widen(vectors)
            self.coded[slots] = self.scale.encode(vectors)
            if grown:
                self.coded[: self.size] = self.scale.encode(self.vectors[: self.size])
        self.by_id.put(id_words(self.ids), slots)
        nodes = self.by_vector.put(vector_words(self.vectors), slots)
        join_twins(self.twin, self.state, slots, nodes)
        self.twins += int((nodes != slots).sum())
        return slots, slots[nodes == slots]

    def take_back(self, ids: np.ndarray) -> None:
        """Nothing is left of an add that stopped anywhere in `take_in` or in linking: what is in is let go, and what
        had a slot and no more is DEAD, too."""
        if self.scale is not None:  # the range may have grown before the codes did
            self.coded[: self.size] = self.scale.encode(self.vectors[: self.size])
        slots = self.find(ids)
        self.let_go(slots[slots >= 0])
        state = self.state[: self.size]
        state[state == WAITING] = DEAD
        self.count()

    def _reserve(self, count: int) -> None:
        """`count` more slots behind the others, with their levels and upper rows."""
        end = self.size + count
        levels = draw_levels(self.seed, self.size, count, self.m, self.one_layer)
        if end > len(self.ids):
            room = max(end, int(self.size * GROWTH))
            names = ("vectors", "links", "upper_at", "levels", "ids", "twin", "state")
            names += ("coded",) if self.scale is not None else ()
            longer = {name: _longer(getattr(self, name), self.size, room) for name in names}
            self.__dict__.update(longer)  # all of them, or none where memory is short
        upper = self.upper_size + int(levels.sum())
        if upper > len(self.upper):
            self.upper = _longer(self.upper, self.upper_size, max(upper, int(self.upper_size * GROWTH)))
        self.levels[self.size : end] = levels
        self.upper_at[self.size : end] = self.upper_size + np.cumsum(levels) - levels
        self.upper[self.upper_size : upper] = -1
        self.vectors[self.size : end], self.state[self.size : end] = 0, FREE
        self.size, self.upper_size = end, upper

    def mark_linked(self, nodes: np.ndarray) -> None:
        """WAITING nodes are in the graph now; the highest of them may be the new entry."""
        self.state[nodes] = LIVE
        self.nodes += len(nodes)
        self._enter_at(nodes)

    def _enter_at(self, nodes: np.ndarray) -> None:
        levels = self.levels[nodes].astype(np.int64)
        if len(nodes) and levels.max() > self.top:
            self.entry, self.top = int(nodes[levels.argmax()]), int(levels.max())

    def let_go(self, slots: np.ndarray) -> None:
        """Ids are gone at once: twins leave their node, nodes without twins are DEAD."""
        self.by_id.take(id_words(self.ids), slots)
        words = vector_words(self.vectors)
        nodes = np.unique(self.by_vector.find(words, self.vectors[slots].view(np.uint32)))
        nodes = nodes[nodes >= 0]  # -1: interrupted before it was a node
        doomed = np.zeros(self.size, bool)
        doomed[slots] = True
        heirs = np.empty(len(nodes), np.int64)
        leave_twins(self.twin, self.state, doomed, nodes, heirs)
        inherited = heirs >= 0
        if inherited.any():
            self.by_id.take(id_words(self.ids), heirs[inherited])
            self.ids[nodes[inherited]] = self.ids[heirs[inherited]]
            self.by_id.put(id_words(self.ids), nodes[inherited])
        gone = nodes[doomed[nodes] & ~inherited]
        self.by_vector.take(words, gone)
        self.state[gone] = DEAD
        self.count()

    def count(self) -> None:
        """Count the states again."""
        counts = np.bincount(self.state[: self.size], minlength=5)
        self.twins, self.dead, self.nodes = (
            int(counts[TWIN]),
            int(counts[DEAD]),
            int(counts[LIVE] + counts[DEAD]),
        )
        self.free = np.flatnonzero(self.state[: self.size] == FREE)

    def bury(self) -> None:
        """DEAD nodes, to which no link leads any more, are FREE; walks start at the highest node that is left."""
        dead = np.flatnonzero(self.state[: self.size] == DEAD)
        self.state[dead] = FREE
        self.links[dead] = -1
        self.count()
        if self.entry >= 0 and self.state[self.entry] != LIVE:
            self.entry = self.top = -1
            self._enter_at(np.flatnonzero(self.state[: self.size] == LIVE))


def draw_levels(seed: int, first: int, count: int, m: int, one_layer: bool = False) -> np.ndarray:
    """The levels of slots first to first + count, uint8: floor(-ln(u) / ln(m)), whatever was drawn in one go."""
    if one_layer:
        return np.zeros(count, np.uint8)
    generator = np.random.default_rng(seed)
    generator.bit_generator.advance(first)
    return np.minimum(-np.log(1 - generator.random(count)) / np.log(m), 63).astype(np.uint8)


def _longer(array: np.ndarray, filled: int, room: int) -> np.ndarray:
    longer = aligned((room, *array.shape[1:]), array.dtype)
    longer[:filled] = array[:filled]
    return longer
