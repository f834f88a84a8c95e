"""What a run is fed: the batches of every update, each a function of (seed, epoch, place) and of nothing else.

    ExampleFeed   a list of examples and a collator: epochs, each in an order of its own, the last batch a partial one
    SourceFeed    a source of batches.py: dealt without end, in one pass as long as the run

An update reads `gradient_accumulation_steps` batches, one after the other. Under torchrun the batch of an update is cut
into as many parts as there are processes; each draws its own.

Book: 3.4 모델 학습시키기. Held against: the DataLoader of transformers.Trainer, its epochs and its last batches.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from minillm._checks import check_int, describe
from minillm.training.arguments import TrainingArguments
from minillm.training.batches import Batch
from minillm.training.collators import LABELS

ANSWERS = (*LABELS, "start_positions", "end_positions")


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch number `epoch` takes `size` examples: a shuffle of 0 to size - 1. ValueError for a
    negative number."""
    check_int("size", size, 0)
    check_int("seed", seed, 0)
    check_int("epoch", epoch, 0)
    return np.random.default_rng([seed, epoch]).permutation(size)


def length_grouped_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """An order in which neighbours are about equally long, so that little is padded; the longest comes first.

    Shuffled, cut into stretches of many batches, each stretch sorted: as in transformers. If memory is short, the first
    batch shows it.
    """
    order, lengths = epoch_order(len(lengths), seed, epoch), np.asarray(lengths)
    stretch = max(1, min(len(lengths) // (batch_size * 4), 50)) * batch_size
    parts = [order[start : start + stretch] for start in range(0, len(order), stretch)]
    parts = [part[np.argsort(-lengths[part], kind="stable")] for part in parts]
    longest = int(np.argmax([lengths[part[0]] for part in parts]))
    parts[0][0], parts[longest][0] = parts[longest][0], parts[0][0]
    return np.concatenate(parts)


class ExampleFeed:
    """Examples (a sequence of dicts) and a collator. ValueError for none, or for columns of which nothing is left."""

    def __init__(
        self,
        name: str,
        data: Any,
        collate: Callable[[list[Any]], Batch],
        model: nn.Module,
        args: TrainingArguments,
    ) -> None:
        self.data, self.collate, self.args = data, collate, args
        self.columns = used_columns(model) if args.remove_unused_columns else None
        if not len(data):
            raise ValueError(f"{name} must hold at least one example, got none")
        first = data[0]
        if not isinstance(first, Mapping):
            raise ValueError(f"{name} must be a sequence of dicts, its first item is {describe(first)}")
        if self.columns is not None and not set(first) & self.columns - set(ANSWERS):
            raise ValueError(
                f"{name} has the columns {sorted(first)}, of which the model takes none; it takes "
                f"{sorted(self.columns - set(ANSWERS))} (remove_unused_columns=False keeps them for the collator)"
            )
        self.lengths: list[int] = []
        if args.train_sampling_strategy == "group_by_length" and name in ("train_data", "train_dataset"):
            self.lengths = [int(row.get(args.length_column_name) or len(row["input_ids"])) for row in data]

    def __len__(self) -> int:
        return len(self.data)

    def steps_per_epoch(self, processes: int) -> int:
        """Updates of one pass over the data, the last one partial; ValueError where dropping it leaves none."""
        rows = self.args.per_device_train_batch_size * processes
        batches = len(self) // rows if self.args.dataloader_drop_last else math.ceil(len(self) / rows)
        if batches == 0:
            raise ValueError(
                f"dataloader_drop_last=True leaves nothing to learn: {len(self)} examples fill no batch of {rows}"
            )
        return math.ceil(batches / self.args.gradient_accumulation_steps)

    def passes(self, step: int, epoch: int, place: int, rank: int = 0, processes: int = 1) -> list[Batch]:
        """This process' batches of update number `place` of an epoch."""
        args, size = self.args, self.args.per_device_train_batch_size
        seed = args.seed if args.data_seed is None else args.data_seed
        first = place * args.gradient_accumulation_steps * processes
        chosen = []
        for number in range(first + rank, first + args.gradient_accumulation_steps * processes, processes):
            if args.dataloader_drop_last and number >= len(self) // size:
                continue  # data that deal their own batches may have short ones before the last
            rows = self._batch(seed, epoch, size, number)
            if len(rows):
                chosen.append(self.collated(rows))
        return chosen

    def eval_batches(self, limit: int | None = None) -> Iterator[Batch]:
        """All examples in order; at most `limit` batches, spread evenly."""
        size, places = self.args.per_device_eval_batch_size, np.arange(len(self))
        if limit is not None and limit * size < len(places):
            places = places[np.linspace(0, len(places) - 1, limit * size).round().astype(np.int64)]
        for start in range(0, len(places), size):
            yield self.collated(places[start : start + size])

    def collated(self, places: Sequence[int]) -> Batch:
        """The examples at these places as a batch."""
        rows = [self.data[int(place)] for place in places]
        if self.columns is not None:
            rows = [{name: row[name] for name in row if name in self.columns} for row in rows]
        return self.collate(rows)

    def _batch(self, seed: int, epoch: int, size: int, number: int) -> Sequence[int]:
        """The examples of batch `number` of an epoch."""
        order = self._order(seed, epoch, size)
        if hasattr(self.data, "epoch_batches"):
            return order[number] if number < len(order) else []
        return order[number * size : (number + 1) * size]

    def _order(self, seed: int, epoch: int, size: int) -> Any:
        """The order of an epoch; the last one asked for is remembered. Data that deal batches themselves give those:
        `epoch_batches(size, seed, epoch)`, ceil(len / size) lists of at most `size` places."""
        if getattr(self, "_dealt", (None,))[0] != (seed, epoch):
            if hasattr(self.data, "epoch_batches"):
                order = self.data.epoch_batches(size, seed, epoch)
            elif self.lengths:
                order = length_grouped_order(self.lengths, size, seed, epoch)
            elif self.args.train_sampling_strategy == "sequential":
                order = np.arange(len(self))
            else:
                order = epoch_order(len(self), seed, epoch)
            self._dealt = ((seed, epoch), order)
        return self._dealt[1]


class SourceFeed:
    """A source of batches.py; the run is one pass, as long as `max_steps`."""

    def __init__(self, name: str, source: Any, args: TrainingArguments) -> None:
        self.source, self.args = source, args
        try:
            source.check(args.context_length)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def steps_per_epoch(self, processes: int) -> None:
        """None: there are no epochs."""
        return None

    def passes(self, step: int, epoch: int, place: int, rank: int = 0, processes: int = 1) -> list[Batch]:
        """This process' batches of an update."""
        args, size = self.args, self.args.per_device_train_batch_size
        rows = size * args.gradient_accumulation_steps * processes
        batch = self.source.batch(args.seed, step, rows, args.context_length)
        split = {name: tensor.split(size) for name, tensor in batch.items()}
        return [dict(zip(split, tensors)) for tensors in zip(*split.values())][rank::processes]

    def eval_batches(self, limit: int | None = None) -> Iterator[Batch]:
        """As the source gives them."""
        args = self.args
        return self.source.eval_batches(args.per_device_eval_batch_size, args.context_length, limit)


def used_columns(model: nn.Module) -> set[str]:
    """The columns of a data set that a model or its objective reads: what `forward` takes, and the labels' names."""
    return {*inspect.signature(type(model).forward).parameters, *ANSWERS} - {"self"}


def has_columns(data: Any) -> bool:
    """Whether `data` is a sequence of dicts."""
    if isinstance(data, (str, bytes, Mapping)) or not hasattr(data, "__getitem__"):
        return False
    try:
        return len(data) > 0 and isinstance(data[0], Mapping)
    except TypeError:  # one number in the form of an array
        return False
