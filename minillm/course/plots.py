"""The figures of the lessons and of the tour's report, in one style (style.py).

In a lesson, `plot_lines({"train": losses})` as a cell's last line shows one figure and prints nothing. Every function
also takes `ax=`, to draw several side by side. Outside a notebook, `figure_png(plot_lines, {...})` gives the same
picture as PNG bytes, and `png_data_uri` puts it inside an HTML page. Text may be Korean. Bad input is a ValueError.
"""

from __future__ import annotations

import base64
import io
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minillm._checks import check_choice, describe
from minillm.course.style import PALETTE, style

MARKERS = "os^Dv<>P"


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
    "log"; markers are drawn up to 30 points unless said. One line has no legend.
    """
    _check_named(series, "series")
    check_choice("xscale", xscale, ("linear", "log"))
    check_choice("yscale", yscale, ("linear", "log"))
    curves = {}
    for name, values in series.items():
        if isinstance(values, tuple) and len(values) == 2 and np.ndim(values[0]) == 1:
            xs, ys = _numbers(f"x of {name!r}", values[0], 1), _numbers(name, values[1], 1)
        else:
            ys = _numbers(name, values, 1)
            xs = np.arange(len(ys)) if x is None else _numbers("x", x, 1)
        if len(xs) != len(ys):
            raise ValueError(f"series {name!r} has {len(ys)} values for {len(xs)} x values")
        curves[name] = xs, ys
    ax = _axes(ax)
    for index, (name, (xs, ys)) in enumerate(curves.items()):
        marked = len(ys) <= 30 if markers is None else markers
        ax.plot(xs, ys, label=name, marker=MARKERS[index % len(MARKERS)] if marked else None)
    ax.set(xscale=xscale, yscale=yscale)
    _words(ax, title, xlabel, ylabel)
    if len(series) > 1:
        ax.legend()


def plot_loss(
    history: Sequence[Mapping[str, float]], *, title: str = "Loss (손실)", ax: Axes | None = None
) -> None:
    """The curves of a Trainer's history: `train_loss` of every record, `eval_loss` where there is one, by `step`."""
    if isinstance(history, (str, Mapping)) or not isinstance(history, Sequence) or not history:
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
    _check_named(values, "values")
    grouped = all(isinstance(value, Mapping) for value in values.values())
    table = values if grouped else {name: {"": value} for name, value in values.items()}
    names = list(next(iter(table.values())))
    if not names or any(list(row) != names for row in table.values()):
        raise ValueError(f"every group of bars needs the same names, {names} first")
    heights = np.stack(
        [_numbers(group, list(row.values()), 1) for group, row in table.items()]
    )  # (groups, names)
    if decimals is None:
        decimals = 0 if np.all(heights == np.round(heights)) else 2
    ax = _axes(ax)
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
        ax.set_xticks(centers, list(table))
        ax.grid(False, axis="x")
        ax.margins(y=0.12)
    _words(ax, title, xlabel, ylabel)
    if len(names) > 1:
        ax.legend()


def plot_heatmap(
    matrix: Any,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    annotate: bool | None = None,
    decimals: int = 2,
    limits: tuple[float, float] | None = None,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> None:
    """A matrix (rows, columns) as colours, with row and column names. NaN cells stay blank (a mask).

    annotate writes the numbers into the cells (None: up to 8 by 8); limits fixes the ends of the colour scale.
    """
    grid = _numbers("matrix", matrix, 2, finite=False)
    _check_labels("rows", rows, grid.shape[0])
    _check_labels("columns", columns, grid.shape[1])
    ax = _axes(ax)
    low, high = limits if limits is not None else (np.nanmin(grid), np.nanmax(grid))
    image = ax.imshow(grid, vmin=low, vmax=high, aspect="equal" if _nearly_square(grid.shape) else "auto")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    if columns is not None:
        ax.set_xticks(range(grid.shape[1]), [_visible(label) for label in columns], rotation=45, ha="right")
        ax.tick_params(axis="x", rotation=0 if max(map(_columns_of, columns)) <= 3 else 45)
        if max(map(_columns_of, columns)) <= 3:
            for label in ax.get_xticklabels():
                label.set_ha("center")
    if rows is not None:
        ax.set_yticks(range(grid.shape[0]), [_visible(label) for label in rows])
    if annotate or (annotate is None and max(grid.shape) <= 8):
        for (i, j), value in np.ndenumerate(grid):
            if np.isfinite(value):
                dark = (value - low) / ((high - low) or 1) < 0.55
                color = "white" if dark else "black"
                ax.text(j, i, f"{value:.{decimals}f}", ha="center", va="center", color=color, fontsize=8)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, shrink=0.85)
    _words(ax, title, xlabel, ylabel)


