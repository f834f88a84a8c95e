"""Pictures of mechanisms: boxes, arrows, and the shapes that flow along them. Architectures and data paths alike.

    plot_flow(
        [Node("x", "x (입력)", 0, kind="data"), Node("norm", "RMSNorm", 1), Node("attention", "attention\n어텐션", 2),
         Node("sum", "+", 3, kind="sum")],
        [("x", "norm", "(B, T, C)"), ("norm", "attention"), ("attention", "sum"), ("x", "sum")],
    )

A node stands in a row (its place along the flow) and a column (its place beside it); `direction` says whether the flow
goes "up", as in the papers' pictures of transformers, or "right", as data paths are read. An arrow finds its own way:
straight to a neighbour; past the boxes in between when it skips some (a residual connection, 잔차 연결); through the
gutter between two columns. Groups are frames around nodes: a block that is repeated, "× N".
Style as in plots.py. Bad input is a ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from minillm._checks import check_choice, check_number
from minillm.course.page.figures import axes_grid, axes_or_new, text_columns, write_words
from minillm.course.page.flow_layout import (
    KINDS,
    LETTER,
    LINE,
    Box,
    Group,
    Node,
    check_edges,
    check_groups,
    check_nodes,
    frame,
    nested,
    place_boxes,
    room_of,
    route,
    sized,
)

GRAY = "#555555"


def plot_flow(
    nodes: Sequence[Node],
    edges: Sequence[tuple],
    groups: Sequence[Group] = (),
    *,
    title: str = "",
    direction: str = "up",
    scale: float = 1.0,
    ax: Axes | None = None,
) -> None:
    """Boxes and arrows. edges: (from, to) or (from, to, label), names of nodes; a label is a shape or a word.

    Node.kind is "data", "step", "learned", "store" or "sum". direction: "up" or "right". scale: of the whole picture,
    letters included. Text may be Korean and may have lines. Raises ValueError for names that are not there, two nodes
    of one name or place, and anything that is not a node or an edge.
    """
    check_choice("direction", direction, ("up", "right"))
    check_number("scale", scale, 0.1, 10)
    named = check_nodes(nodes)
    arrows = check_edges(edges, named)
    check_groups(groups, named)
    up = direction == "up"
    boxes = place_boxes([sized(node, up) for node in nodes], arrows, groups, up)
    size = 9 * scale
    routes = [
        (route(boxes[start], boxes[end], list(boxes.values()), place, room_of(label)), label)
        for place, (start, end, label) in enumerate(arrows)
    ]
    frames = [(frame([boxes[name] for name in group.nodes], depth), group) for depth, group in nested(groups)]
    low, high = _extent(boxes, routes, frames, up)
    width, height = (high[0] - low[0]) * scale, (high[1] - low[1]) * scale + (0.35 if title else 0.05)
    ax = (
        axes_grid(1, 1, (max(width + 0.1, 0.105 * text_columns(title), 1.5), max(height + 0.1, 0.8)))[0, 0]
        if ax is None
        else axes_or_new(ax)
    )
    ax.set_axis_off()
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    for (a0, c0, a1, c1), group in frames:
        x0, y0, x1, y1 = *_xy(a0, c0, up), *_xy(a1, c1, up)
        x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
        ax.add_patch(
            FancyBboxPatch((x0, y0), x1 - x0, y1 - y0, boxstyle="round,pad=0,rounding_size=0.08",
                           fc="none", ec=GRAY, ls=(0, (4, 3)), lw=1.1)
        )  # fmt: skip
        words = {"fontsize": size, "color": GRAY, "fontweight": "bold"}
        if up:  # arrows run up through the middle of a frame: its word stands at its side
            ax.text(x1 + 0.05, y1 - 0.06, group.text, ha="left", va="top", rotation=90, **words)
        else:
            ax.text(x0 + 0.05, y1 + 0.03, group.text, ha="left", va="bottom", **words)
    for points, label in routes:
        _arrow(ax, [_xy(a, c, up) for a, c in points], label, size * 0.92)
    for box in boxes.values():
        _draw(ax, box, up, size)
    write_words(ax, title, "", "")


def _extent(
    boxes: dict, routes: list, frames: list, up: bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    points = [
        (box.a + s * box.da, box.c + t * box.dc) for box in boxes.values() for s in (-1, 1) for t in (-1, 1)
    ]
    points += [point for way, _ in routes for point in way]
    side = 0.25 if up else 0.0  # for the words of frames
    points += [
        point
        for (a0, c0, a1, c1), group in frames
        for point in ((a0, c0), (max(a1, a0 + text_columns(group.text) * LETTER), c1 + side))
    ]
    xys = [_xy(a, c, up) for a, c in points]
    above = 0.25 if frames and not up else 0.08
    for way, label in routes:
        xys += _label_box([_xy(a, c, up) for a, c in way], label)
    xs, ys = zip(*xys)
    return (min(xs) - 0.08, min(ys) - 0.08), (max(xs) + 0.08, max(ys) + above)


def _xy(a: float, c: float, up: bool) -> tuple[float, float]:
    return (c, a) if up else (a, -c)


def _label_place(points: list[tuple[float, float]]) -> tuple[float, float, str, str]:
    """(x, y, horizontal, vertical alignment) of an arrow's label: beside its longest stretch."""
    stretches = list(pairwise(points))
    (x0, y0), (x1, y1) = max(
        stretches, key=lambda pair: abs(pair[0][0] - pair[1][0]) + abs(pair[0][1] - pair[1][1])
    )
    if len(points) == 4 and abs(points[2][0] - points[3][0]) + abs(points[2][1] - points[3][1]) > 0.4:
        (x0, y0), (x1, y1) = points[2], points[3]  # a detour: where it arrives
    if abs(x0 - x1) > abs(y0 - y1):
        return (x0 + x1) / 2, y0 + 0.03, "center", "bottom"
    return x0 + 0.06, (y0 + y1) / 2, "left", "center"


