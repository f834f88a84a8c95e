"""Gradient checkpointing: bytes kept and time of a step, ours against torch.utils.checkpoint, beside plain training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from minillm.models import GPT2, GPT2Config
from minillm.training import CausalLMObjective, SavedMemory, checkpointed_blocks
from tests.benchmarks.harness import Row, in_turn

SIZES = {"vocab_size": 1024, "n_positions": 128, "n_embd": 192, "n_layer": 8, "n_head": 6}
PEERS = {"torch.utils.checkpoint": False, "torch.utils.checkpoint(use_reentrant=True)": True}


def around(forward: Callable, reentrant: bool, x: Tensor, **options: Any) -> Tensor:
    """torch's checkpoint, whose older form takes no named arguments."""
    return checkpoint(partial(forward, **options), x, use_reentrant=reentrant)


@contextmanager
def theirs(model: nn.Module, reentrant: bool) -> Iterator[None]:
    """torch's checkpoints around the blocks."""
    for block in model.body.blocks:
        block.forward = partial(around, block.forward, reentrant)
    try:
        yield
    finally:
        for block in model.body.blocks:
            del block.forward


def run(quick: bool) -> list[Row]:
    """Time of a step, each as a multiple of the plain step's, and activation bytes."""
    rows = 2 if quick else 8
    model = GPT2(GPT2Config(**SIZES)).train()
    ids = torch.randint(0, 1024, (rows, 129), generator=torch.Generator().manual_seed(0))
    objective, batch = CausalLMObjective(), {"input_ids": ids, "labels": ids}

    def step(surround: Callable[[], AbstractContextManager]) -> None:
        model.zero_grad()
        with surround():
            objective(model, batch).loss.backward()

    ways = {"plain": nullcontext, "ours": partial(checkpointed_blocks, model)}
    ways |= {name: partial(theirs, model, reentrant) for name, reentrant in PEERS.items()}
    times = in_turn({name: partial(step, way) for name, way in ways.items()}, rounds=3 if quick else 9)
    peaks = {}
    for name in ("plain", "ours", "torch.utils.checkpoint(use_reentrant=True)"):
        # the other form keeps what it keeps in hooks of its own, which ours do not see
        with SavedMemory(model) as memory:
            step(ways[name])
        peaks[name] = memory.peak / 1e6
    what = f"{SIZES['n_layer']} blocks of width {SIZES['n_embd']}, {rows} x 128 tokens"
    shared = {"threads": torch.get_num_threads(), "higher_is_better": False}
    timed = [
        Row(
            work=f"checkpointed step, {what}; plain is 1", peer=name, unit="x", ours=times["ours"] / times["plain"],
            theirs=times[name] / times["plain"], spread=times.spread(name), **shared,
        )
        for name in PEERS
    ]  # fmt: skip
    name = "torch.utils.checkpoint(use_reentrant=True)"
    work = f"activations kept, {what}; plain {peaks['plain']:.1f} MB"
    return [*timed, Row(work=work, peer=name, unit="MB", ours=peaks["ours"], theirs=peaks[name], **shared)]
