"""Linear layers of 4-bit codes with scales for groups of columns: a codebook (NF4), or even codes and zero points.

    FourBitLinear    y_o = Σ over groups g of scale_og · Σ_i codebook[code_oi] · x_i
    GroupLinear      y_o = Σ over groups g of scale_og · Σ_i (code_oi - zero_og) · x_i       rounding, GPTQ, AWQ

Where codes lie in memory depends on who reads them. A GPU's kernels take a row's codes together (packing.py). On a CPU
rows stand side by side (loops.py): the same bytes in another order, changed when a layer moves. GroupLinear has codes
of 2 to 4 bits in half a byte (3 bits save no memory here), and 5 to 8 bits in a byte, which are only dequantized.

Book: 5.5 QLoRA, 7.2 양자화로 모델 용량 줄이기. Papers: Dettmers et al. 2023 (QLoRA), Frantar et al. 2022 (GPTQ).
Held against: a float layer with the dequantized weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from minillm._kernels import register
from minillm.quantization.blockwise import BlockwiseQuantized, blockwise_quantize
from minillm.quantization.codebooks import NF4_CODEBOOK
from minillm.quantization.groups import Grid, GroupQuantized, round_to_nearest
from minillm.quantization.linear import TILE, QuantizedLinear, by_torch, kernel_takes, tile_product
from minillm.quantization.loops import (
    even_layer,
    in_rows,
    side_by_side,
    table_layer,
    unpack_even,
    unpack_table,
)
from minillm.quantization.packing import pack_codes, unpack_codes

Self = TypeVar("Self", bound="CodesLinear")


class CodesLinear(QuantizedLinear):
    """What both share. Buffers `parts` are (O, n), or on a CPU (B, n, R): R rows side by side in each of B blocks."""

    parts: tuple[str, ...]
    codes: Tensor
    scales: Tensor
    group: int  # columns that share a scale

    @property
    def group_bytes(self) -> int:
        """Bytes of a row's codes that share a scale."""
        return min(self.group, self.in_features) // 2

    def rows(self) -> tuple[Tensor, ...]:
        """`parts` with a row's numbers together, (O, n), as a GPU's kernels and packing.py have them."""
        held = (getattr(self, name) for name in self.parts)
        return tuple(part if part.ndim == 2 else in_rows(part, self.out_features) for part in held)

    def lay_out(self: Self) -> Self:
        """Put the codes in the order of the device that the layer is on; returns the layer."""
        whole = self.in_features % 8 == 0 and (self.group % 8 == 0 or self.group >= self.in_features)
        side = whole and self.half_bytes() and self.scales.device.type == "cpu"
        if side == (self.codes.ndim == 3):
            return self
        for name, part in zip(self.parts, self.rows()):
            setattr(self, name, side_by_side(part) if side else part)
        return self

    def half_bytes(self) -> bool:
        """Whether two codes share a byte."""
        return True

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        return super()._apply(fn, recurse).lay_out()

    def has_loops(self) -> bool:
        held = self._buffers  # the short way to a buffer: this is asked for every token
        return held["codes"].ndim == 3 and held["scales"].dtype == torch.float32

    def at(self, *names: str) -> tuple[Any, ...]:
        """Addresses of the named buffers and what the loops want to know of them."""
        held = self._buffers
        shape, groups = tuple(held["codes"].shape), held["scales"].shape[1]
        addresses = [held[name].data_ptr() for name in names]
        return (*addresses, shape, groups, self.group_bytes, self.out_features)

    def unpack(self, block: int, weight: Tensor, at: int) -> None:
        """weight[:, at : at + R], of a tensor with I rows, = the weights of a block of rows side by side."""
        raise NotImplementedError

    def many_rows(self, x: Tensor) -> Tensor:
        blocks, _, side = self.codes.shape
        y = torch.empty(len(x), blocks * side)
        for start in range(0, blocks * side, TILE):
            # a tile of its own width: oneDNN takes no view of a wider one, except by a loop 500 times as slow
            weight = torch.empty(self.in_features, min(TILE, blocks * side - start))
            for at in range(0, weight.shape[1], side):
                self.unpack((start + at) // side, weight, at)
            y[:, start : start + TILE] = tile_product(x, weight.T)
        return y if blocks * side == self.out_features else y[:, : self.out_features].contiguous()


class FourBitLinear(CodesLinear):
    """4 bits a weight and a float32 scale a block of `block_size`.

    Buffers: codes uint8 (O, ceil(I / 2)) and scales float32 (O, ceil(I / block_size)), or side by side;
    codebook float32 (16,).
    """

    parts = ("codes", "scales")
    codebook: Tensor

    def __init__(self, quantized: BlockwiseQuantized, bias: Tensor | None = None) -> None:
        super().__init__(quantized.shape[1], quantized.shape[0], bias)
        self.block_size = self.group = quantized.block_size
        self.register_buffer("codes", quantized.codes)
        self.register_buffer("scales", quantized.scales)
        self.register_buffer("codebook", quantized.codebook.clone())
        self.lay_out()

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, block_size: int = 64, codebook: Tensor = NF4_CODEBOOK
    ) -> FourBitLinear:
        """The layer with the weights of `linear`, rounded to the codebook of at most 16 entries."""
        if len(codebook) > 16:
            raise ValueError(f"4 bits count to 16, got a codebook of {len(codebook)}")
        return cls(blockwise_quantize(linear.weight, block_size, codebook), linear.bias)

    def kernel_fits(self) -> bool:
        whole = self.block_size % 16 == 0 or self.block_size >= self.in_features
        return self.in_features % 2 == 0 and whole and len(self.codebook) == 16

    def has_loops(self) -> bool:
        return super().has_loops() and len(self.codebook) == 16 and self.codebook.dtype == torch.float32

    def dequantize(self) -> Tensor:
        shape = (self.out_features, self.in_features)
        return BlockwiseQuantized(*self.rows(), self.codebook, self.block_size, shape).dequantize()

    def few_rows(self, x: Tensor, y: Tensor, count: int) -> None:
        table_layer(*self.at("codes", "scales", "codebook"), x.data_ptr(), y.data_ptr(), count)

    def unpack(self, block: int, weight: Tensor, at: int) -> None:
        arrays = self.codes.numpy(), self.scales.numpy(), self.codebook.numpy()
        unpack_table(*arrays, self.group_bytes, block, weight.numpy(), at)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, block_size={self.block_size}"


