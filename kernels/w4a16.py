"""W4A16 (4비트 가중치, 16비트 활성값): a matrix product whose right side is stored in half a byte a weight.

    y (M, O) = x (M, I) Wᵀ + bias,    W_oi = codebook[code_oi] · scale_og   or   (code_oi - zero_og) · scale_og

Unfused, W is written to memory as bfloat16 and read again: 8 times the bytes of the codes. Here codes become numbers
in registers on their way into the product, rounded to x's dtype just as a dequantized weight would be. The product is
computed as yᵀ = W xᵀ for that reason: on Hopper wgmma takes its left operand from registers, its right one from
shared memory. So x flows from memory to shared memory and W through the registers, and neither waits for the other;
and a byte's two codes are neighbours in a row, just as wgmma wants a thread's weights. Few rows of x leave most of the
card idle, hence the split: programs share a tile's columns and a second launch adds up their float32 sums in order.

Book 7.2 양자화로 모델 용량 줄이기, 5.5 QLoRA. Layout of the codes: minillm/quantization/packing.py. Held against
`w4a16_plain` and, in design, Marlin (Frantar et al. 2024). Leaves out: codes shuffled ahead of time, as Marlin has
them, and columns in another order than x's (act-order).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import _w4a16
from kernels._checks import INTERPRETED, capability, check_launch
from kernels._rows import count_rows
from kernels._w4a16 import aligned, check_arguments, dense, w4a16_plain
from kernels.int8_matmul import tile_of
from kernels.w4a16_gemv import look_up, of_groups, w4a16_gemv

__all__ = ["w4a16_gemv", "w4a16_linear", "w4a16_matmul", "w4a16_plain"]

# up to so many rows of x go to the gemv: it takes 4.6 instructions a weight and row, a tile of the matmul, whatever
# its rows, 6 to 9 a weight and a second launch (counted in machine code, not timed)
FEW_ROWS = 2
PROCESSORS = 132  # of an H100 or H200; an A100 has 108. Only the launch settings know


@triton.jit
def _for_bytes(a_group, GROUPS: tl.constexpr, BLOCK_O: tl.constexpr, PAIRS: tl.constexpr):
    """A number a group -> the same number for each byte of the group: (BLOCK_O, GROUPS) -> (BLOCK_O, PAIRS)."""
    wide = tl.broadcast_to(a_group[:, :, None], (BLOCK_O, GROUPS, PAIRS // GROUPS))
    return tl.reshape(wide, (BLOCK_O, PAIRS))


@triton.jit
def _less(code, zero: tl.constexpr):
    """code - zero as float32 for an int32 code 0..15 and a whole number zero, without a conversion, of which a GPU
    does few a clock: the bits of 2^23 with the code for its lowest are 2^23 + code, and 2^23 + zero is exact too."""
    return (code | 0x4B000000).to(tl.float32, bitcast=True) - (8388608.0 + zero)


@triton.jit
def _w4a16_matmul_kernel(
    x_ptr, packed_ptr, scales_ptr, zeros_ptr, codebook_ptr, bias_ptr, y_ptr,
    M, O, I, groups, group_size, x_stride, row_bytes, columns,
    GROUPS: tl.constexpr, EVEN: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr,
):  # fmt: skip
    PAIRS: tl.constexpr = BLOCK_I // 2
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    o, m = tile_of(tl.program_id(0), M, O, BLOCK_M, BLOCK_O)  # (BLOCK_O,), (BLOCK_M,)
    # rows past the end read the last one again and are not stored: cheaper than masks in the loop
    row = tl.minimum(o, O - 1).to(tl.int64)[:, None]  # (BLOCK_O, 1)
    pair = tl.arange(0, PAIRS)[None, :]
    inner = tl.arange(0, BLOCK_I)[:, None]
    x_tile = x_ptr + tl.minimum(m, M - 1).to(tl.int64)[None, :] * x_stride + inner  # (BLOCK_I, BLOCK_M)
    w_tile = packed_ptr + row * row_bytes + pair  # (BLOCK_O, PAIRS)
    if codebook_ptr is not None:
        codebook = tl.load(codebook_ptr + tl.arange(0, 16))
    sums = tl.zeros((BLOCK_O, BLOCK_M), dtype=tl.float32)
    first = tl.program_id(1) * columns  # this program's share of the columns
    last = tl.minimum(first + columns, I)
    for start in range(first, last, BLOCK_I):
        group = start // group_size + tl.arange(0, GROUPS)[None, :]
        if EVEN:
            x = tl.load(x_tile + start)
            codes = tl.load(w_tile + start // 2).to(tl.int32)
        else:
            x = tl.load(x_tile + start, mask=start + inner < I, other=0.0)
            codes = tl.load(w_tile + start // 2, mask=start // 2 + pair < row_bytes, other=0).to(tl.int32)
        scale = of_groups(scales_ptr, row, group, groups, EVEN)  # (BLOCK_O, GROUPS)
        high, low = codes >> 4, codes & 15  # columns 0, 2, 4 ... and 1, 3, 5 ...
        if codebook_ptr is not None:
            high = look_up(codebook, high, BLOCK_O, PAIRS)
            low = look_up(codebook, low, BLOCK_O, PAIRS)
        elif zeros_ptr is None:
            high, low = _less(high, 8), _less(low, 8)
        else:
            zero = of_groups(zeros_ptr, row, group, groups, EVEN)
            zero = _for_bytes(zero, GROUPS, BLOCK_O, PAIRS)
            high, low = _less(high, 0) - zero, _less(low, 0) - zero
        scale = _for_bytes(scale, GROUPS, BLOCK_O, PAIRS)
        # rounded as a dequantized weight would be; the join puts columns 2j and 2j + 1 side by side again
        w = tl.join((high * scale).to(dtype), (low * scale).to(dtype))
        sums = tl.dot(tl.reshape(w, (BLOCK_O, BLOCK_I)), x, sums, input_precision="ieee")
    inside = (o < O)[:, None] & (m < M)[None, :]
    if bias_ptr is not None:
        sums += tl.load(bias_ptr + o, mask=o < O, other=0.0).to(tl.float32)[:, None]
    y_tile = y_ptr + (tl.program_id(1).to(tl.int64) * M + m)[None, :] * O + o[:, None]  # share, row, feature
    tl.store(y_tile, sums.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _w4a16_merge_kernel(shares_ptr, bias_ptr, y_ptr, N, O, shares, MOST: tl.constexpr, BLOCK: tl.constexpr):
    """y = Σ shares + bias, always in the same order: (shares, N) float32 -> (N,), N = M · O."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for share in tl.static_range(MOST):  # unrolled: all loads are under way at once
        total += tl.load(shares_ptr + share * N + at, mask=(at < N) & (share < shares), other=0.0)
    if bias_ptr is not None:
        total += tl.load(bias_ptr + at % O, mask=at < N, other=0.0).to(tl.float32)
    tl.store(y_ptr + at, total.to(y_ptr.dtype.element_ty), mask=at < N)


