"""W4A16 for a few rows (4비트 가중치 · 벡터 곱): what generating a token does, and all of it is reading the weight.

    y_o = Σ_g scale_og · ( Σ_{i in g} x_i · code_oi  -  zero_og · Σ_{i in g} x_i ) + bias_o

Unfused the weight crosses memory three times: half a byte a number read, two written as bfloat16, two read again. Here
it is the half byte alone, so that unpacking sets the pace, not memory: at 4.8 TB/s (an H200's data sheet) and 1.98 GHz
a weight comes in every 3.5 instructions of its 132 x 128 lanes. The loop below needs 4.6 (5.5 with a codebook),
counted in its machine code, thanks to the word trick in `_lift`.
A program takes a few output rows for one row of x and scales the sums of groups, in float32. A row's sum depends
neither on its batch nor on chance (no atomics).

Book 7.2 양자화로 모델 용량 줄이기. Held against `w4a16_plain` and, in design, bitsandbytes' 4-bit gemv.
Leaves out: sharing unpacked weights between rows of x, which is what tensor cores are for (w4a16.py).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import _w4a16
from kernels._checks import INTERPRETED, check_launch
from kernels._rows import count_rows
from kernels._w4a16 import aligned, check_arguments, dense

ONE = 0x3F800000  # the bits of the float32 1.0
LANE = 32  # columns a thread takes at once: 16 bytes of codes


@triton.jit
def _lift(words, LEFT: tl.constexpr, one, CODEBOOK: tl.constexpr):
    """The 4 bits that end at bit 19 - LEFT of each word: as a number 0..15, or as the bits of 1 + code / 16.

    A float32 between 1 and 2 is 1 + mantissa / 2^23. With the code in the highest 4 of the 23 mantissa bits, and the
    exponent of 1.0 above, the float is 1 + code / 16: a shift and one bit operation, and no conversion, of which a
    GPU does far fewer a clock. `one` comes as a run-time value: then the assembler can fold the "and" and the "or"
    into one instruction, which with two constants it does not.
    """
    if CODEBOOK:
        return (words >> (19 - LEFT)) & 15
    elif LEFT >= 0:
        return ((words << LEFT) & 0x780000) | one
    else:
        return ((words >> -LEFT) & 0x780000) | one


@triton.jit
def _unpack(words, one, CODEBOOK: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """int32 words (ROWS, COLUMNS / 8) -> eight columns each, in order, (ROWS, COLUMNS); nothing leaves its thread.

    Byte j of a word (from the low end) holds columns 2j (high half) and 2j + 1 (low half), so the columns 0 to 7 end
    at bits 4, 0, 12, 8, 20, 16, 28, 24. A join puts its two tensors side by side on a new last axis.
    """
    high = tl.join(  # columns 0, 2, 4, 6 at [0, 0], [1, 0], [0, 1], [1, 1] of the two last axes, read below
        tl.join(_lift(words, 15, one, CODEBOOK), _lift(words, -1, one, CODEBOOK)),
        tl.join(_lift(words, 7, one, CODEBOOK), _lift(words, -9, one, CODEBOOK)),
    )
    low = tl.join(
        tl.join(_lift(words, 19, one, CODEBOOK), _lift(words, 3, one, CODEBOOK)),
        tl.join(_lift(words, 11, one, CODEBOOK), _lift(words, -5, one, CODEBOOK)),
    )
    return tl.reshape(tl.join(high, low), (ROWS, COLUMNS))


@triton.jit
def look_up(codebook, codes, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """codebook[codes] for int32 codes (ROWS, COLUMNS): one read of shared memory each.

    The 16 values take 16 banks, so a warp's 32 lanes never wait for each other. Choosing in registers would cost 15
    selects a weight, reading the codebook through pointers three instructions of address each.
    """
    return tl.reshape(tl.gather(codebook, tl.reshape(codes, (ROWS * COLUMNS,)), axis=0), (ROWS, COLUMNS))


@triton.jit
def of_groups(numbers_ptr, row, group, groups, EVEN: tl.constexpr):
    """The scales or zero points of these rows (R, 1) and groups (1, G), float32 (R, G)."""
    if EVEN:
        return tl.load(numbers_ptr + row * groups + group).to(tl.float32)
    else:
        return tl.load(numbers_ptr + row * groups + group, mask=group < groups, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["M"])  # one machine code for every batch
def _w4a16_gemv_kernel(
    x_ptr, words_ptr, scales_ptr, zeros_ptr, codebook_ptr, bias_ptr, y_ptr,
    M, O, I, groups, group_size, x_stride, row_words, one,
    BLOCK_O: tl.constexpr, CHUNKS: tl.constexpr, CHUNK: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    COLUMNS: tl.constexpr = CHUNKS * CHUNK
    CODEBOOK: tl.constexpr = codebook_ptr is not None
    # neighbours take the same weights for other rows of x: the second reading comes from the L2 cache
    m = (tl.program_id(0) % M).to(tl.int64)
    o = (tl.program_id(0) // M) * BLOCK_O + tl.arange(0, BLOCK_O)  # (BLOCK_O,)
    # rows past the end read the last one again and are not stored: cheaper than a mask on every load
    row = tl.minimum(o, O - 1).to(tl.int64)[:, None]  # (BLOCK_O, 1)
    if CODEBOOK:
        codebook = tl.load(codebook_ptr + tl.arange(0, 16))  # in registers, for tl.gather
    sums = tl.zeros((BLOCK_O, CHUNKS), dtype=tl.float32)
    for start in range(0, I, COLUMNS):
        word = start // 8 + tl.arange(0, COLUMNS // 8)[None, :]
        column = start + tl.arange(0, COLUMNS)
        chunk = start + tl.arange(0, CHUNKS) * CHUNK  # a chunk lies in one group
        group = (chunk // group_size)[None, :]
        # 16 bytes a thread and output row, all asked for before the first is used
        if EVEN:
            words = tl.load(words_ptr + row * row_words + word)  # (BLOCK_O, COLUMNS / 8)
            x = tl.load(x_ptr + m * x_stride + column).to(tl.float32)  # (COLUMNS,)
        else:
            words = tl.load(words_ptr + row * row_words + word, mask=word < row_words, other=0)
            x = tl.load(x_ptr + m * x_stride + column, mask=column < I, other=0.0).to(tl.float32)
        scale = of_groups(scales_ptr, row, group, groups, EVEN)  # (BLOCK_O, CHUNKS)
        weight = _unpack(words, one, CODEBOOK, BLOCK_O, COLUMNS)  # (BLOCK_O, COLUMNS)
        if CODEBOOK:
            weight = look_up(codebook, weight, BLOCK_O, COLUMNS)
        else:
            weight = weight.to(tl.float32, bitcast=True)  # 1 + code / 16
        # a thread adds up its chunk alone; x was widened once for all BLOCK_O rows
        product = tl.reshape(weight * x[None, :], (BLOCK_O, CHUNKS, CHUNK))
        product = tl.sum(product, axis=2)  # (BLOCK_O, CHUNKS)
        if not CODEBOOK:
            # Σ x · (code - zero) = 16 Σ x · (1 + code / 16) - (16 + zero) Σ x
            total = tl.sum(tl.reshape(x, (CHUNKS, CHUNK)), axis=1)[None, :]  # (1, CHUNKS)
            if zeros_ptr is None:
                product = 16.0 * product - 24.0 * total  # zero = 8
            else:
                zero = of_groups(zeros_ptr, row, group, groups, EVEN)
                product = 16.0 * product - (16.0 + zero) * total
        sums += product * scale
    y = tl.sum(sums, axis=1)  # across the threads, once
    inside = o < O
    if bias_ptr is not None:
        y += tl.load(bias_ptr + o, mask=inside, other=0.0).to(tl.float32)
    tl.store(y_ptr + m * O + o, y.to(y_ptr.dtype.element_ty), mask=inside)


def settings(columns: int, group_size: int, wide: bool, interpreted: bool = INTERPRETED) -> dict[str, int]:
    """Block sizes and warps. No batch size among the arguments: a row's sum must not depend on it.

    A thread takes 32 columns of BLOCK_O rows: 8 loads of 16 bytes in flight. `wide` halves that, where more registers
    are needed: for float32 x, and for a codebook, whose looked-up weights wait for the last one of their block.
    """
    chunk = LANE if group_size % LANE == 0 or group_size >= columns else 16
    if interpreted:
        return {"BLOCK_O": 32, "CHUNKS": 4, "CHUNK": chunk, "num_warps": 1}
    # the widest block that leaves at most a tenth of its last turn's work undone
    padded = {width: triton.cdiv(columns, width) * width for width in (4096, 2048, 1024)}
    width = next(width for width in padded if padded[width] <= 1.1 * min(padded.values()))
    warps = width // (32 * LANE)
    return {"BLOCK_O": 4 if wide else 8, "CHUNKS": width // chunk, "CHUNK": chunk, "num_warps": warps}


@torch.library.custom_op("minillm_kernels::w4a16_gemv", mutates_args=())
def _gemv(
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
    columns = x.shape[1]
    chosen = settings(columns, group_size, wide=codebook is not None or x.dtype == torch.float32)
    even = columns % (chosen["CHUNKS"] * chosen["CHUNK"]) == 0
    x, packed = aligned(x, packed)
    words = packed.view(torch.int32)  # (O, I / 8)
    programs = triton.cdiv(len(packed), chosen["BLOCK_O"]) * len(x)
    with torch.cuda.device_of(x):
        _w4a16_gemv_kernel[(programs,)](
            x, words, dense(scales), dense(zeros), dense(codebook), dense(bias), y,
            *y.shape, x.shape[1], scales.shape[1], group_size, x.stride(0), words.shape[1], ONE,
            EVEN=even, **chosen,
        )  # fmt: skip
    return y


_gemv.register_fake(_w4a16.fake)
_gemv.register_autograd(_w4a16.backward, setup_context=_w4a16.setup_context)


def w4a16_gemv(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    group_size: int,
    zeros: Tensor | None = None,
    codebook: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """x (..., I) through 4-bit weights (O, I), row by row of x; arguments, result and errors as in `w4a16_linear`.

    For any number of rows, fast for one or two: each reads the weight. A row's result is bit for bit the same in
    every batch.
    """
    group_size = check_arguments(x, packed, scales, group_size, zeros, codebook, bias)
    y = _gemv(x.reshape(count_rows(x), x.shape[-1]), packed, scales, group_size, zeros, codebook, bias)
    return y.view(*x.shape[:-1], len(packed))
