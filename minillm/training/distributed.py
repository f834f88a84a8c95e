"""Data parallel under torchrun: every process has the whole model and a part of each batch; gradients are summed.

    gradient of the batch = sum over processes of (targets of the part / targets of the batch) * gradient of the part

So all processes make the same update of the same weights. Process 0 alone writes files and shows a progress bar.

    torchrun --nproc-per-node 2 train.py

Book: 5.3 분산 학습과 ZeRO. Held against: one process with the same batches. Leaves out: sums that overlap with the
backward pass and cutting up weights and averages: strategy="ddp" and "fsdp" of a Trainer have them (strategies.py).
"""

from __future__ import annotations

import atexit
import json
import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from minillm.training.parallel.gradients import pack_gradients, unpack_gradients
from minillm.training.parallel.group import same_start


def leave() -> None:
    """Leave the other processes, unless the script has done so."""
    if dist.is_initialized():
        dist.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The device of one process of several: the CPU, or the GPU of its number on this machine."""
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"several processes train on CPUs or CUDA GPUs, got {device}")
    if device.type == "cuda" and device.index is None:
        number = int(os.environ.get("LOCAL_RANK", 0))
        if number >= torch.cuda.device_count():
            raise ValueError(
                f"process {number} of this machine has no GPU, there are {torch.cuda.device_count()}"
            )
        torch.cuda.set_device(number)
        return torch.device("cuda", number)
    return device


class Processes:
    """The processes that torchrun or `run_ranks` started, or this one alone. `rank` of `count`, on `device`.

    They talk by gloo on CPUs, by NCCL on GPUs, each process with its own. seconds: how long a process waits for the
    others before it fails: torchrun then ends all of them. needed: what needs a group of processes, if anything does.
    ValueError for several processes on another device or on fewer GPUs, and where a group is needed and not there.
    """

    def __init__(self, device: torch.device, seconds: float = 1800.0, needed: str = "") -> None:
        started = dist.is_initialized()
        self.rank = dist.get_rank() if started else int(os.environ.get("RANK", 0))
        self.count = dist.get_world_size() if started else int(os.environ.get("WORLD_SIZE", 1))
        if needed and not started and "RANK" not in os.environ:
            raise ValueError(
                f"{needed} needs a group of processes, this one is alone: start the script by "
                "torchrun --nproc-per-node N script.py"
            )
        self.device = own_device(device) if self.count > 1 or needed else device
        if (self.count > 1 or needed) and not started:
            backend = "gloo" if device.type == "cpu" else "nccl"
            dist.init_process_group(backend, timeout=timedelta(seconds=seconds))
            # gloo's threads would else be there while the interpreter is taken down, and now and then abort it
            atexit.register(leave)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def total(self, number: int) -> int:
        """The sum of a number that each process has."""
        if self.count == 1:
            return number
        together = torch.tensor(number, device=self.device)
        dist.all_reduce(together)
        return int(together)

    def largest(self, number: int) -> int:
        """The largest of the numbers that the processes have."""
        together = torch.tensor(number, device=self.device)
        if self.count > 1:
            dist.all_reduce(together, dist.ReduceOp.MAX)
        return int(together)

    def summed(self, value: Tensor) -> Tensor:
        """The sum of a tensor over processes, as a new one."""
        value = value.clone()
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def sum_gradients(self, parameters: list[Tensor], loss: Tensor) -> Tensor:
        """Sum the gradients in place and return the sum of the losses: one message for all of them.

        A parameter that a part of the batch did not touch counts as zero there; one that no part touched keeps None.
        """
        if self.count == 1:
            return loss
        flat = torch.cat([loss.reshape(1).float(), pack_gradients(parameters, torch.float32)])
        dist.all_reduce(flat)
        unpack_gradients(parameters, flat[1:])
        return flat[0]

    def same_start(self, model: nn.Module) -> None:
        """Give every process the weights and buffers of process 0."""
        if self.count > 1:
            same_start(model)

    def agreed(self, value: dict[str, Any]) -> dict[str, Any]:
        """What process 0 has, a dict of JSON-able values: decisions that hang on it are the same everywhere."""
        if self.count == 1:
            return value
        data = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8, device=self.device)
        size = torch.tensor(len(data), device=self.device)
        dist.broadcast(size, 0)
        data = data if self.first else torch.zeros(int(size), dtype=torch.uint8, device=self.device)
        dist.broadcast(data, 0)
        return json.loads(bytes(data.tolist()))

    def wait(self) -> None:
        """Until every process has come here."""
        if self.count > 1:
            self.total(0)
