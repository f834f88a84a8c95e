"""What PPO and GRPO share: the policy writes, the answers are scored, it learns from them, and writes anew.

    answers = rollout(policy, prompts, params)         handed in: training stands below inference
    scores  = reward(prompts, answers)                 a reward model, a test that is run, any function
    policy  <- a few steps of AdamW on those answers
    validate(policy) now and then: the best policy is kept, and a run that no longer gains ends

Everything random of iteration i (prompts, answers, order) is drawn from (seed, i); with weights, averages and history
in a checkpoint, a run that was stopped goes on as if it had not been.

Book: 4.2.3 PPO: 보상 해킹 피하기. Papers: Stiennon et al. 2020, Ouyang et al. 2022.
Held against: closed forms on a bandit.
Leaves out: several processes, answers that are written while others are learned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_function, check_int, check_number, describe, is_listing
from minillm.training.adamw import AdamW
from minillm.training.alignment.logprobs import IGNORED, token_logprobs
from minillm.training.alignment.pairs import answer_example
from minillm.training.batches import id_array, padded
from minillm.training.checkpoint import (
    checkpoint_meta,
    latest_checkpoint,
    load_checkpoint,
    remove_old,
    save_checkpoint,
    weights_digest,
)
from minillm.training.clipping import clip_gradients
from minillm.training.feed import epoch_order
from minillm.training.loop import TrainingDiverged
from minillm.training.schedule import SCHEDULES, schedule

Ids = Sequence[int]
Rollout = Callable[[nn.Module, list[list[int]], Any], Sequence[Ids]]
Reward = Callable[[list[list[int]], list[list[int]]], Sequence[float]]


@dataclass(frozen=True)
class OnPolicyConfig:
    """Settings of a run. Raises ValueError for one out of range."""

    iterations: int
    prompts: int = 32
    """of an iteration"""
    epochs: int = 1
    """passes over an iteration's answers"""
    minibatch: int = 32
    """answers a step"""
    learning_rate: float = 1e-5
    schedule: str = "constant"
    """of the learning rate over the iterations, by the names of TrainingArguments.lr_scheduler_type"""
    max_grad_norm: float = 1.0
    beta: float = 0.1
    """the price of a nat of KL divergence from the reference"""
    clip: float = 0.2
    seed: int = 0
    validate_every: int = 1
    patience: int | None = None
    """validations without a better one after which the run ends; None goes on to the last iteration"""
    checkpoint_folder: str | Path | None = None
    checkpoint_every: int | None = None
    """iterations; None writes one after the last (if there is a folder)"""

    def __post_init__(self) -> None:
        for name in ("iterations", "prompts", "epochs", "minibatch", "validate_every"):
            check_int(name, getattr(self, name), 1)
        for name in ("patience", "checkpoint_every"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1)
        check_int("seed", self.seed, 0, 2**63 - 1)
        for name in ("learning_rate", "beta"):
            check_number(name, getattr(self, name), 0)
        check_number("clip", self.clip, 1e-6, 1), check_number("max_grad_norm", self.max_grad_norm, 1e-9)
        check_choice("schedule", self.schedule, SCHEDULES)
        if self.checkpoint_every is not None and self.checkpoint_folder is None:
            raise ValueError("checkpoint_every needs a checkpoint_folder, got None")

    def what_decides_the_weights(self) -> dict[str, Any]:
        """What a resumed run must share."""
        return {k: v for k, v in asdict(self).items() if not k.startswith("checkpoint")}


@dataclass
class Written:
    """The answers of an iteration. Tensors: ids, labels, attention_mask (B, L); mask, logprobs, reference (B, L - 1),
    1 and log p where a token of an answer is; scores (B,), what the reward said."""

    batch: dict[str, Tensor]
    mask: Tensor
    logprobs: Tensor
    reference: Tensor
    scores: Tensor

    @property
    def kl(self) -> float:
        """Nats an answer that the policy is away from the reference: the mean of log π - log π_ref over its answers."""
        return float(((self.logprobs - self.reference) * self.mask).sum(dim=1).mean())

    def figures(self) -> dict[str, float]:
        """score, kl (nats an answer), entropy (nats a token; of the tokens drawn), length (tokens an answer)."""
        return {
            "score": float(self.scores.mean()), "kl": self.kl,
            "entropy": float(-(self.logprobs * self.mask).sum() / self.mask.sum()),
            "length": float(self.mask.sum() / len(self.mask)),
        }  # fmt: skip


