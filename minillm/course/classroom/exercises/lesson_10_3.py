"""Checkers of lesson 10_3, semantic search."""

import math

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

OWN = "build it yourself, with nothing of minillm"
INDEXES = (
    "minillm.search.ExactIndex.search",
    "minillm.search.ExactIndex._candidates",
    "minillm.search.ExactIndex._order",
    "minillm.search.exact.distances_plain",
    "minillm.search.exact.kth_smallest",
    "minillm.search.exact_plain.nearest_plain",
    "minillm.search.exact_plain.nearest_in_blocks",
    *(f"minillm.search.{name}Index.search" for name in ("IVF", "HNSW", "NSW")),
    "minillm.search.VectorStore.query",
    f"{__name__}.dot",
)


@exercise("10-3-a", points=3)
def search(answer):
    """The k largest inner products: ties, k beyond N, nothing to search."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"

    def found(queries, vectors, k):
        given = [list(one) for one in queries], [list(one) for one in vectors]
        with forbid(OWN, *INDEXES, answer=answer):
            both = as_list(answer(*given, k), "what search returns")
        assert len(both) == 2, (
            f"search returns two lists, numbers and products; got {len(both)}: {shown(both)}"
        )
        expect(given[0], queries, hint="the queries must stay as they are")
        expect(given[1], vectors, hint="the vectors must stay as they are")
        return both

    for queries, vectors, k, hint in SMALL:
        check_rows(found(queries, vectors, k), queries, vectors, k, hint)
    for case in cases(
        queries=(0, 1, 3), size=(0, 1, 5, 60), width=(1, 2, 4), k=(1, 2, 7, 70), largest=(1, 3)
    ):
        inputs = Inputs(case.seed)
        queries, vectors = (
            [inputs.integers(case.width, -case.largest, case.largest) for _ in range(many)]
            for many in (case.queries, case.size)
        )
        check_rows(found(queries, vectors, case.k), queries, vectors, case.k, "random whole numbers")


SMALL = (
    ([[1, 0]], [[0, 1], [2, 0], [1, 1]], 2, "the largest product first"),
    ([[1, 0]], [[1, 5], [1, -5], [1, 0]], 2, "three products are equal: the lower number first"),
    ([[1, 1]], [[-1, -1], [-2, -2]], 1, "all products are below 0, and the larger one is still the best"),
    ([[1, 1]], [[3, 4]], 3, "k = 3 and one vector: the rest is number -1 with product -inf"),
    ([[0.5, -1.5]], [[1, 0.25], [1.5, 0.25], [0.5, 0]], 2, "numbers need not be whole"),
    ([[300, -70_000]], [[200, 1], [-90_000, 2], [70_000, -4]], 3, "large numbers"),
    (
        [[1000, 1]],
        [[99_998, 7], [99_999, 0], [99_999, 1]],
        2,
        "large numbers, which float32 cannot tell apart",
    ),
    ([[1, 1], [2, 0]], [], 2, "no vector at all"),
    ([], [[1, 1]], 2, "no query at all"),
)


def check_rows(both, queries, vectors, k, hint):
    """Exactly the right numbers, and their products."""
    for name, rows in zip(("numbers", "products"), both):
        rows = as_list(rows, f"the list of {name}")
        asked = f"{hint}; queries {shown(queries)}, {len(vectors)} vectors"
        assert len(rows) == len(queries), (
            f"the list of {name} must have a row for each of {len(queries)} queries, got {len(rows)} ({asked})"
        )
        for row in rows:
            many = len(as_list(row, f"a row of {name}"))
            assert many == k, f"a row of {name} must have exactly k = {k} items, got {many} ({asked})"
    for query, numbers, products in zip(queries, *both):
        truth = [sum(a * b for a, b in zip(query, vector)) for vector in vectors]
        best = sorted(range(len(truth)), key=lambda number: (-truth[number], number))[:k]
        where = f"{hint}: query {shown(query)}, vectors {shown(vectors)}, k = {k}"
        missing = k - len(best)
        expect(numbers, [*best, *[-1] * missing], hint=f"the numbers, {where}")
        expect(
            products, [*(truth[one] for one in best), *[-math.inf] * missing], hint=f"the products, {where}"
        )


LEAST = 0.01  # by which each must win
MEASURES = (
    ("by cosine", lambda q, x: dot(q, x) / math.hypot(*q) / math.hypot(*x)),  # no square of a tiny number
    ("by inner product", lambda q, x: dot(q, x)),
    ("by squared distance", lambda q, x: -sum((a - b) ** 2 for a, b in zip(q, x))),
)


def dot(a, b):
    """The inner product."""
    return sum(x * y for x, y in zip(a, b))


@exercise("10-3-b", points=2)
def three(answer):
    """Cosine, inner product and distance, each with a winner of its own."""
    query, vectors = as_list(answer, "three = (query, vectors)", 2)
    query = as_floats(query, "query", 2)
    vectors = [as_floats(one, "a vector", 2) for one in as_list(vectors, "vectors", 3)]
    for one in [query, *vectors]:
        assert any(one), f"no vector may be zero, got {shown(one)}"
        assert all(abs(number) <= 100 for number in one), (
            f"numbers lie between -100 and 100, got {shown(one)}"
        )
    for right, (name, measure) in enumerate(MEASURES):
        values = [measure(query, one) for one in vectors]
        second = max(value for number, value in enumerate(values) if number != right)
        seen = shown([abs(value) for value in values] if right == 2 else values)
        assert values[right] >= second + LEAST - 1e-9, (
            f"{name}, vector {right} must win by at least {LEAST}; it is {seen} for the three vectors"
        )


@exercise("10-3-c", points=2)
def encoded(answer):
    """What is known by its sha256, what is forgotten, what is of another encoder."""
    hints = (
        "1: nothing is known yet, and the folder has 3 + 2 passages",
        "2: a vector is kept under its text; does the text know the file's name?",
        "3: does a passage know where in its file it stands?",
        "4: the heading is encoded together with the text",
        "5: nothing new has come",
        "6: the index of the run before did not hold these texts any more, and vectors are kept in the index",
        "7: vectors of two encoders cannot be compared",
    )
    for one, right, hint in zip(as_floats(answer, "encoded", 7), (5, 0, 0, 1, 0, 2, 5), hints):
        expect(one, right, hint=f"look again at {hint}")
