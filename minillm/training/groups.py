"""Which weights decay: all but biases and the gains of norms, whose natural value is not zero.

Book: 3.4 모델 학습시키기. Held against: transformers.Trainer.get_decay_parameter_names, on its own model's names.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from minillm._checks import check_number, describe
from minillm.nn.blocks import LayerNorm, RMSNorm

NORMS = (LayerNorm, RMSNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
# as the peer's names of biases and norms
NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for the optimiser: what decays, and what does not. ValueError for a model without parameters to train,
    and for a negative decay.

    A parameter does not decay if it belongs to a norm, or if its name says bias or norm: its own name, and the one that
    a Hugging Face folder has for it.
    """
    if not hasattr(model, "named_parameters"):
        raise ValueError(f"model must have parameters, got {describe(model)}")
    check_number("weight_decay", weight_decay, 0)
    spared = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, NORMS)
        for parameter in module.parameters(recurse=False)
    }
    theirs = their_names(model)
    decaying, others = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            named = NO_DECAY.search(name) or NO_DECAY.search(theirs.get(name, ""))
            (others if named or id(parameter) in spared else decaying).append(parameter)
    if not decaying and not others:
        raise ValueError("the model has no parameter to train")
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def their_names(model: nn.Module) -> dict[str, str]:
    """Our name of each tensor -> Hugging Face's, for models that have a table of them (models/base.py)."""
    names: dict[str, str] = {}
    for prefix, module in model.named_modules():
        if hasattr(module, "weight_rows"):
            for ours, theirs, _ in module.weight_rows():
                behind = module.prefix if prefix else ""  # of a body under a head
                names |= {f"{prefix}.{name}".lstrip("."): behind + theirs for name in ours}
    return names
