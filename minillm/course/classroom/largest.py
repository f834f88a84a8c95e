"""The largest tensor that an answer makes: for exercises whose point is that a matrix never exists.

    mode = Largest(most=960)
    with mode:
        found = answer(...)
    assert not mode.refused, mode.refused

It sees torch's own operations. What numpy and lists take is a matter of tracemalloc.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Largest(TorchDispatchMode):
    """Refuses a tensor of more than `most` numbers; a view is no new tensor. A checker refuses more by `called`, which
    is given the name of every operation before it runs, and by `made`, which is given each tensor that it makes.

    `refused` says what was refused first, "" for nothing, also where the answer has caught the error.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.refused = most, ""

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = op.overloadpacket.__name__
        self.called(name)
        result = op(*args, **(kwargs or {}))
        for one in tree_leaves(result):
            if isinstance(one, Tensor):
                self.made(one)
                if not op.is_view and one.numel() > self.most:
                    self.refuse(f"{name} made a tensor {tuple(one.shape)}, more than {self.most:,} numbers")
        return result

    def called(self, name: str) -> None:
        """Nothing is refused by its name here."""

    def made(self, one: Tensor) -> None:
        """Nothing but its size is asked here."""

    def refuse(self, why: str) -> None:
        """Raise `why` as feedback, and remember it."""
        self.refused = self.refused or why
        raise AssertionError(why)
