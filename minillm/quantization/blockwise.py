"""Block-wise quantization (블록 단위 양자화): a scale of its own for every few numbers, and 4 bits for each.

    scale_b = max|x| over block b
    code    = the nearest entry of the codebook to x / scale_b
    x      ~= codebook[code] * scale_b           off by at most scale_b * (widest gap of the codebook) / 2

An outlier now spoils its block only. A scale takes 32 bits, so blocks of 64 cost half a bit a number: 4.5 in all.
Blocks run along the last axis and never across rows; how codes and scales lie in memory: packing.py.

Book: 5.5 효율적인 학습 방법(PEFT): QLoRA, 7.2 양자화로 모델 용량 줄이기. Paper: Dettmers et al. 2023 (QLoRA).
Held against: the formula on every block, and bitsandbytes' NF4. The scales quantized, too: double.py.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from minillm._checks import check_int, describe
from minillm.quantization.absmax import SMALLEST, finite_floats
from minillm.quantization.codebooks import NF4_CODEBOOK
from minillm.quantization.packing import pack_codes, unpack_codes


class BlockwiseQuantized(NamedTuple):
    """A tensor in blocks.

    codes: uint8, packed two a byte on the last axis for codebooks of at most 16 entries, else one a byte;
    scales: float32 (..., blocks); codebook: float32 (2^bits,); block_size and the shape of the original.
    """

    codes: Tensor
    scales: Tensor
    codebook: Tensor
    block_size: int
    shape: tuple[int, ...]

    def dequantize(self) -> Tensor:
        """The numbers again, float32 of the original shape: codebook[code] * scale of its block."""
        length = self.shape[-1] if self.shape else 1
        codes = unpack_codes(self.codes, length) if len(self.codebook) <= 16 else self.codes
        scales = self.scales.repeat_interleave(min(self.block_size, length), dim=-1)[..., :length]
        return (self.codebook[codes.int()] * scales).reshape(self.shape)


def blockwise_quantize(
    x: Tensor, block_size: int = 64, codebook: Tensor = NF4_CODEBOOK
) -> BlockwiseQuantized:
    """Quantize a float tensor of any shape in blocks of `block_size` along its last axis; the last may be short.

    codebook: ascending float values, 2 to 256 of them, usually from -1 to 1. Works in float32. Numbers midway
    between two entries go to the lower one. Source: the formula on top.
    Raises ValueError for no float tensor, no numbers, inf or NaN, a block_size below 1, or a bad codebook.
    """
    x = finite_floats("x", x)
    check_int("block_size", block_size, 1)
    codebook = _checked_codebook(codebook).to(x.device)
    shape = tuple(x.shape)
    rows = x.reshape(*shape[:-1], shape[-1]) if shape else x.reshape(1)  # (..., n)
    size = min(block_size, rows.shape[-1])  # a block that is longer than its row ends with it
    padded = torch.nn.functional.pad(rows, (0, -rows.shape[-1] % size))
    blocks = padded.unflatten(-1, (-1, size))  # (..., blocks, size)
    # scale_b = max|x| over block b
    scales = blocks.abs().amax(dim=-1).clamp(min=SMALLEST)  # (..., blocks)
    # nearest entry: the middles between neighbours are the borders
    borders = (codebook[1:] + codebook[:-1]) / 2
    codes = torch.bucketize((blocks / scales[..., None]).flatten(-2), borders)[..., : rows.shape[-1]]
    codes = codes.to(torch.uint8)
    packed = pack_codes(codes) if len(codebook) <= 16 else codes
    return BlockwiseQuantized(packed, scales, codebook, block_size, shape)


def _checked_codebook(codebook: Tensor) -> Tensor:
    codebook = finite_floats("codebook", codebook)
    if codebook.ndim != 1 or not 2 <= len(codebook) <= 256 or (codebook.diff() < 0).any():
        raise ValueError(f"codebook must be 2 to 256 ascending numbers, got {describe(codebook)}")
    return codebook
