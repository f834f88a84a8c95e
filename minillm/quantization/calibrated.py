"""GPTQ and AWQ on whole models: block by block, each layer with what it sees on calibration text.

    GPTQ    moments of a layer -> gptq(W, H) -> its codes
    AWQ     factors s for the layers that share an input, folded into what makes it; clipping; rounding

Where AWQ's factors can go: those of q, k and v into the norm before them, those of the feed-forward's first layers
into its norm; those of W_down into W_up, whose outputs only pass through a product (not through GPT-2's GELU); those
of W_o into W_v if every head has its own. Other layers are clipped only, and q and k are not: small changes of large
scores change who is attended to.

Book: 7.2 양자화로 모델 용량 줄이기. Papers: Frantar et al. 2022 (GPTQ), Lin et al. 2023 (AWQ).
Held against the layers' own functions on the inputs that hooks see.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from minillm.models.decoder import CausalLM
from minillm.nn.blocks import SwiGLU
from minillm.quantization.awq import awq_clip, awq_scales
from minillm.quantization.calibration import Moments, visit_blocks
from minillm.quantization.codes_linear import GroupLinear
from minillm.quantization.gptq import gptq
from minillm.quantization.groups import round_to_nearest

UNCLIPPED = ("q_proj", "k_proj")


@torch.no_grad()
def gptq_model(
    model: CausalLM,
    windows: Tensor,
    names: Sequence[str],
    bits: int,
    group_size: int,
    symmetric: bool,
    act_order: bool,
    sequential: bool,
) -> None:
    """Replace the layers `names` of a model (in place) by what GPTQ makes of them."""

    def visit(_: str, stages: list[list[str]], moments: dict[str, Moments]) -> None:
        for name in chain.from_iterable(stages):
            layer = model.get_submodule(name)
            found = gptq(layer.weight, moments[name].second, bits, group_size, act_order, symmetric)
            _replace(model, name, GroupLinear(found, layer.bias))

    visit_blocks(model, windows, names, visit, sequential, staged=sequential)


@torch.no_grad()
def awq_model(
    model: CausalLM,
    windows: Tensor,
    names: Sequence[str],
    bits: int,
    group_size: int,
    symmetric: bool,
    sequential: bool,
) -> None:
    """Replace the layers `names` of a model (in place) by what AWQ makes of them."""
    grid: dict[str, Any] = {"bits": bits, "group_size": group_size, "symmetric": symmetric}

    def visit(block: str, stages: list[list[str]], moments: dict[str, Moments]) -> None:
        for stage in stages:
            before = _maker_of_inputs(model.get_submodule(block), [name[len(block) + 1 :] for name in stage])
            if before is not None:
                layers = [model.get_submodule(name) for name in stage]
                second, size, tokens = moments[stage[0]]
                s, _ = awq_scales([layer.weight for layer in layers], second, size, **grid)
                fold(s, before, layers)
                new = Moments(second / torch.outer(s, s), size / s, tokens)
                moments |= dict.fromkeys(stage, new)
        for name in chain.from_iterable(stages):
            layer = model.get_submodule(name)
            weight = layer.weight
            if name.rpartition(".")[2] not in UNCLIPPED:
                weight = awq_clip(weight, moments[name].second, **grid)
            _replace(model, name, GroupLinear(round_to_nearest(weight, **grid), layer.bias))

    visit_blocks(model, windows, names, visit, sequential, staged=False)


def fold(s: Tensor, before: nn.Module, layers: Sequence[nn.Linear]) -> None:
    """Columns of the layers times s (I,), and what the module before them gives divided by it: the same outputs."""
    for layer in layers:
        layer.weight.mul_(s)
    before.weight.div_(s if before.weight.ndim == 1 else s[:, None])
    if getattr(before, "bias", None) is not None:
        before.bias.div_(s)


def _maker_of_inputs(block: nn.Module, stage: list[str]) -> nn.Module | None:
    """The norm or linear layer of a pre-norm block whose outputs the layers of `stage`, and no others, are given."""
    attention, feed_forward = block.attention, block.feed_forward
    gated = isinstance(feed_forward, SwiGLU)
    makers: dict[frozenset[str], nn.Module] = {
        frozenset(f"attention.{part}_proj" for part in "qkv"): block.norm1,
        frozenset(
            f"feed_forward.{part}_proj" for part in (("gate", "up") if gated else ("up",))
        ): block.norm2,
    }
    if gated:
        makers[frozenset(["feed_forward.down_proj"])] = feed_forward.up_proj
    if attention.heads == attention.kv_heads:
        makers[frozenset(["attention.o_proj"])] = attention.v_proj
    return makers.get(frozenset(stage))


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)
