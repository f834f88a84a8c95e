"""An index that took minutes to build, kept beside the store: FILE.3-17.index is namespace 3 at its revision 17.

The table is the truth; a snapshot only saves time. It names the numbers that it holds, so the index goes on from there
with what came and went since. One that is gone, damaged or of other vectors is passed over: the index is built anew.
Its file is whole before the table names it, and the one before goes after that, so a kill costs at most a stray file.
An index that is loaded has the options (HNSW's m, say) with which it was built.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from minillm.search.store.table import Namespace, seal_of
from minillm.search.store.views import VectorView


def load_view(
    connection: sqlite3.Connection, path: Path, namespace: Namespace, make: Callable[[], Any]
) -> VectorView | None:
    """The view that was kept of a namespace; None where there is none that can be used."""
    view = VectorView(make)
    command = "SELECT namespace, file, revision, numbers, seal FROM snapshots WHERE namespace = ?"
    row = connection.execute(command, (namespace.number,)).fetchone()
    load = getattr(type(view.index), "load", None)
    if row is None or load is None or row[2] > namespace.revision:
        return None
    try:
        if seal_of(*row[:-1], (path.parent / row[1]).read_bytes()) != row[-1]:
            return None
        index = load(path.parent / row[1])
    except (ValueError, OSError):
        return None
    numbers = np.frombuffer(row[3], "<i8").tolist()
    alike = all(getattr(index, name, None) == getattr(view.index, name, None) for name in ("dim", "metric"))
    if len(index) != len(numbers) or not alike:
        return None
    view.index, view.numbers = index, set(numbers)
    view.revision = view.kept = row[2]
    return view


def save_view(connection: sqlite3.Connection, path: Path, namespace: Namespace, view: VectorView) -> bool:
    """Keep a view, in a transaction that writes; False if this state of it was kept, or its index cannot be saved."""
    if view.kept == view.revision or not callable(getattr(view.index, "save", None)):
        return False
    file = path.parent / f"{path.name}.{namespace.number}-{view.revision}.index"
    view.index.save(file)
    row = (namespace.number, file.name, view.revision, np.array(sorted(view.numbers), "<i8").tobytes())
    seal = seal_of(*row, file.read_bytes())
    connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)", (*row, seal))
    return True


def remove_strays(connection: sqlite3.Connection, path: Path) -> None:
    """Delete the files of snapshots that the table does not name (any more); call it after the commit."""
    named = {file for (file,) in connection.execute("SELECT file FROM snapshots")}
    ours = re.compile(
        rf"{re.escape(path.name)}\.[0-9]+-[0-9]+\.index"
    )  # not FILE.songs.index, which is a user's
    for other in path.parent.iterdir():
        if ours.fullmatch(other.name) and other.name not in named:
            with suppress(OSError):  # Windows keeps what a reader has open
                other.unlink()
