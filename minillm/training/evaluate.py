"""Evaluation while training: the mean loss on text the model does not learn from, and any metrics asked for.

    eval_loss = sum over batches of (mean loss * targets) / sum of targets

so that a short last batch does not weigh as much as a full one.

Book: 3.4 모델 학습시키기, whose `compute_metrics(eval_pred)` this serves.
Held against: transformers.Trainer.evaluate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from minillm._checks import describe
from minillm.training.objectives import Objective, scores_without_labels
from minillm.training.tally import zeros_for_sums


class EvalPrediction(NamedTuple):
    """What `compute_metrics` is given, as in transformers: `predictions, labels = eval_prediction`.

    Rows that are shorter than others are filled up with -100, in both. For a causal language model trained by a
    TrainerConfig predictions are the logits (N, L - 1, V) and label_ids (N, L - 1) the ids that came next: both at the
    same place, already shifted. With TrainingArguments both have L places and are not shifted, as in transformers.
    """

    predictions: np.ndarray
    label_ids: np.ndarray


class PredictionOutput(NamedTuple):
    """What `Trainer.predict` gives, as in transformers; label_ids is None for examples without labels."""

    predictions: np.ndarray
    label_ids: np.ndarray | None
    metrics: dict[str, float]


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    objective: Objective,
    compute_metrics: Callable[[EvalPrediction], Mapping[str, float]] | None = None,
    to_device: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict,
    prefix: str = "eval",
    preprocess: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """{"eval_loss": nats a target, "eval_<metric>": ...} over all batches, the model in evaluation mode meanwhile.

    The model runs once a batch, after `to_device(batch)`. Predictions are kept only if `compute_metrics` is given:
    they take V times the memory of the text, unless `preprocess(logits, labels)` makes less of each batch's (the
    argmax, say). Raises ValueError if no batch has a target.
    """
    found = predict(
        model, batches, objective, compute_metrics, to_device, prefix, compute_metrics is not None, preprocess
    )
    if found.label_ids is None:
        raise ValueError("an evaluation needs labels, the batches have none; predict() works without")
    return found.metrics


@torch.no_grad()
def predict(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    objective: Objective,
    compute_metrics: Callable[[EvalPrediction], Mapping[str, float]] | None = None,
    to_device: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict,
    prefix: str = "test",
    keep: bool = True,
    preprocess: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> PredictionOutput:
    """Predictions, labels and `evaluate`'s figures; arrays of length 0 unless they are to be kept.

    If the first batch has no labels, label_ids is None and there are no figures.
    """
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise ValueError("there is no batch to predict from")
    batches = chain([first], batches)
    if keep and not {"labels", "start_positions"} & set(first):
        return PredictionOutput(_joined(_unlabelled(model, batches, to_device)), None, {})
    was_training = model.training
    model.eval()
    total: Tensor | None = None  # stays on the device: a batch does not wait for the one before it
    count = 0
    kept: list[tuple[Tensor, Tensor]] = []
    try:
        for batch in batches:
            targets = objective.count(batch)
            if targets == 0 and not keep:
                continue
            found = objective(model, to_device(batch), predict=keep)
            if targets:
                total = (zeros_for_sums(found.loss.device) if total is None else total) + found.loss * targets
            count += targets
            if keep:
                predictions = found.predictions
                if preprocess is not None:
                    predictions = preprocess(predictions, found.labels)
                kept.append((as_numbers(predictions), found.labels.cpu()))
    finally:
        model.train(was_training)
    if count == 0:
        raise ValueError("eval_data has no targets: every label is ignored")
    scores = {f"{prefix}_loss": float(total) / count}
    predictions, labels = (_joined(list(part)) for part in zip(*kept)) if keep else (np.zeros(0),) * 2
    if compute_metrics is not None:
        metrics = compute_metrics(EvalPrediction(predictions, labels))
        if not isinstance(metrics, Mapping):
            raise ValueError(
                f"compute_metrics must return a dict of names and numbers, got {describe(metrics)}"
            )
        for name, value in metrics.items():
            full = name if name.startswith(f"{prefix}_") else f"{prefix}_{name}"
            scores[full] = _as_float(name, value)
    return PredictionOutput(predictions, labels, scores)


def as_numbers(predictions: Tensor) -> Tensor:
    """On the CPU; bfloat16 and float16, which numpy or its functions lack, as float32."""
    return predictions.float().cpu() if predictions.is_floating_point() else predictions.cpu()


def _as_float(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"compute_metrics must give numbers, {name!r} is {describe(value)}; arrays, such as a confusion matrix, "
            "are made from trainer.predict(...)"
        ) from None


def _unlabelled(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    to_device: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
) -> list[Tensor]:
    """Scores of each batch, on the CPU."""
    was_training = model.training
    model.eval()
    try:
        return [as_numbers(scores_without_labels(model, to_device(batch))) for batch in batches]
    finally:
        model.train(was_training)


def _joined(tensors: list[Tensor], fill: float = -100) -> np.ndarray:
    """Batches as one array; rows padded to the width of their batch are padded further, with `fill`."""
    if tensors[0].ndim > 1:
        width = max(tensor.shape[1] for tensor in tensors)
        missing = [
            tensor.new_full((len(tensor), width - tensor.shape[1], *tensor.shape[2:]), fill)
            for tensor in tensors
        ]
        tensors = [torch.cat(pair, dim=1) for pair in zip(tensors, missing)]
    return torch.cat(tensors).numpy()
