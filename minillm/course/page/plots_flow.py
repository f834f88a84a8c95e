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
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from minillm._checks import check_choice, check_number, check_text, describe, is_listing
from minillm.course.page.figures import axes_grid, axes_or_new, text_columns, write_words

# What a kind of node looks like: (face, edge). Light faces, so that black text stays readable.
KINDS = {
    "data": ("#ffffff", "#999999"),  # text, ids, vectors: what flows
    "step": ("#e8eef4", "#0072B2"),  # what is computed
    "learned": ("#fdebd8", "#D55E00"),  # what has weights
    "store": ("#e2f3ec", "#009E73"),  # what is kept: a cache, an index
    "sum": ("#ffffff", "#333333"),  # a small circle: + or ×
}
GRAY = "#555555"
LETTER, LINE = 0.083, 0.165  # inches: the width of a Latin letter and the height of a line of 9 points
GAP_ALONG, GAP_ACROSS = 0.34, 0.55  # inches between rows, and between columns
PAD = 0.13  # inches between a frame and what it holds


@dataclass(frozen=True)
class Node:
    """One box: its name for edges, what is written in it, its row along the flow, its column beside it, its kind."""

    name: str
    text: str
    row: float
    column: float = 0
    kind: str = "step"


@dataclass(frozen=True)
class Group:
    """A frame around nodes, with a word at its corner: Group(("norm", "attention", "sum"), "× 12")."""

    nodes: Sequence[str]
    text: str = ""


@dataclass
class _Box:
    """A node in inches; `along` is the direction of the flow. (a, c) is its centre, da and dc half its extent."""

    node: Node
    a: float = 0.0
    c: float = 0.0
    da: float = 0.0
    dc: float = 0.0


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
    named = _check_nodes(nodes)
    arrows = _check_edges(edges, named)
    _check_groups(groups, named)
    up = direction == "up"
    boxes = _place([_sized(node, up) for node in nodes], arrows, groups, up)
    size = 9 * scale
    routes = [
        (_route(boxes[start], boxes[end], list(boxes.values()), place, _room(label)), label)
        for place, (start, end, label) in enumerate(arrows)
    ]
    frames = [
        (_frame([boxes[name] for name in group.nodes], depth), group) for depth, group in _nested(groups)
    ]
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


def _sized(node: Node, up: bool) -> _Box:
    lines = node.text.split("\n")
    wide = max(map(text_columns, lines)) * LETTER + 0.26
    high = len(lines) * LINE + 0.14
    if node.kind == "sum":
        wide = high = 0.27
    return _Box(node, da=(high if up else wide) / 2, dc=(wide if up else high) / 2)


def _place(boxes: list[_Box], arrows: Sequence[tuple], groups: Sequence[Group], up: bool) -> dict[str, _Box]:
    """Rows and columns to inches. Boxes of one column get one width; gaps leave room for the labels on the arrows."""
    rows, columns = (sorted({getattr(box.node, axis) for box in boxes}) for axis in ("row", "column"))
    for column in columns:  # one width a column looks calm, the small circles aside
        mine = [box for box in boxes if box.node.column == column and box.node.kind != "sum"]
        for box in mine if up else ():
            box.dc = max(other.dc for other in mine)
    at = {box.node.name: box.node for box in boxes}
    gaps_a = dict.fromkeys(rows, GAP_ALONG)
    gaps_c = dict.fromkeys(columns, GAP_ACROSS)
    for group in groups:  # room for its residuals, its border and its word
        last = max(at[name].column for name in group.nodes)
        gaps_c[last] = max(gaps_c[last], GAP_ACROSS + (0.75 if up else 0.4))
    beside = dict.fromkeys(columns, 0.0)
    for start, end, label in arrows:
        room = _room(label)
        one, two = sorted((at[start], at[end]), key=lambda node: (node.row, node.column))
        steps = rows.index(two.row) - rows.index(one.row)
        if one.column != two.column and label and (steps == 0 or start == two.name) and up:
            # written on the arrow between two columns
            left = min(one.column, two.column)
            beside[left] = max(beside[left], room)
        elif not up and label and steps == 1:
            gaps_a[one.row] = max(gaps_a[one.row], room)
        elif label:
            framed = any((start in group.nodes) != (end in group.nodes) for group in groups)
            needed = GAP_ALONG + LINE * label.count("\n") + 0.05 + 0.22 * framed
            gaps_a[one.row] = max(gaps_a[one.row], needed)
    for column in columns:
        gaps_c[column] = max(gaps_c[column], gaps_c[column] - 0.35 + beside[column])
    _spread(boxes, rows, "row", gaps_a, "a", "da")
    _spread(boxes, columns, "column", gaps_c, "c", "dc")
    return {box.node.name: box for box in boxes}


def _room(label: str) -> float:
    """Inches that a label takes on an arrow, its point and some air included."""
    return max([0, *map(text_columns, label.split("\n"))]) * LETTER * 0.92 + 0.28


def _spread(boxes: list[_Box], places: list[float], axis: str, gaps: dict, centre: str, half: str) -> None:
    edge = 0.0
    for index, place in enumerate(places):
        mine = [box for box in boxes if getattr(box.node, axis) == place]
        widest = max(getattr(box, half) for box in mine)
        for box in mine:
            setattr(box, centre, edge + widest)
        # places 0 and 2 leave a row free, places 0 and .5 stand half as far apart
        skipped = places[index + 1] - place if index + 1 < len(places) else 1
        edge += 2 * widest + gaps[place] * max(0.4, skipped)


