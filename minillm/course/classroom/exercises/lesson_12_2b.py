"""Checkers of lesson 12_2b, HNSW, layer by layer."""

import numpy as np

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)
from minillm.search.ann.hnsw_plain import PlainNSW, SimpleHNSW

OWN = "build it yourself, with nothing of minillm"
PLAIN = "minillm.search.ann.hnsw_plain.PlainHNSW."
GRAPHS = (
    *(PLAIN + name for name in ("select", "search_layer", "add", "link_back")),
    "minillm.search.exact.distances_plain",
)
GIVEN = ("squared", "search_layer")


def refuse_copies(answer):
    copied = copied_library(answer, allowed=GIVEN)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"


def gap(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b))


def cut(text):
    return text if len(text) < 500 else f"{text[:500]}..."


@exercise("12-2b-a", points=2)
def choose(answer):
    """Algorithm 4 on whole numbers."""
    refuse_copies(answer)
    line = [[1], [2], [4], [-3], [-1]]
    for m, keep in ((1, False), (2, False), (3, True), (4, False), (9, True)):
        check_choice_of(answer, line, [0], [2, 3, 1, 0], m, keep, "points on a line")
    check_choice_of(answer, line, [0], [4, 0], 2, False, "0 and 4 are equally near: the lower first")
    check_choice_of(
        answer, [[2, 0], [1, 1], [9, 9]], [0, 0], [0, 1], 2, False, "the same distance to both: not nearer"
    )
    check_choice_of(answer, line, [0], [], 3, True, "no candidates")
    # a row of twelve behind the first, then three other directions, then one that only the first of all is nearer to
    crowd = [*([x, 0] for x in range(1, 13)), [0, -20], [-30, 0], [0, 40], [60, 0]]
    for m, keep in ((4, False), (5, False), (5, True), (16, True)):
        check_choice_of(
            answer, crowd, [0, 0], list(range(16)), m, keep, "three directions behind a row of twelve"
        )
    for case in cases(
        points=(1, 4, 12, 25), width=(1, 2, 4), m=(1, 2, 5, 30), keep=(False, True), span=(2, 9, 60)
    ):
        inputs = Inputs(case.seed)
        points = [inputs.integers(case.width, -case.span, case.span) for _ in range(case.points)]
        query = inputs.integers(case.width, -case.span, case.span)
        candidates = inputs.shuffled(range(case.points))[: inputs.integer(0, case.points)]
        check_choice_of(answer, points, query, candidates, case.m, case.keep, str(case))


def check_choice_of(answer, points, query, candidates, m, keep, hint):
    given = [list(one) for one in points], list(query), list(candidates)
    with forbid(OWN, *GRAPHS, answer=answer):
        found = as_list(answer(*given, m, keep), "what choose returns")
    where = cut(f"{hint}; points {points}, query {query}, candidates {candidates}, m {m}, keep_pruned {keep}")
    expect(list(given), [points, query, candidates], hint="what you are given must stay as it is")
    kept, pruned = [], []
    for node in sorted(candidates, key=lambda one: (gap(points[one], query), one)):
        if len(kept) < m:
            behind = any(gap(points[node], points[one]) <= gap(points[node], query) for one in kept)
            (pruned if behind else kept).append(node)
    expect(found, (kept + pruned if keep else kept)[:m], hint=where)


class Levelled(SimpleHNSW):
    """SimpleHNSW whose levels are given."""

    def draw_level(self):
        return self.levels[len(self.vectors)]


@exercise("12-2b-b", points=4)
def build(answer):
    """Algorithm 1 with the nearest as neighbours, against the library's SimpleHNSW."""
    refuse_copies(answer)
    check_build(answer, [(3, 4)], [2], 2, 3, "one node")
    check_build(
        answer, [(0, 0), (5, 0), (1, 0), (2, 0)], [0, 1, 0, 0], 1, 4, "four nodes, the second on layer 1"
    )
    check_build(answer, [(0, 0), (2, 0), (4, 0), (1, 0), (3, 0)], [0] * 5, 2, 1, "one layer, ef = 1")
    for case in cases(nodes=(2, 5, 12, 30), m=(1, 2, 3), ef=(1, 2, 4, 10), high=(0, 1, 3), span=(6, 40)):
        inputs = Inputs(case.seed)
        every = [(x, y) for x in range(case.span) for y in range(case.span)]
        points = inputs.shuffled(every)[: case.nodes]
        levels = [min(inputs.integer(0, case.high), inputs.integer(0, case.high)) for _ in points]
        check_build(answer, points, levels, case.m, case.ef, str(case))


