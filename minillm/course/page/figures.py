"""What the plot functions share: new axes in the course's style, and checks of the numbers and names to draw."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

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


def log_ticks(ax: Axes, axis: str, points: np.ndarray | None = None) -> None:
    """Plain numbers on a logarithmic axis ("x" or "y"): 20, 40, 1,000 instead of powers; exponents where they are long.

    points: the places of the data; up to ten of them that stand apart become the ticks themselves.
    """
    scale = ax.xaxis if axis == "x" else ax.yaxis
    low, high = ax.get_xlim() if axis == "x" else ax.get_ylim()
    decades = np.log10(high / low) if low > 0 else 1.0
    places = np.unique(points) if points is not None else np.array([])
    if 2 <= len(places) <= 10 and places[0] > 0 and np.all(places[1:] / places[:-1] > 10 ** (decades / 12)):
        scale.set_major_locator(FixedLocator(places))
    else:
        steps = (1.0,) if decades > 2.5 else (1.0, 2.0, 5.0) if decades > 1.0 else tuple(range(1, 10))
        scale.set_major_locator(LogLocator(subs=steps, numticks=12))
    scale.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    scale.set_minor_formatter(NullFormatter())


def plain_number(value: float) -> str:
    """How a number is written on an axis: 0.01, 2.5, 1,000; 10 to a power from a million on and below a thousandth."""
    if value and not 1e-3 <= abs(value) < 1e6:
        exponent = int(np.floor(np.log10(abs(value)) + 1e-9))
        factor = value / 10.0**exponent
        return f"${factor:.3g}\\times10^{{{exponent}}}$" if abs(factor - 1) > 1e-6 else f"$10^{{{exponent}}}$"
    return f"{value:,.4f}".rstrip("0").rstrip(".")


def fit_names(ax: Axes, names: Sequence[str]) -> None:
    """Names under an x axis, one a group, that never run into each other: wrapped at spaces, else slanted."""
    room = (
        ax.figure.get_size_inches()[0] * ax.get_position().width / max(len(names), 1) * 0.94
    )  # inches a name
    most = max(3, int(room / 0.088))  # letters of 10 points
    wrapped = ["\n".join(textwrap.wrap(name, most, break_long_words=False)) or name for name in names]
    slanted = any(text_columns(line) > most for name in wrapped for line in name.split("\n"))
    turned = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    ax.set_xticks(range(len(names)), list(names) if slanted else wrapped, **turned)


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
