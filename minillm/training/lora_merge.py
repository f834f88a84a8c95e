"""An adapter goes into the weights, and out again: what it costs while it is served is nothing.

    merge      W <- W + (alpha / r) · B A            one matrix again: no narrow path, no bytes beside it
    unmerge    W <- W - (alpha / r) · B A            the old weights, up to rounding

A quantized weight cannot take the small numbers of an adapter in: its steps are wider. It is opened to floats then.

Book: 5.4 효율적인 학습 방법(PEFT): LoRA. Paper: Hu et al. 2021. Held against peft's merged weights, to the last bit.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from minillm._checks import check_flag
from minillm.nn.lora import LoRALinear
from minillm.quantization.linear import QuantizedLinear
from minillm.training.lora import check_unmerged, shared_of, unload
from minillm.training.lora_targets import adapted


def merge_lora(model: nn.Module, name: str | None = None, keep: bool = False) -> nn.Module:
    """Put an adapter (None: the active one) into the weights, W <- W + (alpha / r) · B A; returns the model.

    The layers are plain ones again and all adapters are gone; keep=True leaves them beside, so that `unmerge_lora` can
    take this one out of the weights again. A quantized layer becomes a float layer, for rounding would undo what was
    learned; with keep=True that is refused. ValueError for sums that are not finite, the model as it was.
    """
    shared = shared_of(model)
    name = shared.check(shared.active if name is None else name)
    check_flag("keep", keep), check_unmerged(shared)
    merged: dict[str, Tensor] = {}
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    for ours, part in adapted(model).items():
        if not isinstance(part, LoRALinear) or name not in part.scales:
            continue
        quantized = isinstance(part.base, QuantizedLinear)
        if quantized and keep:
            raise ValueError(f"{ours} is quantized: its weight cannot take an adapter in and give it back")
        if not quantized and uses[id(part.base.weight)] > 1:
            raise ValueError(
                f"the weight of {ours} is tied to another layer's: merged, the adapter would change both"
            )
        weight = part.base.dequantize() if quantized else part.base.weight.detach()
        merged[ours] = weight + part.change(name).to(weight.dtype)
        if not torch.isfinite(merged[ours]).all():
            raise ValueError(f"the adapter {name!r} makes weights of {ours} that are no finite numbers")
    with torch.no_grad():
        for ours, weight in merged.items():
            layer = model.get_submodule(ours)
            if isinstance(layer.base, QuantizedLinear):
                layer.base = _float_layer(layer.base, weight)
            else:
                layer.base.weight.copy_(weight)
    shared.active, shared.merged = name, name
    if not keep:
        unload(model, shared, name)
    return model


def unmerge_lora(model: nn.Module) -> nn.Module:
    """Take the adapter out of the weights that `merge_lora(keep=True)` put in: W <- W - (alpha / r) · B A.

    Rounding stays, as in peft. ValueError where none lies in the weights.
    """
    shared = shared_of(model)
    if shared.merged is None:
        raise ValueError("no adapter lies in the weights of this model")
    with torch.no_grad():
        for part in adapted(model).values():
            if isinstance(part, LoRALinear) and shared.merged in part.scales:
                part.base.weight -= part.change(shared.merged).to(part.base.weight.dtype)
    shared.merged = None
    return model


def _float_layer(layer: nn.Module, weight: Tensor) -> nn.Linear:
    """A float layer in the place of a quantized one."""
    made = nn.Linear(1, 1, bias=layer.bias is not None, device="meta")
    made.in_features, made.out_features = layer.in_features, layer.out_features
    made.weight = nn.Parameter(weight, requires_grad=False)
    if layer.bias is not None:
        made.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
    return made.train(layer.training)
