"""PPO and GRPO on a small Llama that writes for itself: figures, resuming, stopping, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from minillm.inference import SamplingParams, rollout
from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig
from minillm.training import (
    GRPOConfig,
    GRPOTrainer,
    PPOConfig,
    PPOTrainer,
    Trainer,
    TrainerConfig,
    TrainingDiverged,
    best_of_n,
    critic_of,
    expert_iteration,
)
from tests.training.alignment.test_packing import LLAMA

PARAMS = SamplingParams(max_tokens=5)
PROMPTS = [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]]


def llama(seed=0):
    return Llama(LlamaConfig(**LLAMA, eos_token_id=0), seed=seed)


def low_ids(prompts, answers):
    """The share of ids below 25: what a policy can learn in a few steps."""
    return [np.mean([one < 25 for one in answer]) for answer in answers]


def ppo(**settings):
    usual = {"iterations": 4, "prompts": 8, "minibatch": 4, "epochs": 2, "learning_rate": 3e-3, "beta": 0.05}
    return PPOConfig(**usual | settings)


def grpo(**settings):
    usual = {"iterations": 4, "prompts": 4, "group": 4, "minibatch": 8, "learning_rate": 3e-3}
    return GRPOConfig(**usual | settings)


KINDS = {"ppo": (PPOTrainer, ppo), "grpo": (GRPOTrainer, grpo)}


def make(kind, seed=0, reward=low_ids, write=rollout, validate=None, **settings):
    trainer, config = KINDS[kind]
    return trainer(llama(seed), write, reward, PROMPTS, PARAMS, config(**settings), validate)


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_rises_and_every_iteration_has_its_figures(kind):
    trainer = make(kind, iterations=25, learning_rate=1e-2, prompts=16, minibatch=16)
    history = trainer.train()
    assert (
        np.mean([one["score"] for one in history[-3:]]) > np.mean([one["score"] for one in history[:3]]) + 0.2
    )
    assert [one["iteration"] for one in history] == list(range(1, 26))
    assert history[0]["kl"] == 0  # the policy still is its reference
    assert history[-1]["kl"] > 0.05
    for one in history:
        assert 0 <= one["clip_fraction"] <= 1
        assert 1 <= one["length"] <= 5
        assert 0 < one["entropy"] < np.log(50) + 0.2
    more = {"beta", "value_loss", "explained"} if kind == "ppo" else {"silent"}
    assert more <= set(history[0])
    assert not any(p.requires_grad for p in trainer.reference.parameters())
    fresh = llama().state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in trainer.reference.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path, kind):
    score = lambda model: float(model.head.weight.detach().sum())  # noqa: E731
    target = {"target_kl": 0.01, "horizon": 20} if kind == "ppo" else {}
    whole = make(kind, validate=score, **target)
    whole.train()
    half = make(kind, validate=score, checkpoint_folder=tmp_path, checkpoint_every=2, **target)

    class Stop(Exception):
        pass

    def stops(*arguments):
        if half.iteration == 3:
            raise Stop
        return rollout(*arguments)

    half.rollout = stops
    with pytest.raises(Stop):
        half.train()
    again = make(kind, validate=score, checkpoint_folder=tmp_path, **target)
    history = again.train(resume=True)
    free = ("seconds",)
    assert [{k: v for k, v in one.items() if k not in free} for one in history] == [
        {k: v for k, v in one.items() if k not in free} for one in whole.history
    ]
    for name, tensor in whole.whole.state_dict().items():
        assert torch.equal(tensor, again.whole.state_dict()[name]), name
    with pytest.raises(ValueError, match=r"is of another run: learning_rate 0.003 -> 0.1"):
        make(kind, validate=score, checkpoint_folder=tmp_path, learning_rate=0.1, **target).train(resume=True)
    with pytest.raises(ValueError, match="reference"):
        make(kind, seed=1, validate=score, checkpoint_folder=tmp_path, **target).train(resume=True)


def test_the_best_weights_by_validation_are_kept_and_patience_ends_the_run():
    values = iter([0.5, 0.7, 0.6, 0.6, 0.9])
    seen = []

    def validate(model):
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return next(values)

    trainer = make("grpo", validate=validate, iterations=10, patience=2)
    history = trainer.train()
    assert [one["validation"] for one in history] == [0.7, 0.6, 0.6]
    assert (trainer.best, trainer.best_iteration) == (0.7, 1)
    assert all(torch.equal(tensor, seen[1][name]) for name, tensor in trainer.policy.state_dict().items())


def test_a_policy_that_only_gets_worse_is_given_back_as_it_came():
    falls = iter(range(0, -100, -1))
    trainer = make("ppo", validate=lambda model: next(falls))
    trainer.train()
    assert trainer.best_iteration == 0
    assert all(
        torch.equal(tensor, llama().state_dict()[name])
        for name, tensor in trainer.policy.state_dict().items()
    )


def test_beta_moves_towards_the_target():
    history = make("ppo", iterations=5, target_kl=1e-6, horizon=8, learning_rate=1e-2).train()
    assert history[-1]["beta"] > history[1]["beta"] >= history[0]["beta"] * 0.79
    assert history[0]["beta"] == 0.05


def test_a_critic_of_the_policys_own_body_is_trained_once():
    policy = llama()
    critic = critic_of(policy)
    critic.body = policy.body
    trainer = PPOTrainer(policy, rollout, low_ids, PROMPTS, PARAMS, ppo(iterations=1), critic=critic)
    numbers = [id(p) for group in trainer.optimizer.param_groups for p in group["params"]]
    assert len(numbers) == len(set(numbers)) == len(list(policy.parameters())) + 1
    trainer.train()


def test_a_critic_on_the_policys_own_body_resumes_bit_for_bit(tmp_path):
    def run(folder=None, resume=False, stop=None):
        policy = llama()
        critic = critic_of(policy)
        critic.body = policy.body
        settings = ppo(checkpoint_folder=folder, checkpoint_every=2 if folder else None)
        trainer = PPOTrainer(policy, rollout, low_ids, PROMPTS, PARAMS, settings, critic=critic)
        if stop is not None:
            trainer.reward = lambda *pair: low_ids(*pair) if trainer.iteration < stop else [None]
            with pytest.raises(ValueError, match="reward must give"):
                trainer.train()
        else:
            trainer.train(resume)
        return trainer

    whole, _ = run(), run(tmp_path, stop=3)
    again = run(tmp_path, resume=True)
    assert again.critic.body is again.policy.body
    for name, tensor in whole.whole.state_dict().items():
        assert torch.equal(tensor, again.whole.state_dict()[name]), name


def test_a_run_that_asks_something_else_does_not_go_on(tmp_path):
    make("grpo", iterations=2, checkpoint_folder=tmp_path).train()
    for prompts, params, message in (
        (PROMPTS[:3], PARAMS, "prompts"),
        (PROMPTS, replace(PARAMS, max_tokens=3), "params"),
    ):
        other = GRPOTrainer(
            llama(), rollout, low_ids, prompts, params, grpo(iterations=2, checkpoint_folder=tmp_path)
        )
        with pytest.raises(ValueError, match=f"is of another run: {message} "):
            other.train(resume=True)
        assert other.iteration == 0
    settings = TrainerConfig(
        max_steps=1, batch_size=1, context_length=8, checkpoint_folder=tmp_path / "sft", progress=False
    )
    Trainer(llama(), settings, [[1, 2, 3]] * 2).train()
    with pytest.raises(ValueError, match="is none of PPO or GRPO"):
        make("ppo", checkpoint_folder=tmp_path / "sft").train(resume=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_run_ends_before_the_policy_is_too_far_and_gives_back_what_was_near(kind, tmp_path):
    fast = {"learning_rate": 2e-2, "iterations": 7, "beta": 0.0}
    free = make(kind, **fast)
    far = [one["kl"] for one in free.train()]
    limit = (far[2] + max(far)) / 2
    trainer = make(kind, max_kl=limit, **fast)
    history = trainer.train()
    assert len(history) < 7
    assert history[-1]["next_kl"] > limit
    assert all(one["next_kl"] <= limit for one in history[:-1])
    assert [one["kl"] for one in history[1:]] == [one["next_kl"] for one in history[:-1]]
    assert [one["kl"] for one in history] == far[: len(history)]  # writing ahead changes nothing
    kept = trainer.kept()
    assert kept["iteration"] == len(history) - 1
    assert kept["kl"] == history[-1]["kl"] <= limit
    assert trainer.train() == history  # it is over
    # the same with validation, which would have liked the last policy best, and resumed
    rising = iter(range(100))
    other = make(kind, max_kl=limit, validate=lambda model: next(rising), checkpoint_folder=tmp_path, **fast)
    other.train()
    assert other.kept() == kept
    assert all(torch.equal(a, b) for a, b in zip(other.policy.parameters(), trainer.policy.parameters()))
    again = make(kind, max_kl=limit, validate=lambda model: 0.0, checkpoint_folder=tmp_path, **fast)
    assert again.train(resume=True) == other.history
    assert again.kept() == kept


def test_kept_is_what_the_policy_that_is_left_writes():
    values = iter([0.1, 0.2, 0.9, 0.3, 0.4])
    trainer = make("grpo", validate=lambda model: next(values))
    history = trainer.train()
    assert trainer.best_iteration == 2
    assert trainer.kept() == {"iteration": 2} | {
        k: history[2][k] for k in ("score", "kl", "entropy", "length")
    }
    last = make("grpo")  # no validation: the last weights are left, which have written nothing yet
    last.train()
    longer = make("grpo", iterations=5)
    assert last.kept()["kl"] == longer.train()[4]["kl"] != last.history[-1]["kl"]


def test_a_reference_of_ones_own_and_validation_read_without_dropout():
    drops = {
        "resid_pdrop": 0.5,
        "embd_pdrop": 0.5,
        "attn_pdrop": 0.5,
        "n_positions": 32,
        "n_embd": 16,
        "n_layer": 1,
    }
    policy, reference = (
        GPT2(GPT2Config(vocab_size=50, n_head=2, eos_token_id=0, **drops), seed=0) for _ in range(2)
    )
    modes = []
    trainer = GRPOTrainer(policy, rollout, low_ids, PROMPTS, PARAMS, grpo(iterations=1), reference=reference,
                          validate=lambda model: modes.append(model.training) or 0.0)  # fmt: skip
    assert trainer.train()[0]["kl"] == 0
    assert modes == [False, False]
    assert policy.training
    assert reference.training


@pytest.mark.parametrize("kind", KINDS)
def test_equal_rewards_one_row_and_answers_of_one_token_give_finite_steps(kind):
    alike = lambda prompts, answers: [0.1] * len(answers)  # noqa: E731
    for reward, params, settings in (
        (alike, PARAMS, {}),
        (low_ids, SamplingParams(max_tokens=1), {"prompts": 1, "minibatch": 1}),
    ):
        trainer, usual = KINDS[kind]
        settings = usual(iterations=2, beta=0.0, **settings)
        made = trainer(llama(), rollout, reward, PROMPTS, params, settings)
        history = made.train()
        assert all(np.isfinite([one[k] for k in ("policy_loss", "kl", "score")]).all() for one in history)
        if kind == "grpo" and reward is alike:
            assert [one["silent"] for one in history] == [1, 1]
            fresh = llama().state_dict()
            for name, tensor in made.policy.state_dict().items():
                torch.testing.assert_close(tensor, fresh[name], rtol=0, atol=1e-5)


def test_best_of_n_and_expert_iteration():
    policy = llama()
    found = best_of_n(policy, rollout, low_ids, PROMPTS, PARAMS, 8)
    assert [low_ids([p], [a])[0] for p, a in zip(PROMPTS, found.answers)] == found.scores.max(axis=1).tolist()
    settings = TrainerConfig(
        max_steps=15, batch_size=4, context_length=16, learning_rate=1e-2, progress=False
    )
    params = replace(PARAMS, seed=0)
    history = expert_iteration(policy, rollout, low_ids, PROMPTS * 4, params, settings, n=6, rounds=3)
    assert history[-1]["score"] > history[0]["score"] + 0.2
    assert all(one["best"] >= one["score"] for one in history)


def test_what_cannot_be_learned_from_is_refused():
    nan = lambda prompts, answers: [0.0] * (len(answers) - 1) + [float("nan")]  # noqa: E731
    with pytest.raises(ValueError, match=r"reward gave nan to answer 7: \["):
        make("ppo", reward=nan).train()
    with pytest.raises(ValueError, match="reward must give 16 numbers"):
        make("grpo", reward=lambda prompts, answers: [1.0]).train()
    with pytest.raises(ValueError, match="rollout must give 8 answers"):
        make("ppo", write=lambda model, prompts, params: [[1]]).train()
    with pytest.raises(ValueError, match="empty answer, number 0"):
        make("ppo", write=lambda model, prompts, params: [[] for _ in prompts]).train()
    with pytest.raises(ValueError, match="validate must give a number, got nan"):
        make("ppo", validate=lambda model: float("nan")).train()
    with pytest.raises(TrainingDiverged, match="training stopped in iteration"):
        make("ppo", learning_rate=1e30, epochs=3).train()
    for call, message in (
        (lambda: ppo(iterations=0), "iterations must be at least 1"),
        (lambda: ppo(clip=0), "clip must be between"),
        (lambda: ppo(target_kl=1.0, beta=0.0), "target_kl needs a target and a beta above 0"),
        (lambda: ppo(checkpoint_every=2), "checkpoint_every needs a checkpoint_folder"),
        (lambda: ppo(schedule="up"), "schedule must be one of"),
        (lambda: ppo(max_kl=0), "max_kl must be above 0"),
        (
            lambda: GRPOTrainer(llama(), rollout, low_ids, [[1], [1] * 60], PARAMS, grpo()),
            "prompt 1 has 60 ids and an answer up to 5: the policy's window is 64",
        ),
        (
            lambda: GRPOTrainer(llama(), rollout, low_ids, [[1], [50]], PARAMS, grpo()),
            "every id of prompt 1 must be between 0 and 49",
        ),
        (
            lambda: make("ppo", reward=lambda prompts, answers: [1e30] * len(answers)).train(),
            r"reward gave 1e\+30 to answer 0: .* a score is a number between",
        ),
        (lambda: grpo(group=1), "group must be at least 2"),
        (lambda: grpo(loss_type="ppo"), "loss_type must be one of"),
        (
            lambda: PPOTrainer(llama(), rollout, low_ids, PROMPTS, PARAMS, grpo()),
            "config must be a PPOConfig",
        ),
        (
            lambda: GRPOTrainer(llama(), rollout, low_ids, PROMPTS, PARAMS, ppo()),
            "config must be a GRPOConfig",
        ),
        (
            lambda: GRPOTrainer(llama(), rollout, low_ids, [], PARAMS, grpo()),
            "prompts must be a non-empty list",
        ),
        (lambda: GRPOTrainer(llama(), rollout, low_ids, [[]], PARAMS, grpo()), "every prompt must hold"),
        (lambda: GRPOTrainer(llama(), None, low_ids, PROMPTS, PARAMS, grpo()), "rollout must be a function"),
        (lambda: GRPOTrainer(llama(), rollout, low_ids, PROMPTS, {}, grpo()), "params must be a dataclass"),
        (lambda: GRPOTrainer(None, rollout, low_ids, PROMPTS, PARAMS, grpo()), "policy must be a model"),
        (
            lambda: PPOTrainer(llama(), rollout, low_ids, PROMPTS, PARAMS, ppo(), critic=llama()),
            "critic must have",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
