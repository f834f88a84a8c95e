"""Quantizing a whole model: every linear layer is swapped for one that keeps codes.

Embeddings, norms and biases stay floats: they are few, and rounding them costs more than it saves. So does the output
head (which is the embedding itself when the two are tied), as in bitsandbytes and transformers.

Book: 7.2 양자화로 모델 용량 줄이기. Held against: the model with every weight rounded in place, and transformers'
list of what bitsandbytes leaves alone. GPTQ and AWQ read calibration text: calibration.py.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from torch import nn

from minillm._checks import check_choice, check_flag, check_int, check_number, describe, is_listing
from minillm.quantization.calibrated import awq_model, gptq_model
from minillm.quantization.calibration import calibration_windows
from minillm.quantization.codebooks import NF4_CODEBOOK, uniform_codebook
from minillm.quantization.codes_linear import FourBitLinear, GroupLinear
from minillm.quantization.double import DoubleQuantLinear
from minillm.quantization.linear import Int8Linear, QuantizedLinear
from minillm.quantization.llm_int8 import THRESHOLD, LLMInt8Linear

METHODS = ("int8", "llm.int8", "nf4", "int4", "rtn", "gptq", "awq")
CALIBRATED = ("gptq", "awq")
BITS = {"int8": (8, 8), "llm.int8": (8, 8), "nf4": (4, 4), "int4": (4, 4)}  # the others: 2 to 8
BLOCK = 64  # QLoRA's
GROUP = 128  # GPTQ's and AWQ's
HEAD = ("head", "lm_head")  # the output layer's names, ours and transformers': either means both


def quantize(
    model: nn.Module,
    method: str = "int8",
    bits: int | None = None,
    group_size: int | None = None,
    calibration: Any = None,
    skip: Collection[str] = HEAD,
    *,
    tokenizer: Any = None,
    symmetric: bool = False,
    act_order: bool = True,
    sequential: bool = True,
    threshold: float | None = None,
    double_quant: bool = False,
) -> nn.Module:
    """A quantized copy of `model` (or of a single linear layer), in evaluation mode; the model is left as it is.

    method: "int8" (absmax, a scale a row), "llm.int8" (inputs rounded, too, but for outlier columns), "nf4" (QLoRA's
    codebook in blocks), "int4" (even codes in blocks), "rtn" (rounding with a zero point a group), "gptq" or "awq"
    (the same codes, chosen by calibration text; GPT2 and Llama). bits: 8 for the int8 ones, 4 for nf4 and int4; 2 to
    8 for the others, where None means 4. group_size: numbers that share a scale, 64 for nf4 and int4, 128 for the
    others; the int8 ones have none. skip: names of layers to leave alone, whole or last part ("lm_head",
    transformers' name, is the head here, too); tied ones always are.
    calibration, for gptq and awq only: token ids, a list of rows of them, or texts with their `tokenizer`. symmetric:
    no zero points (rtn, gptq, awq). act_order: gptq takes columns with large inputs first. sequential: layers are
    fitted to what the quantized layers before them give, not the float ones. threshold, for llm.int8: inputs from
    this size on make an outlier column, None means 6. double_quant, for nf4 and int4: the scales take 8 bits, too.
    Raises ValueError for another method or option, a skipped name that the model does not have, a calibration that is
    missing or that the method does not read, or a model without a linear layer to quantize.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch module, got {describe(model)}")
    check_choice("method", method, METHODS)
    least, most = BITS.get(method, (2, 8))
    if bits is not None and not least <= check_int("bits", bits) <= most:
        allowed = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(f"method {method!r} has {allowed} bits, got bits={bits}")
    bits = min(most, 4) if bits is None else bits
    if group_size is not None and method in ("int8", "llm.int8"):
        raise ValueError(f"method {method!r} has one scale a row, got group_size={describe(group_size)}")
    for name, value in (
        ("symmetric", symmetric),
        ("act_order", act_order),
        ("sequential", sequential),
        ("double_quant", double_quant),
    ):
        check_flag(name, value)
    if double_quant and method not in ("nf4", "int4"):
        raise ValueError(f"method {method!r} has no scales of blocks to quantize, got double_quant=True")
    if threshold is not None and method != "llm.int8":
        raise ValueError(f"method {method!r} leaves inputs as they are, got threshold={describe(threshold)}")
    least_outlier = THRESHOLD if threshold is None else check_number("threshold", threshold, minimum=0)
    if symmetric and method in BITS:
        raise ValueError(f"method {method!r} has no zero points to leave out, got symmetric=True")
    usual = BLOCK if method in BITS else GROUP
    group = usual if group_size is None else check_int("group_size", group_size, 1)
    names = _layers_to_quantize(model, skip)

    def rounded(layer: nn.Linear) -> QuantizedLinear:
        if method == "int8":
            return Int8Linear.from_linear(layer)
        if method == "llm.int8":
            return LLMInt8Linear.from_linear(layer, least_outlier)
        if method in ("nf4", "int4"):
            kind = DoubleQuantLinear if double_quant else FourBitLinear
            return kind.from_linear(layer, group, NF4_CODEBOOK if method == "nf4" else uniform_codebook())
        return GroupLinear.from_linear(layer, bits, group, symmetric)

    if method not in CALIBRATED:
        if calibration is not None:
            raise ValueError(f"method {method!r} looks at no text, got calibration={describe(calibration)}")
        if names == [""]:  # a linear layer by itself has no place to be put in
            return rounded(model).eval()
        small = copy.deepcopy(model).eval()
        for name in names:
            replace_layer(small, name, rounded(small.get_submodule(name)))
        return small
    windows = calibration_windows(model, calibration, tokenizer)
    outside = [name for name in names if not name.startswith("body.blocks.")]
    small = copy.deepcopy(model).eval()
    grid = {"bits": bits, "group_size": group, "symmetric": symmetric, "sequential": sequential}
    if method == "gptq":
        gptq_model(small, windows, names, act_order=act_order, **grid)
    else:
        awq_model(small, windows, names, **grid)
    for name in outside:  # an output head that is asked for: no text is followed so far
        replace_layer(small, name, rounded(small.get_submodule(name)))
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
    places = {part for name, _ in model.named_modules() for part in (name, name.rpartition(".")[2])}
    if strange := sorted(set(skip) - places - set(HEAD)):
        raise ValueError(f"skip names what the model does not have: {', '.join(map(repr, strange[:3]))}")
    skip = {*skip, *HEAD} if set(skip) & set(HEAD) else set(skip)
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
