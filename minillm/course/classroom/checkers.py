"""What the checkers of exercises share: plain values, comparisons, forbidden functions, random inputs.

    def attend(answer):
        for case in cases(heads=(1, 2, 4), causal=(False, True)):       # every parameter varied
            q, k = Inputs(case.seed).tensors((case.heads, 5, 8), (case.heads, 5, 8))
            expected = plain_attention(q, k, causal=case.causal)        # before anything is forbidden
            with forbid("write the softmax yourself", "torch.softmax", "torch.Tensor.softmax", answer=answer):
                found = answer(q, k, case.causal)
            expect(found, expected, 1e-5, f"{case}: is the softmax over the keys?")

A comparison here never asks the answer's object: `plain` reads its content as lists, numbers and text, by the methods
of the plain types themselves, so that a subclass with an `__eq__`, `__len__` or `__iter__` of its own changes nothing.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from minillm._checks import check_int, check_number
from minillm.course.classroom.forbidden import constants_of, copied_library, forbid, packages_of

__all__ = [
    "ATTENTION",
    "BY_HAND",
    "DERIVATIVES",
    "Case",
    "Inputs",
    "as_floats",
    "as_list",
    "cases",
    "constants_of",
    "copied_library",
    "difference",
    "expect",
    "forbid",
    "packages_of",
    "plain",
    "same",
    "shown",
]

MOST = 1_000_000  # items of an answer that are read
DEEPEST = 20  # lists within lists
LONGEST = 200  # characters of a value in a message


# --- what came, as plain values ---

# For exercises in plain numbers: what would make arrays of them, or do their softmax.
BY_HAND = [
    f"torch.{name}" for name in ("tensor", "as_tensor", "stack", "exp", "softmax", "logsumexp", "logaddexp")
] + ["numpy.array", "numpy.asarray", "numpy.exp", "numpy.logaddexp"]
# Derivatives by torch, for exercises in which one is worked out by hand
DERIVATIVES = (  # those of torch.autograd.functional call torch.autograd.grad
    "torch.autograd.grad", "torch.autograd.backward", "torch.Tensor.backward", "torch.autograd.forward_ad.make_dual",
    "torch.func.grad", "torch.func.vjp", "torch.func.jvp", "torch.func.jacrev", "torch.func.jacfwd",
    "torch.func.linearize", "torch.autograd.graph._engine_run_backward", "torch.autograd.Variable._execution_engine",
)  # fmt: skip
# Ready-made attention, for exercises in which it is built
ATTENTION = (
    "minillm.nn.attention.attention",
    "minillm.nn.attention.plain_attention",
    "minillm.nn.attention.attention_weights",
    "minillm.nn.attention.attention_scores",
    "minillm.nn.attention.softmax_rows",
    "torch.nn.functional.scaled_dot_product_attention",
    "torch._C._nn.scaled_dot_product_attention",
    "torch.nn.functional.multi_head_attention_forward",
    "torch.nn.MultiheadAttention.forward",
)


def plain(value: Any, what: str = "the answer") -> Any:
    """`value` as None, bool, int, float, complex, str, bytes, list, set or dict; tuples, ranges, arrays, tensors,
    dict views and generators become lists.

    Raises AssertionError (feedback for the student) for any other object, for more than a million items and for lists
    nested deeper than twenty.
    """
    return _plain(value, what, DEEPEST)


def _plain(value: Any, what: str, depth: int) -> Any:
    assert depth > 0, f"{what} is nested deeper than {DEEPEST} levels"
    kind = type(value)
    if value is None or kind in (bool, int, float, complex, str, bytes):
        return value
    for scalar, read in SCALARS:
        if issubclass(kind, scalar):
            return read(value)
    if issubclass(kind, torch.Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            inner = value.as_subclass(torch.Tensor).detach().cpu()
            assert inner.numel() <= MOST, f"{what} has {inner.numel():,} numbers, more than {MOST:,}"
            return inner.tolist()
    if issubclass(kind, np.ndarray):
        array = np.array(value, copy=True, subok=False)
        assert array.size <= MOST, f"{what} has {array.size:,} numbers, more than {MOST:,}"
        assert array.dtype.kind in "biufcUS", f"{what} is an array of {array.dtype}, not of numbers or text"
        return array.tolist()
    for base in (list, tuple, dict, set, frozenset):
        size = base.__len__(value) if issubclass(kind, base) else 0
        assert size <= MOST, f"{what} has {size:,} items, more than {MOST:,}"
    if issubclass(kind, dict):
        return {_key(key, what): _plain(one, what, depth - 1) for key, one in dict.items(value)}
    for base in (set, frozenset):
        if issubclass(kind, base):
            return {_key(one, what) for one in base.__iter__(value)}
    for base in (list, tuple):
        if issubclass(kind, base):
            return [_plain(one, what, depth - 1) for one in base.__iter__(value)]
    if kind in ITERABLES:
        found = list(itertools.islice(value, MOST + 1))
        assert len(found) <= MOST, f"{what} goes on after {MOST:,} items"
        return [_plain(one, what, depth - 1) for one in found]
    raise AssertionError(f"{what} is {_article(kind.__name__)}; give a list, an array, a number or a text")


SCALARS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (np.bool_, lambda value: np.ndarray.tolist(np.asarray(value))),
    (np.generic, lambda value: np.ndarray.tolist(np.asarray(value))),
    (int, lambda value: int.__add__(value, 0)),  # a subclass: its own arithmetic is not asked
    (float, lambda value: float.__add__(value, 0.0)),
    (complex, lambda value: complex.__add__(value, 0j)),
    (str, lambda value: "".join(str.__iter__(value))),
    (bytes, lambda value: bytes(bytes.__iter__(value))),
    (bytearray, lambda value: bytes(bytearray.__iter__(value))),
)
ITERABLES = (
    range,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
    type(one for one in ""),
    map,
    filter,
    zip,
)


def _key(value: Any, what: str) -> Any:
    found = _plain(value, what, DEEPEST)
    return tuple(found) if isinstance(found, list) else found


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def shown(value: Any) -> str:
    """A value for a message: plain, floats with four digits, cut when it is long."""
    try:
        text = _digits(plain(value))
    except AssertionError as error:
        text = str(error)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _digits(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"[{', '.join(map(_digits, value))}]"
    return repr(value)


def as_list(value: Any, what: str = "the answer", length: int | None = None) -> list:
    """A list, tuple, array, tensor, range or generator as a plain list; AssertionError says what came instead."""
    found = plain(value, what)
    assert isinstance(found, list), f"{what} must be a list, got {shown(value)} ({type(value).__name__})"
    if length is not None:
        assert len(found) == length, f"{what} must have {length} items, got {len(found)}: {shown(found)}"
    return found


def as_floats(value: Any, what: str = "the answer", length: int | None = None) -> list[float]:
    """As `as_list`, of finite numbers only, each a float."""
    found = as_list(value, what, length)
    for place, one in enumerate(found):
        number = isinstance(one, (int, float)) and not isinstance(one, bool) and math.isfinite(one)
        assert number, f"{what} must hold finite numbers, got {shown(one)} at place {place} of {shown(found)}"
    return [float(one) for one in found]


def expect_parts(answer: Any, *names: str) -> None:
    """AssertionError unless the answer is a dict, as an exercise's test cell makes it, that has these names."""
    assert isinstance(answer, dict), f"check a dict, as the test cell does, got {shown(answer)}"
    lacking = set(names) - set(answer)
    assert not lacking, f"the answer lacks {', '.join(sorted(lacking))}"


