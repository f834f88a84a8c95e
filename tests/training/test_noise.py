"""Noisy sets: functions of seed and step, fresh in every epoch, for streams and examples, resumed bit for bit."""

import numpy as np
import pytest
import torch

from minillm.training import (
    BARTNoise,
    MaskedLMNoise,
    MaskedLMObjective,
    NoisySet,
    SpanCorruption,
    Trainer,
    TrainerConfig,
)
from minillm.training.noise import runs_between
from tests.training.toy import COUNTING, ToyLM

MASK = MaskedLMNoise(10, 11, rate=0.3)
SPANS = SpanCorruption(range(90, 50, -1), eos_id=1)


def same(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("noise", [MASK, SPANS, BARTNoise(10, [4])], ids=["masked", "spans", "bart"])
@pytest.mark.parametrize(
    "data", [COUNTING[:300] % 9 + 2, [[2, 3, 4, 5, 6], [7, 8, 9] * 3] * 4], ids=["stream", "examples"]
)
def test_a_batch_depends_on_seed_and_step_alone(data, noise):
    first, second = NoisySet(data, noise), NoisySet(data, noise)
    first.batch(7, 9, 2, 12)  # what was drawn before must not matter
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    batch = first.batch(3, 4, 6, 12)
    same(batch, second.batch(3, 4, 6, 12))
    assert not torch.equal(batch["labels"], first.batch(4, 4, 6, 12)["labels"])
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert len(batch["labels"]) == 6
    assert (batch["labels"] != -100).any(dim=1).all()
    assert batch["input_ids"].shape[1] <= 12
    # one draw in two halves: gradient accumulation may not change what is learned from
    halves = [first.batch(3, step, 3, 12) for step in (8, 9)]
    for half, rows in zip(halves, (slice(0, 3), slice(3, 6))):
        width = half["input_ids"].shape[1]
        assert torch.equal(half["input_ids"], batch["input_ids"][rows, :width])


def test_every_epoch_has_holes_of_its_own():
    data = NoisySet([list(range(2, 10))] * 2, MASK)
    holes = {tuple(row) for step in range(20) for row in data.batch(0, step, 2, 10)["labels"].tolist()}
    assert len(holes) > 20


def test_evaluation_is_fixed_and_in_order():
    data = NoisySet([[2, 3, 4, 5, 6, i] for i in (2, 3, 4, 5, 6)], MASK)
    first, second = list(data.eval_batches(2, 10)), list(data.eval_batches(2, 10))
    assert [len(batch["labels"]) for batch in first] == [2, 2, 1]
    for a, b in zip(first, second):
        same(a, b)
    clean = [torch.where(b["labels"] == -100, b["input_ids"], b["labels"]) for b in first]
    assert torch.cat(clean)[:, -1].tolist() == [2, 3, 4, 5, 6]


def test_texts_are_whole_behind_the_damage():
    """Padding of the examples is no text; span corruption gives back just what the examples were."""
    rows = [[2, 3, 4, 5, 6], [7, 8], list(range(2, 12))]
    batch = next(NoisySet(rows, SPANS, pad_id=0).eval_batches(3, 20))
    for row, ids in enumerate(rows):
        inputs = batch["input_ids"][row][batch["attention_mask"][row].bool()]
        labels = batch["labels"][row]
        assert SPANS.restore(inputs, labels[labels >= 0]).tolist() == [*ids, 1]


def test_a_text_without_a_hole_is_drawn_again_but_not_for_ever():
    batch = NoisySet([[2, 3]] * 50, MaskedLMNoise(10, 11, rate=0.15)).batch(0, 0, 50, 4)
    assert (batch["labels"] != -100).any(dim=1).sum() >= 45  # 0.72^20 of the rows are given up
    only_special = NoisySet([[2, 2]], MaskedLMNoise(10, 11, special_ids=[2]))
    assert (only_special.batch(0, 0, 1, 4)["labels"] == -100).all()


def masked_run(tmp_path, steps=8, **settings):
    config = TrainerConfig(
        steps,
        **{"batch_size": 4, "context_length": 10, "precision": "fp32"} | settings,
        checkpoint_folder=tmp_path,
        progress=False,
    )
    data = NoisySet(COUNTING % 10, MASK)
    return Trainer(ToyLM(), config, data, data, objective=MaskedLMObjective())


def test_training_resumes_bit_for_bit(tmp_path):
    whole = masked_run(tmp_path / "whole")
    whole.train()

    def stop(record):
        if record["step"] == 5:
            raise KeyboardInterrupt

    part = masked_run(tmp_path / "part", checkpoint_every=5)
    part.on_step = stop
    with pytest.raises(KeyboardInterrupt):
        part.train()
    rest = masked_run(tmp_path / "part", checkpoint_every=5)
    rest.train(resume_from_checkpoint=True)
    for a, b in zip(whole.model.parameters(), rest.model.parameters()):
        assert torch.equal(a, b)
    assert rest.history[-1]["eval_loss"] == whole.history[-1]["eval_loss"]
    assert rest.history[-1]["tokens"] == whole.history[-1]["tokens"]


def test_accumulation_gives_the_same_run(tmp_path):
    runs = [
        masked_run(tmp_path / "one", steps=1),
        masked_run(tmp_path / "two", steps=1, batch_size=2, gradient_accumulation=2),
    ]
    for run in runs:
        run.model.body.dropout.p = 0.0
        run.train()
    for a, b in zip(*(run.model.parameters() for run in runs)):
        torch.testing.assert_close(a, b)


def test_runs_between_specials():
    found = [
        (special, run.tolist()) for special, run in runs_between(np.array([1, 2, 0, 0, 3]), np.array([0]))
    ]
    assert found == [(False, [1, 2]), (True, [0, 0]), (False, [3])]
    assert runs_between(np.zeros(0, dtype=int), np.array([0])) == []


@pytest.mark.parametrize("noise", [MASK, SPANS, BARTNoise(3)])
@pytest.mark.parametrize("generator", [0, None, torch.Generator()])
def test_only_a_generator_of_numpy_draws(noise, generator):
    with pytest.raises(ValueError, match=r"generator must be a numpy.random.Generator .*, got"):
        noise([1, 2, 3], generator)


def test_bad_input():
    with pytest.raises(ValueError, match=r"noise must be a function of \(ids, generator\), got 'bert'"):
        NoisySet([1, 2, 3], "bert")
    with pytest.raises(ValueError, match="the token stream has 3 ids; context_length=4 needs at least 5"):
        NoisySet([1, 2, 3], MASK).check(5)
    NoisySet([1, 2, 3], MASK).check(3)
    NoisySet([[1] * 8], SPANS).check(9)
    with pytest.raises(ValueError, match="more than"):
        NoisySet([[1] * 8], SPANS).check(8)
    with pytest.raises(ValueError, match="context_length must be at least 3 for this noise, got 2"):
        NoisySet([1, 2, 3], SPANS).check(2)
    config = TrainerConfig(1, context_length=10, progress=False)
    with pytest.raises(ValueError, match="train_data holds id 90, the model's vocabulary ends at 10"):
        Trainer(ToyLM(), config, NoisySet(COUNTING, SPANS))
