"""DPO and its kin: a policy learns from pairs of answers directly, without a reward model and without sampling.

The best policy for reward r under a KL penalty is p ∝ p_ref exp(r / β), so r = β log(p / p_ref) + a number of the
prompt alone. Put that into Bradley and Terry's P(chosen is preferred), and the number falls out:

    Δ    = (log p(chosen) - log p_ref(chosen)) - (log p(rejected) - log p_ref(rejected))
    DPO    -log σ(β Δ)                      label smoothing ε: -(1 - ε) log σ(β Δ) - ε log σ(-β Δ)
    hinge  max(0, 1 - β Δ)                  nothing more to learn once the margin is there
    IPO    (Δ - 1 / (2 β))²                 a margin to reach, not to outgrow: for labels that are always the same

All take log probabilities of whole answers, sums over their tokens, (B,). trl's IPO takes means per token instead: give
it those, and the two agree.

Book: 4.3.2 DPO: 선호 데이터셋을 직접 학습하기.
Papers: Rafailov et al. 2023; Mitchell 2023 (smoothing); Zhao et al. 2023 (hinge); Azar et al. 2023.
Held against: trl's DPOTrainer ("sigmoid", "hinge", "ipo", "aot" for the smoothing).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minillm._checks import check_number
from minillm.training.alignment.logprobs import check_rows


def log_ratio_difference(
    policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor
) -> Tensor:
    """Δ (B,): how much more the policy has moved towards the better answer than towards the worse one, in nats."""
    return (policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)


def dpo_losses(difference: Tensor, beta: float, label_smoothing: float | Tensor = 0.0) -> Tensor:
    """-(1 - ε) log σ(β Δ) - ε log σ(-β Δ) of each pair (B,). ε: the share of labels that are wrong, one or (B,)."""
    return -(1 - label_smoothing) * F.logsigmoid(beta * difference) - label_smoothing * F.logsigmoid(
        -beta * difference
    )


def dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean DPO loss, 0-d. The tensors are log probabilities of whole answers (B,), the policy's with a gradient.

    beta above 0: small lets the policy go far from the reference. label_smoothing in [0, 0.5).
    """
    check_rows(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    check_beta(beta), check_number("label_smoothing", label_smoothing, 0, 0.4999)
    difference = log_ratio_difference(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    return dpo_losses(difference, beta, label_smoothing).mean()


def hinge_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float = 0.1,
) -> Tensor:
    """Mean of max(0, 1 - β Δ), 0-d. Arguments as dpo_loss."""
    check_rows(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    check_beta(beta)
    difference = log_ratio_difference(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    return torch.relu(1 - beta * difference).mean()


def ipo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float = 0.1,
) -> Tensor:
    """Mean of (Δ - 1 / (2 β))², 0-d. Arguments as dpo_loss.

    As the paper's formula stands. trl divides each log probability by the answer's length first; hand in
    `sequence_logprobs / length`, of policy and reference, for its number.
    """
    check_rows(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    check_beta(beta)
    difference = log_ratio_difference(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    return ((difference - 1 / (2 * beta)) ** 2).mean()


def check_beta(beta: float, name: str = "beta") -> float:
    """A finite number above 0."""
    if check_number(name, beta, 0) == 0:
        raise ValueError(f"{name} must be above 0, got 0")
    return float(beta)
