"""Data parallel: every rank has the whole model and its own rows; gradients are averaged while the backward runs.

    gradient of the batch = mean over ranks of the gradient of their rows            (each has as many rows)

The plain form, `average_gradients`, waits for the end of the backward pass. `DataParallel` does not: gradients become
ready from the last layer to the first. They are collected in buckets of some megabytes; as soon as one is full it
travels, and the backward pass of the layers before goes on meanwhile. Fewer, larger messages cost less than one a
parameter; one message for all could only begin when the backward has ended. In which order gradients come is learned
in the first pass.

    parallel = DataParallel(model)
    loss = objective(parallel, own_rows(batch)); loss.backward(); optimizer.step()         as without

Book: 5.3.1 분산 학습. Paper: Li et al. 2020 (PyTorch Distributed). Held against: one process, and
torch.nn.parallel.DistributedDataParallel. Leaves out: buffers that change (rank 0's are sent once), compression.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Variable

from minillm._checks import check_int
from minillm.training.parallel.gradients import pack_gradients, unpack_gradients
from minillm.training.parallel.group import check_model, place, same_start


@torch.no_grad()
def average_gradients(model: nn.Module, group: Any = None) -> None:
    """The plain form, after a backward pass: each gradient becomes its mean over the ranks, a message for each.

    All ranks must have gradients of the same parameters: messages meet in their order. ValueError outside of a group.
    """
    _, ranks = place(group)
    for p in model.parameters():
        if p.grad is not None:
            dist.all_reduce(p.grad, group=group)
            p.grad /= ranks


class Bucket:
    """Some parameters whose gradients travel together."""

    def __init__(self, parameters: list[Tensor], group: Any) -> None:
        self.parameters, self.group = parameters, group
        self.restart()

    def restart(self) -> None:
        """Before a backward pass: nothing is here yet."""
        self.missing = {id(parameter) for parameter in self.parameters}

    def send(self) -> None:
        """Begin the sum over ranks; it goes on while this process computes."""
        self.flat = pack_gradients(self.parameters)
        self.work = dist.all_reduce(self.flat, group=self.group, async_op=True)

    def receive(self, ranks: int) -> None:
        """Wait for the sum, and put the mean into `.grad`."""
        self.work.wait()
        self.flat[len(self.parameters) :] /= ranks
        unpack_gradients(self.parameters, self.flat)
        del self.flat, self.work


class DataParallel(nn.Module):
    """A model whose gradients are those of all ranks' rows together. It is called as the model is.

    Every rank begins with the weights of rank 0. bucket_bytes: size from which a bucket is full. `events` tells the
    last backward pass: ("ready", name of a parameter) and ("send", number of a bucket), in order. A parameter that
    this rank's rows did not use counts as zero; one that no rank used has no gradient. ValueError outside of a group,
    and for a model without parameters.
    """

    def __init__(self, model: nn.Module, bucket_bytes: int = 25 * 2**20, group: Any = None) -> None:
        super().__init__()
        check_int("bucket_bytes", bucket_bytes, 1)
        self.model, self.group = check_model(model), group
        _, self.ranks = place(group)
        same_start(model, group)
        self.bucket_bytes, self.known_order = bucket_bytes, False
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._fill_buckets(list(self.named)[::-1])  # a guess: last made, first ready
        self.events: list[tuple[str, Any]] = []
        self.syncs, self.running, self.sent = True, False, 0
        for name, p in self.named.items():
            p.register_post_accumulate_grad_hook(partial(self._ready, name))

    def forward(self, *args: Any, **options: Any) -> Any:
        """What the model gives. A backward pass that broke off, on all ranks alike, is forgotten here."""
        if torch.is_grad_enabled() and self.running:
            self._restart()
        return self.model(*args, **options)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Backward passes inside only add up; the first one after it averages the sums (gradient accumulation)."""
        before, self.syncs = self.syncs, False
        try:
            yield
        finally:
            self.syncs = before

    def _fill_buckets(self, names: Sequence[str]) -> None:
        """Put the parameters into buckets, in this order."""
        parts = in_buckets([self.named[name] for name in names], self.bucket_bytes)
        self.buckets = [Bucket(part, self.group) for part in parts]
        self.bucket_of = {id(p): bucket for bucket in self.buckets for p in bucket.parameters}

    def _ready(self, name: str, parameter: Tensor) -> None:
        """A gradient is there: if its bucket is full, and those before have left, it leaves."""
        if not self.syncs:
            return
        if not self.running:
            self.running, self.events = True, []
            Variable._execution_engine.queue_callback(self._finish)  # when this backward pass has ended
        self.events.append(("ready", name))
        self.bucket_of[id(parameter)].missing.discard(id(parameter))
        while self.sent < len(self.buckets) and not self.buckets[self.sent].missing:
            self._send_next()  # in one order on all ranks, or they would add up different buckets

    def _send_next(self) -> None:
        self.events.append(("send", self.sent))
        self.buckets[self.sent].send()
        self.sent += 1

    @torch.no_grad()
    def _finish(self) -> None:
        """The end of a backward pass: send what has unused parameters, and wait for all sums."""
        while self.sent < len(self.buckets):
            self._send_next()
        for bucket in self.buckets:
            bucket.receive(self.ranks)
        if not self.known_order:
            self._learn_order()
        self._restart()

    def _learn_order(self) -> None:
        """From now on buckets hold what became ready together in the first pass, by rank 0's account."""
        names, self.known_order = list(self.named), True
        came = [name for kind, name in self.events if kind == "ready"]
        came += [name for name in names if name not in set(came)]
        order = torch.tensor(
            [names.index(name) for name in came], device=self.buckets[0].parameters[0].device
        )
        dist.broadcast(order, group=self.group, group_src=0)
        self._fill_buckets([names[place] for place in order.tolist()])

    def _restart(self) -> None:
        self.running, self.sent = False, 0
        for bucket in self.buckets:
            bucket.restart()


def in_buckets(parameters: Sequence[Tensor], bucket_bytes: int) -> list[list[Tensor]]:
    """Parameters in order, in lists that end at `bucket_bytes`; a list has one dtype and one device."""
    buckets: list[list[Tensor]] = []
    size = 0
    for p in parameters:
        like = buckets and (buckets[-1][0].dtype, buckets[-1][0].device) == (p.dtype, p.device)
        if not like or size >= bucket_bytes:
            buckets.append([])
            size = 0
        buckets[-1].append(p)
        size += p.nbytes
    return buckets
