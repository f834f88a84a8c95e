"""Evaluation while training: the mean loss on text the model does not learn from, and any metrics asked for.

    eval_loss = sum over batches of (mean loss * targets) / sum of targets

so that a short last batch does not weigh as much as a full one.

Book: 3.4 모델 학습시키기, whose `compute_metrics(eval_pred)` this serves.
Held against: transformers.Trainer.evaluate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from minillm.training.objectives import Objective
from minillm.training.tally import zeros_for_sums


class EvalPrediction(NamedTuple):
    """What `compute_metrics` is given, as in transformers: `predictions, labels = eval_prediction`.

    For a causal language model predictions are the logits (N, L - 1, V) and label_ids (N, L - 1) the ids that
    came next, -100 where nothing counts: both at the same place, already shifted.
    """

    predictions: np.ndarray
    label_ids: np.ndarray


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    objective: Objective,
    compute_metrics: Callable[[EvalPrediction], Mapping[str, float]] | None = None,
    to_device: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict,
) -> dict[str, float]:
    """{"eval_loss": nats a target, "eval_<metric>": ...} over all batches, the model in evaluation mode meanwhile.

    The model runs once a batch, after `to_device(batch)`. Predictions are kept only if `compute_metrics` is given:
    they take V times the memory of the text. Raises ValueError if no batch has a target.
    """
    was_training = model.training
    model.eval()
    total: Tensor | None = None  # stays on the device: a batch does not wait for the one before it
    count = 0
    kept: list[tuple[Tensor, Tensor]] = []
    try:
        for batch in batches:
            targets = objective.count(batch)
            if targets == 0:
                continue
            found = objective(model, to_device(batch), predict=compute_metrics is not None)
            total = (zeros_for_sums(found.loss.device) if total is None else total) + found.loss * targets
            count += targets
            if compute_metrics is not None:
                kept.append((found.predictions.float().cpu(), found.labels.cpu()))
    finally:
        model.train(was_training)
    if count == 0:
        raise ValueError("eval_data has no targets: every label is ignored")
    scores = {"eval_loss": float(total) / count}
    if compute_metrics is not None:
        predictions, labels = zip(*kept)
        metrics = compute_metrics(EvalPrediction(_joined(predictions, 0), _joined(labels, -100)))
        scores |= {
            name if name.startswith("eval_") else f"eval_{name}": float(metrics[name]) for name in metrics
        }
    return scores


def _joined(tensors: tuple[Tensor, ...], fill: float) -> np.ndarray:
    """Batches as one array; rows padded to the width of their batch are padded further, with `fill`."""
    if tensors[0].ndim > 1:
        width = max(tensor.shape[1] for tensor in tensors)
        missing = [
            tensor.new_full((len(tensor), width - tensor.shape[1], *tensor.shape[2:]), fill)
            for tensor in tensors
        ]
        tensors = tuple(torch.cat(pair, dim=1) for pair in zip(tensors, missing))
    return torch.cat(tensors).numpy()
