"""Rollouts: answers from the model's own distribution, each row what it would be, and nothing beyond its end."""

import numpy as np
import pytest
import torch

from minillm.inference import SamplingParams, rollout
from minillm.inference.rollout import draw
from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig

SIZES = {"vocab_size": 12, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 2, "max_position_embeddings": 32}


def llama(**settings):
    model = Llama(LlamaConfig(**SIZES | settings), seed=0)
    with torch.no_grad():  # far from uniform
        for weight in model.parameters():
            weight.mul_(6 if weight.ndim > 1 else 1)
    return model


def chances(model, prompt, length):
    """Exact probabilities of all continuations of `length` tokens, by their ids."""
    with torch.no_grad():
        rows = [([], 0.0)]
        for _ in range(length):
            batch = torch.tensor([prompt + ids for ids, _ in rows])
            logprobs = model(batch).logits[:, -1].double().log_softmax(-1)
            rows = [
                ([*ids, v], score + float(logprobs[row, v]))
                for row, (ids, score) in enumerate(rows)
                for v in range(12)
            ]
    return {tuple(ids): np.exp(score) for ids, score in rows}


@pytest.mark.parametrize("rows", [7, 4000])
def test_answers_have_the_models_distribution_beside_prompts_of_other_lengths(rows):
    model, prompts = llama(), [[1, 2, 3], [4]]
    asked = [prompts[i % 2] for i in range(4000)]
    params = SamplingParams(max_tokens=2, seed=0)
    found = rollout(model, asked if rows > 7 else asked[:1400], params, rows=rows)
    for which, prompt in enumerate(prompts):
        exact = chances(model, prompt, 2)
        mine = [tuple(one) for one in found[which::2]]
        for answer in sorted(exact, key=exact.get)[-4:]:
            p = exact[answer]
            assert abs(mine.count(answer) / len(mine) - p) < 5 * np.sqrt(p * (1 - p) / len(mine)) + 1e-9


def test_a_row_ends_with_its_end_token_and_the_others_go_on():
    model = llama(eos_token_id=[3, 5])
    answers = rollout(model, [[1, 2], [7], [9, 8, 4]] * 40, SamplingParams(max_tokens=8, seed=1))
    assert {len(one) for one in answers} > {8}
    for one in answers:
        ends = [i for i, token in enumerate(one) if token in (3, 5)]
        assert ends in ([], [len(one) - 1])
        assert ends or len(one) == 8
    longer = rollout(model, [[1, 2]] * 20, SamplingParams(max_tokens=8, seed=1, min_tokens=4))
    assert min(map(len, longer)) >= 5
    assert all(
        len(one) == 8 for one in rollout(model, [[1]] * 5, SamplingParams(max_tokens=8, ignore_eos=True))
    )


def test_a_seed_gives_the_same_answers_and_copies_of_a_prompt_differ():
    model = GPT2(GPT2Config(vocab_size=40, n_positions=32, n_embd=8, n_layer=1, n_head=2), seed=0)
    params = SamplingParams(max_tokens=6, seed=5)
    first, second = (rollout(model, [[1, 2]] * 6, params) for _ in range(2))
    assert first == second
    assert len({tuple(one) for one in first}) > 3
    assert rollout(model, [[1, 2]] * 6, SamplingParams(max_tokens=6, seed=6)) != first
    assert rollout(model, [], params) == []
    assert model.training


def test_other_distributions_and_prompts_that_are_none_are_refused():
    model = llama()
    for params, message in (
        (SamplingParams(temperature=0.5), r"params may only set .*, got \['temperature'\]"),
        (SamplingParams(top_p=0.9, n=2), r"got \['top_p', 'n'\]"),
        (None, "params must be SamplingParams"),
    ):
        with pytest.raises(ValueError, match=message):
            rollout(model, [[1]], params)
    for prompts, message in (
        ("text", "prompts must be a list"),
        ([[]], "prompt 0 must hold"),
        ([[99]], "prompt 0 must"),
    ):
        with pytest.raises(ValueError, match=message):
            rollout(model, prompts, SamplingParams(max_tokens=2))
    for scores in (torch.tensor([[1, 2]]), [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="logits must be a float tensor"):
            draw(scores, torch.Generator())
    with torch.no_grad():
        model.head.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN or infinity"):
        rollout(model, [[1]], SamplingParams(max_tokens=2))
