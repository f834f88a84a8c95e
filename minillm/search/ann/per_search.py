"""An option that a peer keeps on its index, and that is an argument of `search` here: faiss' nprobe, hnswlib's ef.

nprobe = PerSearch("n_probe")        index.nprobe = 16 is refused: as an attribute it would change nothing
"""

from __future__ import annotations

from typing import Any, NoReturn


class PerSearch:
    """A name that an index can neither give nor take: AttributeError says which argument of search it is."""

    def __init__(self, argument: str) -> None:
        self.argument = argument

    def __get__(self, index: Any, owner: type | None = None) -> PerSearch:
        return self if index is None else self._refuse(index)

    def __set__(self, index: Any, value: Any) -> None:
        self._refuse(index)

    def _refuse(self, index: Any) -> NoReturn:
        name, argument = type(index).__name__, self.argument
        raise AttributeError(f"{name} keeps no {argument}: give it to each search, {argument}=...")
