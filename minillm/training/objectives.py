"""What a model is trained for: an objective turns a batch into one number to make small.

    causal language model   mean over t of  -log p(x_{t+1} | x_1 ... x_t)            every token is a target
    masked language model   mean over masked t of  -log p(x_t | the text with holes)
    sequence to sequence    mean over t of  -log p(y_t | x, y_1 ... y_{t-1})         T5, BART, translation
    classification          -log p(label | x); for numbers (label - output)²; several labels: one yes or no each
    question answering      -(log p(start | x) + log p(end | x)) / 2                 where the answer stands

An objective is any object with the two methods below. A batch is a dict of tensors: `input_ids` (B, L) int64,
`labels` with -100 where nothing is to be learned, and `attention_mask` (B, L) of 0/1 if rows are padded. As in
transformers, labels of a causal model stand at the same place as the ids they copy, and the objective does the shift.

Book: 2.8 주요 사전 학습 메커니즘. Papers: Radford et al. 2019 (GPT-2), Devlin et al. 2019 (BERT), Raffel et al. 2020
(T5), Lewis et al. 2020 (BART). Held against: the losses of transformers' models.
Leaves out: BERT's next-sentence prediction.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number, describe
from minillm.training.cross_entropy import cross_entropy
from minillm.training.linear_cross_entropy import linear_cross_entropy

# What of a batch a model reads; labels and whatever else a data set carries are not for it
READ = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
READ_BY_A_DECODER = ("decoder_input_ids", "decoder_attention_mask")


class Outcome(NamedTuple):
    """What an objective makes of a batch in one run of the model.

    loss: the mean over the batch's targets, 0-d. predictions, labels: for `compute_metrics`, first axes equal, place
    by place; predictions may be None where they were not asked for.
    """

    loss: Tensor
    predictions: Tensor | None
    labels: Tensor


class Objective(Protocol):
    """What the Trainer asks of an objective.

    An attribute `rows_apart = True` says that rows do not meet in the loss, as they do in one with in-batch negatives:
    then a run may be resumed with its batches cut otherwise.
    """

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
    it is not run through the model: a row of L tokens costs L - 1. `shifted=False`: predictions and labels of a metric
    have all L places, as transformers' Trainer gives them; the metric then moves one against the other.
    """

    rows_apart = True

    def __init__(
        self,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        fused: bool = False,
        shifted: bool = True,
    ) -> None:
        self.ignore_index = check_int("ignore_index", ignore_index)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)
        self.fused = check_flag("fused", fused)

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """Mean cross-entropy in nats over the targets of the batch, a 0-d tensor with a gradient.

        Predictions are the logits (B, L - 1, V), labels the ids that came next, at the same places (B, L - 1). A
        fused objective has logits only if `predict` asks for them. ValueError for a batch without `labels` (B, L),
        L >= 2, or a fused objective's model without an nn.Linear as head.
        """
        targets, inputs = _labels(batch, shortest=2)[:, 1:], self.inputs(batch)
        if self.fused and not predict:
            return self._without_logits(model, inputs, targets)
        logits = model(**inputs).logits  # (B, L - 1, V)
        loss = token_loss(logits, targets, self.ignore_index, self.label_smoothing)
        return Outcome(loss, logits, targets)

    def _without_logits(self, model: Any, inputs: dict[str, Tensor], targets: Tensor) -> Outcome:
        head = getattr(model, "head", None)
        if not hasattr(model, "body") or not isinstance(head, nn.Linear):
            raise ValueError(
                f"fused=True needs a model with a body and an nn.Linear as head, got {describe(head)}"
            )
        hidden = model.body(**inputs).last_hidden_state  # (B, L - 1, C)
        weights = (head.weight, targets, head.bias)
        loss = linear_cross_entropy(hidden, *weights, self.ignore_index, self.label_smoothing)
        return Outcome(loss, None, targets)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the model reads: all but the last token of each row."""
        mask = batch.get("attention_mask")
        inputs = {"input_ids": batch["input_ids"][:, :-1]}
        return inputs if mask is None else inputs | {"attention_mask": mask[:, :-1]}

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Number of targets in the batch. ValueError for a batch without `labels` (B, L), L >= 2."""
        return int((_labels(batch, shortest=2)[:, 1:] != self.ignore_index).sum())


