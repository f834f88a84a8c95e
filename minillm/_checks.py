"""Checks of what a caller passed in: each raises ValueError saying what came and what was expected."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any


def describe(value: Any) -> str:
    """A short, safe picture of a value for an error message: shape and dtype of arrays, a cut repr of the rest."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{type(value).__name__} of shape {tuple(value.shape)} and dtype {value.dtype}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}... ({type(value).__name__})"


def check_int(name: str, value: Any, minimum: int | None = None, maximum: int | None = None) -> int:
    """`value` as an int in [minimum, maximum]; numpy integers pass, bools and floats do not."""
    try:
        whole = value.__index__() if not isinstance(value, bool) else None
    except (AttributeError, TypeError):
        whole = None
    if whole is None:
        raise ValueError(f"{name} must be an integer, got {describe(value)}")
    if (minimum is not None and whole < minimum) or (maximum is not None and whole > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise ValueError(f"{name} must be {bounds}, got {whole}")
    return whole


def check_number(name: str, value: Any, minimum: float | None = None, maximum: float | None = None) -> float:
    """`value` as a finite float in [minimum, maximum]."""
    try:
        number = float(value) if not isinstance(value, (bool, str, bytes)) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
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
