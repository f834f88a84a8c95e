"""PPO: a policy, a critic that says what to expect, and a reference that the policy may not leave too far.

    trainer = PPOTrainer(policy, rollout, reward.reward, prompts, SamplingParams(max_tokens=48), PPOConfig(...),
                         critic=critic_of(reward))
    history = trainer.train()

The proxy, which rises, and the true score, which may fall, are the two figures to plot: without the KL penalty the
policy finds what the reward model got wrong (reward hacking).

Book: 4.2.2 강화 학습, 4.2.3 PPO: 보상 해킹 피하기. Papers: Schulman et al. 2017; Ouyang et al. 2022.
Held against: p ∝ p_ref exp(r / β), the closed form, on a bandit. Leaves out: a pre-training loss beside (PPO-ptx).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_flag, check_int, check_number, describe
from minillm.training.alignment.on_policy import OnPolicyTrainer
from minillm.training.alignment.on_policy_config import OnPolicyConfig
from minillm.training.alignment.policy_gradient import (
    AdaptiveKL,
    clip_fraction,
    gae,
    masked_variance,
    ppo_loss,
    token_rewards,
    value_loss,
    whiten,
)
from minillm.training.alignment.reward import critic_of
from minillm.training.alignment.written import Ids, Reward, Rollout, Written, logprobs_of


@dataclass(frozen=True)
class PPOConfig(OnPolicyConfig):
    """Settings of PPO, those of OnPolicyConfig among them. Raises ValueError for one out of range."""

    discount: float = 1.0
    trace: float = 0.95
    value_clip: float = 0.2
    value_weight: float = 0.5
    critic_learning_rate: float | None = None
    """None: the policy's"""
    whiten: bool = True
    """advantages of an iteration get mean 0 and variance 1; the step then no longer shrinks as the policy arrives"""
    target_kl: float | None = None
    """nats an answer that beta is moved to keep; None leaves beta as it is"""
    horizon: int = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("discount", self.discount, 0, 1), check_number("trace", self.trace, 0, 1)
        check_number("value_clip", self.value_clip, 1e-6), check_number("value_weight", self.value_weight, 0)
        check_flag("whiten", self.whiten), check_int("horizon", self.horizon, 1)
        if self.critic_learning_rate is not None:
            check_number("critic_learning_rate", self.critic_learning_rate, 0)
        if self.target_kl is not None and check_number("target_kl", self.target_kl, 0) * self.beta == 0:
            raise ValueError(
                f"target_kl needs a target and a beta above 0, got {self.target_kl:g} and {self.beta:g}"
            )


class PPOTrainer(OnPolicyTrainer):
    """PPO. Arguments as OnPolicyTrainer's; critic: a RewardModel (`critic_of(reward_model)`), None makes one on a copy
    of the policy's body. The history has beta, value_loss and explained (the share of the returns' variance that the
    critic foresaw) besides."""

    config: PPOConfig
    config_class = PPOConfig
    explained = 0.0

    def __init__(
        self,
        policy: nn.Module,
        rollout: Rollout,
        reward: Reward,
        prompts: Sequence[Ids],
        params: Any,
        config: PPOConfig,
        *options: Any,
        critic: nn.Module | None = None,
        **named: Any,
    ) -> None:
        given = critic
        if critic is None and isinstance(config, PPOConfig) and isinstance(policy, nn.Module):
            given = critic_of(policy, config.seed)
        self.critic = given
        if critic is not None and not callable(getattr(critic, "values", None)):
            raise ValueError(
                f"critic must have values(ids, mask), like a RewardModel, got {describe(critic)}"
            )
        super().__init__(policy, rollout, reward, prompts, params, config, *options, **named)
        adapts = config.target_kl is not None
        self.control = AdaptiveKL(config.beta, config.target_kl, config.horizon) if adapts else None

    @property
    def beta(self) -> float:
        """The price of a nat now."""
        return self.config.beta if self.control is None else self.control.beta

    def more_modules(self) -> dict[str, nn.Module]:
        """The critic."""
        return {"critic": self.critic}

    def groups(self) -> list[dict[str, Any]]:
        """Policy and critic; weights that they share go with the policy."""
        mine, config = super().groups(), self.config
        known = {id(p) for p in mine[0]["params"]}
        rest = [p for p in self.critic.parameters() if p.requires_grad and id(p) not in known]
        rate = config.learning_rate if config.critic_learning_rate is None else config.critic_learning_rate
        return [*mine, {"params": rest, "lr": rate}] if rest else mine

    def prepare(self, written: Written) -> dict[str, Tensor]:
        """Advantages and returns."""
        config, mask = self.config, written.mask
        with torch.no_grad():
            values = self._values(written.batch, mask)
        rewards = token_rewards(written.scores, written.logprobs, written.reference, mask, self.beta)
        advantages, returns = gae(rewards, values, mask, config.discount, config.trace)
        spread = (masked_variance(returns, mask), masked_variance(returns - values, mask))
        self.explained = float(1 - spread[1] / spread[0].clamp(min=1e-12))
        if config.whiten:
            advantages = whiten(advantages, mask)
        return {
            "mask": mask, "old": written.logprobs, "advantages": advantages, "values": values, "returns": returns,
        }  # fmt: skip

    def loss(
        self, batch: Mapping[str, Tensor], known: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Policy and critic together."""
        config, mask = self.config, known["mask"]
        logprobs, values = logprobs_of(self.policy, batch), self._values(batch, mask)
        steps = (logprobs, known["old"], known["advantages"], mask, config.clip)
        policy = ppo_loss(*steps)
        critic = value_loss(values, known["values"], known["returns"], mask, config.value_clip)
        figures = {"policy_loss": policy, "value_loss": critic, "clip_fraction": clip_fraction(*steps)}
        return policy + config.value_weight * critic, {k: v.detach() for k, v in figures.items()}

    def after(self, written: Written) -> dict[str, float]:
        """Move beta by what the KL divergence was."""
        used = self.beta
        if self.control is not None:
            self.control.update(written.kl, len(written.scores))
        return {"beta": used, "explained": self.explained}

    def state(self) -> dict[str, Any]:
        """Beta as it is now."""
        return {"beta": self.beta}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The way back."""
        if self.control is not None:
            self.control.beta = state["beta"]

    def _values(self, batch: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """What the critic expects before each token (B, L - 1), 0 outside of answers."""
        values = self.critic.values(batch["input_ids"][:, :-1], batch["attention_mask"][:, :-1])
        return values.to(mask.dtype) * mask
