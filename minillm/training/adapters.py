"""Adapters in peft's format, both ways: adapter_config.json beside adapter_model.safetensors.

    base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight     (r, I)     behind "base_model.model." stands the
    base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight     (O, r)     layer's name in Hugging Face's layout
    base_model.model.score.weight                                                 of modules_to_save

The base is not in it, so a folder is a few MB. For c_attn of a GPT-2, q, k and v in one, B has the rows of all three;
those of a part that has no adapter are zeros. A folder that we wrote carries checksums, which are held against it.

Book: 5.4 효율적인 학습 방법(PEFT): LoRA. Held against peft's save_pretrained and from_pretrained.
Leaves out: adapter_model.bin (pickle), and what lora.py leaves out: such a folder is refused, by the setting's name.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from minillm._checks import check_flag, check_path, check_text, describe
from minillm._files import (
    BadFileError,
    write_checksums,
    write_folder_whole,
    write_json,
)
from minillm._tensors import FLOATS, check_place
from minillm.models.weights import read_tensors, write_tensors
from minillm.nn.lora import Adapters, LoRALinear, TrainedPart, adapters_of
from minillm.training.adapter_config import CONFIG, config_of, read_adapter_config, settings_of
from minillm.training.lora import check_new_name, new_adapters, put_in, set_adapter
from minillm.training.lora_targets import (
    LoRASettings,
    adapted,
    joined,
    linear_layers,
    linear_of,
    of_layer,
    within,
)

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


def save_adapter(
    model: nn.Module,
    folder: str | Path,
    name: str | None = None,
    base_model: str | Path | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write an adapter (None: the active one) as a folder that peft opens, too; returns the folder.

    base_model: what the config calls the base, its folder or its name on the hub. dtype: of the stored numbers;
    float16 halves the file, and `load_adapter` widens them again. The folder must be new or empty, or hold an adapter,
    which is replaced. ValueError for a model without that adapter, and for numbers that the dtype does not hold.
    """
    shared, folder = adapters_of(model), check_path("folder", folder)
    if shared is None:
        raise ValueError(f"the model has no adapter to save, got a {type(model).__name__}")
    name = shared.check(shared.active if name is None else name)
    check_text("base_model", "" if base_model is None else str(base_model))
    known = {CONFIG, WEIGHTS, "checksums.json", "README.md"}
    if folder.exists() and (not folder.is_dir() or {one.name for one in folder.iterdir()} - known):
        raise ValueError(
            f"folder must be a new one or hold an adapter only, {str(folder)!r} holds something else"
        )
    config, tensors = config_of(model, shared, name, base_model), adapter_tensors(model, name)
    check_place(dtype, None)
    tensors = {key: tensor if dtype is None else tensor.to(dtype) for key, tensor in tensors.items()}
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise ValueError(f"the adapter {name!r} has numbers that are not finite, or too large for {dtype}")
    if not folder.exists():
        return write_folder_whole(folder, lambda draft: _write(draft, config, tensors))
    _write(folder, config, tensors)
    return folder


def load_adapter(
    model: nn.Module, folder: str | Path, name: str = "default", trainable: bool = False
) -> nn.Module:
    """Put the adapter of a folder, ours or peft's, on `model` under `name` and make it active; returns the model.

    trainable: it can learn on. ValueError for a name in use; BadFileError (a ValueError) for a folder that is missing,
    damaged, of another model, or that asks for what is not LoRA. The model is then as it was.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch module, got {describe(model)}")
    folder, shared = check_path("folder", folder), adapters_of(model) or new_adapters(model)
    check_new_name(shared, name), check_flag("trainable", trainable)
    values = read_adapter_config(folder)
    if not (folder / WEIGHTS).exists() and (folder / "adapter_model.bin").exists():
        raise BadFileError(
            f"{str(folder)!r} holds adapter_model.bin, a pickle: save it with peft as safetensors"
        )
    tensors = read_tensors(folder / WEIGHTS)
    what = f"adapter {str(folder)!r}"
    try:
        settings = settings_of(values)
        parts = _sorted(model, shared, settings, tensors)
    except ValueError as error:
        raise BadFileError(f"{what} is refused: {error}") from None
    put_in(model, shared, name, settings, *parts)
    set_adapter(model, name, trainable)
    return model


def adapter_tensors(model: nn.Module, name: str) -> dict[str, Tensor]:
    """The tensors of an adapter under peft's names."""
    shared, parts = adapters_of(model), adapted(model)
    mine = [one for one, part in parts.items() if isinstance(part, LoRALinear) and name in part.scales]
    wholes = _wholes(model, shared)
    tensors: dict[str, Tensor] = {}
    for theirs, group in joined(mine, shared).items():
        first = parts[group[0]]
        Bs = []
        for ours in wholes[theirs]:
            B = parts[ours].lora_B[name] if ours in group else None
            rows = linear_of(model, ours).out_features
            Bs.append(
                first.lora_B[name].new_zeros(rows, len(first.lora_A[name])) if B is None else B.detach()
            )
        tensors[f"{PREFIX}{theirs}.lora_A.weight"] = first.lora_A[name].detach()
        tensors[f"{PREFIX}{theirs}.lora_B.weight"] = torch.cat(Bs)
    for ours, part in parts.items():
        if isinstance(part, TrainedPart) and name in part.copies:
            for key, tensor in part.copies[name].state_dict().items():
                tensors[f"{PREFIX}{_their_tensor(shared, ours, key)}"] = tensor
    return tensors


