"""What a chat template may spend: steps, characters, seconds. What makes a value grow pays before it is done.

    "ab" * n      pays 2 n             s.replace(a, b)    pays len(s) + how often a stands in s * len(b)
    [x, x]        pays 2               {{ x }}, x ~ y, tojson    pay for all that is in x, nested lists too

A list may hold the same list twice, that one another twice, and so on: sixty small lists spell out 2**60 elements.
So whatever looks inside a value (writing, comparing, hashing) counts what is inside first, and stops counting early.

Held against: nothing we know of has such limits. Who spends stands in chat_sandbox.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sized
from contextvars import ContextVar
from typing import Any

from minillm.sandbox.sizes import size_of

STEPS, CHARACTERS, SECONDS = 300_000, 4_000_000, 10.0
EACH = 64  # further characters for each that the messages have; a further step for each 16 of them
MOST_BITS = 8192
# a width of five digits, one that is computed, a field within a field
_WIDTH = re.compile(r"[%{][^%{}]*\d{5}|%[^%a-zA-Z]*\*|\{[^{}]*\{")
_NAIVE = ("lstrip", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "strip", "trim")


class TooMuch(Exception):
    """A template wants more steps, characters or seconds than it gets."""


class Budget:
    """What one rendering may still spend."""

    def __init__(self, given: int) -> None:
        """given: characters of the messages."""
        self.steps = STEPS + given // 16
        self.characters = CHARACTERS + EACH * given
        self.end = time.thread_time() + SECONDS  # of this thread alone: a busy machine is no endless template

    def spend(self, characters: int = 0) -> None:
        """One step that touches so many characters; TooMuch where nothing is left."""
        self.steps -= 1
        self.characters -= characters
        if self.steps < 0 or self.characters < 0:
            raise TooMuch("it loops, calls or grows without end")
        if (characters > 1000 or not self.steps % 16) and time.thread_time() > self.end:
            raise TooMuch(f"it takes more than {SECONDS:g} seconds")

    def spend_all_of(self, *values: Any, times: int = 1) -> None:
        """One step that touches all that is in `values`, so many times."""
        self.spend(times * size_of(values, self.characters))


BUDGET: ContextVar[Budget] = ContextVar("budget")  # of the rendering that goes on in this thread


def budget() -> Budget:
    """What the rendering that goes on may still spend."""
    return BUDGET.get()


def pay_method(name: str, owner: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
    """A method of a text, or the filter of its name; the arguments, read once where they can be read only once."""
    left, given = budget(), (*args, *options.values())
    if name == "format":
        pay_format(owner, args, options)
    elif name == "join":  # "sep".join(list), or list|join("sep")
        if isinstance(owner, str) and args:
            args = (list(args[0]), *args[1:])
            left.spend_all_of(args[0])
            left.spend(len(owner) * len(args[0]))
        else:
            left.spend_all_of(owner)
            left.spend(size_of(given, left.characters) * (len(owner) if isinstance(owner, Sized) else 1))
    elif name == "replace":
        old, new = (*given, "", "")[:2]
        many = str(owner).count(str(old)) if isinstance(old, str) else 0
        left.spend(size_of(owner, left.characters) + many * size_of(new, left.characters))
    elif name in _NAIVE and given:  # Python compares at every place, and looks each end up in the whole list
        left.spend(size_of(owner, left.characters) * size_of(given[0], left.characters))
    else:
        left.spend_all_of(owner, given)
    return args


def pay_format(text: Any, args: Any, options: Any) -> None:
    """`text % args` and `text.format(args)`: widths count as characters."""
    if not isinstance(text, str):
        return
    if _WIDTH.search(text):
        raise TooMuch(f"a text is to be filled up to a width that is computed or very large: {text[:40]!r}")
    widths = sum(map(int, re.findall(r"\d{1,4}", text))) if re.search(r"[%{]", text) else 0
    fields = 1 + text.count("%") + text.count("{")
    budget().spend(widths + len(text))
    budget().spend_all_of(args, options, times=fields)


def pay_operator(operator: str, left: Any, right: Any) -> None:
    spend = budget().spend
    if isinstance(left, int) and isinstance(right, int):
        bits = (
            left.bit_length() * max(1, abs(right))
            if operator == "**"
            else left.bit_length() + right.bit_length()
        )
        if bits > MOST_BITS:
            raise TooMuch(f"a number of {bits:,} bits")
        spend()
    elif operator == "%" and isinstance(left, str):
        pay_format(left, right, ())
    elif operator == "*" and isinstance(right, int) and isinstance(left, Sized):
        spend(len(left) * max(0, right))
    elif operator == "*" and isinstance(left, int) and isinstance(right, Sized):
        spend(len(right) * max(0, left))
    elif isinstance(left, tuple):
        budget().spend_all_of(left, right)
    else:
        spend(sum(len(side) for side in (left, right) if isinstance(side, Sized)))
