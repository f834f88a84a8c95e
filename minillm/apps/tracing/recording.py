"""What of a value goes into a trace: plain JSON, cut to a size, secrets masked; never an error, whatever came.

    "long text ..."  -> its first LIMIT characters and how many more there are
    a list, a dict   -> its first items, to a depth, all of a value together at most NODES
    an array         -> its kind, shape and dtype
    anything else    -> its type's name and the first characters of its repr

A trace must not change the program that it watches: not by an error, not by holding on to its objects, not by size.
Book 9.4 데이터 로깅.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from minillm._checks import describe
from minillm.apps.tracing.masking import LONGEST, MASKED, mask_secrets, names_a_secret

LIMIT, DEPTH, NODES = 10_000, 8, 2_000


def recorded(value: Any, name: str = "", limit: int = LIMIT) -> Any:
    """`value` as JSON can hold it: str, int, float, bool, None, lists and dicts of them. name: of its field."""
    try:
        return _plain(value, name, limit, DEPTH, [NODES])
    except Exception as error:  # a property or a repr of the program's own object
        return f"({type(value).__name__} that cannot be shown: {type(error).__name__})"


def _plain(value: Any, name: str, limit: int, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    kind = type(value)
    if name and kind is not bool and value is not None and names_a_secret(name):
        return value if kind in (int, float) and name.endswith("token") else MASKED  # a token's id is none
    if kind is str:
        return cut_text(value, limit)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**63 else cut_text(hex(value), limit)
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):  # a subclass
        return cut_text(str.__str__(value), limit)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"({len(value)} bytes)"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _plain(value.item(), "", limit, depth, left) if value.shape == () else describe(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}
    if isinstance(value, Mapping):
        return _entries(value, limit, depth, left)
    if isinstance(value, (list, tuple, set, frozenset)):
        return _items(value, name, limit, depth, left)
    return cut_text(describe(value), limit)


def _entries(value: Mapping[Any, Any], limit: int, depth: int, left: list[int]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for number, (key, one) in enumerate(value.items()):
        if depth == 0 or left[0] <= 0:
            shown["..."] = f"{len(value) - number} more"
            break
        key = key if type(key) is str else describe(key)
        shown[cut_text(key, 200)] = _plain(one, key, limit, depth - 1, left)
    return shown


def _items(value: Any, name: str, limit: int, depth: int, left: list[int]) -> list[Any]:
    shown: list[Any] = []
    if type(value) is tuple and len(value) == 2 and type(value[0]) is str and names_a_secret(value[0]):
        return [cut_text(value[0], limit), MASKED]  # a header: ("Authorization", "Basic ...")
    for number, one in enumerate(value):
        if depth == 0 or left[0] <= 0:
            shown.append(f"... {len(value) - number} more")
            break
        shown.append(_plain(one, name, limit, depth - 1, left))
    return shown


def cut_text(text: str, limit: int) -> str:
    """The text's first characters, masked. Masked before it is cut: half a secret has not its form any more."""
    if len(text) <= limit:
        return mask_secrets(text)
    kept = mask_secrets(text[: limit + LONGEST])[:limit]
    return f"{kept}... ({len(text) - limit:,} more characters)"
