"""Tensor parallel: one matrix product on n ranks. Each holds a part of every matrix, and all see the same tokens.

    column   W cut by rows of outputs:      y_r = x W_rᵀ               every rank has a part of the outputs
    row      W cut by inputs:               y = sum over r of x_r W_rᵀ     a part of the inputs is enough; one sum
    a feed-forward layer is column, activation, row; attention is q, k, v by columns (a part of the heads), o by rows

So a block needs two sums forward and two backward. Where all ranks read the same x, the backward pass sums (`copied`);
where a forward pass has summed, the gradient is the same everywhere and is passed on (`summed`).

The embedding and the output matrix are cut by words; the loss needs of all V logits only their largest, the sum of
exp and the target's: three numbers a token travel, not V.

Book: 5.3 분산 학습과 ZeRO. Paper: Shoeybi et al. 2019 (Megatron-LM). Held against: one process. Leaves out: tokens that
are cut, too (sequence parallel), and sums that overlap with computing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from minillm._checks import check_flag, check_int, describe
from minillm.training.parallel.group import place


class _Copied(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return _sum(gradient, ctx.group), None


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, group: Any) -> Tensor:
        return _sum(x, group)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, group: Any) -> Tensor:
        ctx.rank, ctx.ranks = place(group)
        return joined_parts(x, -1, group)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.chunk(ctx.ranks, -1)[ctx.rank], None


def copied(x: Tensor, group: Any = None) -> Tensor:
    """x, which is the same on all ranks; its gradient is the sum of what the ranks' parts say."""
    return _Copied.apply(x, group)


def summed(x: Tensor, group: Any = None) -> Tensor:
    """The sum of x over ranks; the gradient is that of the sum."""
    return _Summed.apply(x, group)


def joined(x: Tensor, group: Any = None) -> Tensor:
    """The ranks' parts (..., C / n) side by side, (..., C); the gradient is this rank's part of it."""
    return _Joined.apply(x, group)


def joined_parts(x: Tensor, axis: int, group: Any = None) -> Tensor:
    """The ranks' parts of a tensor as one, along an axis. No gradient."""
    parts = [torch.empty_like(x.contiguous()) for _ in range(place(group)[1])]
    dist.all_gather(parts, x.detach().contiguous(), group=group)
    return torch.cat(parts, axis)


def own_part(x: Tensor, axis: int, what: str, group: Any = None) -> Tensor:
    """This rank's part of a tensor along an axis; ValueError if it does not divide."""
    rank, ranks = place(group)
    if x.shape[axis] % ranks:
        raise ValueError(f"{what} must divide by {ranks} ranks, got {x.shape[axis]}")
    return x.chunk(ranks, axis)[rank].clone()


class ColumnParallelLinear(nn.Module):
    """A linear layer of which each rank has out_features / n outputs: x (..., in) -> (..., out / n).

    gather_output: give all of them, (..., out). copies_input=False: the caller has put x through `copied` already,
    once for several layers. `cut` says along which axis of what the ranks' parts lie side by side.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        gather_output: bool = False,
        copies_input: bool = True,
        group: Any = None,
    ) -> None:
        super().__init__()
        check_int("in_features", in_features, 1), check_int("out_features", out_features, 1)
        self._take(
            nn.Linear(in_features, out_features, check_flag("bias", bias)), gather_output, copies_input, group
        )

    @classmethod
    def of(
        cls, linear: nn.Linear, gather_output: bool = False, copies_input: bool = True, group: Any = None
    ) -> ColumnParallelLinear:
        """This rank's part of a layer that all ranks have."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._take(linear, gather_output, copies_input, group)
        return layer

    def _take(self, linear: nn.Linear, gather_output: bool, copies_input: bool, group: Any) -> None:
        self.in_features, self.out_features, self.group = linear.in_features, linear.out_features, group
        self.gather_output = check_flag("gather_output", gather_output)
        self.copies_input = check_flag("copies_input", copies_input)
        part = own_part(linear.weight.detach(), 0, "out_features", group)
        self.weight = nn.Parameter(part)  # (out / n, in)
        self.bias = None
        if linear.bias is not None:
            self.bias = nn.Parameter(own_part(linear.bias.detach(), 0, "out_features", group))
        self.cut = {"weight": 0, "bias": 0}

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in), the same on all ranks -> this rank's outputs."""
        x = copied(x, self.group) if self.copies_input else x
        y = F.linear(x, self.weight, self.bias)  # (..., out / n)
        return joined(y, self.group) if self.gather_output else y


class RowParallelLinear(nn.Module):
    """A linear layer of which each rank reads in_features / n inputs: x (..., in / n) -> (..., out), on all ranks.

    input_is_cut=False: x is (..., in), and the rank takes its part. The bias is added once, after the sum.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        input_is_cut: bool = True,
        group: Any = None,
    ) -> None:
        super().__init__()
        check_int("in_features", in_features, 1), check_int("out_features", out_features, 1)
        self._take(nn.Linear(in_features, out_features, check_flag("bias", bias)), input_is_cut, group)

    @classmethod
    def of(cls, linear: nn.Linear, input_is_cut: bool = True, group: Any = None) -> RowParallelLinear:
        """This rank's part of a layer that all ranks have."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._take(linear, input_is_cut, group)
        return layer

    def _take(self, linear: nn.Linear, input_is_cut: bool, group: Any) -> None:
        self.in_features, self.out_features, self.group = linear.in_features, linear.out_features, group
        self.input_is_cut = check_flag("input_is_cut", input_is_cut)
        part = own_part(linear.weight.detach(), 1, "in_features", group)
        self.weight = nn.Parameter(part)  # (out, in / n)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone())
        self.cut = {"weight": 1}

    def forward(self, x: Tensor) -> Tensor:
        """x -> (..., out), the same on all ranks."""
        if not self.input_is_cut:
            rank, ranks = place(self.group)
            x = copied(x, self.group).chunk(ranks, -1)[rank]
        y = summed(F.linear(x, self.weight), self.group)
        return y if self.bias is None else y + self.bias


