"""GRPO: no critic. Several answers to the same prompt are each other's yardstick.

    A_i  = (r_i - mean of its group) / (standard deviation + 1e-4)              the same for all tokens of answer i
    L_it = -min(ρ_it A_i, clip(ρ_it, 1 - c, 1 + c) A_i) + β k3_it
    k3   = exp(d) - d - 1,  d = log π_ref - log π                               an estimate of KL that is never below 0

How tokens are averaged decides what length costs:  grpo, mean of each answer, then of the answers;  bnpo, mean of all
tokens;  dr_grpo, sum of all tokens / (answers * longest allowed), and A_i without the division by the deviation.

k3 is right as a number and not as a gradient: on answers drawn from π, its gradient is that of KL(π_ref || π). So the
fixed point is not PPO's p_ref exp(r / β); bandit.py has both (`optimal_policy`, `k3_policy`).

Book: beyond it (4.3). Papers: Shao et al. 2024 (GRPO), Liu et al. 2025 (Dr. GRPO), Schulman 2020 (k3).
Held against: trl's GRPOTrainer, loss and gradient. Leaves out: sequence-level ratios, two clips, vLLM's corrections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from minillm._checks import check_choice, check_flag, check_int, check_number, describe
from minillm.training.alignment.on_policy import OnPolicyTrainer
from minillm.training.alignment.on_policy_config import OnPolicyConfig
from minillm.training.alignment.policy_gradient import (
    check_alike,
    check_tokens,
    clip_fraction,
    clipped_objective,
)
from minillm.training.alignment.written import Written, logprobs_of

LOSS_TYPES = ("grpo", "bnpo", "dr_grpo")


def group_advantages(scores: Tensor, group: int, scale: bool = True) -> Tensor:
    """How much better than its group each answer is: scores (N * group,), group after group -> (N * group,).

    A group of equal scores gives zeros: nothing is to be learned from it. scale: divide by the deviation.
    """
    group = check_int("group", group, 2)
    check_flag("scale", scale)
    if not isinstance(scores, Tensor) or scores.ndim != 1 or not len(scores) or len(scores) % group:
        raise ValueError(f"scores must be a tensor (N * {group},), got {describe(scores)}")
    if not scores.is_floating_point():
        raise ValueError(f"scores must be a float tensor, got {describe(scores)}")
    groups = scores.reshape(-1, group)  # (N, G)
    advantages = groups - groups.mean(dim=1, keepdim=True)
    if scale:
        advantages = advantages / (groups.std(dim=1, keepdim=True) + 1e-4)
    return advantages.reshape(-1)


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """An estimate of KL(π || π_ref) from each token drawn from π: exp(d) - d - 1, at least 0, (B, T)."""
    check_alike(logprobs=logprobs, reference=reference)
    d = reference - logprobs
    return torch.exp(d) - d - 1


def grpo_token_losses(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    reference: Tensor | None = None,
    beta: float = 0.0,
    clip: float = 0.2,
) -> Tensor:
    """-min(ρ A, clip(ρ) A) + β k3 of each token, (B, T): all tokens of an answer have its advantage (B,)."""
    check_advantages(advantages, logprobs)
    losses = -clipped_objective(logprobs, old_logprobs, advantages[:, None], clip)
    return losses + beta * k3(logprobs, reference) if beta else losses


def token_mean(
    losses: Tensor, mask: Tensor, loss_type: str = "grpo", max_length: int | None = None
) -> Tensor:
    """Losses of tokens (B, T) as one number, 0-d. max_length: of an answer, dr_grpo divides by it."""
    check_alike(losses=losses, mask=mask), check_choice("loss_type", loss_type, LOSS_TYPES)
    if max_length is not None:
        check_int("max_length", max_length, 1)
    if loss_type == "grpo":
        return ((losses * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)).mean()
    if loss_type == "bnpo":
        return (losses * mask).sum() / mask.sum().clamp(min=1.0)
    return (losses * mask).sum() / (len(losses) * (max_length or losses.shape[1]))


def grpo_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    reference: Tensor | None = None,
    beta: float = 0.0,
    clip: float = 0.2,
    loss_type: str = "grpo",
    max_length: int | None = None,
) -> Tensor:
    """GRPO's loss, 0-d. logprobs, old_logprobs, mask, reference: (B, T); advantages: (B,), one an answer.

    reference: log probabilities under the reference, needed for a beta above 0. max_length: of an answer, for dr_grpo;
    None takes T. ValueError for other shapes, and settings out of range.
    """
    check_number("clip", clip, 1e-6, 1)
    if check_number("beta", beta, 0) and reference is None:
        raise ValueError(f"beta = {beta:g} needs the log probabilities of a reference, got None")
    given = {"logprobs": logprobs, "old_logprobs": old_logprobs, "mask": mask}
    check_tokens(**given, **({"reference": reference} if beta else {}))
    losses = grpo_token_losses(logprobs, old_logprobs, advantages, reference, beta, clip)
    return token_mean(losses, mask, loss_type, max_length)


def check_advantages(advantages: Tensor, logprobs: Tensor) -> None:
    """ValueError for what is no tensor (B,), one number for each answer of logprobs (B, T)."""
    alike = isinstance(advantages, Tensor) and isinstance(logprobs, Tensor) and logprobs.ndim == 2
    if not alike or advantages.shape != logprobs.shape[:1]:
        raise ValueError(f"advantages must be a tensor (B,), one for each answer, got {describe(advantages)}")


@dataclass(frozen=True)
class GRPOConfig(OnPolicyConfig):
    """Settings of GRPO, those of OnPolicyConfig among them. Raises ValueError for one out of range."""

    group: int = 8
    """answers to each prompt"""
    beta: float = 0.04
    loss_type: str = "grpo"
    scale: bool | None = None
    """divide advantages by the group's deviation; None: unless loss_type is dr_grpo"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("group", self.group, 2), check_choice("loss_type", self.loss_type, LOSS_TYPES)
        if self.scale is not None:
            check_flag("scale", self.scale)

    @property
    def scaled(self) -> bool:
        """Whether advantages are divided by the deviation."""
        return self.loss_type != "dr_grpo" if self.scale is None else self.scale


