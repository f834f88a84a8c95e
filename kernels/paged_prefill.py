"""Paged prefill (나눠서 채우기, chunked prefill): several new tokens a sequence look at all that its blocks hold.

    out[i, h] = softmax(scale · q[i, h] · keys[: p + 1]ᵀ) · values[: p + 1],    p = length - q_len + i

The new tokens are stored in the cache first (store_kv.py), so one rule serves a first chunk, a later chunk of a long
prompt, and a prompt whose beginning another request has already cached (prefix cache): new query i of a sequence sits
at position p and sees what lies at or before it. This is flash attention with keys read through the block table:
scores live in registers a tile at a time, never as a (q_len, length) matrix in memory. The G query heads of a group
are stacked beside the tokens, so that short chunks fill the tensor cores too.

Book 8.3.2 페이지어텐션. Papers: Dao 2023 (FlashAttention-2), Agrawal et al. 2023 (Sarathi: chunked prefill).
Held against torch.nn.functional.scaled_dot_product_attention on the gathered cache. Leaves out: gradients; splitting
a long prefix among programs (a chunk of few tokens on a long prefix fills the GPU only if the batch does).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import (
    INTERPRETED,
    capability,
    check_flag,
    check_int,
    check_launch,
    check_tensor,
    describe,
)
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


def paged_prefill_plain(
    q: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    lengths: Tensor,
    max_seqlen_q: int,
    scale: float | None = None,
    window: int | tuple[int, int] | None = None,
    alibi_slopes: Tensor | None = None,
    softcap: float = 0.0,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """`paged_prefill` by its formula: gather a sequence's blocks, then attend, sequence after sequence."""
    scale, left, softcap = check_scores(q.shape[-1], scale, window, softcap)
    out, lse = torch.zeros_like(q), q.new_full((q.shape[1], q.shape[0]), -torch.inf, dtype=torch.float32)
    starts = cu_seqlens_q.tolist()
    for n, length in enumerate(lengths.tolist()):
        rows = slice(starts[n], starts[n + 1])
        keys, values = (gather_blocks(cache, block_table[n], length) for cache in (key_cache, value_cache))
        slopes = alibi_slopes[n] if alibi_slopes is not None and alibi_slopes.ndim == 2 else alibi_slopes
        o, s = attend_plain(q[rows], keys, values, scale, left, slopes, softcap)
        out[rows], lse[:, rows] = o.to(out.dtype), s.float()
    return (out, lse) if return_lse else out


