"""A bandit: one prompt, A answers of one token, rewards that are known. Here the right policy can be written down.

    maximise  E_π[r] - β KL(π || π_ref)      ->  π* = π_ref exp(r / β) / Z          PPO, DPO, sampled gradients
    maximise  E_π[r] - β KL(π_ref || π)      ->  π* = β π_ref / (λ - r)             GRPO with k3, see grpo.py

Z and λ make the sum 1. Every method of this room is held against one of these two lines before it meets a language
model: a sign that is wrong, a mask that is off by one, a forgotten β lands somewhere else.

Book: 4.2.3 PPO: 보상 해킹 피하기, 4.3.2 DPO: 선호 데이터셋을 직접 학습하기. Papers: Ziebart 2010,
Rafailov et al. 2023 (first line); Grill et al. 2020 (second).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minillm._checks import check_number, describe
from minillm.training.alignment.preference_losses import check_beta


def optimal_policy(reference: Sequence[float], rewards: Sequence[float], beta: float) -> np.ndarray:
    """π* ∝ π_ref exp(r / β), (A,) float64: the best trade of reward against KL(π || π_ref)."""
    p, r = _check(reference, rewards, beta)
    weights = p * np.exp((r - r.max()) / beta)
    return weights / weights.sum()


def k3_policy(reference: Sequence[float], rewards: Sequence[float], beta: float) -> np.ndarray:
    """π* = β π_ref / (λ - r), (A,) float64: the best trade of reward against KL(π_ref || π).

    λ lies above the highest reward; it is found by halving. Answers that the reference can give keep a chance of at
    least β π_ref / (λ - r): the tails are polynomial in r where the other policy's are exponential.
    """
    p, r = _check(reference, rewards, beta)
    low, high = (
        float((r + beta * p)[p > 0].max()),
        float(r.max() + beta),
    )  # the sum is >= 1 at low, <= 1 at high
    for _ in range(200):
        middle = (low + high) / 2
        total = (beta * p / np.maximum(middle - r, 1e-300)).sum()
        low, high = (middle, high) if total > 1 else (low, middle)
    weights = beta * p / (high - r)
    return weights / weights.sum()


class BanditPolicy(nn.Module):
    """A language model whose next-token distribution is the same everywhere: softmax of A numbers that are learned."""

    def __init__(self, reference: Sequence[float]) -> None:
        super().__init__()
        p, _ = _check(reference, [0.0] * len(reference), 1.0)
        if not (p > 0).all():
            raise ValueError("a policy gives every answer a chance, the reference has a 0")
        self.scores = nn.Parameter(torch.from_numpy(np.log(p)))
        self.config = SimpleNamespace(vocab_size=len(p), max_length=2**31)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        """logits (B, T, A) of ids (B, T)."""
        return SimpleNamespace(logits=self.scores.expand(*input_ids.shape, -1))

    def probabilities(self) -> np.ndarray:
        """(A,) float64."""
        return self.scores.detach().double().softmax(dim=0).numpy()


def _check(reference: Any, rewards: Any, beta: float) -> tuple[np.ndarray, np.ndarray]:
    check_beta(beta)
    p, r = (np.asarray([check_number(name, one) for one in values], dtype=np.float64)
            for name, values in (("a probability", reference), ("a reward", rewards)))  # fmt: skip
    if not len(p) or p.shape != r.shape or (p < 0).any() or abs(p.sum() - 1) > 1e-6:
        raise ValueError(
            f"expected probabilities (A,) that sum to 1 and rewards (A,), got {describe(reference)}"
        )
    return p, r
