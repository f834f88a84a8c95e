"""Rounding to the nearest code in groups (반올림 양자화, RTN): a scale and a zero point for every few columns of a row.

    asymmetric    scale = (max - min) / (2^b - 1),  zero = round(-min / scale)      min <= 0 <= max
    symmetric     scale = 2 max|w| / (2^b - 1),     zero = 2^(b-1)
    code = round(w / scale) + zero, cut to 0 ... 2^b - 1;       w ~= (code - zero) · scale

This is the grid on which GPTQ and AWQ work, and the method that both have to beat. A zero point costs one byte a
group and makes all codes count where the weights of a group lie to one side.

Book: 7.2 양자화로 모델 용량 줄이기. Paper: Frantar et al. 2022 (GPTQ), section 4, whose grid this is.
Held against: zeropoint_quantize, group by group.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from minillm._checks import check_flag, check_int
from minillm.quantization.absmax import SMALLEST, finite_floats


class Grid(NamedTuple):
    """Where the codes of a weight (O, I) lie: scales float32 and zeros uint8, both (O, groups)."""

    scales: Tensor
    zeros: Tensor
    bits: int
    group_size: int

    def round(self, weight: Tensor, first: int = 0) -> Tensor:
        """The nearest codes, uint8, of the columns from `first` on: weight (O, n) -> (O, n)."""
        scales, zeros = self._of_columns(first, weight.shape[1])
        # code = round(w / scale) + zero
        return (torch.round(weight / scales) + zeros).clamp(0, 2**self.bits - 1).to(torch.uint8)

    def numbers(self, codes: Tensor, first: int = 0) -> Tensor:
        """What the codes (O, n) of the columns from `first` on stand for, in the dtype of the scales."""
        scales, zeros = self._of_columns(first, codes.shape[1])
        return (codes.to(scales.dtype) - zeros) * scales

    def _of_columns(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        group = torch.arange(first, first + count, device=self.scales.device) // self.group_size
        return self.scales[:, group], self.zeros[:, group]


class GroupQuantized(NamedTuple):
    """codes: uint8 (O, I), one a byte; grid: what they stand for."""

    codes: Tensor
    grid: Grid

    def dequantize(self) -> Tensor:
        """The numbers again, float32 (O, I): (code - zero) · scale."""
        return self.grid.numbers(self.codes)


def fit_grid(weight: Tensor, bits: int, group_size: int, symmetric: bool = False) -> Grid:
    """The grid of a float weight (O, I), each group's own; the last group of a row may be short."""
    width = weight.shape[1]
    # zeros beyond the end change no group: min <= 0 <= max anyway
    groups = torch.nn.functional.pad(weight, (0, -width % group_size)).unflatten(1, (-1, group_size))
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    top = 2**bits - 1
    if symmetric:
        scales = (torch.maximum(high, -low) / top * 2).clamp(min=SMALLEST)
        return Grid(scales, torch.full_like(scales, 2 ** (bits - 1)).to(torch.uint8), bits, group_size)
    scales = (high / top - low / top).clamp(min=SMALLEST)
    return Grid(scales, torch.round(-low / scales).clamp(0, top).to(torch.uint8), bits, group_size)


def round_to_nearest(
    weight: Tensor, bits: int = 4, group_size: int = 128, symmetric: bool = False
) -> GroupQuantized:
    """Quantize a weight (O, I) with `bits` (2 to 8) a number and a scale for every `group_size` columns of a row.

    Works in float32. ValueError for no float matrix, inf or NaN, or bits or a group_size out of range.
    """
    weight = finite_matrix("weight", weight)
    check_int("bits", bits, 2, 8), check_int("group_size", group_size, 1), check_flag("symmetric", symmetric)
    grid = fit_grid(weight, bits, min(group_size, weight.shape[1]), symmetric)
    return GroupQuantized(grid.round(weight), grid)


def finite_matrix(name: str, x: Tensor) -> Tensor:
    """A float tensor of two axes as float32; ValueError otherwise."""
    x = finite_floats(name, x)
    if x.ndim != 2:
        raise ValueError(f"{name} must be a matrix, got shape {tuple(x.shape)}")
    return x


def check_mean_of_products(name: str, H: Tensor) -> None:
    """ValueError for a square matrix (I, I) that can be no mean of x xᵀ: not symmetric, or a negative diagonal."""
    H = H.detach().double()
    close = torch.allclose(H, H.T, rtol=1e-3, atol=1e-6 * H.abs().max().item())
    if not close or (H.diagonal() < 0).any():
        raise ValueError(f"{name} must be symmetric with no negative number on its diagonal")
