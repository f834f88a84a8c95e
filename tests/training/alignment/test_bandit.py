"""Where each method ends up on a bandit, against the policy that can be written down."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from minillm.training import (
    BanditPolicy,
    GRPOConfig,
    GRPOTrainer,
    PPOConfig,
    PPOTrainer,
    best_of_n,
    best_of_n_kl,
    best_of_n_probabilities,
    gae,
    k3_policy,
    optimal_policy,
    ppo_loss,
    token_rewards,
)
from minillm.training.alignment.preference_losses import dpo_losses

REFERENCE = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
REWARDS = np.array([0.0, 1.0, -0.5, 2.0, 1.5])


@dataclass(frozen=True)
class Params:
    max_tokens: int = 1
    seed: int = 0


def draw(policy, prompts, params):
    """Answers of one token."""
    generator = torch.Generator().manual_seed(params.seed)
    drawn = torch.multinomial(policy.scores.detach().softmax(dim=0), len(prompts), True, generator=generator)
    return [[one] for one in drawn.tolist()]


def reward(prompts, answers):
    return [float(REWARDS[answer[0]]) for answer in answers]


def distance(policy, probabilities):
    """Total variation."""
    return np.abs(policy.probabilities() - probabilities).sum() / 2


class Constant(nn.Module):
    """A critic that expects one number everywhere."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def values(self, input_ids, attention_mask=None):
        return self.value.expand(input_ids.shape)


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_the_closed_forms_are_the_best_there_is(beta):
    rng = np.random.default_rng(0)
    kl = lambda p, q: (p * np.log(p / q)).sum()  # noqa: E731
    for policy, price in (
        (optimal_policy, lambda p: kl(p, REFERENCE)),
        (k3_policy, lambda p: kl(REFERENCE, p)),
    ):
        best = policy(REFERENCE, REWARDS, beta)
        assert best.sum() == pytest.approx(1)
        value = best @ REWARDS - beta * price(best)
        for size in (1e-3, 0.1, 1.0):
            others = best * np.exp(size * rng.standard_normal((50, 5)))
            others /= others.sum(axis=1, keepdims=True)
            assert max(other @ REWARDS - beta * price(other) for other in others) <= value + 1e-12


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_the_exact_gradient_of_ppo_reaches_the_optimum(beta):
    """All answers at once, each weighed by its probability: what PPO's loss is on average."""
    policy, arms = BanditPolicy(REFERENCE), torch.arange(5)
    reference, scores = torch.from_numpy(np.log(REFERENCE))[:, None], torch.from_numpy(REWARDS)
    for _ in range(40):
        logprobs = policy.scores.log_softmax(dim=0)[arms, None]  # (A, 1)
        old = logprobs.detach()
        weights = old.exp()
        rewards = token_rewards(scores, old, reference, torch.ones_like(old), beta)
        advantages, _ = gae(rewards, (rewards * weights).sum().expand_as(rewards), torch.ones_like(old))
        loss = ppo_loss(logprobs, old, advantages, weights)
        (gradient,) = torch.autograd.grad(loss, policy.scores)
        with (
            torch.no_grad()
        ):  # by probability: the natural gradient of a softmax, which halves the distance each time
            policy.scores -= 0.5 / beta * gradient / weights[:, 0]
    assert distance(policy, optimal_policy(REFERENCE, REWARDS, beta)) < 1e-9


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_dpo_reaches_the_optimum(beta):
    """All pairs, each labelled as often right as Bradley and Terry say."""
    policy = BanditPolicy(REFERENCE)
    first, second = torch.triu_indices(5, 5, offset=1)
    rewards, reference = torch.from_numpy(REWARDS), torch.from_numpy(np.log(REFERENCE))
    wrong = torch.sigmoid(rewards[second] - rewards[first])  # the share of labels that name the second
    optimizer = torch.optim.LBFGS(policy.parameters(), max_iter=200, tolerance_grad=1e-14, tolerance_change=1e-16,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def loss():
        optimizer.zero_grad()
        ratio = policy.scores.log_softmax(dim=0) - reference
        value = dpo_losses(ratio[first] - ratio[second], beta, wrong).mean()
        value.backward()
        return value

    for _ in range(3):
        optimizer.step(loss)
    assert distance(policy, optimal_policy(REFERENCE, REWARDS, beta)) < 1e-6


def test_the_trainer_reaches_the_optimum_by_samples():
    beta, policy = 0.7, BanditPolicy(REFERENCE)
    config = PPOConfig(
        iterations=80, prompts=256, minibatch=256, learning_rate=0.1, schedule="linear", beta=beta, whiten=False,
        max_grad_norm=10.0,
    )  # fmt: skip
    history = PPOTrainer(policy, draw, reward, [[0]], Params(), config, critic=Constant()).train()
    best = optimal_policy(REFERENCE, REWARDS, beta)
    assert distance(policy, best) < 0.03 < np.abs(REFERENCE - best).sum() / 2
    assert history[-1]["kl"] == pytest.approx((best * np.log(best / REFERENCE)).sum(), abs=0.1)
    assert history[-1]["score"] == pytest.approx(best @ REWARDS, abs=0.15)
    assert history[-1]["entropy"] == pytest.approx(-(best * np.log(best)).sum(), abs=0.1)


def test_grpo_reaches_another_one():
    """Its k3 has the gradient of KL(reference || policy), and a group's own mean takes 1/G of each advantage."""
    beta, group, policy = 0.7, 8, BanditPolicy(REFERENCE)
    config = GRPOConfig(
        iterations=80, prompts=32, minibatch=256, group=group, learning_rate=0.1, schedule="linear", beta=beta,
        loss_type="dr_grpo", max_grad_norm=10.0,
    )  # fmt: skip
    GRPOTrainer(policy, draw, reward, [[0]], Params(), config).train()
    where = k3_policy(REFERENCE, REWARDS, beta * group / (group - 1))
    assert distance(policy, where) < 0.03
    assert distance(policy, optimal_policy(REFERENCE, REWARDS, beta)) > 0.08


@pytest.mark.parametrize("n", [1, 4, 16, 64])
def test_best_of_n_costs_what_its_formula_says(n):
    """Of many answers without ties; with few, the formula is an upper bound."""
    many = np.full(20_000, 1 / 20_000)
    found = best_of_n_probabilities(many, np.arange(20_000), n)
    assert found.sum() == pytest.approx(1)
    kl = (found[found > 0] * np.log(found[found > 0] * 20_000)).sum()
    assert kl == pytest.approx(best_of_n_kl(n), abs=0.0035)
    few = best_of_n_probabilities(REFERENCE, REWARDS, n)
    assert (few[few > 0] * np.log(few[few > 0] / REFERENCE[few > 0])).sum() <= best_of_n_kl(n) + 1e-12


def test_the_best_of_n_are_drawn_as_often_as_that():
    tied = np.array([0.0, 1.0, 1.0, 2.0, 0.0])
    score = lambda _, answers: [tied[one[0]] for one in answers]  # noqa: E731
    found = best_of_n(BanditPolicy(REFERENCE), draw, score, [[0]] * 4000, Params(seed=3), 3)
    assert found.scores.shape == (4000, 3)
    shares = np.bincount([one[0] for one in found.answers], minlength=5) / 4000
    np.testing.assert_allclose(shares, best_of_n_probabilities(REFERENCE, tied, 3), atol=0.03)


def test_an_answer_that_the_reference_never_gives_has_no_say():
    for policy in (optimal_policy, k3_policy):
        found = policy([0.5, 0.5, 0.0], [0.0, 1.0, 1000.0], 0.1)
        np.testing.assert_allclose(found, [*policy([0.5, 0.5], [0.0, 1.0], 0.1), 0.0], rtol=1e-12)


def test_the_closed_forms_hold_for_any_size_of_reward():
    p, r = np.array([0.3, 0.5, 0.2]), np.array([0.0, 1.0, 0.5])
    for policy in (optimal_policy, k3_policy):
        for size in (1e-250, 1e-9, 1e9, 1e200):  # only r / beta counts
            np.testing.assert_allclose(policy(p, r * size, 0.2 * size), policy(p, r, 0.2), rtol=1e-9)
    found = k3_policy([0.5, 0.5], [1e17, 0.0], 0.1)
    np.testing.assert_allclose(found, [1.0, 0.1 * 0.5 / 1e17], rtol=1e-9)
    tensor = torch.tensor([0.5, 0.5], requires_grad=True)
    np.testing.assert_allclose(best_of_n_probabilities(tensor, torch.tensor([1.0, 2.0]), 2), [0.25, 0.75])


def test_what_is_no_bandit_is_refused():
    for call in (
        lambda: optimal_policy([0.5, 0.4], [1, 2], 1),
        lambda: k3_policy([0.5, 0.5], [1], 1),
        lambda: best_of_n_probabilities([0.5, 0.4], [1, 2], 2),
    ):
        with pytest.raises(ValueError, match=r"sum to 1"):
            call()
    for call, message in (
        (
            lambda: best_of_n_probabilities([0.5, 0.5], [float("nan"), 1], 2),
            "a reward must be a finite number",
        ),
        (lambda: best_of_n_probabilities(["a"], [1], 2), "a probability must be a finite number"),
        (lambda: best_of_n_probabilities([1 + 0j], [1], 2), "a probability must be a finite number"),
        (lambda: optimal_policy(None, [1], 1), "expected a list of numbers"),
        (lambda: optimal_policy([[0.5, 0.5]], [[1, 2]], 1), "expected a list of numbers"),
        (lambda: BanditPolicy(1.0), "expected a list of numbers"),
        (lambda: best_of_n(None, draw, reward, [1, 2], Params(), 2), "prompts must be a list of lists"),
        (lambda: best_of_n(None, draw, reward, None, Params(), 2), "prompts must be a list of lists"),
        (lambda: best_of_n(None, None, reward, [[0]], Params(), 2), "rollout must be a function"),
        (lambda: best_of_n(None, draw, None, [[0]], Params(), 2), "reward must be a function"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="beta must be above 0"):
        optimal_policy([0.5, 0.5], [1, 2], 0)
    with pytest.raises(ValueError, match="the reference has a 0"):
        BanditPolicy([1.0, 0.0])
    with pytest.raises(ValueError, match="n must be at least 1"):
        best_of_n_kl(0)
