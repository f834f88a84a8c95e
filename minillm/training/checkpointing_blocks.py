"""Checkpoints around the blocks of a whole model, put there for as long as a `with` block is open.

    with checkpointed_blocks(model):
        loss_of(model, batch).backward()      # each block keeps its input alone, and one at a time its inside

Book: 5.2.2 그레이디언트 체크포인팅. Held against: torch.utils.checkpoint around the same blocks, and transformers'
gradient_checkpointing_enable(). What a checkpoint is: checkpointing.py.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm.nn.blocks import EncoderBlock
from minillm.training.checkpointing_hooks import checkpointed


@contextmanager
def checkpointed_blocks(model: nn.Module, segments: int | None = None) -> Iterator[None]:
    """Inside, the blocks of `model` (GPT-2, Llama, BERT, T5, ...) keep only their inputs when it learns.

    segments: in how many parts each stack of blocks is cut, a part going through `checkpointed` as one; by default
    every block is a part. The hidden states between the blocks of one part are not to be had: all are its last. With
    a cache, and without gradients, nothing changes. As model.gradient_checkpointing_enable() in transformers, for as
    long as the block is open; a copy of the model made inside would run the blocks of the first one. ValueError for a
    model without blocks, or more segments than a stack has blocks.
    """
    stacks = stacks_of(model)
    if segments is not None:
        check_int("segments", segments, 1, min(map(len, stacks)))
    parts = [part for stack in stacks for part in cut(stack, segments or len(stack))]
    before = [(block, vars(block).get("forward")) for part in parts for block in part]
    for part in parts:
        _Part(part).take_over()
    try:
        yield
    finally:
        for block, old in before:
            del block.forward
            if old is not None:
                block.forward = old


def stacks_of(model: nn.Module) -> list[list[nn.Module]]:
    """The stacks of blocks in a model, encoder's and decoder's; ValueError for a model that has none."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch module, got {describe(model)}")
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    stacks = [one for one in lists if all(isinstance(block, EncoderBlock) for block in one)]
    if not stacks:
        raise ValueError(f"a {type(model).__name__} has no transformer blocks to checkpoint")
    return stacks


def cut(blocks: Sequence[Any], parts: int) -> list[list[Any]]:
    """In parts of as equal length as can be, longer ones first: cut([1, 2, 3, 4, 5], 2) -> [[1, 2, 3], [4, 5]]."""
    size, longer = divmod(len(blocks), parts)
    starts = [place * size + min(place, longer) for place in range(parts + 1)]
    return [list(blocks[start:stop]) for start, stop in pairwise(starts)]


class _Part:
    """Blocks that are run as one: the first one runs them all, the others hand on what it gave."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self.blocks, self.own = blocks, [block.forward for block in blocks]
        self.waiting = 0  # blocks that have still to hand on
        self.result: Callable[[], Tensor | None] = lambda: None
        self.given: list[Any] = []

    def take_over(self) -> None:
        self.blocks[0].forward = self.first
        for block, own in zip(self.blocks[1:], self.own[1:]):
            block.forward = lambda x, *args, _own=own, **options: self.later(_own, x, args, options)

    def run(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        for forward in self.own:
            x = forward(x, *args, **options)
        return x

    def first(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        self.waiting = 0
        cached = any(hasattr(one, "attend") for one in (*args, *options.values()))
        if cached or not torch.is_grad_enabled():
            return self.own[0](x, *args, **options)
        y = checkpointed(self.run, x, *args, **options)
        self.waiting, self.result = len(self.own) - 1, weakref.ref(y)
        self.given = [*args, *options, *options.values()] if self.waiting else []
        return y

    def later(self, own: Callable[..., Tensor], x: Tensor, args: tuple, options: dict[str, Any]) -> Tensor:
        if not self.waiting:
            return own(x, *args, **options)
        given = [*args, *options, *options.values()]
        alike = len(given) == len(self.given) and all(a is b for a, b in zip(given, self.given))
        if not alike or self.result() is not x:
            raise ValueError(
                "blocks of one segment must get the same mask and positions, and x from the block before: give as "
                "many segments as there are blocks"
            )
        self.waiting -= 1
        if not self.waiting:
            self.given = []  # masks, and what an encoder gave, are not kept until the next pass
        return x
