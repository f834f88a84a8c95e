"""What an answer that is a Triton kernel did: its launches, torch's own work, and a step outside its tensors.

    watch = LaunchWatch()
    found = watch.run(answer, x)            # None when a program went astray
    watch.launches, watch.torch_ran, watch.astray, watch.wrote(found)

For checkers, in Triton's interpreter alone. New memory is filled with NaN, so that a number never written shows.
A program is stopped before it touches memory outside the tensors of its launch: that may end the whole process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

ROOM = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")


class LaunchWatch(TorchDispatchMode):
    """Counts kernel launches and notes what torch computes itself, while `run` calls an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0
        self.torch_ran: list[str] = []
        self.astray = ""
        self._written: list[np.ndarray] = []

    def wrote(self, result: Tensor) -> bool:
        """Whether programs stored every number of `result`."""
        steps = zip(result.shape, result.stride())
        places = [np.arange(size).reshape(-1, *[1] * (result.ndim - 1 - axis)) * step
                  for axis, (size, step) in enumerate(steps)]  # fmt: skip
        addresses = result.data_ptr() + sum(places, np.zeros(1, np.int64)) * result.element_size()
        stored = np.concatenate([np.zeros(0, np.int64), *self._written])
        return bool(np.isin(addresses.astype(np.int64), stored.astype(np.int64)).all())

    def __torch_dispatch__(self, op: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        result, name = op(*args, **(kwargs or {})), op.overloadpacket.__name__
        if name in ROOM and result.is_floating_point():
            result.fill_(float("nan"))
        elif name not in ROOM and not op.is_view:
            self.torch_ran.append(name)
        return result

    def _guarded(self, access: Callable, verb: str, rooms: list[tuple[int, int]]) -> Callable:
        """One of the interpreter's two ways to memory, for addresses within `rooms` only."""

        def create(builder: Any, pointers: Any, *rest: Any, **options: Any) -> Any:
            mask = rest[0 if verb == "reads" else 1]  # a store's value stands before its mask
            size = pointers.get_element_ty().primitive_bitwidth // 8
            used = pointers.data[np.broadcast_to(mask.data, pointers.data.shape).astype(bool)]
            inside = np.zeros(used.shape, dtype=bool)
            for start, end in rooms:
                inside |= (used >= start) & (used + size <= end)
            if not inside.all():
                self.astray = f"a program {verb} outside the tensors it was given"
                raise IndexError(self.astray)
            if verb == "writes":
                self._written.append(used.ravel())
            return access(builder, pointers, *rest, **options)

        return create

    def run(self, answer: Callable, *inputs: Any) -> Any:
        """The answer's result, its launches counted; None if a program went astray."""
        # here, not above: other exercises need no Triton
        from triton.runtime.interpreter import InterpretedFunction, InterpreterBuilder

        launch = InterpretedFunction.run
        load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

        def counted(kernel: Any, *args: Any, **kwargs: Any) -> Any:
            self.launches += 1
            given = [x.untyped_storage() for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
            rooms = [(memory.data_ptr(), memory.data_ptr() + memory.nbytes()) for memory in given]
            ways = {
                "create_masked_load": self._guarded(load, "reads", rooms),
                "create_masked_store": self._guarded(store, "writes", rooms),
            }
            with mock.patch.multiple(InterpreterBuilder, **ways), _disable_current_modes():
                return launch(kernel, *args, **kwargs)

        try:
            with mock.patch.object(InterpretedFunction, "run", counted), self:
                return answer(*inputs)
        except Exception:
            if self.astray:
                return None
            raise
