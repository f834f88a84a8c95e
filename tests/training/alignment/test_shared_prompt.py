"""A prompt that stands once a row, against the same examples one by one: every logit, the loss, the gradients."""

import numpy as np
import pytest
import torch

from minillm.training import SFTObjective, SharedPromptObjective, SharedPromptSet, Trainer, TrainerConfig
from minillm.training.alignment.shared_prompt import shared_length
from minillm.training.batches import ExampleSet
from tests.training.alignment.test_packing import drawn, gpt2, llama, mistral

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]


def asked(count=9, seed=0, prompt=PROMPT):
    """Examples that begin with the prompt; their first two ids after it carry no loss."""
    return [
        {"input_ids": prompt + one["input_ids"], "labels": [-100] * len(prompt) + one["labels"]}
        for one in drawn(count, seed)
    ]


@pytest.mark.parametrize("make", [llama, gpt2])
def test_every_token_has_the_logits_that_it_has_alone(make):
    model, examples = make(), asked()
    data = SharedPromptSet(examples, 40)
    assert data.shared == len(PROMPT)
    assert len(data) < len(examples) / 2
    batch = data._padded(range(len(data)))
    with torch.no_grad():
        found = model(**SharedPromptObjective().inputs(batch)).logits
        for row, pack in enumerate(data.packs):
            start = data.shared
            for i in pack:
                ids = torch.tensor([examples[i]["input_ids"]])
                own = ids.shape[1] - data.shared
                seen = min(own, found.shape[1] - start)
                expected = model(ids).logits[0, data.shared : data.shared + seen]
                torch.testing.assert_close(found[row, start : start + seen], expected, rtol=1e-5, atol=2e-6)
                start += own


@pytest.mark.parametrize("prompt", [PROMPT, PROMPT[:1], []])
@pytest.mark.parametrize("room", [22, 40, 64])
def test_one_loss_and_one_gradient(prompt, room):
    examples, losses, gradients = asked(12, 3, prompt), [], []
    pairs = (ExampleSet(examples), SFTObjective()), (SharedPromptSet(examples, room), SharedPromptObjective())
    for data, objective in pairs:
        model = llama()
        batch = data._padded(range(len(data)))
        assert objective.count(batch) == sum(len(one["input_ids"]) - len(prompt) - 2 for one in examples)
        loss = objective(model, batch).loss
        loss.backward()
        losses.append(loss.detach())
        gradients.append(torch.cat([p.grad.reshape(-1) for p in model.parameters()]))
    torch.testing.assert_close(*losses, rtol=1e-6, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_what_is_shared_carries_no_loss_and_leaves_the_id_before_the_first_target():
    def shared(*rows):
        data = ExampleSet([{"input_ids": ids, "labels": labels} for ids, labels in rows]).rows
        return shared_length([ids for ids, _ in data], [labels for _, labels in data])

    no = -100
    assert (
        shared(([1, 2, 3, 4], [no, no, no, 4]), ([1, 2, 3, 5], [no, no, no, 5])) == 2
    )  # 3 predicts 4, and 5
    assert shared(([1, 2, 3, 4], [no, no, 3, 4]), ([1, 2, 3, 5], [no, no, no, 5])) == 1
    assert shared(([1, 2, 3, 4], [no] * 4), ([1, 9, 3, 5], [no] * 4)) == 1
    assert shared(([7, 2, 3, 4], [no] * 4), ([1, 2, 3, 5], [no] * 4)) == 0
    assert shared(([1, 2, 3, 4], [1, 2, 3, 4]), ([1, 2, 3, 4], [1, 2, 3, 4])) == 0  # a target at once
    assert shared(([1, 2, 3], [no] * 3), ([1, 2, 3, 4], [no] * 4)) == 1  # two ids stay with the shortest


def test_hostile_rows_hold_each_example_once():
    rng = np.random.default_rng(1)
    for trial in range(40):
        prompt = rng.integers(0, 50, rng.integers(0, 9)).tolist()
        examples = asked(int(rng.integers(1, 15)), trial, prompt)
        room = max(len(one["input_ids"]) for one in examples) + int(rng.integers(0, 30))
        data = SharedPromptSet(examples, room)
        found = []
        for (ids, labels), documents in zip(data.rows, data.documents):
            assert len(ids) == len(labels) == len(documents) <= room
            begin, kept = ids[documents == -1].tolist(), labels[documents == -1]
            assert (kept == -100).all()
            assert len(begin) == data.shared
            found += [begin + ids[documents == one].tolist() for one in range(1, documents.max() + 1)]
        assert sorted(found) == sorted(one["input_ids"] for one in examples)


def test_a_trainer_takes_them():
    config = TrainerConfig(max_steps=12, batch_size=2, context_length=39, learning_rate=1e-2, progress=False)
    history = Trainer(
        llama(), config, SharedPromptSet(asked(20), 40), objective=SharedPromptObjective()
    ).train()
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_an_example_that_is_too_long_is_named_whole():
    with pytest.raises(ValueError, match="example 1 has 12 ids, a row has room for 11"):
        SharedPromptSet([PROMPT, [*PROMPT, 1, 2, 3, 4]], 11)
    with pytest.raises(ValueError, match="length must be"):
        SharedPromptSet(asked(), "40")
    with pytest.raises(ValueError, match="non-empty"):
        SharedPromptSet([], 40)


def test_a_window_that_would_count_strangers_is_refused():
    data = SharedPromptSet(asked(), 40)
    batch = data._padded(range(len(data)))
    with pytest.raises(ValueError, match="rows of 40 ids by a model whose window is 5"):
        SharedPromptObjective()(mistral(), batch)
    for unused in (
        {"model_type": "mistral", "sliding_window": 40},
        {"model_type": "qwen2", "sliding_window": 5},
    ):
        SharedPromptObjective()(llama(**unused), batch)


def test_another_objective_does_not_find_documents_that_it_would_misread():
    data = SharedPromptSet(asked(), 40)
    batch = data._padded(range(len(data)))
    assert "documents" not in batch
    with pytest.raises(ValueError, match="SharedPromptObjective"):
        SFTObjective()(llama(), batch)
