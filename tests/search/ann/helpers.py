"""Vectors and measures that the tests of the approximate indexes share."""

import numpy as np

from minillm.search import ExactIndex


def clusters(count, dim, seed=0, centres=20, spread=0.7):
    """Vectors around a few centres, as those of texts lie."""
    generator = np.random.default_rng(seed)
    middle = np.random.default_rng(12345).normal(size=(centres, dim))
    return (
        middle[generator.integers(centres, size=count)] + spread * generator.normal(size=(count, dim))
    ).astype(np.float32)


def whole_numbers(count, dim, seed=0):
    """Different vectors of small integers, whose float32 sums are exact in any order."""
    generator = np.random.default_rng(seed)
    rows = np.unique(generator.integers(-9, 10, size=(2 * count, dim)), axis=0)
    generator.shuffle(rows)
    return rows[:count].astype(np.float32)


def exact(vectors, metric="l2", ids=None):
    index = ExactIndex(vectors.shape[1], metric)
    index.add(vectors, ids)
    return index


def recall(found, truth):
    """The share of the true neighbours that were found; -1 is none."""
    hits = sum(len(set(one) & set(true) - {-1}) for one, true in zip(found.tolist(), truth.tolist()))
    return hits / (truth >= 0).sum()


def check_rows(found, distances, living):
    """Only living ids, none twice, the nearest first, and -1 at infinity at the end."""
    for ids, far in zip(found.tolist(), distances.tolist()):
        there = [i for i in ids if i >= 0]
        assert ids == there + [-1] * (len(ids) - len(there))
        assert len(set(there)) == len(there)
        assert set(there) <= living
        assert far[: len(there)] == sorted(far[: len(there)])
        assert np.isinf(far[len(there) :]).all()
        assert len(there) == min(len(ids), len(living))
