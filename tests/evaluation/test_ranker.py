"""The ranker against Novikoff's bound, and its mean of weights against one that keeps every step."""

import random

import numpy as np
import pytest

from minillm.evaluation.ranker import Ranker


def separable(n, seed):
    """Two candidates a example, features f0..f9 that stand or not; the gold one has the larger sum of a hidden w."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=10)
    examples = []
    while len(examples) < n:
        rows = rng.random((2, 10)) < 0.5
        gap = (rows[0].astype(float) - rows[1]) @ hidden
        if abs(gap) > 0.5:
            names = [[f"f{i}" for i in np.flatnonzero(row)] for row in rows]
            examples.append((names, int(gap < 0), rows))
    return examples, hidden


@pytest.mark.parametrize("seed", range(5))
def test_the_mistakes_stay_under_novikoffs_bound(seed):
    """mistakes <= (R / margin)^2, R the longest difference of two candidates; and then there are none."""
    examples, hidden = separable(60, seed)
    gaps = np.array([rows[gold].astype(float) - rows[1 - gold] for _, gold, rows in examples])
    margin = (gaps @ hidden).min() / np.linalg.norm(hidden)
    bound = (np.linalg.norm(gaps, axis=1).max() / margin) ** 2
    ranker = Ranker().fit([(names, gold) for names, gold, _ in examples], epochs=200, seed=seed)
    assert 0 < sum(ranker.mistakes) <= bound
    assert ranker.mistakes[-1] == 0


def test_the_weights_are_the_mean_over_all_steps():
    examples = [(names, gold) for names, gold, _ in separable(30, 9)[0]]
    rng, now, total, steps = random.Random(4), {}, {}, 0
    for _ in range(3):
        for names, gold in rng.sample(examples, len(examples)):
            sums = [sum(now.get(f, 0) for f in one) for one in names]
            found = 0 if sums[0] >= sums[1] else 1
            if found != gold:
                for f in names[gold]:
                    now[f] = now.get(f, 0) + 1
                for f in names[found]:
                    now[f] = now.get(f, 0) - 1
            steps += 1
            for f, w in now.items():
                total[f] = total.get(f, 0) + w
    weights = Ranker().fit(examples, 3, 4).weights
    # every step's weights, and once the zeros from which it began
    assert weights == pytest.approx({f: total[f] / (steps + 1) for f in now}, abs=1e-9)


def test_candidates_may_differ_in_number_and_what_was_never_seen_counts_nothing():
    ranker = Ranker().fit([([["a"], ["b"], ["c"]], 1), ([["c"], ["b"]], 1)], 3)
    assert ranker.best([["a"], ["zzz", "b"], ["c"]]) == 1
    assert ranker.scores([["zzz"]]) == [0]


@pytest.mark.parametrize(
    ("examples", "what"),
    [([], "got none"), ([([["a"]], 1)], "1 candidates"), ([([["a"]], -1)], "1 candidates")],
)
def test_bad_examples_are_named(examples, what):
    with pytest.raises(ValueError, match=what):
        Ranker().fit(examples)
    with pytest.raises(ValueError, match="at least one"):
        Ranker().best([])
