"""Checkers of lesson 12_3, HNSW's parameters."""

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
    shown,
)
from minillm.course.classroom.exercises.lesson_12_2 import GRAPHS, drawn_graph, shorter, walked
from minillm.search import ExactIndex, HNSWIndex, count_distances

K = 10
M_CHOICES, EFC_CHOICES, EF_CHOICES = (4, 8, 16, 32), (8, 64), (10, 15, 20, 30, 45, 70)
SLACK_COST, SLACK_RECALL = 1.15, 0.04
WALK = "build it yourself, with nothing of minillm"
WALKS = (*GRAPHS, "minillm.course.classroom.exercises.lesson_12_3.walked")
OWN = "build it yourself", "minillm.course.classroom.exercises.lesson_12_3.expected_frontier"


@exercise("12-3-a", points=3)
def filtered_walk(answer):
    """A walk over all nodes, of which only some may be found."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {WALK}; your answer uses {copied}"
    row, places = [[1], [0, 2], [1, 3], [2]], [(0, 0), (1, 0), (2, 0), (3, 0)]
    check_filtered(answer, places, row, [True] * 4, (3, 0), 0, 2, "all pass: the walk of 12-2-b")
    check_filtered(answer, places, row, [False] * 4, (0, 0), 0, 2, "none passes")
    check_filtered(
        answer, places, row, [True, False, True, False], (2, 0), 0, 1, "1 leads to 2 and does not pass"
    )
    check_filtered(answer, places, row, [False, False, False, True], (0, 0), 0, 1, "the start does not pass")
    for case in cases(
        most=70, nodes=(1, 2, 6, 15, 30), degree=(1, 2, 4), ef=(1, 2, 3, 8), span=(2, 9, 50), share=(2, 5, 8)
    ):
        inputs = Inputs(case.seed)
        points, links, query, start = drawn_graph(case, inputs)
        passes = [number < case.share for number in inputs.integers(case.nodes, 0, 9)]
        check_filtered(answer, points, links, passes, query, start, case.ef, str(case))


def check_filtered(answer, points, links, passes, query, start, ef, hint):
    given = list(points), [list(one) for one in links], list(passes)
    with forbid(WALK, *WALKS, answer=answer):
        found = as_list(answer(*given, query, start, ef), "what filtered_walk returns", 2)
    where = f"{hint}; points {points}, links {links}, passes {passes}, query {query}, start {start}, ef {ef}"
    expect(list(given), [points, links, passes], hint="what you are given must stay as it is")
    nodes, measured = walked(points, links, query, start, ef, passes)
    expect(found[1], measured, hint=f"the nodes in the order in which they are measured: {shorter(where)}")
    expect(found[0], nodes, hint=f"the nodes found, nearest first: {shorter(where)}")


@exercise("12-3-b", points=3)
def frontier(answer):
    """Held against the definition, trial by trial."""

    def checked(trials, hint):
        given = [tuple(trial) for trial in trials]
        with forbid(*OWN, answer=answer):
            found = as_list(answer(given), "what frontier returns")
        expect(
            [list(one) for one in given], [list(one) for one in trials], hint="trials must stay as they are"
        )
        expect(found, expected_frontier(trials), hint=f"{hint}: {shown(trials)}")

    checked([], "no trials")
    checked([("a", 2, 0.5)], "one trial")
    checked([("a", 2, 0.5), ("b", 1, 0.5)], "b costs less and finds as much")
    checked([("a", 1, 0.5), ("b", 1, 0.6)], "b finds more and costs as much")
    checked(
        [("z", 1, 0.5), ("a", 1, 0.5)], "equal in both: neither beats the other, and they keep their order"
    )
    checked([("a", 3, 0.9), ("b", 1, 0.1), ("c", 2, 0.5)], "nothing beats anything, the cheapest first")
    checked([("a", 1, 0.5), ("a", 2, 0.6), ("a", 3, 0.4)], "a name may stand twice")
    checked([("a", 1, 0.0), ("b", -2, -0.5), ("c", 0, 0.0)], "zero and numbers below it")
    for case in cases(many=(2, 5, 30), highest=(2, 6, 1000), goes=(0, 1, 2, 3)):
        inputs = Inputs(case.seed)
        pairs = zip(inputs.integers(case.many, 0, case.highest), inputs.integers(case.many, 0, case.highest))
        checked([(f"t{n}", cost, recall / 8) for n, (cost, recall) in enumerate(pairs)], "drawn at random")
    many = [(str(n), n % 47, (n * 31 % 53) / 64) for n in range(2000)]
    with forbid(*OWN, answer=answer):
        found = as_list(answer(list(many)), "what frontier returns")
    expect(found, expected_frontier(many), hint="2,000 trials")


def expected_frontier(trials):
    """By the definition: those that no other trial beats."""
    cost, recall = (np.array([trial[place] for trial in trials], float) for place in (1, 2))
    beats = (cost[:, None] <= cost) & (recall[:, None] >= recall)  # (by, whom)
    beats &= (cost[:, None] < cost) | (recall[:, None] > recall)
    kept = np.flatnonzero(~beats.any(axis=0))
    return [trials[one][0] for one in sorted(kept.tolist(), key=lambda one: trials[one][1])]


# name: count, width, bytes, distances, how the vectors are drawn, and the seed
FINDER_CASES = {
    "clusters, memory for a few links": (500, 16, 140, 155, "clusters", 100),
    "memory for the fewest links": (400, 8, 71, 110, "spread", 103),
    "spread out, a small price": (500, 24, 500, 130, "spread", 101),
    "wide and spread out, a large price": (450, 64, 520, 420, "spread", 102),  # few links do not get there
}


def drawn(kind, count, dim, seed):
    """Vectors of a case: around 12 centres, or around one."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(dim).normal(size=(12, dim)) * (kind == "clusters")
    rows = centres[generator.integers(12, size=count)] + 0.6 * generator.normal(size=(count, dim))
    return np.rint(50 * rows).astype(np.float32)