class PictureObjective(CausalLMObjective):
    """The same for a model that reads pictures, too: `pixel_values`, or the `picture_states` its tower made of them.

    They belong to the batch as a whole, in the order of its image tokens. As in LLaVA, where only answers are labelled.
    """

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the model reads: all but the last token of each row, and the pictures."""
        return super().inputs(batch) | _inputs(batch, ("pixel_values", "picture_states"))


class UnshiftedCausalLMObjective(CausalLMObjective):
    """The same, but a metric is given all L places, logits and labels as they stand: as by transformers' Trainer.

    The metric then moves one against the other itself.
    """

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """As CausalLMObjective's; predictions (B, L, V), labels (B, L) as they came."""
        if not predict:
            return super().__call__(model, batch)
        labels = _labels(batch, shortest=2)
        logits = model(**_inputs(batch, ("input_ids", "attention_mask"))).logits  # (B, L, V)
        loss = token_loss(logits[:, :-1], labels[:, 1:], self.ignore_index, self.label_smoothing)
        return Outcome(loss, logits, labels)


class MaskedLMObjective:
    """Predict, at the same place, the tokens that were taken out of the text; every token may see the whole text.

    Labels hold the lost ids and `ignore_index` everywhere else (masking.py makes them). It also is the objective of
    any label per token (named entities). `label_smoothing` in [0, 1].
    """

    rows_apart = True

    def __init__(self, ignore_index: int = -100, label_smoothing: float = 0.0) -> None:
        self.ignore_index = check_int("ignore_index", ignore_index)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """Mean cross-entropy in nats over the targets; predictions (B, L, V), labels (B, L).

        ValueError for a batch without `labels` (B, L), or a model whose logits have other places than the labels.
        """
        targets = _labels(batch)
        logits = model(**_inputs(batch, READ)).logits  # (B, L, V)
        loss = token_loss(logits, targets, self.ignore_index, self.label_smoothing)
        return Outcome(loss, logits, targets)

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Number of targets in the batch. ValueError for a batch without `labels` (B, L)."""
        return int((_labels(batch) != self.ignore_index).sum())


class Seq2SeqObjective(MaskedLMObjective):
    """Write the labels token by token, from the encoder's text and from the labels before.

    The decoder reads the labels moved right by one, behind the model's `decoder_start_token_id` (`shift_right`), so
    that at every place it has seen the answer up to there and no further. Labels (B, T) may be longer or shorter than
    `input_ids` (B, S); `ignore_index` marks their padding.
    """

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """Mean cross-entropy in nats over the targets; predictions (B, T, V), labels (B, T).

        A batch may bring its own `decoder_input_ids`. ValueError for a batch without `labels` (B, T), or a model
        whose config has no decoder_start_token_id or pad_token_id.
        """
        targets = _labels(batch)
        inputs = _inputs(batch, READ + READ_BY_A_DECODER)
        if "decoder_input_ids" not in inputs:
            config = getattr(model, "config", None)
            ids = [getattr(config, name, None) for name in ("decoder_start_token_id", "pad_token_id")]
            if None in ids:
                raise ValueError(
                    "the model's config must have a decoder_start_token_id and a pad_token_id, or the batch its own "
                    f"decoder_input_ids; got {ids[0]} and {ids[1]}"
                )
            inputs["decoder_input_ids"] = shift_right(targets, *ids, self.ignore_index)
        logits = model(**inputs).logits  # (B, T, V)
        loss = token_loss(logits, targets, self.ignore_index, self.label_smoothing)
        return Outcome(loss, logits, targets)


class ClassificationObjective:
    """One answer a text: which class, how much, or which of several labels.

    `problem_type` as in transformers; None asks the model's config, and then decides as transformers does:
    "regression" for a model with one output, labels (B,) or (B, 1); else "single_label_classification" for integer
    labels (B,), of which -100 is left out, and "multi_label_classification" for float labels (B, n) of 0 and 1.
    `label_smoothing` in [0, 1] is for classes only.
    """

    rows_apart = True

    KINDS = ("regression", "single_label_classification", "multi_label_classification")

    def __init__(self, problem_type: str | None = None, label_smoothing: float = 0.0) -> None:
        self.problem_type = check_choice("problem_type", problem_type, (None, *self.KINDS))
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """Mean loss over the labels; predictions are the logits (B, n), labels as they came.

        ValueError for labels that do not fit the problem, or smoothing of anything but classes.
        """
        labels = _labels(batch, axes=(1, 2))
        logits = model(**_inputs(batch, READ)).logits  # (B, n)
        kind = self.problem_type or getattr(getattr(model, "config", None), "problem_type", None)
        if kind is None:
            several = self.KINDS[2] if labels.is_floating_point() else self.KINDS[1]
            kind = self.KINDS[0] if logits.shape[-1] == 1 else several
        if check_choice("problem_type", kind, self.KINDS) == "single_label_classification":
            return Outcome(token_loss(logits, labels, -100, self.label_smoothing), logits, labels)
        if self.label_smoothing:
            raise ValueError(f"label_smoothing is for classes, got {self.label_smoothing} for {kind}")
        wanted = (tuple(logits.shape), logits.shape[:1] if logits.shape[-1] == 1 else None)
        if tuple(labels.shape) not in wanted:
            raise ValueError(f"labels for {kind} must have the shape {wanted[0]}, got {describe(labels)}")
        targets = labels.reshape(logits.shape).float()
        losses = {"regression": F.mse_loss, "multi_label_classification": F.binary_cross_entropy_with_logits}
        return Outcome(losses[kind](logits.float(), targets), logits, labels)

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Number of labels in the batch. ValueError for a batch without `labels` (B,) or (B, n)."""
        labels = _labels(batch, axes=(1, 2))
        classes = self.problem_type in (None, self.KINDS[1]) and not labels.is_floating_point()
        return int((labels != -100).sum()) if classes else labels.numel()


