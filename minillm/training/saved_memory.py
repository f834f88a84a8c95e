"""How much autograd holds at a time: the bytes of the tensors that it keeps for the way back, and their peak.

    with SavedMemory(model) as memory:
        loss_of(model, batch).backward()
    memory.peak        # bytes; the weights are not counted, which are there anyway

Most of the memory of training are these activations: every layer keeps what it read, until its gradient is known.
Counted are storages, each once, from the moment a node keeps the first view of one until the last node that keeps one
is freed. Single numbers, such as the 2 of 2 * x, are not counted.

Book: 5.2 단일 GPU 효율적으로 활용하기. Held against: small graphs counted by hand.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import describe


class SavedMemory:
    """A `with` block that counts: `now` and `peak`, in bytes. model: its weights and buffers are left out.

    Raises ValueError for a model that is none.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        if model is not None and not isinstance(model, nn.Module):
            raise ValueError(f"model must be a torch module or None, got {describe(model)}")
        own = [] if model is None else [*model.parameters(), *model.buffers()]
        self._own = {tensor.untyped_storage().data_ptr() for tensor in own}
        self._keepers: Counter[int] = Counter()  # address of a storage -> how many nodes keep it
        self.now = self.peak = 0

    def __enter__(self) -> SavedMemory:
        self._hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: _Kept(self, tensor), lambda kept: kept.tensor
        )
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)

    def take(self, tensor: Tensor) -> tuple[int, int]:
        """Note that a node keeps `tensor`; (address, bytes) of its storage, for `give`."""
        memory = tensor.untyped_storage()
        address, size = memory.data_ptr(), memory.nbytes()
        if address in self._own or size <= tensor.element_size():
            return address, 0
        self._keepers[address] += 1
        if self._keepers[address] == 1:
            self.now += size
            self.peak = max(self.peak, self.now)
        return address, size

    def give(self, address: int, size: int) -> None:
        """Note that a node is freed."""
        if size:
            self._keepers[address] -= 1
            if not self._keepers[address]:
                self.now -= size


class _Kept:
    """What a node holds in place of a tensor; it is collected with the node."""

    def __init__(self, memory: SavedMemory, tensor: Tensor) -> None:
        # a tensor that knows its node would keep the node, which keeps the tensor
        self.memory, self.tensor = memory, tensor.detach()
        self.storage = memory.take(self.tensor)

    def __del__(self) -> None:
        self.memory.give(*self.storage)
