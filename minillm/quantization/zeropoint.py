"""Zero-point quantization (영점 양자화): use all codes when the numbers lie to one side of zero.

    scale = (max - min) / (2^bits - 1)           255 for 8 bits; min <= 0 <= max
    zero  = round(-min / scale)                  the code that means 0
    code  = round(x / scale) + zero              cut to 0 ... 2^bits - 1
    x    ~= (code - zero) * scale                off by at most scale / 2

Absmax on the output of a ReLU never uses its negative codes, half of all; this does not waste them.
The range is stretched to include 0, so that zero (padding, a ReLU at rest) has an exact code.

Book: 5.1 GPU에 올라가는 데이터 살펴보기, 7.2 양자화로 모델 용량 줄이기. Paper: Jacob et al. 2018.
Held against: torch.fake_quantize_per_tensor_affine on the same scale and zero point.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from minillm._checks import check_int
from minillm.quantization.absmax import SMALLEST, finite_floats


class ZeropointQuantized(NamedTuple):
    """codes: uint8, shape of the input; scale: float32 and zero_point: int32, one a group, broadcastable."""

    codes: Tensor
    scale: Tensor
    zero_point: Tensor

    def dequantize(self) -> Tensor:
        """The numbers again, float32: (code - zero) * scale; within half a step of its end float32 may overflow."""
        return (self.codes.float() - self.zero_point) * self.scale


def zeropoint_quantize(x: Tensor, bits: int = 8, axis: int | None = None) -> ZeropointQuantized:
    """Quantize a float tensor of any shape to unsigned integers of `bits` (2 to 8), kept as uint8.

    axis: the axis along which numbers share a scale, as in `x.amax(axis)`; None gives the whole tensor one.
    Works in float32. Source: the formula on top.
    Raises ValueError for no float tensor, no numbers, inf or NaN, or an axis or bits out of range.
    """
    x = finite_floats("x", x)
    largest_code = 2 ** check_int("bits", bits, 2, 8) - 1
    axes = tuple(range(x.ndim)) if axis is None else (check_int("axis", axis, -x.ndim, x.ndim - 1),)
    low = x.amin(dim=axes, keepdim=axis is not None).clamp(max=0)
    high = x.amax(dim=axes, keepdim=axis is not None).clamp(min=0)
    # scale = (max - min) / (2^bits - 1), divided first: max - min may be too large for float32
    scale = (high / largest_code - low / largest_code).clamp(min=SMALLEST)
    # zero = round(-min / scale)
    zero_point = torch.round(-low / scale).clamp(0, largest_code)
    # code = round(x / scale) + zero
    codes = (torch.round(x / scale) + zero_point).clamp(0, largest_code).to(torch.uint8)
    return ZeropointQuantized(codes, scale, zero_point.to(torch.int32))