class VocabParallelEmbedding(nn.Module):
    """A table of which each rank has the rows of V / n words: ids (...) int64 -> (..., C), on all ranks."""

    def __init__(self, num_embeddings: int, embedding_dim: int, group: Any = None) -> None:
        super().__init__()
        check_int("num_embeddings", num_embeddings, 1), check_int("embedding_dim", embedding_dim, 1)
        self._take(nn.Embedding(num_embeddings, embedding_dim), group)

    @classmethod
    def of(cls, table: nn.Embedding, group: Any = None) -> VocabParallelEmbedding:
        """This rank's part of a table that all ranks have."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._take(table, group)
        return layer

    def _take(self, table: nn.Embedding, group: Any) -> None:
        self.num_embeddings, self.embedding_dim, self.group = table.num_embeddings, table.embedding_dim, group
        self.weight = nn.Parameter(own_part(table.weight.detach(), 0, "num_embeddings", group))  # (V / n, C)
        self.first = place(group)[0] * len(self.weight)
        self.cut = {"weight": 0}

    def forward(self, ids: Tensor) -> Tensor:
        """Rows of the ids. ValueError for one that is no word."""
        if ids.device.type == "cpu" and ids.numel() and not 0 <= ids.min() <= ids.max() < self.num_embeddings:
            raise ValueError(f"ids must be below {self.num_embeddings}, got {ids.min()} to {ids.max()}")
        here, mine = in_part(ids, self.first, len(self.weight))
        rows = F.embedding(here, self.weight) * mine[..., None]  # zero for another rank's words
        return summed(rows, self.group)


def in_part(ids: Tensor, first: int, size: int) -> tuple[Tensor, Tensor]:
    """(places of ids in the part that begins with word `first`, 0 for others; whether they are in it)."""
    mine = (ids >= first) & (ids < first + size)
    return torch.where(mine, ids - first, 0), mine


class VocabParallelLoss(torch.autograd.Function):
    """The loss of logits (N, V / n), and its gradient: three sums over ranks forward, none backward."""

    @staticmethod
    def forward(ctx, logits: Tensor, targets: Tensor, ignore_index: int, group: Any) -> Tensor:
        here, mine = in_part(targets, place(group)[0] * logits.shape[1], logits.shape[1])
        largest = _sum(logits.amax(1), group, dist.ReduceOp.MAX)  # (N,)
        powers = (logits - largest[:, None]).exp()  # (N, V / n)
        total = _sum(powers.sum(1), group)  # (N,)
        picked = _sum(logits.gather(1, here[:, None])[:, 0] * mine, group)
        counted = targets != ignore_index
        # log sum exp - logit of the target
        losses = (total.log() + largest - picked) * counted
        ctx.save_for_backward(powers.div_(total[:, None]), here, mine, counted)
        return losses.sum() / counted.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx, outer: Tensor) -> tuple[Tensor | None, ...]:
        softmax, here, mine, counted = ctx.saved_tensors
        # softmax - one hot, of this rank's words
        gradient = softmax.scatter_add(1, here[:, None], -mine[:, None].to(softmax.dtype))
        return gradient * (outer * counted / counted.sum())[:, None], None, None, None


def vocab_parallel_cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int = -100, group: Any = None
) -> Tensor:
    """Mean cross-entropy, 0-d, of each rank's part of the logits (N, V / n) against targets (N,), in nats.

    The logits never come together. float16 and bfloat16 are worked on as float32. NaN for no targets, as in torch.
    ValueError for wrong shapes and targets that are no word.
    """
    words = logits.shape[-1] * place(group)[1]
    if logits.ndim != 2 or not logits.is_floating_point():
        raise ValueError(f"logits must be a float tensor (N, V / n), got {describe(logits)}")
    if targets.shape != logits.shape[:1] or targets.dtype != torch.int64:
        raise ValueError(f"targets must be an int64 tensor ({len(logits)},), got {describe(targets)}")
    if (
        targets.device.type == "cpu"
        and (((targets < 0) | (targets >= words)) & (targets != ignore_index)).any()
    ):
        raise ValueError(
            f"targets must be below {words} or {ignore_index}, got {targets.min()} to {targets.max()}"
        )
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    return VocabParallelLoss.apply(logits, targets, ignore_index, group)


def _sum(x: Tensor, group: Any, operation: Any = dist.ReduceOp.SUM) -> Tensor:
    """The sum (or the largest) over ranks; x stays as it was."""
    x = x.contiguous().clone()
    dist.all_reduce(x, operation, group=group)
    return x
