"""Absmax quantization (절댓값 최대 양자화): stretch the numbers so that the largest just fits, and round.

    scale = max|x| / (2^(bits-1) - 1)            127 for 8 bits
    code  = round(x / scale)                     a small integer
    x    ~= code * scale                         off by at most scale / 2

Zero stays zero and signs stay signs. One large number (an outlier, 이상치) makes the scale, and so the error of all
the others, large: hence a scale of its own for each row, or for each block of a row (blockwise.py).

Book: 5.1 GPU에 올라가는 데이터 살펴보기, 7.2 양자화로 모델 용량 줄이기. Paper: Dettmers et al. 2022 (LLM.int8).
Held against: the formula. Inputs with outlier columns: llm_int8.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from minillm._checks import check_int, describe

SMALLEST = torch.finfo(torch.float32).tiny  # scales below this would lose bits of their own


class AbsmaxQuantized(NamedTuple):
    """codes: int8, shape of the input; scale: float32, one number a group, broadcastable to the codes."""

    codes: Tensor
    scale: Tensor

    def dequantize(self) -> Tensor:
        """The numbers again, float32: code * scale."""
        return self.codes.float() * self.scale


def absmax_quantize(x: Tensor, bits: int = 8, axis: int | None = None) -> AbsmaxQuantized:
    """Quantize a float tensor of any shape to signed integers of `bits` (2 to 8), kept as int8.

    axis: the axis along which numbers share a scale, as in `x.amax(axis)`: -1 gives each row of a matrix its own.
    None gives the whole tensor one. Works in float32. Source: the formula on top.
    Raises ValueError for no float tensor, no numbers, inf or NaN, or an axis or bits out of range.
    """
    x = finite_floats("x", x)
    largest_code = 2 ** (check_int("bits", bits, 2, 8) - 1) - 1
    axes = tuple(range(x.ndim)) if axis is None else (check_int("axis", axis, -x.ndim, x.ndim - 1),)
    # scale = max|x| / (2^(bits-1) - 1)
    scale = x.abs().amax(dim=axes, keepdim=axis is not None) / largest_code
    scale = scale.clamp(min=SMALLEST)  # a group of zeros has scale 0, and 0 / 0 is no number
    # code = round(x / scale)
    codes = torch.round(x / scale).clamp(-largest_code, largest_code).to(torch.int8)
    return AbsmaxQuantized(codes, scale)


def finite_floats(name: str, x: Any) -> Tensor:
    """`x` as a float32 tensor; ValueError if it is no float tensor, empty, or holds what float32 cannot."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise ValueError(f"{name} must be a float tensor, got {describe(x)}")
    if x.numel() == 0:
        raise ValueError(f"{name} must hold at least one number, got {describe(x)}")
    floats = x.detach().float()
    if not torch.isfinite(floats).all():
        raise ValueError(f"{name} must hold finite float32 numbers, got inf or NaN in {describe(x)}")
    return floats