class OnPolicyTrainer:
    """The loop. A subclass says how answers are weighed (`prepare`) and what a step makes small (`loss`).

    policy: the language model, trained in place; it runs without dropout. reference: what it is held near; None takes a
    frozen copy of the policy as it is now. rollout, reward, params: see above; params is a dataclass with a `seed`,
    such as SamplingParams, and gets another seed for every iteration. prompts: lists of ids. validate: function of the
    policy, higher is better; after `train` the policy has the weights of its best value, those of the start included.
    """

    copies = 1  # answers to each prompt of an iteration
    needs_reference = True

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
        if not isinstance(policy, nn.Module) or not any(True for _ in policy.parameters()):
            raise ValueError(f"policy must be a model with weights, got {describe(policy)}")
        for name, function in (("rollout", rollout), ("reward", reward)):
            if not callable(function):
                raise ValueError(f"{name} must be a function, got {describe(function)}")
        if not is_dataclass(params) or isinstance(params, type) or not hasattr(params, "seed"):
            raise ValueError(
                f"params must be a dataclass with a seed, like SamplingParams, got {describe(params)}"
            )
        if not is_listing(prompts) or not len(prompts):
            raise ValueError(f"prompts must be a non-empty list of lists of ids, got {describe(prompts)}")
        self.prompts = [id_array(f"prompt {i}", ids).tolist() for i, ids in enumerate(prompts)]
        if not all(self.prompts):
            raise ValueError("every prompt must hold at least one id")
        self.policy, self.rollout, self.reward, self.params = policy, rollout, reward, params
        self.config, self.validate = config, check_function("validate", validate)
        self.reference = frozen_copy(policy) if reference is None and self.needs_reference else reference
        self.history: list[dict[str, Any]] = []
        self.iteration, self.best, self.best_iteration = 0, None, None
        self.whole = nn.ModuleDict({"policy": policy, **self.more_modules()})
        if validate is not None:  # where the best weights are kept
            self.whole["best"] = frozen_copy(policy)
        self.optimizer = AdamW(self.groups(), lr=config.learning_rate, weight_decay=0.0)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.rate = schedule(config.schedule, config.iterations)

    # what a subclass says

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
        policy_loss, seconds, validation (None where not asked), and the subclass's. Figures of an iteration are of
        the policy that wrote its answers. resume: True takes the newest checkpoint of the folder, a path that one.
        Raises ValueError for rewards that are no finite numbers, and TrainingDiverged for a loss that is none.
        """
        if resume:
            self.resume(resume)
        if self.validate is not None and self.best is None:
            self._validated(0)
        was_training = {name: module.training for name, module in self.whole.items()}
        self.whole.eval()  # a ratio of probabilities is one of two policies, not of two draws of dropout
        try:
            while self.iteration < self.config.iterations and not self._lost_patience():
                self.history.append(self._iterate())
                self._checkpoint()
        finally:
            for name, mode in was_training.items():
                self.whole[name].train(mode)
        if self.validate is not None:
            self.policy.load_state_dict(self.whole["best"].state_dict())
        return self.history

    def _iterate(self) -> dict[str, Any]:
        """Write, score, learn."""
        began, config, i = time.perf_counter(), self.config, self.iteration
        written = self.write(i)
        known = self.prepare(written)
        steps: list[dict[str, float]] = []
        for group, peak in zip(self.optimizer.param_groups, self.peaks):
            group["lr"] = peak * self.rate(i)
        for epoch in range(config.epochs):
            order = np.random.default_rng([config.seed, i, epoch]).permutation(len(written.mask))
            for start in range(0, len(order), config.minibatch):
                rows = torch.from_numpy(order[start : start + config.minibatch]).to(written.mask.device)
                steps.append(self._step({k: v[rows] for k, v in written.batch.items()},
                                        {k: v[rows] for k, v in known.items()}))  # fmt: skip
        self.iteration += 1
        record = {"iteration": self.iteration, **written.figures()}
        record |= {name: float(np.mean([step[name] for step in steps])) for name in steps[0]}
        record |= self.after(written) | {"seconds": time.perf_counter() - began, "validation": None}
        if self.validate is not None and (
            self.iteration % config.validate_every == 0 or self.iteration == config.iterations
        ):
            record["validation"] = self._validated(self.iteration)
        return record

    def write(self, iteration: int) -> Written:
        """The answers of an iteration, scored, with what policy and reference find of them."""
        count, config = len(self.prompts), self.config
        places = [
            divmod(n, count) for n in range(iteration * config.prompts, (iteration + 1) * config.prompts)
        ]
        orders = {epoch: epoch_order(count, config.seed, epoch) for epoch, _ in places}
        prompts = [self.prompts[int(orders[e][p])] for e, p in places for _ in range(self.copies)]
        (drawn,) = np.random.SeedSequence([config.seed, iteration, 2**31]).generate_state(1)
        answers = self.rollout(self.policy, prompts, replace(self.params, seed=int(drawn)))
        answers = check_answers(prompts, answers)
        scores = check_scores(self.reward(prompts, answers), prompts, answers)
        examples = [answer_example(*pair) for pair in zip(prompts, answers)]
        rows = [(np.array(one["input_ids"]), np.array(one["labels"])) for one in examples]
        device = next(self.policy.parameters()).device
        batch = {name: x.to(device) for name, x in padded(rows, 0).items()}
        with torch.no_grad():
            logprobs = logprobs_of(self.policy, batch)
            reference = logprobs if self.reference is None else logprobs_of(self.reference, batch)
        mask = (batch["labels"][:, 1:] != IGNORED).to(logprobs.dtype)
        return Written(
            batch, mask, logprobs, reference, torch.tensor(scores, device=device, dtype=logprobs.dtype)
        )

    def _step(self, batch: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> dict[str, float]:
        """One update."""
        loss, figures = self.loss(batch, known)
        if not torch.isfinite(loss):
            raise TrainingDiverged(
                f"training stopped in iteration {self.iteration + 1}: loss {float(loss)}; a lower learning_rate (now "
                f"{self.config.learning_rate:g}) usually helps"
            )
        self.optimizer.zero_grad()
        loss.backward()
        clip_gradients(
            [p for group in self.optimizer.param_groups for p in group["params"]], self.config.max_grad_norm
        )
        self.optimizer.step()
        return {name: float(value) for name, value in figures.items()}

    def _validated(self, iteration: int) -> float:
        """Ask `validate`, and keep the weights if they are the best so far."""
        value = float(self.validate(self.policy))
        if np.isnan(value):
            raise ValueError("validate must give a number, got nan")
        if self.best is None or value > self.best:
            self.best, self.best_iteration = value, iteration
            self.whole["best"].load_state_dict(self.policy.state_dict())
        return value

    def _lost_patience(self) -> bool:
        patience = self.config.patience
        if patience is None or self.best_iteration is None:
            return False
        asked = [one for one in self.history if one["validation"] is not None]
        return sum(one["iteration"] > self.best_iteration for one in asked) >= patience

    # checkpoints

    def _checkpoint(self) -> None:
        config, last = self.config, self.iteration == self.config.iterations or self._lost_patience()
        if config.checkpoint_folder is None:
            return
        if last or (config.checkpoint_every and self.iteration % config.checkpoint_every == 0):
            meta = {
                "config": config.what_decides_the_weights(), "history": self.history, "state": self.state(),
                "best": [self.best, self.best_iteration], "reference": self._reference_digest(),
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
        ours = {**self.config.what_decides_the_weights(), "reference": self._reference_digest()}
        theirs = {**meta["config"], "reference": meta["reference"]}
        changed = [
            f"{key} {theirs.get(key)!r} -> {ours[key]!r}" for key in ours if ours[key] != theirs.get(key)
        ]
        if changed:
            raise ValueError(f"checkpoint {str(path)!r} is of another run: {', '.join(changed)}")
        self.iteration = load_checkpoint(path, self.whole, self.optimizer)
        self.history, (self.best, self.best_iteration) = meta["history"], meta["best"]
        self.load_state(meta["state"])

    def _reference_digest(self) -> str | None:
        return None if self.reference is None else weights_digest(self.reference)


def frozen_copy(model: nn.Module) -> nn.Module:
    """A copy that never learns: in evaluation mode, its weights want no gradient."""
    return deepcopy(model).eval().requires_grad_(False)


def logprobs_of(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """log p of the answers' tokens (B, L - 1) of a batch of examples."""
    return token_logprobs(model, batch["input_ids"], batch["labels"], batch["attention_mask"])


