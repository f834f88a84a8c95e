"""AUC, thresholds and rates: closed forms; the parity with sklearn and scipy is in tests/parity/test_guardrails.py."""

import itertools

import numpy as np
import pytest
import torch

from minillm.evaluation import Detection, auc, auc_interval, detection, threshold_at, wilson_interval


def test_auc_counts_pairs():
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = np.append(rng.integers(0, 2, 9), [0, 1])
        scores = rng.integers(0, 4, 11)
        pairs = [
            (s > t) + 0.5 * (s == t) for s, t in itertools.product(scores[labels == 1], scores[labels == 0])
        ]
        assert auc(scores, labels) == pytest.approx(np.mean(pairs))


def test_intervals_of_nothing_and_of_all():
    assert wilson_interval(0, 20)[0] == 0.0
    assert wilson_interval(20, 20)[1] == 1.0
    assert wilson_interval(0, 20)[1] == pytest.approx(0.1611, abs=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.5, 1.0])
def test_a_threshold_keeps_to_its_share_of_alarms_and_no_lower_one_does(share):
    rng = np.random.default_rng(1)
    for _ in range(20):
        labels = np.append(rng.integers(0, 2, 40), [0, 1])
        scores = rng.integers(0, 15, 42) / 10
        at = threshold_at(scores, labels, share)
        noes = scores[labels == 0]
        assert (noes >= at).mean() <= share
        lower = [t for t in set(scores.tolist()) if t < at]
        assert all((noes >= t).mean() > share for t in lower)


def test_counts():
    found = detection([1, 0, True, 0], [1, 1, 0, 0])
    assert found == Detection(1, 2, 1, 2)
    assert str(found) == "catches 1 of 2 = 0.50 [0.09, 0.91]; false alarms 1 of 2 = 0.50 [0.09, 0.91]"


@pytest.mark.parametrize("labels", [[1, 1], [0, 2], [1], ["a", "b"]])
def test_labels_that_are_none(labels):
    for measure in (auc, detection, threshold_at):
        with pytest.raises(ValueError, match=r"label|finite"):
            measure([0.1, 0.2], labels)


def test_auc_interval_draws_whole_groups():
    """Groups that are all alike give one AUC in every draw, the closed form; unlike ones give a range around it."""
    labels, groups = [1, 0, 1, 0] * 6, [n // 4 for n in range(24)]
    assert auc_interval([0.9, 0.2, 0.4, 0.6] * 6, labels, groups) == (0.75, 0.75)
    low, high = auc_interval([0.9, 0.2, 0.8, 0.1] * 3 + [0.1, 0.8, 0.2, 0.9] * 3, labels, groups)
    assert low < 0.3
    assert high > 0.7
    with pytest.raises(ValueError, match=r"groups must name a group for each of 2 items, got \[0\]"):
        auc_interval([0.1, 0.2], [0, 1], [0])
    with pytest.raises(ValueError, match="groups must be at least two"):
        auc_interval([0.1, 0.2], [0, 1], [0, 0])
    # of two groups each second draw holds one of them twice
    twice = next(
        seed for seed in range(99) if len(set(np.random.default_rng(seed).integers(2, size=2).tolist())) == 1
    )
    with pytest.raises(ValueError, match="of 1 draws none held both labels"):
        auc_interval([0.1, 0.2], [0, 1], ["a", "b"], draws=1, seed=twice)


def test_groups_may_be_a_tensor_whose_numbers_are_equal():
    labels, groups = [1, 0, 1, 0] * 6, [n // 4 for n in range(24)]
    scores = torch.tensor([0.9, 0.2, 0.4, 0.6] * 6, requires_grad=True)
    for named in (torch.tensor(groups), list(torch.tensor(groups)), np.array(groups), iter(groups)):
        assert auc_interval(scores, labels, named, draws=50) == (0.75, 0.75)
