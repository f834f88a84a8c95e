"""The parts of PPO, each a few lines: a reward for every token, what was better than expected, a step that stays near.

    reward      R_t = -β (log π(a_t) - log π_ref(a_t))          and at the last token the score of the whole answer
    surprise    δ_t = R_t + γ V_{t+1} - V_t
    advantage   A_t = δ_t + γ λ A_{t+1}                          (GAE: λ = 1 what really came, λ = 0 one step ahead)
    gradient    ∇ E[A] = E[A ∇ log π(a)]                         the plain loss, of answers that π itself has just drawn
    policy      L = mean of  -min(ρ_t A_t, clip(ρ_t, 1 - c, 1 + c) A_t)        ρ_t = π(a_t) / π_old(a_t)
    critic      L = mean of  max((V_t - G_t)², (clip(V_t, V_old ± c) - G_t)²) / 2                  G_t = A_t + V_t
    controller  β <- β (1 + clip(KL / target - 1, -.2, .2) n / horizon)

All tensors are (B, T), T the tokens after the first; `mask` is 1 where an answer's token is, 0 in prompt and padding,
floats, whole numbers or bools.

Book: 4.2.2 강화 학습, 4.2.3 PPO: 보상 해킹 피하기.
Papers: Williams 1992 (gradient); Schulman et al. 2016 (GAE), 2017 (PPO); Ziegler et al. 2019 (controller).
Held against: trl's clipped loss with advantages per token; closed forms (trl has no PPOTrainer any more).
"""

from __future__ import annotations

import torch
from torch import Tensor

from minillm._checks import check_int, check_number, describe
from minillm.training.alignment.preference_losses import check_beta


def token_rewards(scores: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, beta: float) -> Tensor:
    """The reward of each token (B, T): the price of leaving the reference, and at an answer's last token its score.

    scores: (B,); logprobs, reference: of the tokens under the policy that wrote them, and under the reference.
    ValueError for other shapes, and for an answer without a token.
    """
    check_alike(logprobs=logprobs, reference=reference, mask=mask), check_number("beta", beta, 0)
    check_scored(scores, mask)
    # -β (log π - log π_ref): its expectation is -β KL(π || π_ref)
    rewards = -beta * (logprobs - reference) * mask  # (B, T)
    places = torch.arange(mask.shape[1], device=mask.device)
    last = (places * (mask > 0)).argmax(dim=1, keepdim=True)  # (B, 1)
    return rewards.scatter_add(1, last, scores[:, None].to(rewards.dtype))


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, discount: float = 1.0, trace: float = 0.95
) -> tuple[Tensor, Tensor]:
    """(advantages, returns), (B, T) each. discount: γ in [0, 1]; trace: λ in [0, 1]. After an answer's end V is 0."""
    check_tokens(rewards=rewards, values=values, mask=mask)
    check_number("discount", discount, 0, 1), check_number("trace", trace, 0, 1)
    there = (mask > 0).to(values.dtype)
    advantages = torch.zeros_like(values)
    advantage = next_value = torch.zeros_like(values[:, 0])  # (B,)
    for t in reversed(range(values.shape[1])):
        # δ_t = R_t + γ V_{t+1} - V_t;   A_t = δ_t + γ λ A_{t+1}
        surprise = rewards[:, t] + discount * next_value - values[:, t]
        advantage = (surprise + discount * trace * advantage) * there[:, t]
        next_value = values[:, t] * there[:, t]
        advantages[:, t] = advantage
    return advantages, (advantages + values) * there


def masked_variance(x: Tensor, mask: Tensor) -> Tensor:
    """Variance of x (B, T) over the tokens of the mask, 0-d."""
    check_alike(x=x, mask=mask)
    mean = (x * mask).sum() / mask.sum()
    return ((x - mean) ** 2 * mask).sum() / mask.sum()


def whiten(x: Tensor, mask: Tensor) -> Tensor:
    """x (B, T) with mean 0 and variance 1 over the tokens of the mask, 0 elsewhere: the size of rewards drops out."""
    check_alike(x=x, mask=mask)
    mean = (x * mask).sum() / mask.sum()
    return (x - mean) * torch.rsqrt(masked_variance(x, mask) + 1e-8) * (mask > 0)


