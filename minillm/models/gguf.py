"""Models in GGUF files: their names and sizes both ways, for llama, qwen2, qwen3, gpt2 and bert.

    blk.3.attn_q.weight  <->  model.layers.3.self_attn.q_proj.weight        qwen3.block_count  <->  num_hidden_layers

The way is over Hugging Face's names, which every model's table of weights knows. Two things are not only names: a
matrix of GPT-2 lies the other way round there, and in files of `llama` the rows of q and k are ordered for turning
neighbours (nn/pairing.py). The output matrix is left out where it is the embedding table.

Book 3.3.1 모델 활용하기, 7장. Held against: the gguf package, transformers' GGUF loader, llama.cpp.
Leaves out: experts, other architectures, a sliding window in a `llama` file (the format has no place for it). A setting
that changes the numbers and is not built is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minillm._checks import check_choice, check_path, describe
from minillm._files import BadFileError
from minillm._tensors import check_place
from minillm.data.gguf import GGUFFile, read_gguf, write_gguf
from minillm.models.base import PretrainedModel
from minillm.models.gguf_names import FAMILIES, FREQUENCIES, FULL, LLAMA, Family
from minillm.nn.pairing import convert_pairing
from minillm.nn.rope_scaling import check_scaling, rope_frequencies, scaled_frequencies

TYPES = {
    "f32": "F32",
    "f16": "F16",
    "q8_0": "Q8_0",
    "q4_0": "Q4_0",
    "q4_1": "Q4_1",
}  # what `save_gguf` writes

# --- from a file --------------------------------------------------------------------------------------------------


def load_gguf(
    path: str | Path, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> PretrainedModel:
    """The model of a GGUF file, in evaluation mode: a Llama, a GPT2 or a BERT body.

    dtype: of the weights, which are dequantized; None is float32. device: None is the CPU. Raises BadFileError (a
    ValueError) naming the file for one that is cut, damaged, or asks for what is not built here.
    """
    check_place(dtype, device)
    file = read_gguf(path)
    what = f"GGUF model {str(path)!r}"
    family, config = model_config(file)
    tensors = file_tensors(file, family, config, dtype)
    return family.model_class.from_tensors(config, tensors, what, dtype, device)


def file_tensors(
    file: GGUFFile,
    family: Family,
    config: Any,
    dtype: torch.dtype | None = None,
    shapes_only: Collection[str] = (),
) -> dict[str, Tensor]:
    """A file's tensors under Hugging Face's names, in its layout and order of rows, float32 or of `dtype`.

    shapes_only: names of tensors that are not read, but stand there without memory (on the meta device). Raises
    BadFileError for a tensor that the model has no place for.
    """
    what = f"GGUF model {str(file.path)!r}"
    names = {name: translated(name, family.names) for name in file.tensors if name != FREQUENCIES}
    if strange := [name for name, theirs in names.items() if theirs is None]:
        raise BadFileError(f"{what} holds tensors the model has no place for: {', '.join(strange[:3])}")
    tensors = {}
    for name, theirs in names.items():
        if name in shapes_only:
            tensor = torch.empty(file.tensors[name].shape, device="meta")
        else:
            tensor = torch.from_numpy(file.read(name))
        if theirs.endswith(family.transposed or "\0") and tensor.dim() == 2:
            tensor = tensor.T
        if dtype is not None:  # one by one: the float32 of all of them would be twice as much memory
            tensor = tensor.to(dtype)
        tensors[theirs] = tensor
    if file.metadata["general.architecture"] == "llama":
        try:
            tensors = convert_pairing(tensors, config.num_attention_heads, config.kv_heads, interleaved=False)
        except ValueError as error:
            raise BadFileError(f"{what}: {error}") from None
    return tensors


def model_config(file: GGUFFile) -> tuple[Family, Any]:
    """(family, config) that a file's metadata describe; BadFileError for what is missing or not built here."""
    what = f"GGUF model {str(file.path)!r}"
    name = file.metadata.get("general.architecture")
    if not isinstance(name, str) or name not in FAMILIES:
        raise BadFileError(f"{what} is of architecture {describe(name)}, we have: {', '.join(FAMILIES)}")
    if "token_embd.weight" not in file.tensors:
        raise BadFileError(f"{what} lacks the tensor 'token_embd.weight': it may hold a tokenizer alone")
    family = FAMILIES[name]
    try:
        values = _sizes(file, name, family)
        return family, family.model_class.config_class.from_dict({"model_type": name, **values})
    except ValueError as error:
        raise BadFileError(f"{what} is refused: {error}") from None