def settings(
    M: int,
    O: int,
    I: int,
    group_size: int,
    dtype: torch.dtype,
    has_codebook: bool,
    hopper: bool,
    interpreted: bool = INTERPRETED,
) -> tuple[dict[str, int], int]:
    """(block sizes, warps and stages; columns a program). What a tile costs is unpacking it, so tiles grow with M.

    256 rows of x make unpacking a weight as cheap as multiplying with it (the sums of so many fit in registers with
    wgmma or tcgen05); 16 are the least a product takes. With fewer tiles than processors, programs share columns.
    """
    if interpreted:
        chosen = {"BLOCK_M": 16, "BLOCK_O": 32, "BLOCK_I": 64, "num_warps": 4, "num_stages": 2}
    elif dtype == torch.float32:  # not multiplied on tensor cores: right, not fast
        chosen = {"BLOCK_M": 32, "BLOCK_O": 32, "BLOCK_I": 32, "num_warps": 4, "num_stages": 2}
    elif M <= 64:
        rows = max(16, triton.next_power_of_2(M))
        inner = 64 if has_codebook else 128  # looked-up weights wait in registers for the last of their tile
        chosen = {"BLOCK_M": rows, "BLOCK_O": 64, "BLOCK_I": inner, "num_warps": 4, "num_stages": 4}
    else:
        full = hopper and triton.cdiv(M, 256) * triton.cdiv(O, 128) >= PROCESSORS
        rows = 256 if full else 128
        chosen = {"BLOCK_M": rows, "BLOCK_O": 128, "BLOCK_I": 64, "num_warps": 8, "num_stages": 3}
    # a tile's columns hold whole groups, or lie in one: 48 columns a group mean tiles of 16
    if group_size < I and chosen["BLOCK_I"] % group_size and group_size % chosen["BLOCK_I"]:
        chosen["BLOCK_I"] = min(group_size & -group_size, chosen["BLOCK_I"])
    chosen["GROUPS"] = max(1, chosen["BLOCK_I"] // group_size) if group_size < I else 1
    tiles = triton.cdiv(M, chosen["BLOCK_M"]) * triton.cdiv(O, chosen["BLOCK_O"])
    steps = triton.cdiv(I, chosen["BLOCK_I"])
    # two programs a processor, but at least four steps for each
    shares = max(1, min(2 * PROCESSORS // tiles, steps // 4, 16))
    return chosen, triton.cdiv(steps, shares) * chosen["BLOCK_I"]


@torch.library.custom_op("minillm_kernels::w4a16_matmul", mutates_args=())
def _matmul(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    group_size: int,
    zeros: Tensor | None,
    codebook: Tensor | None,
    bias: Tensor | None,
) -> Tensor:
    """x (M, I) -> (M, O). The arguments have been checked."""
    y = _w4a16.fake(x, packed, scales, group_size, zeros, codebook, bias)
    if not y.numel() or not x.shape[1]:
        return _w4a16.nothing_to_sum(y, bias)
    check_launch(x, packed, scales, zeros, codebook, bias)
    (M, I), O = x.shape, len(packed)
    hopper = capability(x)[0] in (9, 10)
    chosen, columns = settings(M, O, I, group_size, x.dtype, codebook is not None, hopper)
    shares = max(1, triton.cdiv(I, columns))
    sums = y if shares == 1 else torch.empty(shares, M, O, dtype=torch.float32, device=x.device)
    x, packed = aligned(x, packed)
    bias = dense(bias)
    tiles = triton.cdiv(M, chosen["BLOCK_M"]) * triton.cdiv(O, chosen["BLOCK_O"])
    with torch.cuda.device_of(x):
        _w4a16_matmul_kernel[(tiles, shares)](
            x, packed, dense(scales), dense(zeros), dense(codebook), bias if shares == 1 else None, sums,
            M, O, I, scales.shape[1], group_size, x.stride(0), packed.shape[1], columns,
            EVEN=I % chosen["BLOCK_I"] == 0, **chosen,
        )  # fmt: skip
        if shares > 1:
            _w4a16_merge_kernel[(triton.cdiv(M * O, 512),)](
                sums, bias, y, M * O, O, shares, MOST=triton.next_power_of_2(shares), BLOCK=512, num_warps=4
            )
    return y


_matmul.register_fake(_w4a16.fake)
_matmul.register_autograd(_w4a16.backward, setup_context=_w4a16.setup_context)


def w4a16_matmul(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    group_size: int,
    zeros: Tensor | None = None,
    codebook: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """x (..., I) through 4-bit weights (O, I) on tensor cores; arguments, result and errors as in `w4a16_linear`.

    For any number of rows of x; float32 x is multiplied in full precision, beside the tensor cores.
    """
    group_size = check_arguments(x, packed, scales, group_size, zeros, codebook, bias)
    y = _matmul(x.reshape(count_rows(x), x.shape[-1]), packed, scales, group_size, zeros, codebook, bias)
    return y.view(*x.shape[:-1], len(packed))


def w4a16_linear(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    group_size: int,
    zeros: Tensor | None = None,
    codebook: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """y = x Wᵀ + bias, (..., O) in the dtype of x, W in 4 bits: W_oi = codebook[code] · scale or (code - zero) · scale.

    x: (..., I), float16, bfloat16 or float32, any strides, I even; fastest if 32 divides it. packed: uint8 (O, I / 2),
    two codes a byte, the earlier one in the high half. scales: (O, ceil(I / group_size)), float32 or x's dtype; the
    last group of a row may be short. group_size: columns that share a scale, a multiple of 16, or I or more. zeros:
    as scales, floats or uint8 (floats are faster); None: 8. codebook: float32 (16,), instead of zeros (NF4).
    bias: (O,), float. Up to FEW_ROWS rows go to `w4a16_gemv`, more to `w4a16_matmul`; both add up in float32, in an
    order that shapes alone decide. Differentiable in x and bias. ValueError for what does not fit.
    """
    few = count_rows(x) <= FEW_ROWS if isinstance(x, Tensor) else False
    return (w4a16_gemv if few else w4a16_matmul)(x, packed, scales, group_size, zeros, codebook, bias)
