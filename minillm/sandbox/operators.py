"""Operators of the interpreter: each is paid for before Python computes it.

    10 ** 10 ** 10      its bits are known before, 4 * 10**10: refused
    "a" * 10 ** 10      its length is known before, refused
    1 << 10 ** 9        refused, too; 2 ** -1 is a float and costs nothing
    [a] == [b]          reads through both sides

Only exact types count: a subclass could say of itself what it likes, and none gets in here.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from minillm.sandbox.meter import Meter, Refused

BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.LShift: operator.lshift,
    ast.RShift: operator.rshift, ast.BitOr: operator.or_, ast.BitAnd: operator.and_, ast.BitXor: operator.xor,
}  # fmt: skip
IN_PLACE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.iadd, ast.Mult: operator.imul, ast.BitOr: operator.ior, ast.BitAnd: operator.iand,
    ast.BitXor: operator.ixor, ast.Sub: operator.isub,
}  # fmt: skip
UNARY: dict[type, Callable[[Any], Any]] = {
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert, ast.Not: operator.not_,
}  # fmt: skip
COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
}  # fmt: skip
WHOLE, NUMBERS, SCALARS = {int, bool}, {int, bool, float}, {int, bool, float, type(None)}
ROWS, TABLES = {str, list, tuple}, {set, dict}


def binary(meter: Meter, kind: type, left: Any, right: Any, table: dict[type, Any] = BINARY) -> Any:
    """left OP right, paid for. table: IN_PLACE for `+=` and the like."""
    a, b = type(left), type(right)
    if a is str and kind is ast.Mod:
        raise Refused("% with a text: write an f-string")
    if a in WHOLE and b in WHOLE:
        meter.number(_bits(kind, left, right))
    elif a in ROWS and b in WHOLE:
        meter.make(len(left) * max(0, right))
    elif a in WHOLE and b in ROWS:
        meter.make(len(right) * max(0, left))
    elif a in ROWS and b is a:
        meter.make(len(left) + len(right))
    elif a in TABLES and b is a:
        hashing(meter, max(len(left), len(right)), len(left) + len(right))
    elif a not in NUMBERS or b not in NUMBERS:  # no pair for which Python has an operator
        raise TypeError(f"unsupported operand types: {a.__name__!r} and {b.__name__!r}")
    found = table.get(kind, BINARY[kind])(left, right)
    if type(found) is complex:
        raise Refused("a complex number")
    return found


def _bits(kind: type, left: int, right: int) -> int:
    """At most so many bits has the result, for whole numbers."""
    if kind is ast.Pow:
        return left.bit_length() * right if right > 0 and abs(left) > 1 else 1
    if kind is ast.LShift:
        return left.bit_length() + max(0, right) if left else 1
    if kind is ast.Mult:
        return left.bit_length() + right.bit_length()
    return max(left.bit_length(), right.bit_length()) + (kind in (ast.Add, ast.Sub))


def hashing(meter: Meter, entries: int, times: int = 1) -> None:
    """`times` look-ups in a dict or set of so many entries: at worst all have the same hash and each is compared."""
    meter.read(times * entries)


def compare(meter: Meter, kind: type, left: Any, right: Any) -> bool:
    """left OP right, paid for."""
    if kind in (ast.In, ast.NotIn):
        return contains(meter, right, left) == (kind is ast.In)
    if (type(left) not in SCALARS or type(right) not in SCALARS) and kind not in (ast.Is, ast.IsNot):
        meter.weigh(left, right)
    return COMPARE[kind](left, right)


def contains(meter: Meter, holder: Any, item: Any) -> bool:
    """`item in holder`"""
    if type(holder) is range:  # Python would go through all of it for a float
        whole = int(item) if type(item) is float and item.is_integer() else item
        return type(whole) in WHOLE and whole in holder
    if type(holder) in TABLES:
        meter.weigh(item)
        hashing(meter, len(holder))
    else:
        meter.weigh(holder, item)
    return item in holder
