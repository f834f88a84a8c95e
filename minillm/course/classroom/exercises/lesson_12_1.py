"""Checkers of lesson 12_1, vector databases and exact search."""

import math
import tracemalloc
from fractions import Fraction

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
    packages_of,
    shown,
)

OWN = "build it yourself, with nothing of minillm"
SEARCHES = (
    "minillm.search.exact.distances_plain",
    "minillm.search.exact.ExactIndex.search",
    "minillm.search.exact_plain.nearest_plain",
    "minillm.search.exact_plain.nearest_in_blocks",
    "minillm.course.classroom.exercises.lesson_12_1.exact_distance",
)


def refuse_copies(answer, allowed=()):
    copied = copied_library(answer, allowed=allowed)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"


@exercise("12-1-a", points=3)
def search(answer):
    """Exact search with ids, three metrics and a filter."""
    refuse_copies(answer)
    for metric in ("l2", "cosine", "ip"):
        check_search(answer, [[0, 0], [1, 2]], [4, 0], [0, 0], 2, metric, None, "a query of zeros")
        check_search(
            answer, [[0, 0], [2, 1], [-1, -1]], [0, 8, 3], [1, 1], 3, metric, {0, 3}, "a zero vector"
        )
        check_search(answer, [[1, 2], [1, 2], [1, 2]], [9, 2, 5], [1, 3], 2, metric, None, "equal vectors")
        check_search(
            answer, [[3, 1]], [7], [2, 2], 2, metric, set(), "allowed is the empty set: nobody may be found"
        )
        check_search(
            answer, [[300, 4], [-200, 1]], [1, 0], [100, 7], 3, metric, {1, 0, 50}, "ids that do not exist"
        )
    for case in cases(
        60,
        size=(0, 1, 4, 9),
        dim=(1, 2, 4),
        k=(1, 2, 5, 12),
        metric=("l2", "cosine", "ip"),
        share=(None, 0, 0.5, 1),
    ):
        inputs = Inputs(case.seed)
        vectors = [inputs.integers(case.dim, -2, 2) for _ in range(case.size)]
        ids = inputs.shuffled(range(20))[: case.size]
        query = inputs.integers(case.dim, -2, 2)
        allowed = None
        if case.share is not None:
            allowed = {one for one, drawn in zip(range(20), inputs.floats(20, 0, 1)) if drawn < case.share}
        check_search(answer, vectors, ids, query, case.k, case.metric, allowed, f"case {case.seed}")


def check_search(answer, vectors, ids, query, k, metric, allowed, what):
    truth = {
        own: exact_distance(query, vector, metric)
        for vector, own in zip(vectors, ids)
        if allowed is None or own in allowed
    }
    best = sorted(truth, key=lambda own: (truth[own], own))[:k]
    given = [list(one) for one in vectors], list(ids), list(query), None if allowed is None else set(allowed)
    with forbid(OWN, *SEARCHES, answer=answer):
        found = as_list(answer(given[0], given[1], given[2], k, metric, given[3]), "what search returns", 2)
    where = f"{what}: vectors {shown(vectors)}, ids {ids}, query {query}, k = {k}, {metric!r}, allowed {shown(allowed)}"
    numbers, distances = (
        as_list(found[0], f"the ids ({where})", k),
        as_list(found[1], f"the distances ({where})", k),
    )
    expect(given[:3], [vectors, ids, query], hint=f"the arguments must stay as they are: {where}")
    expect(given[3], allowed, hint=f"allowed must stay as it is: {where}")
    empty = k - len(best)
    expected = [float(truth[own]) for own in best] + [math.inf] * empty
    expect(
        distances,
        expected,
        1e-9,
        hint=f"the distances, nearest first, math.inf where there are too few: {where}",
    )
    if metric != "cosine":
        return expect(numbers, best + [-1] * empty, hint=f"the ids: {where}")
    expect(numbers[len(best) :], [-1] * empty, hint=f"-1 where there are too few: {where}")
    for own, distance in zip(numbers[: len(best)], distances):  # near-ties of cosines in any order
        assert own in truth, f"{shown(own)} is no id that may be found: {where}"
        expect(distance, float(truth[own]), 1e-9, hint=f"the distance of id {own}: {where}")
    expect(len(set(map(str, numbers[: len(best)]))), len(best), hint=f"every id once, got {numbers}: {where}")
    return None


def exact_distance(query, vector, metric):
    product = sum(a * b for a, b in zip(query, vector))
    if metric == "l2":
        return Fraction(sum((a - b) ** 2 for a, b in zip(query, vector)))
    if metric == "ip":
        return Fraction(1 - product)
    lengths = sum(a * a for a in query) * sum(b * b for b in vector)
    return 1 - product / math.sqrt(lengths) if lengths else 1.0


