"""Rejection sampling: write n answers, keep the best. No gradient, and hard to beat.

    KL(best of n || one of n) = log n - (n - 1) / n          for a reward without ties; an upper bound with them
    expert iteration: keep the best of n to each prompt, learn them as if they were examples, begin anew

n = 4 costs .64 nats, n = 16 costs 1.84: as far from the reference as a policy trained by PPO, at n times its price for
every answer. Expert iteration pays that price once.

Book: 4.3.1 기각 샘플링. Papers: Stiennon et al. 2020, Hilton and Gao 2022 (the KL), Beirami et al. 2024 (that it is a
bound), Touvron et al. 2023 (rejection sampling), Anthony et al. 2017 (expert iteration).
Held against: exact sums over a finite number of answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from minillm._checks import check_int, describe, is_listing
from minillm.training.alignment.bandit import check_rewards
from minillm.training.alignment.packing import SFTObjective
from minillm.training.alignment.pairs import answer_example
from minillm.training.alignment.written import Ids, Reward, Rollout, check_answers, check_scores
from minillm.training.config import TrainerConfig
from minillm.training.trainer import Trainer


class Best(NamedTuple):
    """answers: the best to each of N prompts. scores: of all, (N, n). best: where the best one is, (N,)."""

    answers: list[list[int]]
    scores: np.ndarray
    best: np.ndarray


def best_of_n_kl(n: int) -> float:
    """log n - (n - 1) / n, in nats."""
    return math.log(check_int("n", n, 1)) - (n - 1) / n


def best_of_n_probabilities(probabilities: Sequence[float], rewards: Sequence[float], n: int) -> np.ndarray:
    """The chance of each answer to be the best of n that are drawn independently: (A,) float64, exactly.

    With F(i) the chance to draw an answer that is no better than i: P(i) = F(i)^n - F(the next worse)^n. Answers of
    equal reward share by their probabilities.
    """
    check_int("n", n, 1)
    probabilities, rewards = check_rewards(probabilities, rewards)
    p, r = np.asarray(probabilities), np.asarray(rewards)
    levels, level = np.unique(r, return_inverse=True)
    weight = np.bincount(level, weights=p, minlength=len(levels))  # of each different reward
    above = np.minimum(np.cumsum(weight), 1.0)
    chance = above**n - (above - weight).clip(min=0) ** n
    return np.divide(p * chance[level], weight[level], out=np.zeros_like(p), where=p > 0)


def best_of_n(
    policy: nn.Module, rollout: Rollout, reward: Reward, prompts: Sequence[Ids], params: Any, n: int
) -> Best:
    """n answers to each prompt, of which the one of highest reward is kept, the first of equals.

    rollout, reward, params: as OnPolicyTrainer's; `rollout` is called once, with every prompt n times in a row.
    """
    n = check_int("n", n, 1)
    for name, function in (("rollout", rollout), ("reward", reward)):
        if not callable(function):
            raise ValueError(f"{name} must be a function, got {describe(function)}")
    if not is_listing(prompts) or not all(map(is_listing, prompts)):
        raise ValueError(f"prompts must be a list of lists of ids, got {describe(prompts)}")
    asked = [list(prompt) for prompt in prompts for _ in range(n)]
    if not asked:
        raise ValueError(f"prompts must hold at least one prompt, got {describe(prompts)}")
    answers = check_answers(asked, rollout(policy, asked, params))
    scores = np.array(check_scores(reward(asked, answers), asked, answers)).reshape(-1, n)
    best = scores.argmax(axis=1)
    return Best([answers[i * n + int(place)] for i, place in enumerate(best)], scores, best)


def expert_iteration(
    policy: nn.Module,
    rollout: Rollout,
    reward: Reward,
    prompts: Sequence[Ids],
    params: Any,
    config: TrainerConfig,
    n: int = 8,
    rounds: int = 1,
) -> list[dict[str, float]]:
    """Train `policy` in place on the best of its own n answers, `rounds` times; a dict for each round.

    Keys: round, score (mean of all n), best (mean of the kept ones), train_loss (of the round's last record). config:
    of each round's training; params.seed and config.seed move on by one a round.
    """
    check_int("rounds", rounds, 1)
    if not isinstance(config, TrainerConfig):
        raise ValueError(f"config must be a TrainerConfig, got {describe(config)}")
    return [
        {"round": number + 1}
        | learn_the_best(
            policy, rollout, reward, prompts, replace(params, seed=(params.seed or 0) + number),
            replace(config, seed=config.seed + number), n,
        )
        for number in range(rounds)
    ]  # fmt: skip


def learn_the_best(
    policy: nn.Module,
    rollout: Rollout,
    reward: Reward,
    prompts: Sequence[Ids],
    params: Any,
    config: Any,
    n: int,
) -> dict[str, float]:
    """A round of expert iteration: write n answers to each prompt, keep the best, learn them as examples."""
    found = best_of_n(policy, rollout, reward, prompts, params, n)
    examples = [answer_example(prompt, answer) for prompt, answer in zip(prompts, found.answers)]
    records = Trainer(policy, config, examples, objective=SFTObjective()).train()
    means = {"score": float(found.scores.mean()), "best": float(found.scores.max(axis=1).mean())}
    return means | {"train_loss": records[-1]["train_loss"]}
