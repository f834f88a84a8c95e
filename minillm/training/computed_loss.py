"""A loss written as transformers' users write it: a Trainer of one's own with a method `compute_loss`.

    class Weighted(Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            labels = inputs.pop("labels")
            outputs = model(**inputs)
            loss = F.cross_entropy(outputs.logits, labels, weight=torch.tensor([1.0, 5.0]))
            return (loss, outputs) if return_outputs else loss

Book: 3.4.2 트레이너 API를 사용해 학습하기. Held against: transformers.Trainer.compute_loss.
Differs from it: the loss is a mean over the targets of `inputs`; num_items_in_batch is not given, the Trainer itself
weighs the passes of an update by their targets. Our models take no labels, so they are popped before `model(**inputs)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from minillm._checks import describe
from minillm.training.objectives import Objective, Outcome


class ComputedLoss:
    """An objective that asks `compute_loss`; targets are counted as by the objective of the model's head."""

    def __init__(self, compute_loss: Callable[..., Any], counts_as: Objective) -> None:
        self.compute_loss, self.count = compute_loss, counts_as.count

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """The loss; predictions are the logits of the outputs. ValueError for an answer that is no 0-d tensor."""
        if predict:
            loss, outputs = self.compute_loss(model, dict(batch), return_outputs=True)
            logits = outputs["logits"] if isinstance(outputs, Mapping) else outputs.logits
        else:
            loss, logits = self.compute_loss(model, dict(batch)), None
        if not isinstance(loss, Tensor) or loss.ndim:
            raise ValueError(f"compute_loss must return a loss of no axes, got {describe(loss)}")
        return Outcome(loss, logits, batch["labels"])
