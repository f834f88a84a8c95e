"""Texts that are damaged anew each time they are dealt: a model learns to put back what was taken out.

    noise(ids, generator) -> (input_ids, labels)     what the model is given, what it must say

A noise is any function of that form: MaskedLMNoise (BERT), SpanCorruption (T5), BARTNoise. The damage of a row depends
on (seed, number of the row) and on nothing else, as the row itself does (batches.py): a run that is stopped and resumed
sees what it would have seen, and no epoch sees the same holes twice.

Book: 2.8 주요 사전 학습 메커니즘. Held against: transformers' data collators, which draw from a global generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minillm._checks import check_int, describe, is_listing
from minillm.training.batches import Batch, as_source, id_array, padded

Noise = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
TRIES = 20  # of a row whose damage left nothing to learn


class NoisySet:
    """A source of batches for the Trainer: `data` as it takes them, each text damaged by `noise`.

    Labels that `data` carry are not used: the noise makes them. A text in which the noise chose nothing is drawn
    again, up to 20 times: BERT's own code, too, hides at least one token of each text. `noise` may say `largest_id`,
    the largest id it puts in, and `adds`, how many ids a text may grow by. ValueError for data that no source is made
    of, or a noise that cannot be called.
    """

    def __init__(self, data: Any, noise: Noise, pad_id: int = 0) -> None:
        self.pad_id = check_int("pad_id", pad_id, 0)
        self.source = as_source(data, pad_id)
        if not callable(noise):
            raise ValueError(f"noise must be a function of (ids, generator), got {describe(noise)}")
        self.noise = noise

    @property
    def largest_id(self) -> int:
        return max(getattr(self.source, "largest_id", 0), getattr(self.noise, "largest_id", 0), self.pad_id)

    def check(self, context_length: int) -> None:
        """ValueError if the texts do not fit into `context_length` ids, those that the noise adds included."""
        self.source.check(self._room(context_length))

    def batch(self, seed: int, step: int, rows: int, context_length: int) -> Batch:
        """`input_ids`, `attention_mask` (rows, longest) and `labels` (rows, longest of them, -100 behind), int64."""
        clean = self.source.batch(seed, step, rows, self._room(context_length))
        return self._damaged(clean, seed, step * rows)

    def eval_batches(self, rows: int, context_length: int, limit: int | None = None) -> Iterator[Batch]:
        """All texts in order, as the source gives them; their damage is the same every time."""
        number = 0
        for clean in self.source.eval_batches(rows, self._room(context_length), limit):
            yield self._damaged(clean, 0, number)
            number += len(clean["input_ids"])

    def _room(self, context_length: int) -> int:
        """The context length to ask the source for: its rows have one id more, which a causal model predicts."""
        adds = getattr(self.noise, "adds", 0)
        if context_length < 2 + adds:
            raise ValueError(
                f"context_length must be at least {2 + adds} for this noise, got {context_length}"
            )
        return context_length - 1 - adds

    def _damaged(self, clean: Batch, seed: int, first: int) -> Batch:
        rows = []
        for row, ids in enumerate(clean["input_ids"].numpy()):
            if "attention_mask" in clean:
                ids = ids[clean["attention_mask"][row].bool().numpy()]
            # the 1 keeps the draws apart from those of the order of the texts
            generator = np.random.default_rng([seed, first + row, 1])
            for _ in range(TRIES):
                inputs, labels = (np.asarray(part, dtype=np.int64) for part in self.noise(ids, generator))
                if (labels != -100).any():
                    break
            rows.append((inputs, labels))
        return padded(rows, self.pad_id)


def check_generator(generator: Any) -> None:
    """ValueError for anything but numpy's generator: a seed or torch's draws nothing here."""
    if not isinstance(generator, np.random.Generator):
        raise ValueError(
            f"generator must be a numpy.random.Generator (np.random.default_rng(seed)), got {describe(generator)}"
        )


def check_ids(ids: Any, what: str = "a text") -> np.ndarray:
    """Ids (T,) as int64; ValueError for what is no flat sequence of ids of 0 or more."""
    return id_array(what, ids).astype(np.int64)


def runs_between(ids: np.ndarray, special_ids: np.ndarray) -> list[tuple[bool, np.ndarray]]:
    """ids (T,) cut where ordinary and special ids meet: (whether it is special, the run), in order.

    [1, 2, 0, 0, 3] with the special id 0 -> [(False, [1, 2]), (True, [0, 0]), (False, [3])]
    """
    special = np.isin(ids, special_ids)
    runs = np.split(ids, np.flatnonzero(special[1:] != special[:-1]) + 1) if len(ids) else []
    return [(bool(np.isin(run[0], special_ids)), run) for run in runs]


def id_list(name: str, ids: Iterable[int]) -> np.ndarray:
    """Ids, in the order given, as an int64 array (n,); ValueError for what is no collection of ids."""
    if not is_listing(ids):
        raise ValueError(f"{name} must be a collection of ids, got {describe(ids)}")
    return np.array([check_int(f"an id of {name}", one, 0) for one in ids], dtype=np.int64)
