"""What a model is trained for: an objective turns a batch into one number to make small.

    causal language model:   loss = mean over t of  -log p(x_{t+1} | x_1 ... x_t)

An objective is any object with the three methods below. A batch is a dict of tensors: `input_ids` (B, L)
int64, `labels` (B, L) int64 with -100 where nothing is to be learned, and `attention_mask` (B, L) of 0/1 if
rows are padded. As in transformers, labels stand at the same place as the ids they copy, and the objective
does the shift by one.

Book: 2.8 주요 사전 학습 메커니즘. Paper: Radford et al. 2019 (GPT-2). Held against: transformers' causal-LM loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from minillm._checks import check_int, check_number, describe
from minillm.training.cross_entropy import cross_entropy


class Objective(Protocol):
    """What the Trainer asks of an objective."""

    def __call__(self, model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean loss of the batch, a 0-d tensor with a gradient."""

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """How many targets that mean is over: batches are averaged by target, not by batch."""

    def predict(self, model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(predictions, labels) for `compute_metrics`: first axes equal, place by place."""


class CausalLMObjective:
    """Predict every token from those before it.

    `ignore_index` marks labels that teach nothing (padding, a prompt); `label_smoothing` in [0, 1].
    The last token of a row has no successor, so it is not run through the model: a row of L tokens costs L -
    1.
    """

    def __init__(self, ignore_index: int = -100, label_smoothing: float = 0.0) -> None:
        self.ignore_index = check_int("ignore_index", ignore_index)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)

    def __call__(self, model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean cross-entropy in nats over the targets of the batch, a 0-d tensor with a gradient."""
        logits, targets = self.predict(model, batch)  # (B, L - 1, V), (B, L - 1)
        flat = logits.reshape(-1, logits.shape[-1])
        return cross_entropy(flat, targets.reshape(-1), self.ignore_index, self.label_smoothing)

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Number of targets in the batch. ValueError for a batch without `labels` (B, L), L >= 2."""
        return int((_labels(batch)[:, 1:] != self.ignore_index).sum())

    def predict(self, model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, L - 1, V) and, at the same places, the ids that came next (B, L - 1)."""
        targets = _labels(batch)[:, 1:]
        mask = batch.get("attention_mask")
        mask = {} if mask is None else {"attention_mask": mask[:, :-1]}
        return model(batch["input_ids"][:, :-1], **mask).logits, targets


def _labels(batch: Mapping[str, Tensor]) -> Tensor:
    labels = batch.get("labels") if isinstance(batch, Mapping) else None
    if not isinstance(labels, Tensor) or labels.ndim != 2 or labels.shape[1] < 2:
        raise ValueError(f"a batch needs labels (B, L) with L at least 2, got {describe(labels)}")
    return labels
