"""The functions that the interpreter knows; each is paid for before Python's own does the work.

    list(range(10 ** 9))       pays for its length, refused        round(5, -10 ** 9)     would compute 10 ** 10 ** 9
    sorted(x, key=f)           pays for what is compared           f"{1:{10 ** 9}}"       its width is known, refused

Left out on purpose: `getattr`, `type`, `open`, `eval`, `input`, and all that was not asked for.
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
        room.meter.make(room.meter.weigh(value) * (1 if write is str and type(value) is str else 10))
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
    return int(only(value, *NUMBERS, str))


def _float(room: Interpreter, value: Any = 0.0) -> float:
    if type(value) is str and len(value) > MOST_DIGITS:
        raise TooMuch(f"a number of {len(value):,} digits")
    return float(only(value, *NUMBERS, str))


def only(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:
        raise TypeError(
            f"it takes {' or '.join(kind.__name__ for kind in kinds)}, not {type(value).__name__}"
        )
    return value


def _len(room: Interpreter, value: Any) -> int:
    return len(iterable(room, value))


def _round(room: Interpreter, value: Any, digits: Any = None) -> Any:
    if digits is not None and abs(only(digits, *WHOLE)) > MOST_DIGITS:
        raise TooMuch(f"{digits} digits")  # round(5, -10**9) computes 10**10**9
    return round(only(value, *NUMBERS), digits)


def _sum(room: Interpreter, values: Any, start: Any = 0) -> Any:
    total = only(start, *NUMBERS)
    for value in items(room, values):
        total = total + only(value, *NUMBERS)  # lists would be copied again and again
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
    return list(enumerate(found, only(start, *WHOLE)))


def _zip(room: Interpreter, *values: Any) -> list[Any]:
    columns = [items(room, value) for value in values]
    room.meter.make(len(columns) * min(map(len, columns), default=0))
    return list(zip(*columns))


def _map(room: Interpreter, function: Any, values: Any) -> list[Any]:
    return [room.apply(function, [value], {}) for value in items(room, values)]


def _filter(room: Interpreter, function: Any, values: Any) -> list[Any]:
    return [value for value in items(room, values) if room.apply(function, [value], {})]


def _print(room: Interpreter, *values: Any, sep: str = " ", end: str = "\n") -> None:
    line = only(sep, str).join(text_of(room, value) for value in values) + only(end, str)
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
    return lambda room, *values: function(*(only(value, *kinds) for value in values))


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": _numbers(abs, NUMBERS), "divmod": _numbers(divmod, NUMBERS), "range": _numbers(range, WHOLE),
    "chr": _numbers(chr, WHOLE), "ord": lambda room, value: ord(only(value, str)), "round": _round,
    "int": _int, "float": _float, "str": lambda room, value="": text_of(room, value),
    "repr": lambda room, value: text_of(room, value, repr), "bool": lambda room, value=False: bool(value),
    "len": _len, "sum": _sum, "min": _chosen(min), "max": _chosen(max), "sorted": _sorted,
    "list": lambda room, value=(): items(room, value), "tuple": lambda room, value=(): tuple(items(room, value)),
    "dict": _dict, "set": _set, "any": lambda room, values: any(items(room, values)),
    "all": lambda room, values: all(items(room, values)), "reversed": lambda room, v: items(room, v)[::-1],
    "enumerate": _enumerate, "zip": _zip, "map": _map, "filter": _filter, "print": _print,
}  # fmt: skip
