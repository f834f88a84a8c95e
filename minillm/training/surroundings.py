"""What a forward pass depends on besides its inputs: the random generators and autocast, to be had again later.

Who computes something twice, to save memory, must draw the same numbers twice, or the gradient belongs to another pass.
Book: 5.2.2 그레이디언트 체크포인팅. Held against: torch.utils.checkpoint. Leaves out: numpy's and Python's generators.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor


class Surroundings:
    """torch's generators (of the CPU, and of `device` if it is a GPU), autocast, and `generators`, as they are now."""

    def __init__(self, device: torch.device, generators: Iterable[torch.Generator] = ()) -> None:
        self.gpus = [device] if device.type == "cuda" else []
        self.own = list(generators)
        self.states = self.draws()
        self.autocast = [
            (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
            for kind in dict.fromkeys(("cpu", device.type))
            if torch.amp.is_autocast_available(kind)
        ]

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, a forward pass draws what it drew then, and keeps its graph; after it all is as it was before."""
        now = self.draws()
        with ExitStack() as stack:
            stack.enter_context(torch.enable_grad())
            for kind, dtype, enabled in self.autocast:
                if enabled or torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, dtype, enabled))
            self.draw_from(self.states)
            try:
                yield
            finally:
                self.draw_from(now)

    def draws(self) -> list[Tensor]:
        """The states of the generators."""
        gpus = map(torch.cuda.get_rng_state, self.gpus)
        return [torch.get_rng_state(), *gpus, *(one.get_state() for one in self.own)]

    def draw_from(self, states: Sequence[Tensor]) -> None:
        """Put the generators into these states."""
        torch.set_rng_state(states[0])
        for gpu, state in zip(self.gpus, states[1:]):
            torch.cuda.set_rng_state(state, gpu)
        for one, state in zip(self.own, states[1 + len(self.gpus) :]):
            one.set_state(state)
