"""Rows of floats to int8 codes (행 단위 절댓값 최대 양자화), in one pass over memory.

    scale_m = max_i |x_mi| / 127        code_mi = round(x_mi / scale_m)        x_mi ~= code_mi · scale_m

Unfused, the magnitudes, their maximum, the quotient, its rounding and the cast each read the tensor and write one.
Fused, a row is read once, stays in registers, and leaves as codes: 3 bytes a bfloat16 number instead of about 25.

Book 7.2 양자화로 모델 용량 줄이기. Paper: Dettmers et al. 2022 (LLM.int8: a scale a row of the activations). Held
against minillm.quantization.absmax_quantize, bit for bit. Leaves out: fewer bits than 8, and a scale a block.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import INTERPRETED, check_launch, check_tensor

SMALLEST = torch.finfo(
    torch.float32
).tiny  # a smaller scale would lose bits of its own; a row of zeros has it


def quantize_rows_plain(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (M, I) -> codes int8 (M, I), scale float32 (M,)."""
    x = x.float()
    # scale = max|x| / 127, code = round(x / scale)
    scale = (x.abs().amax(dim=1) / 127).clamp(min=SMALLEST)
    return torch.round(x / scale[:, None]).clamp(-127, 127).to(torch.int8), scale


@triton.jit
def _magnitude(x):
    """|x|; a NaN counts as inf, for a maximum may drop it."""
    return tl.where(x == x, tl.abs(x), float("inf"))


@triton.jit
def _code(x, scale, finite):
    """round(x / scale) in [-127, 127]. The division is a rounded one, as torch's: the codes agree bit for bit."""
    ratio = tl.math.div_rn(tl.where(finite, x, 0.0), scale)
    # next to 1.5 · 2^23 a float32 has no bits behind the point: adding it rounds, half to even
    rounded = (ratio + 12582912.0) - 12582912.0
    return tl.minimum(tl.maximum(rounded, -127.0), 127.0).to(tl.int8)


@triton.jit
def _quantize_rows_kernel(
    x_ptr, codes_ptr, scale_ptr, I, x_stride, tiny, BLOCK: tl.constexpr, WHOLE: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    x_row, codes_row = x_ptr + row * x_stride, codes_ptr + row * I
    if WHOLE:  # read once, kept in registers
        x = tl.load(x_row + column, mask=column < I, other=0.0).to(tl.float32)
        largest = tl.max(_magnitude(x), axis=0)
    else:
        lanes = tl.zeros((BLOCK,), dtype=tl.float32)
        for start in range(0, I, BLOCK):
            x = tl.load(x_row + start + column, mask=start + column < I, other=0.0).to(tl.float32)
            lanes = tl.maximum(lanes, _magnitude(x))
        largest = tl.max(lanes, axis=0)
    scale = tl.maximum(tl.math.div_rn(largest, 127.0), tiny)
    finite = largest < float("inf")
    # inf or NaN has no code: the scale is NaN then, and so is every product with the row
    tl.store(scale_ptr + row, tl.where(finite, scale, float("nan")))
    if WHOLE:
        tl.store(codes_row + column, _code(x, scale, finite), mask=column < I)
    else:
        for start in range(0, I, BLOCK):  # the second reading comes from the L2 cache
            inside = start + column < I
            x = tl.load(x_row + start + column, mask=inside, other=0.0).to(tl.float32)
            tl.store(codes_row + start + column, _code(x, scale, finite), mask=inside)


def settings(width: int, interpreted: bool = INTERPRETED) -> dict[str, int]:
    """A row up to 16,384 wide stays in registers, 16 to 32 numbers a thread."""
    most = 128 if interpreted else 16_384
    block = min(triton.next_power_of_2(max(width, 32)), most)
    return {"BLOCK": block, "WHOLE": width <= block, "num_warps": min(max(block // 512, 1), 16)}


@torch.library.custom_op("minillm_kernels::quantize_rows", mutates_args=())
def _quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    codes, scale = _quantize_rows_fake(x)
    if x.shape[0]:
        check_launch(x)
        x = x if x.stride(1) == 1 else x.contiguous()
        with torch.cuda.device_of(x):
            _quantize_rows_kernel[(x.shape[0],)](
                x, codes, scale, x.shape[1], x.stride(0), SMALLEST, **settings(x.shape[1])
            )
    return codes, scale


@_quantize_rows.register_fake
def _quantize_rows_fake(x):
    scale = torch.empty(x.shape[0], dtype=torch.float32, device=x.device)
    return torch.empty(x.shape, dtype=torch.int8, device=x.device), scale


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Absmax quantization of each row: x (M, I) -> codes int8 (M, I), scale float32 (M,) with x ~= codes · scale.

    x: float16, bfloat16 or float32, any strides. Bit for bit what minillm.quantization.absmax_quantize(x, axis=-1)
    gives: rounds half to even, and a row of zeros has the smallest normal scale. A row with inf or NaN, which that
    function refuses, gets the scale NaN here: the host does not wait for the data. Not differentiable. ValueError
    for another shape or dtype.
    """
    check_tensor("x", x, "M I")
    return _quantize_rows(x)
