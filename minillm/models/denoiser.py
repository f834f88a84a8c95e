"""What every network of a diffusion model shares: the step as sines, the checks of its inputs, one file to keep it.

    time(t) = [sin(t s_1) ... sin(t s_k), cos(t s_1) ... cos(t s_k)],   s_i from 1 down to 1 / 10,000

A denoiser is called as model(x, t, condition=None, drop=None) and says something of the size of x. The U-Net draws
pictures (unet.py), the prior of DALL-E 2 draws embeddings (prior.py). Both are small, so weights and sizes are one
file of ours, half as large in float16, or a folder as every model's; nothing is unpickled.

Book: 14.3 텍스트로 이미지를 생성하는 모델: DALL-E. Left out: diffusers' folders.
"""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm._files import BadFileError, load_arrays, save_arrays
from minillm._kernels import autocast_dtype
from minillm._tensors import check_place
from minillm.models.weights import read_config, read_weights, write_folder


def time_features(t: Tensor, width: int) -> Tensor:
    """Sines and cosines of the step (B,) at `width` / 2 speeds, as positions in the 2017 Transformer. (B, width)"""
    speeds = torch.exp(-math.log(10000) * torch.arange(width // 2, device=t.device) / (width // 2))
    angles = t[:, None].float() * speeds  # (B, width / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def check_time_width(width: int) -> int:
    """`width` if it is an even number from 4 on."""
    if check_int("time_width", width, 4) % 2:
        raise ValueError(f"time_width must be even, got {width}")
    return width


def check_steps(t: Tensor | int, x: Tensor) -> Tensor:
    """`t` as (B,): one whole number for each row of x, or one for all."""
    t = torch.as_tensor(t, device=x.device)
    if t.is_floating_point() or t.dtype == torch.bool or t.shape not in ((), (len(x),)):
        raise ValueError(f"t must be a whole number or {len(x)} of them, got {describe(t)}")
    return t.expand(len(x))


def check_dtype(name: str, value: Tensor, weight: Tensor) -> None:
    """ValueError unless `value` has the dtype of the network's weights; autocast makes one of several floats."""
    if value.dtype != weight.dtype and autocast_dtype(value) is None:
        raise ValueError(f"{name} must be {weight.dtype} as the network is, got {value.dtype}")


def check_drop(drop: Tensor | None, rows: int) -> None:
    """ValueError unless `drop` is None or one bool a row."""
    if drop is not None and (
        not isinstance(drop, Tensor) or drop.shape != (rows,) or drop.dtype != torch.bool
    ):
        raise ValueError(f"drop must be {rows} bools, got {describe(drop)}")


class Denoiser(nn.Module):
    """A module with a `config` that knows how to be one file."""

    kind: ClassVar[str]  # what the file is called when it is refused
    config_class: ClassVar[type]
    config: Any

    def __init__(self, config: Any) -> None:
        if not isinstance(config, self.config_class):
            raise ValueError(f"config must be a {self.config_class.__name__}, got {describe(config)}")
        super().__init__()
        self.config = config

    def save(self, path: str | Path, dtype: torch.dtype = torch.float16) -> Path:
        """Write weights and config as one file; float16 halves it."""
        if dtype not in (torch.float16, torch.float32):
            raise ValueError(f"dtype must be torch.float16 or torch.float32, got {dtype}")
        arrays = {name: value.detach().cpu().to(dtype).numpy() for name, value in self.state_dict().items()}
        return save_arrays(path, self.kind, arrays, asdict(self.config))

    @classmethod
    def load(cls, path: str | Path) -> Any:
        """The network that `save` wrote, in float32; BadFileError if the file is damaged or of another kind."""
        arrays, meta = load_arrays(path, cls.kind)
        tensors = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in arrays.items()}
        return cls._filled(f"{cls.kind} file {str(path)!r}", meta, tensors)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write config.json and model.safetensors, as every model does, in the weights' own dtype."""
        dtype = str(next(self.parameters()).dtype).removeprefix("torch.")
        values = {"architectures": [type(self).__name__], **asdict(self.config), "dtype": dtype}
        return write_folder(folder, values, self.state_dict(), {})

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        """The network that `save_pretrained` wrote, in evaluation mode; BadFileError (a ValueError) naming the file
        that is missing, damaged or of another network. dtype: None is the one of the file. device: None is the CPU."""
        check_place(dtype, device)
        values, what = read_config(folder), f"model folder {str(folder)!r}"
        if values.get("architectures") != [cls.__name__]:
            raise BadFileError(f"{what} holds {values.get('architectures')}, expected a {cls.__name__}")
        tensors = read_weights(folder)
        model = cls._filled(what, values, tensors)
        kept = next(iter(tensors.values())).dtype
        return model.to(device=device, dtype=kept if dtype is None else dtype).eval()

    @classmethod
    def _filled(cls, what: str, sizes: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
        """The network of these sizes with these weights, in float32; BadFileError where they do not fit."""
        try:
            model = cls(cls.config_class(**{one.name: sizes[one.name] for one in fields(cls.config_class)}))
            model.load_state_dict(tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BadFileError(f"{what} is refused: {error}") from error
        return model
