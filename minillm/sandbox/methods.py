"""The methods that the interpreter knows, in a table by the exact type of their owner; each is paid for first.

No attribute is ever asked of a stranger's value, so there is no chain of them that leads out:
`().__class__.__base__.__subclasses__()` stops at its first dot.

Left out on purpose: `str.format` (its fields look up attributes), everything that fills up to a width (`ljust`,
`zfill`), searches from the right (Python does those place by place).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from minillm.sandbox.functions import hashed, items, only
from minillm.sandbox.meter import TooMuch
from minillm.sandbox.operators import WHOLE

if TYPE_CHECKING:
    from minillm.sandbox.interpreter import Interpreter


def _text(function: Callable[..., str], grows: int = 1) -> Callable[..., Any]:
    """A method of a text that reads it and its arguments once; its result is at most `grows` times as long."""

    def work(room: Interpreter, owner: str, *values: Any) -> Any:
        for value in values:
            only(value, str)
        room.meter.make(grows * len(owner))
        room.meter.read(sum(map(len, values)))
        return function(owner, *values)

    return work


def _strip(function: Callable[..., str]) -> Callable[..., Any]:
    def work(room: Interpreter, owner: str, letters: str = " \t\n\r\f\v") -> str:
        room.meter.read(len(owner) * len(only(letters, str)))  # each letter is looked for in all of them
        return function(owner, letters)

    return work


def _replace(room: Interpreter, owner: str, old: str, new: str) -> str:
    many = owner.count(only(old, str))
    room.meter.make(len(owner) + many * len(only(new, str)))
    return owner.replace(old, new)


def _split(room: Interpreter, owner: str, mark: Any = None) -> list[str]:
    room.meter.make(2 * len(owner))
    return owner.split(mark if mark is None else only(mark, str))


def _join(room: Interpreter, owner: str, parts: Any) -> str:
    found = items(room, parts)
    room.meter.make(len(owner) * len(found) + sum(len(only(part, str)) for part in found))
    return owner.join(found)


def _append(room: Interpreter, owner: list[Any], value: Any) -> None:
    room.meter.make(1)
    if len(owner) >= room.meter.limits.length:
        raise TooMuch(f"a list of more than {room.meter.limits.length:,}")
    owner.append(value)


def _extend(room: Interpreter, owner: list[Any], values: Any) -> None:
    found = items(room, values)
    room.meter.make(len(owner) + len(found))
    owner.extend(found)


def _insert(room: Interpreter, owner: list[Any], place: int, value: Any) -> None:
    room.meter.make(len(owner) + 1)
    owner.insert(only(place, *WHOLE), value)


def _shifted(function: Callable[..., Any], compares: bool = False) -> Callable[..., Any]:
    """A method of a list that moves, or compares, what is in it."""

    def work(room: Interpreter, owner: Any, *values: Any) -> Any:
        if compares:
            room.meter.weigh(owner, *values)
        room.meter.read(len(owner))
        return function(owner, *values)

    return work


def _keyed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a dict or set that looks one key up."""

    def work(room: Interpreter, owner: Any, key: Any, *rest: Any) -> Any:
        room.meter.make(2)
        return function(owner, hashed(room, owner, key), *rest)

    return work


def _listed(function: Callable[..., Any], width: int) -> Callable[..., Any]:
    def work(room: Interpreter, owner: dict[Any, Any]) -> list[Any]:
        room.meter.make(width * len(owner))
        return list(function(owner))

    return work


METHODS: Mapping[type, Mapping[str, Callable[..., Any]]] = {
    str: {
        "upper": _text(str.upper, 3), "lower": _text(str.lower, 3), "title": _text(str.title, 3),
        "capitalize": _text(str.capitalize, 3), "isdigit": _text(str.isdigit), "isalpha": _text(str.isalpha),
        "isalnum": _text(str.isalnum), "isspace": _text(str.isspace), "isupper": _text(str.isupper),
        "islower": _text(str.islower), "startswith": _text(str.startswith), "endswith": _text(str.endswith),
        "find": _text(str.find), "index": _text(str.index), "count": _text(str.count), "strip": _strip(str.strip),
        "lstrip": _strip(str.lstrip), "rstrip": _strip(str.rstrip), "replace": _replace, "split": _split,
        "join": _join,
    },
    list: {
        "append": _append, "extend": _extend, "insert": _insert, "pop": _shifted(list.pop),
        "reverse": _shifted(list.reverse), "copy": lambda room, owner: items(room, owner),
        "index": _shifted(list.index, True), "count": _shifted(list.count, True),
        "remove": _shifted(list.remove, True),
    },
    tuple: {"index": _shifted(tuple.index, True), "count": _shifted(tuple.count, True)},
    dict: {
        "get": _keyed(dict.get), "pop": _keyed(dict.pop), "setdefault": _keyed(dict.setdefault),
        "keys": _listed(dict.keys, 1), "values": _listed(dict.values, 1), "items": _listed(dict.items, 3),
    },
    set: {"add": _keyed(set.add), "discard": _keyed(set.discard), "remove": _keyed(set.remove)},
}  # fmt: skip
