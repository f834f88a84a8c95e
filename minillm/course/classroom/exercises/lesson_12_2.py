"""Checkers of lesson 12_2, ANN: IVF and NSW."""

from fractions import Fraction

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    packages_of,
    shown,
)

OWN = "build it yourself, with nothing of minillm"
STEPS = ("assign_plain", "assign", "kmeans", "move_centres", "means")
KMEANS = (
    *(f"minillm.search.ann.kmeans.{name}" for name in STEPS),
    "minillm.course.classroom.exercises.lesson_12_2.exact_lloyd",
)
GRAPHS = (
    "minillm.search.ann.hnsw_plain.PlainHNSW.search_layer",
    "minillm.search.ann.hnsw_plain.PlainHNSW.distance",
    "minillm.search.exact.distances_plain",
    "minillm.course.classroom.exercises.lesson_12_2.walked",
)

LISTS = (
    "minillm.search.ann.ivf.search_plain",
    "minillm.search.ann.ivf.IVFIndex.search",
    "minillm.search.exact.ExactIndex.search",
    "minillm.search.exact.distances_plain",
    "minillm.course.classroom.exercises.lesson_12_2.probed",
)


def refuse_copies(answer):
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"


@exercise("12-2-a", points=3)
def lloyd(answer):
    """Lloyd's two steps, on exact fractions."""
    refuse_copies(answer)
    ready = packages_of(answer, "scipy", "sklearn", "faiss")
    assert not ready, f"the exercise says: no ready k-means; your answer uses {ready}"
    check_lloyd(
        answer, [[0], [2], [1]], [[0], [2]], 0, "point 1 is as near to both centres: the lowest number wins"
    )
    check_lloyd(answer, [[0], [1], [9]], [[0], [2], [50]], 2, "a centre without points stays where it is")
    check_lloyd(answer, [[3, 4]], [[0, 0], [9, 9], [5, 5]], 1, "more centres than points")
    for case in cases(points=(1, 2, 5, 12), centres=(1, 2, 4), width=(1, 2, 5), rounds=(0, 1, 2, 6)):
        points, centres = untied(case)
        check_lloyd(answer, points, centres, case.rounds, str(case))


def check_lloyd(answer, points, centres, rounds, hint):
    given = [list(one) for one in points], [list(one) for one in centres]
    with forbid(OWN, *KMEANS, answer=answer):
        found = as_list(answer(*given, rounds), "what lloyd returns", 2)
    where = f"{hint}; points {points}, centres {centres}, rounds {rounds}"
    expect(list(given), [points, centres], hint="the lists that you are given must stay as they are")
    expected, lists, _ = exact_lloyd(points, centres, rounds)
    expect(found[0], [[float(one) for one in row] for row in expected], 1e-6, f"the centres: {where}")
    expect(found[1], lists, hint=f"the lists at the end, by the centres that you return: {where}")


def untied(case):
    """Whole numbers in which no point is nearly as near to one centre as to another after they have moved."""
    inputs = Inputs(case.seed)
    while True:
        points = [inputs.integers(case.width, -9, 9) for _ in range(case.points)]
        centres = [inputs.integers(case.width, -9, 9) for _ in range(case.centres)]
        if case.rounds == 0 or exact_lloyd(points, centres, case.rounds)[2] > Fraction(1, 1000):
            return points, centres


def exact_lloyd(points, centres, rounds):
    """(centres, lists, the smallest difference between a point's two nearest centres after the first move)"""
    places, close = [[Fraction(one) for one in row] for row in centres], Fraction(1)

    def table():
        return [[sum((x - y) ** 2 for x, y in zip(p, place)) for place in places] for p in points]

    for turn in range(rounds + 1):
        gaps = table()
        lists = [row.index(min(row)) for row in gaps]
        if turn:
            close = min([close, *(sorted(row)[1] - min(row) for row in gaps if len(row) > 1)])
        if turn < rounds:
            for number in range(len(places)):
                own = [p for p, one in zip(points, lists) if one == number]
                if own:
                    places[number] = [Fraction(sum(column), len(own)) for column in zip(*own)]
    return places, lists, close


@exercise("12-2-b", points=3)
def walk(answer):
    """Algorithm 2 with a list of what was measured."""
    refuse_copies(answer)
    row = [[1], [0, 2], [1, 3], [2]]
    check_walk(answer, [(0, 0), (1, 0), (2, 0), (3, 0)], row, (3, 0), 0, 1, "four nodes in a row")
    check_walk(answer, [(0, 0), (1, 0), (2, 0), (3, 0)], row, (0, 0), 0, 1, "the start is the nearest")
    check_walk(answer, [(0, 0), (9, 9)], [[], [0]], (9, 9), 0, 5, "no link leads on from the start")
    check_walk(
        answer,
        [(0, 0), (2, 0), (-2, 0)],
        [[2, 1], [0], [0]],
        (0, 0),
        0,
        2,
        "1 and 2 tie: the lower is nearer",
    )
    for case in cases(nodes=(1, 2, 6, 15, 30), degree=(1, 2, 4), ef=(1, 2, 3, 8), span=(2, 9, 50)):
        points, links, query, start = drawn_graph(case, Inputs(case.seed))
        check_walk(answer, points, links, query, start, case.ef, str(case))


