"""What a run has to show: a record each time somebody looked, from sums that stay on the device until then.

A record holds the mean loss since the one before, the figures of the newest step, and those of an evaluation if there
was one after it. `course.plot_loss(history)` draws it.

Book: 3.4 모델 학습시키기. Held against: the log_history of transformers.Trainer, which has a dict of its own for each
evaluation (`TrainerState.log_history` here is as there).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from minillm.training.tally import Reading, Tally


class Records(list):
    """The records, a list of dicts. After a run it answers to the names of transformers' TrainOutput, too."""

    global_step = 0
    training_loss = 0.0
    metrics: ClassVar[dict[str, float]] = {}


class History:
    """The records of a run and what has come since the last. Times are of training alone, evaluation left out."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.entries = Records()
        self.restart()
        self.recorded = 0  # the step of the last record
        self.tokens, self.seconds = 0, 0.0  # of all steps up to it
        self.since: list[tuple[int, float]] = []  # targets and seconds of each step since

    def restart(self) -> None:
        """Forget the sums since the last record."""
        self.tally = Tally(self.device)

    @contextmanager
    def timed(self, targets: int = 0) -> Iterator[list[int]]:
        """Count the seconds inside, and the targets that are put into the list, as those of a step."""
        start, told = time.perf_counter(), [targets]
        yield told
        self.since.append((told[-1], time.perf_counter() - start))

    def add(self, loss: Tensor, norm: Tensor) -> Tensor:
        """Count a step in; whether it and all since the last record were good, a 0-d bool tensor."""
        return self.tally.add(loss, norm)

    def read(self) -> Reading:
        """The sums since the last record: the host waits for the device here."""
        return self.tally.read()

    def close(self, step: int) -> tuple[int, float]:
        """Add the targets and seconds since the last record to the sums, and return them."""
        targets, seconds = (sum(one[part] for one in self.since) for part in (0, 1))
        self.tokens += targets
        self.seconds += seconds
        self.since, self.recorded = [], step
        return targets, seconds

    def record(self, reading: Reading, step: int, rate: float, epoch: float | None) -> dict[str, Any]:
        """Add the record of `step`; one that is there already is given back."""
        if self.entries and self.entries[-1]["step"] == step:
            return self.entries[-1]
        targets, seconds = self.close(step)
        self.entries.append({
            "step": step,
            "train_loss": reading.mean_loss,
            "eval_loss": None,
            "learning_rate": rate,
            "gradient_norm": reading.norm,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "tokens_per_second": targets / max(seconds, 1e-9),
        } | ({} if epoch is None else {"epoch": epoch}))  # fmt: skip
        self.tally.restart()
        return self.entries[-1]

    def load(self, records: list[dict[str, Any]]) -> None:
        """Go on from the records of a checkpoint."""
        self.entries = Records(records)
        last = records[-1]
        self.tokens, self.seconds, self.recorded = last["tokens"], last["seconds"], last["step"]
        self.since = []
        self.restart()

    def mean_loss(self, after: int) -> float:
        """Mean of the train losses of all steps after step `after`, by the records."""
        total, last = 0.0, 0
        for record in self.entries:
            if record["step"] > after:
                total += record["train_loss"] * (record["step"] - max(last, after))
            last = record["step"]
        return total / max(1, last - after)
