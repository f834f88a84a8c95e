"""Batches: pure functions of seed and step, fair to every token, and hostile data refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Subset

from minillm.data import Dataset
from minillm.training import ExampleSet, TokenStream, Trainer, TrainerConfig
from minillm.training.batches import as_source
from tests.training.toy import ToyLM


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 400), st.integers(1, 20), st.integers(1, 9), st.integers(0, 50), st.integers(0, 99))
def test_windows_are_pieces_of_the_stream_and_can_be_drawn_again(size, context, rows, step, seed):
    if size < context + 1:
        return
    ids = torch.arange(size)
    batch = TokenStream(ids).batch(seed, step, rows, context)["input_ids"]
    assert batch.shape == (rows, context + 1)
    assert batch.dtype == torch.int64
    assert torch.equal(batch, batch[:, :1] + torch.arange(context + 1))  # consecutive ids
    assert 0 <= batch.min() <= batch.max() < size
    other = TokenStream(ids.numpy())
    other.batch(seed + 1, step + 3, rows, context)  # what was drawn before must not matter
    assert torch.equal(other.batch(seed, step, rows, context)["input_ids"], batch)


def test_seeds_and_steps_differ():
    stream = TokenStream(torch.arange(10_000))
    draws = [stream.batch(seed, step, 4, 10)["input_ids"] for seed in (0, 1) for step in (0, 1)]
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == 4


def test_a_pass_shows_every_window_once_before_any_twice():
    context, windows = 10, 99  # 1,001 ids: 100 windows, one of which a shifted pass may lose
    stream = TokenStream(torch.arange(1001))
    starts = torch.cat([stream.batch(3, step, 11, context)["input_ids"][:, 0] for step in range(9)])
    assert len(starts) == windows == len(set(starts.tolist()))
    assert len({start % context for start in starts.tolist()}) == 1  # side by side


def test_one_draw_split_in_two_equals_two_half_draws():
    """Gradient accumulation may not change what is learned from."""
    stream = TokenStream(torch.arange(500))
    examples = ExampleSet([[i, i + 1] for i in range(20)])
    for source in (stream, examples):
        whole = source.batch(0, 3, 8, 5)["input_ids"]
        halves = [source.batch(0, step, 4, 5)["input_ids"] for step in (6, 7)]
        assert torch.equal(whole, torch.cat(halves))


def test_evaluation_windows_are_fixed_and_side_by_side():
    stream = TokenStream(torch.arange(101))
    batches = list(stream.eval_batches(4, 10))
    assert [len(batch["input_ids"]) for batch in batches] == [4, 4, 2]
    starts = torch.cat([batch["input_ids"][:, 0] for batch in batches])
    assert starts.tolist() == list(range(0, 100, 10))
    limited = torch.cat([batch["input_ids"][:, 0] for batch in stream.eval_batches(2, 10, limit=2)])
    assert limited.tolist() == [0, 30, 60, 90]


def test_examples_are_padded_and_masked():
    examples = ExampleSet([{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, [8, 9]], pad_id=3)
    batch = next(iter(examples.eval_batches(2, 10)))
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 3]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [8, 9, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]


@given(st.integers(1, 30), st.integers(1, 7), st.integers(0, 5))
def test_an_epoch_deals_every_example_once(size, rows, seed):
    examples = ExampleSet([[i, i + 1] for i in range(size)])
    steps = -(-2 * size // rows)
    seen = [
        i for step in range(steps) for i in examples.batch(seed, step, rows, 4)["input_ids"][:, 0].tolist()
    ]
    assert sorted(seen[:size]) == list(range(size)) == sorted(seen[size : 2 * size])


def test_kinds_of_data():
    assert isinstance(as_source([1, 2, 3]), TokenStream)
    assert isinstance(as_source(np.arange(5, dtype=np.uint16)), TokenStream)
    assert isinstance(as_source(torch.arange(5)), TokenStream)
    assert isinstance(as_source([[1, 2], [3, 4]]), ExampleSet)
    assert isinstance(as_source([{"input_ids": [1, 2]}]), ExampleSet)
    source = TokenStream([1, 2])
    assert as_source(source) is source


@pytest.mark.parametrize("form", [None, "torch", "numpy"])
def test_a_dataset_is_read_as_examples(form):
    """Other columns stay unread; the batches are those of the same rows in a list."""
    ids, labels = [[5, 6, 7], [8, 9], [1, 2, 3, 4]], [[-100, 6, 7], [8, 9], [-100, -100, 3, 4]]
    table = Dataset.from_dict({"text": ["a", "b", "c"], "input_ids": ids, "labels": labels})
    listed = as_source([{"input_ids": row, "labels": label} for row, label in zip(ids, labels)], 3)
    for data in (table.with_format(form), Subset(table.with_format(form), range(3))):
        source = as_source(data, 3)
        for step in range(3):
            found, expected = source.batch(0, step, 2, 4), listed.batch(0, step, 2, 4)
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_trainer_learns_from_a_dataset_as_from_a_list():
    rows = [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]
    settings = TrainerConfig(max_steps=3, batch_size=2, context_length=4, precision="fp32", progress=False)
    losses = []
    for data in (rows, Dataset.from_dict({"input_ids": rows})):
        torch.manual_seed(0)
        losses.append(Trainer(ToyLM(), settings, data, eval_dataset=data).train()[-1]["train_loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "data",
    [None, "text", b"text", 3, 1.5, [], [1.0, 2.0], np.zeros((2, 2), dtype=int), torch.zeros(3), [-1, 2],
     {"input_ids": [1]}, Dataset(), Dataset.from_dict({"text": ["a"]}),
     [None], ["a", "b"], [[1]], [[1, 2], "ab"], [[1, -2]],
     [{"ids": [1, 2]}], [{"input_ids": [1, 2], "labels": [1]}],
     [{"input_ids": [1, 2], "labels": [1, -5]}],
     [{"input_ids": [1, 2], "labels": [1.0, 2.0]}], [[[1, 2]]], [True, False]],
)  # fmt: skip
def test_bad_data(data):
    with pytest.raises(ValueError):
        as_source(data)


def test_too_short_and_too_long():
    with pytest.raises(ValueError, match="needs at least 9"):
        TokenStream([1] * 8).check(8)
    with pytest.raises(ValueError, match="more than context_length"):
        ExampleSet([[1, 2], [1] * 10]).check(8)
