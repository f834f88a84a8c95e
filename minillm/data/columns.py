"""A column is a list of plain values of one kind: what is let in, and what it is called.

    [1, 2, None]            "int64"          [[101, 7], [101]]          ["int64"]
    ["가", "나"]            "string"         [{"text": ["x"]}]          {"text": ["string"]}

Text, whole numbers, numbers, yes-or-no, bytes, lists and dicts of them; None for what is missing. Arrays, tensors and
tuples become lists on the way in, so that what a function gives and what a file gives are the same. A column of
numbers and texts is refused; lists of both, as in the parse trees of SQL, are "mixed".

Book: 3.3.3 데이터셋 활용하기. Held against: `datasets`' features. Left out: images, audio, ClassLabel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minillm._checks import describe, is_listing

Kind = Any  # "string", "int64", ..., [Kind] of a list, {name: Kind} of a dict
NAMES = {str: "string", int: "int64", float: "float64", bool: "bool", bytes: "binary", type(None): "null"}


def plain(value: Any) -> Any:
    """`value` as plain Python: scalars as they are, lists, tuples, arrays and tensors as lists, mappings as dicts.

    A kind of str or int of someone's own becomes the plain one. Lists and dicts are new ones: whoever holds the old may
    change it. Other objects, a date for example, stay themselves. ValueError for a set, which has no order, and for a
    generator, which can be read only once.
    """
    if type(value) in NAMES:
        return value
    if isinstance(value, (list, tuple)):
        if set(map(type, value)) <= NAMES.keys():
            return list(value)
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    for kind in (int, float, bytes):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError(f"the keys of a dict must be names, got {describe(value)}")
        return {key: plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # an array, a tensor, a number of numpy
        return plain(value.detach().cpu().tolist() if hasattr(value, "detach") else value.tolist())
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)) or hasattr(value, "__next__") or callable(value):
        raise ValueError(f"a value must be text, a number, a list or a dict, got {describe(value)}")
    return value


def kind_of(value: Any) -> Kind:
    """The kind of a plain value."""
    if isinstance(value, list):
        kind: Kind = "null"
        types = set(map(type, value))
        for one in [NAMES[one] for one in types] if types <= NAMES.keys() else map(kind_of, value):
            kind = _inside(kind, one)
        return [kind]
    if isinstance(value, dict):
        return {name: kind_of(item) for name, item in value.items()}
    return NAMES.get(type(value), type(value).__name__)


def _flat(values: Sequence[Any]) -> bool:
    return {list, dict}.isdisjoint(map(type, values))  # plain values: no kinds of lists of someone's own


def joined(one: Kind, other: Kind) -> Kind:
    """The kind that holds both; ValueError if there is none. Nothing and a kind is the kind, int and float float."""
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    if isinstance(one, list) and isinstance(other, list):
        return [_inside(one[0], other[0])]
    if isinstance(one, dict) and isinstance(other, dict):
        names = dict.fromkeys([*one, *other])
        return {name: _inside(one.get(name, "null"), other.get(name, "null")) for name in names}
    if sorted(map(str, (one, other))) == ["float64", "int64"]:
        return "float64"
    raise ValueError(f"{_said(one)} and {_said(other)}")


def _inside(one: Kind, other: Kind) -> Kind:
    """As `joined`, for what lists and dicts hold: there different kinds are allowed, and are "mixed"."""
    try:
        return "mixed" if "mixed" in (one, other) else joined(one, other)
    except ValueError:
        return "mixed"


def _said(kind: Kind) -> str:
    return kind if isinstance(kind, str) else "a list" if isinstance(kind, list) else "a dict"


def columns_of(rows: Iterable[Any]) -> dict[str, list[Any]]:
    """Rows as columns: {name: [the value of each row]}, None where a row lacks the name; ValueError for no dict."""
    rows = list(rows)
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ValueError(f"row {number} must be a dict, got {describe(row)}")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def column(name: str, values: Any) -> tuple[list[Any], Kind]:
    """(the values as a list of plain ones, their kind); ValueError if they are of different kinds."""
    if isinstance(values, Mapping) or not is_listing(values):
        raise ValueError(f"column {name!r} must be a list of values, got {describe(values)}")
    cells = plain(list(values) if not hasattr(values, "tolist") else values)
    kind: Kind = "null"
    if _flat(cells):  # one look at each type, not at each value
        kinds = {type(value): row for row, value in reversed(list(enumerate(cells)))}
        rows = sorted(kinds.values())
    else:
        rows = range(len(cells))
    for row in rows:
        try:
            kind = joined(kind, kind_of(cells[row]))
        except ValueError as error:
            raise ValueError(
                f"column {name!r} must be of one kind, but row {row} makes it {error}: {describe(cells[row])}"
            ) from None
    if kind == "float64":  # 1 among 0.5 and 2.5 is 1.0
        cells = [float(value) if type(value) is int else value for value in cells]
    return cells, kind