class GroupLinear(CodesLinear):
    """Codes of `bits` with a scale and a zero point for every `group_size` columns of a row.

    Buffers: codes uint8 (O, ceil(I / 2)), or (O, I) for more than 4 bits; scales float32 and zeros uint8 (O, groups);
    or side by side.
    """

    parts = ("codes", "scales", "zeros")
    zeros: Tensor

    def __init__(self, quantized: GroupQuantized, bias: Tensor | None = None) -> None:
        codes, grid = quantized
        super().__init__(codes.shape[1], codes.shape[0], bias)
        self.bits, self.group_size = grid.bits, grid.group_size
        self.group = grid.group_size
        self.register_buffer("codes", pack_codes(codes) if grid.bits <= 4 else codes)
        self.register_buffer("scales", grid.scales)
        self.register_buffer("zeros", grid.zeros)
        self.lay_out()

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, bits: int = 4, group_size: int = 128, symmetric: bool = False
    ) -> GroupLinear:
        """The layer with the weights of `linear`, each rounded to the nearest code."""
        return cls(round_to_nearest(linear.weight, bits, group_size, symmetric), linear.bias)

    def half_bytes(self) -> bool:
        return self.bits <= 4

    def kernel_fits(self) -> bool:
        whole = self.group_size % 16 == 0 or self.group_size >= self.in_features
        return self.bits <= 4 and self.in_features % 2 == 0 and whole

    def dequantize(self) -> Tensor:
        codes, scales, zeros = self.rows()
        codes = unpack_codes(codes, self.in_features) if self.bits <= 4 else codes
        return Grid(scales.float(), zeros, self.bits, self.group_size).numbers(codes)

    def few_rows(self, x: Tensor, y: Tensor, count: int) -> None:
        even_layer(*self.at("codes", "scales", "zeros"), x.data_ptr(), y.data_ptr(), count)

    def unpack(self, block: int, weight: Tensor, at: int) -> None:
        arrays = self.codes.numpy(), self.scales.numpy(), self.zeros.numpy()
        unpack_even(*arrays, self.group_bytes, block, weight.numpy(), at)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bits={self.bits}, group_size={self.group_size}"


def _scales_for(x: Tensor, scales: Tensor) -> Tensor:
    return scales if scales.dtype == x.dtype else scales.float()


def _codebook_kernel(kernel: Callable[..., Tensor], x: Tensor, layer: FourBitLinear) -> Tensor:
    codes, scales = layer.rows()
    given: dict[str, Any] = {"codebook": layer.codebook.float(), "bias": layer.bias}
    return kernel(x, codes, _scales_for(x, scales), layer.block_size, **given)


def _zeros_kernel(kernel: Callable[..., Tensor], x: Tensor, layer: GroupLinear) -> Tensor:
    codes, scales, zeros = layer.rows()
    return kernel(x, codes, _scales_for(x, scales), layer.group_size, zeros=zeros, bias=layer.bias)


W4A16 = "kernels.w4a16:w4a16_linear"
FourBitLinear.product = register("w4a16_linear", W4A16, kernel_takes, by_torch, _codebook_kernel, auto=True)
GroupLinear.product = register("w4a16_zeros", W4A16, kernel_takes, by_torch, _zeros_kernel, auto=True)
