"""Batches that can be drawn again: the batch of step s depends on (seed, s) and on nothing else.

So a run that is stopped and resumed sees what it would have seen; no loader's place must be saved.

    TokenStream   one long text as ids: windows cut out at random places (pre-training)
    ExampleSet    separate examples, shuffled anew each epoch, padded to the longest of a batch (fine-tuning)

labelled.py has examples with another kind of label, noise.py texts that are damaged anew each time,
alignment/packing.py several examples in a row.

Book: 2.8 주요 사전 학습 메커니즘, 3.4 모델 학습시키기. Held against: torch's DataLoader with a seeded sampler,
which must be replayed from the start to reach step s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minillm._checks import check_int, describe

Batch = dict[str, Tensor]


class TokenStream:
    """One long sequence of ids: a list of int, a 1-D integer array (a memory map too) or tensor.

    Raises ValueError for anything else, an empty stream, or a negative id.
    """

    def __init__(self, ids: Any) -> None:
        self.ids = id_array("a token stream", ids)
        if not len(self.ids):
            raise ValueError("a token stream must hold at least one id, got none")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def largest_id(self) -> int:
        return int(self.ids.max())

    def check(self, context_length: int) -> None:
        """ValueError if not even one window of `context_length` ids and the id after it fits."""
        if len(self.ids) < context_length + 1:
            raise ValueError(
                f"the token stream has {len(self.ids)} ids; context_length={context_length} "
                f"needs at least {context_length + 1}"
            )

    def batch(self, seed: int, step: int, rows: int, context_length: int) -> Batch:
        """`rows` windows of ids: `input_ids` and `labels`, both (rows, context_length + 1) int64.

        The stream is cut into windows side by side, the cuts shifted at random for each pass over it, and the
        windows are dealt in random order: ids are seen about equally often, where independent draws would
        leave gaps.
        """
        self.check(context_length)
        windows = max(1, (len(self.ids) - 1) // context_length - 1)  # a shifted pass loses up to one window
        starts = np.empty(rows, dtype=np.int64)
        for row, (epoch, place) in enumerate(_places(step, rows, windows)):
            order, shift = self._deal(seed, epoch, windows, context_length)
            starts[row] = order[place] * context_length + shift
        return self._windows(starts, context_length)

    def _deal(self, seed: int, epoch: int, windows: int, context_length: int) -> tuple[np.ndarray, int]:
        """(order of the windows, shift of the cuts) of one pass; the last pass asked for is remembered."""
        key = (seed, epoch, windows, context_length)
        if getattr(self, "_dealt", (None,))[0] != key:
            generator = np.random.default_rng([seed, epoch])
            room = len(self.ids) - 1 - windows * context_length  # at least 0
            self._dealt = (key, generator.permutation(windows), int(generator.integers(room + 1)))
        return self._dealt[1:]

    def eval_batches(self, rows: int, context_length: int, limit: int | None = None) -> Iterator[Batch]:
        """Fixed windows side by side, at most `rows` a batch; at most `limit` batches, spread evenly."""
        self.check(context_length)
        starts = np.arange(0, len(self.ids) - context_length, context_length)
        for part in _spread(starts, rows, limit):
            yield self._windows(part, context_length)

    def _windows(self, starts: np.ndarray, context_length: int) -> Batch:
        places = starts[:, None] + np.arange(context_length + 1)  # (rows, context_length + 1)
        ids = torch.from_numpy(self.ids[places].astype(np.int64))
        return {"input_ids": ids, "labels": ids}


class ExampleSet:
    """Separate examples: each a sequence of ids, or a dict of `input_ids` and (if they differ) `labels`.

    Rows are padded on the right with `pad_id`; padding has attention_mask 0 and label -100. Labels -100 mark
    places that teach nothing, such as a prompt. Raises ValueError for no examples, one under two ids, labels
    of another length than their ids, or ids that are no integers >= 0.
    """

    def __init__(self, examples: Any, pad_id: int = 0) -> None:
        self.pad_id = check_int("pad_id", pad_id, 0)
        if not _has_items(examples) or not len(examples):
            raise ValueError(f"examples must be a non-empty sequence of examples, got {describe(examples)}")
        self.rows = [self._example(i, example) for i, example in enumerate(examples)]
        self.lengths = np.array([len(ids) for ids, _ in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def largest_id(self) -> int:
        return max(int(ids.max()) for ids, _ in self.rows)

    def check(self, context_length: int) -> None:
        """ValueError if an example is longer than `context_length` ids and the id after them."""
        (long,) = np.nonzero(self.lengths > context_length + 1)
        if len(long):
            raise ValueError(
                f"{len(long)} examples have more than context_length + 1 = {context_length + 1} ids "
                f"(the first is number {long[0]}, of {self.lengths[long[0]]}); truncate or drop them"
            )

    def batch(self, seed: int, step: int, rows: int, context_length: int) -> Batch:
        """`input_ids`, `labels`, `attention_mask` (rows, longest) int64; an epoch deals each example once."""
        self.check(context_length)
        order: dict[int, np.ndarray] = {}
        chosen = []
        for epoch, place in _places(step, rows, len(self.rows)):
            if epoch not in order:
                order[epoch] = np.random.default_rng([seed, epoch]).permutation(len(self.rows))
            chosen.append(order[epoch][place])
        return self._padded(chosen)

    def eval_batches(self, rows: int, context_length: int, limit: int | None = None) -> Iterator[Batch]:
        """All examples in order, in batches of at most `rows`; at most `limit` batches, spread evenly."""
        self.check(context_length)
        for part in _spread(np.arange(len(self.rows)), rows, limit):
            yield self._padded(part)

    def _example(self, number: int, example: Any) -> tuple[np.ndarray, np.ndarray]:
        what = f"example {number}"
        ids, fields = example_ids(what, example)
        if len(ids) < 2:
            raise ValueError(
                f"{what} must have at least two ids (one to read, one to predict), got {len(ids)}"
            )
        if fields.get("labels") is None:
            return ids, ids
        labels = label_ids(what, fields["labels"])
        if len(labels) != len(ids):
            raise ValueError(f"the labels of {what} must be {len(ids)} ids or -100, got {len(labels)}")
        return ids, labels

    def _padded(self, chosen: Sequence[int]) -> Batch:
        return padded([self.rows[i] for i in chosen], self.pad_id)


def as_source(data: Any, pad_id: int = 0) -> Any:
    """`data` as a source: ids become a TokenStream, examples an ExampleSet, a source stays what it is.

    Examples come in a list, a Dataset, or whatever else has a length and gives an example for each number. A source
    is any object with `check`, `batch` and `eval_batches` as above. ValueError for anything else.
    """
    if all(hasattr(data, method) for method in ("check", "batch", "eval_batches")):
        return data
    if _has_items(data) and len(data) and not isinstance(data[0], (int, np.integer)):
        return ExampleSet(data, pad_id)
    return TokenStream(data)


def _has_items(data: Any) -> bool:
    """Whether `data` has a length and gives an item for each number, as a list, a Dataset, torch's Subset do."""
    others = (str, bytes, Mapping, np.ndarray, Tensor)
    return not isinstance(data, others) and hasattr(data, "__len__") and hasattr(data, "__getitem__")


