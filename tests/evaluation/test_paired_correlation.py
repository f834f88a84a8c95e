"""Two rank correlations on the same items: scipy's bootstrap with the same resamples, groups, what is refused."""

import numpy as np
import pytest
import torch
from scipy import stats

from minillm.evaluation import paired_spearman


def items(n, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, n).astype(float)  # ties, as in scores of people
    return scores + rng.normal(0, 1, n), scores + rng.normal(0, 3, n), scores


@pytest.mark.parametrize(("n", "seed"), [(40, 0), (150, 3)])
def test_the_interval_is_scipys_percentile_bootstrap(n, seed):
    a, b, scores = items(n, seed)

    def difference(a, b, scores):
        return stats.spearmanr(a, scores).statistic - stats.spearmanr(b, scores).statistic

    ours = paired_spearman(a, b, scores, confidence=0.9, resamples=200, seed=seed)
    theirs = stats.bootstrap(
        (a, b, scores), difference, n_resamples=200, batch=200, confidence_level=0.9, method="percentile",
        paired=True, vectorized=False, rng=np.random.default_rng(seed),
    )  # fmt: skip
    assert ours.interval == pytest.approx(tuple(theirs.confidence_interval), abs=1e-9)
    assert ours.first == pytest.approx(stats.spearmanr(a, scores).statistic)
    assert ours.second == pytest.approx(stats.spearmanr(b, scores).statistic)
    assert ours.difference == pytest.approx(difference(a, b, scores))
    assert f"n = {n}" in str(ours)
    assert "groups" not in str(ours)


def test_items_that_are_copies_of_each_other_tell_no_more_than_one():
    a, b, scores = (np.repeat(one, 9) for one in items(40, 1))
    copies = np.repeat(np.arange(40), 9)
    alone = paired_spearman(*items(40, 1), resamples=400)
    apart, together = (
        paired_spearman(a, b, scores, resamples=400),
        paired_spearman(a, b, scores, copies, resamples=400),
    )
    widths = [one.interval[1] - one.interval[0] for one in (alone, together, apart)]
    assert widths[1] == pytest.approx(widths[0], abs=1e-9)  # the same groups are drawn, and weigh the same
    assert widths[2] < widths[0] / 2  # nine times the items: a third of the width, wrongly
    assert (together.n, together.groups) == (360, 40)
    assert "in 40 groups" in str(together)


@pytest.mark.parametrize(
    "kind", [tuple, np.array, torch.tensor, lambda named: list(torch.tensor(named)), iter]
)
def test_groups_may_be_an_array_or_tensors(kind):
    a, b, scores = items(12, 2)
    named = [number // 3 for number in range(12)]
    found = paired_spearman(torch.tensor(a, requires_grad=True), b, scores, kind(named))
    assert found == paired_spearman(a, b, scores, named)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": [1.0, 2.0]}, "equally long"),
        ({"b": [1.0] * 4}, "different numbers"),
        ({"scores": [float("nan")] * 4}, "finite numbers"),
        ({"groups": [1, 2]}, "a group for each of 4 items"),
        ({"groups": [1, 1, 1, 1]}, "at least two"),
        ({"groups": [[1], [2], [1], [2]]}, "groups must hold"),
        ({"groups": [float("nan"), 1, 1, 2]}, "groups must hold"),
        ({"resamples": 1}, "resamples must be at least 100"),
        ({"confidence": 2}, "confidence must be"),
    ],
)
def test_bad_input_is_named(changes, message):
    given = {"a": [1.0, 2, 3, 4], "b": [2.0, 1, 4, 3], "scores": [0.0, 1, 2, 3]} | changes
    with pytest.raises(ValueError, match=message):
        paired_spearman(**given)
