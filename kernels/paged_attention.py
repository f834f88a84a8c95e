"""Paged attention (페이지어텐션), decode: one new token a sequence looks at all of its cached tokens, block by block.

    out[b, h] = softmax(scale · q[b, h] · keys(b)ᵀ) · values(b)
    keys(b)[n] = key_cache[block_table[b, n // block_size], n % block_size, h // G]

Each cached byte is needed once and for two flops a query head, so speed is bytes in flight: gathering the blocks into
a contiguous copy first would move them three times. Two ideas keep the memory busy. The G = H/K query heads that
share a key head are stacked to one tile, so that keys are read once for all of them. And a long sequence is split in
parts of a fixed number of tokens, one program each, and a second kernel merges the parts' softmax sums
("flash decoding"). Parts are fixed, so a sequence's result has the same bits alone, in any batch, in any blocks.

Book 8.3.2 페이지어텐션. Papers: Kwon et al. 2023 (PagedAttention), Dao et al. 2023 (Flash-Decoding).
Held against torch.nn.functional.scaled_dot_product_attention on the gathered cache. Leaves out: gradients (decoding
only), several new tokens a sequence (paged_prefill.py), quantized caches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import INTERPRETED, check_flag, check_launch, describe
from kernels._paged import (
    CHANGING,
    as_queries,
    attend_plain,
    attend_tiles,
    check_scores,
    check_table,
    finish,
    gather_blocks,
    launch_strides,
    unit_stride,
)
from kernels.flash_forward import scores_in_base_2


def paged_attention_plain(
    q: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    lengths: Tensor,
    scale: float | None = None,
    window: int | tuple[int, int] | None = None,
    alibi_slopes: Tensor | None = None,
    softcap: float = 0.0,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """`paged_attention` by its formula: gather a sequence's blocks, then attend, sequence after sequence."""
    scale, left, softcap = check_scores(q.shape[-1], scale, window, softcap)
    out, lse = torch.zeros_like(q), q.new_full(q.shape[:2], -torch.inf, dtype=torch.float32)
    for b, length in enumerate(lengths.tolist()):
        # keys(b)[n] = key_cache[block_table[b, n // block_size], n % block_size]
        keys, values = (gather_blocks(cache, block_table[b], length) for cache in (key_cache, value_cache))
        slopes = alibi_slopes[b] if alibi_slopes is not None and alibi_slopes.ndim == 2 else alibi_slopes
        if length:  # the query is the sequence's last token
            o, s = attend_plain(q[b : b + 1], keys, values, scale, left, slopes, softcap)
            out[b], lse[b] = o[0], s[:, 0]
    return (out, lse) if return_lse else out