class QuestionAnsweringObjective:
    """Where the answer starts and where it ends: two classifications over the places of the text.

    A place behind the end of the row is no target, as in transformers.
    """

    rows_apart = True

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """Mean of both losses; predictions (B, 2, T) hold start and end scores, labels (B, 2) the places.

        ValueError for a batch without `start_positions` and `end_positions` (B,).
        """
        targets = self._targets(batch)
        out = model(**_inputs(batch, READ))
        logits = torch.stack([out.start_logits, out.end_logits], dim=1)  # (B, 2, T)
        targets = targets.masked_fill(targets >= logits.shape[-1], -100)
        loss = sum(token_loss(logits[:, part], targets[:, part], -100, 0.0) for part in (0, 1)) / 2
        return Outcome(loss, logits, targets)

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Number of texts in the batch."""
        return len(self._targets(batch))

    def _targets(self, batch: Mapping[str, Tensor]) -> Tensor:
        places = [batch.get(f"{end}_positions") for end in ("start", "end")]
        if not all(isinstance(one, Tensor) and one.ndim == 1 for one in places):
            raise ValueError(f"a batch needs start_positions and end_positions (B,), got {sorted(batch)}")
        return torch.stack(places, dim=1)  # (B, 2)


class OwnLossObjective:
    """The loss that a model computes itself from `labels`, as transformers' models do."""

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """The model's own loss; predictions are its logits, labels as they came."""
        out = model(**batch)
        if getattr(out, "loss", None) is None:
            raise ValueError(f"the model gave no loss for a batch of {sorted(batch)}")
        return Outcome(out.loss, out.logits, batch["labels"])

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Number of labels that are not ignored. ValueError for a batch without `labels`."""
        labels = _labels(batch, axes=(1, 2))
        return int((labels != -100).sum())


def scores_without_labels(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """What a model says of a batch that has no labels: its logits, or start and end scores (B, 2, T)."""
    out = model(**_inputs(batch, READ + READ_BY_A_DECODER))
    return (
        torch.stack([out.start_logits, out.end_logits], dim=1) if hasattr(out, "start_logits") else out.logits
    )


# how transformers' names of models end -> what they are trained for
BY_TASK = {
    "ForSequenceClassification": ClassificationObjective,
    "ForTokenClassification": MaskedLMObjective,
    "ForMaskedLM": MaskedLMObjective,
    "ForQuestionAnswering": QuestionAnsweringObjective,
    "LlavaForConditionalGeneration": PictureObjective,
    "ForConditionalGeneration": Seq2SeqObjective,
}


def objective_for(model: nn.Module, label_smoothing: float = 0.0, shifted: bool = True) -> Any:
    """The objective that a model's head is made for; a causal language model's where nothing says otherwise.

    shifted: whether a metric is given a causal model's logits beside the ids that came next. A model of others, whose
    forward takes `labels`, computes its own loss. ValueError for label smoothing where the objective has none.
    """
    name = model.architecture() if hasattr(model, "architecture") else ""
    kind = next((kind for ending, kind in BY_TASK.items() if name.endswith(ending)), CausalLMObjective)
    if not name and "labels" in inspect.signature(type(model).forward).parameters:
        kind = OwnLossObjective
    if kind is CausalLMObjective and not shifted:
        kind = UnshiftedCausalLMObjective
    if not label_smoothing:
        return kind()
    if kind in (OwnLossObjective, QuestionAnsweringObjective):
        raise ValueError(f"label smoothing is not for {kind.__name__}, got {label_smoothing:g}")
    return kind(label_smoothing=label_smoothing)


def shift_right(
    labels: Tensor, decoder_start_token_id: int, pad_token_id: int, ignore_index: int = -100
) -> Tensor:
    """What a decoder reads while it learns to write labels (B, T): the same, one place later, int64.

    [[7, 8, 9, -100]] with start 2 and pad 0 -> [[2, 7, 8, 9]]; an ignored label becomes a pad: -100 is no id.
    ValueError for labels that are no LongTensor (B, T) of at least one place, and for ids that are no whole numbers.
    """
    if (
        not isinstance(labels, Tensor)
        or labels.dtype != torch.int64
        or labels.dim() != 2
        or not labels.shape[1]
    ):
        raise ValueError(f"labels must be a LongTensor (B, T) of at least one place, got {describe(labels)}")
    check_int("decoder_start_token_id", decoder_start_token_id, 0), check_int("pad_token_id", pad_token_id, 0)
    start = labels.new_full((len(labels), 1), decoder_start_token_id)
    moved = torch.cat([start, labels[:, :-1]], dim=1)
    return moved.masked_fill(moved == ignore_index, pad_token_id)


def token_loss(logits: Tensor, targets: Tensor, ignore_index: int, label_smoothing: float) -> Tensor:
    """Mean cross-entropy in nats of logits (..., V) against targets (...) int64; ValueError for other shapes."""
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"labels must have the shape {tuple(logits.shape[:-1])} of the model's logits without the last axis, "
            f"got {describe(targets)}"
        )
    flat = logits.reshape(-1, logits.shape[-1])
    return cross_entropy(flat, targets.reshape(-1), ignore_index, label_smoothing)


def _inputs(batch: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: batch[name] for name in names if batch.get(name) is not None}


def _labels(batch: Mapping[str, Tensor], axes: tuple[int, ...] = (2,), shortest: int = 1) -> Tensor:
    labels = batch.get("labels") if isinstance(batch, Mapping) else None
    if not isinstance(labels, Tensor) or labels.ndim not in axes or labels.shape[-1] < shortest:
        shape = "(B, L)" if axes == (2,) else "(B,) or (B, n)"
        long = f" with L at least {shortest}" if axes == (2,) else ""
        got = describe(labels)
        if labels is None and isinstance(batch, Mapping) and batch:
            got += f" in a batch of {', '.join(map(str, batch))}"
        raise ValueError(f"a batch needs labels {shape}{long}, got {got}")
    return labels
