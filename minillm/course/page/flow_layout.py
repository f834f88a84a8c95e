"""Where the boxes of a flow stand and which way its arrows go, in inches; plots_flow.py draws it.

Everything is worked out along the flow (`a`) and across it (`c`), so that a picture that goes up and one that goes to
the right are laid out by the same lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minillm._checks import check_choice, check_number, check_text, describe, is_listing
from minillm.course.page.figures import text_columns

# What a kind of node looks like: (face, edge). Light faces, so that black text stays readable.
KINDS = {
    "data": ("#ffffff", "#999999"),  # text, ids, vectors: what flows
    "step": ("#e8eef4", "#0072B2"),  # what is computed
    "learned": ("#fdebd8", "#D55E00"),  # what has weights
    "store": ("#e2f3ec", "#009E73"),  # what is kept: a cache, an index
    "sum": ("#ffffff", "#333333"),  # a small circle: + or ×
}
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
class Box:
    """A node in inches; `along` is the direction of the flow. (a, c) is its centre, da and dc half its extent."""

    node: Node
    a: float = 0.0
    c: float = 0.0
    da: float = 0.0
    dc: float = 0.0


def sized(node: Node, up: bool) -> Box:
    lines = node.text.split("\n")
    wide = max(map(text_columns, lines)) * LETTER + 0.26
    high = len(lines) * LINE + 0.14
    if node.kind == "sum":
        wide = high = 0.27
    return Box(node, da=(high if up else wide) / 2, dc=(wide if up else high) / 2)


def place_boxes(
    boxes: list[Box], arrows: Sequence[tuple], groups: Sequence[Group], up: bool
) -> dict[str, Box]:
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
        room = room_of(label)
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


def room_of(label: str) -> float:
    """Inches that a label takes on an arrow, its point and some air included."""
    return max([0, *map(text_columns, label.split("\n"))]) * LETTER * 0.92 + 0.28


def _spread(boxes: list[Box], places: list[float], axis: str, gaps: dict, centre: str, half: str) -> None:
    edge = 0.0
    for index, place in enumerate(places):
        mine = [box for box in boxes if getattr(box.node, axis) == place]
        widest = max(getattr(box, half) for box in mine)
        for box in mine:
            setattr(box, centre, edge + widest)
        # places 0 and 2 leave a row free, places 0 and .5 stand half as far apart
        skipped = places[index + 1] - place if index + 1 < len(places) else 1
        edge += 2 * widest + gaps[place] * max(0.4, skipped)


def route(start: Box, end: Box, boxes: list[Box], place: int, room: float) -> list[tuple[float, float]]:
    """The corners of an arrow in (along, across)."""
    forward = 1 if end.a >= start.a else -1

    def standing(column: float, low: float, high: float) -> list[Box]:
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


def frame(boxes: list[Box], depth: int) -> tuple[float, float, float, float]:
    """(a0, c0, a1, c1) around the boxes; outer frames keep a distance from inner ones, and residuals fit inside."""
    pad = PAD + 0.09 * depth
    skips = 0.2 if len(boxes) > 2 else 0.0
    return (
        min(box.a - box.da for box in boxes) - pad, min(box.c - box.dc for box in boxes) - pad,
        max(box.a + box.da for box in boxes) + pad, max(box.c + box.dc for box in boxes) + pad + skips,
    )  # fmt: skip


def nested(groups: Sequence[Group]) -> list[tuple[int, Group]]:
    """Each group with how many groups it holds, so that a frame around frames is drawn wider."""
    return [(sum(set(other.nodes) < set(group.nodes) for other in groups), group) for group in groups]


def check_nodes(nodes: Any) -> dict[str, Node]:
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


def check_edges(edges: Any, named: dict[str, Node]) -> list[tuple[str, str, str]]:
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


def check_groups(groups: Any, named: dict[str, Node]) -> None:
    if not is_listing(groups) or not all(isinstance(group, Group) for group in groups):
        raise ValueError(f"groups must be a list of Group, got {describe(groups)}")
    for group in groups:
        if not is_listing(group.nodes) or not group.nodes:
            raise ValueError(f"a group holds at least one name of a node, got {describe(group.nodes)}")
        for name in group.nodes:
            if name not in named:
                raise ValueError(f"no node is named {name!r}; there are {', '.join(named)}")
