"""How an HNSW index grows: 10,000 to 300,000 vectors of 128, one thread, ours alone and in one run.

    y = c n^e      e is the slope of log y over log n, by least squares: 1 is in proportion, 0 is no growth

Two sets: SIFT-like vectors, a cloud that becomes denser, and clusters of 100 vectors, of which a larger set has more.
(A fixed number of clusters would make a larger set easier to search, and flatter the exponent.) A search is timed at
the width at which recall@10 is .95 at that size (`time_at` reads it off the curve), so that the exponent is that of
equal results; where the least width finds more already, the row says so. Distances at that recall are counted, too:
their exponent is the graph's, that of the time has the caches in it.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from minillm.search import ExactIndex, HNSWIndex, count_distances
from tests.benchmarks.bench_hnsw import DIM, WIDTHS, K, build, recall, sift_like, time_at, warm_up
from tests.benchmarks.harness import Row, in_turn

SIZES, QUICK_SIZES = (10_000, 30_000, 100_000, 300_000), (2000, 4000, 8000)
GOAL = 0.95


def exponent(sizes: tuple[int, ...], values: list[float]) -> float:
    """The slope of log(values) over log(sizes)."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def clusters(count: int, many: int, seed: int) -> np.ndarray:
    """`many` vectors around the centres of a set of `count`, a centre for each 100 of it."""
    generator, centres = (
        np.random.default_rng(seed),
        np.random.default_rng(7).normal(size=(count // 100, DIM)),
    )
    rows = centres[generator.integers(len(centres), size=many)] + 0.7 * generator.normal(size=(many, DIM))
    return rows.astype(np.float32)


SETS = {"clusters of 100": clusters, "SIFT-like": lambda count, many, seed: sift_like(many, seed)}


def measured(name: str, count: int, codes: str | None, quick: bool) -> dict[str, float]:
    """Building, searching at recall .95 and memory at one size, each for one vector or one query."""
    vectors, queries = SETS[name](count, count, 0), SETS[name](count, 100 if quick else 1000, 1)
    truth = ExactIndex(DIM)
    truth.add(vectors)
    expected = truth.search(queries, K)[0]
    index, taken = build(lambda: HNSWIndex(DIM, codes=codes), vectors)
    calls = {str(width): (lambda w=width: index.search(queries, K, ef_search=w)) for width in WIDTHS}
    times = in_turn(calls, 2 if quick else 5)
    found = {width: recall(calls[str(width)]()[0], expected) for width in WIDTHS}
    distances = {width: float(count_distances(index, queries, K, width).mean()) for width in WIDTHS}
    at_goal = time_at(GOAL, [(found[width], times[str(width)]) for width in WIDTHS])
    measured_there = time_at(GOAL, [(found[width], distances[width]) for width in WIDTHS])
    if at_goal is None or measured_there is None:
        raise RuntimeError(f"recall {GOAL} is not reached with {count} vectors: {found}")
    return {
        "seconds to build": taken,
        "seconds a query": at_goal / len(queries),
        "distances a query": measured_there,
        "bytes": float(index.nbytes),
        "least recall": found[WIDTHS[0]],
    }


def run(quick: bool) -> list[Row]:
    warm_up()
    sizes, rows = QUICK_SIZES if quick else SIZES, []
    for kind, codes in product(SETS, (None, "uint8")):
        name = f"HNSW {codes or 'float32'}, {kind}"
        results = [measured(kind, count, codes, quick) for count in sizes]
        least = {count: one.pop("least recall") for count, one in zip(sizes, results)}
        for count, one in zip(sizes, results):
            work = f"{name}, {count} x {DIM}"
            note = f"{one['distances a query']:.0f} distances a query at recall {max(GOAL, least[count]):.3f}"
            rate = 1 / one["seconds a query"]
            rows += [
                Row(f"{work}: build", "", "seconds", one["seconds to build"], None, higher_is_better=False),
                Row(f"{work}: search, recall {GOAL}", "", "queries/s", rate, None, note=note),
                Row(
                    f"{work}: memory",
                    "",
                    "bytes a vector",
                    one["bytes"] / count,
                    None,
                    higher_is_better=False,
                ),
            ]
        for what in results[0]:
            fitted = exponent(sizes, [one[what] for one in results])
            work = f"{name}, growth of {what} from {sizes[0]} to {sizes[-1]} vectors"
            rows.append(Row(work, "", "exponent", fitted, None, higher_is_better=False))
    return rows
