"""Linking new nodes, batch by batch, and mending the graph when enough nodes are gone: the order of the compiled steps.

The first nodes come one by one: they are the skeleton that all later searches walk on. After that a batch is a
twentieth of the graph. Searching for neighbours goes on beside readers; only writing the links back keeps them waiting.
"""

from __future__ import annotations

import numpy as np

from minillm.search.ann.graph_build import come_down, link_back, links_of, place
from minillm.search.ann.graph_repair import attach, connect, lonely, mend
from minillm.search.ann.slots import Slots
from minillm.search.ann.threads import ReadWriteLock, in_parts

SKELETON = 512  # nodes that come one by one
PART = 20  # of the graph: a batch
LARGEST_BATCH = 2048
SORTED = (
    64  # mates: a larger batch is placed in the order of where its nodes come down, as queries are answered
)
SMALL = 1024  # nodes: a graph this small is flooded after every change
CHANGED = 16  # a larger one when a 16th part of it has changed
DEAD_PART = 10  # of the nodes: so many are DEAD before the graph is mended


class Builder:
    """Grows and mends the graph of `slots`. threads: for each batch; the graph does not depend on them."""

    def __init__(
        self, slots: Slots, ef: int, keep_pruned: bool, extend_candidates: bool, lock: ReadWriteLock
    ) -> None:
        self.slots, self.ef, self.lock = slots, ef, lock
        self.keep_pruned, self.extend_candidates = keep_pruned, extend_candidates
        self.changed = 0  # nodes linked or mended since the last flood

    def _query(self) -> np.ndarray:
        return np.empty(self.slots.dim, np.float32 if self.slots.scale is None else np.int16)

    def insert(self, nodes: np.ndarray, threads: int) -> None:
        """Link WAITING nodes."""
        at = 0
        while at < len(nodes):
            size = 1 if self.slots.nodes < SKELETON else min(self.slots.nodes // PART, LARGEST_BATCH)
            self._insert_batch(nodes[at : at + size], threads, True)
            at += size
        self._flood_if_needed(len(nodes))

    def _insert_batch(self, mates: np.ndarray, threads: int, new: bool) -> None:
        slots, graph = self.slots, self.slots.graph()
        entry, top = slots.entry, slots.top

        def choose(first: int, last: int) -> None:
            place(
                graph, slots.levels, mates, first, last, self._query(), entry, top, self.ef,
                self.keep_pruned, self.extend_candidates, new,
            )  # fmt: skip

        if len(mates) > SORTED:
            starts = np.full((len(mates), 2), entry)
            come_down(graph, mates, entry, top, self._query(), starts)
            mates = mates[np.lexsort((mates, starts[:, 1], starts[:, 0]))]
        if new:
            in_parts(choose, len(mates), threads)
        with self.lock.alone():
            if not new:  # they are in the graph: nobody may walk on it while their links are written
                choose(0, len(mates))
            for layer in range(int(slots.levels[mates].max()) + 1):
                pairs = np.sort(links_of(graph, slots.levels, mates, layer))
                targets = pairs >> np.uint64(32)
                bounds = np.append(np.flatnonzero(np.diff(targets, prepend=~np.uint64(0))), len(pairs))

                def add(first: int, last: int, layer=layer, pairs=pairs, bounds=bounds) -> None:
                    link_back(graph, layer, pairs, bounds, first, last, self._query(), self.keep_pruned)

                in_parts(add, len(bounds) - 1, threads)
            if new:
                slots.mark_linked(mates)
            attach(graph, slots.entry, lonely(graph, mates), self.ef, self._query())

    def _flood_if_needed(self, changed: int) -> None:
        slots = self.slots
        self.changed += changed
        if slots.entry >= 0 and (slots.nodes < SMALL or CHANGED * self.changed >= slots.nodes):
            with self.lock.alone():
                connect(slots.graph(), slots.state[: slots.size], slots.entry, self.ef, self._query())
            self.changed = 0

    def mend_if_needed(self, threads: int = 1) -> None:
        """Take DEAD nodes out of the graph when they are the tenth part of it."""
        slots = self.slots
        if slots.dead * DEAD_PART < max(slots.nodes, 1):
            return
        graph, thin = slots.graph(), np.zeros(slots.size, bool)

        def work(first: int, last: int) -> None:
            state = slots.state[: slots.size]
            mend(graph, slots.levels, state, first, last, self._query(), self.keep_pruned, thin)

        with self.lock.alone():
            in_parts(work, slots.size, threads)
            slots.bury()
        anew = np.flatnonzero(thin)
        for at in range(0, len(anew), LARGEST_BATCH):
            self._insert_batch(anew[at : at + LARGEST_BATCH], threads, False)
        self._flood_if_needed(slots.nodes)
