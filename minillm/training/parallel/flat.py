"""The parameters of a layer as one tensor that is cut into n equal pieces, one for each rank.

    [w1 ... | w2 ... | w3 ... | 0 0]   ->   piece 0, piece 1, ..., piece n - 1        zeros fill up the last one

The parameters are views of it. Letting the weights go means shrinking its storage to nothing: what autograd has saved
for the backward pass is a view of the same storage, and is right again once the pieces have been gathered.

Book: 5.3.2 데이터 병렬화에서 중복 저장 줄이기(ZeRO). The way is that of PyTorch's first FSDP (Zhao et al. 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Flat:
    """Some parameters of one dtype. own: this rank's piece, an AdamW's parameter. cut: the weights are let go."""

    @torch.no_grad()
    def __init__(self, parameters: list[Tensor], rank: int, ranks: int, cut: bool, group: Any) -> None:
        if len({(p.dtype, p.device) for p in parameters}) > 1:
            raise ValueError("the parameters of a layer must have one dtype and one device")
        self.parameters, self.rank, self.ranks, self.cut, self.group = parameters, rank, ranks, cut, group
        self.sizes = [p.numel() for p in parameters]
        self.shapes = [p.shape for p in parameters]
        self.piece = -(-sum(self.sizes) // ranks)
        self.all = self._laid_out(parameters)  # (ranks * piece,)
        self.own = self.all[rank * self.piece : (rank + 1) * self.piece]
        self.own = self.own.clone() if cut else self.own
        self._show()
        self.restart()

    def restart(self) -> None:
        """Before a backward pass: no gradient is here, and weights that are cut are let go."""
        self.missing = {id(p) for p in self.parameters}
        if self.cut:
            self.free()

    def gather(self) -> None:
        """Bring the pieces of all ranks together: the parameters have their weights. Collective."""
        if self.cut and self.parameters[0].numel():
            return
        storage = self.all.untyped_storage()
        if self.cut:
            storage.resize_(self.all.numel() * self.all.itemsize)
        with torch.no_grad():
            dist.all_gather(list(self.all.chunk(self.ranks)), self.own, group=self.group)
        if self.cut:
            self._show()

    def free(self) -> None:
        """Let the weights go, all but the own piece. A parameter is empty then, so that nobody reads what is gone."""
        for p in self.parameters:
            p.data = self.all.new_empty(0)
        self.all.untyped_storage().resize_(0)

    def reduce(self) -> None:
        """Add the mean over ranks of the gradients to the own piece's, and drop the whole ones. Collective.

        What has been summed already, on all ranks, is not summed again.
        """
        marks = (
            torch.tensor([p.grad is not None for p in self.parameters]).any().to(self.own.device, torch.uint8)
        )
        dist.all_reduce(marks, dist.ReduceOp.MAX, group=self.group)
        self.missing = {id(p) for p in self.parameters}
        if not marks:
            return
        whole = self._laid_out([self._gradient(i) for i in range(len(self.sizes))])
        self.forget_gradients()
        mean = torch.empty_like(self.own)
        dist.reduce_scatter(mean, list(whole.chunk(self.ranks)), group=self.group)
        mean /= self.ranks
        self.own.grad = mean if self.own.grad is None else self.own.grad + mean

    def forget_gradients(self) -> None:
        """Drop the whole gradients."""
        for p in self.parameters:
            p.grad = None

    def has_changed(self) -> None:
        """Tell autograd that the weights are others now, as torch's own operations do."""
        for p in self.parameters:
            torch.autograd.graph.increment_version(p)

    def _gradient(self, place: int) -> Tensor:
        gradient = self.parameters[place].grad
        return self.own.new_zeros(self.sizes[place]) if gradient is None else gradient

    def _show(self) -> None:
        """The parameters are views of the whole."""
        pieces = self.all[: sum(self.sizes)].split(self.sizes)
        for p, piece, shape in zip(self.parameters, pieces, self.shapes):
            p.data = piece.view(shape)

    def _laid_out(self, tensors: list[Tensor]) -> Tensor:
        """End to end, with zeros up to a multiple of the ranks."""
        fill = tensors[0].new_zeros(self.ranks * self.piece - sum(self.sizes))
        return torch.cat([*(tensor.reshape(-1) for tensor in tensors), fill])


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in what a layer gives: a tensor, or lists, dicts, objects with attributes of those, however deep."""
    waiting, seen = [value], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, Tensor):
            yield one
        elif id(one) not in seen and not isinstance(one, (type, nn.Module)):
            seen.add(id(one))
            waiting += one.values() if isinstance(one, Mapping) else ()
            waiting += one if isinstance(one, (list, tuple)) else ()
            waiting += vars(one).values() if hasattr(one, "__dict__") else ()
