"""What stands between the verbs and the file: one state for reading, one transaction for writing, views that keep up.

    reading()    everything asked inside sees one state        writing(namespace)    all changes inside, or none
    view()       what is in memory of a namespace, brought up to that state
    best()       filter -> the nearest by the index, and those with sparse products -> exact scores -> the k best

Book: 12.1 벡터 데이터베이스란.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from minillm._checks import check_flag, describe
from minillm._files import BadFileError
from minillm.search.store import access, snapshots
from minillm.search.store.filters import Filter
from minillm.search.store.records import score
from minillm.search.store.sqlite_file import SQLiteFile
from minillm.search.store.table import (
    AT_ONCE,
    TABLES,
    VERSION,
    Changes,
    DamagedRow,
    Namespace,
    Row,
    Settings,
    check_everything,
    read_by,
    read_namespaces,
    read_settings,
    write_settings,
)
from minillm.search.store.views import MetadataView, SparseView, VectorView, View


def exact_index(dim: int, metric: str) -> Any:
    """The index that is used where none is named; imported when it is needed, with numba, which takes its time."""
    from minillm.search.exact import ExactIndex

    return ExactIndex(dim, metric)


class Engine:
    """The file at `path` (None: memory) with its settings and views.

    dim, metric: of a new file, or what an old one must have; None takes what it has. The rest is as in VectorStore.
    """

    def __init__(
        self,
        dim: int | None,
        metric: str | None,
        path: Path | None,
        make_index: Callable[[int, str], Any] = exact_index,
        read_only: bool = False,
        verify: bool = True,
    ) -> None:
        read_only, verify = check_flag("read_only", read_only), check_flag("verify", verify)
        if not callable(make_index):
            raise ValueError(f"index must be called with (dim, metric), got {describe(make_index)}")
        if read_only and path is None:
            raise ValueError("read_only=True needs a path: a new store in memory holds nothing to read")
        self.make_index = make_index
        self._views: dict[tuple[int, type[View]], View] = {}
        self.file = SQLiteFile(path, TABLES, VERSION, read_only, new=dim is not None)
        self.path = self.file.path
        try:
            if verify and path is not None:
                self.file.check_pages()
            with self.reading() as connection:
                if verify:
                    check_everything(connection)
                settings = read_settings(connection)
            if settings is None and dim is not None and not read_only:
                settings = self._first_settings(Settings(dim, metric, None, 0))
            if settings is None:
                raise self.file.bad("it has no settings: nothing was ever written")
            if dim is not None and (dim, metric) != (settings.dim, settings.metric):
                raise ValueError(
                    f"vector store {self.file} has dim {settings.dim} and metric {settings.metric!r}, "
                    f"got dim {dim} and metric {metric!r}"
                )
            self.settings = settings
        except BaseException:
            self.file.close()
            raise

    def _first_settings(self, settings: Settings) -> Settings:
        with self.file.transaction(write=True) as connection:
            found = read_settings(connection)  # of another process that was faster
            if found is None:
                write_settings(connection, settings)
        return found or settings

    # --- transactions -----------------------------------------------------------------------------------------

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except DamagedRow as error:
            raise self.file.bad(error) from None

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """A connection on which one state is seen."""
        with self._damage_named(), self.file.transaction() as connection:
            yield connection

    @contextmanager
    def writing(self, namespace: str, given: access.Token, **fields: Any) -> Iterator[Changes]:
        """The changes of one transaction, committed at the end. given: the token; fields: new ones of the namespace."""
        with self._damage_named(), self.file.transaction(write=True) as connection:
            changes = Changes(connection, namespace)
            self.refuse_unless(changes.namespace, given)
            yield changes
            changes.finish(**fields)

    def namespace(self, connection: Any, name: str, token: access.Token) -> Namespace | None:
        """The namespace of this name, None where there is none. PermissionError unless the token opens it."""
        found = next(iter(read_namespaces(connection, name)), None)
        if found is not None:
            self.refuse_unless(found, token)
        return found

    @staticmethod
    def refuse_unless(namespace: Namespace, token: access.Token) -> None:
        """PermissionError unless the token opens the namespace."""
        if not access.opens(namespace.name, namespace.salt, namespace.token, token):
            came = "none" if token is None else "one that does not open it"
            raise PermissionError(f"namespace {namespace.name!r} needs its access token, got {came}")

    # --- queries ----------------------------------------------------------------------------------------------

    def view(self, connection: Any, namespace: Namespace, kind: type[View]) -> Any:
        """A view of the namespace that is up to date. One that fails on the way is thrown away."""
        view = self._views.pop((namespace.number, kind), None)
        if view is None and kind is VectorView:
            if self.path is not None and self.make_index is not exact_index:
                view = snapshots.load_view(connection, self.path, namespace, self._new_index)
            view = view or VectorView(self._new_index)
        view = view or kind()
        view.refresh(connection, namespace)
        self._views[namespace.number, kind] = view
        return view

    def _new_index(self) -> Any:
        return self.make_index(self.settings.dim, self.settings.metric)

    def best(
        self,
        connection: Any,
        namespace: Namespace | None,
        query: np.ndarray,
        k: int,
        filter: Filter | None,
        sparse: bytes | None,
    ) -> list[tuple[Row, float]]:
        """The k best records for a query (D,) and their scores, best first; equal scores by age of the vector."""
        if namespace is None or not namespace.count:
            return []
        allowed = None
        if filter is not None:
            allowed = self.view(connection, namespace, MetadataView).index.select(filter)
        vectors = self.view(connection, namespace, VectorView)
        products: dict[int, float] = {}
        if sparse is not None:
            products = self.view(connection, namespace, SparseView).index.products(sparse)
            if allowed is not None:
                products = {number: value for number, value in products.items() if number in allowed}
        metric = self.settings.metric
        sign = 1 if metric == "l2" else -1

        def better(best: list[tuple[Row, float]], numbers: Iterable[int]) -> list[tuple[Row, float]]:
            rows = list(read_by(connection, "number", numbers, namespace.number).values())
            scores = score(query, rows, metric).tolist() if rows else []
            new = [(row, dense + products.get(row.number, 0.0)) for row, dense in zip(rows, scores)]
            return sorted(best + new, key=lambda one: (sign * one[1], one[0].number))[:k]

        if not products:
            return better([], vectors.nearest(query, k, allowed))
        rest = (vectors.numbers if allowed is None else allowed) - products.keys()
        depth = min(2 * k + 10, len(products))
        near = vectors.nearest(query, depth, set(products))
        best = better(better([], vectors.nearest(query, k, rest)), near)
        floor = math.inf  # no dense score of the others that share a place is above it
        if len(near) == depth:
            last = read_by(connection, "number", near[-1:], namespace.number)
            floor = float(score(query, list(last.values()), metric)[0])
        others = sorted(products.keys() - set(near), key=lambda number: -products[number])
        for start in range(0, len(others), AT_ONCE):
            highest = products[others[start]]
            rounding = 1e-12 * (abs(floor) + abs(highest))
            if len(best) == k and best[-1][1] > floor + highest + rounding:
                break  # a word that every record has would have all of them read
            best = better(best, others[start : start + AT_ONCE])
        return best

    # --- snapshots --------------------------------------------------------------------------------------------

    def save_index(self) -> None:
        """Keep the indexes that were built as files beside the store's. Those that are kept already are not written."""
        if self.path is None:
            raise ValueError("a store in memory has no file to keep an index beside")
        saved: list[VectorView] = []
        with self.file.transaction(write=True) as connection:
            for one in read_namespaces(connection):
                view = self._views.get((one.number, VectorView))
                if isinstance(view, VectorView) and snapshots.save_view(connection, self.path, one, view):
                    saved.append(view)
        for view in saved:  # the commit is through
            view.kept = view.revision
        with self.reading() as connection:
            snapshots.remove_strays(connection, self.path)

    def close(self) -> None:
        """Let go of the file; an index of the user's own kind is kept for the next opening, if the disk takes it."""
        try:
            can_write = self.file.is_open and self.path is not None and not self.file.read_only
            if can_write and self._views and self.make_index is not exact_index:
                with suppress(OSError, BadFileError):  # it would only have saved time: no data is lost
                    self.save_index()
        finally:
            self.file.close()
            self._views.clear()
