"""IVF, the inverted file (역파일 인덱스): look only into the lists whose centres are near the query.

    build    k-means finds n_lists centres; each vector goes into the list of its nearest centre
    search   the n_probe lists whose centres are nearest to the query are looked at whole

`search_plain` is just that. The index keeps the vectors of a list side by side in memory, and answers a batch list by
list: what is read from memory once serves every query that asks for it, and where many ask, one matrix product tells
which of its rows are worth measuring (products.py). New vectors wait in a tail that every search
looks at; when it has grown to a sixteenth of all, it is sorted in. With codes="uint8" lists are read as bytes, and the
best candidates are put in order by their vectors.

Book: 12.2.2 (근사 최근접 이웃, ANN). Paper: Jégou et al. 2011. Peer: faiss IndexIVFFlat, IndexIVFScalarQuantizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minillm._checks import check_choice, check_int, describe
from minillm.search.ann import ivf_file
from minillm.search.ann.codes import LARGEST_DIM, Codes
from minillm.search.ann.gaps import L2, NO_KEY
from minillm.search.ann.kmeans import assign, kmeans
from minillm.search.ann.per_search import PerSearch
from minillm.search.ann.products import WORTH, nearest_lists, scan_products
from minillm.search.ann.results import (
    as_result,
    check_codes,
    check_pairs,
    check_threads,
    fixed_filter,
)
from minillm.search.ann.row_table import RowTable, id_words
from minillm.search.ann.scan import nearest, order_again, scan, scan_groups
from minillm.search.ann.threads import ReadWriteLock, in_parts
from minillm.search.ann.vectors import metric_number, prepare
from minillm.search.exact import METRICS, allowed_rows, check_ids, distances_plain

ENOUGH = 8  # vectors for each list before k-means is worth it: below, everything is looked at
GROWN = 4  # times as many vectors as when the centres were found: they are found anew
TAIL = 16  # the tail is sorted in when it is the 16th part of all
SELECTIVE = (
    0.25  # where a filter lets fewer pass, the lists near a query hold too few: all that pass are looked at
)
LONG = 64  # lists to look at: from here on they are not kept in order
DEAD = 8  # removed rows are given up when they are the 8th part


def search_plain(
    query: np.ndarray,
    vectors: np.ndarray,
    centres: np.ndarray,
    lists: np.ndarray,
    k: int,
    n_probe: int,
    metric: str = "l2",
) -> list[int]:
    """Places of the k nearest of vectors (N, D) in the n_probe nearest lists. lists (N,): the list of each vector.

    Raises ValueError for a number below 1, an unknown metric, or shapes that do not fit.
    """
    check_int("k", k, minimum=1)
    check_int("n_probe", n_probe, minimum=1)
    if np.shape(lists) != np.shape(vectors)[:1]:
        raise ValueError(
            f"lists must name a list for each vector, got {describe(lists)} and {describe(vectors)}"
        )
    probed = np.argsort(distances_plain(query, centres, metric), kind="stable")[:n_probe]
    places = np.flatnonzero(np.isin(lists, probed))
    order = np.argsort(distances_plain(query, vectors[places], metric), kind="stable")[:k]
    return places[order].tolist()


class IVFIndex:
    """Vectors of width `dim` under integer ids, in `n_lists` lists. metric: "l2" (squared), "cosine" or "ip".

    codes: "uint8" reads a quarter of the memory and orders 2 k candidates by their vectors; one scale for all, as in
    HNSWIndex. Until there are 8 vectors for each list, all are looked at. Safe for many threads that search while one
    changes it. Raises ValueError for a number below 1, an unknown metric or unknown codes.
    """

    nprobe = n_probe = PerSearch("n_probe")

    def __init__(
        self, dim: int, metric: str = "l2", n_lists: int = 100, codes: str | None = None, seed: int = 0
    ) -> None:
        self.dim = check_int("dim", dim, minimum=1)
        self.metric = check_choice("metric", metric, METRICS)
        self.n_lists = check_int("n_lists", n_lists, minimum=1, maximum=2**24)
        self.codes = check_codes(codes, self.dim, LARGEST_DIM)
        self.seed = check_int("seed", seed, minimum=0)
        self._lock = ReadWriteLock()
        self._next_id = 0
        self._clear()

    def _clear(self) -> None:
        self._size = self._sorted = (
            0  # rows in use; of these so many stand list by list, the others are the tail
        )
        self._dead = 0
        self._vectors = np.empty((0, self.dim), np.float32)
        self._coded = np.empty((0, self.dim), np.uint8)
        self._ids, self._lists = np.empty(0, np.int64), np.empty(0, np.int32)
        self._alive = np.empty(0, bool)
        self._starts = np.zeros(self.n_lists + 1, np.int64)
        self._centres: np.ndarray | None = None
        self._trained = 0  # vectors that the centres were found from
        self._scale = Codes(self.dim, self.metric == "ip")
        self._table = RowTable()

    def __len__(self) -> int:
        """Number of vectors."""
        return self._size - self._dead

    def add(self, vectors: Any, ids: Any = None) -> np.ndarray:
        """Store vectors (N, D) under `ids` (N different integers >= 0, new to the index); returns the ids, int64.

        The first vectors that suffice are also those that the centres are found from. Without ids the next free numbers
        are given. Raises ValueError as ExactIndex.add, and for a vector that `prepare` refuses; then nothing was added.
        """
        vectors = prepare("vectors", vectors, self.dim, self.metric)
        ids = None if ids is None else check_ids("ids", ids)
        with self._lock.alone():
            if ids is None:
                ids = check_ids("ids", np.arange(self._next_id, self._next_id + len(vectors)))
            check_pairs(vectors, ids)
            there = self._table.find(id_words(self._ids), id_words(ids)) >= 0
            if there.any():
                raise ValueError(f"ids must be new, got {ids[there][0]} which is already there")
            if len(ids):
                try:
                    self._append(vectors, ids)
                    self._settle_if_needed()
                except BaseException:
                    self._take_back(ids)
                    raise
                self._next_id = max(self._next_id, int(ids.max()) + 1)
        return ids

    def _take_back(self, ids: np.ndarray) -> None:
        if self.codes:  # the range may have grown before the codes did
            self._coded[: self._size] = self._scale.encode(self._vectors[: self._size])
        rows = self._table.find(id_words(self._ids), id_words(ids))
        self._table.take(id_words(self._ids), rows[rows >= 0])
        self._alive[rows[rows >= 0]] = False
        self._dead = int((~self._alive[: self._size]).sum())

    def _append(self, vectors: np.ndarray, ids: np.ndarray) -> None:
        first, end = self._size, self._size + len(ids)
        if end > len(self._ids):
            room = max(end, self._size * 3 // 2)
            names, longer = ("_vectors", "_ids", "_lists", "_alive", *(("_coded",) if self.codes else ())), {}
            for name in names:
                old = getattr(self, name)
                longer[name] = np.empty((room, *old.shape[1:]), old.dtype)
                longer[name][:first] = old[:first]
            self.__dict__.update(longer)  # all of them, or none where memory is short
        self._vectors[first:end], self._ids[first:end], self._alive[first:end] = vectors, ids, True
        self._lists[first:end] = 0 if self._centres is None else assign(vectors, self._centres)[0]
        if self.codes:
            grown = self._scale.widen(vectors)
            new = slice(0 if grown else first, end)
            self._coded[new] = self._scale.encode(self._vectors[new])
        self._table.put(id_words(self._ids), np.arange(first, end))
        self._size = end  # last: whatever stops this leaves rows behind the end, which nobody looks at

    def _settle_if_needed(self) -> None:
        living = len(self)
        untrained = self._centres is None and living >= ENOUGH * self.n_lists
        grown = self._centres is not None and living >= GROWN * self._trained
        long_tail = self._centres is not None and TAIL * (self._size - self._sorted) > self._size
        if untrained or grown or long_tail or DEAD * self._dead > self._size:
            self._settle(untrained or grown)

    def _settle(self, train: bool) -> None:
        """Put living rows side by side, list by list; before that, find the centres where they are wanted."""
        rows = np.flatnonzero(self._alive[: self._size])
        lists, centres, trained = self._lists[rows], self._centres, self._trained
        if train:
            vectors = self._vectors[rows]
            centres, trained = kmeans(vectors, self.n_lists, self.seed), len(rows)
            lists = assign(vectors, centres)[0].astype(np.int32)
        order = np.argsort(lists, kind="stable")
        rows, lists = rows[order], lists[order]
        ids, table = self._ids[rows], RowTable()
        table.put(id_words(ids), np.arange(len(rows)))
        settled = {
            "_vectors": self._vectors[rows], "_ids": ids, "_lists": lists, "_alive": np.ones(len(rows), bool),
            "_coded": self._coded[rows] if self.codes else self._coded, "_table": table,
            "_size": len(rows), "_dead": 0, "_sorted": 0 if centres is None else len(rows),
            "_starts": np.searchsorted(lists, np.arange(self.n_lists + 1)), "_centres": centres, "_trained": trained,
        }  # fmt: skip
        self.__dict__.update(settled)  # in one step: an interrupt leaves the lists as they were

    def remove(self, ids: Any) -> None:
        """Take vectors out. Raises ValueError when an id is not there; then nothing was removed."""
        ids = np.unique(check_ids("ids", ids))
        with self._lock.alone():
            rows = self._table.find(id_words(self._ids), id_words(ids))
            if (rows < 0).any():
                raise ValueError(f"ids must be in the index, got {ids[rows < 0][0]} which is not")
            self._table.take(id_words(self._ids), rows)
            self._alive[rows] = False
            self._dead += len(rows)
            if len(self) == 0:
                self._clear()
            else:
                self._settle_if_needed()

    def search(
        self,
        queries: Any,
        k: int = 10,
        ef_search: int | None = None,
        filter: Any = None,
        n_probe: int | None = None,
        threads: int = 1,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest of each query (Q, D): ids (Q, k) int64 and distances (Q, k) float32, nearest first.

        n_probe: lists to look at, by default the root of n_lists. Where fewer than k are found in them, all vectors are
        looked at; where fewer exist, the rest is id -1 at distance infinity. filter: as ExactIndex.search; of a filter
        that lets less than a quarter pass, all that pass are looked at. ef_search is ignored. Raises ValueError for a
        wrong shape, NaN, a number below 1, or another kind of filter.
        """
        queries = prepare("queries", queries, self.dim, self.metric)
        k, threads = check_int("k", k, minimum=1), check_threads(threads)
        n_probe = check_int(
            "n_probe", max(1, round(self.n_lists**0.5)) if n_probe is None else n_probe, minimum=1
        )
        filter = fixed_filter(filter, self._living_ids)
        with self._lock.shared():
            ids = self._ids[: self._size]
            allowed = self._alive[: self._size]
            if filter is not None:
                allowed = allowed & allowed_rows(ids, filter)
            places = np.flatnonzero(allowed)
            few = filter is not None and len(places) < SELECTIVE * len(self)
            width = min(k, len(places))
            keys = np.full((len(queries), k), NO_KEY)
            if len(places) and len(queries):
                metric = metric_number(self.metric)
                if self._centres is None or few or 2 * width > len(places):
                    keys[:, :width] = nearest(metric, self._vectors, places, queries, width, threads)
                else:
                    keys[:, :width] = self._probe(queries, width, min(n_probe, self.n_lists), places, threads)
                    short = np.flatnonzero(keys[:, width - 1] == NO_KEY)
                    if len(short):
                        keys[short, :width] = nearest(
                            metric, self._vectors, places, queries[short], width, threads
                        )
            return as_result(keys, ids, self.metric)

    def _living_ids(self) -> np.ndarray:
        with self._lock.shared():
            return self._ids[: self._size][self._alive[: self._size]]

    def _probe(
        self, queries: np.ndarray, k: int, n_probe: int, places: np.ndarray, threads: int
    ) -> np.ndarray:
        """Keys (Q, k) of the nearest of `places` (ascending) in the nearest lists and the tail."""
        table = queries @ self._centres.T  # (Q, n_lists)
        if self.metric == "l2":
            table = np.einsum("kd,kd->k", self._centres, self._centres) - 2 * table
        else:
            table = -table
        few = n_probe <= LONG
        probes = (
            nearest_lists(table, n_probe) if few else np.argpartition(table, n_probe - 1, axis=1)[:, :n_probe]
        )
        sharp = metric_number(self.metric)
        rows, metric, asked, width = self._vectors, sharp, queries, k
        if self.codes:
            rows, metric, width = self._coded, sharp if self.metric == "ip" else L2, max(2 * k, k + 8)
            asked = self._scale.encode_queries(queries)
        starts = np.searchsorted(places, np.append(self._starts[:-1], self._sorted))
        tail = places[starts[-1] :]
        whole = len(places) == self._size  # neither a filter nor removed rows
        keys = np.full((len(queries), width), NO_KEY)
        result = np.full((len(queries), k), NO_KEY) if self.codes else keys

        def work(first: int, last: int) -> None:
            lists = probes[first:last].ravel()
            order = np.argsort(lists, kind="stable")
            who = order // n_probe + first
            bounds = np.searchsorted(lists[order], np.arange(self.n_lists + 1))
            if whole and len(who) * self._sorted >= WORTH * self.n_lists**2:
                scan_products(metric, rows, self._starts, asked, who, bounds, keys)
            else:
                scan_groups(metric, rows, places, starts, asked, who, bounds, keys)
            scan(metric, rows, tail, asked, np.arange(first, last), keys)
            if self.codes:
                order_again(sharp, self._vectors, queries[first:last], keys[first:last], result[first:last])

        in_parts(work, len(queries), threads)
        return result

    def save(self, path: str | Path) -> Path:
        """Write the index as one file, whole or not at all."""
        with self._lock.shared():
            return ivf_file.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> IVFIndex:
        """The index that `save` wrote; BadFileError (a ValueError) naming the file when it is cut or damaged."""
        return ivf_file.load(cls, path)
