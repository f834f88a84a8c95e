"""Figures of text: matrices with words along their sides (attention maps, 어텐션 맵), and texts cut into tokens.

Words may be Korean in either normal form, hold spaces, line ends, control bytes or dollar signs: what is drawn is
what a reader can tell apart. Style, `ax=` and errors are as in plots.py.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from minillm._checks import check_int, describe, is_listing
from minillm.course.page.figures import (
    axes_grid,
    axes_or_new,
    check_labels,
    check_named,
    numbers,
    text_columns,
    write_words,
)
from minillm.course.page.style import PALETTE


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
    grid = numbers("matrix", matrix, 2, finite=False)
    check_labels("rows", rows, grid.shape[0])
    check_labels("columns", columns, grid.shape[1])
    _check_words("rows", rows)
    _check_words("columns", columns)
    check_int("decimals", decimals, 0, 20)
    if limits is not None:
        limits = tuple(numbers("limits", limits, 1))
        if len(limits) != 2:
            raise ValueError(f"limits must be two numbers (low, high), got {len(limits)}")
    ax = axes_or_new(ax)
    low, high = limits if limits is not None else (np.nanmin(grid), np.nanmax(grid))
    image = ax.imshow(grid, vmin=low, vmax=high, aspect="equal" if _nearly_square(grid.shape) else "auto")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    if columns is not None:
        slanted = max(map(text_columns, columns)) > 3
        turned = {"rotation": 45, "ha": "right"} if slanted else {"rotation": 0, "ha": "center"}
        ax.set_xticks(range(grid.shape[1]), [_visible(label) for label in columns], **turned)
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
    write_words(ax, title, xlabel, ylabel)


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
    maps = numbers("weights", weights, (2, 3))
    maps = maps[None] if maps.ndim == 2 else maps  # (H, T, S)
    keys = queries if keys is None else keys
    check_labels("queries", queries if queries is not None else (), maps.shape[1])
    check_labels("keys", keys, maps.shape[2])
    heads, wide = len(maps), min(len(maps), check_int("per_row", per_row, 1))
    tall = -(-heads // wide)
    axes = axes_grid(tall, wide, (5.0, 4.2) if heads == 1 else (2.0 * wide + 0.7, 2.4 * tall + 0.2))
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
        ax.tick_params(labelleft=first)  # the heads of a row share their rows' names
    if heads > 1 and title:
        axes.flat[0].figure.suptitle(title, fontweight="bold", x=0.01, ha="left")


def plot_tokens(rows: Mapping[str, Sequence[str]], *, title: str = "") -> None:
    """How texts were cut (토큰화): one row of coloured boxes per entry, name -> pieces. Spaces show as "·"."""
    check_named(rows, "rows")
    for name, pieces in rows.items():
        if not is_listing(pieces) or not all(isinstance(piece, str) for piece in pieces) or not len(pieces):
            raise ValueError(f"row {name!r} must be a list of str, one a piece, got {describe(pieces)}")
    widths = {
        name: [max(text_columns(_visible(piece)), 1) + 0.9 for piece in row] for name, row in rows.items()
    }
    longest = max(sum(row) for row in widths.values())
    ax = axes_grid(
        1, 1, (min(max(longest * 0.115 + 1.6, 4.0), 9.5), 0.42 * len(rows) + (0.5 if title else 0.2))
    )[0, 0]
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
    write_words(ax, title, "", "")


def _check_words(name: str, words: Sequence[str] | None) -> None:
    for word in () if words is None else words:
        if not isinstance(word, str):
            raise ValueError(f"{name} must hold str only, got {describe(word)}")


def _nearly_square(shape: tuple[int, ...]) -> bool:
    return max(shape) <= 2.5 * min(shape)


def _visible(text: str) -> str:
    """A token as it is drawn: spaces as "·", line ends and tabs as arrows, Hangul composed, control bytes boxed."""
    text = unicodedata.normalize("NFC", text).replace(" ", "·").replace("\n", "↵").replace("\t", "→")
    text = "".join("□" if unicodedata.category(letter) in {"Cc", "Cs"} else letter for letter in text)
    return text.replace("$", r"\$")  # matplotlib reads $...$ as mathematics
