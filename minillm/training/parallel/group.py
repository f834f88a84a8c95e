"""What every form of parallel training asks first: which process am I, of how many, and do we start alike?

Book: 5.3 분산 학습과 ZeRO. The forms work on torch.distributed's collectives, by gloo on CPUs and by NCCL on GPUs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from minillm._checks import describe


def place(group: Any = None) -> tuple[int, int]:
    """(rank, number of ranks) of this process. ValueError outside of a process group, or of this one."""
    if not dist.is_available() or not dist.is_initialized():
        raise ValueError(
            "there is no process group: call this in a function that run_ranks(function, ranks) starts, or under "
            "torchrun after torch.distributed.init_process_group()"
        )
    rank = dist.get_rank(group)
    if rank < 0:
        raise ValueError("this process is no member of the group that it was given")
    return rank, dist.get_world_size(group)


def check_model(model: Any) -> nn.Module:
    """`model` if it is a module with something to train."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch module, got {describe(model)}")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("the model has no parameter to train")
    return model


@torch.no_grad()
def same_start(model: nn.Module, group: Any = None) -> None:
    """Give every rank the weights and buffers of rank 0."""
    for tensor in [*model.parameters(), *model.buffers()]:
        dist.broadcast(tensor.data, group=group, group_src=0)


def own_rows(batch: Any, group: Any = None) -> Any:
    """This rank's rows of a batch: of a tensor (B, ...), or of each tensor of a dict. ValueError if B does not divide.

    Equal parts only: with them the mean over ranks of the mean over rows is the mean over all rows.
    """
    rank, ranks = place(group)
    if isinstance(batch, Mapping):
        return {name: own_rows(tensor, group) for name, tensor in batch.items()}
    if not isinstance(batch, Tensor) or batch.ndim == 0:
        raise ValueError(f"a batch is a tensor (B, ...) or a dict of those, got {describe(batch)}")
    return parts_of(batch, ranks, "ranks")[rank]


def parts_of(batch: Tensor, count: int, what: str) -> Sequence[Tensor]:
    """The rows of a batch in `count` equal parts; ValueError if they cannot be equal."""
    if len(batch) == 0 or len(batch) % count:
        raise ValueError(f"a batch of {len(batch)} rows does not divide by {count} {what}")
    return batch.split(len(batch) // count)
