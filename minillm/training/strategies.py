"""How the processes of a Trainer share the work: strategy=None, "ddp" or "fsdp".

    None    the course's own sum of gradients, one message after the backward pass (distributed.py)
    ddp     torch's DistributedDataParallel: the same in buckets, while the backward pass goes on
    fsdp    torch's FSDP2: weights, gradients and averages cut as in ZeRO-3, gathered block by block (fsdp.py)

    torchrun --nproc-per-node 4 train.py           with Trainer(..., strategy="fsdp") in train.py

torch averages over processes; the Trainer needs the sum of shares (a share weighs by its targets), so it multiplies by
their number. All make as many passes as the one that has most: what is missing is a pass that counts nothing.

Book: 5.3 분산 학습과 ZeRO. Paper: Li et al. 2020 (DDP). Held against: one process.
By hand: minillm.training.parallel (DataParallel, ZeRO). Leaves out: torch's mixed precision and offloading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from minillm.training.batches import Batch
from minillm.training.clipping import clip_gradients, gradient_norm
from minillm.training.distributed import Processes
from minillm.training.objectives import Objective, Outcome

STRATEGIES = (None, "ddp", "fsdp")
Round = tuple[Batch, int]  # a batch, and how many targets it counts for
Others = Callable[[], Iterator[Round]]


class Strategy:
    """strategy=None, and what the others change. objective: what the Trainer calls in place of its own."""

    factor = 1
    """by which the loss is multiplied before its backward pass"""
    cuts = False
    """whether a process holds a part of the weights"""

    def __init__(self, model: nn.Module, objective: Objective, processes: Processes) -> None:
        self.model, self.objective, self.processes = model, objective, processes

    def same_start(self) -> None:
        """Before the first step: the weights of process 0 for all."""
        self.processes.same_start(self.model)

    def own(self, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """An optimiser's groups of parameters, as this process holds them."""
        return groups

    def rounds(self, parts: Sequence[Batch], counts: Sequence[int], others: Others) -> list[Round]:
        """The passes of this process in an update. others: the passes of all processes."""
        return [(part, count) for part, count in zip(parts, counts) if count]

    @contextmanager
    def one_round(self, last: bool) -> Iterator[None]:
        """Around a forward and backward pass; gradients travel in the last one."""
        yield

    def collect(self, parameters: list[Tensor], loss: Tensor) -> Tensor:
        """After the passes: parameters have the gradient of all processes; returns the sum of the losses."""
        return self.processes.sum_gradients(parameters, loss)

    def clip(self, parameters: list[Tensor], limit: float | None) -> Tensor:
        """The length of the whole gradient, which is cut to `limit` if there is one."""
        return clip_gradients(parameters, limit) if limit else gradient_norm(parameters)

    @contextmanager
    def whole_model(self) -> Iterator[None]:
        """Inside, `model.state_dict()` has all weights. All processes come here."""
        yield

    def zero_grad(self, optimizer: Any) -> None:
        """Forget all gradients."""
        optimizer.zero_grad()


class LossOf(nn.Module):
    """Model and objective as one module, for what wraps modules: a batch in, an Outcome out."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.__dict__["objective"] = objective  # its own weights, such as a teacher's, are not trained

    def forward(self, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """The objective of the model."""
        return self.objective(self.model, batch, predict=predict)


class Wrapped(Strategy):
    """What DDP and FSDP share. root: the wrapped LossOf, which gives the loss."""

    root: nn.Module

    def __init__(self, model: nn.Module, objective: Objective, processes: Processes) -> None:
        super().__init__(model, objective, processes)
        self.factor, self.count = processes.count, objective.count
        self.objective = self  # what is called as the objective goes through the wrapper

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """An objective's call, through the wrapper."""
        return self.root(batch, predict)

    def rounds(self, parts: Sequence[Batch], counts: Sequence[int], others: Others) -> list[Round]:
        """As many on every process: each pass is a conversation of all."""
        own = super().rounds(parts, counts, others)
        missing = self.processes.largest(len(own)) - len(own)
        if missing:
            stand_in = own[0][0] if own else next(part for part, count in others() if count)
            own += [(stand_in, 0)] * missing
        return own


class DDP(Wrapped):
    """torch's data parallel."""

    def __init__(self, model: nn.Module, objective: Objective, processes: Processes) -> None:
        super().__init__(model, objective, processes)
        on_gpu = [processes.device] if processes.device.type == "cuda" else None
        # a model may have a part that this objective does not use
        self.root = DistributedDataParallel(LossOf(model, objective), on_gpu, find_unused_parameters=True)

    @contextmanager
    def one_round(self, last: bool) -> Iterator[None]:
        """Only the last pass of an update sums over processes."""
        if last:
            yield
        else:
            with self.root.no_sync():
                yield

    def collect(self, parameters: list[Tensor], loss: Tensor) -> Tensor:
        """The gradients have been summed while they were made."""
        return self.processes.summed(loss)


def make_strategy(
    name: str | None,
    model: nn.Module,
    objective: Objective,
    processes: Processes,
    optimizers: Any,
    fp16: bool,
) -> Strategy:
    """The strategy of that name; ValueError for what FSDP cannot take."""
    if name == "fsdp":
        if optimizers != (None, None):
            raise ValueError(
                'strategy="fsdp" cuts the weights after an optimizer of one\'s own has taken them: leave optimizers out'
            )
        if fp16:
            raise ValueError(
                'strategy="fsdp" and fp16=True exclude each other here; use bf16=True or neither'
            )
        from minillm.training.fsdp import FSDP  # its imports take a second

        return FSDP(model, objective, processes)
    return (DDP if name == "ddp" else Strategy)(model, objective, processes)
