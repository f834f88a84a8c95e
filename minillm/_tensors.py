"""Checks of dtypes and devices; named torch tensors in the container of `_files`: whole or refused, never unpickled.

numpy has no bfloat16, so the bits of such a tensor travel as int16 beside the name of its dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minillm._checks import describe
from minillm._files import BadFileError, load_arrays, save_arrays

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)  # that models are made of


def check_place(dtype: torch.dtype | None, device: torch.device | str | None) -> torch.device:
    """The device, the CPU for None; ValueError for one that torch does not have here, or for no dtype of a model."""
    if dtype is not None and not any(dtype is one for one in FLOATS):
        raise ValueError(f"dtype must be a float torch.dtype of 16 bits or more, got {describe(dtype)}")
    try:
        return torch.empty(0, device="cpu" if device is None else device).device
    except (RuntimeError, TypeError, AssertionError):  # torch without CUDA asserts
        raise ValueError(
            f"device must be cpu, cuda or the like, and be here, got {describe(device)}"
        ) from None


def to_array(tensor: Tensor) -> tuple[np.ndarray, str]:
    """A tensor as an array on the CPU, and the name of its dtype."""
    plain = tensor.detach().cpu().contiguous()
    bits = plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain
    return bits.numpy(), str(tensor.dtype).removeprefix("torch.")


def save_tensors(path: str | Path, kind: str, tensors: Mapping[str, Tensor], meta: Any = None) -> Path:
    """Write named tensors and a JSON-able `meta` as one file of the given kind, whole or not at all."""
    pairs = {name: to_array(tensor) for name, tensor in tensors.items()}
    dtypes = {name: dtype for name, (_, dtype) in pairs.items()}
    arrays = {name: array for name, (array, _) in pairs.items()}
    return save_arrays(path, kind, arrays, {"dtypes": dtypes, "meta": meta})


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], Any]:
    """(tensors, meta) of a file that `save_tensors` wrote; BadFileError if it is cut, damaged or another kind."""
    arrays, found = load_arrays(path, kind)
    try:
        dtypes = {name: getattr(torch, found["dtypes"][name]) for name in arrays}
        tensors = {name: torch.from_numpy(array.copy()).view(dtypes[name]) for name, array in arrays.items()}
        return tensors, found["meta"]
    except (TypeError, KeyError, AttributeError, RuntimeError):
        raise BadFileError(
            f"{kind} file {str(path)!r} is refused: it does not say what its tensors are"
        ) from None