def _sizes(file: GGUFFile, name: str, family: Family) -> dict[str, Any]:
    """A file's metadata under the names of a config; ValueError naming a key that is missing or not built here."""
    values = {}
    for key, value in file.metadata.items():
        prefix, _, key = key.partition(".")
        if prefix != name:
            continue
        if key in family.keys:
            values[family.keys[key]] = _number(f"{name}.{key}", value)
        elif key not in family.neutral or (
            family.neutral[key] is not None and _one(value) not in family.neutral[key]
        ):
            raise ValueError(
                f"{name}.{key} = {describe(value)} may change the model's numbers and is not built"
            )
    for key, ours in family.keys.items():
        if ours not in values and key not in (
            "attention.head_count_kv",
            "attention.key_length",
            "rope.freq_base",
        ):
            raise ValueError(f"its metadata lack {name}.{key}")
    values["vocab_size"] = file.tensors["token_embd.weight"].shape[0]
    values["tie_word_embeddings"] = "output.weight" not in file.tensors
    for kind, ours in (("bos", "bos_token_id"), ("eos", "eos_token_id"), ("padding", "pad_token_id")):
        values[ours] = file.metadata.get(f"tokenizer.ggml.{kind}_token_id")
    if family is LLAMA:
        values |= _llama_sizes(file, name, values)
    if name == "bert":
        types = file.tensors.get("token_types.weight")
        values["type_vocab_size"] = types.shape[0] if types else 0
        values["tie_word_embeddings"] = True
        if values["pad_token_id"] is None:
            values["pad_token_id"] = 0  # BERT's own
    return values


