"""The stratified split: disjoint, complete, the shares of each label kept; scikit-learn's counts."""

from collections import Counter

import numpy as np
import pytest

from minillm.data import stratified_split


def test_parts_are_disjoint_and_complete():
    labels = np.random.default_rng(0).choice(list("aaabbc"), 997).tolist()
    parts = stratified_split(labels, (0.7, 0.1, 0.2), seed=5)
    assert sorted(place for part in parts for place in part) == list(range(997))
    assert parts == stratified_split(labels, (0.7, 0.1, 0.2), seed=5)
    assert parts != stratified_split(labels, (0.7, 0.1, 0.2), seed=6)


def test_each_label_is_cut_at_its_share():
    labels = list("a" * 600 + "b" * 300 + "c" * 30)
    for part, share in zip(stratified_split(labels), (0.8, 0.1, 0.1)):
        counts = Counter(labels[place] for place in part)
        assert counts == {"a": 600 * share, "b": 300 * share, "c": 30 * share}


def test_counts_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.model_selection")
    labels = list("a" * 600 + "b" * 300 + "c" * 100)
    train, test = sklearn.train_test_split(labels, test_size=0.2, stratify=labels, random_state=0)
    ours = [[labels[place] for place in part] for part in stratified_split(labels, (0.8, 0.2))]
    assert [Counter(part) for part in ours] == [Counter(train), Counter(test)]


def test_the_order_is_mixed():
    labels = ["a"] * 50 + ["b"] * 50
    (part,) = stratified_split(labels, (1.0,))
    assert part != sorted(part)
    assert sorted(part) == list(range(100))


@pytest.mark.parametrize("shares", [(), (0.5, 0.4), (1.2, -0.2), (1.0, 0.0), ("0.5", 0.5)])
def test_bad_shares(shares):
    with pytest.raises(ValueError, match="share"):
        stratified_split(["a", "b"], shares)


@pytest.mark.parametrize("labels", [[], "aab", None, 5])
def test_bad_labels(labels):
    with pytest.raises(ValueError, match="labels"):
        stratified_split(labels)