@exercise("12-3-c", points=4, seconds=120)
def find_parameters(answer):
    """What is found is built, and asked what the answer did not see."""
    for name, (count, dim, most_bytes, most_distances, kind, seed) in FINDER_CASES.items():
        vectors = drawn(kind, count, dim, seed)
        given = vectors.copy()
        found = as_list(answer(given, most_bytes, most_distances), "what find_parameters returns", 3)
        expect(given, vectors, hint="the vectors must stay as they are")
        for value, choices, word in zip(
            found, (M_CHOICES, EFC_CHOICES, EF_CHOICES), ("m", "ef_construction", "ef_search")
        ):
            right = isinstance(value, int) and not isinstance(value, bool) and value in choices
            assert right, f"{word} must be one of {choices}, got {shown(value)} in {shown(found)}"
        asked = drawn(kind, 100, dim, seed + 100)
        judge(name, tuple(found), vectors, asked, most_bytes, most_distances)


def judge(name, found, vectors, asked, most_bytes, most_distances):
    """Bytes, distances and recall of a setting, against the best setting that keeps both budgets."""
    count, dim = vectors.shape
    where = f"{name}: {count} vectors of {dim}, {most_bytes} bytes and {most_distances} distances, you chose {found}"
    size = size_of(dim, found[0])
    assert size <= most_bytes, f"{where}: a vector takes {size:.1f} bytes"
    exact = ExactIndex(dim)
    exact.add(vectors)
    truth = exact.search(asked, K)[0]
    results = {}
    for m in M_CHOICES:
        for ef_construction in EFC_CHOICES if size_of(dim, m) <= most_bytes else ():
            index = HNSWIndex(dim, m=m, ef_construction=ef_construction)
            index.add(vectors)
            for ef_search in EF_CHOICES:
                ids = index.search(asked, K, ef_search=ef_search)[0]
                recall = sum(len(set(f) & set(t)) for f, t in zip(ids.tolist(), truth.tolist())) / truth.size
                cost = count_distances(index, asked, K, ef_search).mean()
                results[m, ef_construction, ef_search] = recall, cost
    recall, cost = results[found]
    assert cost <= SLACK_COST * most_distances, (
        f"{where}: queries that you did not see measure {cost:.0f} distances"
    )
    best = max((one for one in results if results[one][1] <= most_distances), key=results.get)
    enough = recall >= results[best][0] - SLACK_RECALL
    assert enough, (
        f"{where}: recall is {recall:.3f} on queries that you did not see; a setting that keeps "
        f"both budgets has {results[best][0]:.3f}"
    )


def size_of(dim, m):
    """The bytes of a vector by the formula of the exercise."""
    return 4 * dim + 8 * m + 4 * m / (m - 1)


@exercise("12-3-d", points=3)
def spoiled(answer):
    """A float index finds them, one of codes does not."""
    rows = as_list(answer, "spoiled")
    assert 300 <= len(rows) <= 2000, f"spoiled must hold 300 to 2,000 vectors, got {len(rows)}"
    width = len(rows[0]) if isinstance(rows[0], list) else 0
    assert 4 <= width <= 64, f"a vector must have 4 to 64 numbers, the first is {shown(rows[0])}"
    vectors = np.array([as_floats(row, "a vector", width) for row in rows]).astype(np.float32)
    longest = np.sqrt((vectors.astype(float) ** 2).sum(axis=1).max())
    assert longest <= 1e6, f"no vector may be longer than 1,000,000, the longest is {longest:.3g}"
    different = len(np.unique(vectors, axis=0))
    assert different == len(vectors), (
        f"the vectors must differ, got {different} different ones of {len(vectors)}"
    )
    exact = ExactIndex(width)
    exact.add(vectors)
    limits = exact.search(vectors[:100], 5)[1][:, -1:]
    shares = {}
    for codes in (None, "uint8"):
        index = HNSWIndex(width, codes=codes)
        index.add(vectors)
        distances = index.search(vectors[:100], 5, ef_search=64)[1]
        shares[codes] = (distances <= limits * (1 + 1e-5)).mean()
    assert shares[None] >= 0.95, (
        f"the float index must find 0.95 of the true neighbours, it finds {shares[None]:.3f}"
    )
    assert shares["uint8"] <= 0.5, (
        f"the index with codes must find at most 0.5 of the true neighbours, it finds {shares['uint8']:.3f}. What "
        "makes the step of the codes wide?"
    )
