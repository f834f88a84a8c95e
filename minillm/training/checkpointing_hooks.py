"""Gradient checkpointing by hooks: the second run ends as soon as backward has all that it needs.

    forward     y = f(x), with its graph; a node that wants to keep a tensor is given a number instead: 0, 1, 2, ...
    backward    a node shows its number: f(x) runs again, and the same tensors come by in the same order; each is kept
                until its node has it; at the last one the run is broken off

What stands behind the last of them is not computed again: in a transformer's block the last linear layer, a third of
GPT-2's products. And the graph is the plain one, so that all that autograd does works here: torch.autograd.grad,
gradients of gradients, a second way back, tensors with a history that f finds outside of its arguments.

Book: 5.2.2 그레이디언트 체크포인팅. Paper: Chen et al. 2016. Held against: torch.utils.checkpoint(use_reentrant=False).
The plain form: checkpointing.py. Leaves out: inputs of a graph that is compiled, several threads in one part, and
torch before 2.8, which does not say which hooks are set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version, saved_tensors_hooks
from torch.utils._pytree import tree_flatten

from minillm.training.checkpointing import Call, check_function, leaves, tensors_given

OUTSIDE = -1  # the number of no backward pass


def checkpointed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """function(*args, **kwargs), of which only the tensors among the arguments are kept for the way back.

    function: anything that gives a tensor, or tensors in lists, tuples and dicts, and computes the same each time;
    tensors among the arguments may stand in lists, tuples and dicts, too. Gradients flow to them, to all weights that
    function uses, and to tensors that it finds elsewhere (those it must find again). Where nothing asks for gradients
    it is a plain call. ValueError for a function that cannot be called or gives no tensor, and in backward for one
    that computes something else the second time; RuntimeError where a tensor that it reads was changed in place since.
    """
    check_function(function)
    if not torch.is_grad_enabled():
        return function(*args, **kwargs)
    part = Part(Call(function, args, kwargs))
    with saved_tensors_hooks(part.number, part.tensor):
        result = function(*args, **kwargs)
    tensors_given(tree_flatten(result)[0])
    return result


class Looks(NamedTuple):
    """What is known of a tensor that has a number."""

    shape: torch.Size
    dtype: torch.dtype
    version: int  # how often it was changed in place


class Part:
    """One call: its inputs, and how each tensor looked that a node of its graph would have kept."""

    def __init__(self, call: Call) -> None:
        inputs = call.inputs()
        self.call, self.learn = call, [x.requires_grad for x in inputs]
        self.versions = [x._version for x in inputs]
        anchor = torch.empty(0, requires_grad=True)
        self.inputs: Any = Inputs.apply(anchor, *(x.detach() for x in inputs)).grad_fn
        self.looks: list[Looks] = []
        self.again: dict[int, Held] = {}  # what backward has not asked for yet
        self.backward, self.given = OUTSIDE, set()

    def number(self, tensor: Tensor) -> int:
        """In forward: what a node gets in place of a tensor."""
        self.looks.append(Looks(tensor.shape, tensor.dtype, tensor._version))
        return len(self.looks) - 1

    def tensor(self, number: int) -> Tensor:
        """In backward: the tensor of that number. It is not kept any longer."""
        backward = torch._C._current_graph_task_id()
        if backward != self.backward or backward == OUTSIDE:
            self.backward, self.given, self.again = backward, set(), {}
        if number not in self.again:  # the first, or one that a node asks for a second time
            self.run_again({number} | set(range(len(self.looks))) - self.given)
        self.given.add(number)
        return self.again.pop(number).tensor()

    def run_again(self, wanted: set[int]) -> None:
        """Run the function until all these tensors have come by."""
        inputs, run = self.inputs_again(), SecondRun(self, wanted)
        try:
            with self.call.surroundings.again(), saved_tensors_hooks(run.take, lambda kept: kept):
                self.call.run(inputs)
        except Enough:
            return
        if run.count <= run.last:
            raise ValueError(
                f"function kept {len(self.looks)} tensors the first time and {run.count} the second: it has changed"
            )

    def inputs_again(self) -> list[Tensor]:
        """The inputs, without the graph that they came from."""
        inputs = leaves(self.inputs.saved_tensors, self.learn)
        for x, version in zip(inputs, self.versions):
            check_version(x, version, x._version <= version)
            for _ in range(version - x._version):  # hooks outside have given a copy
                increment_version(x)
        return inputs


class SecondRun:
    """What the nodes of the second graph would keep is what those of the first one ask for."""

    def __init__(self, part: Part, wanted: set[int]) -> None:
        self.part, self.wanted, self.last, self.count = part, wanted, max(wanted), 0
        self.outer = hooks_outside()

    def take(self, tensor: Tensor) -> Tensor:
        """Keep the next tensor, if it is wanted; breaks off the run with the last one."""
        number, tensor = self.count, tensor.detach()  # with its graph it would keep all of the second run
        self.count += 1
        if number > self.last:  # somebody caught what breaks off the run
            return tensor
        check_looks(self.part.looks[number], tensor)
        if number in self.wanted:
            self.part.again[number] = Held(tensor, self.outer)
        if number == self.last:
            raise Enough
        return tensor


class Held:
    """A tensor until its node asks for it, by the way of whoever has set hooks around backward (SavedMemory counts)."""

    def __init__(self, tensor: Tensor, hooks: tuple[Callable, Callable] | None) -> None:
        pack, self.unpack = hooks or (None, None)
        self.kept, self.version = tensor if pack is None else pack(tensor), tensor._version

    def tensor(self) -> Tensor:
        if self.unpack is not None:
            return self.unpack(self.kept)
        check_version(self.kept, self.version, self.version == self.kept._version)
        return self.kept


class Enough(BaseException):
    """Breaks off a second run. No `Exception`, which a function may catch."""


class Inputs(torch.autograd.Function):
    """A node that keeps the inputs: changes in place are found, and a checkpoint around this one gives it numbers."""

    @staticmethod
    def forward(ctx, anchor: Tensor, *inputs: Tensor) -> Tensor:
        """A tensor that asks for a gradient, or there would be no node."""
        ctx.save_for_backward(*inputs)
        return torch.empty(0)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> None:
        raise AssertionError("nothing is computed from what Inputs gives")


def hooks_outside() -> tuple[Callable, Callable] | None:
    """The hooks that a tensor saved here goes through, unless they are a checkpoint's own."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
    ours = hooks is not None and isinstance(getattr(hooks[0], "__self__", None), (Part, SecondRun))
    return None if ours else hooks


def check_looks(first: Looks, tensor: Tensor) -> None:
    """ValueError for a tensor of another kind than the first time, RuntimeError for one that was changed in place."""
    second = tensor.shape, tensor.dtype
    if first[:2] != second:
        raise ValueError(
            f"function kept {tuple(first.shape)} {first.dtype} the first time and {tuple(tensor.shape)} "
            f"{tensor.dtype} the second: it has changed"
        )
    check_version(tensor, first.version, first.version == tensor._version)


def check_version(tensor: Tensor, version: int, unchanged: bool) -> None:
    """RuntimeError, as plain training's, for a tensor that was changed in place."""
    if not unchanged:
        raise RuntimeError(
            f"a tensor {tuple(tensor.shape)} that a checkpointed function reads has been modified by an inplace "
            f"operation: it is at version {tensor._version}, and was at {version} when the function ran first"
        )
