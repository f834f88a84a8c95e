"""Span corruption: lengths by their closed form, all divisions equally likely, and the text given back."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minillm.training import SpanCorruption
from minillm.training.spans import corrupt_spans, random_lengths, restore_spans, span_mask

SENTINELS = tuple(range(99, 59, -1))  # T5's, too, count down
EOS, SPECIAL = 1, 0
ORDINARY = st.integers(2, 59)


@given(st.integers(0, 500), st.floats(0, 1), st.floats(1, 10), st.integers(0, 99))
def test_lengths_of_the_mask(length, density, mean_span, seed):
    mask = span_mask(length, np.random.default_rng(seed), density, mean_span)
    assert mask.shape == (length,)
    if length < 2:
        assert not mask.any()
        return
    lost = min(max(round(length * density), 1), length - 1)
    spans = min(max(round(lost / mean_span), 1), length - lost)
    assert mask.sum() == lost
    assert (np.diff(mask.astype(int)) == 1).sum() == spans
    assert not mask[0]
    assert mask[-1]


def test_the_papers_numbers():
    """512 inputs and 114 targets come from 568 tokens, as in the published recipe (both closed by an end token)."""
    ids = np.arange(568) % 40 + 2
    inputs, targets = SpanCorruption(range(1000, 1100), eos_id=EOS)(ids, np.random.default_rng(0))
    assert (len(inputs), len(targets)) == (512, 114)


def test_the_papers_example():
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week"]
    mask = np.isin(words, ["for", "inviting", "last"])
    inputs, targets = corrupt_spans(np.arange(10) + 2, mask, np.array(SENTINELS))
    shown = dict(enumerate(words, 2)) | {99: "<X>", 98: "<Y>"}
    assert " ".join(shown[i] for i in inputs.tolist()) == "Thank you <X> me to your party <Y> week"
    assert " ".join(shown[i] for i in targets.tolist()) == "<X> for inviting <Y> last"


def test_every_division_is_equally_likely():
    generator, n = np.random.default_rng(0), 20_000
    found = Counter(tuple(random_lengths(7, 3, generator).tolist()) for _ in range(n))
    assert len(found) == math.comb(6, 2) == 15
    assert all(sum(row) == 7 and min(row) >= 1 for row in found)
    bound = math.sqrt(n * 25.6 / 2)
    assert max(abs(count - n / 15) for count in found.values()) <= bound


@given(st.lists(ORDINARY | st.sampled_from([EOS, SPECIAL]), max_size=40), st.integers(0, 999),
       st.floats(0, 1), st.floats(1, 6), st.booleans())  # fmt: skip
def test_inputs_and_targets_hold_the_whole_text(ids, seed, density, mean_span, closed):
    noise = SpanCorruption(SENTINELS, EOS if closed else None, (SPECIAL, EOS), density, mean_span)
    inputs, labels = noise(ids, np.random.default_rng(seed))
    again = noise(np.array(ids, dtype=np.int32), np.random.default_rng(seed))
    assert np.array_equal(inputs, again[0])
    assert np.array_equal(labels, again[1])
    text = [*ids, EOS] if closed and (not ids or ids[-1] != EOS) else ids
    assert noise.restore(inputs, labels).tolist() == text
    assert [i for i in inputs.tolist() if i in (EOS, SPECIAL)] == [i for i in text if i in (EOS, SPECIAL)]
    body = labels[:-1] if closed else labels
    assert not np.isin(body, (EOS, SPECIAL)).any()
    assert len(inputs) <= len(ids) + noise.adds


@pytest.mark.parametrize(
    "ids", [[], [5], [5, 6], [5, 6, 7], [EOS], [SPECIAL] * 5, [SPECIAL, 5, SPECIAL], [5, EOS]]
)
def test_the_shortest_texts(ids):
    noise = SpanCorruption(SENTINELS, EOS, (SPECIAL,))
    inputs, labels = noise(ids, np.random.default_rng(0))
    runs = [i for i in ids if i not in (EOS, SPECIAL)]
    lost = 1 if len(runs) >= 2 else 0  # a text of one token keeps it
    assert len(labels) == 2 * lost + 1
    assert noise.restore(inputs, labels).tolist() == [*ids, EOS][: len(ids) + (ids[-1:] != [EOS])]


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [([5, 99], [98, 6]), ([5, 99], [6]), ([5, 99], []), ([5], [99, 6]), ([5, 99, 98], [98, 1, 99, 2]),
     ([5, 99], [6, 99, 7]), ([5, 99], [99, 6, 98, 7])],
)  # fmt: skip
def test_answers_that_do_not_fit(inputs, targets):
    with pytest.raises(ValueError, match="must answer the sentinels"):
        restore_spans(inputs, targets, SENTINELS)


def test_a_closing_sentinel_and_an_empty_span_are_read():
    assert restore_spans([5, 99, 6], [99, 7, 8, 98], SENTINELS).tolist() == [5, 7, 8, 6]
    assert restore_spans([5, 99, 6], [99], SENTINELS).tolist() == [5, 6]


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: SpanCorruption([]), r"sentinel_ids must be different ids, got \[\]"),
     (lambda: SpanCorruption([7, 7]), r"sentinel_ids must be different ids, got \[7, 7\]"),
     (lambda: SpanCorruption(7), "sentinel_ids must be a collection of ids, got 7"),
     (lambda: SpanCorruption([7], density=2), "density must be between 0 and 1, got 2"),
     (lambda: SpanCorruption([7], mean_span=0.5), "mean_span must be at least 1, got 0.5"),
     (lambda: SpanCorruption([7])([5, 7], np.random.default_rng(0)), "a text must not hold sentinels, got 7"),
     (lambda: SpanCorruption([7])([5] * 99, np.random.default_rng(0)),
      "a text of 99 ids has 5 spans, more than 1 sentinels")],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_corrupt_spans_is_given():
    mask = [False, True, True, False, True]
    wanted = [[5, 99, 8, 98], [99, 6, 7, 98, 9]]
    for ids in ([5, 6, 7, 8, 9], torch.arange(5, 10), np.arange(5, 10, dtype=np.uint8)):
        for lost in (mask, np.array(mask), torch.tensor(mask)):
            assert [part.tolist() for part in corrupt_spans(ids, lost, SENTINELS)] == wanted
    sentinels = [300, 301]  # no uint8: they were stored as 44 and 45
    found = corrupt_spans(np.arange(5, 10, dtype=np.uint8), np.array(mask), sentinels)
    assert [part.tolist() for part in found] == [[5, 300, 8, 301], [300, 6, 7, 301, 9]]


@pytest.mark.parametrize(
    ("ids", "mask", "sentinels", "message"),
    [([5, 6], [0, 1], [9], "mask must be bool"),
     ([5, 6], [True], [9], r"of the shape \(2,\) of the ids"),
     ([5, 6], [[True, False]], [9], "mask must be bool"),
     ([[5, 6]], [[True, False]], [9], "a text must"),
     ([0.5], [True], [9], "a text must"),
     (None, [True], [9], "a text must"),
     ([5, 6], [True, False], [0.5], "sentinel_ids must"),
     ([5, 6], [True, False], None, "sentinel_ids must"),
     ([5, 9], [True, False], [9], "a text must not hold sentinels, got 9"),
     ([5, 6], [True, False], [], "more than 0 sentinels")],
)  # fmt: skip
def test_corrupt_spans_refuses(ids, mask, sentinels, message):
    with pytest.raises(ValueError, match=message):
        corrupt_spans(ids, mask, sentinels)


def test_bad_lengths_and_shares():
    draw = np.random.default_rng(0)
    for arguments, message in (
        ((5, 6, draw), "parts must be between 1 and 5, got 6"),
        ((5, 0, draw), "parts must be between 1 and 5, got 0"),
        ((0, 1, draw), "total must be at least 1, got 0"),
        ((5.5, 1, draw), "total must be an integer, got 5.5"),
        ((5, 2, 0), "generator must be"),
    ):
        with pytest.raises(ValueError, match=message):
            random_lengths(*arguments)
    for settings, message in (
        ({"length": -1}, "length must be at least 0, got -1"),
        ({"density": 2}, "density must be between 0 and 1, got 2"),
        ({"density": float("nan")}, "density must be a finite number"),
        ({"mean_span": 0}, "mean_span must be at least 1, got 0"),
        ({"generator": 7}, "generator must be"),
    ):
        with pytest.raises(ValueError, match=message):
            span_mask(**{"length": 9, "generator": draw, **settings})
