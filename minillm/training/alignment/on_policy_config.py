"""The settings that PPO and GRPO share.

Book: 4.2.3 PPO: 보상 해킹 피하기.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_int, check_number
from minillm.training.schedule import SCHEDULES


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
    max_kl: float | None = None
    """nats an answer from the reference at which the run ends; weights that are further away are not kept"""
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
        if self.max_kl is not None and check_number("max_kl", self.max_kl, 0) == 0:
            raise ValueError("max_kl must be above 0, got 0")
        check_number("clip", self.clip, 1e-6, 1), check_number("max_grad_norm", self.max_grad_norm, 1e-9)
        check_choice("schedule", self.schedule, SCHEDULES)
        if self.checkpoint_every is not None and self.checkpoint_folder is None:
            raise ValueError("checkpoint_every needs a checkpoint_folder, got None")

    def what_decides_the_weights(self) -> dict[str, Any]:
        """What a resumed run must share."""
        return {k: v for k, v in asdict(self).items() if not k.startswith("checkpoint")}
