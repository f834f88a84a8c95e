"""What a forward pass depends on besides its inputs: the random generators and autocast, to be had again later.

Who computes something twice, to save memory, must draw the same numbers twice, or the gradient belongs to another pass.
Book: 5.2.2 그레이디언트 체크포인팅. Held against: torch.utils.checkpoint. Leaves out: numpy's and Python's generators.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch


class Surroundings:
    """torch's generators (of the CPU, and of `device` if it is a GPU), autocast, and `generators`, as they are now."""

    def __init__(self, device: torch.device, generators: Iterable[torch.Generator] = ()) -> None:
        self.gpus = [device] if device.type == "cuda" else []
        self.states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self.gpus)]
        self.own = [(one, one.get_state()) for one in generators]
        self.autocast = [
            (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
            for kind in dict.fromkeys(("cpu", device.type))
            if torch.amp.is_autocast_available(kind)
        ]

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, a forward pass draws what it drew then, and keeps its graph; after it all is as it was before."""
        now = [one.get_state() for one, _ in self.own]
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(self.gpus))
            stack.enter_context(torch.enable_grad())
            for kind, dtype, enabled in self.autocast:
                stack.enter_context(torch.autocast(kind, dtype, enabled))
            torch.set_rng_state(self.states[0])
            for gpu, state in zip(self.gpus, self.states[1:]):
                torch.cuda.set_rng_state(state, gpu)
            for one, state in self.own:
                one.set_state(state)
            try:
                yield
            finally:
                for (one, _), state in zip(self.own, now):
                    one.set_state(state)
