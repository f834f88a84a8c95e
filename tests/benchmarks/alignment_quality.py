"""What each method of chapter 4 makes of one SFT model: proxy, the true score behind it, how far it went, its price.

    python -m tests.benchmarks.alignment_quality [METHOD ...] --kept FOLDER [--seeds 0 1 2] [--list] [--write]

METHODs are names of the table below (all by default). Every run is recorded in FOLDER (JSON lines) and skipped when it
stands there already: stop it, and start it again. A seed is one of everything: the base, SFT and reward models of
course.sft_model and reward_model of that seed, and what learns from them. All are examined on the same 600
instructions of the part "test", whose functions are in no training data, with four answers each drawn at temperature 1;
differences from the SFT model are of the same instructions, 95 % by bootstrap over them. Seconds are of the CPU, one
thread, without the making of the three models and of DPO's pairs, and without validation. --write puts the tables into
BENCHMARKS.md.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from minillm.course import program_model, reward_model, sft_model
from minillm.course.small.program_scores import PARAMS, chat_prompts, comment_prompts, program_scores
from minillm.course.small.programs import ProgramRecipe, judged_pairs, proxy_reward, training_settings
from minillm.data import small_tasks
from minillm.evaluation import paired
from minillm.inference import rollout
from minillm.training import (
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    PPOConfig,
    PPOTrainer,
    TrainerConfig,
    best_of_n_kl,
    critic_of,
    expert_iteration,
)
from minillm.training.alignment.written import read_answers
from tests.benchmarks import record
from tests.benchmarks.kept_runs import KeptRuns

N, EACH, MOST = 600, 4, 16  # instructions of the exam, answers to each, of which best-of-n takes the best
SFT = "SFT model, one answer"
RIGHT = 2.0  # what a right program is worth beside its style, in deviations of the proxy
HEAD = ["method", "proxy", "true score", "change of true, 95 %", "pass@1", "readable", "KL, nats", "CPU s"]
Answers = list[list[int]]


class World:
    """The models of one seed, and what they are examined on."""

    def __init__(self, seed: int) -> None:
        self.seed, self.sft, self.judge = seed, sft_model(seed=seed), reward_model(seed=seed)
        self.tokenizer, self.recipe = self.sft.tokenizer, ProgramRecipe(seed=seed)
        self.proxy = proxy_reward(self.judge)
        self.exam = small_tasks(N, "test", seed=100)
        self.validation = small_tasks(150, "validation", seed=100)
        self.taught = small_tasks(1000, "train", seed=seed + 3)
        self.prompts = chat_prompts(self.tokenizer, self.taught)
        self.task_of = {tuple(ids): task for ids, task in zip(self.prompts, self.taught)}
        self.seconds_apart = 0.0

    def policy(self) -> nn.Module:
        """A copy of the SFT model, to be trained."""
        return copy.deepcopy(self.sft.model)

    def right(self, prompts: Answers, answers: Answers) -> Any:
        """What running and measuring says of answers to the instructions that are learned from."""
        return program_scores(self.tokenizer, [self.task_of[tuple(ids)] for ids in prompts], answers)

    def settings(self, steps: int, rate: float, rows: int = 32) -> TrainerConfig:
        """Of the methods that the Trainer carries out."""
        return training_settings(self.recipe, steps, rows, rate)

    def validate(self, policy: nn.Module) -> float:
        """The true score on the validation part."""
        with self.apart():
            prompts = chat_prompts(self.tokenizer, self.validation)
            answers = rollout(policy, prompts, replace(PARAMS, seed=5))
            return float(program_scores(self.tokenizer, self.validation, answers).true.mean())

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Seconds that are not a method's own."""
        start = time.process_time()
        yield
        self.seconds_apart += time.process_time() - start

    def examine(self, policy: nn.Module, each: int = EACH, comments: bool = False) -> dict[str, Any]:
        """Scores (N, each) of answers to the exam, and the KL divergence from the SFT model, nats an answer."""
        asked = [task for task in self.exam for _ in range(each)]
        prompts = (comment_prompts if comments else chat_prompts)(self.tokenizer, asked)
        answers = rollout(policy, prompts, replace(PARAMS, seed=1000 + self.seed))
        scores = program_scores(self.tokenizer, asked, answers)._asdict()
        scores["proxy"] = self.proxy(prompts, answers)
        kl = [
            read_answers(policy.eval(), self.sft.model, prompts[i : i + N], answers[i : i + N], [0.0] * N).kl
            for i in range(0, len(answers), N)
        ]
        found: dict[str, Any] = {
            name: np.round(values.reshape(-1, each), 4).tolist() for name, values in scores.items()
        }
        return found | {"kl": float(np.mean(kl))}


