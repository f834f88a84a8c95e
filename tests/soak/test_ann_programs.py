"""Long random programs on the approximate indexes: thousands of changes, and still only living vectors are found."""

import random

import numpy as np
import pytest

from minillm.search.exact import METRICS
from tests.helpers import soak_count
from tests.search.ann.helpers import clusters, exact, recall
from tests.search.ann.programs import STEPS, Program
from tests.search.ann.test_hnsw_changes import filled, unreachable
from tests.search.ann.test_programs import KINDS

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("metric", METRICS)
def test_two_thousand_steps(tmp_path, kind, metric):
    rng = random.Random(f"{kind} {metric}")
    program = Program(KINDS[kind](metric), tmp_path / "index")
    steps = [step for step in STEPS if step != "clear"] + ["add"]
    for _ in range(soak_count(2000)):
        program.run(rng.choice(steps), rng.randrange(2**20))
    assert program.wanted > 100
    assert program.recall >= (0.95 if kind.startswith("hnsw") else 0.85)


@pytest.mark.parametrize("codes", [None, "uint8"])
def test_recall_after_half_of_it_was_replaced_many_times(codes):
    count = max(2000, soak_count(20_000))
    vectors, generator = clusters(count, 16, centres=200), np.random.default_rng(0)
    index, now = filled(vectors, codes=codes), vectors.copy()
    for turn in range(4):
        ids = generator.choice(count, size=count // 2, replace=False)
        now[ids] = clusters(len(ids), 16, seed=turn + 1, centres=200)
        index.remove(ids)
        index.add(now[ids], ids)
    queries = clusters(200, 16, seed=99, centres=200)
    assert recall(index.search(queries, 10)[0], exact(now).search(queries, 10)[0]) >= 0.95
    assert len(unreachable(index)) == 0
