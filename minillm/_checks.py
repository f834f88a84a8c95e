"""Checks of what a caller passed in: each raises ValueError saying what came and what was expected."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

LARGEST = 2**63 - 1  # what numpy and torch hold in an integer


def describe(value: Any) -> str:
    """A short, safe picture of a value for an error message: shape and dtype of arrays, a cut repr of the rest."""
    # np.float16, a class, has both, too
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, type):
        gradient = " that requires grad" if getattr(value, "requires_grad", False) is True else ""
        return f"{type(value).__name__} of shape {tuple(value.shape)} and dtype {value.dtype}{gradient}"
    try:
        text = repr(value)
    except Exception:  # nested too deep, or a picture that fails: the error it was wanted for still comes
        text = object.__repr__(value)
    first = text.split("\n", 1)[0]  # a model's has a line for each layer
    return text if len(text) <= 80 and first == text else f"{first[:77]}... ({type(value).__name__})"


def check_int(name: str, value: Any, minimum: int | None = None, maximum: int | None = None) -> int:
    """`value` as an int in [minimum, maximum], of 64 bits at most; numpy integers pass, bools and floats do not."""
    try:
        whole = value.__index__() if not isinstance(value, bool) else None
    except (AttributeError, TypeError):
        whole = None
    if whole is None:
        raise ValueError(f"{name} must be an integer, got {describe(value)}")
    if not -LARGEST <= whole <= LARGEST:
        raise ValueError(f"{name} must fit into 64 bits, got a number of {whole.bit_length()} bits")
    if (minimum is not None and whole < minimum) or (maximum is not None and whole > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise ValueError(f"{name} must be {bounds}, got {whole}")
    return whole


def check_number(name: str, value: Any, minimum: float | None = None, maximum: float | None = None) -> float:
    """`value` as a finite float in [minimum, maximum]."""
    try:
        number = float(value) if not isinstance(value, (bool, str, bytes)) else math.nan
    except (TypeError, ValueError, OverflowError, RuntimeError):
        number = math.nan
    if not -math.inf < number < math.inf:  # torch.compile can follow a comparison of a number that changes
        raise ValueError(f"{name} must be a finite number, got {describe(value)}")
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise ValueError(f"{name} must be {bounds}, got {number:g}")
    return number


def check_choice(name: str, value: Any, choices: Collection[Any]) -> Any:
    """`value` if it is one of `choices`."""
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {describe(value)}")
    return value


def check_text(name: str, value: Any) -> str:
    """`value` if it is a str."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a str, got {describe(value)}")
    return value


def check_flag(name: str, value: Any) -> bool:
    """`value` if it is True or False: a 1, a None or a "no" is no answer to a yes-or-no question."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {describe(value)}")
    return value


def check_path(name: str, value: Any) -> Path:
    """`value` as a Path, if it is a non-empty str or a Path."""
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError(f"{name} must be a path, got {describe(value)}")
    return Path(value)


def check_function(name: str, value: Any) -> Any:
    """`value` if it is None or can be called."""
    if value is not None and not callable(value):
        raise ValueError(f"{name} must be a function or None, got {describe(value)}")
    return value


def is_listing(value: Any) -> bool:
    """Whether `value` lists things: iterable, but no text and no single number that only looks like an array."""
    return (
        isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) != 0
    )
