"""Quantizing a whole model: every linear layer is swapped for one that keeps codes.

Embeddings, norms and biases stay floats: they are few, and rounding them costs more than it saves. So does the output
head (which is the embedding itself when the two are tied), as in bitsandbytes and transformers.

Book: 7.2 양자화로 모델 용량 줄이기. Held against: the model with every weight rounded in place, and transformers'
list of what bitsandbytes leaves alone. Leaves out: GPTQ and AWQ, which need calibration text.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from torch import nn

from minillm._checks import check_choice, check_int, describe, is_listing
from minillm.quantization.codebooks import NF4_CODEBOOK, uniform_codebook
from minillm.quantization.linear import FourBitLinear, Int8Linear, QuantizedLinear

METHODS = ("int8", "nf4", "int4")
BLOCK = 64  # QLoRA's


def quantize(
    model: nn.Module,
    method: str = "int8",
    bits: int | None = None,
    group_size: int | None = None,
    calibration: Any = None,
    skip: Collection[str] = ("head", "lm_head"),
) -> nn.Module:
    """A quantized copy of `model`, in evaluation mode; the model itself is left as it is.

    method: "int8" (absmax, a scale a row), "nf4" (QLoRA's codebook in blocks) or "int4" (even codes in blocks).
    bits: 8 for int8, 4 for the others, which is what None means. group_size: numbers that share a scale (64) for
    nf4 and int4; int8 has none. skip: names of layers to leave alone, whole or last part; tied ones always are.
    Raises ValueError for another method ("gptq" and "awq" come with their chapter), a `calibration` (these methods
    look at no text), or a model without a linear layer to quantize.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch module, got {describe(model)}")
    check_choice("method", method, METHODS)
    if bits is not None and check_int("bits", bits) != (8 if method == "int8" else 4):
        raise ValueError(f"method {method!r} has {8 if method == 'int8' else 4} bits, got bits={bits}")
    if group_size is not None and method == "int8":
        raise ValueError(f"method 'int8' has one scale a row, got group_size={describe(group_size)}")
    if calibration is not None:
        raise ValueError(f"method {method!r} looks at no text, got calibration={describe(calibration)}")
    block = BLOCK if group_size is None else check_int("group_size", group_size, 1)
    names = _layers_to_quantize(model, skip)
    small = copy.deepcopy(model).eval()
    for name in names:
        linear = small.get_submodule(name)
        if method == "int8":
            layer: QuantizedLinear = Int8Linear.from_linear(linear)
        else:
            layer = FourBitLinear.from_linear(
                linear, block, NF4_CODEBOOK if method == "nf4" else uniform_codebook()
            )
        replace_layer(small, name, layer)
    return small


def model_size_bytes(model: nn.Module) -> int:
    """Bytes of all weights and saved buffers; a tensor that is used twice (tied) counts once.

    Raises ValueError if `model` is no torch module.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch module, got {describe(model)}")
    tensors = model.state_dict(keep_vars=True).values()
    seen = {(tensor.device, tensor.data_ptr(), tensor.shape): tensor for tensor in tensors if tensor.numel()}
    return sum(tensor.numel() * tensor.element_size() for tensor in seen.values())


def replace_layer(model: nn.Module, name: str, layer: nn.Module | nn.Parameter) -> None:
    """Put a layer, or a weight, in the place that `name` ("body.blocks.0.attention.q_proj") has in the model."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)


def _layers_to_quantize(model: nn.Module, skip: Collection[str]) -> list[str]:
    """Names of the linear layers that are neither skipped nor tied to something else."""
    if not is_listing(skip) or not all(isinstance(name, str) for name in skip):
        raise ValueError(f"skip must be a collection of layer names, got {describe(skip)}")
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and uses[id(module.weight)] == 1
        and name not in skip
        and name.rpartition(".")[2] not in skip
    ]
    if not names:
        raise ValueError("the model has no linear layer to quantize (is it quantized already?)")
    return names
