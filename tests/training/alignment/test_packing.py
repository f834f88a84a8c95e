"""Packed rows against the same examples alone: every logit, the loss, a whole run."""

import numpy as np
import pytest
import torch

from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig
from minillm.training import PackedSet, SFTObjective, Trainer, TrainerConfig, best_fit, document_mask
from minillm.training.alignment.packing import packed_share, positions_within
from minillm.training.batches import ExampleSet
from tests.helpers import soak_count

SIZES = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
LLAMA = {**SIZES, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64}


def llama(**settings):
    return Llama(LlamaConfig(**LLAMA | settings), seed=1)


def gpt2():
    return GPT2(GPT2Config(vocab_size=50, n_positions=64, n_embd=16, n_layer=2, n_head=2), seed=1).eval()


def mistral():
    return llama(model_type="mistral", sliding_window=5)


def drawn(count=7, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        ids = rng.integers(0, 50, rng.integers(3, 14)).tolist()
        rows.append({"input_ids": ids, "labels": [-100] * 2 + ids[2:]})
    return rows


@pytest.mark.parametrize("make", [llama, gpt2, mistral])
def test_a_packed_token_has_the_logits_that_it_has_alone(make):
    model, examples = make(), drawn()
    packed = PackedSet(examples, 30)
    batch = packed._padded(range(len(packed)))
    with torch.no_grad():
        found = model(**SFTObjective().inputs(batch)).logits
        for row, pack in enumerate(packed.packs):
            start = 0
            for i in pack:
                ids = torch.tensor([examples[i]["input_ids"]])
                seen = min(ids.shape[1], found.shape[1] - start)
                torch.testing.assert_close(
                    found[row, start : start + seen], model(ids).logits[0, :seen], rtol=1e-5, atol=2e-6
                )
                start += ids.shape[1]
    assert len(packed) < len(examples)


def test_packed_and_unpacked_have_one_loss_and_one_gradient():
    examples, losses, gradients = drawn(12, seed=3), [], []
    for data in (ExampleSet(examples), PackedSet(examples, 40)):
        model = llama()
        batch = data._padded(range(len(data)))
        loss = SFTObjective()(model, batch).loss
        loss.backward()
        losses.append(loss.detach())
        gradients.append(torch.cat([p.grad.reshape(-1) for p in model.parameters()]))
        assert SFTObjective().count(batch) == sum(len(one["input_ids"]) - 2 for one in examples)
    torch.testing.assert_close(*losses, rtol=1e-6, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_a_fused_objective_has_the_same_loss_and_gradient_and_reads_answers_alone():
    data, losses, gradients, rows = PackedSet(drawn(12, seed=4), 40), [], [], []
    batch = data._padded(range(len(data)))
    for objective in (SFTObjective(), SFTObjective(fused=True)):
        model = llama()
        model.head.register_forward_pre_hook(lambda _, x: rows.append(x[0].shape[:-1].numel()))
        outcome = objective(model, batch)
        outcome.loss.backward()
        losses.append(outcome.loss.detach())
        gradients.append(torch.cat([p.grad.reshape(-1) for p in model.parameters()]))
    torch.testing.assert_close(*losses, rtol=1e-6, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)
    assert rows == [batch["labels"][:, 1:].numel()]  # the fused one never asks the head for logits
    assert objective(model, batch, predict=True).predictions.shape[:2] == batch["labels"][:, 1:].shape


@pytest.mark.parametrize("fused", [False, True])
def test_labels_of_a_wrong_shape_are_named(fused):
    batch = PackedSet(drawn(12, seed=4), 40)._padded(range(3))
    model = llama()
    model.head.requires_grad_(fused)  # a frozen head takes answers alone, too
    for labels in (batch["labels"][0], batch["labels"][:, :5], batch["labels"][:, :1]):
        with pytest.raises(ValueError, match="shape"):
            SFTObjective(fused=fused)(model, batch | {"labels": labels})


def test_a_trainer_takes_packed_rows():
    config = TrainerConfig(max_steps=3, batch_size=2, context_length=29, learning_rate=1e-2, progress=False)
    history = Trainer(llama(), config, PackedSet(drawn(20), 30), objective=SFTObjective()).train()
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_rows_are_full_and_hold_every_example_once():
    rng = np.random.default_rng(0)
    for _ in range(soak_count(200)):
        room = int(rng.integers(1, 40))
        lengths = rng.integers(1, room + 1, rng.integers(1, 60)).tolist()
        packs = best_fit(lengths, room)
        assert sorted(i for pack in packs for i in pack) == list(range(len(lengths)))
        used = [sum(lengths[i] for i in pack) for pack in packs]
        assert max(used) <= room
        assert len(packs) >= -(-sum(lengths) // room)
        # no row could take in what a later one begins with: else best fit had put it there
        pairs = ((a, b) for b in range(len(packs)) for a in range(b))
        assert all(room - used[a] < lengths[packs[b][0]] for a, b in pairs)
    assert best_fit([4, 6, 5, 5], 10) == [[1, 0], [2, 3]]


def test_positions_and_mask_of_a_row():
    documents = torch.tensor([[1, 1, 1, 2, 2, 0, 0]])
    assert positions_within(documents).tolist() == [[0, 1, 2, 0, 1, 0, 1]]
    mask = document_mask(documents)
    assert mask.shape == (1, 1, 7, 7)
    assert mask[0, 0].sum(dim=1).tolist() == [3, 3, 3, 2, 2, 2, 2]


def test_the_first_id_of_a_packed_example_is_no_target():
    packed = PackedSet([[5, 6, 7], [8, 9]], 5)
    batch = packed._padded([0])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9]]
    assert batch["labels"].tolist() == [[-100, 6, 7, -100, 9]]
    assert batch["documents"].tolist() == [[1, 1, 1, 2, 2]]


def test_rows_of_one_example_need_no_mask_of_pairs():
    packed = PackedSet([[5, 6, 7, 8], [1, 2, 3], [8, 9]], 5)
    assert packed.packs == [[0], [1, 2]]
    assert "documents" not in packed._padded([0, 0])
    assert packed._padded([0, 1])["documents"].tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 2, 2]]
    inputs = SFTObjective().inputs(packed._padded([0]))
    assert inputs["attention_mask"].shape == (1, 3)


def test_share_of_padding():
    alone, together = packed_share([10, 2, 2, 2, 2, 2], 10)
    assert alone == pytest.approx(1 - 20 / 60)
    assert together == pytest.approx(0)


def test_what_are_no_lengths_and_no_documents_is_refused():
    for lengths in ([-1], [0], [1.5], [float("nan")], "abc", None, [True], {3: 1}, [[1, 2]]):
        with pytest.raises(ValueError, match="length"):
            best_fit(lengths, 5)
        with pytest.raises(ValueError, match="length"):
            packed_share(lengths, 5)
    for call in (document_mask, positions_within):
        for documents in (torch.ones(3), [[1, 1]], None):
            with pytest.raises(ValueError, match=r"documents must be a tensor \(B, T\)"):
                call(documents)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="example 1 has 5 ids, a row has room for 4"):
        PackedSet([[1, 2], [1, 2, 3, 4, 5]], 4)
    with pytest.raises(ValueError, match="must be a bool tensor"):
        llama()(torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 1, 3, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="must be a bool tensor"):
        llama()(torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 1, 3, 3))
    model = llama()
    with pytest.raises(ValueError, match="attention_mask must be a tensor"):
        model(
            torch.zeros(1, 3, dtype=torch.int64),
            torch.ones(1, 1, 3, 3, dtype=torch.bool),
            model.new_cache(1, 8),
        )