def check_answers(prompts: list[list[int]], answers: Any) -> list[list[int]]:
    """What `rollout` gave as lists of ids, one to each prompt; ValueError for anything else."""
    if not is_listing(answers) or len(answers) != len(prompts):
        raise ValueError(
            f"rollout must give {len(prompts)} answers, one to each prompt, got {describe(answers)}"
        )
    found = [id_array(f"answer {i}", ids).tolist() for i, ids in enumerate(answers)]
    for i, ids in enumerate(found):
        if not ids:
            raise ValueError(f"rollout gave an empty answer, number {i}: one has at least its end token")
    return found


def check_scores(scores: Any, prompts: list[list[int]], answers: list[list[int]]) -> list[float]:
    """What `reward` gave as finite floats, one to each answer; ValueError that shows the answer whose score is none."""
    try:
        found = np.asarray(scores.detach().cpu() if isinstance(scores, Tensor) else scores, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.zeros((0, 0))
    if found.shape != (len(answers),):
        raise ValueError(
            f"reward must give {len(answers)} numbers, one to each answer, got {describe(scores)}"
        )
    (bad,) = np.nonzero(~np.isfinite(found))
    if len(bad):
        i = int(bad[0])
        raise ValueError(
            f"reward gave {found[i]} to answer {i}: {answers[i][:20]} to the prompt {prompts[i][:20]}"
        )
    return found.tolist()
