"""Which layers an adapter is for: settings that are checked, and names, ours and Hugging Face's.

    ("q_proj", "c_attn")      ends of names, ours or theirs: body.blocks.0.attention.q_proj, transformer.h.0.attn.c_attn
    ".*attention.[qv]_proj"   one regular expression, for the whole of either name
    "all-linear"              every linear layer of the body

Book: 5.4 효율적인 학습 방법(PEFT): LoRA. Held against peft's check_target_module_exists.
Differs from it: a target that means no layer is an error, not a silence.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from minillm._checks import check_flag, check_int, check_number, describe, is_listing
from minillm.models.base import PretrainedModel
from minillm.nn.lora import Adapters, LoRALinear, TrainedPart
from minillm.quantization.linear import QuantizedLinear

ALL = "all-linear"  # as peft's


@dataclass(frozen=True)
class LoRASettings:
    """What `apply_lora` was told. ranks, alphas: of layers that differ, by Hugging Face's name (peft's patterns)."""

    r: int = 8
    alpha: float = 16
    targets: str | tuple[str, ...] = ("q_proj", "v_proj")
    dropout: float = 0.0
    layers_to_transform: tuple[int, ...] | None = None
    rslora: bool = False
    modules_to_save: tuple[str, ...] = ()
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)

    def scale(self, theirs: str = "") -> float:
        """alpha / r of a layer, or alpha / √r."""
        r, alpha = of_layer(self.ranks, theirs, self.r), of_layer(self.alphas, theirs, self.alpha)
        return alpha / math.sqrt(r) if self.rslora else alpha / r


def of_layer(patterns: Mapping[str, Any], theirs: str, usual: Any) -> Any:
    """What peft's rank_pattern or alpha_pattern says of a layer: the first pattern that its name ends in."""
    return next((value for name, value in patterns.items() if re.match(rf"(.*\.)?({name})$", theirs)), usual)


def checked_settings(
    r: Any,
    alpha: Any,
    targets: Any,
    dropout: Any,
    layers: Any,
    rslora: Any,
    modules_to_save: Any,
    **patterns: Any,
) -> LoRASettings:
    """The settings of an adapter; ValueError for what is none."""
    check_int("r", r, 1)
    if check_number("alpha", alpha, 0) == 0:
        raise ValueError("alpha must be above 0, got 0: the adapter would change nothing")
    if check_number("dropout", dropout, 0, 1) == 1:
        raise ValueError("dropout must be below 1, got 1: nothing would be left")
    if isinstance(targets, str):
        try:
            re.compile(targets)
        except re.error as error:
            raise ValueError(f"targets {targets!r} is no regular expression: {error}") from None
    else:
        targets = _names("targets", targets)
        if not targets:
            raise ValueError("targets must name at least one layer, got none")
    if layers is not None:
        layers = layers if is_listing(layers) else (layers,)
        layers = tuple(check_int("layers_to_transform", one, 0) for one in layers)
        if not layers:
            raise ValueError("layers_to_transform must hold the number of a block, got none; None means all")
    saved = _names("modules_to_save", modules_to_save or ())
    for what, values in patterns.items():  # from a file: no regular expression of a stranger's is run
        for name, value in values.items():
            if not re.fullmatch(r"[\w.]+", name):
                raise ValueError(f"{what} must be of names of layers, got {describe(name)}")
            check_int(what, value, 1) if what == "ranks" else check_number(what, value, 1e-9)
    return LoRASettings(
        r, float(alpha), targets, float(dropout), layers, check_flag("rslora", rslora), saved, **patterns
    )


def _names(what: str, names: Any) -> tuple[str, ...]:
    listed = list(names) if is_listing(names) else [None]
    if not all(isinstance(name, str) and name for name in listed):
        raise ValueError(f"{what} must be a list of names of layers, got {describe(names)}")
    return tuple(dict.fromkeys(listed))


def their_layers(model: nn.Module) -> dict[str, str]:
    """Our name of each layer with a weight -> Hugging Face's; q, k and v of a GPT-2 have one name there."""
    names = {ours: ours for ours, _ in model.named_modules() if ours}
    for place, module in model.named_modules():
        if not isinstance(module, PretrainedModel):
            continue
        behind = module.prefix if place else ""  # of a body under a head
        for row in module.weights:
            if not row.theirs.endswith(".weight"):
                continue
            for i in range(module.config.most_layers) if "{i}" in row.theirs else (0,):
                for ours in (row.ours,) if isinstance(row.ours, str) else row.ours:
                    name = f"{place}.{ours}".lstrip(".").replace("{i}", str(i)).removesuffix(".weight")
                    names[name] = behind + row.theirs.replace("{i}", str(i)).removesuffix(".weight")
    return names