def drawn_graph(case, inputs):
    """(points, links, query, start): case.nodes points in a square of case.span, up to case.degree links each, which
    go one way."""
    points = [tuple(inputs.integers(2, 0, case.span)) for _ in range(case.nodes)]
    links = [
        list(dict.fromkeys(one for one in inputs.integers(case.degree, 0, case.nodes - 1) if one != node))
        for node in range(case.nodes)
    ]
    return points, links, tuple(inputs.integers(2, 0, case.span)), inputs.integer(0, case.nodes - 1)


def check_walk(answer, points, links, query, start, ef, hint):
    given = list(points), [list(one) for one in links]
    with forbid(OWN, *GRAPHS, answer=answer):
        found = as_list(answer(*given, query, start, ef), "what walk returns", 2)
    where = f"{hint}; points {points}, links {links}, query {query}, start {start}, ef {ef}"
    expect(list(given), [points, links], hint="what you are given must stay as it is")
    nodes, measured = walked(points, links, query, start, ef)
    expect(found[1], measured, hint=f"the nodes in the order in which they are measured: {shorter(where)}")
    expect(found[0], nodes, hint=f"the nodes found, nearest first: {shorter(where)}")


def shorter(text):
    return text if len(text) < 600 else f"{text[:600]}..."


def walked(points, links, query, start, ef, passes=None):
    """(found, measured) of the walk that the prompt describes. passes: which nodes may be found (12-3-a); None: all."""

    def rank(node):
        return (points[node][0] - query[0]) ** 2 + (points[node][1] - query[1]) ** 2, node

    def nearest(nodes):
        return sorted((node for node in nodes if passes is None or passes[node]), key=rank)[:ef]

    measured, waiting = [start], [start]
    while waiting:
        node, found = min(waiting, key=rank), nearest(measured)
        if len(found) == ef and rank(node) > rank(found[-1]):
            break
        waiting.remove(node)
        new = [one for one in dict.fromkeys(links[node]) if one not in measured]
        measured, waiting = measured + new, waiting + new
    return nearest(measured), measured


@exercise("12-2-c", points=3)
def trap(answer):
    """A graph in which two places in the queue are too few."""
    points, links, query = as_list(answer, "trap = (points, links, query)", 3)
    points, links = as_list(points, "points"), as_list(links, "links")
    assert 6 <= len(points) <= 20, f"points must be 6 to 20, got {len(points)}"
    assert len(links) == len(points), f"links has a list for each node: {len(points)}, got {len(links)}"
    for place in [*points, query]:
        numbers = as_list(place, "a point, or the query,", 2)
        assert all(is_whole(one, 100, float) for one in numbers), (
            f"points and query are pairs of whole numbers from 0 to 100, got {shown(place)}"
        )
    assert len({tuple(one) for one in points}) == len(points), f"the points must differ, got {shown(points)}"
    for node, row in enumerate(links):
        row = as_list(row, "a node's links")
        assert 1 <= len(row) <= 4, f"a node has 1 to 4 links, node {node} has {shown(row)}"
        assert all(is_whole(one, len(points) - 1) for one in row), (
            f"links name nodes, node {node} has {shown(row)}"
        )
        assert len(set(row)) == len(row), f"a link stands once in a list, node {node} has {shown(row)}"
        assert node not in row, f"node {node} is linked with itself"
    for node, row in enumerate(links):
        for other in row:
            assert node in links[other], (
                f"links go both ways: {node} has {other}, and {other} does not have {node}"
            )
    gaps = [(x - query[0]) ** 2 + (y - query[1]) ** 2 for x, y in points]
    assert gaps.count(min(gaps)) == 1, f"one node must be nearest, {gaps.count(min(gaps))} are equally near"
    reached = walked(points, links, query, 0, len(points))[1]
    assert len(reached) == len(points), (
        f"paths from node 0 lead to {len(reached)} of {len(points)} nodes only"
    )
    nearest = gaps.index(min(gaps))
    for ef, wanted in ((1, False), (2, False), (3, True)):
        found, measured = walked(points, links, query, 0, ef)
        assert (found[0] == nearest) == wanted, (
            f"with ef = {ef} the walk measures {measured} and finds node {found[0]}; the nearest is {nearest}, "
            f"which it should {'find' if wanted else 'not find'}"
        )


