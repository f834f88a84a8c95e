"""The functions and methods that the interpreter knows; each is paid for before Python's own does the work.

A method is looked up in a table by the exact type of its owner. No attribute is ever asked of a stranger's value, so
there is no chain of them that leads out: `().__class__.__base__.__subclasses__()` stops at its first dot.

Left out on purpose: `str.format` (its fields look up attributes), everything that fills up to a width (`ljust`,
`zfill`), searches from the right (Python does those place by place), `getattr`, `type`, `open`, `eval`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from minillm.sandbox.meter import Refused, TooMuch
from minillm.sandbox.operators import NUMBERS, SCALARS, WHOLE, hashing

if TYPE_CHECKING:
    from minillm.sandbox.interpreter import Interpreter

MOST_DIGITS = 1200  # of a text that becomes a number, and of a width: as many as a number of 4,096 bits has
GROUPS = {list, tuple, str, dict, set, range}
_NONE = object()


def iterable(room: Interpreter, value: Any) -> Any:
    """`value`, if the interpreter may go through it: the loop pays for each element."""
    if type(value) not in GROUPS:
        raise TypeError(f"{type(value).__name__!r} object is not iterable")
    return value


def items(room: Interpreter, value: Any) -> list[Any]:
    """A new list of what is in `value`."""
    room.meter.make(len(iterable(room, value)))
    return list(value)


def text_of(room: Interpreter, value: Any, write: Callable[[Any], str] = str) -> str:
    """str(value) or repr(value). An escaped character takes ten ("\\U0001f600")."""
    if type(value) not in SCALARS:
        if type(value) not in GROUPS:
            raise Refused("a function written as a text")
        room.meter.make(room.meter.weigh(value) * (10 if write is repr or type(value) is not str else 1))
    return write(value)


def formatted(room: Interpreter, value: Any, specification: str) -> str:
    """What an f-string makes of one field. A width or a precision may be computed, so it is looked at only here."""
    if specification:
        if type(value) not in (*NUMBERS, str):
            raise TypeError(f"a format of {type(value).__name__}")
        numbers = re.findall(r"\d+", specification)
        if any(len(number) > 4 or int(number) > MOST_DIGITS for number in numbers):
            raise TooMuch(f"a width of more than {MOST_DIGITS:,}: {specification[:40]!r}")
        room.meter.make(2 * MOST_DIGITS)
        return format(value, specification)
    return value if type(value) is str else text_of(room, value)


def hashed(room: Interpreter, holder: Any, key: Any) -> Any:
    """`key`, which is about to be looked up in, or put into, a dict or set."""
    if type(key) not in SCALARS:
        room.meter.weigh(key)
    hashing(room.meter, len(holder))
    return key


def _put_in(room: Interpreter, holder: Any, keys: list[Any]) -> None:
    for key in keys:
        room.meter.weigh(key)
    hashing(room.meter, len(holder) + len(keys), len(keys))


# --- functions ---


def _int(room: Interpreter, value: Any = 0) -> int:
    if type(value) is str and len(value) > MOST_DIGITS:
        raise TooMuch(f"a number of {len(value):,} digits")
    return int(_one(value, *NUMBERS, str))


def _float(room: Interpreter, value: Any = 0.0) -> float:
    if type(value) is str and len(value) > MOST_DIGITS:
        raise TooMuch(f"a number of {len(value):,} digits")
    return float(_one(value, *NUMBERS, str))


def _one(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:
        raise TypeError(
            f"it takes {' or '.join(kind.__name__ for kind in kinds)}, not {type(value).__name__}"
        )
    return value


def _len(room: Interpreter, value: Any) -> int:
    return len(iterable(room, value))


def _round(room: Interpreter, value: Any, digits: Any = None) -> Any:
    if digits is not None and abs(_one(digits, *WHOLE)) > MOST_DIGITS:
        raise TooMuch(f"{digits} digits")  # round(5, -10**9) computes 10**10**9
    return round(_one(value, *NUMBERS), digits)


def _sum(room: Interpreter, values: Any, start: Any = 0) -> Any:
    total = _one(start, *NUMBERS)
    for value in items(room, values):
        total = total + _one(value, *NUMBERS)  # lists would be copied again and again
    if type(total) is int:
        room.meter.number(total.bit_length())
    return total


def _chosen(choose: Callable[..., Any]) -> Callable[..., Any]:
    def work(room: Interpreter, *values: Any, key: Any = None, default: Any = _NONE) -> Any:
        found = items(room, values[0]) if len(values) == 1 else list(values)
        keys = _keys(room, found, key)
        if not found:
            return choose([]) if default is _NONE else default
        return found[choose(range(len(found)), key=keys.__getitem__)]

    return work


def _keys(room: Interpreter, values: list[Any], key: Any) -> list[Any]:
    """What is compared instead of the values, paid for as if each were compared log2(n) times."""
    keys = values if key is None else [room.apply(key, [value], {}) for value in values]
    size = room.meter.weigh(keys)
    room.meter.read(size * len(keys).bit_length())
    return keys


def _sorted(room: Interpreter, values: Any, key: Any = None, reverse: Any = False) -> list[Any]:
    found = items(room, values)
    keys = _keys(room, found, key)
    return [found[place] for place in sorted(range(len(found)), key=keys.__getitem__, reverse=bool(reverse))]


def _enumerate(room: Interpreter, values: Any, start: Any = 0) -> list[Any]:
    found = items(room, values)
    room.meter.make(2 * len(found))
    return list(enumerate(found, _one(start, *WHOLE)))


def _zip(room: Interpreter, *values: Any) -> list[Any]:
    columns = [items(room, value) for value in values]
    room.meter.make(len(columns) * min(map(len, columns), default=0))
    return list(zip(*columns))


def _map(room: Interpreter, function: Any, values: Any) -> list[Any]:
    return [room.apply(function, [value], {}) for value in items(room, values)]


def _filter(room: Interpreter, function: Any, values: Any) -> list[Any]:
    return [value for value in items(room, values) if room.apply(function, [value], {})]


def _print(room: Interpreter, *values: Any, sep: str = " ", end: str = "\n") -> None:
    line = _one(sep, str).join(text_of(room, value) for value in values) + _one(end, str)
    if len(room.printed) + len(line) > room.meter.limits.printed:
        raise TooMuch(f"it prints more than {room.meter.limits.printed:,} characters")
    room.printed += line


def _dict(room: Interpreter, pairs: Any = ()) -> dict[Any, Any]:
    if type(pairs) is dict:
        room.meter.make(2 * len(pairs))
        return dict(pairs)
    rows = [items(room, pair) for pair in items(room, pairs)]
    _put_in(room, (), [row[0] for row in rows])
    return dict(rows)


def _set(room: Interpreter, values: Any = ()) -> set[Any]:
    found = items(room, values)
    _put_in(room, (), found)
    return set(found)


def _numbers(function: Callable[..., Any], kinds: set[type]) -> Callable[..., Any]:
    return lambda room, *values: function(*(_one(value, *kinds) for value in values))


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": _numbers(abs, NUMBERS), "divmod": _numbers(divmod, NUMBERS), "range": _numbers(range, WHOLE),
    "chr": _numbers(chr, WHOLE), "ord": lambda room, value: ord(_one(value, str)), "round": _round,
    "int": _int, "float": _float, "str": lambda room, value="": text_of(room, value),
    "repr": lambda room, value: text_of(room, value, repr), "bool": lambda room, value=False: bool(value),
    "len": _len, "sum": _sum, "min": _chosen(min), "max": _chosen(max), "sorted": _sorted,
    "list": lambda room, value=(): items(room, value), "tuple": lambda room, value=(): tuple(items(room, value)),
    "dict": _dict, "set": _set, "any": lambda room, values: any(items(room, values)),
    "all": lambda room, values: all(items(room, values)), "reversed": lambda room, v: items(room, v)[::-1],
    "enumerate": _enumerate, "zip": _zip, "map": _map, "filter": _filter, "print": _print,
}  # fmt: skip


# --- methods: type -> name -> function(room, owner, ...) ---


def _text(function: Callable[..., str], grows: int = 1) -> Callable[..., Any]:
    """A method of a text that reads it and its arguments once; its result is at most `grows` times as long."""

    def work(room: Interpreter, owner: str, *values: Any) -> Any:
        for value in values:
            _one(value, str)
        room.meter.make(grows * len(owner))
        room.meter.read(sum(map(len, values)))
        return function(owner, *values)

    return work


def _strip(function: Callable[..., str]) -> Callable[..., Any]:
    def work(room: Interpreter, owner: str, letters: str = " \t\n\r\f\v") -> str:
        room.meter.read(len(owner) * len(_one(letters, str)))  # each letter is looked for in all of them
        return function(owner, letters)

    return work


def _replace(room: Interpreter, owner: str, old: str, new: str) -> str:
    many = owner.count(_one(old, str))
    room.meter.make(len(owner) + many * len(_one(new, str)))
    return owner.replace(old, new)


def _split(room: Interpreter, owner: str, mark: Any = None) -> list[str]:
    room.meter.make(2 * len(owner))
    return owner.split(mark if mark is None else _one(mark, str))


def _join(room: Interpreter, owner: str, parts: Any) -> str:
    found = items(room, parts)
    room.meter.make(len(owner) * len(found) + sum(len(_one(part, str)) for part in found))
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
    owner.insert(_one(place, *WHOLE), value)


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
