"""BART's five kinds of damage: what holds for every draw, and how often things happen."""

import math
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minillm.training import BARTNoise
from minillm.training.denoising import (
    delete_tokens,
    infill_text,
    mask_tokens,
    permute_sentences,
    rotate_document,
)
from tests.training.test_masking import surely

MASK, END, BOS, EOS = 3, 4, 0, 1
TEXT = st.lists(st.integers(4, 60), min_size=1, max_size=30).map(np.array)
SEED = st.integers(0, 9999).map(np.random.default_rng)


def pieces(text, parts):
    """Whether `parts` stand in `text` in this order: a subsequence."""
    rest = iter(text)
    return all(part in rest for part in parts)


@given(TEXT, SEED, st.floats(0, 1))
def test_masking_and_deletion_keep_the_order(ids, generator, rate):
    masked = mask_tokens(ids, generator, MASK, rate)
    assert len(masked) == len(ids)
    assert ((masked == ids) | (masked == MASK)).all()
    kept = delete_tokens(ids, generator, rate)
    assert 1 <= len(kept) <= len(ids)
    assert pieces(ids.tolist(), kept.tolist())


@given(TEXT, SEED, st.floats(0, 1), st.floats(1, 5))
def test_infilling_loses_as_much_as_it_should(ids, generator, rate, mean_span):
    out = infill_text(ids, generator, MASK, rate, mean_span)
    kept = out[out != MASK]
    assert len(kept) == len(ids) - math.ceil(rate * len(ids))
    assert pieces(ids.tolist(), kept.tolist())
    assert len(out) <= len(ids)
    assert rate == 0 or MASK in out


@given(TEXT, SEED)
def test_sentences_stay_whole(ids, generator):
    def sentences(row):
        return Counter(sentence for sentence in "".join(chr(i) for i in row).split(chr(END)) if sentence)

    out = permute_sentences(ids, generator, np.array([END]))
    assert sorted(out) == sorted(ids)
    whole = ids if ids[-1] == END else np.append(ids, END)  # an open last sentence may land anywhere
    if ids[-1] == END:
        assert sentences(out) == sentences(whole)


@given(TEXT, SEED)
def test_a_rotation_turns_back(ids, generator):
    out = rotate_document(ids, generator)
    assert any(np.array_equal(np.roll(out, k), ids) for k in range(len(ids)))


def test_how_often():
    n, generator = 5_000, np.random.default_rng(0)
    ids = np.arange(n) + 5
    assert surely((mask_tokens(ids, generator, MASK, 0.15) == MASK).sum(), n, 0.15)
    assert surely(len(delete_tokens(ids, generator, 0.15)), n, 0.85)
    starts = Counter(rotate_document(ids[:10], generator)[0] for _ in range(n))
    assert len(starts) == 10
    assert all(surely(count, n, 0.1) for count in starts.values())
    orders = Counter(
        tuple(permute_sentences(np.array([7, END, 8, END, 9, END]), generator, [END])[::2]) for _ in range(n)
    )
    assert len(orders) == 6
    assert all(surely(count, n, 1 / 6) for count in orders.values())


def test_span_lengths_are_poisson():
    """Between two kept neighbours one mask stands for as many tokens as are missing: 0 with probability e^-3."""
    n, rate = 200_000, 0.2
    out = infill_text(np.arange(n) + 5, np.random.default_rng(1), MASK, rate)
    spans = np.flatnonzero(out == MASK)
    alone = [i for i in spans if 0 < i < len(out) - 1 and MASK not in (out[i - 1], out[i + 1])]
    lengths = Counter(int(out[i + 1] - out[i - 1] - 1) for i in alone)
    assert len(alone) > 10_000
    for length in range(7):
        assert surely(lengths[length], len(alone), math.exp(-3) * 3**length / math.factorial(length))


