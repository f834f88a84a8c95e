"""Data parallel under torchrun: every process has the whole model and a part of each batch; gradients are summed.

    gradient of the batch = sum over processes of (targets of the part / targets of the batch) * gradient of the part

So all processes make the same update of the same weights. Process 0 alone writes files and shows a progress bar.

    torchrun --nproc-per-node 2 train.py

Book: 5.3 분산 학습. Held against: one process with the same batches. Leaves out: several GPUs, sums that overlap
with the backward pass, and cutting up the optimiser's averages (chapter 5).
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


def leave() -> None:
    """Leave the other processes, unless the script has done so."""
    if dist.is_initialized():
        dist.destroy_process_group()


class Processes:
    """The processes that torchrun started, or this one alone. `rank` of `count`; they talk by gloo, on the CPU.

    seconds: how long a process waits for the others before it fails: torchrun then ends all of them. ValueError for
    several processes on another device.
    """

    def __init__(self, device: torch.device, seconds: float = 1800.0) -> None:
        self.device = device
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if self.count > 1 and device.type != "cpu":
            raise ValueError(f"several processes train on the CPU only (device='cpu'), got {device}")
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("gloo", timeout=timedelta(seconds=seconds))
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

    def sum_gradients(self, parameters: list[Tensor], loss: Tensor) -> Tensor:
        """Sum the gradients in place and return the sum of the losses: one message for all of them.

        A parameter that a part of the batch did not touch counts as zero there; one that no part touched keeps None.
        """
        if self.count == 1:
            return loss
        touched = torch.tensor(
            [p.grad is not None for p in parameters], dtype=torch.float32, device=self.device
        )
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat(
            [touched, loss.reshape(1).float(), *(gradient.flatten().float() for gradient in gradients)]
        )
        dist.all_reduce(flat)
        counts, total, rest = flat.split([len(parameters), 1, flat.numel() - len(parameters) - 1])
        pieces = rest.split([parameter.numel() for parameter in parameters])
        for parameter, piece, count in zip(parameters, pieces, counts.tolist()):
            parameter.grad = piece.view_as(parameter).to(parameter.dtype) if count else None
        return total[0]

    def same_start(self, model: nn.Module) -> None:
        """Give every process the weights and buffers of process 0."""
        if self.count > 1:
            with torch.no_grad():
                for tensor in model.state_dict().values():
                    dist.broadcast(tensor, 0)

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
