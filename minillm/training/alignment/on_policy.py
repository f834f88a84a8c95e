"""What PPO and GRPO share: the policy writes, the answers are scored, it learns from them, and writes anew.

    answers = rollout(policy, prompts, params)         handed in: training stands below inference
    scores  = reward(prompts, answers)                 a reward model, a test that is run, any function
    policy  <- a few steps of AdamW on those answers
    validate(policy) now and then: the best policy is kept, and a run that no longer gains ends; so does one that has
                                   gone further than max_kl from the reference

Everything random of iteration i (prompts, answers, order) is drawn from (seed, i); with weights, averages and history
in a checkpoint, a run that was stopped goes on as if it had not been.

Book: 4.2.3 PPO: 보상 해킹 피하기. Papers: Stiennon et al. 2020, Ouyang et al. 2022.
Held against: closed forms on a bandit.
Leaves out: several processes, answers that are written while others are learned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minillm._checks import check_function, describe
from minillm.nn.modes import Evaluating
from minillm.training.adamw import AdamW
from minillm.training.alignment.on_policy_config import OnPolicyConfig
from minillm.training.alignment.written import (
    Ids,
    Reward,
    Rollout,
    Written,
    asked_of,
    check_answers,
    check_prompts,
    check_scores,
    frozen_copy,
    read_answers,
    step_means,
)
from minillm.training.checkpoint import (
    checkpoint_meta,
    latest_checkpoint,
    load_checkpoint,
    remove_old,
    save_checkpoint,
    whole_digest,
)
from minillm.training.clipping import clip_gradients
from minillm.training.feed import epoch_order
from minillm.training.schedule import schedule


class OnPolicyTrainer:
    """The loop. A subclass says how answers are weighed (`prepare`) and what a step makes small (`loss`).

    policy: the language model, trained in place; it runs without dropout. reference: what it is held near; None takes a
    frozen copy of the policy as it is now. rollout, reward, params: see above; params is a dataclass with a `seed`,
    such as SamplingParams, and gets another seed for every iteration. prompts: lists of ids. validate: function of the
    policy, higher is better; after `train` the policy has the weights of its best value, those of the start included.
    """

    config_class: type[OnPolicyConfig] = OnPolicyConfig

    def __init__(
        self,
        policy: nn.Module,
        rollout: Rollout,
        reward: Reward,
        prompts: Sequence[Ids],
        params: Any,
        config: OnPolicyConfig,
        validate: Callable[[nn.Module], float] | None = None,
        reference: nn.Module | None = None,
    ) -> None:
        if not isinstance(config, self.config_class):
            raise ValueError(f"config must be a {self.config_class.__name__}, got {describe(config)}")
        self.config = config
        if not isinstance(policy, nn.Module) or not any(True for _ in policy.parameters()):
            raise ValueError(f"policy must be a model with weights, got {describe(policy)}")
        for name, function in (("rollout", rollout), ("reward", reward)):
            if not callable(function):
                raise ValueError(f"{name} must be a function, got {describe(function)}")
        if not is_dataclass(params) or isinstance(params, type) or not hasattr(params, "seed"):
            raise ValueError(
                f"params must be a dataclass with a seed, like SamplingParams, got {describe(params)}"
            )
        self.prompts = check_prompts(policy, prompts, params)
        self.policy, self.rollout, self.reward, self.params = policy, rollout, reward, params
        self.validate = check_function("validate", validate)
        self.reference = frozen_copy(policy) if reference is None else reference
        self.history: list[dict[str, Any]] = []
        self.iteration, self.best, self.best_iteration = 0, None, None
        self.whole = nn.ModuleDict({"policy": policy, **self.more_modules()})
        self.ahead: Written | None = None  # the next iteration's answers, where they are written already
        if validate is not None or config.max_kl is not None:  # where the best weights are kept
            self.whole["best"] = frozen_copy(policy)
        self.optimizer = AdamW(self.groups(), lr=config.learning_rate, weight_decay=0.0)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.rate = schedule(config.schedule, config.iterations)

    # what a subclass says

    @property
    def copies(self) -> int:
        """Answers to each prompt of an iteration."""
        return 1

    def more_modules(self) -> dict[str, nn.Module]:
        """Modules besides the policy that belong to the state of a run: a critic."""
        return {}

    def groups(self) -> list[dict[str, Any]]:
        """What is trained."""
        return [{"params": [p for p in self.policy.parameters() if p.requires_grad]}]

    def prepare(self, written: Written) -> dict[str, Tensor]:
        """What `loss` needs of the answers, computed once: tensors with a row for each answer."""
        raise NotImplementedError

    def loss(
        self, batch: Mapping[str, Tensor], known: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(the loss of some rows, figures of the step)."""
        raise NotImplementedError

    def after(self, written: Written) -> dict[str, float]:
        """Called when an iteration's steps are done; further figures."""
        return {}

    def state(self) -> dict[str, Any]:
        """What besides weights and history decides how the run goes on, JSON-able."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The way back."""

    # the loop

    def train(self, resume: bool | str | Path = False) -> list[dict[str, Any]]:
        """All iterations, or until validation no longer gains; returns the history, a dict for each iteration.

        Keys: iteration (1 for the first), score (mean of what `reward` gave), kl, entropy, length, clip_fraction,
        policy_loss, seconds, validation (None where not asked), and the subclass's; with max_kl next_kl. Figures of an
        iteration are of the policy that wrote its answers, before its steps: `kept` has those of the policy that is
        left. resume: True takes the newest checkpoint of the folder, a path that one. Raises ValueError for rewards
        that are no numbers, and TrainingDiverged for a loss that is none.
        """
        if resume:
            self.resume(resume)
        with Evaluating(
            self.whole
        ):  # a ratio of probabilities is one of two policies, not of two draws of dropout
            if self.validate is not None and self.best is None:
                self._validated(0)
            while self.iteration < self.config.iterations and not self._is_over():
                self.history.append(self._iterate())
                self._checkpoint()
        if "best" in self.whole:
            self.policy.load_state_dict(self.whole["best"].state_dict())
        return self.history

    def kept(self) -> dict[str, float]:
        """score, kl, entropy and length of the policy that `train` has left: what it wrote in the iteration after its
        own, or, where there was none, answers that are written now, to the prompts that would have come next."""
        at = (self.best_iteration or 0) if "best" in self.whole else self.iteration
        known = next((one for one in self.history if one["iteration"] == at + 1), None)
        found = (self.ahead or self.write(at)).figures() if known is None else known
        return {"iteration": at} | {name: found[name] for name in ("score", "kl", "entropy", "length")}

    def _iterate(self) -> dict[str, Any]:
        """Write, score, learn, and look at what has come of it."""
        began, config = time.perf_counter(), self.config
        written, self.ahead = self.ahead or self.write(self.iteration), None
        means = self._learn(written, self.prepare(written))
        self.iteration += 1
        record = {"iteration": self.iteration, **written.figures(), **means}
        record |= self.after(written) | {"seconds": time.perf_counter() - began, "validation": None}
        if config.max_kl is not None:
            self.ahead = self.write(self.iteration)
            record["next_kl"] = self.ahead.kl
            if record["next_kl"] > config.max_kl:
                return record
        if self.validate is None:
            self._keep(self.iteration)
        elif self.iteration % config.validate_every == 0 or self.iteration == config.iterations:
            record["validation"] = self._validated(self.iteration)
        return record

    def _learn(self, written: Written, known: Mapping[str, Tensor]) -> dict[str, float]:
        """Some passes over the answers, in steps of a few; the mean figures of the steps."""
        config, i, steps = self.config, self.iteration, []
        for group, peak in zip(self.optimizer.param_groups, self.peaks):
            group["lr"] = peak * self.rate(i)
        for epoch in range(config.epochs):
            order = np.random.default_rng([config.seed, i, epoch]).permutation(len(written.mask))
            for start in range(0, len(order), config.minibatch):
                rows = torch.from_numpy(order[start : start + config.minibatch]).to(written.mask.device)
                parts = [{k: v[rows] for k, v in whole.items()} for whole in (written.batch, known)]
                steps.append(self._step(*parts))
        return step_means(steps, i + 1, config.learning_rate)

    def write(self, iteration: int) -> Written:
        """The answers of an iteration, scored, with what policy and reference find of them."""
        count, config = len(self.prompts), self.config
        places = [
            divmod(n, count) for n in range(iteration * config.prompts, (iteration + 1) * config.prompts)
        ]
        orders = {epoch: epoch_order(count, config.seed, epoch) for epoch, _ in places}
        prompts = [self.prompts[int(orders[e][p])] for e, p in places for _ in range(self.copies)]
        (drawn,) = np.random.SeedSequence([config.seed, iteration, 2**31]).generate_state(1)
        answers = check_answers(
            prompts, self.rollout(self.policy, prompts, replace(self.params, seed=int(drawn)))
        )
        scores = check_scores(self.reward(prompts, answers), prompts, answers)
        return read_answers(self.policy, self.reference, prompts, answers, scores)

    def _step(self, batch: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One update, none where loss or gradient are no numbers. Reads nothing from a GPU."""
        loss, figures = self.loss(batch, known)
        self.optimizer.zero_grad()
        loss.backward()
        weights = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = clip_gradients(weights, self.config.max_grad_norm)
        self.optimizer.step((loss.detach() + norm).isfinite())
        return {**figures, "loss": loss.detach(), "gradient": norm}

    def _validated(self, iteration: int) -> float:
        """Ask `validate`, and keep the weights if they are the best so far."""
        value = float(self.validate(self.policy))
        if np.isnan(value):
            raise ValueError("validate must give a number, got nan")
        if self.best is None or value > self.best:
            self.best = value
            self._keep(iteration)
        return value

    def _keep(self, iteration: int) -> None:
        if "best" in self.whole:
            self.best_iteration = iteration
            self.whole["best"].load_state_dict(self.policy.state_dict())

    def _is_over(self) -> bool:
        """Whether the policy has gone too far, or validation has not gained for too long."""
        patience, limit = self.config.patience, self.config.max_kl
        if limit is not None and self.history and self.history[-1]["next_kl"] > limit:
            return True
        if patience is None or self.validate is None:
            return False
        asked = [one for one in self.history if one["validation"] is not None]
        return sum(one["iteration"] > self.best_iteration for one in asked) >= patience

    # checkpoints

    def _checkpoint(self) -> None:
        config, last = self.config, self.iteration == self.config.iterations or self._is_over()
        if config.checkpoint_folder is None:
            return
        if last or (config.checkpoint_every and self.iteration % config.checkpoint_every == 0):
            meta = {
                "run": self._run(), "history": self.history, "state": self.state(),
                "best": [self.best, self.best_iteration],
            }  # fmt: skip
            save_checkpoint(config.checkpoint_folder, self.iteration, self.whole, self.optimizer, meta)
            remove_old(config.checkpoint_folder, 1, last=self.iteration)

    def resume(self, checkpoint: bool | str | Path) -> None:
        """Go on where a checkpoint left; ValueError, and nothing changed, for one of other settings."""
        folder = self.config.checkpoint_folder
        path = (
            (None if folder is None else latest_checkpoint(folder))
            if checkpoint is True
            else Path(checkpoint)
        )
        if path is None:
            return
        meta = checkpoint_meta(path)
        ours, theirs = self._run(), meta.get("run")
        if not isinstance(theirs, dict):
            raise ValueError(f"checkpoint {str(path)!r} is none of PPO or GRPO")
        changed = [
            f"{key} {theirs.get(key)!r} -> {ours[key]!r}" for key in ours if ours[key] != theirs.get(key)
        ]
        if changed:
            raise ValueError(f"checkpoint {str(path)!r} is of another run: {', '.join(changed)}")
        self.iteration, self.ahead = load_checkpoint(path, self.whole, self.optimizer), None
        self.history, (self.best, self.best_iteration) = meta["history"], meta["best"]
        self.load_state(meta["state"])

    def _run(self) -> dict[str, Any]:
        """What a resumed run must share, as far as it can be written down: not what rollout and reward are."""
        decides = {**self.config.what_decides_the_weights(), "reference": whole_digest(self.reference)}
        return decides | asked_of(self.prompts, self.params)
