"""Model folders in the Hugging Face layout: config.json beside model.safetensors, or beside shards and their
index.

Reading refuses a file that is missing, cut at any byte or damaged by name (BadFileError); a folder we wrote
carries a sha256 of its tensors inside model.safetensors and those of its other files in checksums.json, which are
checked (of weights over 16 MB once, until the file changes: verified.py). Writing is whole or not at all. Nothing is
ever unpickled.

Book 3.3 허깅페이스 라이브러리 사용법 익히기. Held against transformers' from_pretrained and save_pretrained.
Leaves out: writing shards, older pytorch_model.bin files (pickle).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from minillm._checks import check_path
from minillm._files import (
    BadFileError,
    read_json,
    replace_whole,
    verify_checksums,
    write_checksums,
    write_json,
)
from minillm.models.verified import LARGE, holds, picture, wrote

CONFIG, GENERATION = "config.json", "generation_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
QUANTIZED = "quantized.state"  # what quantization/ writes instead of all of them


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json of a model folder as a dict; BadFileError if it is missing, cut, damaged or no JSON object."""
    path = check_path("folder", folder) / CONFIG
    if not path.parent.exists():
        raise BadFileError(
            f"model config {str(path)!r} cannot be read: no such folder here (a name on the hub is owner/name)"
        )
    if path.with_name(QUANTIZED).exists() and not path.exists():
        raise BadFileError(
            f"{str(folder)!r} holds a quantized model: minillm.quantization.load_quantized opens it"
        )
    values = read_json(path, "model config")
    verify_checksums(folder)
    if not isinstance(values, dict):
        raise BadFileError(f"model config {str(path)!r} must hold a JSON object, got {type(values).__name__}")
    return values


def read_generation_config(folder: str | Path) -> dict[str, Any]:
    """generation_config.json of a model folder as a dict, {} where there is none; BadFileError if it is damaged."""
    path = check_path("folder", folder) / GENERATION
    values = read_json(path, "generation config") if path.exists() else {}
    if not isinstance(values, dict):
        raise BadFileError(
            f"generation config {str(path)!r} must hold a JSON object, got {type(values).__name__}"
        )
    return values


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, dtypes, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def read_tensors(path: Path, anew: bool = False) -> dict[str, Tensor]:
    """The tensors of one safetensors file; BadFileError naming it if it is missing, cut or damaged.

    anew: its checksum is taken, also where it is remembered.

    They are the mapped file itself: memory is taken where a weight is read, and what is written to a tensor goes to a
    copy of its page, never to the file. As with transformers, the file must not be cut or changed in place while they
    live; to replace it, as saving does, is fine.
    """
    before = picture(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            if (
                os.name == "nt"
            ):  # Windows replaces no mapped file: a model could not be saved where it came from
                tensors = {name: tensor.clone() for name, tensor in tensors.items()}
            expected = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError, ValueError) as error:
        raise BadFileError(
            f"model weights {str(path)!r} cannot be read: missing, cut or damaged ({error})"
        ) from None
    if expected is not None and not holds(path, expected, lambda: _digest(tensors), before, anew):
        raise BadFileError(
            f"model weights {str(path)!r} are damaged: the checksum does not match the content"
        )
    return tensors


def has_checksum(path: Path) -> bool:
    """Whether a safetensors file that can be read says the sha256 of its tensors, as those do that we wrote."""
    with safe_open(path, framework="pt") as file:
        return "sha256" in (file.metadata() or {})


def verify_weights(folder: str | Path) -> None:
    """Look at every byte of a folder's weights, those whose checksum is remembered, too.

    Raises BadFileError naming a file that is missing, cut or damaged. Weights that others saved carry no checksum: of
    those only the header and the length are held against each other.
    """
    read_weights(folder, anew=True)


def read_weights(folder: str | Path, anew: bool = False) -> dict[str, Tensor]:
    """Every tensor of a model folder by its name; BadFileError naming the file that is missing, cut or damaged.

    anew: as in `read_tensors`.
    """
    folder = check_path("folder", folder)
    index_path = folder / INDEX
    if (folder / WEIGHTS).exists() or not index_path.exists():
        return read_tensors(folder / WEIGHTS, anew)
    index = read_json(index_path, "weight index")
    where = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(where, dict) or not all(
        isinstance(file, str) and Path(file).name == file for file in where.values()
    ):
        raise BadFileError(
            f"weight index {str(index_path)!r} has no weight_map of tensor names to file names"
        )
    tensors: dict[str, Tensor] = {}
    for file in sorted(set(where.values())):
        tensors |= read_tensors(folder / file, anew)
    missing = sorted(set(where) - set(tensors))
    if missing:
        raise BadFileError(
            f"weight index {str(index_path)!r} names tensors that no shard holds: {missing[:3]}"
        )
    return tensors


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one safetensors file with a sha256 of its tensors, whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    checksum = _digest(plain)
    metadata = {"format": "pt", "sha256": checksum}
    replace_whole(path, lambda temporary: save_file(plain, temporary, metadata=metadata))
    if path.stat().st_size >= LARGE:
        wrote(path, checksum)


def write_folder(
    folder: str | Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    generation_config: Mapping[str, Any],
) -> Path:
    """Write model.safetensors, generation_config.json if there is something in it, config.json, checksums.json.

    Each file is written whole or not at all. Returns the folder.
    """
    folder = check_path("folder", folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder must name a folder, or nothing yet, got the file {str(folder)!r}")
    write_tensors(folder / WEIGHTS, tensors)
    if generation_config:
        write_json(folder / GENERATION, dict(generation_config))
    else:
        (folder / GENERATION).unlink(missing_ok=True)
    write_json(folder / CONFIG, dict(config))
    write_checksums(folder, (CONFIG, GENERATION))
    return folder
