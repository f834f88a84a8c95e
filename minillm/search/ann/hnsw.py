"""HNSWIndex: the graph of hnsw_plain.py as one uses it: fast, with ids, removal, filters, threads, and a file.

    graph_search.py   walking             graph_build.py    choosing links      insert.py   batches of new nodes
    graph_repair.py   mending             slots.py          where vectors lie   query.py    from queries to results

For the same seed it builds the graph of PlainHNSW, link by link, as long as nodes come one by one (the first 512) and
none of them is equal to another or turned down by all the others. After that batches are linked together: the graph is
another one, found as well, and the same for any number of threads.

Book: 12.2.4 (HNSW), 12.3. Paper: Malkov & Yashunin 2016. Peers: hnswlib, faiss IndexHNSWFlat and HNSWSQ with refining.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from minillm._checks import check_choice, check_flag, check_int
from minillm.search.ann import hnsw_file
from minillm.search.ann.codes import LARGEST_DIM
from minillm.search.ann.insert import Builder
from minillm.search.ann.per_search import PerSearch
from minillm.search.ann.query import find
from minillm.search.ann.results import check_codes, check_pairs, check_threads, fixed_filter
from minillm.search.ann.slots import Slots
from minillm.search.ann.threads import ReadWriteLock
from minillm.search.ann.vectors import prepare
from minillm.search.exact import METRICS, check_ids

EF_SEARCH = 64


class HNSWIndex:
    """Vectors of width `dim` under integer ids, in a hierarchical graph. metric: "l2" (squared), "cosine" or "ip".

    m: links a new node makes on each layer; it keeps up to 2 m on layer 0. ef_construction: candidates it chooses from.
    codes: "uint8" walks on bytes and orders what it finds by the vectors; the bytes have one scale, and a single vector
    far from all others makes it too coarse for them. keep_pruned, extend_candidates: as in the paper's algorithm 4. One
    thread may change the index while others search. Vectors so short that float32 cannot hold their squares (1e-22) are
    all alike to l2 and ip. Raises ValueError for a number out of range, an unknown metric or unknown codes.
    """

    ONE_LAYER = False
    ef = ef_search = PerSearch("ef_search")

    def __init__(
        self,
        dim: int,
        metric: str = "l2",
        m: int = 16,
        ef_construction: int = 200,
        codes: str | None = None,
        seed: int = 0,
        keep_pruned: bool = True,
        extend_candidates: bool = False,
    ) -> None:
        self.dim = check_int("dim", dim, minimum=1)
        self.metric = check_choice("metric", metric, METRICS)
        self.m = check_int("m", m, minimum=2, maximum=256)
        self.ef_construction = check_int("ef_construction", ef_construction, minimum=1, maximum=2**20)
        self.codes = check_codes(codes, self.dim, LARGEST_DIM)
        self.seed = check_int("seed", seed, minimum=0)
        self.keep_pruned = check_flag("keep_pruned", keep_pruned)
        self.extend_candidates = check_flag("extend_candidates", extend_candidates)
        self._lock = ReadWriteLock()
        self._one_writer = threading.RLock()
        self._next_id = 0
        self._start()

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock of who changes it: a copy, or what another process reads, has its own."""
        return {name: value for name, value in vars(self).items() if name != "_one_writer"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _one_writer=threading.RLock())

    def _start(self, slots: Slots | None = None) -> None:
        self._slots = slots or Slots(self.dim, self.metric, self.m, self.codes, self.seed, self.ONE_LAYER)
        self._builder = Builder(
            self._slots, self.ef_construction, self.keep_pruned, self.extend_candidates, self._lock
        )

    def __len__(self) -> int:
        """Number of ids."""
        return len(self._slots)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that vectors, codes, links and ids take, with the room behind them."""
        return self._slots.nbytes

    def add(self, vectors: Any, ids: Any = None, threads: int = 1) -> np.ndarray:
        """Store vectors (N, D) under `ids` (N different integers >= 0, new to the index); returns the ids, int64.

        Without ids the next free numbers are given. A search beside it sees batch after batch; if it is interrupted,
        all that it added is taken out again. Raises ValueError for a wrong shape, NaN, infinity, a vector longer than
        2^60, a zero vector under cosine, or an id that is already there; then nothing was added.
        """
        vectors, threads = prepare("vectors", vectors, self.dim, self.metric), check_threads(threads)
        ids = None if ids is None else check_ids("ids", ids)
        with self._one_writer:
            if ids is None:
                ids = check_ids("ids", np.arange(self._next_id, self._next_id + len(vectors)))
            check_pairs(vectors, ids)
            there = self._slots.find(ids) >= 0
            if there.any():
                raise ValueError(f"ids must be new, got {ids[there][0]} which is already there")
            if len(ids):
                self._add(vectors, ids, threads)
        return ids

    def _add(self, vectors: np.ndarray, ids: np.ndarray, threads: int) -> None:
        try:
            with self._lock.alone():
                _, nodes = self._slots.take_in(vectors, ids)
            self._builder.insert(nodes, threads)
        except BaseException:
            with self._lock.alone():
                self._slots.take_back(ids)
                self._start_again_if_empty()
            raise
        self._next_id = max(self._next_id, int(ids.max()) + 1)

    def _let_go(self, slots: np.ndarray) -> None:
        with self._lock.alone():
            self._slots.let_go(slots)
            self._start_again_if_empty()

    def _start_again_if_empty(self) -> None:
        if len(self._slots) == 0:
            self._start()

    def _find_all(self, ids: np.ndarray) -> np.ndarray:
        slots = self._slots.find(ids)
        if (slots < 0).any():
            raise ValueError(f"ids must be in the index, got {ids[slots < 0][0]} which is not")
        return slots

    def remove(self, ids: Any) -> None:
        """Take vectors out. They are not found any more at once; the graph is mended, and their memory used again,
        when a tenth of it is gone. Raises ValueError when an id is not there; then nothing was removed."""
        ids = np.unique(check_ids("ids", ids))
        with self._one_writer:
            slots = self._find_all(ids)
            if len(slots):
                self._let_go(slots)
                self._builder.mend_if_needed()

    def update(self, vectors: Any, ids: Any) -> None:
        """Put other vectors (N, D) in the place of those under ids. Searches see the old ones or the new ones. Raises
        ValueError as `add`, and when an id is not there; then nothing was changed. An interrupt leaves all the old
        ones or all the new ones."""
        vectors, ids = prepare("vectors", vectors, self.dim, self.metric), check_ids("ids", ids)
        with self._one_writer:
            check_pairs(vectors, ids)
            slots = self._find_all(ids)
            changed = (self._slots.vectors[slots] != vectors).any(axis=1)
            if changed.any():
                with self._lock.alone():
                    self._replace(slots[changed], vectors[changed], ids[changed])
                    self._builder.mend_if_needed()

    def _replace(self, slots: np.ndarray, vectors: np.ndarray, ids: np.ndarray) -> None:
        before = self._slots.vectors[slots]
        try:
            self._let_go(slots)
            self._add(vectors, ids, 1)
        except BaseException:  # interrupted: the old vectors come back
            gone = self._slots.find(ids) < 0
            self._add(before[gone], ids[gone], 1)
            raise

    def search(
        self, queries: Any, k: int = 10, ef_search: int | None = None, filter: Any = None, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest of each query (Q, D): ids (Q, k) int64 and distances (Q, k) float32, nearest first.

        ef_search: nodes that the walk keeps, 64 by default and k at least: more is slower and finds more. Where fewer
        than k exist, the rest is id -1 at distance infinity. filter: as ExactIndex.search; if it lets so few
        pass that looking at all of them is less work (45 % of 5,000, 10 % of 100,000, 3 % of a million with the
        default width), that is done. Raises ValueError for a wrong shape, NaN, a zero vector under cosine, a number
        below 1, or another kind of filter.
        """
        queries = prepare("queries", queries, self.dim, self.metric)
        k, threads = check_int("k", k, minimum=1), check_threads(threads)
        ef = check_int("ef_search", EF_SEARCH if ef_search is None else ef_search, minimum=1, maximum=2**31)
        filter = fixed_filter(filter, self._living_ids)
        with self._lock.shared():
            return find(self._slots, queries, k, ef, filter, threads)

    def _living_ids(self) -> np.ndarray:
        with self._lock.shared():
            return self._slots.ids[: self._slots.size][self._slots.living()]

    def neighbours(self, id: int, layer: int = 0) -> list[int]:
        """Ids that the node of an id has links to, ascending: a picture of the graph needs them. An id whose vector
        another id had before shares its node. Raises ValueError for an id that is not there, or a layer that it is
        not on."""
        with self._lock.shared():
            return self._slots.neighbours(int(self._find_all(check_ids("id", [id]))[0]), layer)

    def save(self, path: str | Path) -> Path:
        """Write the index as one file, whole or not at all."""
        with self._one_writer:
            return hnsw_file.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Any:
        """The index that `save` wrote; BadFileError (a ValueError) naming the file when it is cut or damaged."""
        return hnsw_file.load(cls, path)


class NSWIndex(HNSWIndex):
    """HNSWIndex with one layer, a navigable small world: every search starts at the first node and walks by streets.

    Book: 12.2.3 (NSW). Paper: Malkov et al. 2014, but for the choice of neighbours, which is HNSW's.
    """

    ONE_LAYER = True
