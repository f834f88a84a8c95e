"""What an answer that is a Triton kernel did: its launches, torch's own work, and a step outside its tensors.

    watch = LaunchWatch()
    found = watch.run(answer, x)            # None when a program went astray
    watch.launches, watch.torch_ran, watch.astray, watch.read_others, watch.brought_in, watch.wrote(found)

For checkers, in Triton's interpreter alone. New memory is filled with NaN, so that a number never written shows, and
so that numbers which came into it another way (numpy at an address) show when the kernel is launched.
A program is stopped before it touches memory outside the tensors of its launch: that may end the whole process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

ROOM = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")


class LaunchWatch(TorchDispatchMode):
    """Counts kernel launches and notes what torch computes itself, while `run` calls an answer.

    read_others: whether a program read a number that is neither an input's nor stored by a program before, such as a
    result that torch worked out where this watch does not see it. brought_in: what is wrong with a tensor that a kernel
    was given, "" if nothing is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0
        self.torch_ran: list[str] = []
        self.astray = ""
        self.read_others = False
        self.brought_in = ""
        self._written: list[np.ndarray] = []
        self._rooms: list[tuple[int, int]] = []  # of the inputs
        self._inputs: dict[int, Tensor] = {}  # bytes of each input before, by address
        self._after: dict[int, Tensor] = {}  # bytes of each tensor of a launch when it had ended

    def wrote(self, result: Tensor) -> bool:
        """Whether programs stored every number of `result`, and nothing else has changed it since."""
        left = self._after.get(result.untyped_storage().data_ptr())
        if left is None or not torch.equal(left, _bytes(result)):
            return False
        steps = zip(result.shape, result.stride())
        places = [np.arange(size).reshape(-1, *[1] * (result.ndim - 1 - axis)) * step
                  for axis, (size, step) in enumerate(steps)]  # fmt: skip
        addresses = result.data_ptr() + sum(places, np.zeros(1, np.int64)) * result.element_size()
        return self._stored(addresses)

    def _stored(self, addresses: np.ndarray) -> bool:
        stored = np.concatenate([np.zeros(0, np.int64), *self._written])
        return bool(np.isin(addresses.astype(np.int64), stored.astype(np.int64)).all())

    def __torch_dispatch__(self, op: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        result, name = op(*args, **(kwargs or {})), op.overloadpacket.__name__
        if name in ROOM and result.is_floating_point():
            _whole(result).fill_(float("nan"))
        elif name not in ROOM and not op.is_view:
            self.torch_ran.append(name)
        return result

    def _guarded(self, access: Callable, verb: str, rooms: list[tuple[int, int]]) -> Callable:
        """One of the interpreter's two ways to memory, for addresses within `rooms` only."""

        def create(builder: Any, pointers: Any, *rest: Any, **options: Any) -> Any:
            mask = rest[0 if verb == "reads" else 1]  # a store's value stands before its mask
            size = pointers.get_element_ty().primitive_bitwidth // 8
            used = pointers.data[np.broadcast_to(mask.data, pointers.data.shape).astype(bool)]
            if not _within(used, size, rooms).all():
                self.astray = f"a program {verb} outside the tensors it was given"
                raise IndexError(self.astray)
            if verb == "writes":
                self._written.append(used.ravel())
            else:
                others = used[~_within(used, size, self._rooms)]
                self.read_others |= others.size > 0 and not self._stored(others)
            return access(builder, pointers, *rest, **options)

        return create

    def _handed_in(self, x: Tensor) -> str:
        """What is wrong with a tensor that a kernel is given: it is an input as it came, or room without numbers."""
        address = x.untyped_storage().data_ptr()
        before = self._after.get(address, self._inputs.get(address))
        if before is not None:
            return "" if torch.equal(before, _bytes(x)) else "a tensor was changed before the launch"
        numbers = x.is_floating_point() and int(_whole(x).isnan().logical_not().sum())
        return "the kernel was given a new tensor with numbers in it" if numbers else ""

    def run(self, answer: Callable, *inputs: Any) -> Any:
        """The answer's result, its launches counted; None if a program went astray."""
        # here, not above: other exercises need no Triton
        from triton.runtime.interpreter import InterpretedFunction, InterpreterBuilder

        launch = InterpretedFunction.run
        load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

        def counted(kernel: Any, *args: Any, **kwargs: Any) -> Any:
            self.launches += 1
            given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
            rooms = _rooms_of(given)
            ways = {
                "create_masked_load": self._guarded(load, "reads", rooms),
                "create_masked_store": self._guarded(store, "writes", rooms),
            }
            with mock.patch.multiple(InterpreterBuilder, **ways), _disable_current_modes():
                self.brought_in = self.brought_in or next(filter(None, map(self._handed_in, given)), "")
                result = launch(kernel, *args, **kwargs)
                self._after |= {start: _bytes(x).clone() for (start, _), x in zip(rooms, given)}
                return result

        tensors = [x for x in inputs if isinstance(x, Tensor)]
        self._rooms = _rooms_of(tensors)
        self._inputs = {x.untyped_storage().data_ptr(): _bytes(x).clone() for x in tensors}
        try:
            with mock.patch.object(InterpretedFunction, "run", counted), self:
                return answer(*inputs)
        except Exception:
            if self.astray:
                return None
            raise


def _rooms_of(tensors: list[Tensor]) -> list[tuple[int, int]]:
    """(start, end) of the memory of each tensor."""
    given = [x.untyped_storage() for x in tensors]
    return [(memory.data_ptr(), memory.data_ptr() + memory.nbytes()) for memory in given]


def _within(used: np.ndarray, size: int, rooms: list[tuple[int, int]]) -> np.ndarray:
    """Which numbers of `size` bytes at these addresses lie in one of the rooms."""
    inside = np.zeros(used.shape, dtype=bool)
    for start, end in rooms:
        inside |= (used >= start) & (used + size <= end)
    return inside


def _whole(x: Tensor) -> Tensor:
    """All numbers of the memory that a tensor lies in, also those between its rows."""
    return torch.empty(0, dtype=x.dtype, device=x.device).set_(x.untyped_storage())


def _bytes(x: Tensor) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=x.device).set_(x.untyped_storage())
