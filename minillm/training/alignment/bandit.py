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

from minillm._arrays import as_array
from minillm._checks import check_number, describe, is_listing
from minillm.training.alignment.preference_losses import check_beta


def optimal_policy(reference: Sequence[float], rewards: Sequence[float], beta: float) -> np.ndarray:
    """π* ∝ π_ref exp(r / β), (A,) float64: the best trade of reward against KL(π || π_ref)."""
    p, r = _check(reference, rewards, beta)
    best = r[p > 0].max()  # of what the reference can give at all
    weights = p * np.exp((np.minimum(r, best) - best) / beta)
    return weights / weights.sum()


def k3_policy(reference: Sequence[float], rewards: Sequence[float], beta: float) -> np.ndarray:
    """π* = β π_ref / (λ - r), (A,) float64: the best trade of reward against KL(π_ref || π).

    How far λ lies above the highest reward is found by halving. Answers that the reference can give keep a chance of at
    least β π_ref / (λ - r): the tails are polynomial in r where the other policy's are exponential.
    """
    p, r = _check(reference, rewards, beta)
    best = r[p > 0].max()  # of what the reference can give at all
    behind = best - np.minimum(r, best)  # (A,)
    low, high = 0.0, 1.0  # λ = best + β x: the sum is above 1 at low, at most 1 at high
    for _ in range(200):
        middle = (low + high) / 2
        total = (p / (middle + behind / beta)).sum() if middle else np.inf
        low, high = (middle, high) if total > 1 else (low, middle)
    weights = p / (high + behind / beta)
    return weights / weights.sum()


class BanditPolicy(nn.Module):
    """A language model whose next-token distribution is the same everywhere: softmax of A numbers that are learned."""

    def __init__(self, reference: Sequence[float]) -> None:
        super().__init__()
        p = check_bandit(reference)
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


def check_bandit(reference: Any) -> np.ndarray:
    """Probabilities as float64 (A,); ValueError for what does not sum to 1."""
    p = _row("a probability", reference)
    if not len(p) or (p < 0).any() or abs(p.sum() - 1) > 1e-6:
        raise ValueError(f"expected probabilities (A,) that sum to 1, got {describe(reference)}")
    return p


def check_rewards(reference: Any, rewards: Any) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities, rewards) as float64 (A,) both; ValueError for anything else."""
    p, r = check_bandit(reference), _row("a reward", rewards)
    if p.shape != r.shape:
        raise ValueError(
            f"expected probabilities (A,) that sum to 1 and as many rewards, got {len(p)} and {describe(rewards)}"
        )
    return p, r


def _check(reference: Any, rewards: Any, beta: float) -> tuple[np.ndarray, np.ndarray]:
    check_beta(beta)
    return check_rewards(reference, rewards)


def _row(name: str, values: Any) -> np.ndarray:
    """Finite numbers as float64 (A,), of a list, an array or a tensor."""
    values = list(values) if is_listing(values) and not hasattr(values, "dtype") else values
    try:
        found = as_array(values)
    except (TypeError, ValueError, RuntimeError):
        found = np.zeros(())
    if found.ndim != 1:
        raise ValueError(f"expected a list of numbers, each {name}, got {describe(values)}")
    if found.dtype.kind not in "fiu":
        found = np.array([check_number(name, one) for one in found.tolist()])
    if not np.isfinite(found).all():
        bad = found[~np.isfinite(found)][0]
        raise ValueError(f"{name} must be a finite number, got {bad}")
    return found.astype(np.float64)
