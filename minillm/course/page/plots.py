"""The figures of the lessons and of the tour's report, in one style (style.py).

In a lesson, `plot_lines({"train": losses})` as a cell's last line shows one figure and prints nothing. Every function
also takes `ax=`, to draw several side by side. Outside a notebook, `figure_png(plot_lines, {...})` gives the same
picture as PNG bytes, and `png_data_uri` puts it inside an HTML page. Text may be Korean. Bad input is a ValueError.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minillm._checks import check_choice, check_flag, check_function, check_int, describe
from minillm.course.page.figures import (
    MARKERS,
    axes_or_new,
    check_labels,
    check_named,
    fit_names,
    log_ticks,
    numbers,
    write_words,
)
from minillm.course.page.style import PALETTE, style


def plot_lines(
    series: Mapping[str, Any],
    x: Sequence[float] | None = None,
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    xscale: str = "linear",
    yscale: str = "linear",
    markers: bool | None = None,
    ax: Axes | None = None,
) -> None:
    """One line per entry of `series`: name -> values, or name -> (x values, y values).

    x is shared by the entries that give values only; without it they are counted 0, 1, 2, ... Scales are "linear" or
    "log"; markers are drawn up to 30 points unless said. One line has no legend: its name stands beside the y axis,
    unless ylabel says something else.
    """
    check_named(series, "series")
    check_choice("xscale", xscale, ("linear", "log"))
    check_choice("yscale", yscale, ("linear", "log"))
    curves = {}
    for name, values in series.items():
        if isinstance(values, tuple) and len(values) == 2 and np.ndim(values[0]) == 1:
            xs, ys = numbers(f"x of {name!r}", values[0], 1), numbers(name, values[1], 1)
        else:
            ys = numbers(name, values, 1)
            xs = np.arange(len(ys)) if x is None else numbers("x", x, 1)
        if len(xs) != len(ys):
            raise ValueError(f"series {name!r} has {len(ys)} values for {len(xs)} x values")
        curves[name] = xs, ys
    ax = axes_or_new(ax)
    for index, (name, (xs, ys)) in enumerate(curves.items()):
        marked = len(ys) <= 30 if markers is None else markers
        ax.plot(xs, ys, label=name, marker=MARKERS[index % len(MARKERS)] if marked else None)
    ax.set(xscale=xscale, yscale=yscale)
    for axis, scale in (("x", xscale), ("y", yscale)):
        if scale == "log":
            log_ticks(ax, axis, np.concatenate([xs for xs, _ in curves.values()]) if axis == "x" else None)
    if len(series) == 1 and not ylabel:
        (ylabel,) = series
    write_words(ax, title, xlabel, ylabel)
    if len(series) > 1:
        ax.legend()


def plot_loss(
    history: Sequence[Mapping[str, float]], *, title: str = "Loss (손실)", ax: Axes | None = None
) -> None:
    """The curves of a Trainer's history: `train_loss` of every record, `eval_loss` where there is one, by `step`."""
    if (
        isinstance(history, (str, Mapping))
        or not isinstance(history, Sequence)
        or not history
        or not all(isinstance(record, Mapping) and "step" in record for record in history)
    ):
        raise ValueError(f"history must be a list of dicts with step and train_loss, got {describe(history)}")
    series = {}
    for key, name in (("train_loss", "train (학습)"), ("eval_loss", "held out (검증)")):
        points = [(record["step"], record[key]) for record in history if record.get(key) is not None]
        if points:
            series[name] = tuple(zip(*points))
    if not series:
        raise ValueError("history has no train_loss and no eval_loss")
    plot_lines(series, title=title, xlabel="step", ylabel="loss, nats per token", ax=ax)


def plot_bars(
    values: Mapping[str, Any],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    decimals: int | None = None,
    horizontal: bool = False,
    ax: Axes | None = None,
) -> None:
    """Bars with their value written on them: name -> number, or group -> {name -> number} for bars in groups.

    decimals: how many the written values have; None chooses 0 for whole numbers and 2 otherwise.
    """
    check_named(values, "values")
    grouped = all(isinstance(value, Mapping) for value in values.values())
    table = values if grouped else {name: {"": value} for name, value in values.items()}
    names = list(next(iter(table.values())))
    if not names or any(list(row) != names for row in table.values()):
        raise ValueError(f"every group of bars needs the same names, {names} first")
    heights = np.stack(
        [numbers(group, list(row.values()), 1) for group, row in table.items()]
    )  # (groups, names)
    check_flag("horizontal", horizontal)
    if decimals is None:
        decimals = 0 if np.all(heights == np.round(heights)) else 2
    check_int("decimals", decimals, 0, 20)
    ax = axes_or_new(ax)
    draw = ax.barh if horizontal else ax.bar
    thickness = 0.8 / len(names)
    centers = np.arange(len(table))
    for index, name in enumerate(names):
        offset = (index - (len(names) - 1) / 2) * thickness
        bars = draw(
            centers + offset, heights[:, index], thickness * 0.94, label=name, color=PALETTE[index % 8]
        )
        ax.bar_label(bars, fmt=f"{{:,.{decimals}f}}", padding=2, fontsize=9)
    if horizontal:
        ax.set_yticks(centers, list(table))
        ax.invert_yaxis()  # the first entry on top, as it was written
        ax.grid(False, axis="y")
        ax.margins(x=0.12)
    else:
        fit_names(ax, list(table))
        ax.grid(False, axis="x")
        ax.margins(y=0.12)
    write_words(ax, title, xlabel, ylabel)
    if len(names) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))  # beside the bars: they fill the axes


def plot_points(
    points: Any,
    labels: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    ax: Axes | None = None,
) -> None:
    """Points (N, 2) in the plane, each with an optional word beside it, coloured by group: embeddings, for example."""
    dots = numbers("points", points, 2)
    if dots.shape[1] != 2:
        raise ValueError(f"points must have shape (N, 2), got {dots.shape}")
    check_labels("labels", labels, len(dots))
    check_labels("groups", groups, len(dots))
    groups = None if groups is None else list(groups)  # an array has no truth value
    ax = axes_or_new(ax)
    names = list(dict.fromkeys(groups)) if groups is not None else [None]
    for index, name in enumerate(names):
        mine = np.array([name is None or group == name for group in (groups or [None] * len(dots))])
        marker = MARKERS[index % len(MARKERS)]
        ax.scatter(dots[mine, 0], dots[mine, 1], s=28, marker=marker, color=PALETTE[index % 8], label=name)
    for (across, up), label in zip(dots, labels if labels is not None else [""] * len(dots)):
        ax.annotate(label, (across, up), xytext=(4, 3), textcoords="offset points", fontsize=9)
    ax.margins(0.12)
    write_words(ax, title, xlabel, ylabel)
    if groups is not None:
        ax.legend()


def figure_png(
    plot: Callable[..., None], *args: Any, size: tuple[float, float] = (6.4, 3.4), **options: Any
) -> bytes:
    """What `plot(*args, ax=..., **options)` draws, as the bytes of a PNG file; size in inches, 100 dots each.

    Needs no display and leaves matplotlib's own settings as they were.
    """
    if check_function("plot", plot) is None:
        raise ValueError("plot must be one of the plot functions, got None")
    with mpl.rc_context(style()):
        figure = Figure(figsize=size)
        plot(*args, ax=figure.subplots(), **options)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def png_data_uri(png: bytes) -> str:
    """PNG bytes as a `data:` address for an <img> tag, so that a report is one file."""
    if not isinstance(png, bytes) or not png.startswith(b"\x89PNG"):
        raise ValueError(f"png must be the bytes of a PNG file, got {describe(png)}")
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
