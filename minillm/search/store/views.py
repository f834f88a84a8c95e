"""What is kept in memory of a namespace, so that a query need not read the table: vectors, metadata, sparse lists.

Each view knows the revision that it has seen. Before it is asked, it takes up what came and went since then, whoever
wrote it: this store or another process. So a write touches no view, and a failed write cannot leave one half-changed.
A view is made when it is first needed: a process that only writes builds no index.

Left out: a log of what went away. After a removal a view reads all numbers of its namespace (milliseconds for 100,000).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minillm.search.store.inverted import MetadataIndex
from minillm.search.store.sparse import SparseLists
from minillm.search.store.table import Namespace, Row, read_rows


class View:
    """Of one namespace, up to `revision`: the records called `numbers`."""

    def __init__(self) -> None:
        self.revision = 0
        self.numbers: set[int] = set()

    def refresh(self, connection: sqlite3.Connection, namespace: Namespace) -> None:
        """Take up all that was committed since the last time. What fails leaves a view that must be thrown away."""
        if self.revision == namespace.revision:
            return
        if self.numbers and namespace.removed > self.revision:
            rows = connection.execute("SELECT number FROM records WHERE namespace = ?", (namespace.number,))
            gone = self.numbers - {number for (number,) in rows}
            self.drop(sorted(gone))
            self.numbers -= gone
        where = "namespace = ? AND revision > ? ORDER BY number"
        self.put(read_rows(connection, where, namespace.number, self.revision))
        self.revision = namespace.revision

    def put(self, rows: Iterable[Row]) -> None:
        """Records that are new or changed, in order of their numbers; their numbers go into `numbers`."""
        raise NotImplementedError

    def drop(self, numbers: list[int]) -> None:
        """Records that went away."""
        raise NotImplementedError


class VectorView(View):
    """The search index. make(): an empty one, with add(vectors, ids), search(queries, k, filter=) and remove(ids)."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self.index = make()
        self.kept = 0  # the revision of its snapshot (snapshots.py)

    def put(self, rows: Iterable[Row]) -> None:
        """A changed record keeps its number only if its vector is the same: then the index has it."""
        new = [(row.number, row.vector) for row in rows if row.number not in self.numbers]
        if new:
            vectors = np.frombuffer(b"".join(vector for _, vector in new), "<f4").reshape(len(new), -1)
            numbers = [number for number, _ in new]
            self.index.add(vectors.astype(np.float32, copy=False), np.array(numbers, np.int64))
            self.numbers.update(numbers)

    def drop(self, numbers: list[int]) -> None:
        if numbers:
            self.index.remove(np.array(numbers, np.int64))

    def nearest(self, query: np.ndarray, k: int, allowed: set[int] | None = None) -> list[int]:
        """The numbers of the k nearest to a query (D,), nearest first; among `allowed` alone where it is given."""
        k = min(k, len(self.numbers if allowed is None else allowed))
        if not k:
            return []
        filter = None if allowed is None else np.array(sorted(allowed), np.int64)
        found, _ = self.index.search(query[None], k, filter=filter)
        return [number for number in found[0].tolist() if number >= 0]


class ListsView(View):
    """Inverted lists, with put(number, value) and drop(numbers); each kind of view says which value of a record."""

    def __init__(self, index: Any) -> None:
        super().__init__()
        self.index = index

    def value(self, row: Row) -> Any:
        """What the lists take of a record."""
        raise NotImplementedError

    def put(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.index.put(row.number, self.value(row))
            self.numbers.add(row.number)

    def drop(self, numbers: list[int]) -> None:
        self.index.drop(numbers)


class MetadataView(ListsView):
    """The inverted index of metadata."""

    def __init__(self) -> None:
        super().__init__(MetadataIndex())

    def value(self, row: Row) -> dict[str, Any]:
        return json.loads(row.metadata)


class SparseView(ListsView):
    """The inverted lists of sparse vectors."""

    def __init__(self) -> None:
        super().__init__(SparseLists())

    def value(self, row: Row) -> bytes | None:
        return row.sparse