# --- comparing ---


def same(found: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Whether two values have the same content: equal texts and lengths, numbers within the tolerance.

    The tolerance counts from the larger of 1 and |expected|. A list, a tuple, an array and a tensor of the same
    numbers are the same; 3 and 3.0 are; 1 and True are not; NaN is the same as NaN.
    """
    return not difference(found, expected, tolerance)


def difference(found: Any, expected: Any, tolerance: float = 0.0) -> str:
    """Where and how two values differ first, for a message; "" when they are the same."""
    check_number("tolerance", tolerance, 0)
    try:
        return _difference(plain(found), plain(expected, "what is expected"), tolerance, "")
    except AssertionError as error:
        return str(error)


def expect(found: Any, expected: Any, tolerance: float = 0.0, hint: str = "") -> None:
    """AssertionError with the hint, and with what came and what was expected, unless both are the same."""
    if unequal := difference(found, expected, tolerance):
        raise AssertionError(f"{hint + ': ' if hint else ''}{unequal}")


def _difference(found: Any, expected: Any, tolerance: float, place: str) -> str:
    at = f" at {place}" if place else ""
    wrong = f"expected {shown(expected)}{at}, got {shown(found)}"
    if isinstance(expected, list):
        if not isinstance(found, list):
            return wrong
        if len(found) != len(expected):
            return f"expected {len(expected)} items{at}, got {len(found)}: {shown(found)}"
        pairs = ((f"{place}[{i}]", one, other) for i, (one, other) in enumerate(zip(found, expected)))
    elif isinstance(expected, dict):
        if not isinstance(found, dict):
            return wrong
        if unlike := [key for key in [*expected, *found] if (key in found) != (key in expected)]:
            kind = "lacks" if unlike[0] in expected else "should not have"
            return f"the dict{at} {kind} the key {shown(unlike[0])}; it has {shown(list(found))}"
        pairs = ((f"{place}[{key!r}]", found[key], expected[key]) for key in expected)
    elif _is_number(expected):
        return "" if _is_number(found) and _close(found, expected, tolerance) else wrong
    else:  # text, bytes, sets, True, False, None
        return "" if type(found) is type(expected) and found == expected else wrong
    return next(filter(None, (_difference(one, other, tolerance, where) for where, one, other in pairs)), "")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, complex)) and not isinstance(value, bool)


def _close(found: complex, expected: complex, tolerance: float) -> bool:
    if found == expected:
        return True
    if isinstance(found, float) and isinstance(expected, float) and math.isnan(expected):
        return math.isnan(found)
    try:
        return abs(found - expected) <= tolerance * max(1.0, abs(expected))
    except OverflowError:
        return False


# --- inputs ---


class Inputs:
    """Random inputs that are the same for the same seed on every machine and Python."""

    def __init__(self, seed: int):
        self._random = random.Random(check_int("seed", seed, 0))
        self._generator = torch.Generator().manual_seed(seed)

    def integer(self, low: int, high: int) -> int:
        """low <= n <= high."""
        return low + int(self._random.random() * (high - low + 1))

    def integers(self, count: int, low: int, high: int) -> list[int]:
        """A list of `count` integers in low ... high."""
        return [self.integer(low, high) for _ in range(count)]

    def floats(self, count: int, low: float = -1.0, high: float = 1.0) -> list[float]:
        """A list of `count` floats in low ... high."""
        return [low + self._random.random() * (high - low) for _ in range(count)]

    def matrix(self, rows: int, columns: int, low: float = -1.0, high: float = 1.0) -> list[list[float]]:
        """A list of rows, each a list of floats."""
        return [self.floats(columns, low, high) for _ in range(rows)]

    def tensor(self, *shape: int, scale: float = 1.0) -> torch.Tensor:
        """float32, normally distributed."""
        return scale * torch.randn(*shape, generator=self._generator)

    def tensors(self, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
        """One tensor for each shape."""
        return [self.tensor(*shape) for shape in shapes]

    def text(self, length: int, alphabet: str = "ab 가나") -> str:
        """A text of `length` characters."""
        return "".join(alphabet[self.integer(0, len(alphabet) - 1)] for _ in range(length))

    def shuffled(self, values: Any) -> list:
        """The values in a random order, in a list of their own."""
        return sorted(values, key=lambda _: self._random.random())


class Case(SimpleNamespace):
    """One setting of every parameter, and a seed; as text it names the parameters: `heads=2, causal=True`."""

    def __str__(self) -> str:
        return ", ".join(f"{name}={shown(value)}" for name, value in vars(self).items() if name != "seed")


def cases(most: int = 50, **choices: Any) -> Iterator[Case]:
    """Every combination of the choices, or, where there are more than `most`, seeded ones that hold every value.

    cases(heads=(1, 2), causal=(False, True)) gives four; each has a `seed` of its own for `Inputs`.
    """
    check_int("most", most, max([1, *map(len, choices.values())]))
    combinations = list(itertools.product(*choices.values()))
    if len(combinations) > most:
        columns = []
        for index, values in enumerate(choices.values()):
            repeated = [values[i % len(values)] for i in range(most)]
            columns.append(Inputs(index).shuffled(repeated))
        combinations = list(zip(*columns))
    for seed, combination in enumerate(combinations):
        yield Case(**dict(zip(choices, combination)), seed=seed)
