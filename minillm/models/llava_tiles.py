"""Small things in large pictures: cut the picture into tiles of the size that the tower knows, and show it all of them.

    96 x 96, tower of 32 x 32:   overview 32 x 32 (the whole, made small), then 9 tiles 32 x 32, row by row

The tower gives N tokens for each, so a picture costs 10 N in place of N. Which grid: the one that keeps most of the
picture's own pixels, and of those the one that wastes least. Book 14.4.4 LLaVA NeXT. Paper: Liu et al. 2024 (AnyRes).
Held against transformers' select_best_resolution. Leaves out: NeXT's newline tokens after each row of patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from minillm._checks import check_int, describe


def best_size(size: Sequence[int], sizes: Sequence[Sequence[int]]) -> tuple[int, int]:
    """The (height, width) of `sizes` for a picture of `size`: most pixels kept, then least room wasted."""
    height, width = size
    best, kept, wasted = None, -1, 0
    for h, w in sizes:
        scale = min(h / height, w / width)
        pixels = min(int(height * scale) * int(width * scale), height * width)  # enlarging adds nothing
        if (pixels, wasted) > (kept, h * w - pixels):
            best, kept, wasted = (h, w), pixels, h * w - pixels
    return best


def resized(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture (3, H, W) made larger or smaller, averaged over what falls together: (3, height, width)."""
    size = (height, width)
    return F.interpolate(picture[None], size, mode="bilinear", antialias=True, align_corners=False)[0]


def cut_tiles(picture: Tensor, side: int, sizes: Sequence[Sequence[int]] | None = None) -> Tensor:
    """The overview and the tiles of a picture (3, H, W), row by row: (1 + rows * columns, 3, side, side).

    sizes: the (height, width) that a picture may be brought to, multiples of `side`; by default the least grid that
    holds the picture. It keeps its shape: what the grid has more is filled with the picture's mean colour. ValueError
    for what is no picture, and for sizes that are no grid of tiles.
    """
    check_int("side", side, 1)
    if not isinstance(picture, Tensor) or picture.dim() != 3 or not picture.is_floating_point():
        raise ValueError(f"picture must be a float tensor (3, H, W), got {describe(picture)}")
    H, W = picture.shape[1:]
    if not H * W:
        raise ValueError(f"picture must have pixels, got shape {tuple(picture.shape)}")
    sizes = [(-(-H // side) * side, -(-W // side) * side)] if sizes is None else sizes
    if not sizes or any(len(one) != 2 or min(one) < side or one[0] % side or one[1] % side for one in sizes):
        raise ValueError(f"sizes must be (height, width) in multiples of {side}, got {describe(sizes)}")
    height, width = best_size((H, W), sizes)
    return overview_and_tiles(picture, side, height, width)


def overview_and_tiles(picture: Tensor, side: int, height: int, width: int) -> Tensor:
    """As `cut_tiles`, for the (height, width) that was chosen."""
    H, W = picture.shape[1:]
    scale = min(height / H, width / W)
    h, w = min(round(H * scale), height), min(round(W * scale), width)
    canvas = picture.mean(dim=(1, 2), keepdim=True).expand(-1, height, width).clone()  # (3, height, width)
    top, left = (height - h) // 2, (width - w) // 2
    canvas[:, top : top + h, left : left + w] = picture if (h, w) == (H, W) else resized(picture, h, w)
    tiles = canvas.unfold(1, side, side).unfold(2, side, side)  # (3, rows, columns, side, side)
    tiles = tiles.permute(1, 2, 0, 3, 4).flatten(0, 1)  # (rows * columns, 3, side, side)
    return torch.cat([resized(picture, side, side)[None], tiles])
