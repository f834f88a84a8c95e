"""Gradient checkpointing (그레이디언트 체크포인팅): keep what goes into a part of the network, work the rest out again.

    forward     y = f(x)                       of all that f computed on its way, only x is kept
    backward    y = f(x) again, with its graph, then  dL/dx, dL/dw  from  dL/dy

L layers in s parts keep s inputs and, while one part goes back, the inside of L/s layers. A transformer's block keeps
16 times its input and more inside: up to some 16 blocks a part for each is best, unless the loss's number for each word
outweighs some blocks. The price is a second forward pass: a third more work, as backward costs two.
It is the same pass: random generators and autocast are put back (surroundings.py), so that gradients are those of plain
training, bit for bit, dropout included.

Book: 5.2.2 그레이디언트 체크포인팅. Paper: Chen et al. 2016. Held against: torch.utils.checkpoint. This is the plain
form; whole models use `checkpointed` of checkpointing_hooks.py, with the same bits. It has what is left out here:
`torch.autograd.grad` (weights get theirs by `backward`, in `.grad`), gradients of gradients, tensors with a history
that are no arguments, and an end of the second run at the last tensor that backward needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._pytree import register_pytree_node, tree_flatten, tree_unflatten

from minillm._checks import describe
from minillm.nn.positions import ScoreBias
from minillm.training.surroundings import Surroundings

# T5's blocks share a table of distances: a tensor that learns, in an object that the blocks are given
register_pytree_node(ScoreBias, lambda bias: ([bias.added], None), lambda parts, _: ScoreBias(*parts))


class Recomputed(torch.autograd.Function):
    """f as one node of the graph: its inputs are all that it keeps."""

    @staticmethod
    def forward(ctx, call: Call, anchor: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The tensors that f gives, without f's graph. anchor: of size 0, asks for a gradient where no input does."""
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs)
        # with a graph, which ends with this line: layers take the same way as in training, to the last bit
        with torch.enable_grad():
            outputs = call(leaves(inputs, ctx.needs_input_grad[2:]))
        results = tuple(output.detach() for output in outputs)
        ctx.mark_non_differentiable(*(r for r, output in zip(results, outputs) if not output.requires_grad))
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of the inputs; those of the weights are added to their `.grad` on the way."""
        if not torch.autograd._is_checkpoint_valid():  # the weights' share would be lost without a word
            raise ValueError(
                "checkpointed_plain: call backward() without inputs=; torch.autograd.grad is not supported"
            )
        inputs = leaves(ctx.saved_tensors, ctx.needs_input_grad[2:])
        with ctx.call.surroundings.again():
            outputs = ctx.call(inputs)
        pairs = [(y, g) for y, g in zip(outputs, gradients) if g is not None and y.requires_grad]
        if pairs:
            torch.autograd.backward(*zip(*pairs))
        return None, None, *(x.grad for x in inputs)


def leaves(inputs: Sequence[Tensor], learn: Sequence[bool]) -> list[Tensor]:
    """The tensors without the graph that they came from: a graph of their own begins here."""
    return [x.detach().requires_grad_(wanted) for x, wanted in zip(inputs, learn)]


def checkpointed_plain(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """function(*args, **kwargs), of which only the tensors among the arguments are kept for the way back.

    function: anything that gives a tensor, or tensors in lists, tuples and dicts, and the same each time; tensors among
    the arguments may stand in lists, tuples and dicts, too. Gradients flow to them, and to all weights that function
    uses. A tensor with a history that is no argument (in a closure) is not supported. Where nothing asks for
    gradients it is a plain call. ValueError for a function that cannot be called, gives no tensor, or gives something
    else the second time, and for torch.autograd.grad in place of backward.
    """
    check_function(function)
    if not torch.is_grad_enabled():
        return function(*args, **kwargs)
    call = Call(function, args, kwargs)
    anchor = torch.empty(0, requires_grad=True)  # weights may learn where no input does
    results = Recomputed.apply(call, anchor, *call.inputs())
    return call.arranged(results)


class Call:
    """A call of `function`, to be made with other tensors in the places of its own."""

    def __init__(self, function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> None:
        self.function = function
        found, self.form = tree_flatten((args, kwargs))
        self.tensors = [one for one in found if isinstance(one, Tensor)]
        self.rest = [None if isinstance(one, Tensor) else one for one in found]
        self.places = [place for place, one in enumerate(found) if isinstance(one, Tensor)]
        device = self.tensors[0].device if self.tensors else torch.device("cpu")
        self.surroundings = Surroundings(device, (one for one in found if isinstance(one, torch.Generator)))
        self.shapes: list[tuple[torch.Size, torch.dtype]] | None = None

    def inputs(self) -> list[Tensor]:
        """The tensors among the arguments, which are autograd's to keep from here on."""
        tensors, self.tensors = self.tensors, []
        return tensors

    def run(self, tensors: Sequence[Tensor]) -> Any:
        """What the function gives."""
        filled = list(self.rest)
        for place, tensor in zip(self.places, tensors):
            filled[place] = tensor
        args, kwargs = tree_unflatten(filled, self.form)
        return self.function(*args, **kwargs)

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors that the function gives."""
        found, form = tree_flatten(self.run(tensors))
        outputs = tensors_given(found)
        shapes = [(one.shape, one.dtype) for one in outputs]
        if self.shapes is None:
            self.shapes, self.given = shapes, form
            self.result = [None if isinstance(x, Tensor) else x for x in found]
            self.result_places = [place for place, one in enumerate(found) if isinstance(one, Tensor)]
        elif shapes != self.shapes:
            raise ValueError(
                f"function gave {self.shapes} the first time and {shapes} the second: it has changed"
            )
        return outputs

    def arranged(self, tensors: Sequence[Tensor]) -> Any:
        """The tensors in the form in which the function gave them."""
        filled = list(self.result)
        for place, tensor in zip(self.result_places, tensors):
            filled[place] = tensor
        return tree_unflatten(filled, self.given)


def check_function(function: Any) -> None:
    """ValueError for what cannot be called."""
    if not callable(function):
        raise ValueError(f"function must be callable, got {describe(function)}")


def tensors_given(found: Sequence[Any]) -> list[Tensor]:
    """The tensors in what a function gave; ValueError where there is none."""
    tensors = [one for one in found if isinstance(one, Tensor)]
    if not tensors:
        raise ValueError(
            f"function must give a tensor or several, got {describe(found[0] if found else None)}"
        )
    return tensors