@exercise("12-1-b", points=2)
def search_stream(answer):
    """The nearest of vectors that come in blocks, in one array that is filled again and again."""
    refuse_copies(answer)
    assert not packages_of(answer, "torch"), (
        "the exercise says: no torch; its tensors are kept where nobody measures"
    )
    check_stream(answer, [], 2, 3, 0)
    check_stream(answer, [0, 0], 2, 1, 1)
    check_stream(answer, [1] * 12, 3, 4, 2)
    check_stream(answer, [5, 2, 0, 7], 2, 30, 3)
    for case in cases(40, blocks=(1, 2, 5), longest=(1, 3, 8), dim=(1, 2, 5), k=(1, 2, 4, 50)):
        sizes = Inputs(case.seed + 100).integers(case.blocks, 0, case.longest)
        check_stream(answer, sizes, case.dim, case.k, case.seed)
    check_memory(answer)


def check_stream(answer, sizes, dim, k, seed):
    inputs = Inputs(seed)
    rows = [[inputs.integers(dim, -3, 3) for _ in range(size)] for size in sizes]
    query = inputs.integers(dim, -3, 3)
    array = np.zeros((max([1, *sizes]), dim))

    def blocks():
        for block in rows:
            array[:] = 0  # what stood there is gone
            array[: len(block)] = np.reshape(block, (len(block), dim))
            yield array[: len(block)]
        array[:] = 0

    flat = [row for block in rows for row in block]
    truth = [sum((a - b) ** 2 for a, b in zip(query, row)) for row in flat]
    best = sorted(range(len(flat)), key=lambda number: (truth[number], number))[:k]
    given = list(query)
    with forbid(OWN, *SEARCHES, answer=answer):
        found = as_list(answer(given, blocks(), k), "what search_stream returns")
    where = f"blocks of {sizes} rows, k = {k}, query {query}, vectors {shown(flat)}"
    for pair in found:
        as_list(pair, "a pair (number, distance)", 2)
    expect(given, query, hint=f"the query must stay as it is: {where}")
    expect(found, [[number, truth[number]] for number in best], hint=f"pairs (number, |q - x|²): {where}")


def check_memory(answer):
    """7.7 MB of vectors pass by; only what is near may be kept."""
    blocks, rows, dim, k = 150, 400, 16, 5
    array, order = np.zeros((rows, dim)), [(37 * number) % 101 for number in range(blocks)]

    def stream():
        for number in range(blocks):
            array[:] = 1000  # far
            array[number] = 1 + order[number]  # the nearest of its block
            yield array

    best = sorted(range(blocks), key=lambda number: (order[number], number))[:k]
    expected = [[number * rows + number, dim * order[number] ** 2] for number in best]
    outer = tracemalloc.is_tracing()
    if not outer:
        tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        with forbid(OWN, *SEARCHES, answer=answer):
            found = as_list(answer([1] * dim, stream(), k), "what search_stream returns")
        most = (tracemalloc.get_traced_memory()[1] - before) / 1e6
    finally:
        if not outer:
            tracemalloc.stop()
    what = f"{blocks} blocks of {rows} vectors of {dim} numbers, k = {k}"
    expect(found, expected, hint=f"pairs (number, |q - x|²): {what}")
    assert most < 2, f"{what}: your function holds {most:.1f} MB, and 2 are allowed: keep the k best, not all"


@exercise("12-1-c", points=2)
def wrong(answer):
    """Two vectors that float32 puts in the wrong order."""
    query, near, far = (as_floats(one, "query, near and far", 2) for one in as_list(answer, "wrong", 3))
    for number in [*query, *near, *far]:
        assert -1000 <= number <= 1000, f"every number lies between -1,000 and 1,000, got {shown(number)}"
    q, n, f = (np.array(one, np.float32).astype(float).tolist() for one in (query, near, far))
    true_near, true_far = (sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(q, one)) for one in (n, f))
    assert true_near > 0, "in float32, near is the query itself: let its distance be above 0"
    assert true_far >= 4 * true_near, (
        f"far must have at least 4 times the squared distance of near: {float(true_far):.3g} and {float(true_near):.3g}"
    )
    by_near, by_far = by_float32(query, near), by_float32(query, far)
    assert by_far < by_near, (
        f"expanded gives far {by_far:.4g} and near {by_near:.4g}: far must be the smaller one. Where |x|² is large and "
        "the distances are small, float32 has only the rounding left"
    )


def by_float32(query, vector):
    """What the lesson's `expanded` gives: each step is rounded to float32."""
    (a, b), (c, d) = np.array([query, vector], np.float32)
    return float((a * a + b * b) - np.float32(2) * (a * c + b * d) + (c * c + d * d))


@exercise("12-1-d", points=2)
def costs(answer):
    """Bytes, multiply-adds, the table, the blocks."""
    found = as_list(answer, "costs", 4)
    expected = [
        (2_048_000_000, "bytes of the vectors: numbers of all vectors, 4 bytes each"),
        (25_600_000_000, "multiply-adds: every number of every vector, once a query"),
        (819_200, "the table has one float32 for each query and each vector of the block"),
        (489, "488 blocks hold 1,998,848 vectors, and some are left"),
    ]
    for number, (one, hint) in zip(found, expected):
        expect(number, one, hint=f"{hint}; you say {shown(number)}")