class GRPOTrainer(OnPolicyTrainer):
    """GRPO. Arguments as OnPolicyTrainer's; with beta 0 a reference is only there for the KL of the history. That
    has `silent` besides: the share of groups in which all answers scored the same."""

    config: GRPOConfig
    config_class = GRPOConfig
    silent = 0.0

    @property
    def copies(self) -> int:
        """The size of a group."""
        return self.config.group

    def prepare(self, written: Written) -> dict[str, Tensor]:
        """Advantages within groups."""
        groups = written.scores.reshape(-1, self.config.group)
        self.silent = float((groups.amax(dim=1) == groups.amin(dim=1)).double().mean())
        advantages = group_advantages(written.scores, self.config.group, self.config.scaled)
        return {
            "mask": written.mask, "old": written.logprobs, "advantages": advantages, "reference": written.reference,
        }  # fmt: skip

    def loss(
        self, batch: Mapping[str, Tensor], known: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The policy's loss."""
        config, mask = self.config, known["mask"]
        logprobs = logprobs_of(self.policy, batch)
        longest = getattr(self.params, "max_tokens", None)
        loss = grpo_loss(
            logprobs, known["old"], known["advantages"], mask, known["reference"], config.beta, config.clip,
            config.loss_type, longest,
        )  # fmt: skip
        clipped = clip_fraction(logprobs, known["old"], known["advantages"][:, None], mask, config.clip)
        return loss, {"policy_loss": loss.detach(), "clip_fraction": clipped.detach()}

    def after(self, written: Written) -> dict[str, float]:
        """How many groups taught nothing."""
        return {"silent": self.silent}
