"""A linear layer of codes with a scale and a zero point a group: what rounding, GPTQ and AWQ leave behind.

    y_o = Σ over groups g of scale_og · Σ_i (code_oi - zero_og) · x_i

Codes of 2 to 4 bits take half a byte (3 bits save no memory here, only a file could pack them closer), 5 to 8 a byte.

Book: 7.2 양자화로 모델 용량 줄이기. Held against a float layer with the dequantized weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from minillm._kernels import Kernel, register
from minillm.quantization.groups import Grid, GroupQuantized, round_to_nearest
from minillm.quantization.linear import QuantizedLinear, by_torch, kernel_takes
from minillm.quantization.packing import pack_codes, unpack_codes


class GroupLinear(QuantizedLinear):
    """Buffers: codes uint8 (O, ceil(I / 2)) two a byte, or (O, I) for more than 4 bits; scales float32 (O, groups),
    zeros uint8 (O, groups)."""

    codes: Tensor
    scales: Tensor
    zeros: Tensor
    product: Kernel

    def __init__(self, quantized: GroupQuantized, bias: Tensor | None = None) -> None:
        codes, grid = quantized
        super().__init__(codes.shape[1], codes.shape[0], bias)
        self.bits, self.group_size = grid.bits, grid.group_size
        self.register_buffer("codes", pack_codes(codes) if grid.bits <= 4 else codes)
        self.register_buffer("scales", grid.scales)
        self.register_buffer("zeros", grid.zeros)

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, bits: int = 4, group_size: int = 128, symmetric: bool = False
    ) -> Any:
        """The layer with the weights of `linear`, each rounded to the nearest code."""
        return cls(round_to_nearest(linear.weight, bits, group_size, symmetric), linear.bias)

    def dequantize(self) -> Tensor:
        codes = unpack_codes(self.codes, self.in_features) if self.bits <= 4 else self.codes
        return Grid(self.scales, self.zeros, self.bits, self.group_size).numbers(codes)

    def few_rows(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.dequantize())

    def kernel_fits(self) -> bool:
        whole = self.group_size % 16 == 0 or self.group_size >= self.in_features
        return self.bits <= 4 and self.in_features % 2 == 0 and whole

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bits={self.bits}, group_size={self.group_size}"


def _kernel(kernel: Callable[..., Tensor], x: Tensor, layer: GroupLinear) -> Tensor:
    scales = layer.scales if layer.scales.dtype == x.dtype else layer.scales.float()
    return kernel(x, layer.codes, scales, layer.group_size, zeros=layer.zeros, bias=layer.bias)


GroupLinear.product = register(
    "w4a16_zeros", "kernels.w4a16:w4a16_linear", kernel_takes, by_torch, _kernel, auto=True
)