def adapted(model: nn.Module) -> dict[str, LoRALinear | TrainedPart]:
    """The layers of a model that adapters have changed, by name."""
    return {name: one for name, one in model.named_modules() if isinstance(one, (LoRALinear, TrainedPart))}


def linear_of(model: nn.Module, name: str) -> nn.Module:
    """The linear layer of that name, below its adapters."""
    layer = model.get_submodule(name)
    return layer.base if isinstance(layer, LoRALinear) else layer


def linear_layers(model: nn.Module) -> list[str]:
    """Names of the linear layers that can have adapters."""
    layers = (nn.Linear, QuantizedLinear, LoRALinear)
    inside = [f"{name}." for name in adapted(model)]
    return [
        name
        for name, one in model.named_modules()
        if isinstance(one, layers) and not any(name.startswith(outer) for outer in inside)
    ]


def target_layers(model: nn.Module, shared: Adapters, settings: LoRASettings) -> list[str]:
    """Our names of the layers that the settings mean; ValueError for a target that means none."""
    every = [name for name in linear_layers(model) if not within(name, shared, settings.modules_to_save)]
    targets, found = settings.targets, []
    if targets == ALL:
        found = [name for name in every if not hasattr(model, "body") or name.startswith("body.")]
    elif isinstance(targets, str):
        found = [
            name for name in every if any(re.fullmatch(targets, one) for one in (name, shared.names[name]))
        ]
    else:
        for target in targets:
            mine = [name for name in every if ends_in(name, shared, target)]
            if not mine:
                raise ValueError(f"targets: {_no_layer(target, every, shared)}")
            found += mine
    if not found:
        hint = " (a text is one pattern for whole names: put ends of names into a list)"
        raise ValueError(f"targets: no name of a linear layer is {targets!r}{hint}; {_there(every, shared)}")
    if settings.layers_to_transform is not None:
        blocks = sorted({block for name in found if (block := block_of(shared.names[name])) is not None})
        found = [name for name in found if block_of(shared.names[name]) in settings.layers_to_transform]
        if not found:
            asked = list(settings.layers_to_transform)
            raise ValueError(
                f"layers_to_transform {asked}: the layers that targets means are in blocks {blocks}"
            )
    for name in found:
        if settings.r > min(linear_of(model, name).in_features, linear_of(model, name).out_features):
            layer = linear_of(model, name)
            sizes = f"({layer.out_features}, {layer.in_features})"
            raise ValueError(
                f"r must be at most the narrower side of every layer: {name} is {sizes}, got {settings.r}"
            )
    return [name for name in every if name in set(found)]


def ends_in(name: str, shared: Adapters, target: str) -> bool:
    """Whether one of the two names of a layer is `target`, or ends in it."""
    return any(one == target or one.endswith(f".{target}") for one in (name, shared.names[name]))


def within(name: str, shared: Adapters, parts: Iterable[str]) -> bool:
    """Whether a layer is one of these parts, or inside one, by one of its two names."""
    return any(f".{part}." in f".{one}." for part in parts for one in (name, shared.names.get(name, name)))


def _no_layer(target: str, every: list[str], shared: Adapters) -> str:
    near = difflib.get_close_matches(target, _ends(every, shared), 1)
    hint = f"; the nearest name is {near[0]}" if near else ""
    return f"no linear layer ends in {target!r}{hint}; {_there(every, shared)}"


def _there(every: list[str], shared: Adapters) -> str:
    return f"there are {', '.join(_ends(every, shared)) or 'none'}"


def _ends(every: list[str], shared: Adapters) -> list[str]:
    """The last parts of the names of linear layers, ours and theirs."""
    return sorted({one.rpartition(".")[2] for name in every for one in (name, shared.names[name])})


def block_of(theirs: str) -> int | None:
    """The number of the block that a layer is in: the first number in its name."""
    found = re.search(r"(?:^|\.)(\d+)\.", theirs)
    return None if found is None else int(found[1])


def joined(layers: list[str], shared: Adapters) -> dict[str, list[str]]:
    """{Hugging Face's name: our names}: those that are one matrix there go together."""
    groups: dict[str, list[str]] = {}
    for name in layers:
        groups.setdefault(shared.names[name], []).append(name)
    return groups
