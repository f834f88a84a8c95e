"""What a stranger's program may spend: steps, memory, depth. It pays before the work is done, so nothing can hang.

    a node of the program          1 step
    a text or list of n            n + 8 cells when it is made, n / 64 steps whenever it is gone through
    a whole number                 at most `bits` bits, known before it is computed: (a * b) has bits(a) + bits(b)

Steps are counted, not seconds: the same program ends at the same place on every machine.
Cells are never given back. That is harsher than Python's own memory, and needs no look at what is still alive.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from minillm._checks import check_int
from minillm.sandbox.sizes import depth_of, size_of

EACH, NESTED = 64, 8  # cells that one step reads or writes; elements, where lists stand in lists
MOST_NESTED = 40  # lists in lists
_SMALL = {bool, float, int, type(None)}  # a number has at most 4,096 bits


class SandboxError(ValueError):
    """A stranger's program did not come to its end; the message says where and why."""


class Refused(SandboxError):
    """It uses what is not on the list of allowed things."""


class TooMuch(SandboxError):
    """It wants more steps, memory, digits or depth than it gets."""


class Failed(SandboxError):
    """It ran into an error of its own, as a division by zero."""


@dataclass(frozen=True)
class Limits:
    """What one program gets, all its calls together. Raises ValueError for numbers below 1."""

    steps: int = 100_000
    cells: int = 2_000_000  # characters and elements, of all that it ever makes
    length: int = 100_000  # of one text or list
    bits: int = 4096  # of one whole number
    depth: int = 200  # nodes and calls in each other
    printed: int = 10_000  # characters

    def __post_init__(self) -> None:
        for field in fields(self):
            check_int(field.name, getattr(self, field.name), 1, 250 if field.name == "depth" else None)


class Meter:
    """What is left of the limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.steps, self.cells = limits, limits.steps, limits.cells

    def read(self, cells: int) -> None:
        """So many characters or elements are about to be read through."""
        self.steps -= cells // EACH
        if self.steps < 0:
            raise TooMuch(f"it takes more than {self.limits.steps:,} steps")

    def make(self, length: int) -> None:
        """A text or list of this length is about to be made."""
        if length > self.limits.length:
            raise TooMuch(f"a text or list of {length:,}, at most {self.limits.length:,} are allowed")
        self.cells -= length + 8  # an empty list takes memory, too
        if self.cells < 0:
            raise TooMuch(f"it makes more than {self.limits.cells:,} cells of memory")
        self.read(length)

    def number(self, bits: int) -> None:
        """A whole number of so many bits is about to be made."""
        if bits > self.limits.bits:
            raise TooMuch(f"a number of {bits:,} bits, at most {self.limits.bits:,} are allowed")

    def weigh(self, *values: Any) -> int:
        """All that is in the values is about to be written, compared or hashed; their size."""
        total = 0
        for value in values:
            kind = type(value)
            size = (
                1
                if kind in _SMALL
                else len(value)
                if kind is str
                else size_of(value, NESTED * (self.steps + 1))
            )
            self.read(size * (1 if kind in _SMALL or kind is str else EACH // NESTED))
            total += size
            if depth_of(value, MOST_NESTED) > MOST_NESTED:
                raise TooMuch(f"lists that stand more than {MOST_NESTED} deep in each other")
        return total