# --- the methods: each trains a copy of the SFT model and says what is worth keeping ---


def ppo(world: World, policy: nn.Module, beta: float = 0.5, right: float = 0.0) -> dict[str, Any]:
    """PPO on the proxy, on the policy of the best true score in validation; right: the weight of a right program."""
    config = PPOConfig(
        iterations=16, prompts=64, epochs=2, minibatch=32, learning_rate=4e-4, beta=beta, validate_every=4,
        seed=world.seed,
    )  # fmt: skip

    def reward(prompts: Answers, answers: Answers) -> np.ndarray:
        both = world.proxy(prompts, answers)
        return both + right * world.right(prompts, answers).passed if right else both

    critic = critic_of(world.judge.model)
    history = PPOTrainer(
        policy, rollout, reward, world.prompts, PARAMS, config, world.validate, critic=critic
    ).train()
    return {"curve": [[one["score"], one["kl"], one["validation"]] for one in history]}


def ppo_hacks(world: World, policy: nn.Module) -> dict[str, Any]:
    """PPO without a price for leaving the reference, to the end: nothing is chosen by validation."""
    config = PPOConfig(
        iterations=30, prompts=64, epochs=2, minibatch=32, learning_rate=1e-3, beta=0.0, validate_every=5,
        seed=world.seed,
    )  # fmt: skip
    followed: list[float] = []

    def follow(policy: nn.Module) -> float:
        followed.append(world.validate(policy))
        return len(followed)  # the last is kept

    critic = critic_of(world.judge.model)
    history = PPOTrainer(
        policy, rollout, world.proxy, world.prompts, PARAMS, config, follow, critic=critic
    ).train()
    return {"curve": [[one["score"], one["kl"]] for one in history], "followed": followed}


def grpo(world: World, policy: nn.Module, on_true: bool = False) -> dict[str, Any]:
    """GRPO on the proxy, or on the true score itself."""
    config = GRPOConfig(
        iterations=20, prompts=8, group=8, epochs=2, minibatch=32, learning_rate=4e-4, beta=0.05 if on_true else 0.15,
        validate_every=4, seed=world.seed,
    )  # fmt: skip

    def true(prompts: Answers, answers: Answers) -> np.ndarray:
        return world.right(prompts, answers).true

    reward = true if on_true else world.proxy
    history = GRPOTrainer(policy, rollout, reward, world.prompts, PARAMS, config, world.validate).train()
    return {"curve": [[one["score"], one["kl"], one["validation"]] for one in history]}


def dpo(world: World, policy: nn.Module) -> dict[str, Any]:
    """DPO on the pairs that the reward model learned from, once through."""
    with world.apart():
        _, pairs = judged_pairs(world.sft, world.recipe.pairs, "train", world.seed)
    best = [world.validate(policy), copy.deepcopy(policy.state_dict())]
    followed = [best[0]]

    def follow(one: dict[str, Any]) -> None:
        if one["step"] % 14 == 0:
            followed.append(world.validate(policy))
            if followed[-1] > best[0]:
                best[:] = followed[-1], copy.deepcopy(policy.state_dict())

    settings = replace(world.settings(56, 3e-4, 16), log_every=14)
    history = DPOTrainer(policy, settings, pairs, beta=0.3, on_step=follow).train()
    policy.load_state_dict(best[1])
    return {"curve": [one["train_loss"] for one in history], "followed": followed}


def experts(world: World, policy: nn.Module) -> dict[str, Any]:
    """Expert iteration: twice the best of 8 by the proxy, learned as if they were examples."""
    config = world.settings(25, 1e-3)
    return {
        "curve": expert_iteration(
            policy, rollout, world.proxy, world.prompts[:250], PARAMS, config, n=8, rounds=2
        )
    }


METHODS: dict[str, Callable[[World, nn.Module], dict[str, Any]] | None] = {
    "base model, asked in chat form": None,
    "base model, asked by a comment": None,
    SFT: None,  # with the best of 4 and of 16
    "expert iteration, best of 8, twice": experts,
    "PPO, beta 0.5, stopped by validation": ppo,
    "PPO, beta 0, to the end": ppo_hacks,
    "DPO, beta 0.3, stopped by validation": dpo,
    "GRPO, beta 0.15, stopped by validation": grpo,
    "PPO, beta 0.5, style and a right program": lambda world, policy: ppo(world, policy, right=RIGHT),
    "GRPO on the true score, beta 0.05, stopped by validation": lambda world, policy: grpo(
        world, policy, True
    ),
}


