"""The answers of a policy, as PPO and GRPO learn from them: scored, and read by the policy and by its reference.

Book: 4.2.3 PPO: 보상 해킹 피하기. Paper: Stiennon et al. 2020. What a user hands in is checked here, once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minillm._checks import describe, is_listing
from minillm.nn.modes import Evaluating
from minillm.training.alignment.logprobs import IGNORED, token_logprobs
from minillm.training.alignment.pairs import answer_example
from minillm.training.batches import id_array, padded
from minillm.training.loop import TrainingDiverged

Ids = Sequence[int]
Rollout = Callable[[nn.Module, list[list[int]], Any], Sequence[Ids]]
Reward = Callable[[list[list[int]], list[list[int]]], Sequence[float]]
LARGEST_SCORE = 1e15  # the square of one still is a float32


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


def read_answers(
    policy: nn.Module,
    reference: nn.Module | None,
    prompts: Sequence[Ids],
    answers: Sequence[Ids],
    scores: Sequence[float],
) -> Written:
    """The answers with what both models find of them, on the policy's device; without a reference it is the policy.

    ValueError unless there are an answer and a score to each prompt, at least one.
    """
    if not len(prompts) == len(answers) == len(scores) or not len(prompts):
        raise ValueError(
            "expected an answer and a score to each prompt, at least one, got "
            f"{len(prompts)} prompts, {len(answers)} answers, {len(scores)} scores"
        )
    examples = [answer_example(*pair) for pair in zip(prompts, answers)]
    rows = [(np.array(one["input_ids"]), np.array(one["labels"])) for one in examples]
    device = next(policy.parameters()).device
    batch = {name: x.to(device) for name, x in padded(rows, 0).items()}
    with torch.no_grad(), Evaluating(policy):
        logprobs = logprobs_of(policy, batch)
        other = logprobs
        if reference is not None:
            with Evaluating(reference):
                other = logprobs_of(reference, batch)
    mask = (batch["labels"][:, 1:] != IGNORED).to(logprobs.dtype)
    return Written(batch, mask, logprobs, other, torch.tensor(scores, device=device, dtype=logprobs.dtype))


def check_prompts(policy: nn.Module, prompts: Any, params: Any) -> list[list[int]]:
    """Prompts as lists of ids of the policy, with room for an answer behind them; ValueError for anything else."""
    if not is_listing(prompts) or not len(prompts):
        raise ValueError(f"prompts must be a non-empty list of lists of ids, got {describe(prompts)}")
    found = [id_array(f"prompt {i}", ids).tolist() for i, ids in enumerate(prompts)]
    if not all(found):
        raise ValueError("every prompt must hold at least one id")
    config, answer = getattr(policy, "config", None), getattr(params, "max_tokens", None) or 1
    ids, window = getattr(config, "vocab_size", None), getattr(config, "max_length", None)
    for i, prompt in enumerate(found):
        if ids is not None and max(prompt) >= ids:
            raise ValueError(f"every id of prompt {i} must be between 0 and {ids - 1}, got {max(prompt)}")
        if window is not None and len(prompt) + answer > window:
            raise ValueError(
                f"prompt {i} has {len(prompt)} ids and an answer up to {answer}: the policy's window is {window}"
            )
    return found


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
    """What `reward` gave as floats, one to each answer; ValueError that shows the first answer whose score is none."""
    try:
        found = np.asarray(scores.detach().cpu() if isinstance(scores, Tensor) else scores, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.zeros((0, 0))
    if found.shape != (len(answers),):
        raise ValueError(
            f"reward must give {len(answers)} numbers, one to each answer, got {describe(scores)}"
        )
    (bad,) = np.nonzero(~(np.abs(found) <= LARGEST_SCORE))
    if len(bad):
        i = int(bad[0])
        raise ValueError(
            f"reward gave {found[i]:g} to answer {i}: {answers[i][:20]} to the prompt {prompts[i][:20]}; a score is a "
            f"number between {-LARGEST_SCORE:g} and {LARGEST_SCORE:g}"
        )
    return found.tolist()


def step_means(
    steps: Sequence[Mapping[str, Tensor]], iteration: int, learning_rate: float
) -> dict[str, float]:
    """The mean of each figure of an iteration's steps but loss and gradient; TrainingDiverged if those are no numbers.

    All of them are read from a GPU at once.
    """
    table = torch.stack([torch.stack([x.float() for x in step.values()]) for step in steps]).cpu().double()
    means = dict(zip(steps[0], table.mean(dim=0).tolist()))
    loss, gradient = means.pop("loss"), means.pop("gradient")
    if not np.isfinite([loss, gradient]).all():
        raise TrainingDiverged(
            f"training stopped in iteration {iteration}: loss {loss}, gradient {gradient}; a lower learning_rate (now "
            f"{learning_rate:g}) usually helps"
        )
    return means


def asked_of(prompts: list[list[int]], params: Any) -> dict[str, Any]:
    """What was asked, and how, as far as it can be written down: for a run that is resumed."""
    digest = hashlib.sha256(json.dumps(prompts).encode()).hexdigest()
    plain = {k: v for k, v in vars(params).items() if isinstance(v, (int, float, str, type(None)))}
    return {"prompts": digest[:16], "params": plain}
