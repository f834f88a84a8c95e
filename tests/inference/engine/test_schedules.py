"""Whatever comes and goes, every text is what it would be alone, every block comes back, nobody is passed by."""

import copy

import pytest
import torch

from minillm.inference import PromptLookup
from tests.helpers import soak_count
from tests.inference.engine.schedules import run_schedule
from tests.inference.test_generation_loop import gpt2, llama


@pytest.fixture(scope="module")
def models():
    return [llama(), gpt2()]


@pytest.mark.parametrize("batching", ["continuous", "static", "dynamic"])
def test_every_text_is_what_it_would_be_alone(models, batching):
    preempted = 0
    for seed in range(14):
        began, stats = run_schedule(models[seed % 2], seed, batching)
        preempted += stats["preemptions"]
        # within a wave, who has one token left to read is written beside those who read on
        assert batching != "continuous" or began == sorted(began), "first come, first served"
    assert (preempted > 0) == (batching == "continuous"), "only a continuous batch takes blocks back"


def drafts(model):
    """None, the text itself, the model, one that is nearly it, and one of another kind."""
    near = copy.deepcopy(model)
    with torch.no_grad():
        for weight in near.parameters():
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
            weight += 0.05 * weight.abs().mean() * noise
    return {"lookup": PromptLookup((2, 1)), "itself": model, "near": near, "other": gpt2(bos_token_id=1)}


@pytest.mark.parametrize("name", ["lookup", "itself", "near", "other"])
def test_every_text_is_what_it_would_be_without_drafts(models, name):
    """Drawn texts, too, and whatever was drafted, preempted or refused between their tokens."""
    drafted = accepted = preempted = 0
    for seed in range(200, 212):
        model = models[seed % 2]
        batching = ("continuous", "continuous", "static")[seed % 3]
        began, stats = run_schedule(model, seed, batching, drafts(model)[name])
        drafted, accepted = drafted + stats["drafted_tokens"], accepted + stats["accepted_tokens"]
        preempted += stats["preemptions"]
        assert batching != "continuous" or began == sorted(began), "first come, first served"
    assert preempted > 0
    assert 0 < accepted <= drafted
    assert (accepted == drafted) == (name == "itself")


@pytest.mark.soak
def test_ten_thousand_schedules(models):
    guessing = [[None, *drafts(model).values()] for model in models]
    for seed in range(100, 100 + soak_count(10_000)):
        batching = ("continuous", "continuous", "static", "dynamic")[seed % 4]
        which = seed // 4 % 2
        draft = guessing[which][seed // 8 % 10] if seed // 8 % 10 < 5 else None
        began, _ = run_schedule(models[which], seed, batching, draft)
        assert batching != "continuous" or began == sorted(began), (
            f"schedule {seed}: first come, first served"
        )
