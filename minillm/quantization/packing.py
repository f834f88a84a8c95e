"""How 4-bit codes lie in memory: two codes a byte. This is the one place that says so; everything else calls it.

    byte j of a row  =  code[2j] * 16  +  code[2j + 1]        the earlier code in the high half
    row of n codes   ->  ceil(n / 2) bytes; the low half after an odd last code is 0

Rows (the last axis) are packed on their own, so that a row of a weight matrix starts at a byte. The order within a
byte is bitsandbytes' order. The scales of a row of n numbers in blocks of g are ceil(n / g) float32 numbers, block
by block; a block never runs into the next row (blockwise.py).

    codes [1, 2, 15]  ->  bytes [0x12, 0xF0]

Book: 5.5 효율적인 학습 방법(PEFT): QLoRA, 7.2 양자화로 모델 용량 줄이기.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minillm._checks import check_int, describe


def pack_codes(codes: Tensor) -> Tensor:
    """(..., n) uint8 codes from 0 to 15 -> (..., ceil(n / 2)) uint8. ValueError for other dtypes or codes."""
    if not isinstance(codes, Tensor) or codes.dtype != torch.uint8 or codes.ndim == 0:
        raise ValueError(f"codes must be a uint8 tensor of at least one axis, got {describe(codes)}")
    if codes.numel() and codes.max() > 15:
        raise ValueError(f"4-bit codes lie between 0 and 15, got {codes.max()}")
    high, low = codes[..., 0::2], codes[..., 1::2]
    packed = high << 4
    packed[..., : low.shape[-1]] |= low
    return packed


def unpack_codes(packed: Tensor, length: int) -> Tensor:
    """(..., ceil(length / 2)) uint8 -> (..., length) uint8 codes. ValueError if the sizes do not belong together."""
    if not isinstance(packed, Tensor) or packed.dtype != torch.uint8 or packed.ndim == 0:
        raise ValueError(f"packed codes must be a uint8 tensor of at least one axis, got {describe(packed)}")
    check_int("length", length, 0)
    if packed.shape[-1] != (length + 1) // 2:
        raise ValueError(f"{length} codes take {(length + 1) // 2} bytes a row, got {packed.shape[-1]}")
    return torch.stack([packed >> 4, packed & 15], dim=-1).flatten(-2)[..., :length]
