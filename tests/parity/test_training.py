"""Training and perplexity against transformers: its schedules, its loss, and a short run of its Llama."""

import math

import pytest
import torch

from minillm.evaluation.perplexity import perplexity
from minillm.models import Llama
from minillm.training import CausalLMObjective, ExampleSet, Trainer, TrainerConfig, cosine_schedule

transformers = pytest.importorskip("transformers", reason="the peer of this file: pip install -e '.[parity]'")


@pytest.mark.parametrize(("warmup", "steps"), [(0, 10), (3, 10), (10, 10), (1, 1), (50, 333)])
def test_schedule_equals_transformers(warmup, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    theirs = transformers.get_cosine_schedule_with_warmup(optimizer, warmup, steps)
    for step in range(steps + 1):
        if step < steps or warmup < steps:
            assert cosine_schedule(step, steps, 2.0, warmup) == pytest.approx(
                theirs.get_last_lr()[0], abs=1e-12
            )
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0])
def test_schedule_with_a_minimum_equals_transformers(ratio):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    theirs = transformers.get_cosine_with_min_lr_schedule_with_warmup(optimizer, 5, 40, min_lr_rate=ratio)
    for step in range(41):
        if step >= 5:  # the peer's warm-up ends at the peak too, but starts at the minimum in some versions
            assert cosine_schedule(step, 40, 2.0, 5, 2.0 * ratio) == pytest.approx(
                theirs.get_last_lr()[0], abs=1e-12
            )
        optimizer.step()
        theirs.step()


def llamas(tmp_path):
    config = transformers.LlamaConfig(
        vocab_size=23, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, tie_word_embeddings=True, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.LlamaForCausalLM(config)
    theirs.save_pretrained(tmp_path)
    return Llama.from_pretrained(tmp_path), theirs


def test_loss_of_padded_examples_equals_transformers(tmp_path):
    ours, theirs = llamas(tmp_path)
    rows = [{"input_ids": [1, 2, 3, 4, 5], "labels": [-100, -100, 3, 4, 5]}, [7, 8, 9]]
    batch = ExampleSet(rows).batch(0, 0, 2, 10)
    loss = CausalLMObjective()(ours, batch).loss
    torch.testing.assert_close(loss, theirs(**batch).loss, rtol=1e-5, atol=1e-6)


def test_a_run_equals_the_same_steps_on_transformers_model(tmp_path):
    """Their model, their loss, torch's optimiser and clipping, their schedule: the same losses for 15 steps."""
    ours, theirs = llamas(tmp_path)
    ids = torch.randint(0, 23, (400,), generator=torch.Generator().manual_seed(0))
    config = TrainerConfig(15, batch_size=4, context_length=12, learning_rate=1e-2, warmup_steps=3, precision="fp32",
                           max_grad_norm=0.5, weight_decay=0.1, progress=False)  # fmt: skip
    run = Trainer(ours, config, ids)
    history = run.train()
    matrices = [p for p in theirs.parameters() if p.ndim >= 2]
    vectors = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95))
    factor = transformers.get_cosine_schedule_with_warmup(optimizer, 3, 16).lr_lambdas[0]
    for step in range(15):
        batch = run.train_source.batch(0, step, 4, 12)
        loss = theirs(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * factor(step + 1)
        optimizer.step()
        assert history[step]["train_loss"] == pytest.approx(loss.item(), rel=2e-4)
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_perplexity_equals_exp_of_transformers_loss(tmp_path):
    ours, theirs = llamas(tmp_path)
    ids = torch.randint(0, 23, (33,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = math.exp(theirs(ids[None], labels=ids[None]).loss.item())
    assert perplexity(ours, ids, 32) == pytest.approx(expected, rel=1e-5)