@triton.jit(**CHANGING)
def _prefill_kernel(
    q, key_cache, value_cache, block_table, cu_seqlens, lengths, slopes, out, lse,
    scale, softcap, left, N, total_q, num_blocks, capacity, K,
    q_stride_t, q_stride_h, k_stride_block, k_stride_token, k_stride_head,
    v_stride_block, v_stride_token, v_stride_head, table_stride, slopes_stride,
    G: tl.constexpr, D: tl.constexpr, BLOCK_SIZE: tl.constexpr,
    WINDOWED: tl.constexpr, ALIBI: tl.constexpr, CAPPED: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """BLOCK_Q new tokens of one sequence, for the query heads (all G, if they fit) that share a key head."""
    HEADS: tl.constexpr = min(G, BLOCK_M)
    CHUNKS: tl.constexpr = (G + HEADS - 1) // HEADS
    BLOCK_Q: tl.constexpr = BLOCK_M // HEADS
    key_head, chunk = tl.program_id(1) // CHUNKS, tl.program_id(1) % CHUNKS
    # late tiles first: they have the most keys to see, and would keep the GPU waiting at the end
    tile = tl.num_programs(0) - 1 - tl.program_id(0)
    # Which sequence is this? Sequence n is given the tiles from cu[n] // BLOCK_Q + n on: enough for its tokens, and
    # known without a loop over its predecessors. Count how many sequences (and the rest behind them) have begun.
    begun = 0
    for some in range(0, N + 1, 128):
        i = some + tl.arange(0, 128)
        first_tile = tl.load(cu_seqlens + i, mask=i <= N, other=0) // BLOCK_Q + i
        begun += tl.sum(((first_tile <= tile) & (i <= N)).to(tl.int32), 0)
    n = tl.maximum(begun - 1, 0)
    q_start = tl.maximum(tl.load(cu_seqlens + n), 0)
    q_stop = total_q  # rows behind the last sequence are written too, as zeros
    length = 0
    if n < N:
        q_stop = tl.minimum(tl.load(cu_seqlens + n + 1), total_q)
        length = tl.minimum(tl.maximum(tl.load(lengths + n), 0), capacity)
    first = (tile - q_start // BLOCK_Q - n) * BLOCK_Q  # the tile's first token, counted in its sequence
    if q_start + first >= q_stop:
        return

    m = tl.arange(0, BLOCK_M)
    # row m of the tile is this new token and this head of the group, (BLOCK_M,) each
    token, member = first + m // HEADS, chunk * HEADS + m % HEADS
    q_len = q_stop - q_start
    real = (m < BLOCK_Q * HEADS) & (token < q_len) & (member < G)
    head, row = (key_head * G + member).to(tl.int64), (q_start + token).to(tl.int64)
    d = tl.arange(0, BLOCK_D)
    q_tile = tl.load(
        q + row[:, None] * q_stride_t + head[:, None] * q_stride_h + d[None, :],
        mask=real[:, None] & (d < D)[None, :],
        other=0.0,
    )  # (BLOCK_M, BLOCK_D)
    slope = tl.zeros((BLOCK_M,), tl.float32)
    if ALIBI:
        slope = tl.load(slopes + n * slopes_stride + head, mask=real & (n < N), other=0.0)
    table_row = block_table + n.to(tl.int64) * table_stride
    key_cache += key_head.to(tl.int64) * k_stride_head
    value_cache += key_head.to(tl.int64) * v_stride_head

    context = length - q_len  # tokens before the chunk
    position = context + token  # (BLOCK_M,)
    # Key tiles start at multiples of BLOCK_N and come in order, so a query meets the same tiles, and gets the same
    # bits, in whatever chunk it comes. Up to `full` every row sees every key; only the diagonal needs a mask.
    begin = 0  # the first key that any row sees
    full = tl.maximum(context + first + 1, 0) // BLOCK_N * BLOCK_N
    if WINDOWED:  # two ragged edges: mask everywhere
        begin = tl.maximum(context + first - left, 0)
        full = begin // BLOCK_N * BLOCK_N
    stop = tl.maximum(context + tl.minimum(first + BLOCK_Q, q_len), 0)
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    maximum = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    if not WINDOWED:
        acc, maximum, total = attend_tiles(
            q_tile, position, slope, acc, maximum, total, 0, full, begin,
            key_cache, value_cache, table_row, scale, softcap, left, num_blocks,
            k_stride_block, k_stride_token, v_stride_block, v_stride_token,
            False, D, BLOCK_SIZE, WINDOWED, ALIBI, CAPPED, BLOCK_D, BLOCK_N,
        )  # fmt: skip
    acc, maximum, total = attend_tiles(
        q_tile, position, slope, acc, maximum, total, full, stop, begin,
        key_cache, value_cache, table_row, scale, softcap, left, num_blocks,
        k_stride_block, k_stride_token, v_stride_block, v_stride_token,
        True, D, BLOCK_SIZE, WINDOWED, ALIBI, CAPPED, BLOCK_D, BLOCK_N,
    )  # fmt: skip
    o, s = finish(acc, maximum, total)
    H = K * G
    tl.store(
        out + (row * H + head)[:, None] * D + d[None, :],
        o.to(out.dtype.element_ty),
        mask=real[:, None] & (d < D)[None, :],
    )
    tl.store(lse + head * total_q + row, s, mask=real)


class Settings(NamedTuple):
    """How a launch is laid out: query rows a tile, keys a tile, warps, stages, registers a thread."""

    BLOCK_M: int
    BLOCK_N: int
    num_warps: int
    num_stages: int
    # left to itself (None), ptxas may spill a few bytes to fit one more program on a multiprocessor
    maxnreg: int | None = 255


def settings(D: int, dtype: torch.dtype, capability: tuple[int, int]) -> Settings:
    """The shipped configurations. They know nothing of batch or lengths: those must not change a result's bits."""
    if INTERPRETED:
        return Settings(BLOCK_M=64, BLOCK_N=32, num_warps=4, num_stages=1)
    BLOCK_D, exact = triton.next_power_of_2(D), dtype == torch.float32
    if D % 16:  # no 16-byte loads, but an address a number: small tiles, or the addresses fill the registers
        BLOCK_M = (32 if exact else 64) // (1 if BLOCK_D <= 128 else 2)
        return Settings(BLOCK_M, BLOCK_N=16, num_warps=8, num_stages=3, maxnreg=None)
    if exact:  # products on the ordinary cores, out of registers: small tiles
        return Settings(BLOCK_M=32, BLOCK_N=32 if BLOCK_D <= 64 else 16, num_warps=8, num_stages=2)
    # 128 rows and 8 warps are two warpgroups of 64 rows, what one wgmma computes; as many keys as registers allow
    if capability[0] in (9, 10):
        return Settings(BLOCK_M=128, BLOCK_N=64 if BLOCK_D <= 128 else 32, num_warps=8, num_stages=3)
    BLOCK_M, BLOCK_N, num_warps = {128: (64, 32, 4), 256: (64, 32, 8)}.get(BLOCK_D, (128, 64, 8))
    return Settings(BLOCK_M, BLOCK_N, num_warps, num_stages=3)


@torch.library.custom_op("minillm_kernels::paged_prefill", mutates_args=())
def _paged_prefill(
    q: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    lengths: Tensor,
    alibi_slopes: Tensor | None,
    scale: float,
    left: int,
    softcap: float,
) -> tuple[Tensor, Tensor]:
    check_launch(q, key_cache, value_cache, block_table, cu_seqlens_q, lengths, alibi_slopes)
    (total_q, H, D), (num_blocks, block_size, K, _), N = q.shape, key_cache.shape, lengths.shape[0]
    q, cu_seqlens_q = as_queries(q), unit_stride(cu_seqlens_q)
    block_table, lengths, alibi_slopes = map(unit_stride, (block_table, lengths, alibi_slopes))
    out = torch.empty((total_q, H, D), dtype=q.dtype, device=q.device)
    lse = torch.empty((H, total_q), dtype=torch.float32, device=q.device)
    if total_q == 0:
        return out, lse
    s = settings(D, q.dtype, capability(q))
    G, capacity = H // K, block_table.shape[1] * block_size
    heads = min(G, s.BLOCK_M)
    # laid out by the number of new tokens and of sequences: the host never waits to learn a length. A sequence wastes
    # at most one tile, and one more sequence stands for rows behind the last (a padded batch)
    tiles = total_q // (s.BLOCK_M // heads) + N + 1
    # no fusing of a * b + c: where the compiler fuses is its own choice, and equal sums must round alike everywhere
    with torch.cuda.device_of(q):
        _prefill_kernel[(tiles, K * triton.cdiv(G, heads))](
            q, key_cache, value_cache, block_table, cu_seqlens_q, lengths, alibi_slopes, out, lse,
            *scores_in_base_2(scale, softcap), left, N, total_q, num_blocks, capacity, K,
            *launch_strides(q, key_cache, value_cache, block_table, alibi_slopes), G=G, D=D,
            BLOCK_SIZE=block_size, WINDOWED=left >= 0, ALIBI=alibi_slopes is not None, CAPPED=softcap > 0,
            BLOCK_M=s.BLOCK_M, BLOCK_D=max(triton.next_power_of_2(D), 16), BLOCK_N=s.BLOCK_N,
            num_warps=s.num_warps, num_stages=s.num_stages, maxnreg=s.maxnreg, enable_fp_fusion=False,
        )  # fmt: skip
    return out, lse


@_paged_prefill.register_fake
def _(q, key_cache, value_cache, block_table, cu_seqlens_q, lengths, alibi_slopes, scale, left, softcap):
    return q.new_empty(q.shape), q.new_empty((q.shape[1], q.shape[0]), dtype=torch.float32)


def paged_prefill(
    q: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    lengths: Tensor,
    max_seqlen_q: int,
    scale: float | None = None,
    window: int | tuple[int, int] | None = None,
    alibi_slopes: Tensor | None = None,
    softcap: float = 0.0,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Causal attention of each sequence's newest tokens over all its cached tokens, theirs included -> (total_q, H, D).

    q: (total_q, H, D), the sequences' new tokens one after another, already stored in the cache. cu_seqlens_q: int32
    (B + 1,), from 0 on, where each sequence's rows of q begin and end; rows past the last become zeros. lengths: int32
    (B,), tokens in the cache, the new ones included: new token i of q_len sits at position length - q_len + i and sees
    the positions up to its own. max_seqlen_q: the longest q_len, as in flash_attention_varlen; nothing depends on it.
    The rest as in paged_attention; return_lse: also (H, total_q) float32. Rows that see nothing give zeros and -inf.

    A token's result has the same bits alone, in any batch, and however its prompt was cut into chunks (a decoded
    token, by paged_attention, agrees to rounding only). ValueError for shapes, dtypes or devices that do not fit;
    values are not checked, and kept within bounds as in paged_attention. Not differentiable.
    """
    check_table(q, key_cache, value_cache, block_table, lengths, alibi_slopes)
    check_tensor("cu_seqlens_q", cu_seqlens_q, "B+1", (torch.int32,), like=q)
    if cu_seqlens_q.shape[0] != lengths.shape[0] + 1:
        raise ValueError(
            f"cu_seqlens_q must have one entry more than lengths, got {describe(cu_seqlens_q)} and {describe(lengths)}"
        )
    check_int("max_seqlen_q", max_seqlen_q, 0)
    scale, left, softcap = check_scores(q.shape[-1], scale, window, softcap)
    return_lse = check_flag("return_lse", return_lse)
    out, lse = _paged_prefill(
        q, key_cache, value_cache, block_table, cu_seqlens_q, lengths, alibi_slopes, scale, left, softcap
    )
    return (out, lse) if return_lse else out
