"""What the plot functions share: new axes in the course's style, and checks of the numbers and names to draw."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from minillm._checks import describe, is_listing

MARKERS = "os^Dv<>P"


def axes_or_new(ax: Axes | None) -> Axes:
    """The axes a caller passed, or those of a new figure."""
    if ax is not None and not isinstance(ax, Axes):
        raise ValueError(f"ax must be matplotlib Axes or None, got {describe(ax)}")
    return axes_grid(1, 1, None)[0, 0] if ax is None else ax


def axes_grid(tall: int, wide: int, size: tuple[float, float] | None) -> np.ndarray:
    """A new figure's axes, (tall, wide); size in inches, None for the style's own."""
    import matplotlib.pyplot as plt  # only here: importing pyplot chooses a display, which a report does not need

    _, axes = plt.subplots(tall, wide, figsize=size, squeeze=False)
    return axes


def write_words(ax: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Title and axis names."""
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)


def text_columns(text: str) -> int:
    """How many columns the text takes on a terminal: Hangul and other wide letters count two (UAX #11)."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def check_named(values: Any, name: str) -> None:
    """ValueError unless `values` is a dict with str names and something in it."""
    if not isinstance(values, Mapping) or not values or not all(isinstance(key, str) for key in values):
        raise ValueError(
            f"{name} must be a dict with str names and at least one entry, got {describe(values)}"
        )


def check_labels(name: str, labels: Any, length: int) -> None:
    """ValueError unless `labels` is None or `length` names."""
    if labels is not None and (
        not is_listing(labels) or not hasattr(labels, "__len__") or len(labels) != length
    ):
        raise ValueError(f"{name} must be {length} names, one for each, got {describe(labels)}")


def numbers(name: str, values: Any, ndim: int | tuple[int, ...], finite: bool = True) -> np.ndarray:
    """`values` (list, array or tensor) as float64; ValueError unless they are numbers with `ndim` dimensions."""
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if hasattr(values, "detach"):  # a tensor that may need gradients or be bfloat16
        values = values.detach().cpu().double().numpy()
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be numbers, got {describe(values)}") from None
    if array.ndim not in allowed or array.size == 0:
        wanted = " or ".join(map(str, allowed))
        raise ValueError(f"{name} must be non-empty with {wanted} dimension(s), got shape {array.shape}")
    if finite and not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds NaN or infinite numbers")
    return array
