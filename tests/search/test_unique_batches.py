"""Batches without the same text twice: by hand, for any rows, and as sentence-transformers deals them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.search import unique_batches
from minillm.search.batches_without_doubles import LOOK_AHEAD, epoch_of_unique_batches


def test_a_row_that_shares_a_text_waits_for_the_next_batch():
    texts = [frozenset(row) for row in ("ax", "bx", "cy", "dz", "ey")]
    assert unique_batches(range(5), texts, 2) == [[0, 2], [1, 3], [4]]
    assert unique_batches([4, 3, 2, 1, 0], texts, 3) == [[4, 3, 1], [2, 0]]
    assert unique_batches(range(5), texts, 2, most=1) == [[0, 2]]
    same = [frozenset("a")] * 4
    assert unique_batches(range(4), same, 2) == [[0], [1], [2], [3]]
    assert epoch_of_unique_batches(range(4), same, 2) == [[0], [1]]  # the others wait for another epoch
    with pytest.raises(ValueError, match="size must be at least 1"):
        unique_batches(range(4), same, 0)


@pytest.mark.parametrize("deal", [unique_batches, epoch_of_unique_batches])
@pytest.mark.parametrize(
    ("order", "texts", "message"),
    [
        ([0, 2], [{"a"}, {"b"}], "order must name rows from 0 to 1, got 2"),
        ([-1], [{"a"}], "order must name rows from 0 to 0, got -1"),
        ([0, 0.5], [{"a"}, {"b"}], "a row of order must be an integer, got 0.5"),
        ([0], ["a"], "texts must hold a set of texts for every row, got 'a'"),
        (None, [{"a"}], "order and texts must be lists, got None"),
        ([0], "a", "order and texts must be lists"),
    ],
)
def test_what_does_not_fit_is_named(deal, order, texts, message):
    with pytest.raises(ValueError, match=message):
        deal(order, texts, 2)


def test_most_is_a_number_of_batches():
    assert unique_batches([0, 1], [{"a"}, {"b"}], 1, 0) == []
    with pytest.raises(ValueError, match="most must be at least 0, got -1"):
        unique_batches([0, 1], [{"a"}, {"b"}], 1, -1)


class Counted(list):
    """A list that counts how often it is asked."""

    asked = 0

    def __getitem__(self, place):
        self.asked += 1
        return super().__getitem__(place)


def test_a_batch_that_cannot_be_filled_does_not_look_at_every_row():
    texts = Counted(frozenset([f"q{i}", f"class {i % 3}"]) for i in range(4000))
    batches = epoch_of_unique_batches(range(4000), texts, 4)
    assert [len(one) for one in batches] == [3] * 1000
    # each row of a batch twice, and those passed over once; all that wait would be 2.5 million
    assert texts.asked <= 1000 * 4 * (LOOK_AHEAD + 2)


ROWS = st.lists(st.frozensets(st.sampled_from("abcdefghij"), min_size=1, max_size=3), min_size=1, max_size=40)


@settings(deadline=None)
@given(ROWS, st.integers(1, 6), st.randoms())
def test_every_row_is_dealt_once_and_no_batch_has_a_text_twice(texts, size, random):
    order = random.sample(range(len(texts)), len(texts))
    batches = unique_batches(order, texts, size)
    assert sorted(place for batch in batches for place in batch) == sorted(order)
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len(frozenset().union(*(texts[place] for place in batch))) == sum(len(texts[p]) for p in batch)
    epoch = epoch_of_unique_batches(order, texts, size)
    assert epoch == batches[: math.ceil(len(texts) / size)]
    assert len(epoch) == math.ceil(len(texts) / size)


@pytest.mark.parametrize("size", [3, 8, 50])
def test_the_same_batches_as_sentence_transformers(size):
    sampler = pytest.importorskip(
        "sentence_transformers.base.sampler", reason="held against sentence-transformers"
    )
    datasets = pytest.importorskip("datasets", reason="its sampler takes a Dataset")
    rows = {"anchor": [f"q{i}" for i in range(90)], "positive": [f"p{i * i % 31}" for i in range(90)]}
    dealer = sampler.NoDuplicatesBatchSampler(
        datasets.Dataset.from_dict(rows), size, drop_last=False, generator=torch.Generator(), seed=5
    )
    theirs = list(dealer)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(5), dtype=torch.int32).tolist()
    texts = [frozenset(row) for row in zip(rows["anchor"], rows["positive"])]
    assert unique_batches(order, texts, size) == theirs
    assert len(theirs) > 90 // size or size == 3
