"""How many bytes a rank sends: each message of torch.distributed, counted as the ring (ring.py) sends it.

    all-reduce        2 (n - 1) / n · S      S bytes on every one of n ranks
    reduce-scatter      (n - 1) / n · S      S bytes, of which each rank gets its n-th as a sum
    all-gather          (n - 1) / n · S      S bytes, of which each rank has its n-th
    broadcast           (n - 1) / n · S      the mean over ranks: the last one in the row has nobody to send to
    send                              S

Fewer bytes than the ring's no all-reduce can send; what gloo and NCCL do is theirs (trees, for short messages). Inside
the `with` block torch.distributed's functions note what they are given, in this process alone, and go on.

Book: 5.3 분산 학습과 ZeRO. Held against: what ring_all_reduce says that it sent, and closed forms.
Leaves out: groups of some of the ranks, and functions that this room does not call (all_gather_into_tensor).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch.distributed as dist
from torch import Tensor

from minillm.training.parallel.group import place


class Traffic:
    """A `with` block that counts: `sent`, bytes, and `of_steps`, those of each batch that `by_step` gave.

    ValueError outside of a process group.
    """

    def __init__(self) -> None:
        share = 1 - 1 / place()[1]  # (n - 1) / n
        self.shares = {"all_reduce": (2 * share, "tensor", 0), "reduce_scatter": (share, "input_list", 1),
                       "all_gather": (share, "tensor_list", 0), "broadcast": (share, "tensor", 0),
                       "send": (1.0, "tensor", 0), "isend": (1.0, "tensor", 0)}  # fmt: skip
        self.sent, self.of_steps = 0.0, []

    def __enter__(self) -> Traffic:
        self._own = {name: getattr(dist, name) for name in self.shares}
        for name, function in self._own.items():
            setattr(dist, name, partial(self._noted, function, *self.shares[name]))
        return self

    def __exit__(self, *error: Any) -> None:
        for name, function in self._own.items():
            setattr(dist, name, function)

    def _noted(
        self, function: Callable[..., Any], share: float, name: str, at: int, *args: Any, **options: Any
    ) -> Any:
        """A call of torch.distributed: what travels is the argument `name`, or the one at this place."""
        whole = options[name] if name in options else args[at]
        self.sent += share * sum(one.nbytes for one in ([whole] if isinstance(whole, Tensor) else whole))
        return function(*args, **options)

    def by_step(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches; the bytes from one to the next are those of a step."""
        for batch in batches:
            before = self.sent
            yield batch
            self.of_steps.append(self.sent - before)
