"""BERT's noise: the right tokens, in the right shares, by a bound that chance does not cross."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.training import MaskedLMNoise
from minillm.training.masking import place_masks

MASK, SPECIALS, VOCABULARY = 3, (0, 1, 2), 50


def surely(count, n, p):
    """Whether `count` of n draws of probability p is within a bound that chance crosses once in 10^11 (Hoeffding)."""
    return abs(count - n * p) <= math.sqrt(n * 25.6 / 2)


def test_shares_of_what_happens():
    n = 200_000
    ids = np.random.default_rng(0).integers(4, VOCABULARY, n)
    inputs, labels = MaskedLMNoise(MASK, VOCABULARY, SPECIALS)(ids, np.random.default_rng(1))
    chosen = labels != -100
    assert np.array_equal(labels[chosen], ids[chosen])
    assert np.array_equal(inputs[~chosen], ids[~chosen])
    assert surely(chosen.sum(), n, 0.15)
    # a random word is [MASK] or the old one by chance once in 50 times each
    some = chosen.sum()
    assert surely((inputs[chosen] == MASK).sum(), some, 0.8 + 0.1 / VOCABULARY)
    assert surely((inputs[chosen] == ids[chosen]).sum(), some, 0.1 + 0.1 / VOCABULARY)
    drawn = inputs[chosen & (inputs != MASK) & (inputs != ids)]
    for word in range(VOCABULARY):  # every id stands in equally often, special ones as in the peer
        if word != MASK:
            assert surely((drawn == word).sum(), len(drawn), 1 / (VOCABULARY - 1))


@pytest.mark.parametrize(
    ("rate", "mask", "random"), [(0.4, 1.0, 0.0), (0.3, 0.0, 1.0), (0.2, 0.5, 0.5), (1.0, 0.0, 0.0)]
)
def test_other_shares(rate, mask, random):
    n = 50_000
    ids = np.random.default_rng(0).integers(4, VOCABULARY, n)
    noise = MaskedLMNoise(MASK, VOCABULARY, rate=rate, mask_share=mask, random_share=random)
    inputs, labels = noise(ids, np.random.default_rng(2))
    some = (labels != -100).sum()
    assert surely(some, n, rate)
    assert surely((inputs == MASK).sum(), some, mask + random / VOCABULARY)
    assert surely((inputs != ids).sum(), some, mask + random * (1 - 1 / VOCABULARY))


@given(st.lists(st.integers(0, VOCABULARY - 1), max_size=12), st.integers(0, 999), st.floats(0, 1))
def test_special_ids_are_never_touched(ids, seed, rate):
    noise = MaskedLMNoise(MASK, VOCABULARY, SPECIALS, rate=rate)
    inputs, labels = noise(ids, np.random.default_rng(seed))
    assert inputs.shape == labels.shape == (len(ids),)
    assert inputs.dtype == labels.dtype == np.int64
    for before, after, label in zip(ids, inputs, labels):
        assert label in (-100, before)
        if before in (MASK, *SPECIALS):
            assert (after, label) == (before, -100)
    again = noise(np.array(ids, dtype=np.uint16), np.random.default_rng(seed))
    assert np.array_equal(inputs, again[0])
    assert np.array_equal(labels, again[1])


def test_whole_words_are_chosen_together():
    starts = (10, 11)
    ids = np.array(
        [10, 20, 21, 11, 0, 22, 23, 10] * 3000
    )  # after the special 0 a word begins without a start id
    words = np.cumsum(np.isin(ids, starts) | (np.roll(ids, 1) == 0))
    noise = MaskedLMNoise(MASK, VOCABULARY, SPECIALS, word_start_ids=starts)
    chosen = noise(ids, np.random.default_rng(4))[1] != -100
    assert not chosen[ids == 0].any()
    ordinary = ids != 0
    counts = np.bincount(words[ordinary], chosen[ordinary])
    sizes = np.bincount(words[ordinary])
    assert ((counts == 0) | (counts == sizes)).all()
    assert surely((counts[1:] > 0).sum(), len(sizes) - 1, 0.15)


def test_what_was_drawn_decides():
    ids = np.array([[5, 6, 7, 8]])
    chosen = np.array([[True, True, True, False]])
    kind = np.array([[0.79, 0.89, 0.91, 0.0]])
    inputs, labels = place_masks(ids, chosen, kind, np.array([[30, 31, 32, 33]]), MASK)
    assert inputs.tolist() == [[MASK, 31, 7, 8]]
    assert labels.tolist() == [[5, 6, 7, -100]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"mask_id": 50}, "mask_id must be between 0 and 49, got 50"),
     ({"vocab_size": 0}, "vocab_size must be at least 1, got 0"),
     ({"rate": 1.5}, "rate must be between 0 and 1, got 1.5"),
     ({"mask_share": 0.8, "random_share": 0.3}, "random_share must be between 0 and 0.2, got 0.3"),
     ({"special_ids": "abc"}, "special_ids must be a collection of ids, got 'abc'"),
     ({"special_ids": [0.5]}, "an id of special_ids must be an integer, got 0.5"),
     ({"word_start_ids": 7}, "word_start_ids must be a collection of ids, got 7")],
)  # fmt: skip
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskedLMNoise(**({"mask_id": MASK, "vocab_size": VOCABULARY} | arguments))


@pytest.mark.parametrize("ids", [None, "text", [0.5], [[1, 2]], [-1]])
def test_bad_texts(ids):
    with pytest.raises(ValueError, match="a text must"):
        MaskedLMNoise(MASK, VOCABULARY)(ids, np.random.default_rng(0))


def test_bad_draws():
    ids, chosen, kind = np.arange(3), np.array([True, False, True]), np.zeros(3)
    for arguments, message in (
        ((ids, chosen[:2], kind, ids, MASK), r"chosen must have the shape \(3,\) of the ids, got \(2,\)"),
        ((ids, chosen, kind, 7, MASK), r"words must have the shape \(3,\)"),
        ((ids, chosen.astype(int), kind, ids, MASK), "chosen must be bool"),
        ((ids, chosen, kind, ids, MASK, 1.5), "mask_share must be between 0 and 1, got 1.5"),
        ((ids, chosen, kind, ids, MASK, 0.8, 0.3), "random_share must be between 0 and 0.2, got 0.3"),
    ):
        with pytest.raises(ValueError, match=message):
            place_masks(*arguments)