def is_whole(value, most, *other):
    """A whole number from 0 to most, as int or as one of the `other` kinds."""
    number = isinstance(value, (int, *other)) and not isinstance(value, bool)
    return number and 0 <= value <= most and value % 1 == 0


@exercise("12-2-d", points=2)
def costs(answer):
    """Distances counted by hand."""
    found = as_floats(answer, "prediction", 5)
    expected = (
        (600, "the search measures all centres, and then 5 lists of 100 vectors"),
        (200, "lists K: a search measures K + 4 * 10,000 / K. Where is that smallest?"),
        (
            2754,
            "a query falls into the list of 4,000 with probability 1/2, and then all 4,000 are measured; and 4 centres",
        ),
        (9.97, "node i makes min(i, 5) links (the first is node 0), and each link counts for two nodes"),
        (
            9,
            "at node 7 both neighbours have been measured before it stops; count each node once, the start too",
        ),
    )
    for number, (value, (right, hint)) in enumerate(zip(found, expected), start=1):
        assert abs(value - right) < 0.005, f"number {number}: you say {value:g}. Look again: {hint}"


@exercise("12-2-e", points=3)
def probe(answer):
    """The search of IVF with its cost, on whole numbers."""
    refuse_copies(answer)
    ready = packages_of(answer, "scipy", "sklearn", "faiss")
    assert not ready, f"the exercise says: no ready search; your answer uses {ready}"
    line = [[0], [1], [9], [10], [11]]
    check_probe(
        answer, line, [[1, 0], [], [4, 2, 3]], [[0], [4], [10]], [3], 3, 2, "an empty list takes a place"
    )
    check_probe(
        answer, line, [[0, 1], [2, 3, 4]], [[0], [10]], [5], 1, 1, "both centres tie: the lower number"
    )
    check_probe(
        answer, line, [[0, 1], [4, 3, 2]], [[0], [10]], [10], 2, 1, "rows 2 and 4 tie: the lower number"
    )
    check_probe(answer, line, [[2], [0, 4]], [[0], [10]], [9], 1, 1, "row 2 stands in the other list")
    check_probe(answer, [], [[], []], [[0], [5]], [1], 3, 1, "no vectors")
    for case in cases(
        vectors=(0, 1, 6, 20, 40), centres=(1, 2, 3, 8), width=(1, 2, 4), k=(1, 2, 5, 50), n_probe=(1, 2, 3, 9),
        span=(1, 3, 9), kept=("near", "any", "some"),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        vectors, centres = (
            [inputs.integers(case.width, -case.span, case.span) for _ in range(count)]
            for count in (case.vectors, case.centres)
        )
        lists = sorted_in(vectors, centres, case.kept, inputs)
        query = inputs.integers(case.width, -case.span, case.span)
        check_probe(answer, vectors, lists, centres, query, case.k, case.n_probe, str(case))


def sorted_in(vectors, centres, kept, inputs):
    """lists: each row in that of its nearest centre, or ("any") in any; of "some" a quarter was removed."""
    lists = [[] for _ in centres]
    for row in inputs.shuffled(range(len(vectors))):
        if kept == "some" and inputs.integer(0, 3) == 0:
            continue
        near = squared_order(centres, range(len(centres)), vectors[row])[0]
        lists[inputs.integer(0, len(centres) - 1) if kept == "any" else near].append(row)
    return lists


def squared_order(places, numbers, query):
    """The numbers by the squared distance of their places to the query; of equal ones the lower first."""
    return sorted(numbers, key=lambda one: (sum((x - y) ** 2 for x, y in zip(places[one], query)), one))


def probed(vectors, lists, centres, query, k, n_probe):
    """(found, measured) as the prompt says."""
    rows = [row for c in squared_order(centres, range(len(centres)), query)[:n_probe] for row in lists[c]]
    return squared_order(vectors, rows, query)[:k], len(centres) + len(rows)


def check_probe(answer, vectors, lists, centres, query, k, n_probe, hint):
    expected, measured = probed(vectors, lists, centres, query, k, n_probe)
    given = [[list(one) for one in rows] for rows in (vectors, lists, centres)] + [list(query)]
    with forbid(OWN, *LISTS, answer=answer):
        found = as_list(answer(*given, k, n_probe), "what probe returns", 2)
    where = shorter(
        f"{hint}; vectors {vectors}, lists {lists}, centres {centres}, query {query}, k {k}, n_probe {n_probe}"
    )
    expect(given, [vectors, lists, centres, query], hint="what you are given must stay as it is")
    expect(found[0], expected, hint=f"the rows found, nearest first: {where}")
    expect(found[1], measured, hint=f"the distances measured: {where}")
