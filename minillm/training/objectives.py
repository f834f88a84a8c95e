"""What a model is trained for: an objective turns a batch into one number to make small.

    causal language model:   loss = mean over t of  -log p(x_{t+1} | x_1 ... x_t)

An objective is any object with the two methods below. A batch is a dict of tensors: `input_ids` (B, L)
int64, `labels` (B, L) int64 with -100 where nothing is to be learned, and `attention_mask` (B, L) of 0/1 if
rows are padded. As in transformers, labels stand at the same place as the ids they copy, and the objective
does the shift by one.

Book: 2.8 주요 사전 학습 메커니즘. Paper: Radford et al. 2019 (GPT-2). Held against: transformers' causal-LM loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from minillm._checks import check_flag, check_int, check_number, describe
from minillm.training.cross_entropy import cross_entropy
from minillm.training.linear_cross_entropy import linear_cross_entropy


class Outcome(NamedTuple):
    """What an objective makes of a batch in one run of the model.

    loss: the mean over the batch's targets, 0-d. predictions, labels: for `compute_metrics`, first axes equal, place
    by place; predictions may be None where they were not asked for.
    """

    loss: Tensor
    predictions: Tensor | None
    labels: Tensor


class Objective(Protocol):
    """What the Trainer asks of an objective."""

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """Run the model once: the loss, with a gradient, and (predict) what `compute_metrics` is given."""

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """How many targets the loss is the mean of: batches are averaged by target, not by batch.

        Asked before the batch is moved to a GPU, where the answer would have to be waited for.
        """


class CausalLMObjective:
    """Predict every token from those before it.

    `ignore_index` marks labels that teach nothing (padding, a prompt); `label_smoothing` in [0, 1]. `fused`: take the
    last layer and its loss together (`linear_cross_entropy`), so that the logits, V numbers a token, are never there
    as a whole; the model then has a `body` and a `head`, an nn.Linear. The last token of a row has no successor, so
    it is not run through the model: a row of L tokens costs L - 1.
    """

    def __init__(self, ignore_index: int = -100, label_smoothing: float = 0.0, fused: bool = False) -> None:
        self.ignore_index = check_int("ignore_index", ignore_index)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)
        self.fused = check_flag("fused", fused)

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """Mean cross-entropy in nats over the targets of the batch, a 0-d tensor with a gradient.

        Predictions are the logits (B, L - 1, V), labels the ids that came next, at the same places (B, L - 1). A
        fused objective has logits only if `predict` asks for them. ValueError for a batch without `labels` (B, L),
        L >= 2, or a fused objective's model without an nn.Linear as head.
        """
        targets = _labels(batch)[:, 1:]
        mask = batch.get("attention_mask")
        inputs = {"input_ids": batch["input_ids"][:, :-1]}
        inputs |= {} if mask is None else {"attention_mask": mask[:, :-1]}
        if self.fused and not predict:
            head = getattr(model, "head", None)
            if not hasattr(model, "body") or not isinstance(head, nn.Linear):
                raise ValueError(
                    f"fused=True needs a model with a body and an nn.Linear as head, got {describe(head)}"
                )
            hidden = model.body(**inputs).last_hidden_state  # (B, L - 1, C)
            weights = (head.weight, targets, head.bias)
            loss = linear_cross_entropy(hidden, *weights, self.ignore_index, self.label_smoothing)
            return Outcome(loss, None, targets)
        logits = model(**inputs).logits  # (B, L - 1, V)
        flat = logits.reshape(-1, logits.shape[-1])
        loss = cross_entropy(flat, targets.reshape(-1), self.ignore_index, self.label_smoothing)
        return Outcome(loss, logits, targets)

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Number of targets in the batch. ValueError for a batch without `labels` (B, L), L >= 2."""
        return int((_labels(batch)[:, 1:] != self.ignore_index).sum())


def _labels(batch: Mapping[str, Tensor]) -> Tensor:
    labels = batch.get("labels") if isinstance(batch, Mapping) else None
    if not isinstance(labels, Tensor) or labels.ndim != 2 or labels.shape[1] < 2:
        raise ValueError(f"a batch needs labels (B, L) with L at least 2, got {describe(labels)}")
    return labels
