"""A split by name, a piece of it, or several one after the other.

    "train[:10%]"      "train[100:200]"      "test[-50:]"      "train+validation[:50%]"

A share ends at the nearest whole row, so that "train[:30%]" and "train[30%:]" are the whole split.
Book: 3.3.3 데이터셋 활용하기. Held against: `datasets`, whose rows these are. Left out: its "(pct1_dropremainder)".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from minillm._checks import describe
from minillm.data.dataset import Dataset, concatenate_datasets

_PIECE = re.compile(r"\s*(?P<name>[^\[\]+\s]+)(\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?\s*")


class Piece(NamedTuple):
    """A split's name and the two borders as they are written; None where there is none."""

    name: str
    start: str | None
    stop: str | None

    def rows(self, length: int) -> range:
        """The numbers of the rows, of a split of `length` rows. Borders behind the end are the end."""
        borders = []
        for written, without in ((self.start, 0), (self.stop, length)):
            border = without if written is None else _row(written, length)
            borders.append(min(max(border + length, 0) if border < 0 else border, length))
        return range(*borders)


def _row(border: str, length: int) -> int:
    return round(int(border[:-1]) * length / 100) if border.endswith("%") else int(border)


def has_pieces(split: Any) -> bool:
    """Whether `split` asks for more, or less, than one whole split."""
    return isinstance(split, str) and any(sign in split for sign in "[]+")


def pieces_of(split: str) -> list[Piece]:
    """What "train[:10%]+test" asks for; ValueError for another spelling, or for a share above 100 %."""
    pieces = []
    for part in split.split("+"):
        if not (found := _PIECE.fullmatch(part)):
            raise ValueError(
                f"split must be a name, with [from:to] in rows or in % where a piece is wanted, got {describe(split)}"
            )
        piece = Piece(found["name"], found["start"], found["stop"])
        borders = [border for border in piece[1:] if border is not None]
        if len({border.endswith("%") for border in borders}) > 1:
            raise ValueError(
                f"the borders of a piece are both rows or both shares in %, got {describe(part)}"
            )
        if any(border.endswith("%") and abs(int(border[:-1])) > 100 for border in borders):
            raise ValueError(f"a share of a split is 100 % at most, got {describe(part)}")
        pieces.append(piece)
    return pieces


def load_pieces(split: str, load: Callable[[str], Any]) -> Dataset:
    """The pieces that `split` asks for; `load(name)` gives a whole split, and is asked once for each name."""
    pieces = pieces_of(split)
    loaded = {name: load(name) for name in dict.fromkeys(piece.name for piece in pieces)}
    for name, rows in loaded.items():
        if not isinstance(rows, Dataset):
            raise ValueError(f"split {name!r} is no table, so it has no piece {describe(split)}")
    parts = [loaded[piece.name].select(piece.rows(len(loaded[piece.name]))) for piece in pieces]
    return parts[0] if len(parts) == 1 else concatenate_datasets(parts)