def policy_gradient_loss(logprobs: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """The plain form (REINFORCE), 0-d: the mean over the mask's tokens of -A log π(a); float tensors (B, T).

    Its gradient is on average that of -E[A], where the policy itself has drawn the tokens. After a step they are
    another policy's, and `ppo_loss` weighs them by ρ; before it, at ρ = 1, both gradients are the same. Source: the
    formula on top. ValueError for other shapes.
    """
    check_tokens(logprobs=logprobs, advantages=advantages, mask=mask)
    # ∇ E[A] = E[A ∇ log π(a)]
    return -(advantages * logprobs * mask).sum() / mask.sum()


def clipped_objective(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """min(ρ A, clip(ρ, 1 - c, 1 + c) A) of each token (B, T): no gain for going further than c from the old policy."""
    # ρ = π(a) / π_old(a)
    ratio = torch.exp(logprobs - old_logprobs)
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def ppo_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip: float = 0.2
) -> Tensor:
    """The policy's loss, 0-d: the mean over the mask's tokens of -min(ρ A, clip(ρ) A). clip in (0, 1)."""
    check_tokens(logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages, mask=mask)
    check_number("clip", clip, 1e-6, 1)
    return -(clipped_objective(logprobs, old_logprobs, advantages, clip) * mask).sum() / mask.sum()


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float = 0.2
) -> Tensor:
    """The critic's loss, 0-d: half the mean squared error, of the new value or of one held near the old, the worse."""
    check_tokens(values=values, old_values=old_values, returns=returns, mask=mask)
    check_number("clip", clip, 1e-6)
    near = old_values + (values - old_values).clamp(-clip, clip)
    worse = torch.maximum((values - returns) ** 2, (near - returns) ** 2)
    return 0.5 * (worse * mask).sum() / mask.sum()


def clip_fraction(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip: float = 0.2
) -> Tensor:
    """The share of tokens whose ratio has left the region on the side where it gains nothing more, 0-d."""
    ratio = torch.exp(logprobs - old_logprobs)
    out = ((ratio > 1 + clip) & (advantages > 0)) | ((ratio < 1 - clip) & (advantages < 0))
    return (out * mask).sum() / mask.sum()


class AdaptiveKL:
    """β that moves until the KL divergence from the reference, in nats an answer, is about `target`.

    horizon: answers after which β has changed about e-fold, if KL stays far above the target.
    """

    def __init__(self, beta: float, target: float, horizon: int = 10_000) -> None:
        self.beta, self.target = check_beta(beta), check_beta(target, "target")
        self.horizon = check_int("horizon", horizon, 1)

    def update(self, kl: float, answers: int) -> float:
        """The next β, after so many answers with this mean KL; clipped, so that one odd batch moves it little.

        ValueError, and β stays, where kl is no finite number or answers no whole number above 0.
        """
        check_number("kl", kl), check_int("answers", answers, 1)
        # β <- β (1 + clip(KL / target - 1, -.2, .2) n / horizon)
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.beta *= max(
            1 + error * answers / self.horizon, 0.1
        )  # more answers than the horizon: still above 0
        return self.beta


def check_alike(**tensors: Tensor) -> None:
    """ValueError for what are no tensors of one shape, or a mask without a token."""
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or not x.ndim or x.shape != next(iter(tensors.values())).shape:
            given = ", ".join(f"{name} {describe(x)}" for name, x in tensors.items())
            raise ValueError(f"expected tensors of one shape, got {given}")
    mask = tensors.get("mask")
    if mask is not None and mask.device.type == "cpu" and not mask.sum() > 0:
        raise ValueError("mask must have a token of an answer, it is 0 throughout")


def check_scored(scores: Tensor, mask: Tensor) -> None:
    """ValueError for what are no scores (B,) of answers (B, T) that hold a token each."""
    if mask.ndim != 2 or not isinstance(scores, Tensor) or scores.shape != mask.shape[:1]:
        raise ValueError(
            f"expected scores (B,) of answers (B, T), got {describe(scores)} and mask {describe(mask)}"
        )
    if mask.device.type == "cpu" and not (mask > 0).any(dim=1).all():
        raise ValueError("every row of mask must have a token of its answer, one is 0 throughout")


def check_tokens(**tensors: Tensor) -> None:
    """ValueError for what are no float tensors (B, T) of one shape, a mask of any dtype; or one without a token."""
    shape = (
        next(iter(tensors.values())).shape if all(isinstance(x, Tensor) for x in tensors.values()) else None
    )
    for name, x in tensors.items():
        fits = shape is not None and len(shape) == 2 and x.shape == shape
        if not fits or not (x.is_floating_point() or name == "mask"):  # a mask is 0 and 1 in any dtype
            raise ValueError(f"expected float tensors (B, T) of one shape, got {name} {describe(x)}")
    check_alike(**tensors)