@given(st.lists(st.integers(0, 60), max_size=20), st.integers(0, 99), st.integers(0, 5))
def test_special_ids_stay_and_labels_are_the_text(ids, seed, kind):
    steps = (
        None,
        [partial(mask_tokens, mask_id=MASK, rate=0.9)],
        [partial(delete_tokens, rate=0.9)],
        [partial(permute_sentences, sentence_end_ids=[END])],
        [rotate_document],
        [rotate_document, partial(infill_text, mask_id=MASK, rate=1.0)],
    )
    noise = BARTNoise(MASK, [END], (BOS, EOS), steps=steps[kind])
    inputs, labels = noise(ids, np.random.default_rng(seed))
    assert labels.tolist() == ids
    assert inputs.dtype == labels.dtype == np.int64
    assert len(inputs) <= len(ids)
    assert [i for i in inputs.tolist() if i in (BOS, EOS)] == [i for i in ids if i in (BOS, EOS)]
    for place, special in enumerate(ids[:1]):
        assert special not in (BOS, EOS) or inputs[place] == special
    assert np.array_equal(noise(ids, np.random.default_rng(seed))[0], inputs)


def test_bad_settings():
    for arguments, message in (
        ({"mask_id": -1}, "mask_id must be at least 0, got -1"),
        ({"rate": 2}, "rate must be between 0 and 1, got 2"),
        ({"mean_span": 0}, "mean_span must be at least 1, got 0"),
        ({"steps": rotate_document}, "steps must be functions"),
        ({"steps": ["rotate"]}, "a step must be a function or None, got 'rotate'"),
        ({"steps": [None]}, "got None among them"),
        ({"sentence_end_ids": 7}, "sentence_end_ids must be a collection of ids, got 7"),
    ):
        with pytest.raises(ValueError, match=message):
            BARTNoise(**({"mask_id": MASK} | arguments))


KINDS = {
    mask_tokens: {"mask_id": MASK},
    delete_tokens: {},
    infill_text: {"mask_id": MASK},
    permute_sentences: {"sentence_end_ids": [END]},
    rotate_document: {},
}


def test_a_text_may_be_a_list_a_tensor_or_small_numbers():
    for damage, settings in KINDS.items():
        found = [
            damage(text, np.random.default_rng(5), **settings).tolist()
            for text in (list(range(5, 25)), torch.arange(5, 25), np.arange(5, 45, dtype=np.uint8)[:20])
        ]
        assert found[0] == found[1] == found[2]
        assert MASK in mask_tokens(np.full(9, 200, np.uint8), np.random.default_rng(0), MASK, 1.0)
    assert mask_tokens(np.full(9, 200, np.uint8), np.random.default_rng(0), 300, 1.0).tolist() == [300] * 9


def test_bad_texts_and_settings_are_refused_before_anything_is_drawn():
    for damage, settings in KINDS.items():
        for text in (None, "text", [0.5], [float("nan")], [[1, 2]], np.array(3), [-1], [True]):
            generator = np.random.default_rng(0)
            with pytest.raises(ValueError, match="a text must"):
                damage(text, generator, **settings)
            assert generator.random() == np.random.default_rng(0).random()
        with pytest.raises(ValueError, match=r"generator must be a numpy\.random\.Generator"):
            damage([5, 6], 3, **settings)
    for damage in (mask_tokens, delete_tokens, infill_text):
        for rate in (-0.1, 1.5, float("nan"), "a"):
            with pytest.raises(ValueError, match="rate must be"):
                damage([5, 6], np.random.default_rng(0), rate=rate, **KINDS[damage])
    for mean_span in (0, 1e-9, -1, float("inf")):  # a mean of 0 never lost a token: it did not end
        with pytest.raises(ValueError, match="mean_span must be"):
            infill_text([5, 6, 7], np.random.default_rng(0), MASK, mean_span=mean_span)
    with pytest.raises(ValueError, match="sentence_end_ids must"):
        permute_sentences([5, 6], np.random.default_rng(0), None)
