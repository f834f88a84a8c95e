"""Rates over thresholds against counting by hand, and against scikit-learn's ROC curve."""

import numpy as np
import pytest

from minillm.apps.llm_cache import choose_threshold, threshold_curve

SCORES, SAME = [0.9, 0.8, 0.7, 0.6, 0.5], [True, False, True, True, False]


def test_rates_by_hand():
    rows = threshold_curve(SCORES, SAME, [1.0, 0.8, 0.65, 0.0])
    assert [row[1:] for row in rows] == [
        (0.0, 0.0, 0.0),
        pytest.approx((1 / 3, 1 / 2, 1 / 2)),
        pytest.approx((2 / 3, 1 / 2, 1 / 3)),
        pytest.approx((1.0, 1.0, 2 / 5)),
    ]


def test_rates_are_those_of_a_roc_curve():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the parity extra")
    rng = np.random.default_rng(0)
    same = rng.random(300) < 0.4
    scores = np.round(rng.normal(same * 1.0, 1.0), 1)  # with ties
    false, hit, thresholds = metrics.roc_curve(same, scores, drop_intermediate=False)
    rows = threshold_curve(scores, same, thresholds[1:])
    assert [row.hit_rate for row in rows] == pytest.approx(hit[1:])
    assert [row.false_hit_rate for row in rows] == pytest.approx(false[1:])


def test_the_chosen_threshold_hits_most_of_those_that_are_false_seldom_enough():
    """Against trying every threshold."""
    rng = np.random.default_rng(1)
    for trial in range(40):
        same = rng.random(60) < 0.5
        same[:2] = [True, False]
        scores = np.round(rng.normal(same * 1.0, 1.0), 1 if trial % 2 else 6)
        most = [0.0, 0.02, 0.1, 0.5, 1.0][trial % 5]
        chosen = threshold_curve(scores, same, [choose_threshold(scores, same, most)])[0]
        tried = threshold_curve(scores, same, [*np.unique(scores), scores.max() + 1])
        best = max(row.hit_rate for row in tried if row.false_hit_rate <= most)
        assert chosen.false_hit_rate <= most
        assert chosen.hit_rate == best


@pytest.mark.parametrize(
    ("scores", "same"),
    [
        ([], []),
        ([1.0], [True]),
        ([1.0, 2.0], [True, True]),
        ([1.0], [True, False]),
        ([float("nan"), 1], [1, 0]),
    ],
)
def test_pairs_that_do_not_do(scores, same):
    with pytest.raises(ValueError, match="pair"):
        threshold_curve(scores, same, [0.5])
