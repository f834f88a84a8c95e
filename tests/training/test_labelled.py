"""Pairs and labelled texts: padded each by its own rule, dealt as examples are, hostile ones refused."""

import numpy as np
import pytest
import torch

from minillm.training import ClassificationObjective, LabelledSet, PairSet, Trainer, TrainerConfig
from tests.training.toy import ToyLM


def test_pairs_are_padded_side_by_side():
    pairs = PairSet([{"input_ids": [5, 6, 7], "labels": [8]}, ([4], [3, 2])], pad_id=9)
    batch = next(pairs.eval_batches(2, 3))
    assert batch["input_ids"].tolist() == [[5, 6, 7], [4, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[8, -100], [3, 2]]
    assert pairs.largest_id == 8
    pairs.check(3)
    with pytest.raises(ValueError, match="1 pairs have more than context_length = 2 ids on one side"):
        pairs.check(2)


@pytest.mark.parametrize(
    ("labels", "dtype"), [([2, 0, -100], torch.int64), ([0.5, 1.0, 2.0], torch.float32),
                          ([[1.0, 0.0]] * 3, torch.float32), (list(np.arange(3)), torch.int64)]
)  # fmt: skip
def test_labels_of_texts(labels, dtype):
    rows = [{"input_ids": [1] * (i + 1), "labels": label} for i, label in enumerate(labels)]
    batch = next(LabelledSet(rows).eval_batches(3, 3))
    assert batch.keys() == {"input_ids", "labels", "attention_mask"}
    assert batch["labels"].dtype == dtype
    assert batch["labels"].tolist() == [list(x) if isinstance(x, list) else x for x in labels]
    assert batch["attention_mask"].sum(dim=1).tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="more than context_length"):
        LabelledSet(rows).check(2)


def test_sentence_pairs_carry_their_types():
    rows = [
        {"input_ids": [1, 2, 3], "labels": 0, "token_type_ids": [0, 0, 1]},
        {"input_ids": [1, 2], "labels": 1},
    ]
    batch = next(LabelledSet(rows).eval_batches(2, 3))
    assert batch["token_type_ids"].tolist() == [[0, 0, 1], [0, 0, 0]]


def test_batches_are_drawn_again_from_seed_and_step():
    rows = [{"input_ids": [i, i], "labels": i} for i in range(10)]
    first, second = LabelledSet(rows), LabelledSet(rows)
    first.batch(1, 2, 3, 2)
    batch = first.batch(0, 5, 4, 2)
    assert torch.equal(batch["labels"], second.batch(0, 5, 4, 2)["labels"])
    assert torch.equal(batch["input_ids"][:, 0], batch["labels"])  # the label of its text


class LastToken(ToyLM):
    """A classifier: the logits of the last token."""

    def forward(self, input_ids, attention_mask=None):
        out = super().forward(input_ids)
        out.logits = out.logits[:, -1]
        return out


def test_the_trainer_learns_a_class():
    rows = [{"input_ids": [i % 5, 7, 7, i % 5], "labels": i % 5} for i in range(40)]
    config = TrainerConfig(
        60, batch_size=8, context_length=4, learning_rate=2e-2, progress=False, precision="fp32"
    )
    metric = lambda found: {"accuracy": (found.predictions.argmax(-1) == found.label_ids).mean()}  # noqa: E731
    data = LabelledSet(rows)
    run = Trainer(
        LastToken(), config, data, data, objective=ClassificationObjective(), compute_metrics=metric
    )
    last = run.train()[-1]
    assert last["eval_accuracy"] == 1.0
    assert last["tokens"] == 60 * 8


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: PairSet([{"input_ids": [1]}]), "pair 0 must have a source and a target"),
     (lambda: PairSet([[1, 2]]), "pair 0 must have a source and a target"),
     (lambda: PairSet([([1], [])]), "both sides of pair 0 must hold an id, got 1 and 0"),
     (lambda: PairSet([([1], [-5])]), "the labels of pair 0 must be ids or -100"),
     (lambda: PairSet([]), "examples must be a non-empty sequence"),
     (lambda: LabelledSet([[1, 2]]), "example 0 must have an id and labels"),
     (lambda: LabelledSet([{"input_ids": [], "labels": 1}]), "example 0 must have an id and labels"),
     (lambda: LabelledSet([{"input_ids": [1], "labels": "a"}]), "labels must be all classes"),
     (lambda: LabelledSet([{"input_ids": [1], "labels": True}]), "labels must be all classes"),
     (lambda: LabelledSet([{"input_ids": [1], "labels": float("nan")}]), "labels must be all classes"),
     (lambda: LabelledSet([{"input_ids": [1], "labels": [1.0]}, {"input_ids": [1], "labels": 2}]), "labels must"),
     (lambda: LabelledSet([{"input_ids": [1], "labels": 1, "token_type_ids": [0, 1]}]), "must have 1 token_type_ids")],
)  # fmt: skip
def test_bad_data(make, message):
    with pytest.raises(ValueError, match=message):
        make()