def _label_box(points: list[tuple[float, float]], label: str) -> list[tuple[float, float]]:
    if not label:
        return []
    x, y, horizontal, vertical = _label_place(points)
    lines = label.split("\n")
    wide, high = max(map(text_columns, lines)) * LETTER * 0.92, LINE * len(lines)
    x0 = x - wide / 2 if horizontal == "center" else x
    y0 = y if vertical == "bottom" else y - high / 2
    return [(x0, y0), (x0 + wide, y0 + high)]


def _arrow(ax: Axes, points: list[tuple[float, float]], label: str, size: float) -> None:
    last, neck = points[-1], _toward(points[-1], points[-2], 0.12)
    ax.add_patch(PathPatch(_rounded([*points[:-1], neck]), fc="none", ec=GRAY, lw=1.2, capstyle="butt"))
    ax.annotate(
        "", xy=last, xytext=neck,
        arrowprops={"arrowstyle": "-|>", "color": GRAY, "lw": 1.2, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 10},
    )  # fmt: skip
    if label:
        x, y, horizontal, vertical = _label_place(points)
        ax.text(
            x, y, label, ha=horizontal, va=vertical, fontsize=size, color=GRAY,
            bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.85}, zorder=3,
        )  # fmt: skip


def _rounded(points: list[tuple[float, float]], radius: float = 0.07) -> Path:
    """The corners of a way, rounded."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:]):
        for point, code in ((_toward(corner, before, radius), Path.LINETO), (corner, Path.CURVE3)):
            vertices.append(point)
            codes.append(code)
        vertices.append(_toward(corner, after, radius))
        codes.append(Path.CURVE3)
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])


def _toward(point: tuple[float, float], other: tuple[float, float], distance: float) -> tuple[float, float]:
    length = max(
        abs(other[0] - point[0]), abs(other[1] - point[1]), 1e-9
    )  # stretches are straight up or across
    share = min(distance, length / 2) / length
    return point[0] + (other[0] - point[0]) * share, point[1] + (other[1] - point[1]) * share


def _draw(ax: Axes, box: Box, up: bool, size: float) -> None:
    face, edge = KINDS[box.node.kind]
    x, y = _xy(box.a, box.c, up)
    dx, dy = (box.dc, box.da) if up else (box.da, box.dc)
    if box.node.kind == "sum":
        ax.add_patch(mpl.patches.Circle((x, y), dx, fc=face, ec=edge, lw=1.2, zorder=4))
    else:
        shape = (
            "round,pad=0,rounding_size=0.12" if box.node.kind == "data" else "round,pad=0,rounding_size=0.05"
        )
        ax.add_patch(
            FancyBboxPatch(
                (x - dx, y - dy), 2 * dx, 2 * dy, boxstyle=shape, fc=face, ec=edge, lw=1.2, zorder=4
            )
        )
    ax.text(x, y, box.node.text, ha="center", va="center_baseline" if "\n" not in box.node.text else "center",
            fontsize=size, linespacing=1.25, zorder=5)  # fmt: skip
