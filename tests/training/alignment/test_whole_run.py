"""From nothing to a model that listens, on a world with a true score: the digits backwards, a comma in every gap.

A style judge never asks whether the digits are right. With its price for leaving the reference, PPO writes better
answers that are still right; without it, it writes what the judge likes.
"""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest

from minillm.evaluation import paired
from minillm.inference import SamplingParams, rollout
from minillm.models import Llama, LlamaConfig
from minillm.training import (
    PPOConfig,
    PPOTrainer,
    PreferenceSet,
    RewardModel,
    RewardObjective,
    SFTObjective,
    Trainer,
    TrainerConfig,
    critic_of,
    reward_report,
)
from minillm.training.alignment.pairs import answer_example
from minillm.training.batches import ExampleSet
from tests.helpers import soak_count

EOS, BOS, ASKS, COMMA, ZERO = range(5)
PARAMS = SamplingParams(max_tokens=14)
DIGITS = np.random.default_rng(0).permutation(np.array(list(itertools.permutations(range(10), 4))))
EXAM, VALIDATION, TAUGHT, ASKED = DIGITS[:300], DIGITS[300:400], DIGITS[400:3400], DIGITS[3400:]


def prompt(digits):
    return [BOS, *(int(one) + ZERO for one in digits), ASKS]


def demonstration(digits, rng):
    """The digits backwards, a comma in two gaps of five."""
    gaps = [[COMMA] if i and rng.random() < 0.4 else [] for i in range(4)]
    return [*(token for gap, one in zip(gaps, digits[::-1]) for token in (*gap, int(one) + ZERO)), EOS]


def style(answer):
    """The share of gaps between digits that hold one comma and nothing else."""
    body = [one for one in answer if one != EOS]
    parted = sum(a >= ZERO and b == COMMA and c >= ZERO for a, b, c in zip(body, body[1:], body[2:]))
    return parted / max(sum(one >= ZERO for one in body) - 1, 1)


def passes(digits, answer):
    said = [one for one in answer if one not in (EOS, COMMA)]
    return answer[-1] == EOS and said == [int(one) + ZERO for one in digits[::-1]]


def true_scores(model, exam):
    answers = rollout(model, [prompt(one) for one in exam], replace(PARAMS, seed=7))
    return np.array([passes(one, answer) * style(answer) for one, answer in zip(exam, answers)])


def settings(steps, rate, rows):
    return TrainerConfig(max_steps=steps, batch_size=rows, context_length=24, learning_rate=rate, warmup_steps=5,
                         progress=False)  # fmt: skip


@pytest.mark.soak
def test_ppo_with_its_price_listens_and_without_it_hacks():
    if soak_count(100) < 100:
        pytest.skip("takes 20 s, and lesson 04_2 proves the same: `make soak` runs it")
    rng = np.random.default_rng(0)
    sizes = {"vocab_size": 14, "hidden_size": 48, "intermediate_size": 128, "num_hidden_layers": 2}
    model = Llama(
        LlamaConfig(**sizes, num_attention_heads=4, max_position_embeddings=32, eos_token_id=EOS), seed=0
    )
    rows = ExampleSet([answer_example(prompt(one), demonstration(one, rng)) for one in TAUGHT])
    Trainer(model, settings(500, 4e-3, 64), rows, objective=SFTObjective()).train()
    start = true_scores(model, EXAM)
    assert 0.2 < start.mean() < 0.6

    asked = [prompt(one) for one in ASKED[:400] for _ in range(2)]
    answers = rollout(model, asked, replace(PARAMS, seed=3))
    pairs = []
    for at in range(0, len(asked), 2):  # a judge of style alone, who errs where both are alike
        two = answers[at : at + 2]
        if rng.random() > 1 / (1 + np.exp(-6 * (style(two[0]) - style(two[1])))):
            two = two[::-1]
        pairs.append({"prompt_ids": asked[at], "chosen_ids": two[0], "rejected_ids": two[1]})
    judge = RewardModel(copy.deepcopy(model.body))
    Trainer(judge, settings(80, 1e-3, 32), PreferenceSet(pairs[:320]), objective=RewardObjective()).train()
    assert reward_report(judge, PreferenceSet(pairs[320:])).accuracy > 0.6

    found = {}
    for beta in (0.5, 0.0):
        policy = copy.deepcopy(model)
        config = PPOConfig(iterations=30, prompts=64, epochs=2, minibatch=32, learning_rate=5e-4 if beta else 1e-3,
                           beta=beta, validate_every=5)  # fmt: skip
        score = (lambda one: true_scores(one, VALIDATION).mean()) if beta else None
        prompts = [prompt(one) for one in ASKED[400:]]
        trainer = PPOTrainer(
            policy, rollout, judge.reward, prompts, PARAMS, config, score, critic=critic_of(judge)
        )
        found[beta] = trainer.train(), true_scores(policy, EXAM)
    history, scores = found[0.5]
    assert paired(scores, start).interval[0] > 0
    assert max(one["kl"] for one in history) < 6
    history, scores = found[0.0]
    assert history[-1]["score"] > history[0]["score"] + 2  # the proxy rises
    assert paired(scores, start).interval[1] < 0  # and what it stands for falls
    assert history[-1]["kl"] > 10
