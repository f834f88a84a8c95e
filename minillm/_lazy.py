"""Names of a package that are imported when they are first asked for, so that nobody waits for what they do not use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(
    package: str, rooms: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """(__getattr__, __dir__, __all__) of a package whose names come from modules below it.

    __getattr__, __dir__, __all__ = lazy(__name__, {"bm25": ("BM25",), "fusion": ("group_ranking", "rrf")})

    No name may be that of a module of the package: once imported, the module would stand in its place. None may come
    from two modules. ValueError then.
    """
    homes = {name: room for room, names in rooms.items() for name in names}
    if len(homes) < sum(map(len, rooms.values())):
        twice = sorted(name for name in homes if sum(names.count(name) for names in rooms.values()) > 1)
        raise ValueError(f"{package}: the names {twice} are given twice")
    if hidden := sorted(homes.keys() & {room.split(".")[0] for room in rooms}):
        raise ValueError(f"{package}: the modules {hidden} would hide what they hold by the same name")
    own = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = own[name] = getattr(import_module(f"{package}.{homes[name]}"), name)
        return value

    return get, lambda: sorted({*own, *homes}), sorted(homes)
