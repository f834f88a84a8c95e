"""Pipeline parallel: each rank has some of the layers; a batch is cut into micro-batches that follow one another.

    rank 0: layers 1-4   ->   rank 1: layers 5-8   ->   ...        activations travel forward, their gradients back

Only the boundary between two stages travels, (rows, T, C) for each micro-batch. The order of passes (schedules.py)
decides how long a rank waits and how many micro-batches it must remember; both are counted while the pipeline runs:
each message carries the slot in which it was sent, so that the empty slots are those of a machine on which every pass
takes one slot, whatever this one does.

Book: 5.3 분산 학습과 ZeRO. Papers: Huang et al. 2019 (GPipe), Narayanan et al. 2021. Held against: one process.
Leaves out: NCCL, where messages of both directions must be posted together (torch.distributed.batch_isend_irecv);
layers that two stages share (tied embeddings).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from minillm._checks import check_choice, check_int, describe
from minillm._tensors import FLOATS
from minillm.training.parallel.group import parts_of, place
from minillm.training.parallel.schedules import SCHEDULES

AXES = 6  # that a message may have


class Slot(NamedTuple):
    """A pass of a rank: when it began, what it was ("F" or "B"), of which micro-batch."""

    start: int
    work: str
    microbatch: int


class Pipeline(nn.Module):
    """This rank's stage of a model, and the order in which it works.

    stages: a module for each rank, each called with what the one before gives (one float tensor); the first one reads
    the inputs. Of the list only the own one is kept. schedule: "gpipe" or "1f1b". After `run`: `timeline`, a list of
    Slots; `most_kept`, how many micro-batches this rank had to remember at once. ValueError outside of a group, or for
    another number of stages than ranks.
    """

    def __init__(self, stages: Sequence[nn.Module], schedule: str = "gpipe", group: Any = None) -> None:
        super().__init__()
        check_choice("schedule", schedule, tuple(SCHEDULES))
        self.rank, self.ranks = place(group)
        stages = list(stages)
        if len(stages) != self.ranks or not all(isinstance(stage, nn.Module) for stage in stages):
            raise ValueError(
                f"stages must be {self.ranks} modules, one for each rank, got {describe(stages)}"
            )
        self.stage, self.schedule, self.group = stages[self.rank], schedule, group
        self.timeline: list[Slot] = []
        self._restart()

    def run(
        self, inputs: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor], microbatches: int
    ) -> Tensor:
        """Forward and backward of a batch: gradients are added to the stage's; returns the mean loss, on every rank.

        inputs (B, ...) are read by the first rank, targets (B, ...) by the last; the others may give the same.
        `loss(output, target)` is a mean over the rows of a micro-batch; each has B / microbatches of them. ValueError
        if that does not divide.
        """
        check_int("microbatches", microbatches, 1)
        if len(inputs) != len(targets):
            raise ValueError(
                f"inputs and targets must have as many rows, got {len(inputs)} and {len(targets)}"
            )
        xs, ys = (parts_of(batch, microbatches, "micro-batches") for batch in (inputs, targets))
        self._restart()
        for work, i in SCHEDULES[self.schedule](self.rank, self.ranks, microbatches):
            if work == "F":
                self._forward(i, xs[i], lambda y, i=i: loss(y, ys[i]) / microbatches)
            else:
                self._backward(i)
        _wait(self.returning)
        total = torch.tensor(self.total, dtype=torch.float64, device=inputs.device)
        dist.broadcast(total, group=self.group, group_src=self.ranks - 1)
        return total

    def _restart(self) -> None:
        self.timeline, self.clock, self.most_kept, self.total = [], 0, 0, 0.0
        self.kept: dict[int, tuple[Tensor, Tensor, list[Any]]] = {}  # what backward passes need
        self.returning: list[Any] = []

    def _forward(self, i: int, x: Tensor, loss: Callable[[Tensor], Tensor]) -> None:
        """Micro-batch i: from the rank before it through the stage to the next one, or to the loss."""
        if self.rank > 0:
            x = self._receive(self.rank - 1).requires_grad_()
        y = self.stage(x)
        self._count("F", i)
        if self.rank < self.ranks - 1:
            sending = self._send(y.detach(), self.rank + 1)
        else:
            y, sending = loss(y), []
            self.total += y.item()
        self.kept[i] = x, y, sending
        self.most_kept = max(self.most_kept, len(self.kept))

    def _backward(self, i: int) -> None:
        """Micro-batch i: the gradient of what was given, from the next rank, to the gradient of what was read."""
        gradient = self._receive(self.rank + 1) if self.rank < self.ranks - 1 else None
        x, y, sending = self.kept.pop(i)
        _wait(sending)  # its receiver has answered
        y.backward(gradient)
        self._count("B", i)
        if self.rank > 0:
            _wait(self.returning)
            self.returning = self._send(x.grad, self.rank - 1)

    def slots(self) -> list[list[Slot]]:
        """The timelines of all ranks. All ranks come here, after `run`."""
        own = torch.tensor([(slot.start, slot.work == "B", slot.microbatch) for slot in self.timeline])
        every = [torch.empty_like(own) for _ in range(self.ranks)]
        dist.all_gather(every, own, group=self.group)
        return [[Slot(start, "FB"[back], i) for start, back, i in rank.tolist()] for rank in every]

    def _count(self, work: str, microbatch: int) -> None:
        """One slot of work."""
        self.timeline.append(Slot(self.clock, work, microbatch))
        self.clock += 1

    def _send(self, tensor: Tensor, rank: int) -> list[Any]:
        """Begin to send a tensor: first when, what and how large, then its numbers. What is under way."""
        if tensor.dtype not in FLOATS or not 0 < tensor.ndim <= AXES:
            raise ValueError(
                f"a stage must give a float tensor of 1 to {AXES} axes to the next one, got {describe(tensor)}"
            )
        shape = [*tensor.shape, *[0] * (AXES - tensor.ndim)]
        header = torch.tensor(
            [self.clock, FLOATS.index(tensor.dtype), tensor.ndim, *shape], device=tensor.device
        )
        return [
            (dist.isend(part, group=self.group, group_dst=rank), part)
            for part in (header, tensor.contiguous())
        ]

    def _receive(self, rank: int) -> Tensor:
        """A tensor of a neighbour; this rank's clock is not behind the message's."""
        device = next(self.stage.parameters()).device
        header = torch.empty(3 + AXES, dtype=torch.int64, device=device)
        dist.recv(header, group=self.group, group_src=rank)
        clock, dtype, axes, *shape = header.tolist()
        tensor = torch.empty(shape[:axes], dtype=FLOATS[dtype], device=device)
        dist.recv(tensor, group=self.group, group_src=rank)
        self.clock = max(self.clock, clock)
        return tensor


def _wait(sending: list[Any]) -> None:
    """Until the messages have left; their tensors must live until then."""
    for work, _ in sending:
        work.wait()