@triton.jit(**CHANGING)
def _decode_kernel(
    q, key_cache, value_cache, block_table, lengths, slopes, out, lse, part_acc, part_max, part_sum,
    scale, softcap, left, num_blocks, capacity, K, parts,
    q_stride_b, q_stride_h, k_stride_block, k_stride_token, k_stride_head,
    v_stride_block, v_stride_token, v_stride_head, table_stride, slopes_stride,
    G: tl.constexpr, D: tl.constexpr, BLOCK_SIZE: tl.constexpr,
    WINDOWED: tl.constexpr, ALIBI: tl.constexpr, CAPPED: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """One part (PART tokens) of one sequence, for up to BLOCK_M of the query heads that share a key head."""
    CHUNKS: tl.constexpr = (G + BLOCK_M - 1) // BLOCK_M  # 1 unless very many heads share their keys
    program, part = tl.program_id(0), tl.program_id(1)
    # key heads are neighbours in memory, so they are neighbours in time
    b, key_head, chunk = (program // (K * CHUNKS)).to(tl.int64), program // CHUNKS % K, program % CHUNKS
    length = tl.minimum(tl.maximum(tl.load(lengths + b), 0), capacity)
    begin = 0
    if WINDOWED:
        begin = tl.maximum(length - 1 - left, 0)  # the first token the query sees
    first_part, end_part = begin // PART, tl.maximum(tl.cdiv(length, PART), 1)
    if (part < first_part) | (part >= end_part):
        return  # nothing here: the grid is laid for the longest sequence that the table has room for

    m = chunk * BLOCK_M + tl.arange(0, BLOCK_M)
    head, real = key_head * G + m, m < G  # (BLOCK_M,) rows past the group are padding
    H = K * G
    d = tl.arange(0, BLOCK_D)
    q_tile = tl.load(
        q + b * q_stride_b + head.to(tl.int64)[:, None] * q_stride_h + d[None, :],
        mask=real[:, None] & (d < D)[None, :],
        other=0.0,
    )  # (BLOCK_M, BLOCK_D)
    slope = tl.zeros((BLOCK_M,), tl.float32)
    if ALIBI:
        slope = tl.load(slopes + b * slopes_stride + head, mask=real, other=0.0)
    table_row = block_table + b * table_stride
    key_cache += key_head.to(tl.int64) * k_stride_head
    value_cache += key_head.to(tl.int64) * v_stride_head

    maximum = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    # tiles start at multiples of BLOCK_N, and PART is one: a part ends where a tile does, or with the sequence
    start = tl.maximum(part * PART, begin // BLOCK_N * BLOCK_N)
    stop = tl.minimum(part * PART + PART, length)
    position = tl.zeros((BLOCK_M,), tl.int32) + (length - 1)
    acc, maximum, total = attend_tiles(
        q_tile, position, slope, acc, maximum, total, start, stop, begin,
        key_cache, value_cache, table_row, scale, softcap, left, num_blocks,
        k_stride_block, k_stride_token, v_stride_block, v_stride_token,
        True, D, BLOCK_SIZE, WINDOWED, ALIBI, CAPPED, BLOCK_D, BLOCK_N,
    )  # fmt: skip

    row = b * H + head  # (BLOCK_M,) int64
    if end_part - first_part == 1:  # the only part: nothing to merge
        o, s = finish(acc, maximum, total)
        tl.store(
            out + row[:, None] * D + d[None, :],
            o.to(out.dtype.element_ty),
            mask=real[:, None] & (d < D)[None, :],
        )
        tl.store(lse + row, s, mask=real)
    else:
        slot = row * parts + part
        tl.store(part_max + slot, maximum, mask=real)
        tl.store(part_sum + slot, total, mask=real)
        tl.store(part_acc + slot[:, None] * D + d[None, :], acc, mask=real[:, None] & (d < D)[None, :])


@triton.jit(**CHANGING)
def _merge_kernel(
    part_acc, part_max, part_sum, lengths, out, lse, left, capacity, H, parts,
    D: tl.constexpr, WINDOWED: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_D: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """One query head of one sequence: its parts' sums, brought to one maximum and added."""
    row = tl.program_id(0).to(tl.int64)
    length = tl.minimum(tl.maximum(tl.load(lengths + row // H), 0), capacity)
    first_part, end_part = 0, tl.maximum(tl.cdiv(length, PART), 1)
    if WINDOWED:
        first_part = tl.maximum(length - 1 - left, 0) // PART
    if end_part - first_part == 1:
        return  # the decode kernel wrote the result itself
    d = tl.arange(0, BLOCK_D)
    maximum = tl.full((1,), float("-inf"), tl.float32)
    total = tl.zeros((1,), tl.float32)
    acc = tl.zeros((1, BLOCK_D), tl.float32)
    for some in range(first_part, end_part, BLOCK_P):
        part = some + tl.arange(0, BLOCK_P)
        live, slot = part < end_part, row * parts + part  # (BLOCK_P,)
        maxima = tl.load(part_max + slot, mask=live, other=float("-inf"))
        sums = tl.load(part_sum + slot, mask=live, other=0.0)
        accs = tl.load(
            part_acc + slot[:, None] * D + d[None, :], mask=live[:, None] & (d < D)[None, :], other=0.0
        )  # (BLOCK_P, BLOCK_D)
        # the same step as over keys: a part is a key that has already been summed
        new_maximum = tl.maximum(maximum, tl.max(maxima, 0))
        shift = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)
        weights, rescale = tl.exp2(maxima - shift), tl.exp2(maximum - shift)
        total = total * rescale + tl.sum(weights * sums, 0)
        acc = acc * rescale[:, None] + tl.sum(weights[:, None] * accs, 0)[None, :]
        maximum = new_maximum
    o, s = finish(acc, maximum, total)
    column = d[None, :]
    tl.store(out + row * D + column, o.to(out.dtype.element_ty), mask=column < D)
    tl.store(lse + row + tl.arange(0, 1), s)


class Settings(NamedTuple):
    """How a launch is laid out: heads and tokens a tile, tokens a part, parts a merge, warps, stages, registers."""

    BLOCK_M: int
    BLOCK_N: int
    PART: int
    BLOCK_P: int
    num_warps: int
    num_stages: int
    maxnreg: int | None = None


def settings(G: int, D: int, dtype: torch.dtype) -> Settings:
    """The shipped configurations, one for all GPUs: what counts is memory. They know nothing of batch or lengths:
    those must not change a result's bits."""
    BLOCK_D = max(triton.next_power_of_2(D), 16)
    # 16 rows: the smallest product. A group of more than 32 heads takes several programs, which read the keys again
    BLOCK_M = min(max(triton.next_power_of_2(G), 16), 32)
    if INTERPRETED:
        return Settings(BLOCK_M, BLOCK_N=32, PART=64, BLOCK_P=2, num_warps=4, num_stages=1)
    # A tile is 16 kB of keys and 16 kB of values, copied to shared memory (cp.async) two tiles ahead: half of the
    # stages go to the block ids, which must be there before the addresses. With two or three programs on a
    # multiprocessor that is 130 to 190 kB on their way; 4.8 TB/s times a microsecond of latency ask for about 40 kB.
    BLOCK_N, num_warps, num_stages = min(max(16384 // (BLOCK_D * dtype.itemsize), 16), 128), 4, 5
    maxnreg = None
    if D % 16:  # no 16-byte loads, but an address a number: small tiles, or the addresses fill the registers
        BLOCK_N, num_warps = 16, 8
    if dtype == torch.float32:  # products on the ordinary cores, out of registers: small tiles
        BLOCK_N, num_warps, num_stages = 32 if BLOCK_D <= 128 and BLOCK_M == 16 and D % 16 == 0 else 16, 8, 3
        # left to itself, ptxas may spill a few bytes of 32 rows to fit one more program on a multiprocessor
        maxnreg = 255 if BLOCK_M == 32 and D % 16 == 0 else None
    return Settings(BLOCK_M, BLOCK_N, 512, 8, num_warps, num_stages, maxnreg)


@torch.library.custom_op("minillm_kernels::paged_attention", mutates_args=())
def _paged_attention(
    q: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    lengths: Tensor,
    alibi_slopes: Tensor | None,
    scale: float,
    left: int,
    softcap: float,
) -> tuple[Tensor, Tensor]:
    check_launch(q, key_cache, value_cache, block_table, lengths, alibi_slopes)
    (B, H, D), (num_blocks, block_size, K, _), max_blocks = q.shape, key_cache.shape, block_table.shape[1]
    q = as_queries(q)
    block_table, lengths, alibi_slopes = map(unit_stride, (block_table, lengths, alibi_slopes))
    out = torch.empty((B, H, D), dtype=q.dtype, device=q.device)
    lse = torch.empty((B, H), dtype=torch.float32, device=q.device)
    if B == 0:
        return out, lse
    s = settings(H // K, D, q.dtype)
    BLOCK_D = max(triton.next_power_of_2(D), 16)
    capacity = max_blocks * block_size
    # the grid knows the table's width only: the host never waits to learn a length, so CUDA graphs can record this
    parts = max(triton.cdiv(capacity, s.PART), 1)
    if parts > 65535:
        raise ValueError(
            f"block_table must have room for at most {65535 * s.PART} tokens, got {describe(block_table)}"
        )
    part_acc = torch.empty((B, H, parts, D) if parts > 1 else (1,), dtype=torch.float32, device=q.device)
    part_max, part_sum = torch.empty((2, B, H, parts), dtype=torch.float32, device=q.device)
    chunks = triton.cdiv(H // K, s.BLOCK_M)
    # no fusing of a * b + c: where the compiler fuses is its own choice, and equal sums must round alike everywhere
    with torch.cuda.device_of(q):
        _decode_kernel[(B * K * chunks, parts)](
            q, key_cache, value_cache, block_table, lengths, alibi_slopes, out, lse, part_acc, part_max, part_sum,
            *scores_in_base_2(scale, softcap), left, num_blocks, capacity, K, parts,
            *launch_strides(q, key_cache, value_cache, block_table, alibi_slopes), G=H // K, D=D,
            BLOCK_SIZE=block_size, WINDOWED=left >= 0, ALIBI=alibi_slopes is not None, CAPPED=softcap > 0,
            BLOCK_M=s.BLOCK_M, BLOCK_D=BLOCK_D, BLOCK_N=s.BLOCK_N, PART=s.PART,
            num_warps=s.num_warps, num_stages=s.num_stages, maxnreg=s.maxnreg, enable_fp_fusion=False,
        )  # fmt: skip
        if parts > 1:
            _merge_kernel[(B * H,)](
                part_acc, part_max, part_sum, lengths, out, lse, left, capacity, H, parts,
                D=D, WINDOWED=left >= 0, BLOCK_P=s.BLOCK_P, BLOCK_D=BLOCK_D, PART=s.PART,
                num_warps=4, enable_fp_fusion=False,
            )  # fmt: skip
    return out, lse


@_paged_attention.register_fake
def _(q, key_cache, value_cache, block_table, lengths, alibi_slopes, scale, left, softcap):
    return q.new_empty(q.shape), q.new_empty(q.shape[:2], dtype=torch.float32)


def paged_attention(
    q: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    lengths: Tensor,
    scale: float | None = None,
    window: int | tuple[int, int] | None = None,
    alibi_slopes: Tensor | None = None,
    softcap: float = 0.0,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of the newest token of each sequence over all its cached tokens, its own included -> (B, H, D).

    q: (B, H, D) float16, bfloat16 or float32, H a multiple of the caches' K, D 1 to 256 (fast: multiples of 16).
    key_cache, value_cache: (num_blocks, block_size, K, D) of q's dtype, block_size 8 to 256, the last axis
    contiguous, else any strides. block_table: int32 (B, max_blocks), the blocks of each sequence in order; entries
    past its length are not read. lengths: int32 (B,), tokens in the cache; the query is the last of them, at position
    length - 1. A length of 0 (a row that pads the batch) gives zeros and lse = -inf.
    scale: 1/√D if None. window: the last so many tokens are seen, or flash_attention's (left, right) pair with right
    0 or -1. alibi_slopes: float32 (H,) or (B, H), adds -slope · distance. softcap: c · tanh(score / c), 0 = off.
    return_lse: also (B, H) float32, the natural logarithm of Σ exp(score).

    The result of a sequence has the same bits alone and in any batch, whatever the table's width and wherever its
    blocks lie. Work and scratch memory are laid out for max_blocks · block_size tokens without asking the GPU for the
    lengths: pass a table cut to the longest sequence (table[:, :n] is no copy). ValueError for shapes, dtypes or
    devices that do not fit. Values are not checked: lengths are cut to the table, block ids outside the cache read
    as zeros. Not differentiable.
    """
    check_table(q, key_cache, value_cache, block_table, lengths, alibi_slopes)
    if q.shape[0] != lengths.shape[0]:
        raise ValueError(f"q must have a row a sequence, got {describe(q)} and lengths {describe(lengths)}")
    scale, left, softcap = check_scores(q.shape[-1], scale, window, softcap)
    return_lse = check_flag("return_lse", return_lse)
    out, lse = _paged_attention(
        q, key_cache, value_cache, block_table, lengths, alibi_slopes, scale, left, softcap
    )
    return (out, lse) if return_lse else out
