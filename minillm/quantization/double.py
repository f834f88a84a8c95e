"""Double quantization (이중 양자화): the scales of 4-bit blocks are numbers, so they can be quantized, too.

    a float32 scale for 64 weights                32 / 64                     =  .5   bits a weight
    8 bits for it, a float32 for 256 of them       8 / 64 + 32 / (64 · 256)   =  .127

    c1 - mean(c1)  ->  8-bit codes in blocks of 256            scales are positive: the mean makes them use both signs

The 8 bits are no even steps but a small float: a sign, some zeros that count powers of ten, a one, and what is left of
the byte as a fraction: numbers down to a millionth are kept, each power of ten with half the steps of the one above it
("dynamic", 256 entries).

Book: 5.5 효율적인 학습 방법(PEFT): QLoRA, 7.2.1 비츠앤바이츠. Papers: Dettmers et al. 2023 (QLoRA), section 3; Dettmers
2016 (8-bit approximations) for the codebook. Held against bitsandbytes' compress_statistics.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from numba import njit
from torch import Tensor, nn

from minillm._checks import check_int
from minillm.quantization.absmax import finite_floats
from minillm.quantization.blockwise import BlockwiseQuantized, blockwise_quantize
from minillm.quantization.codebooks import NF4_CODEBOOK
from minillm.quantization.codes_linear import CodesLinear, FourBitLinear
from minillm.quantization.loops import QUICK, table_layer

# the checksum of the compiled files that this one calls: python -m tests.compiled_files --write
CALLED = "c4e2166b"

SCALES = 256  # scales that share a scale


def dynamic_codebook(signed: bool = True) -> Tensor:
    """float32 (256,), ascending: 0, 1, and ± the middles of 2^(e+6) steps from 10^e / 10 to 10^e, for e = -6 ... 0.

    signed=False: the bit of the sign goes to the fraction, 2^(e+7) steps, for numbers that are never negative.
    """
    values = [0.0, 1.0]
    for zeros in range(7):
        steps = torch.linspace(0.1, 1, 2 ** ((6 if signed else 7) - zeros) + 1)
        middles = 10.0**-zeros * (steps[:-1] + steps[1:]) / 2
        values += [*middles.tolist(), *((-middles).tolist() if signed else [])]
    return torch.tensor(sorted(values))


DYNAMIC = dynamic_codebook()


class DoubleQuantized(NamedTuple):
    """codes: uint8 (n,), places in `dynamic_codebook()`; scales: float32 (ceil(n / block_size),); mean: float32 ()."""

    codes: Tensor
    scales: Tensor
    mean: Tensor
    block_size: int
    shape: tuple[int, ...]

    def dequantize(self) -> Tensor:
        """The scales again, float32 of their shape: mean + codebook[code] · scale of its block."""
        flat = (self.codes, self.scales, DYNAMIC.to(self.codes.device), self.block_size, self.codes.shape)
        return (BlockwiseQuantized(*flat).dequantize() + self.mean).view(self.shape)


def double_quantize(scales: Tensor, block_size: int = SCALES) -> DoubleQuantized:
    """Quantize the scales of blocks, a float tensor of any shape, with 8 bits in blocks of `block_size`, row by row.

    ValueError for no float tensor, no numbers, inf or NaN, or a block_size below 1.
    """
    check_int("block_size", block_size, 1)
    scales = finite_floats("scales", scales)
    mean = scales.mean()
    found = blockwise_quantize(scales.flatten() - mean, block_size, DYNAMIC)
    return DoubleQuantized(found.codes, found.scales, mean, block_size, tuple(scales.shape))


class DoubleQuantLinear(FourBitLinear):
    """`FourBitLinear` whose scales stay codes, in memory and in a file, and are opened at every call.

    Buffers: codes and codebook as there; scale_codes uint8 (n,), scale_scales float32 and mean float32 ().
    """

    parts = ("codes",)
    scale_codes: Tensor
    scale_scales: Tensor
    mean: Tensor

    def __init__(self, quantized: BlockwiseQuantized, scales: DoubleQuantized, bias: Tensor | None = None):
        super(CodesLinear, self).__init__(quantized.shape[1], quantized.shape[0], bias)
        self.block_size = self.group = quantized.block_size
        self.register_buffer("codes", quantized.codes)
        self.register_buffer("codebook", quantized.codebook.clone())
        self.register_buffer("scale_codes", scales.codes)
        self.register_buffer("scale_scales", scales.scales)
        self.register_buffer("mean", scales.mean)
        self.lay_out()

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, block_size: int = 64, codebook: Tensor = NF4_CODEBOOK
    ) -> DoubleQuantLinear:
        """The layer with the weights of `linear`, rounded to a codebook of at most 16 entries."""
        single = FourBitLinear.from_linear(linear, block_size, codebook)
        codes, scales = single.rows()
        shape = (single.out_features, single.in_features)
        blocks = BlockwiseQuantized(codes, scales, codebook, block_size, shape)
        return cls(blocks, double_quantize(scales), linear.bias)

    @property
    def scales(self) -> Tensor:
        """The scales of the blocks, opened: float32 (O, ceil(I / block_size))."""
        shape = (self.out_features, -(-self.in_features // self.block_size))
        parts = (self.scale_codes, self.scale_scales.float(), self.mean.float())
        return DoubleQuantized(*parts, SCALES, shape).dequantize()

    def rows(self) -> tuple[Tensor, ...]:
        return (*super().rows(), self.scales)

    def has_loops(self) -> bool:
        held = self._buffers
        return (
            held["codes"].ndim == 3
            and len(held["codebook"]) == 16
            and self.scale_scales.dtype == torch.float32
        )

    def few_rows(self, x: Tensor, y: Tensor, count: int) -> None:
        blocks, half, side = self.codes.shape
        scales = torch.empty(blocks, -(-self.in_features // self.block_size), side)
        parts = (self.scale_codes, self.scale_scales, self.mean.view(1), DYNAMIC, scales)
        open_scales(*(part.numpy() for part in parts))
        where = (self.codes.data_ptr(), scales.data_ptr(), self.codebook.data_ptr())
        sizes = ((blocks, half, side), scales.shape[1], self.group_bytes, self.out_features)
        table_layer(*where, *sizes, x.data_ptr(), y.data_ptr(), count)

    def many_rows(self, x: Tensor) -> Tensor:
        return super(CodesLinear, self).many_rows(x)


@njit(**QUICK)
def open_scales(codes, scales, mean, codebook, opened):  # pragma: no cover
    """opened (B, G, R) = `dequantize` with rows side by side, as the loops of a layer read them."""
    B, G, R = opened.shape
    for b in range(B):
        for r in range(R):
            for g in range(G):
                n = (b * R + r) * G + g  # scales were taken row by row
                known = n < codes.size  # rows that are missing in the last block are zeros
                opened[b, g, r] = codebook[codes[n]] * scales[n // SCALES] + mean[0] if known else 0
