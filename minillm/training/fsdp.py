"""strategy="fsdp": torch's FSDP2 around the model and objective of a Trainer. Every process holds 1/n of everything.

    a parameter is a DTensor, cut along its first axis; AdamW works on the local pieces, which are plain tensors
    a block's weights are gathered before it runs, forward and backward; embeddings, last norm and head together once

Checkpoints are written in parts, one a process (parts_of_checkpoint.py).

Book: 5.3.2 데이터 병렬화에서 중복 저장 줄이기(ZeRO). Paper: Zhao et al. 2023 (FSDP). Held against: one process.
By hand: minillm.training.parallel.ZeRO(stage=3). Leaves out: torch's mixed precision and offloading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from minillm.training.distributed import Processes
from minillm.training.objectives import Objective
from minillm.training.parallel.zero import blocks_of
from minillm.training.strategies import LossOf, Wrapped


class FSDP(Wrapped):
    """torch's fully sharded data parallel."""

    cuts = True

    def __init__(self, model: nn.Module, objective: Objective, processes: Processes) -> None:
        super().__init__(model, objective, processes)
        processes.same_start(model)
        mesh = init_device_mesh(processes.device.type, (processes.count,))
        for block in blocks_of(model):
            if any(True for _ in block.parameters()):
                fully_shard(block, mesh=mesh)
        self.root = fully_shard(LossOf(model, objective), mesh=mesh)
        self.pieces: list[tuple[Tensor, Tensor]] = []

    def same_start(self) -> None:
        """Done before the weights were cut."""

    def own(self, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The local pieces, plain tensors, in place of the DTensors: AdamW moves each number by itself."""
        owned = []
        for group in groups:
            pairs = [(p, local(p.detach())) for p in group["params"]]
            self.pieces += pairs
            owned.append({**group, "params": [piece for _, piece in pairs]})
        return owned

    @contextmanager
    def one_round(self, last: bool) -> Iterator[None]:
        """Only the last pass of an update sums over processes."""
        self.root.set_requires_gradient_sync(last)
        yield

    def collect(self, parameters: list[Tensor], loss: Tensor) -> Tensor:
        """Give the pieces their gradients."""
        for p, piece in self.pieces:
            piece.data = local(p.detach())  # FSDP may have moved it
            piece.grad = None if p.grad is None else local(p.grad)
        return self.processes.summed(loss)

    def clip(self, parameters: list[Tensor], limit: float | None) -> Tensor:
        """As `clip_gradients`; the sum of squares is taken over all processes."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        squares = [gradient.float().square().sum() for gradient in gradients]
        norm = self.processes.summed(sum(squares, torch.zeros((), device=self.processes.device))).sqrt()
        if limit:
            scale = torch.where(norm.isfinite(), limit / (norm + 1e-6), 1.0).clamp(max=1.0)
            for gradient in gradients:
                gradient *= scale
        return norm

    def zero_grad(self, optimizer: Any) -> None:
        """Of the pieces and of what they are pieces of."""
        optimizer.zero_grad()
        for p, _ in self.pieces:
            p.grad = None

    @contextmanager
    def whole_model(self) -> Iterator[None]:
        """The weights come together on every process."""
        state = {
            name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            for name, tensor in self.model.state_dict().items()
        }
        self.model.state_dict = lambda: state
        try:
            yield
        finally:
            del self.model.state_dict

    # For checkpoints

    def held(self) -> dict[str, tuple[Tensor, bool]]:
        """Of each tensor of the model what this process holds, the same memory, and whether it is a piece."""
        self.let_go()
        state = self.model.state_dict()
        return {name: (local(tensor), isinstance(tensor, DTensor)) for name, tensor in state.items()}

    @torch.no_grad()
    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of a whole model; ValueError, the weights as they were, for another one's."""
        self.let_go()
        state = self.model.state_dict()
        ours = {name: tuple(tensor.shape) for name, tensor in state.items()}
        theirs = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if ours != theirs:
            wrong = next(name for name in [*ours, *theirs] if ours.get(name) != theirs.get(name))
            raise ValueError(f"{wrong} has shape {theirs.get(wrong)}, the model wants {ours.get(wrong)}")
        for name, tensor in state.items():
            whole = weights[name]
            local(tensor).copy_(self.cut(whole) if isinstance(tensor, DTensor) else whole)

    def cut(self, tensor: Tensor) -> Tensor:
        """As FSDP cuts: equal numbers of rows, the last processes may have fewer, or none."""
        pieces = tensor.chunk(self.processes.count)
        return pieces[self.processes.rank] if self.processes.rank < len(pieces) else tensor[:0]

    def let_go(self) -> None:
        """Forget gathered weights: the pieces may be written to."""
        for module in self.root.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a DTensor, the same memory; another tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
