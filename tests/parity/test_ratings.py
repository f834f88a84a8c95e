"""Bradley-Terry against choix; kappa and AUC against scikit-learn."""

import numpy as np
import pytest

from minillm.evaluation import auc, bradley_terry, cohen_kappa

choix = pytest.importorskip("choix", reason="held against choix")
sklearn = pytest.importorskip("sklearn.metrics", reason="held against scikit-learn")


def test_strengths_are_choixs():
    rng = np.random.default_rng(0)
    for players in (2, 3, 7):
        ring = [(i, (i + 1) % players) for i in range(players)]  # everybody wins and loses at least once
        won = [(a, b) for a, b in rng.integers(0, players, (120, 2)).tolist() if a != b]
        games = [*ring, *((b, a) for a, b in ring), *won]
        theirs = choix.opt_pairwise(players, games, alpha=0.0, tol=1e-12)
        found = bradley_terry([(a, b, 1) for a, b in games], resamples=0)
        np.testing.assert_allclose([found[i] for i in range(players)], theirs - theirs.mean(), atol=1e-5)
        priced = choix.opt_pairwise(players, games, alpha=0.3, tol=1e-12)
        found = bradley_terry([(a, b, 1) for a, b in games], alpha=0.3, resamples=0)
        np.testing.assert_allclose([found[i] for i in range(players)], priced - priced.mean(), atol=1e-5)


def test_agreement_is_scikit_learns():
    rng = np.random.default_rng(1)
    for labels in (2, 3, 5):
        a, b = rng.integers(0, labels, (2, 80))
        assert cohen_kappa(a, b) == pytest.approx(sklearn.cohen_kappa_score(a, b))
        y, s = np.r_[0, 1, rng.integers(0, 2, 60)], rng.integers(0, 9, 62)
        assert auc(s, y) == pytest.approx(sklearn.roc_auc_score(y, s))