def padded(rows: Sequence[tuple[np.ndarray, np.ndarray]], pad_id: int) -> Batch:
    """Rows of (ids, labels), filled up on the right: ids with `pad_id` and mask 0, labels with -100, int64."""
    longest = [max(len(row[part]) for row in rows) for part in (0, 1)]
    input_ids = torch.full((len(rows), longest[0]), pad_id)
    labels = torch.full((len(rows), longest[1]), -100)
    mask = torch.zeros_like(input_ids)
    for row, (ids, targets) in enumerate(rows):
        input_ids[row, : len(ids)] = torch.from_numpy(ids)
        labels[row, : len(targets)] = torch.from_numpy(targets)
        mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "labels": labels, "attention_mask": mask}


def _places(step: int, rows: int, size: int) -> Iterator[tuple[int, int]]:
    """(epoch, place within it) of each row of the batch of `step`, when items are dealt without end."""
    first = step * rows
    return (divmod(number, size) for number in range(first, first + rows))


def _spread(items: np.ndarray, rows: int, limit: int | None) -> Iterator[np.ndarray]:
    """Batches of `rows` items; with a limit, of `limit * rows` items that lie evenly over all of them."""
    if limit is not None and limit * rows < len(items):
        items = items[np.linspace(0, len(items) - 1, limit * rows).round().astype(np.int64)]
    return (items[start : start + rows] for start in range(0, len(items), rows))


def id_array(what: str, ids: Any) -> np.ndarray:
    """Ids as a 1-D integer array, of the dtype they have; ValueError for what is no flat sequence of ids >= 0."""
    if isinstance(ids, Tensor):
        ids = ids.detach().cpu().numpy()
    if isinstance(ids, (str, bytes)) or not isinstance(ids, (Sequence, np.ndarray)):
        raise ValueError(f"{what} must be a sequence of ids, got {describe(ids)}")
    try:
        array = np.asarray(ids) if len(ids) else np.zeros(0, dtype=np.int64)
    except (ValueError, TypeError):  # rows of different lengths; no rows at all
        raise ValueError(f"{what} must be a flat sequence of ids, got {describe(ids)}") from None
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{what} must be a flat sequence of integer ids, got {describe(array)}")
    if len(array) and array.min() < 0:
        raise ValueError(f"{what} must hold ids of 0 or more, got {array.min()}")
    return array


def example_ids(what: str, example: Any) -> tuple[np.ndarray, Mapping[str, Any]]:
    """(ids int64, all fields) of an example: a sequence of ids, or a mapping with `input_ids`."""
    fields = example if isinstance(example, Mapping) else {"input_ids": example}
    if "input_ids" not in fields:
        raise ValueError(f"{what} must have input_ids, got the keys {sorted(fields)}")
    return id_array(what, fields["input_ids"]).astype(np.int64), fields


def label_ids(what: str, labels: Any) -> np.ndarray:
    """Labels as int64 ids or -100."""
    array = np.asarray(labels)
    array = array.astype(np.int64) if array.shape == (0,) else array
    if array.ndim != 1 or array.dtype.kind not in "iu" or (array[array != -100] < 0).any():
        raise ValueError(f"the labels of {what} must be ids or -100, got {describe(array)}")
    return array.astype(np.int64)
