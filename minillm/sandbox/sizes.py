"""How much is in a value, counted without doing what it would take to write it down.

    size_of("abc", 100) == 4        size_of([1, [2, 3]], 100) == 9

A list may hold the same list twice, that one another twice, and so on: sixty small lists spell out 2**60 elements. So
whoever is about to look inside a stranger's value (write, compare, hash it) counts first, and the count stops early.
"""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from typing import Any

_HOLDERS = (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)


def size_of(value: Any, most: int) -> int:
    """Characters, numbers and elements in a value, nested ones counted wherever they stand; counts no further than
    about `most`, so that a list that holds itself, or 2**60 times the same one, takes no time."""
    total, rest = 0, [value]
    while rest and total <= most:
        one = rest.pop()
        total += 1
        if isinstance(one, (str, bytes)):
            total += len(one)
        elif isinstance(one, int):
            total += one.bit_length() // 8
        elif isinstance(one, Mapping):
            total += 2 * len(one)
            rest += [*one.keys(), *one.values()]
        elif isinstance(one, _HOLDERS):
            total += len(one)
            rest += one
    return total


def depth_of(value: Any, most: int) -> int:
    """How deep lists, tuples, dicts and sets stand in each other (0: no container); at most `most` + 1 is found.

    Python's own hash of a tuple goes as deep as the tuple, without a limit, and a process whose stack ends there dies.
    What stands twice on a level is looked at once.
    """
    depth, level = 0, {id(value): value}
    while depth <= most:
        holders = [one for one in level.values() if isinstance(one, (Mapping, *_HOLDERS))]
        if not holders:
            break
        depth += 1
        level = {}
        for one in holders:
            inside = (*one.keys(), *one.values()) if isinstance(one, Mapping) else one
            level.update((id(each), each) for each in inside)
    return depth
