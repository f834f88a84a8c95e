"""LoRA (로라) for a whole model: which layers get an adapter, what learns, which adapter is at work.

    apply_lora(model, r=8, alpha=16, targets=("q_proj", "v_proj"))       all else is frozen
    ...train...
    save_adapter(model, folder)                                          a few MB, in peft's format (adapters.py)
    merge_lora(model)                                                    into the weights (lora_merge.py)

Full fine-tuning keeps a gradient and two averages for every weight: 16 bytes each in float32 with the weight itself.
An adapter of rank r has r (I + O) numbers in place of I · O, so only those need the 12 bytes on top.

q, k and v of a GPT-2 are one matrix in Hugging Face's layout. There they share A, as in peft, and each has rows of B of
its own. Book: 5.4 효율적인 학습 방법(PEFT): LoRA. Papers: Hu et al. 2021; Kalajdzievski 2023 (alpha / √r).
Held against peft's outputs, gradients, merged weights. Leaves out: DoRA, PiSSA, adapters of embeddings, learned biases.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from minillm._checks import check_choice, check_flag, check_int, describe
from minillm.nn.lora import BASE, Adapters, LoRALinear, TrainedPart, adapters_of
from minillm.quantization.linear import QuantizedLinear
from minillm.quantization.model import replace_layer
from minillm.training.lora_targets import (
    LoRASettings,
    adapted,
    checked_settings,
    joined,
    linear_of,
    target_layers,
    their_layers,
    within,
)

SERIALS = itertools.count(1)


def apply_lora(
    model: nn.Module,
    r: int = 8,
    alpha: float = 16,
    targets: str | Iterable[str] = ("q_proj", "v_proj"),
    dropout: float = 0.0,
    *,
    layers_to_transform: int | Iterable[int] | None = None,
    rslora: bool = False,
    modules_to_save: Iterable[str] = (),
    init: str = "kaiming",
    seed: int = 0,
    name: str = "default",
) -> nn.Module:
    """Give `model` an adapter, in place, and make it the active one; returns the model, in which only it can learn.

    targets: ends of names of linear layers, ours (q_proj, up_proj) or Hugging Face's (query, c_attn); or one regular
    expression for whole names; or "all-linear", all but the head. The layers may be quantized. dropout: of what a
    narrow path reads. layers_to_transform: numbers of blocks; None for all. rslora: the path is scaled by alpha / √r.
    modules_to_save: layers to be learned as a whole, a classifier's head. init: of A, "kaiming" (as nn.Linear's),
    "gaussian" (deviation 1 / r), or "random" (B, too: an adapter that changes something). A second call with
    another `name` puts a second adapter on the same base. ValueError, and the model as it was, for what does not fit.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch module, got {describe(model)}")
    settings = checked_settings(r, alpha, targets, dropout, layers_to_transform, rslora, modules_to_save)
    check_choice("init", init, ("kaiming", "gaussian", "random")), check_int("seed", seed, 0)
    shared = adapters_of(model) or new_adapters(model)
    check_new_name(shared, name)
    parts = _parts(model, shared, settings.modules_to_save)
    layers = target_layers(model, shared, settings)
    generator, paths = torch.Generator().manual_seed(seed), {}
    for theirs, group in joined(layers, shared).items():
        A, Bs = first_weights([linear_of(model, one) for one in group], settings.r, init, generator)
        paths |= {one: (A, B, settings.scale(theirs)) for one, B in zip(group, Bs)}
    put_in(model, shared, name, settings, paths, {one: _copy_of(model, one) for one in parts})
    set_adapter(model, name)
    return model


def set_adapter(model: nn.Module, name: str | None, trainable: bool = True) -> None:
    """Make an adapter the one at work, and, if `trainable`, the only one that learns; None: the base alone.

    ValueError for one that is not there, or while an adapter lies in the weights.
    """
    check_flag("trainable", trainable)
    shared = shared_of(model)
    name = BASE if name is None else shared.check(name, BASE)
    check_unmerged(shared)
    shared.active = name
    for part in adapted(model).values():
        if isinstance(part, LoRALinear):
            for other, weight in (*part.lora_A.items(), *part.lora_B.items()):
                weight.requires_grad_(trainable and other == name)
        else:
            for other, copied in part.copies.items():
                copied.requires_grad_(trainable and other == name)


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Inside, the model is its base; afterwards it has its adapter again. Safe for a model without adapters."""
    shared = adapters_of(model)
    if shared is None:
        yield
        return
    check_unmerged(shared)
    before = shared.active, shared.rows
    shared.active, shared.rows = BASE, None
    try:
        yield
    finally:
        shared.active, shared.rows = before


def delete_adapter(model: nn.Module, name: str) -> None:
    """Take an adapter off; with the last one the layers are the base's own again, and what could learn can."""
    shared = shared_of(model)
    shared.check(name)
    check_unmerged(shared)
    for part in adapted(model).values():
        if isinstance(part, LoRALinear):
            part.remove(name) if name in part.scales else None
        elif name in part.copies:
            del part.copies[name]
    del shared.settings[name], shared.serials[name]
    if not shared.settings:
        unload(model, shared)
    elif shared.active == name:
        set_adapter(model, None)


