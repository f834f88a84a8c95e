"""The store as a whole: opened, closed, backed up to one file and restored from it. Its verbs are in vector_store.py.

Book: 12.1 벡터 데이터베이스란 (what sets a database apart from a library: its data outlive the process).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from minillm._checks import check_choice, check_int, check_path
from minillm.search._ids import METRICS
from minillm.search.store import access, qdrant
from minillm.search.store.encoding import TextEncoder
from minillm.search.store.engine import Engine, exact_index
from minillm.search.store.table import read_namespaces, read_rows

Store = TypeVar("Store", bound="WholeStore")


def _new_path(path: Any) -> Path:
    path = check_path("path", path)
    if os.path.lexists(path):  # a link that leads nowhere, too
        raise ValueError(f"path must not exist: what lies there is not replaced, got {str(path)!r}")
    return path


class WholeStore:
    """What VectorStore does with its file."""

    def __init__(
        self,
        dim: int | None,
        metric: str = "cosine",
        path: str | Path | None = None,
        encoder: Any = None,
        *,
        index: Callable[[int, str], Any] = exact_index,
        read_only: bool = False,
        verify: bool = True,
    ) -> None:
        if dim is None and encoder is not None:
            dim = getattr(encoder, "dim", None)
        dim = check_int("dim", dim, minimum=1)
        self._open(dim, check_choice("metric", metric, METRICS), path, encoder, index, read_only, verify)

    def state(self, namespace: str = "", token: access.Token = None) -> tuple[int, int]:
        """What differs once anyone has written to a namespace: (its number, its revision), (-1, 0) for none."""
        with self._engine.reading() as connection:
            found = self._engine.namespace(connection, namespace, token)
        return (found.number, found.revision) if found else (-1, 0)

    @classmethod
    def open(
        cls: type[Store],
        path: str | Path,
        encoder: Any = None,
        *,
        index: Callable[[int, str], Any] = exact_index,
        read_only: bool = False,
        verify: bool = True,
    ) -> Store:
        """The store that lies at `path`, with the dim and metric that it was made with. Raises as VectorStore."""
        store = cls.__new__(cls)
        store._open(None, None, check_path("path", path), encoder, index, read_only, verify)
        return store

    def _open(self, dim: int | None, metric: str | None, path: Any, encoder: Any, *options: Any) -> None:
        self.path = None if path is None else check_path("path", path)
        self._encoder = None if encoder is None else TextEncoder(encoder)
        if self._encoder is not None and dim is not None:
            self._encoder.check(dim, None, str(path))
        self._engine = Engine(dim, metric, self.path, *options)
        self.dim, self.metric = self._engine.settings.dim, self._engine.settings.metric
        if self._encoder is not None:
            try:
                self._encoder.check(self.dim, self._engine.settings.probe, str(self._engine.file))
            except BaseException:
                self._engine.close()
                raise

    def backup(self, path: str | Path, token: access.Token = None) -> Path:
        """Copy one state of the whole store into one file, tokens' hashes too; VectorStore.open reads it as it is.

        An older backup at `path` is replaced, no other file is. The copy has no gaps: a store's own file does not get
        smaller when records are deleted, it fills the room again; backup and `restore` make a small one.
        Raises PermissionError unless `token` (one, or namespace -> token) opens every namespace.
        """

        def check(connection: Any) -> None:
            for one in read_namespaces(connection):
                self._engine.refuse_unless(one, token)

        return self._engine.file.copy_to(check_path("path", path), "DELETE FROM snapshots", check=check)

    @classmethod
    def restore(
        cls: type[Store], backup: str | Path, path: str | Path, encoder: Any = None, **options: Any
    ) -> Store:
        """Check a backup, put a copy of it at `path`, where nothing may lie, and open that. options: as `open`."""
        path = _new_path(path)
        with cls.open(backup, read_only=True) as source:
            source._engine.file.copy_to(path)
        return cls.open(path, encoder, **options)

    def to_qdrant(self, client: Any, collection: str, token: access.Token = None) -> int:
        """Put every record into a collection of Qdrant, made where there is none; how many there were. See qdrant.py.

        client: a qdrant_client.QdrantClient. Raises ImportError without that package, ValueError for a collection of
        another width or distance, PermissionError unless `token` opens every namespace.
        """
        with self._engine.reading() as connection:
            namespaces = read_namespaces(connection)
            for one in namespaces:
                self._engine.refuse_unless(one, token)
            rows = (
                (one.name, row)
                for one in namespaces
                for row in read_rows(connection, "namespace = ? ORDER BY number", one.number)
            )
            return qdrant.write_points(client, collection, self.dim, self.metric, rows)

    @classmethod
    def from_qdrant(
        cls: type[Store], client: Any, collection: str, path: str | Path | None = None, encoder: Any = None
    ) -> Store:
        """A store of the records that `to_qdrant` put into a collection; at `path`, where nothing may lie."""
        path = None if path is None else _new_path(path)
        store = cls(*qdrant.read_shape(client, collection), path, encoder)
        try:
            for found in qdrant.read_points(client, collection):
                for namespace, records in found.items():
                    store.upsert(records, namespace)
        except BaseException:
            store.close()
            if path is not None:  # whole or not at all
                path.unlink(missing_ok=True)
            raise
        return store

    def save_index(self) -> None:
        """Keep the indexes that were built beside the file, so that the next opening need not build them.

        `close` does it for an index that was named by the user; ExactIndex is read from the table as fast.
        """
        self._engine.save_index()

    @property
    def engine(self) -> Engine:
        """What the verbs stand on, to look inside: `engine.writing(namespace, token)` is one transaction, of which all
        changes are there afterwards or none; `engine.reading()` sees one state. Neither checks records or filters."""
        return self._engine

    def close(self) -> None:
        """Let go of the file. Every write is on the disk already; a store that is not closed loses nothing."""
        self._engine.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dim}, {self.metric!r}, path={self.path and str(self.path)!r})"

    def __reduce__(self) -> Any:
        raise TypeError("a vector store cannot be copied or pickled: hand on its path and open that")

    def __enter__(self: Store) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
