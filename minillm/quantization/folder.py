"""Saving a quantized model: one file of our own beside the tokenizer, whole or refused.

    quantized.state    codes, scales and what stayed float, with the model's config and how it was quantized

Floats and codes of different layers belong together, so they live in one file under one checksum (see _files.py)
instead of the Hugging Face layout, which has no common form for these codes.

Book: 7.2 양자화로 모델 용량 줄이기. Held against: the logits of the model that was saved, bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_int, check_path, describe
from minillm._files import BadFileError
from minillm._tensors import load_tensors, save_tensors
from minillm.models.auto import LANGUAGE_MODELS
from minillm.models.weights import QUANTIZED
from minillm.quantization.absmax import AbsmaxQuantized
from minillm.quantization.blockwise import BlockwiseQuantized
from minillm.quantization.codes_linear import FourBitLinear, GroupLinear
from minillm.quantization.double import SCALES, DoubleQuantized, DoubleQuantLinear
from minillm.quantization.groups import Grid, GroupQuantized
from minillm.quantization.linear import Int8Linear, QuantizedLinear
from minillm.quantization.llm_int8 import LLMInt8Linear
from minillm.quantization.loops import in_rows
from minillm.quantization.model import replace_layer
from minillm.quantization.packing import unpack_codes

FILE = QUANTIZED
KIND = "quantized model"


def save_quantized(model: nn.Module, folder: str | Path) -> Path:
    """Write `folder`/quantized.state, whole or not at all; returns its path.

    Raises ValueError if `model` is not a quantized model of minillm.models.
    """
    folder = check_path("folder", folder)
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch module, got {describe(model)}")
    layers = {name: module for name, module in model.named_modules() if isinstance(module, QuantizedLinear)}
    known = [model_class.__name__ for model_class in LANGUAGE_MODELS]
    if not layers or type(model).__name__ not in known:
        raise ValueError(f"save_quantized takes a quantized {' or '.join(known)}, got {type(model).__name__}")
    meta = {
        "class": type(model).__name__,
        "config": model.config.to_dict(),
        "generation_config": model.generation_config,
        "layers": {name: _description(layer) for name, layer in layers.items()},
    }
    again = _tied(model)  # the head that is the embedding
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name not in again}
    return save_tensors(folder / FILE, KIND, tensors, meta)


def load_quantized(folder: str | Path) -> nn.Module:
    """The quantized model in `folder`, in evaluation mode.

    Raises BadFileError (a ValueError) if the file is missing, cut, damaged, or does not fit its own config.
    """
    path = check_path("folder", folder) / FILE
    tensors, meta = load_tensors(path, KIND)
    try:
        model_class = {known.__name__: known for known in LANGUAGE_MODELS}[meta["class"]]
        model = model_class(model_class.config_class.from_dict(meta["config"]))
        for name, description in meta["layers"].items():
            layer, plain = _layer(name, description, tensors), model.get_submodule(name)
            sizes = [(one.out_features, one.in_features) for one in (layer, plain)]
            if sizes[0] != sizes[1]:
                raise ValueError(f"{name} is {sizes[0]} in the file and {sizes[1]} in the config")
            replace_layer(model, name, layer)
        again = {name: first for name, first in _tied(model).items() if name not in tensors}
        tensors |= {name: tensors[first] for name, first in again.items()}
        model.load_state_dict(tensors, assign=True)
        for name, first in again.items():
            replace_layer(model, name, model.get_parameter(first))
        model.generation_config = dict(meta["generation_config"])
    except (KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise BadFileError(f"{KIND} {str(path)!r} is refused: {error}") from None
    return model.eval()


def _tied(model: nn.Module) -> dict[str, str]:
    """Weights that are another one under a second name: {that name: the first one}."""
    first: dict[int, str] = {}
    names = {name: first.setdefault(id(x), name) for name, x in model.state_dict(keep_vars=True).items()}
    return {name: one for name, one in names.items() if name != one}


def _description(layer: QuantizedLinear) -> dict[str, Any]:
    if isinstance(layer, LLMInt8Linear):
        return {"kind": "llm.int8", "threshold": layer.threshold}
    if isinstance(layer, Int8Linear):
        return {"kind": "int8"}
    sizes = {"in_features": layer.in_features, "out_features": layer.out_features}
    if isinstance(layer, GroupLinear):
        return {"kind": "groups", "bits": layer.bits, "group_size": layer.group_size, **sizes}
    if isinstance(layer, FourBitLinear):
        kind = "4 bit, scales of 8" if isinstance(layer, DoubleQuantLinear) else "4 bit"
        return {"kind": kind, "block_size": layer.block_size, **sizes}
    raise ValueError(f"a quantized folder has no form for layers of class {type(layer).__name__}")


def _layer(name: str, description: dict[str, Any], tensors: dict[str, Tensor]) -> QuantizedLinear:
    """The layer of a description; `tensors` has its buffers in the order of this device afterwards."""
    names = ("codes", "scale", "scales", "zeros", "codebook", "bias", "scale_codes", "scale_scales", "mean")
    parts = {part: tensors.get(f"{name}.{part}") for part in names}
    if description["kind"] in ("int8", "llm.int8"):
        _check_parts(name, description, parts, tuple(parts["codes"].shape))
    if description["kind"] == "llm.int8":
        weight = AbsmaxQuantized(parts["codes"], parts["scale"])
        return LLMInt8Linear(weight, parts["bias"], description["threshold"])
    if description["kind"] == "int8":
        return Int8Linear(AbsmaxQuantized(parts["codes"], parts["scale"]), parts["bias"])
    shape = (description["out_features"], description["in_features"])
    for size in {"block_size", "group_size"} & set(description):
        check_int(size, description[size], 1)
    for part in ("codes", "scales", "zeros"):
        if parts[part] is not None and parts[part].ndim == 3:
            blocks, _, side = parts[part].shape
            if blocks != -(-shape[0] // max(side, 1)):
                raise ValueError(f"{name}.{part} has {blocks} blocks of {side} rows, for {shape[0]} rows")
            parts[part] = in_rows(parts[part], shape[0])
    _check_parts(name, description, parts, shape)
    if description["kind"] == "groups":
        bits = description["bits"]
        codes = unpack_codes(parts["codes"], shape[1]) if bits <= 4 else parts["codes"]
        grid = Grid(parts["scales"], parts["zeros"], bits, description["group_size"])
        layer: QuantizedLinear = GroupLinear(GroupQuantized(codes, grid), parts["bias"])
    else:
        blocks = (parts["codes"], parts["scales"], parts["codebook"], description["block_size"], shape)
        if description["kind"] == "4 bit":
            layer = FourBitLinear(BlockwiseQuantized(*blocks), parts["bias"])
        else:
            of_scales = (parts["scale_codes"], parts["scale_scales"], parts["mean"], SCALES)
            count = (shape[0], -(-shape[1] // description["block_size"]))
            doubled = DoubleQuantized(*of_scales, count)
            layer = DoubleQuantLinear(BlockwiseQuantized(*blocks), doubled, parts["bias"])
    tensors |= {f"{name}.{part}": tensor for part, tensor in layer.state_dict().items()}
    return layer


def _check_parts(
    name: str, description: dict[str, Any], parts: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """ValueError for a part of a layer (O, I) of another size or kind: compiled loops do not look where they read."""
    O, I = shape
    G = -(-I // description.get("group_size", description.get("block_size", I)))
    entries = None if parts["codebook"] is None else (min(parts["codebook"].numel(), 16),)
    halves = -(-I // 2) if description.get("bits", 4) <= 4 else I
    wanted: dict[str, Any] = {
        "int8": {"codes": shape, "scale": (O, 1)},
        "llm.int8": {"codes": shape, "scale": (O, 1)},
        "groups": {"codes": (O, halves), "scales": (O, G), "zeros": (O, G)},
        "4 bit": {"codes": (O, halves), "scales": (O, G), "codebook": entries},
        "4 bit, scales of 8": {
            "codes": (O, halves), "codebook": entries, "scale_codes": (O * G,),
            "scale_scales": (-(-O * G // SCALES),), "mean": (),
        },
    }[description["kind"]]  # fmt: skip
    for part, size in (wanted | {"bias": (O,)} if parts["bias"] is not None else wanted).items():
        found = parts[part]
        numbers = torch.int8 if "scale" in wanted else torch.uint8
        right = (
            found.dtype == numbers if part in ("codes", "zeros", "scale_codes") else found.is_floating_point()
        )
        if tuple(found.shape) != size or not right:
            kind = str(found.dtype).removeprefix("torch.")
            raise ValueError(f"{name}.{part} must be {size}, got {tuple(found.shape)} {kind}")
    if entries is not None and entries[0] < 16:
        codes = parts["codes"]
        highest = max(0, *(half.max().item() for half in (codes >> 4, codes & 15)))
        if highest >= entries[0]:
            raise ValueError(f"{name}.codes go up to {highest}, its codebook has {entries[0]} entries")