def trainable_parameters(model: nn.Module) -> tuple[int, int]:
    """(numbers that learn, all numbers): parameters, codes of quantized layers by the weights they stand for.

    ValueError for what is no module.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch module, got {describe(model)}")
    every = {id(p): p for p in model.parameters()}.values()
    codes = sum(m.in_features * m.out_features for m in model.modules() if isinstance(m, QuantizedLinear))
    return sum(p.numel() for p in every if p.requires_grad), sum(p.numel() for p in every) + codes


# --- parts -----------------------------------------------------------------------------------------------------------


def check_new_name(shared: Adapters, name: Any) -> None:
    """ValueError for what cannot be the name of another adapter."""
    if (
        not isinstance(name, str) or not name or name == BASE or "." in name
    ):  # torch's names of parts have dots
        raise ValueError(f"the name of an adapter must be a text without dots, got {describe(name)}")
    if hasattr(nn.ParameterDict(), name) or hasattr(nn.ModuleDict(), name):
        raise ValueError(f"no adapter can be called {name!r}: torch has a use for that name")
    if name in shared.settings:
        raise ValueError(f"the model has an adapter {name!r} already: delete_adapter first, or another name")
    check_unmerged(shared)


def check_unmerged(shared: Adapters) -> None:
    """ValueError while an adapter lies in the weights."""
    if shared.merged is not None:
        raise ValueError(f"the adapter {shared.merged!r} lies in the weights: unmerge_lora first")


def shared_of(model: nn.Module) -> Adapters:
    """What the layers of a model with adapters share; ValueError for one without."""
    shared = adapters_of(model) if isinstance(model, nn.Module) else None
    if shared is None:
        raise ValueError(f"the model has no adapters (apply_lora, load_adapter), got {describe(type(model))}")
    return shared


def new_adapters(model: nn.Module) -> Adapters:
    """What the layers of this model will share; the model does not know of it yet."""
    shared = Adapters()
    shared.names = their_layers(model)
    return shared


def first_weights(
    bases: list[nn.Module], r: int, init: str, generator: torch.Generator
) -> tuple[nn.Parameter, list[nn.Parameter]]:
    """(A (r, I), B (O, r) of each) of layers that share A."""
    A, B = torch.empty(r, bases[0].in_features), [torch.zeros(one.out_features, r) for one in bases]
    bound = 1 / math.sqrt(A.shape[1])  # kaiming_uniform_(a=√5)
    A.normal_(0, 1 / r, generator=generator) if init == "gaussian" else A.uniform_(
        -bound, bound, generator=generator
    )
    if init == "random":
        B = [one.uniform_(-(r**-0.5), r**-0.5, generator=generator) for one in B]
    like = next(itertools.chain(bases[0].parameters(), bases[0].buffers()))
    how = {"device": like.device, "dtype": torch.float64 if like.dtype == torch.float64 else torch.float32}
    return nn.Parameter(A.to(**how)), [nn.Parameter(one.to(**how)) for one in B]


def _parts(model: nn.Module, shared: Adapters, parts: Iterable[str]) -> list[str]:
    """Our names of the parts that are learned as a whole; ValueError for one that is not there, or has adapters."""
    found: list[str] = []
    for part in parts:
        mine = [
            name
            for name, one in model.named_modules()
            if name in shared.names
            and within(name, shared, (part,))
            and next(one.parameters(), None) is not None
        ]
        mine = [name for name in mine if not any(name.startswith(f"{outer}.") for outer in mine)]
        if not mine:
            raise ValueError(f"modules_to_save: the model has no part {part!r} to learn")
        if any(isinstance(one, LoRALinear) for name in mine for one in model.get_submodule(name).modules()):
            raise ValueError(
                f"modules_to_save: there are adapters in {part!r}, it cannot be learned as a whole"
            )
        found += mine
    return found


def _copy_of(model: nn.Module, name: str) -> nn.Module:
    part = model.get_submodule(name)
    return copy.deepcopy(part.base if isinstance(part, TrainedPart) else part)


def put_in(
    model: nn.Module,
    shared: Adapters,
    name: str,
    settings: LoRASettings,
    paths: Mapping[str, tuple[nn.Parameter, nn.Parameter, float]],
    copies: Mapping[str, nn.Module],
) -> None:
    """Put an adapter whose parts are known into the model, which is frozen where it was not. Nothing is checked."""
    if not shared.settings:
        model.adapters = shared
        shared.thawed = [parameter for parameter in model.parameters() if parameter.requires_grad]
        model.requires_grad_(False)
    shared.settings[name], shared.serials[name] = settings, next(SERIALS)
    for ours, (A, B, scale) in paths.items():
        if not isinstance(layer := model.get_submodule(ours), LoRALinear):
            layer = LoRALinear(layer, shared).train(layer.training)
            replace_layer(model, ours, layer)
        layer.add(name, A, B, scale, settings.dropout)
    for ours, copied in copies.items():
        if not isinstance(part := model.get_submodule(ours), TrainedPart):
            part = TrainedPart(part, shared).train(part.training)
            replace_layer(model, ours, part)
        part.copies[name] = copied


def unload(model: nn.Module, shared: Adapters, name: str | None = None) -> None:
    """The layers of the base in their places again, or the copies of the adapter `name`; what could learn can."""
    for ours, part in adapted(model).items():
        copied = isinstance(part, TrainedPart) and name in part.copies
        replace_layer(model, ours, part.copies[name] if copied else part.base)
    for parameter in shared.thawed:
        parameter.requires_grad_(True)
    del model.adapters