def _llama_sizes(file: GGUFFile, name: str, values: dict[str, Any]) -> dict[str, Any]:
    heads, width = values["num_attention_heads"], values["hidden_size"]
    head_dim = values.get("head_dim", width // heads if heads else 0)
    rows = file.tensors["blk.0.attn_q.weight"].shape[0] if "blk.0.attn_q.weight" in file.tensors else 0
    if heads and rows != heads * head_dim:  # said before angles are worked out for such a head
        raise ValueError(f"{heads} heads of width {head_dim} do not make the {rows:,} rows of blk.0.attn_q")
    found: dict[str, Any] = {"head_dim": head_dim}
    if heads:  # the config says what is wrong with 0
        found["rope_scaling"] = _scaling(file, name, values | found)
    for key in ("rope.dimension_count", "attention.value_length"):
        if _one(given := file.metadata.get(f"{name}.{key}", head_dim)) != head_dim:
            raise ValueError(f"{name}.{key} = {describe(given)} is not the width of a head, {head_dim}")
    if name != "qwen2":  # which always has them
        found["attention_bias"] = "blk.0.attn_q.bias" in file.tensors
        found["mlp_bias"] = "blk.0.ffn_up.bias" in file.tensors
    return found


def _number(name: str, value: Any) -> Any:
    """A size of the file as a plain number."""
    number = _one(value)
    if not isinstance(number, (int, float)):
        raise ValueError(f"{name} must be one number, got {describe(value)}")
    return (
        float(str(np.float32(number))) if isinstance(number, float) else number
    )  # 1e-05, not 9.999999747e-06


def _one(value: Any) -> Any:
    """A value of the file; a list of one number for all layers is that number, another list of numbers a tuple."""
    if not isinstance(value, np.ndarray):
        return value
    return value[0].item() if value.size and (value == value[0]).all() else tuple(value.tolist())


def _scaling(file: GGUFFile, name: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """How the rotary positions were stretched, as `rope_scaling` says it."""
    front = f"{name}.rope."
    found = {key: _one(value) for key, value in file.metadata.items() if key.startswith(front)}
    window = found.get(f"{name}.rope.scaling.original_context_length")
    if FREQUENCIES in file.tensors:
        return _llama3_scaling(file.read(FREQUENCIES), values, 8192 if window is None else window)
    kind, factor = (
        found.get(f"{name}.rope.scaling.type", "none"),
        found.get(f"{name}.rope.scaling.factor", 1.0),
    )
    if f"{name}.rope.scale_linear" in found:  # its older name
        kind, factor = "linear", found[f"{name}.rope.scale_linear"]
    if not isinstance(factor, (int, float)):
        raise ValueError(f"{name}.rope.scaling.factor must be one number, got {describe(factor)}")
    if kind == "none" or factor == 1.0:
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        window = values["max_position_embeddings"] if window is None else window
        return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": window}
    raise ValueError(f"{name}.rope.scaling.type = {describe(kind)} is not built")


def _llama3_scaling(slower: np.ndarray, values: Mapping[str, Any], window: Any) -> dict[str, Any]:
    """Llama 3.1's scaling from how much slower each pair turns: the file holds these numbers, not the settings.

    window: the one it was trained with.
    """
    dim = values["head_dim"]
    scaling = {
        "rope_type": "llama3", "factor": float(np.round(slower.max(), 4)), "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": window,
    }  # fmt: skip
    check_scaling(scaling)
    expected = _slower(dim, values.get("rope_theta", 10000.0), scaling)
    if slower.shape != expected.shape or not np.allclose(slower, expected, rtol=1e-4):
        raise ValueError(f"{FREQUENCIES} is not Llama 3.1's way to slow pairs down, and no other is built")
    return scaling


def _slower(dim: int, base: float, scaling: Mapping[str, Any]) -> np.ndarray:
    """How many times slower each pair turns under a scaling, float32 (D/2,)."""
    return (rope_frequencies(dim, base) / scaled_frequencies(dim, base, scaling, 1)[0]).numpy()


def translated(name: str, names: Mapping[str, str]) -> str | None:
    """A tensor's name under the other names: 'blk.3.ffn_up.weight' -> 'model.layers.3.mlp.up_proj.weight'."""
    stem, _, kind = name.rpartition(".")
    number = re.search(r"(?<=\.)(0|[1-9]\d{0,5})(?=\.|$)", stem)
    other = names.get(stem[: number.start()] + "{i}" + stem[number.end() :] if number else stem)
    if other is None or kind not in ("weight", "bias"):
        return None
    return f"{other.replace('{i}', number[0]) if number else other}.{kind}"


# --- to a file ----------------------------------------------------------------------------------------------------


def save_gguf(
    model: PretrainedModel, path: str | Path, type: str = "f16", metadata: Mapping[str, Any] | None = None
) -> Path:
    """Write a model as a GGUF file, which llama.cpp opens, whole or not at all; returns the path.

    type: of the matrices, f32, f16, q8_0, q4_0 or q4_1; norms, biases and tables of positions stay float32, and a
    matrix whose rows are not whole blocks of 32 is written as f16. metadata: more of it, a tokenizer's, say.
    A BERT's pooler is left out, as llama.cpp has no place for it. Raises ValueError for a model or a setting that
    the format does not know.
    """
    kind = TYPES[check_choice("type", type, TYPES)]
    check_path("path", path)
    name, family = _family_of(model)
    values, more = _metadata(model, name, family), dict(metadata or {})
    if strange := [key for key in more if key in values or not isinstance(key, str)]:
        raise ValueError(f"metadata that the model itself gives: {', '.join(map(str, strange[:3]))}")
    state = {key: tensor.detach() for key, tensor in model.state_dict().items()}
    tensors = model.to_hugging_face(state)
    if name == "llama":
        tensors = convert_pairing(
            tensors, model.config.num_attention_heads, model.config.kv_heads, interleaved=True
        )
    back = {theirs: ours for ours, theirs in family.names.items()}
    arrays = {}
    for theirs, tensor in tensors.items():
        ours = translated(theirs, back)
        if ours is None and name == "bert" and theirs.startswith("pooler."):
            continue
        if ours is None:
            raise ValueError(f"a GGUF file of {name} has no place for the tensor {theirs!r}")
        arrays[ours] = _array(tensor.T if theirs.endswith(family.transposed or "\0") else tensor)
    scaling = getattr(model.config, "rope_scaling", None)
    if scaling and scaling["rope_type"] == "llama3":
        arrays[FREQUENCIES] = _slower(model.config.head_dim, model.config.rope_theta, scaling)
    types = {}
    for ours, array in arrays.items():
        full = array.ndim == 1 or ours in FULL or kind == "F32"
        types[ours] = "F32" if full else "F16" if array.shape[-1] % 32 else kind
    values["general.file_type"] = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7}[kind]
    return write_gguf(path, values | more, arrays, types)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.to("cpu", torch.float32).contiguous().numpy()


def _family_of(model: Any) -> tuple[str, Family]:
    """(architecture, family) of a model; ValueError for one that no GGUF file of ours holds."""
    kind = getattr(getattr(model, "config", None), "model_type", None)
    name = "llama" if kind == "mistral" else kind
    if name not in FAMILIES or not isinstance(model, FAMILIES[name].model_class):
        raise ValueError(
            f"a GGUF file holds a Llama, a GPT2 or a BERT without a task, got {describe(model.__class__.__name__)}"
        )
    return name, FAMILIES[name]


def _metadata(model: PretrainedModel, name: str, family: Family) -> dict[str, Any]:
    """What a file says about its model; ValueError for a setting of the config that it has no place for."""
    config = model.config
    given = config.to_dict()
    values: dict[str, Any] = {"general.architecture": name, "general.type": "model"}
    for key, ours in family.keys.items():
        if (value := getattr(config, ours)) is not None:
            values[f"{name}.{key}"] = value
    values[f"{name}.vocab_size"] = config.vocab_size
    wanted = {"llama": "silu", "gpt2": "gelu_new", "bert": "gelu"}.get(name, "silu")
    acts = given.get("hidden_act", given.get("activation_function"))
    if acts not in (wanted, *{"gelu_new": ("gelu_pytorch_tanh",)}.get(wanted, ())):
        raise ValueError(f"a GGUF file of {name} has the activation {wanted}, the model {acts!r}")
    if name == "gpt2":
        if not config.scale_attn_weights or config.scale_attn_by_inverse_layer_idx:
            raise ValueError(
                "a GGUF file of gpt2 has no place for scale_attn_by_inverse_layer_idx and the like"
            )
        values[f"{name}.feed_forward_length"] = config.n_inner or 4 * config.n_embd
    if name == "bert":
        values |= {"bert.attention.causal": False, "tokenizer.ggml.token_type_count": config.type_vocab_size}
    if family is LLAMA:
        values |= _llama_metadata(config, name)
    for kind, ours in (
        ("bos", config.bos_token_id),
        ("eos", config.eos_token_id),
        ("padding", config.pad_token_id),
    ):
        if (one := ours[0] if isinstance(ours, (list, tuple)) and ours else ours) is not None and one != []:
            values[f"tokenizer.ggml.{kind}_token_id"] = one
    return values


def _llama_metadata(config: Any, name: str) -> dict[str, Any]:
    if any(window is not None and window < config.max_length for window in config.windows):
        raise ValueError(f"a GGUF file of {name} has no place for a sliding window, {config.sliding_window}")
    values = {
        f"{name}.rope.dimension_count": config.head_dim,
        f"{name}.attention.value_length": config.head_dim,
    }
    scaling = config.rope_scaling or {"rope_type": "none"}
    kind = scaling["rope_type"]
    if kind == "none":
        return values
    window = f"{name}.rope.scaling.original_context_length"
    understood = {"rope_type", "factor", "original_max_position_embeddings"}
    if kind == "llama3" and (scaling["low_freq_factor"], scaling["high_freq_factor"]) == (1, 4):
        return {**values, window: scaling["original_max_position_embeddings"]}  # the rest is a tensor
    if kind not in ("linear", "yarn") or not scaling.keys() <= understood:
        raise ValueError(f"a GGUF file has no place for the rotary scaling {scaling}")
    values |= {f"{name}.rope.scaling.type": kind, f"{name}.rope.scaling.factor": float(scaling["factor"])}
    if kind == "yarn":
        values[window] = scaling["original_max_position_embeddings"]
    return values
