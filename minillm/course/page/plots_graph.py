"""Points in the plane as an index sees them: a graph with a walk on it (그래프), and cells around centres (셀).

    plot_graph(points, {0: [1], 1: [0, 2], 2: [1]}, path=[0, 1, 2], query=(3, 1))
    plot_cells(points, centres, query=(3, 1), probed=[0, 2])

A graph draws the nodes that are keys of `links`, so that a layer of HNSW draws its own. Style, `ax=` and errors are as
in plots.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb

from minillm._checks import check_flag, check_number, describe
from minillm.course.page.figures import axes_or_new, numbers, write_words
from minillm.course.page.style import PALETTE

LINK, NODE, MARKED, WALK, ASKED = "#b9c4cc", "#5c6b75", PALETTE[5], PALETTE[1], PALETTE[2]
STEPS = 240  # pixels of a drawing of cells, each way


def plot_graph(
    points: Any,
    links: Mapping[int, Sequence[int]],
    *,
    path: Sequence[int] = (),
    marked: Sequence[int] = (),
    query: Sequence[float] | None = None,
    names: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> None:
    """points (N, 2); links: node -> its neighbours; path: nodes of a walk, drawn as arrows; marked: nodes in colour.

    query: a star. names: write the numbers of the nodes. Raises ValueError for a node that is no row of points.
    """
    dots = plane("points", points)
    if not isinstance(links, Mapping):
        raise ValueError(f"links must be a dict, node -> its neighbours, got {describe(links)}")
    pairs = [(node, other) for node, row in links.items() for other in row]
    for node in [*links, *(other for _, other in pairs), *path, *marked]:
        _check_node(node, len(dots))
    check_flag("names", names)
    asked = None if query is None else plane("query", [query])[0]
    ax = axes_or_new(ax)
    ax.add_collection(LineCollection([dots[list(pair)] for pair in pairs], colors=LINK, lw=0.7, zorder=1))
    own = dots[list(links)] if links else dots[:0]
    ax.scatter(own[:, 0], own[:, 1], s=18, color=NODE, zorder=3)
    if len(marked):
        ax.scatter(*dots[list(marked)].T, s=34, color=MARKED, edgecolor=NODE, zorder=4)
    for here, there in pairwise(path):
        arrow = {"arrowstyle": "-|>", "color": WALK, "lw": 1.8, "shrinkA": 3, "shrinkB": 3}
        ax.annotate("", dots[there], dots[here], arrowprops=arrow, zorder=5)
    if len(path):
        ax.scatter(*dots[list(path)].T, s=30, color=WALK, zorder=6)
    if asked is not None:
        ax.scatter(*asked, s=130, marker="*", color=ASKED, edgecolor="white", lw=0.6, zorder=7)
    for node in links if names else ():
        ax.annotate(str(node), dots[node], xytext=(4, 3), textcoords="offset points", fontsize=8, zorder=8)
    _frame(ax, np.concatenate([dots, dots[:0] if asked is None else [asked]]), title)


def plot_cells(
    points: Any,
    centres: Any,
    *,
    probed: Sequence[int] | None = None,
    marked: Sequence[int] = (),
    query: Sequence[float] | None = None,
    within: float | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> None:
    """points (N, 2) in the cells of centres (K, 2), each place in the colour of its nearest centre; crosses: centres.

    probed: the cells that keep their colour, the others fade; marked: points with a ring; query: a star;
    within: how far around the query is drawn, everything if None. Raises ValueError for a number that is no row of
    centres or points.
    """
    dots, middle = plane("points", points), plane("centres", centres)
    for node in marked:
        _check_node(node, len(dots))
    for cell in probed if probed is not None else ():
        _check_node(cell, len(middle))
    asked = None if query is None else plane("query", [query])[0]
    ax = axes_or_new(ax)
    every = np.concatenate([dots, middle, dots[:0] if asked is None else [asked]])
    if within is not None:
        if asked is None:
            raise ValueError("within is a distance around a query, and there is no query")
        every = np.stack([asked - check_number("within", within, 0), asked + within])
    (left, low), (right, high) = _frame(ax, every, title)
    across, up = np.meshgrid(np.linspace(left, right, STEPS), np.linspace(low, high, STEPS))
    gaps = (across[..., None] - middle[:, 0]) ** 2 + (up[..., None] - middle[:, 1]) ** 2  # (S, S, K)
    colours = np.array([to_rgb(PALETTE[cell % 7]) for cell in range(len(middle))])
    faint = np.full(len(middle), 0.38 if probed is None else 0.1)
    faint[list(probed or ())] = 0.5
    colours = 1 - faint[:, None] * (1 - colours)
    ax.imshow(
        colours[gaps.argmin(axis=2)], extent=(left, right, low, high), origin="lower", aspect="auto", zorder=0
    )
    ax.scatter(dots[:, 0], dots[:, 1], s=8, color=NODE, zorder=2)
    ax.scatter(middle[:, 0], middle[:, 1], s=60, marker="X", color="black", edgecolor="white", zorder=3)
    if len(marked):
        ax.scatter(*dots[list(marked)].T, s=46, facecolor="none", edgecolor=WALK, lw=1.6, zorder=4)
    if asked is not None:
        ax.scatter(*asked, s=150, marker="*", color=ASKED, edgecolor="white", lw=0.6, zorder=5)


def plane(name: str, values: Any) -> np.ndarray:
    """`values` as float64 (N, 2); ValueError otherwise."""
    found = numbers(name, values, 2)
    if found.shape[1] != 2:
        raise ValueError(f"{name} must have two numbers a row, got shape {found.shape}")
    return found


def _check_node(node: Any, count: int) -> None:
    whole = isinstance(node, (int, np.integer)) and not isinstance(node, bool)
    if not whole or not 0 <= node < count:
        raise ValueError(f"nodes must be numbers from 0 to {count - 1}, got {describe(node)}")


def _frame(ax: Axes, dots: np.ndarray, title: str) -> tuple[np.ndarray, np.ndarray]:
    """The corners of what is drawn; no ticks, for the places say nothing."""
    low, high = dots.min(axis=0), dots.max(axis=0)
    room = np.maximum(0.06 * (high - low), 1e-9)
    low, high = low - room, high + room
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[])
    ax.grid(False)
    write_words(ax, title, "", "")
    return low, high
