"""Instruments: what a computation did, counted while it runs. Nothing here is timed, so the counts repeat anywhere.

    with watch() as seen:                      every operation torch runs inside
        attention(q, k, v)
    seen.launches, seen.bytes_moved            on a GPU each operation is a kernel launch and a trip to memory
    seen.peak_bytes                            the most memory held at once by tensors made inside
    seen.count("mm", "bmm")                    how many matrix products

    with watch_layers(layer) as (inputs, outputs):    what goes into a layer and comes out, call by call
    with watch_attention() as maps: model(ids)        the attention weights (B, H, T, S) of every layer, in order
    kept_for_backward(function, *inputs)              bytes that autograd keeps for the backward pass

A fused kernel of ours is one operation, as it is one launch. Book: 7.1 언어 모델 추론 이해하기, 8.3.1 커널 퓨전.
Held against torch.profiler's counts. Left out: time, and what happens inside an operation.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from minillm._checks import check_function, check_text, describe
from minillm.nn.attention import RUN, attention_weights
from minillm.training.saved_memory import SavedMemory


class Operation(NamedTuple):
    """One operation: its name, the bytes of the tensors it was given, the bytes of those it returned."""

    name: str
    read: int
    written: int


class Watch(TorchDispatchMode):
    """What `watch()` gives: `operations` in their order, and the figures below. It can be entered once."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.alive_bytes = 0  # held now by tensors that were made inside and still exist
        self.peak_bytes = 0  # the most of it so far

    @property
    def launches(self) -> int:
        """How many operations ran; views are none, they move nothing."""
        return len(self.operations)

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written by all of them together."""
        return sum(one.read + one.written for one in self.operations)

    def count(self, *names: str) -> int:
        """How many operations have one of these names, such as "mm", "bmm", "softmax"."""
        for name in names:
            check_text("name", name)
        return sum(one.name in names for one in self.operations)

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        given, made = _tensors((args, kwargs)), _tensors(result)
        if not operation.is_view:
            name = operation.overloadpacket.__name__
            self.operations.append(Operation(name, _bytes(given), _bytes(made)))
        known = {tensor.untyped_storage().data_ptr() for tensor in given}
        for tensor in made:
            if tensor.untyped_storage().data_ptr() not in known:  # new memory, neither a view nor in place
                memory = tensor.untyped_storage()
                weakref.finalize(memory, self._give_back, memory.nbytes())
                self.alive_bytes += memory.nbytes()
                self.peak_bytes = max(self.peak_bytes, self.alive_bytes)
        return result

    def _give_back(self, size: int) -> None:
        self.alive_bytes -= size


def watch() -> Watch:
    """A context manager that counts every operation torch runs inside it; see the top of this file."""
    return Watch()


@contextmanager
def watch_layers(*layers: nn.Module) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """(inputs, outputs): a copy of the first input and of the output of each call of the layers, in order.

    Of a layer that gives several tensors, as a recurrent one does, the output is the first.
    The tokens a model has computed: sum(x.shape[1] for x in inputs) of one of its projections.
    """
    for layer in layers:
        if not isinstance(layer, nn.Module):
            raise ValueError(f"layers must be torch modules, got {describe(layer)}")
    if not layers:
        raise ValueError("watch_layers needs at least one layer")
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def keep(module: nn.Module, given: tuple, named: dict[str, Any], result: Any) -> None:
        for kept, found in ((inputs, _tensors((given, named))), (outputs, _tensors(result))):
            if not found:
                raise ValueError(f"{type(module).__name__} takes or gives no tensor: watch its layers")
            kept.append(found[0].detach().clone())

    hooks = [layer.register_forward_hook(keep, with_kwargs=True) for layer in layers]
    try:
        yield inputs, outputs
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def watch_attention() -> Iterator[list[Tensor]]:
    """The attention weights (B, H, T, S) of each call of `attention` inside, whatever its backend, in order.

    A model calls it once a layer. The weights are computed beside the call by the plain formula, so a fused kernel's
    result stays as it is. One setting a process: not for threads.
    """
    maps: list[Tensor] = []

    def watched(run: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def attend(q, k, v, mask, causal, scale, bias, dropout) -> Tensor:
            with torch.no_grad():
                maps.append(attention_weights(q, k, mask, causal, scale, bias))
            return run(q, k, v, mask, causal, scale, bias, dropout)

        return attend

    before = dict(RUN)
    RUN.update({name: watched(run) for name, run in before.items()})
    try:
        yield maps
    finally:
        RUN.update(before)


def kept_for_backward(function: Callable[..., Any], *inputs: Tensor) -> int:
    """Bytes of the distinct tensors that autograd keeps between forward and backward of function(*inputs).

    Every input is taken as one that needs a gradient; the inputs themselves are left as they are. ValueError for an
    input that can have none.
    """
    if check_function("function", function) is None:
        raise ValueError("function must be callable, got None")
    for one in inputs:
        if not isinstance(one, Tensor) or not (one.is_floating_point() or one.is_complex()):
            raise ValueError(f"inputs must be float tensors, got {describe(one)}")
    with SavedMemory() as memory:
        result = function(*(tensor.detach().requires_grad_() for tensor in inputs))
    size = memory.now
    del result  # until here its graph is kept
    return size


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tensors: list[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
