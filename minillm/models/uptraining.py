"""Fewer key and value heads in a trained model: from MHA to GQA and MQA, without training from the start.

    W_k (H·D, C)  ->  H heads of (D, C)  ->  K groups of H / K neighbours  ->  one head a group  ->  (K·D, C)

The group's head is the mean of its members, or its first member. Either way the model is a worse one until it has been
trained a little more ("uptraining": 5 % of the pre-training steps in the paper, where the mean starts better).

Book 7.1.4 KV 캐시 메모리 줄이기. Paper: Ainslie et al. 2023, "GQA: Training Generalized Multi-Query Transformer Models
from Multi-Head Checkpoints". Held against a model with equal heads in each group, which must not change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor

from minillm._checks import check_int, describe
from minillm.models.llama import Llama, LlamaConfig


def mean_of_heads(weight: Tensor, heads: int, groups: int) -> Tensor:
    """W (heads·D, ...) with one head for each group: the mean of `heads / groups` neighbours -> (groups·D, ...)."""
    return _in_groups(weight, heads, groups).mean(dim=1).flatten(0, 1)


def first_of_heads(weight: Tensor, heads: int, groups: int) -> Tensor:
    """W (heads·D, ...) with one head for each group: its first -> (groups·D, ...)."""
    return _in_groups(weight, heads, groups)[:, 0].flatten(0, 1)


def _in_groups(weight: Tensor, heads: int, groups: int) -> Tensor:
    """W (heads·D, ...) -> (groups, heads / groups, D, ...). ValueError for other sizes, and for what is no float W."""
    check_int("heads", heads, 1), check_int("groups", groups, 1)
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or not weight.ndim:
        raise ValueError(f"weight must be a float tensor (heads · D, ...), got {describe(weight)}")
    if heads % groups or weight.shape[0] % heads:
        raise ValueError(
            f"heads must be divisible by groups and the rows by heads, got {tuple(weight.shape)}, {heads}, {groups}"
        )
    return weight.unflatten(0, (groups, heads // groups, weight.shape[0] // heads))


def with_kv_heads(
    model: Llama, kv_heads: int, pool: Callable[[Tensor, int, int], Tensor] = mean_of_heads
) -> Llama:
    """A copy of the model with fewer key and value heads, each made by `pool` of a group of neighbours.

    The given model stays as it is. ValueError if it is no Llama, is quantized, or has not a multiple of `kv_heads`, and
    for a pool that gives other shapes.
    """
    if not isinstance(model, Llama):
        raise ValueError(f"model must be a Llama, got {describe(model)}")
    before = model.config.kv_heads
    if before % check_int("kv_heads", kv_heads, 1, before):
        raise ValueError(f"the model's {before} key heads cannot be put into {kv_heads} equal groups")
    if not callable(pool):
        raise ValueError(f"pool must be a function (weight, heads, groups), got {describe(pool)}")
    config = LlamaConfig.from_dict({**asdict(model.config), "num_key_value_heads": kv_heads})
    smaller = Llama(config).to(model.dtype).to(model.device)
    _check_names(smaller, model)
    pooled = {
        name: pool(tensor, before, kv_heads) if ".k_proj." in name or ".v_proj." in name else tensor
        for name, tensor in model.state_dict().items()
    }
    _check_pooled(smaller, pooled)
    with torch.no_grad():
        smaller.load_state_dict(pooled)
    smaller.generation_config = dict(model.generation_config)  # its end tokens among them
    return smaller.train(model.training)


def _check_names(smaller: Llama, model: Llama) -> None:
    """ValueError for a model whose layers are no longer those of its configuration: quantized, or adapted."""
    if other := set(model.state_dict()) ^ set(smaller.state_dict()):
        raise ValueError(
            f"model must have a Llama's own float layers, got another set of weights: {min(other)}"
        )


def _check_pooled(smaller: Llama, pooled: dict[str, Tensor]) -> None:
    """ValueError for what a pool made of a weight in another shape."""
    for name, wanted in smaller.state_dict().items():
        if getattr(pooled[name], "shape", None) != wanted.shape:
            raise ValueError(f"pool must make {name} {tuple(wanted.shape)}, got {describe(pooled[name])}")