# --- parts -----------------------------------------------------------------------------------------------------------


class _Found(NamedTuple):
    """What of a file goes where: the paths of LoRALinear by our name, and copies of whole parts."""

    paths: dict[str, tuple[nn.Parameter, nn.Parameter, float]]
    copies: dict[str, nn.Module]


def _write(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    write_tensors(folder / WEIGHTS, tensors)
    write_json(folder / CONFIG, dict(config))
    write_checksums(folder, (CONFIG,))


def _wholes(model: nn.Module, shared: Adapters) -> dict[str, list[str]]:
    """{Hugging Face's name: our layers that it holds one below the other, in its order}."""
    return joined(linear_layers(model), shared)


def _their_tensor(shared: Adapters, part: str, key: str) -> str:
    """Hugging Face's name of the tensor `key` of our part."""
    inner, _, last = f"{part}.{key}".rpartition(".")
    return f"{shared.names.get(inner, inner)}.{last}"


def _sorted(
    model: nn.Module, shared: Adapters, settings: LoRASettings, tensors: Mapping[str, Tensor]
) -> _Found:
    """Where each tensor belongs; ValueError for one that belongs nowhere, has a wrong size, or lacks its other half."""
    wholes = _wholes(model, shared)
    halves: dict[str, dict[str, Tensor]] = {}
    rest: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if tensor.dtype not in FLOATS or not torch.isfinite(tensor).all():
            raise ValueError(f"{key} must hold finite floats, got {describe(tensor)}")
        name = key.removeprefix(PREFIX)
        half = next((one for one in ("lora_A", "lora_B") if name.endswith(f".{one}.weight")), None)
        if half is None:
            rest[name] = tensor
        else:
            halves.setdefault(name.removesuffix(f".{half}.weight"), {})[half] = tensor
    if not halves and not rest:
        raise ValueError("it holds no tensors")
    paths: dict[str, tuple[nn.Parameter, nn.Parameter, float]] = {}
    for theirs, pair in halves.items():
        if theirs not in wholes:
            raise ValueError(f"the model has no linear layer {theirs!r}")
        paths |= _path(model, wholes[theirs], theirs, pair, settings)
    copies = _copies(model, shared, rest)
    for part in settings.modules_to_save:  # peft names parts that not every model has
        for one, layer in model.named_modules():
            inside = one in shared.names and within(one, shared, (part,)) and one not in copies
            if inside and next(layer.parameters(recurse=False), None) is not None:
                raise ValueError(
                    f"it holds no tensors of {shared.names[one]!r}, which its config says was learned"
                )
    return _Found(paths, copies)


def _path(
    model: nn.Module, group: list[str], theirs: str, pair: Mapping[str, Tensor], settings: LoRASettings
) -> dict[str, tuple[nn.Parameter, nn.Parameter, float]]:
    """One layer of Hugging Face's: A, and the rows of B of each layer of ours."""
    if len(pair) != 2:
        raise ValueError(f"{theirs} has {next(iter(pair))} and not its other half")
    A, B = pair["lora_A"], pair["lora_B"]
    bases = [linear_of(model, ours) for ours in group]
    rows, r = [base.out_features for base in bases], of_layer(settings.ranks, theirs, settings.r)
    if tuple(A.shape) != (r, bases[0].in_features) or tuple(B.shape) != (sum(rows), r):
        wanted = f"({r}, {bases[0].in_features}) and ({sum(rows)}, {r})"
        raise ValueError(f"{theirs} has A {tuple(A.shape)} and B {tuple(B.shape)}, expected {wanted}")
    device = next(model.parameters()).device
    wide = torch.float64 if A.dtype == torch.float64 else torch.float32
    first = nn.Parameter(A.to(device, wide, copy=True))
    parts = [nn.Parameter(one.to(device, wide, copy=True)) for one in B.split(rows)]
    return {ours: (first, one, settings.scale(theirs)) for ours, one in zip(group, parts)}


def _copies(model: nn.Module, shared: Adapters, rest: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """Copies of the whole parts that the remaining tensors are of."""
    places: dict[str, tuple[str, str]] = {}  # their name of each tensor -> (our part, its name in the part)
    for ours, part in model.named_modules():
        whole = part.base if isinstance(part, TrainedPart) else part
        if ours in shared.names and not isinstance(part, LoRALinear) and not list(whole.children()):
            places |= {_their_tensor(shared, ours, key): (ours, key) for key in whole.state_dict()}
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in rest.items():
        if name not in places:
            raise ValueError(f"the model has no place for {name!r}")
        ours, key = places[name]
        found.setdefault(ours, {})[key] = tensor
    copies: dict[str, nn.Module] = {}
    for ours, state in found.items():
        part = model.get_submodule(ours)
        copies[ours] = copied = copy.deepcopy(part.base if isinstance(part, TrainedPart) else part)
        try:
            copied.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{ours} does not fit: {error}") from None
    return copies
