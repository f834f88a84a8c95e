"""Examples whose labels are not one a token: a text and the text to write for it, or a text and its class.

    PairSet       {"input_ids": source, "labels": target}    translation, T5, BART: Seq2SeqObjective
    LabelledSet   {"input_ids": text, "labels": 3}           ClassificationObjective; 0.5 or [1., 0.] for numbers

They are dealt and padded as ExampleSet deals its examples: a function of (seed, step).

Book: 3.4 모델 학습시키기. Held against: transformers' DataCollatorForSeq2Seq and DataCollatorWithPadding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from minillm._checks import describe
from minillm.training.batches import Batch, ExampleSet, example_ids, id_array, label_ids


class PairSet(ExampleSet):
    """Pairs of texts: dicts of `input_ids` (S) and `labels` (T), or pairs (source, target), each of one id at least.

    Sources are padded with `pad_id`, targets with -100. A context of L ids holds sources and targets of L ids.
    Raises ValueError as ExampleSet does.
    """

    def check(self, context_length: int) -> None:
        """ValueError if a source or a target is longer than `context_length` ids."""
        longest = np.array([max(len(source), len(target)) for source, target in self.rows])
        if longest.max() > context_length:
            raise ValueError(
                f"{(longest > context_length).sum()} pairs have more than context_length = {context_length} ids "
                f"on one side (the first is number {(longest > context_length).argmax()}); truncate or drop them"
            )

    @property
    def largest_id(self) -> int:
        return max(max(source.max(), target.max()).item() for source, target in self.rows)

    def _example(self, number: int, example: Any) -> tuple[np.ndarray, np.ndarray]:
        what = f"pair {number}"
        if isinstance(example, (list, tuple)) and len(example) == 2 and not np.isscalar(example[0]):
            example = dict(zip(("input_ids", "labels"), example))
        source, fields = example_ids(what, example)
        if fields.get("labels") is None:
            raise ValueError(f"{what} must have a source and a target, got {describe(example)}")
        target = label_ids(what, fields["labels"])
        if not len(source) or not len(target):
            raise ValueError(f"both sides of {what} must hold an id, got {len(source)} and {len(target)}")
        return source, target


class LabelledSet(ExampleSet):
    """Texts with one answer each: dicts of `input_ids` and `labels`, and `token_type_ids` if the texts are pairs.

    `labels` are all integers (classes, -100 for none), all numbers, or all lists of n numbers. A context of L ids holds
    texts of L ids. Raises ValueError as ExampleSet does.
    """

    def __init__(self, examples: Sequence[Any], pad_id: int = 0) -> None:
        super().__init__(examples, pad_id)
        try:
            labels = np.asarray([example["labels"] for example in examples])
        except ValueError:  # lists of different lengths
            labels = np.array(None)
        if labels.ndim not in (1, 2) or labels.dtype.kind not in "iuf" or not np.isfinite(labels).all():
            raise ValueError(
                "labels must be all classes, all numbers or all lists of n numbers, got "
                f"{describe([example['labels'] for example in examples])}"
            )
        self.labels = torch.from_numpy(labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64))
        self.typed = any("token_type_ids" in example for example in examples)

    def check(self, context_length: int) -> None:
        """ValueError if a text is longer than `context_length` ids."""
        super().check(context_length - 1)

    def _example(self, number: int, example: Any) -> tuple[np.ndarray, np.ndarray]:
        """(ids, the sentence each belongs to)."""
        what = f"example {number}"
        ids, fields = example_ids(what, example)
        if fields.get("labels") is None or not len(ids):
            raise ValueError(f"{what} must have an id and labels, got {describe(example)}")
        types = fields.get("token_type_ids")
        types = np.zeros_like(ids) if types is None else id_array(f"token_type_ids of {what}", types)
        if len(types) != len(ids):
            raise ValueError(f"{what} must have {len(ids)} token_type_ids, got {len(types)}")
        return ids, types.astype(np.int64)

    def _padded(self, chosen: Sequence[int]) -> Batch:
        batch = super()._padded(chosen)
        types = batch["labels"].clamp(min=0)
        batch["labels"] = self.labels[np.asarray(chosen)]
        return batch | ({"token_type_ids": types} if self.typed else {})
