"""The shipped configurations of the quantized products: every branch of their settings() functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.int8_matmul import int8_matmul, quantize_rows
from kernels.measure.compile_ahead import Case
from kernels.w4a16 import w4a16_matmul
from kernels.w4a16_gemv import w4a16_gemv

HALF, BF16, FP32 = torch.float16, torch.bfloat16, torch.float32


def four_bit(
    product: Callable[..., Tensor], M: int, I: int, group_size: int, kind: str, dtype=BF16, bias: bool = False
) -> Callable[[], Tensor]:
    """A call of a W4A16 product with 8192 output features; kind: "symmetric", "zeros" or "codebook"."""

    def call() -> Tensor:
        O = 8192
        packed = torch.zeros(O, I // 2, dtype=torch.uint8)
        scales = torch.zeros(O, -(-I // group_size))
        zeros = torch.zeros_like(scales) if kind == "zeros" else None
        codebook = torch.zeros(16) if kind == "codebook" else None
        added = torch.zeros(O, dtype=dtype) if bias else None
        return product(torch.zeros(M, I, dtype=dtype), packed, scales, group_size, zeros, codebook, added)

    return call


GEMV = [
    (1, 4096, 128, "symmetric", BF16, False),
    (1, 4096, 64, "codebook", BF16, True),
    (2, 11008, 128, "zeros", HALF, False),  # widths that no block divides: masks
    (1, 14336, 32, "symmetric", BF16, False),
    (1, 768, 16, "symmetric", BF16, True),  # two groups in 16 bytes
    (1, 768, 768, "zeros", FP32, False),
]
MATMUL = [  # each with its merge where the columns are shared
    (8, 4096, 128, "symmetric", BF16, True),
    (8, 4096, 64, "codebook", BF16, False),
    (32, 4096, 32, "zeros", HALF, True),
    (64, 11008, 128, "symmetric", BF16, False),
    (64, 11008, 64, "codebook", BF16, True),
    (128, 4096, 128, "symmetric", BF16, True),
    (4096, 4096, 128, "symmetric", BF16, False),
    (4096, 4096, 64, "codebook", BF16, True),
    (4096, 4096, 32, "zeros", HALF, False),
    (4096, 4000, 16, "zeros", BF16, False),  # masks: 64 does not divide 4000
    (4096, 4096, 48, "symmetric", BF16, False),  # tiles of 16 columns
    (64, 768, 768, "zeros", FP32, True),
]


def cases(name: str, product: Callable[..., Tensor], works: list[tuple], dots: bool) -> list[Case]:
    """A case of a 4-bit product for each (M, I, group size, kind, dtype, with bias)."""
    return [
        Case(f"{name} {kind} M {M} I {I} group {group} {str(dtype)[6:]}",
             four_bit(product, M, I, group, kind, dtype, bias), dots=dots)
        for M, I, group, kind, dtype, bias in works
    ]  # fmt: skip


def int8(M: int, I: int, dtype: torch.dtype, bias: bool) -> Callable[[], Tensor]:
    """A call of `int8_matmul` for M rows and 8,192 outputs."""

    def call() -> Tensor:
        O = 8192
        a, b = torch.zeros(M, I, dtype=torch.int8), torch.zeros(O, I, dtype=torch.int8)
        added = torch.zeros(O, dtype=dtype) if bias else None
        return int8_matmul(a, b, torch.zeros(M), torch.zeros(O), added, dtype)

    return call


INT8 = [(1, 4096, BF16, True), (64, 4000, HALF, False), (256, 4096, BF16, False)]
INT8 += [(4096, 4096, BF16, True), (4096, 4000, FP32, False)]  # 128 does not divide 4000: masks
ROWS = [(768, BF16), (4096, BF16), (4096, FP32), (16384, HALF), (28672, BF16)]

CASES = [
    Case(f"int8_matmul M {M} I {I} {str(dtype)[6:]}", int8(M, I, dtype, bias), dots=True)
    for M, I, dtype, bias in INT8
]
CASES += [
    Case(f"quantize_rows {width} {str(dtype)[6:]}", lambda w=width, d=dtype: quantize_rows(torch.zeros(64, w, dtype=d)))
    for width, dtype in ROWS
]  # fmt: skip
CASES += cases("w4a16_gemv", w4a16_gemv, GEMV, False) + cases("w4a16_matmul", w4a16_matmul, MATMUL, True)