def _route(start: _Box, end: _Box, boxes: list[_Box], place: int, room: float) -> list[tuple[float, float]]:
    """The corners of an arrow in (along, across)."""
    forward = 1 if end.a >= start.a else -1

    def standing(column: float, low: float, high: float) -> list[_Box]:
        inside = (box for box in boxes if box not in (start, end) and box.node.column == column)
        return [box for box in inside if min(low, high) - 1e-6 <= box.a <= max(low, high) + 1e-6]

    if start.node.column == end.node.column:
        between = standing(start.node.column, start.a, end.a)
        if not between:
            return [(start.a + forward * start.da, start.c), (end.a - forward * end.da, end.c)]
        # past the boxes in between: out of the side, along, and into the side
        side = max(box.dc for box in [*between, start, end]) + 0.17 + 0.05 * (place % 2)
        # from a circle's upper half: the arrow that comes into it takes the middle
        leave = start.a + forward * min(start.da, 0.09)
        edge = 0.1 if start.node.kind == "sum" else start.dc
        return [
            (leave, start.c + edge),
            (leave, start.c + side),
            (end.a, start.c + side),
            (end.a, end.c + end.dc),
        ]
    sideways = 1 if end.c > start.c else -1
    if start.node.row == end.node.row:
        return [(start.a, start.c + sideways * start.dc), (end.a, end.c - sideways * end.dc)]
    if not standing(start.node.column, start.a, end.a):  # along, and then across into the side
        return [(start.a + forward * start.da, start.c), (end.a, start.c), (end.a, end.c - sideways * end.dc)]
    out, into = start.a + forward * start.da, end.a - forward * end.da
    near = standing(start.node.column, out, into) + standing(end.node.column, start.a, end.a)
    if not near:  # a branch: half way along, across, and on
        middle = (out + into) / 2
        return [(out, start.c), (middle, start.c), (middle, end.c), (into, end.c)]
    # through the gutter beside the target, with room for the label where it arrives
    near_end = end.c - sideways * end.dc
    gutter = near_end - sideways * room
    return [(start.a, start.c + sideways * start.dc), (start.a, gutter), (end.a, gutter), (end.a, near_end)]


def _frame(boxes: list[_Box], depth: int) -> tuple[float, float, float, float]:
    """(a0, c0, a1, c1) around the boxes; outer frames keep a distance from inner ones, and residuals fit inside."""
    pad = PAD + 0.09 * depth
    skips = 0.2 if len(boxes) > 2 else 0.0
    return (
        min(box.a - box.da for box in boxes) - pad, min(box.c - box.dc for box in boxes) - pad,
        max(box.a + box.da for box in boxes) + pad, max(box.c + box.dc for box in boxes) + pad + skips,
    )  # fmt: skip


def _nested(groups: Sequence[Group]) -> list[tuple[int, Group]]:
    """Each group with how many groups it holds, so that a frame around frames is drawn wider."""
    return [(sum(set(other.nodes) < set(group.nodes) for other in groups), group) for group in groups]


def _extent(
    boxes: dict, routes: list, frames: list, up: bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    points = [
        (box.a + s * box.da, box.c + t * box.dc) for box in boxes.values() for s in (-1, 1) for t in (-1, 1)
    ]
    points += [point for route, _ in routes for point in route]
    side = 0.25 if up else 0.0  # for the words of frames
    points += [
        point
        for (a0, c0, a1, c1), group in frames
        for point in ((a0, c0), (max(a1, a0 + text_columns(group.text) * LETTER), c1 + side))
    ]
    xys = [_xy(a, c, up) for a, c in points]
    above = 0.25 if frames and not up else 0.08
    for route, label in routes:
        xys += _label_box([_xy(a, c, up) for a, c in route], label)
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


def _draw(ax: Axes, box: _Box, up: bool, size: float) -> None:
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


def _check_nodes(nodes: Any) -> dict[str, Node]:
    if not is_listing(nodes) or not nodes or not all(isinstance(node, Node) for node in nodes):
        raise ValueError(f"nodes must be a list of Node with at least one, got {describe(nodes)}")
    places = set()
    for node in nodes:
        check_text("name", node.name)
        check_text("text", node.text)
        check_number("row", node.row)
        check_number("column", node.column)
        check_choice("kind", node.kind, tuple(KINDS))
        if (node.row, node.column) in places:
            raise ValueError(
                f"two nodes stand in row {node.row}, column {node.column}; the second is {node.name!r}"
            )
        places.add((node.row, node.column))
    named = {node.name: node for node in nodes}
    if len(named) < len(nodes):
        raise ValueError("two nodes have the same name: " + ", ".join(sorted(node.name for node in nodes)))
    return named


def _check_edges(edges: Any, named: dict[str, Node]) -> list[tuple[str, str, str]]:
    if not is_listing(edges):
        raise ValueError(f"edges must be a list of (from, to) or (from, to, label), got {describe(edges)}")
    arrows = []
    for edge in edges:
        if (
            not isinstance(edge, tuple)
            or len(edge) not in (2, 3)
            or not all(isinstance(one, str) for one in edge)
        ):
            raise ValueError(f"an edge is (from, to) or (from, to, label), all str, got {edge!r}")
        for name in edge[:2]:
            if name not in named:
                raise ValueError(f"no node is named {name!r}; there are {', '.join(named)}")
        arrows.append((*edge, "")[:3])
    return arrows


def _check_groups(groups: Any, named: dict[str, Node]) -> None:
    if not is_listing(groups) or not all(isinstance(group, Group) for group in groups):
        raise ValueError(f"groups must be a list of Group, got {describe(groups)}")
    for group in groups:
        if not is_listing(group.nodes) or not group.nodes:
            raise ValueError(f"a group holds at least one name of a node, got {describe(group.nodes)}")
        for name in group.nodes:
            if name not in named:
                raise ValueError(f"no node is named {name!r}; there are {', '.join(named)}")
