"""From a photo's bytes to what a vision model reads: resize, cut the middle out, scale, normalise.

    out = W_rows @ picture @ W_columnsᵀ      each row of W: a filter, as wide as the picture shrinks (no aliasing)
    x = (out / 255 - mean) / std

Book 14.1.1 멀티 모달 LLM의 구성요소. Held against PIL's resize.
Filters: bilinear |1 - t|, bicubic (Keys 1981, a = -1/2). Pixels are rounded to whole numbers after each of the two
passes, as PIL does; which goes first is Pillow 13's choice, too: older ones always begin with the columns.
Left out: reading files (PIL or the caller does), other filters, pictures with transparency.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minillm._checks import check_choice, check_int, check_number, describe

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
FILTERS = {"bilinear": 1.0, "bicubic": 2.0}  # half widths


def filter_weights(length: int, target: int, kind: str) -> NDArray[np.float64]:
    """W (target, length): row i says how much of each old pixel is in new pixel i; rows sum to 1."""
    scale = length / target
    stretch = max(scale, 1.0)  # shrinking widens the filter, so that no pixel is skipped
    centres = (np.arange(target) + 0.5) * scale  # of the new pixels, in old ones
    t = np.abs(np.arange(length) + 0.5 - centres[:, None]) / stretch
    if kind == "bilinear":
        weights = np.maximum(1 - t, 0)
    else:
        near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        weights = np.where(t < 1, near, np.where(t < 2, far, 0))
    return weights / weights.sum(1, keepdims=True)


def resize(picture: Any, height: int, width: int, kind: str = "bilinear") -> NDArray[np.uint8]:
    """A picture (H, W, 3) of bytes in another size, (height, width, 3). kind: "bilinear" or "bicubic"."""
    picture = _check_picture(picture)
    check_int("height", height, 1), check_int("width", width, 1), check_choice("kind", kind, tuple(FILTERS))
    out, axes = picture.astype(np.float64), (1, 0)
    lost = picture.shape[0] - height, picture.shape[1] - width
    if lost[0] > 0 and lost[0] > 2 * lost[1]:  # rows go first where twice as many pixels go as of a row
        axes = (0, 1)
    for axis in axes:
        target = (height, width)[axis]
        if target != out.shape[axis]:
            weights = filter_weights(out.shape[axis], target, kind)
            out = _bytes(np.moveaxis(np.tensordot(weights, out, (1, axis)), 0, axis))
    return out.astype(np.uint8)


def _bytes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.floor(values + 0.5), 0, 255)


def centre_crop(picture: Any, size: int) -> NDArray[np.uint8]:
    """The middle (size, size, 3) of a picture (H, W, 3); ValueError for a smaller picture."""
    picture = _check_picture(picture)
    height, width = picture.shape[:2]
    check_int("size", size, 1, min(height, width))
    top, left = (height - size) // 2, (width - size) // 2
    return picture[top : top + size, left : left + size]


def preprocess(
    pictures: Sequence[Any],
    size: int = 224,
    mean: Sequence[float] = (0.5, 0.5, 0.5),
    std: Sequence[float] = (0.5, 0.5, 0.5),
    kind: str = "bilinear",
    crop: bool = False,
) -> Tensor:
    """pixel_values (N, 3, size, size) float32 of pictures (H, W, 3) of bytes, of any sizes.

    As ViTImageProcessor does by default: squeezed to a square. crop=True: the short side becomes `size` and the
    middle is cut out; with kind="bicubic", CLIP_MEAN and CLIP_STD that is CLIP's. ValueError for what is no picture.
    """
    if not isinstance(pictures, (list, tuple)) or not pictures:
        raise ValueError(f"pictures must be a list of arrays (H, W, 3), got {describe(pictures)}")
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != 3:
            raise ValueError(f"{name} must be three numbers, one a colour, got {describe(values)}")
        for value in values:
            check_number(f"every value of {name}", value, 1e-6 if name == "std" else None)
    check_int("size", size, 1)
    out = []
    for picture in pictures:
        picture = _check_picture(picture)
        height, width = picture.shape[:2]
        if crop:
            short = min(height, width)
            small = resize(picture, size * height // short, size * width // short, kind)
            out.append(centre_crop(small, size))
        else:
            out.append(resize(picture, size, size, kind))
    values = np.stack(out).astype(np.float32) / np.float32(255)  # (N, S, S, 3)
    values = (values - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def _check_picture(picture: Any) -> NDArray[np.uint8]:
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise ValueError(f"a picture must be an array (H, W, 3) of uint8, got {describe(picture)}")
    return picture
