"""How a model wants its pictures, as a file beside its weights says it: size, mean, spread, filter.

    (P, 3, H, W) in 0..1  ->  short side to `size`, the middle cut out  ->  (x - mean) / std

Book 12.5.5 이미지 임베딩 검색. Held against transformers' CLIPImageProcessor, whose preprocessor_config.json is read;
the work is done in pictures.py. Left out: steps in another order, other filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minillm._checks import check_choice, check_int, check_number, check_path, describe
from minillm._files import BadFileError, read_json
from minillm.data.picture_files import (
    MAX_RATIO,
    MAX_SIZE,
    check_picture,
    floats_of,
    is_image,
    pixels_of,
    read_picture,
)
from minillm.models.pictures import CLIP_MEAN, CLIP_STD, FILTERS, preprocess

CONFIGS = ("preprocessor_config.json", "processor_config.json")
RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
STEPS = ("do_resize", "do_rescale", "do_normalize")


@dataclass(frozen=True)
class PictureProcessor:
    """`processor(pictures) -> (P, 3, size, size)`, as the model takes them. kind: "bicubic" or "bilinear"."""

    size: int = 224
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    kind: str = "bicubic"

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        check_int("size", self.size, 1, MAX_SIZE), check_choice("kind", self.kind, tuple(FILTERS))
        for name in ("mean", "std"):
            values = getattr(self, name)
            if not isinstance(values, (tuple, list)) or len(values) != 3:
                raise ValueError(f"{name} must be three numbers, one a colour, got {describe(values)}")
            least = 1e-6 if name == "std" else None
            numbers = tuple(check_number(f"every value of {name}", one, least) for one in values)
            object.__setattr__(self, name, numbers)

    def __call__(self, pictures: Any) -> Tensor:
        """Pictures of values in 0..1, (P, 3, H, W) or a list of (3, H, W) of any sizes, of files, or of Pillow's
        pictures. ValueError for others."""
        pictures = [pictures] if is_image(pictures) else pictures
        if isinstance(pictures, (list, tuple)):
            pictures = [self.opened(one) for one in pictures]
        checked = check_pictures(pictures)
        parts = [self._fit(picture) for picture in checked]
        mean, std = (torch.tensor(one).reshape(3, 1, 1) for one in (self.mean, self.std))
        return (torch.stack(parts) - mean) / std  # (P, 3, S, S)

    def opened(self, picture: Any) -> Any:
        """A file, or a picture of Pillow's, as floats (3, H, W), made small by Pillow where that is bicubic, as its
        own way is; an array as it is."""
        size = self.size if self.kind == "bicubic" else None
        if isinstance(picture, (str, Path)):
            return read_picture(picture, size)
        return floats_of(pixels_of(picture, size)) if is_image(picture) else picture

    def _fit(self, picture: np.ndarray) -> Tensor:
        """(3, H, W) -> (3, S, S), still in 0..1; one of the right size stays as it is."""
        if picture.shape[1:] == (self.size, self.size):
            return torch.from_numpy(picture)
        pixels = (picture.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
        return preprocess([pixels], self.size, (0, 0, 0), (1, 1, 1), self.kind, crop=True)[0]

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> PictureProcessor:
        """What preprocessor_config.json of a folder says. BadFileError without one, or for other steps."""
        folder = check_path("folder", folder)
        path = next((folder / name for name in CONFIGS if (folder / name).exists()), None)
        if path is None:
            raise BadFileError(
                f"folder {str(folder)!r} must say how its pictures are made: it has no {CONFIGS[0]}"
            )
        config = read_json(path, "picture processor")
        config = config.get("image_processor", config) if isinstance(config, dict) else None
        try:
            return cls(**_fields(config))
        except (KeyError, TypeError, ValueError) as error:
            raise BadFileError(f"picture processor {str(path)!r} is refused: {error}") from None


def _fields(config: Any) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise ValueError(f"it must hold a table, got {describe(config)}")
    for name in STEPS:
        if config.get(name, True) is not True:
            raise ValueError(f"{name} must be true, got {describe(config[name])}")
    sizes = {"size": _side(config.get("size", 224))}
    if config.get("do_center_crop", True):
        sizes["crop_size"] = _side(config.get("crop_size", 224))
    if len(set(sizes.values())) > 1:
        raise ValueError(f"size and crop_size must be one number, got {sizes}")
    factor = config.get("rescale_factor", 1 / 255)
    if abs(check_number("rescale_factor", factor) - 1 / 255) > 1e-9:
        raise ValueError(f"rescale_factor must be 1/255, got {factor}")
    kind = RESAMPLE[check_choice("resample", config.get("resample", 3), tuple(RESAMPLE))]
    mean, std = config.get("image_mean", CLIP_MEAN), config.get("image_std", CLIP_STD)
    return {"size": sizes["size"], "mean": mean, "std": std, "kind": kind}


def _side(value: Any) -> int:
    """224, {"shortest_edge": 224} or {"height": 224, "width": 224}."""
    if isinstance(value, dict):
        sides = {side for side in value.values() if side is not None}
        value = sides.pop() if len(sides) == 1 else value
    return check_int("size", value, 1)


def check_pictures(pictures: Any) -> list[np.ndarray]:
    """Pictures as a list of float32 (3, H, W); ValueError for a shape, a value or a kind that is none."""
    if hasattr(pictures, "ndim") and pictures.ndim != 4:
        raise ValueError(f"pictures must be (P, 3, H, W), got {describe(pictures)}")
    if not isinstance(pictures, Sequence) and not hasattr(pictures, "ndim"):
        raise ValueError(f"pictures must be (P, 3, H, W) or a list of (3, H, W), got {describe(pictures)}")
    if isinstance(pictures, str) or not len(pictures):
        raise ValueError(f"pictures must hold at least one picture, got {describe(pictures)}")
    return [_check_picture(place, one) for place, one in enumerate(pictures)]


def _check_picture(place: int, picture: Any) -> np.ndarray:
    values = check_picture(f"picture {place}", picture)
    short, long = sorted(values.shape[1:])
    if long > MAX_RATIO * short:
        raise ValueError(
            f"picture {place} must have sides like 1 to {MAX_RATIO} at most, got {long} and {short}"
        )
    return np.ascontiguousarray(values, np.float32)