def measure(name: str, world: World) -> dict[str, Any]:
    """One method of one seed: trained and examined."""
    method = METHODS[name]
    policy, kept = world.policy(), {}
    start, world.seconds_apart = time.process_time(), 0.0
    if method is not None:
        kept = method(world, policy)
    seconds = time.process_time() - start - world.seconds_apart
    if name.startswith("base"):
        policy = program_model(seed=world.seed).model
    comments = name.endswith("comment")
    found = world.examine(policy, MOST if name == SFT else EACH, comments)
    return {"method": name, "seed": world.seed, "seconds": seconds, **kept, **found}


# --- the table ---


def best_rows(one: dict[str, Any]) -> dict[int, dict[str, np.ndarray]]:
    """{n: scores (N,)} of the best of n by the proxy, the mean over the groups of n that 16 answers make."""
    proxy = np.array(one["proxy"])
    found = {}
    for n in (1, 4, 16):
        groups = proxy.reshape(len(proxy), -1, n)
        places = groups.argmax(axis=2)[..., None]
        found[n] = {
            name: np.take_along_axis(np.array(one[name]).reshape(groups.shape), places, 2).mean(axis=(1, 2))
            for name in ("proxy", "true", "passed", "readable")
        }
    return found


def lines_of(done: dict[tuple[str, int], dict[str, Any]]) -> list[list[str]]:
    """The table's lines, one a method, with the seeds one below the other."""
    cells: dict[str, list[list[str]]] = {}
    for (name, seed), one in sorted(done.items(), key=lambda item: item[0][1]):
        start = done.get((SFT, seed))
        versions = {name: ({k: np.array(one[k]).mean(axis=1) for k in ("proxy", "true", "passed", "readable")},
                           "" if name.startswith("base") else f"{one['kl']:.2f}", f"{one['seconds']:.0f}")}  # fmt: skip
        if name == SFT:
            best = best_rows(one)
            versions = {(SFT if n == 1 else f"best of {n} by the proxy"): (best[n], f"{best_of_n_kl(n):.2f}", "0")
                        for n in best}  # fmt: skip
        for label, (scores, kl, seconds) in versions.items():
            change = ""
            if start is not None and label != SFT:
                result = paired(scores["true"], np.array(start["true"]).mean(axis=1))
                change = f"{result.difference:+.3f} [{result.interval[0]:+.3f}, {result.interval[1]:+.3f}]"
            means = {k: f"{values.mean():.3f}" for k, values in scores.items()}
            cells.setdefault(label, []).append(
                [means["proxy"], means["true"], change, means["passed"], means["readable"], kl, seconds]
            )
    return [[label, *map("<br>".join, zip(*rows))] for label, rows in cells.items()]


def order() -> list[str]:
    """The labels of the table, in its order."""
    names = list(METHODS)
    place = names.index(SFT) + 1
    return [*names[:place], *(f"best of {n} by the proxy" for n in (4, 16)), *names[place:]]


def judges(seeds: list[int]) -> list[list[str]]:
    """What the reward models are worth on pairs they have not seen."""
    found = []
    for seed in seeds:
        one = reward_model(seed=seed).facts["exam"]
        low, high = one["interval"]
        found.append([f"seed {seed}", f"{one['accuracy']:.3f} [{low:.3f}, {high:.3f}]", f"{one['ceiling']:.3f}",
                      f"{one['calibration_error']:.3f}", str(one["pairs"])])  # fmt: skip
    return found


def main() -> None:
    """Measure what is not recorded yet, and print the table of all that is."""
    runs = KeptRuns(__doc__.splitlines()[0], METHODS, "runs.jsonl")
    given = runs.given
    for seed in [] if given.list else given.seeds:
        left = [name for name in given.methods or METHODS if (name, seed) not in runs.done]
        world = World(seed) if left else None
        for name in left:
            row = measure(name, world)
            runs.add(row)
            print(f"seed {seed}, {name}: true {np.mean(row['true']):.3f}, {row['seconds']:.0f} s", flush=True)
    done = runs.asked()
    rows = sorted(lines_of(done), key=lambda row: order().index(row[0]))
    print(record.markdown(HEAD, rows))
    seeds = sorted({seed for _, seed in done})
    heads = ["reward model", "accuracy, 95 %", "label ceiling", "calibration error", "pairs"]
    print(record.markdown(heads, judges(seeds)))
    if given.write:
        record.put_rows("alignment", HEAD, rows, order())
        record.put_rows("reward_models", heads, judges(seeds), [])


if __name__ == "__main__":
    main()
