"""A picture as a text: cut into patches, each of them a vector with its place.

    patch (P x P x 3 numbers) -> W patch + b        a linear layer on each patch = a convolution of stride P

Book 14.1.1 멀티 모달 LLM의 구성요소. Papers: Dosovitskiy et al. 2021 (patches); Xiao et al. 2021 (a stem);
He et al. 2022 (sin-cos in two dimensions). Held against transformers' ViTPatchEmbeddings.
Left out: patches that overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minillm._checks import check_int, describe


def cut_patches(pictures: Tensor, patch: int) -> Tensor:
    """Pictures (B, C, H, W) -> patches (B, N, C·P·P), row by row from the top left; as pixels, not yet vectors."""
    check_int("patch", patch, 1)
    if pictures.dim() != 4 or pictures.shape[2] % patch or pictures.shape[3] % patch:
        raise ValueError(
            f"pictures must be (B, C, H, W) with sides divisible by {patch}, got {describe(pictures)}"
        )
    B, C, H, W = pictures.shape
    x = pictures.reshape(B, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * patch * patch)  # (B, N, C·P·P)


def embed_patches_plain(pictures: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Pictures (B, C, H, W) and a convolution's weight (D, C, P, P) -> (B, N, D), by cutting and one product."""
    out = cut_patches(pictures, weight.shape[-1]) @ weight.flatten(1).T
    return out if bias is None else out + bias


class PatchEmbedding(nn.Module):
    """Pictures (B, C, H, W) -> (B, N, D): embed_patches_plain as one convolution of stride P, in one pass."""

    def __init__(self, channels: int, width: int, patch: int, bias: bool = True):
        super().__init__()
        self.patch = patch
        self.projection = nn.Conv2d(channels, width, patch, patch, bias=bias)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, D)."""
        return self.projection(pictures).flatten(2).mT


class ConvolutionalStem(nn.Module):
    """The same by convolutions of 3 x 3 and stride 2 with ReLU: widths (24, 48) shrink the picture by 4."""

    def __init__(self, channels: int, widths: Sequence[int]):
        super().__init__()
        self.patch = 2 ** len(widths)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise((channels, *widths))
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, D)."""
        x = pictures
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x.flatten(2).mT


def sincos_positions(rows: int, columns: int, width: int) -> Tensor:
    """(rows · columns, width): sines and cosines of the row in the first half, of the column in the second."""
    check_int("rows", rows, 1), check_int("columns", columns, 1), check_int("width", width, 4)
    if width % 4:
        raise ValueError(f"width must be divisible by 4 for sines and cosines of two places, got {width}")
    frequency = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    parts = []
    for place in (row, column):
        angle = place.reshape(-1, 1) * frequency  # (N, D/4)
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, 1).float()


def interpolate_positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """A square table of places (N, D) stretched to another board, (rows · columns, D), by bicubic interpolation."""
    side = round(len(table) ** 0.5)
    if side * side != len(table):
        raise ValueError(f"table must hold the places of a square board, got {len(table)} of them")
    board = table.reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, D, √N, √N)
    out = F.interpolate(board, size=(rows, columns), mode="bicubic", align_corners=False)
    return out.permute(0, 2, 3, 1).reshape(rows * columns, -1)


class PatchedConfig:
    """What the configs of ViT and of CLIP's vision tower share: a stem, and the house's names of some fields."""

    hidden_size: int
    num_hidden_layers: int
    patch_size: int
    stem_widths: list[int] | None

    def _check_stem(self) -> None:
        """ValueError unless stem_widths is None, or widths whose strides of 2 make one token of a patch."""
        if self.stem_widths is None:
            return
        if not isinstance(self.stem_widths, (list, tuple)) or not self.stem_widths:
            raise ValueError(f"stem_widths must be a list of widths, got {describe(self.stem_widths)}")
        for width in self.stem_widths:
            check_int("every one of stem_widths", width, 1)
        if 2 ** len(self.stem_widths) != self.patch_size or self.stem_widths[-1] != self.hidden_size:
            raise ValueError(
                f"stem_widths must be log2(patch_size) widths that end with hidden_size, got {self.stem_widths} "
                f"for patch_size {self.patch_size} and hidden_size {self.hidden_size}"
            )

    @property
    def num_layers(self) -> int:
        """Blocks."""
        return self.num_hidden_layers

    @property
    def most_layers(self) -> int:
        """Blocks, or layers of the stem."""
        return max(self.num_hidden_layers, len(self.stem_widths or ()))

    @property
    def width(self) -> int:
        """Width of the tower, D."""
        return self.hidden_size
