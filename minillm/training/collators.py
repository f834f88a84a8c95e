"""Collators: examples of different lengths become one batch, each padded only as far as the longest of the batch.

    [{"input_ids": [5, 6, 7], "label": 1}, {"input_ids": [8], "label": 0}]
        ->  input_ids [[5, 6, 7], [8, 0, 0]]   attention_mask [[1, 1, 1], [1, 0, 0]]   labels [1, 0]

Padding to the longest of all texts would make a model read mostly padding. A collator is any function from a list of
dicts to a dict of tensors. One that draws at random draws from torch's generator: the Trainer seeds it from (seed,
step) before each batch, so that a resumed run sees the same holes.

Book: 3.4.2 트레이너 API를 사용해 학습하기. Held against: transformers' data collators of the same names.
Leaves out: whole words (masking.py has them), other frameworks' arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minillm._checks import check_choice, check_int, describe
from minillm.training.batches import Batch
from minillm.training.masking import MaskedLMNoise

FILLERS = {"attention_mask": 0, "token_type_ids": 0, "special_tokens_mask": 1}
LABELS = ("label", "labels", "label_ids")


def pad(rows: Sequence[Any], filler: int, width: int, side: str = "right") -> Tensor:
    """Rows of ids as one int64 tensor (B, width), filled up with `filler`."""
    out = np.full((len(rows), width), filler, dtype=np.int64)
    for place, row in enumerate(rows):
        row = row.tolist() if isinstance(row, Tensor) else row
        if side == "right":
            out[place, : len(row)] = row
        else:
            out[place, width - len(row) :] = row
    return torch.from_numpy(out)


def check_rows(columns: Mapping[str, Sequence[Any]]) -> None:
    """ValueError unless input_ids holds lists of whole numbers, and mask and types are as long as the ids they go with:
    a mask that is too short would hide tokens, and 1.5 would become the id 1."""
    lengths: list[int] = []
    for name in ("input_ids", *FILLERS):
        for place, row in enumerate(columns.get(name, ())):
            if not (type(row) is list and set(map(type, row)) <= {int}) and not _whole(
                row
            ):  # the usual row first
                raise ValueError(
                    f"{name} must be a list of whole numbers, got {describe(row)} (example {place})"
                )
            if name == "input_ids":
                lengths.append(len(row))
            elif len(row) != lengths[place]:
                raise ValueError(
                    f"{name} must be as long as input_ids, got {len(row)} for {lengths[place]} (example {place})"
                )


def _whole(row: Any) -> bool:
    try:
        cells = np.asarray(row.tolist() if isinstance(row, Tensor) else row)
        exact = cells.dtype.kind in "biu" or bool((np.isfinite(cells) & (cells == np.floor(cells))).all())
    except (ValueError, TypeError):  # texts, None, lists of different lengths
        return False
    return exact and cells.ndim == 1


@dataclass
class DataCollatorWithPadding:
    """Pads the inputs; `label` or `label_ids` become `labels`: one number or one list of numbers for each example.

    tokenizer: anything with `pad_token_id` (and `padding_side`). padding: True or "longest", or "max_length" with
    `max_length`. ValueError for examples of different columns, none, or without a token to pad with.
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __post_init__(self) -> None:
        if not hasattr(self.tokenizer, "pad_token_id"):
            raise ValueError(f"tokenizer must have a pad_token_id, got {describe(self.tokenizer)}")
        check_choice("padding", self.padding, (True, "longest", "max_length"))
        check_choice("return_tensors", self.return_tensors, ("pt",))
        if self.max_length is not None:
            check_int("max_length", self.max_length, 1)
        elif self.padding == "max_length":
            raise ValueError('padding="max_length" needs a max_length, got None')
        if self.pad_to_multiple_of is not None:
            check_int("pad_to_multiple_of", self.pad_to_multiple_of, 1)

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> Batch:
        """A list of B examples -> a dict of tensors: inputs (B, longest), labels (B,) or (B, n)."""
        inputs, labels = self.without_labels(features)
        batch = self.padded_inputs(inputs)
        return batch if labels is None else batch | {"labels": self.label_tensor(labels, batch)}

    def without_labels(
        self, features: Sequence[Mapping[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[Any] | None]:
        """(the examples without their labels, the labels or None)."""
        if not features or not all(isinstance(one, Mapping) for one in features):
            raise ValueError(f"features must be a list of dicts, got {describe(features)}")
        if any(one.keys() != features[0].keys() for one in features):
            other = next(one for one in features if one.keys() != features[0].keys())
            raise ValueError(f"examples have different columns: {sorted(features[0])} and {sorted(other)}")
        name = next((name for name in LABELS if features[0].get(name) is not None), None)
        labels = None if name is None else [one[name] for one in features]
        return [{key: one[key] for key in one if key not in LABELS} for one in features], labels

    def padded_inputs(self, features: Sequence[Mapping[str, Any]]) -> Batch:
        """The columns of the inputs as tensors, with an attention mask."""
        if "input_ids" not in features[0]:
            raise ValueError(f"examples must have input_ids, got the columns {sorted(features[0])}")
        columns = {name: [one[name] for one in features] for name in features[0]}
        check_rows(columns)
        if "attention_mask" not in columns:
            columns["attention_mask"] = [[1] * len(ids) for ids in columns["input_ids"]]
        width = self.width([len(ids) for ids in columns["input_ids"]])
        pads = any(len(ids) < width for ids in columns["input_ids"])
        if pads and self.tokenizer.pad_token_id is None:
            raise ValueError(
                "the examples differ in length, and the tokenizer has no pad_token_id to fill them up with"
            )
        fillers = {**FILLERS, "input_ids": self.tokenizer.pad_token_id or 0}
        return {
            name: pad(rows, fillers[name], width, self.side) if name in fillers else as_tensor(name, rows)
            for name, rows in columns.items()
        }

    def width(self, lengths: Sequence[int]) -> int:
        """How wide the batch of rows of these lengths is."""
        width = max(*lengths, self.max_length) if self.padding == "max_length" else max(lengths)
        multiple = self.pad_to_multiple_of or 1
        return -(-width // multiple) * multiple

    @property
    def side(self) -> str:
        """The side that is filled up."""
        return getattr(self.tokenizer, "padding_side", "right")

    def label_tensor(self, labels: Sequence[Any], batch: Batch) -> Tensor:
        """One label for each example."""
        return as_tensor("labels", labels)


@dataclass
class DataCollatorForTokenClassification(DataCollatorWithPadding):
    """Pads inputs and labels, one label for each token, to the same width."""

    label_pad_token_id: int = -100

    def label_tensor(self, labels: Sequence[Any], batch: Batch) -> Tensor:
        """(B, longest), as wide as the inputs."""
        return pad(labels, self.label_pad_token_id, batch["input_ids"].shape[1], self.side)


@dataclass
class DataCollatorForSeq2Seq(DataCollatorWithPadding):
    """Pads inputs and labels, each to its own longest. `model` is not needed: the objective shifts the labels."""

    model: Any = None
    label_pad_token_id: int = -100

    def label_tensor(self, labels: Sequence[Any], batch: Batch) -> Tensor:
        """(B, longest label)."""
        return pad(labels, self.label_pad_token_id, self.width([len(one) for one in labels]), self.side)


@dataclass
class DataCollatorForLanguageModeling(DataCollatorWithPadding):
    """Makes the labels: the ids themselves (mlm=False), or what stood under masks drawn anew for each batch (mlm=True).

    As in transformers, a token whose id is the padding's is no target, wherever it stands.
    """

    mlm: bool = True
    mlm_probability: float = 0.15
    mask_replace_prob: float = 0.8
    random_replace_prob: float = 0.1
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.noise = None
        if not self.mlm:
            return
        mask = mask_id(self.tokenizer)
        if mask is None:
            raise ValueError(
                "mlm=True needs a tokenizer with a mask token ([MASK] or <mask>); pass mlm=False"
            )
        special = sorted(self.tokenizer.special_tokens.values())
        shares = (self.mlm_probability, self.mask_replace_prob, self.random_replace_prob)
        self.noise = MaskedLMNoise(mask, self.tokenizer.vocab_size, special, *shares)

    def __call__(self, features: Sequence[Any]) -> Batch:
        """B examples (dicts, or lists of ids) -> inputs and labels (B, longest)."""
        rows = [one if isinstance(one, Mapping) else {"input_ids": one} for one in features]
        batch = self.padded_inputs(self.without_labels(rows)[0])
        batch.pop("special_tokens_mask", None)
        if self.noise is None:
            labels = batch["input_ids"].clone()
            labels[labels == self.tokenizer.pad_token_id] = -100
            return batch | {"labels": labels}
        generator = np.random.default_rng([self.seed or 0, int(torch.randint(2**62, ()))])
        real = batch["attention_mask"].bool().numpy()
        ids, labels = batch["input_ids"].numpy().copy(), np.full(batch["input_ids"].shape, -100)
        for row, there in enumerate(real):
            ids[row, there], labels[row, there] = self.noise(ids[row, there], generator)
        return batch | {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}


def default_data_collator(features: Sequence[Mapping[str, Any]]) -> Batch:
    """Examples of equal lengths as they are: every column one tensor, `label` called `labels`."""
    if not features or not all(isinstance(one, Mapping) for one in features):
        raise ValueError(f"features must be a list of dicts, got {describe(features)}")
    names = {"label": "labels", "label_ids": "labels"}
    return {names.get(name, name): as_tensor(name, [one[name] for one in features]) for name in features[0]}


def as_tensor(name: str, values: Sequence[Any]) -> Tensor:
    """Numbers, or lists of equal lengths, as int64 or float32; ValueError for anything else, by its column's name."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise ValueError
    except ValueError:
        strange = next((one for one in values if one is None or isinstance(one, str)), values[0])
        raise ValueError(
            f"the column {name!r} must hold numbers or lists of equal lengths, got {describe(strange)}; "
            "DataCollatorForTokenClassification and DataCollatorForSeq2Seq pad labels"
        ) from None
    return torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else np.int64))


def mask_id(tokenizer: Any) -> int | None:
    """The id of the mask token, or None."""
    known = getattr(tokenizer, "mask_token_id", None)
    special = getattr(tokenizer, "special_tokens", {})
    return (
        known
        if known is not None
        else next((special[one] for one in ("[MASK]", "<mask>") if one in special), None)
    )