def plot_attention(
    weights: Any,
    queries: Sequence[str],
    keys: Sequence[str] | None = None,
    *,
    title: str = "",
    per_row: int = 4,
) -> None:
    """Attention weights (T, S), or (H, T, S) for one map a head: rows are queries (쿼리), columns keys (키).

    keys=None means self-attention: the keys are the queries. Weights are shown on one scale, 0 to 1. To draw one map
    on axes of your own, use plot_heatmap.
    """
    maps = _numbers("weights", weights, (2, 3))
    maps = maps[None] if maps.ndim == 2 else maps  # (H, T, S)
    keys = queries if keys is None else keys
    _check_labels("queries", queries if queries is not None else (), maps.shape[1])
    _check_labels("keys", keys, maps.shape[2])
    heads, wide = len(maps), min(len(maps), per_row)
    tall = -(-heads // wide)
    side = 4.2 if heads == 1 else 2.5
    axes = _grid(tall, wide, (side * wide + (0.8 if heads == 1 else 0), side * tall))
    for head, ax in enumerate(axes.flat):
        if head >= heads:
            ax.set_visible(False)
            continue
        name = title if heads == 1 else f"head {head}"
        first = head % wide == 0
        plot_heatmap(
            maps[head],
            queries,
            keys,
            title=name,
            ylabel="query (쿼리)" if first else "",
            xlabel="key (키)" if head >= heads - wide else "",
            limits=(0.0, 1.0),
            colorbar=heads == 1,
            annotate=heads == 1 and max(maps.shape[1:]) <= 8,
            ax=ax,
        )
    if heads > 1 and title:
        axes.flat[0].figure.suptitle(title, fontweight="bold", x=0.01, ha="left")


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
    dots = _numbers("points", points, 2)
    if dots.shape[1] != 2:
        raise ValueError(f"points must have shape (N, 2), got {dots.shape}")
    _check_labels("labels", labels, len(dots))
    _check_labels("groups", groups, len(dots))
    ax = _axes(ax)
    names = list(dict.fromkeys(groups)) if groups is not None else [None]
    for index, name in enumerate(names):
        mine = np.array([name is None or group == name for group in (groups or [None] * len(dots))])
        marker = MARKERS[index % len(MARKERS)]
        ax.scatter(dots[mine, 0], dots[mine, 1], s=28, marker=marker, color=PALETTE[index % 8], label=name)
    for (across, up), label in zip(dots, labels if labels is not None else [""] * len(dots)):
        ax.annotate(label, (across, up), xytext=(4, 3), textcoords="offset points", fontsize=9)
    ax.margins(0.12)
    _words(ax, title, xlabel, ylabel)
    if groups is not None:
        ax.legend()


def plot_tokens(rows: Mapping[str, Sequence[str]], *, title: str = "") -> None:
    """How texts were cut (토큰화): one row of coloured boxes per entry, name -> pieces. Spaces show as "·"."""
    _check_named(rows, "rows")
    for name, pieces in rows.items():
        if isinstance(pieces, str) or not all(isinstance(piece, str) for piece in pieces) or not len(pieces):
            raise ValueError(f"row {name!r} must be a list of str, one a piece, got {describe(pieces)}")
    widths = {
        name: [max(_columns_of(_visible(piece)), 1) + 0.9 for piece in row] for name, row in rows.items()
    }
    longest = max(sum(row) for row in widths.values())
    ax = _grid(1, 1, (min(max(longest * 0.115 + 1.6, 4.0), 9.5), 0.42 * len(rows) + (0.5 if title else 0.2)))[
        0, 0
    ]
    size = min(
        10.0, 10.0 * 68 / max(longest, 68)
    )  # very long rows get smaller letters instead of a wider page
    for index, (name, pieces) in enumerate(rows.items()):
        left = 0.0
        for number, (piece, width) in enumerate(zip(pieces, widths[name])):
            color = PALETTE[(0, 1, 2, 3)[number % 4]]
            box = mpl.patches.Rectangle(
                (left + 0.08, index - 0.36), width - 0.16, 0.72, color=color, alpha=0.28, lw=0
            )
            ax.add_patch(box)
            ax.text(
                left + width / 2, index, _visible(piece), ha="center", va="center_baseline", fontsize=size
            )
            left += width
        ax.text(
            left + 0.6,
            index,
            f"{len(pieces)}",
            ha="left",
            va="center_baseline",
            fontsize=size,
            color="#555555",
        )
    ax.set(xlim=(0, longest + 4), ylim=(len(rows) - 0.5, -0.5), xticks=[])
    ax.set_yticks(range(len(rows)), list(rows))
    ax.tick_params(axis="y", length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    _words(ax, title, "", "")


def figure_png(
    plot: Callable[..., None], *args: Any, size: tuple[float, float] = (6.4, 3.4), **options: Any
) -> bytes:
    """What `plot(*args, ax=..., **options)` draws, as the bytes of a PNG file; size in inches, 100 dots each.

    Needs no display and leaves matplotlib's own settings as they were.
    """
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


def _axes(ax: Axes | None) -> Axes:
    return _grid(1, 1, None)[0, 0] if ax is None else ax


def _grid(tall: int, wide: int, size: tuple[float, float] | None) -> np.ndarray:
    import matplotlib.pyplot as plt  # only here: importing pyplot chooses a display, which a report does not need

    _, axes = plt.subplots(tall, wide, figsize=size, squeeze=False)
    return axes


def _words(ax: Axes, title: str, xlabel: str, ylabel: str) -> None:
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)


def _check_named(values: Any, name: str) -> None:
    if not isinstance(values, Mapping) or not values or not all(isinstance(key, str) for key in values):
        raise ValueError(
            f"{name} must be a dict with str names and at least one entry, got {describe(values)}"
        )


def _check_labels(name: str, labels: Any, length: int) -> None:
    if labels is not None and (
        isinstance(labels, str) or not hasattr(labels, "__len__") or len(labels) != length
    ):
        raise ValueError(f"{name} must be {length} names, one for each, got {describe(labels)}")


def _numbers(name: str, values: Any, ndim: int | tuple[int, ...], finite: bool = True) -> np.ndarray:
    """`values` (list, array or tensor) as float64 with `ndim` dimensions."""
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if hasattr(values, "detach"):  # a tensor that may need gradients or be bfloat16
        values = values.detach().cpu().double().numpy()
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers, got {describe(values)}") from None
    if array.ndim not in allowed or array.size == 0:
        wanted = " or ".join(map(str, allowed))
        raise ValueError(f"{name} must be non-empty with {wanted} dimension(s), got shape {array.shape}")
    if finite and not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds NaN or infinite numbers")
    return array


def _nearly_square(shape: tuple[int, ...]) -> bool:
    return max(shape) <= 2.5 * min(shape)


def _visible(text: str) -> str:
    """A token as it is drawn: spaces as "·", line ends and tabs as arrows, Hangul composed, control bytes boxed."""
    text = unicodedata.normalize("NFC", text).replace(" ", "·").replace("\n", "↵").replace("\t", "→")
    text = "".join("□" if unicodedata.category(letter) in {"Cc", "Cs"} else letter for letter in text)
    return text.replace("$", r"\$")  # matplotlib reads $...$ as mathematics


def _columns_of(text: str) -> int:
    """How many columns the text takes on a terminal: Hangul and other wide letters count two (UAX #11)."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