def check_build(answer, points, levels, m, ef, hint):
    graph = Levelled(m=m, ef_construction=ef)
    graph.levels = levels
    for point in points:
        graph.add(point)
    given = list(points), list(levels)
    with forbid(OWN, *GRAPHS, answer=answer):
        found = plain(answer(*given, m, ef), "what build returns")
    where = cut(f"{hint}; points {points}, levels {levels}, m {m}, ef {ef}")
    expect(list(given), [points, levels], hint="points and levels must stay as they are")
    layers, entry = as_list(found, "what build returns, (layers, entry),", 2)
    layers = as_list(layers, "layers")
    expect(len(layers), len(graph.layers), hint=f"the number of layers: {where}")
    expect(entry, graph.entry, hint=f"the entry: {where}")
    for number, (layer, nodes) in enumerate(zip(layers, graph.layers)):
        assert isinstance(layer, dict), (
            f"each layer is a dict from a node to its neighbours, got {shown(layer)}"
        )
        expect(sorted(layer, key=str), sorted(nodes, key=str), hint=f"the nodes of layer {number}: {where}")
        for node, row in nodes.items():
            mine = as_list(layer[node], f"the neighbours of node {node}")
            expect(
                sorted(mine, key=str),
                sorted(row, key=str),
                hint=f"layer {number}, neighbours of node {node}: {where}",
            )


class OneLayer(SimpleHNSW):
    """The nearest as neighbours, all on layer 0."""

    def draw_level(self):
        return 0


@exercise("12-2b-c", points=3)
def islands(answer):
    """Groups that the nearest neighbours cut off."""
    points = as_list(answer, "points")
    assert 12 <= len(points) <= 40, f"points must be 12 to 40, got {len(points)}"
    for point in points:
        pair = as_list(point, "a point", 2)
        whole = all(
            isinstance(one, (int, float)) and not isinstance(one, bool) and 0 <= one <= 100 and one % 1 == 0
            for one in pair
        )
        assert whole, f"points are pairs of whole numbers from 0 to 100, got {shown(point)}"
    assert len({tuple(one) for one in points}) == len(points), f"the points must differ, got {shown(points)}"
    reached = {}
    for kind in (OneLayer, PlainNSW):
        graph = kind(m=2, ef_construction=40)
        for point in points:
            graph.add(np.array(point, np.float32))
        graph.entry = 0
        reached[kind] = len(graph.reachable())
    assert 2 * reached[OneLayer] < len(points), (
        f"with the simple choice links lead from node 0 to {reached[OneLayer]} of {len(points)} nodes, not less "
        "than half of them. Put tight groups far apart, and add their points in mixed order"
    )
    assert reached[PlainNSW] == len(points), (
        f"with the heuristic links lead to {reached[PlainNSW]} of {len(points)} nodes; they must lead to all"
    )


@exercise("12-2b-d", points=2)
def hierarchy(answer):
    """What follows from m."""
    found = as_floats(answer, "prediction", 5)
    expected = (
        (64, "one node in m is on layer 1, one in m² on layer 2"),
        (64, "2 m on layer 0, and m on layer 1 and on layer 2"),
        (1 / 15, "the sum of 1/m + 1/m² + 1/m³ + ... is 1 / (m - 1)"),
        (2, "2 and 4 lie behind 1: they are as near to it, or nearer, than to q. And -3?"),
        (
            4 * (32 + 16 / 15),
            "32 links on layer 0, and 16 on each of the 1/15 layers above that a node is on; 4 bytes each",
        ),
    )
    for number, (value, (right, hint)) in enumerate(zip(found, expected), start=1):
        assert abs(value - right) < 0.01 * right, f"number {number}: you say {value:g}. Look again: {hint}"
