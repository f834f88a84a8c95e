"""What the paged kernels share: the block table (블록 테이블), read on the host, in plain torch and in Triton.

    token n of sequence b lies in   cache[block_table[b, n // block_size], n % block_size]        (K, D)

A sequence's keys and values lie in blocks anywhere in one big cache, and its row of the table says where, as a page
table does for virtual memory. Book 8.3.2 페이지어텐션. Paper: Kwon et al. 2023 (PagedAttention).
Used by paged_attention.py (decode) and paged_prefill.py; leaves out caches of fewer bits than the queries.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import check_int, check_number, check_softcap, check_tensor, describe
from kernels.flash_forward import LN2, LOG2E, scored

MAX_WIDTH = 256  # D: wider heads would not fit in registers
# These change from call to call, and Triton would compile again for each that 16 divides (or that is 1): a second's
# pause in a running engine, and gone with it the certainty that one machine code serves every batch.
CHANGING = {
    "do_not_specialize": ["left", "num_blocks", "capacity", "parts", "N", "total_q", "table_stride"],
    "do_not_specialize_on_alignment": [
        "block_table",
        "lengths",
        "cu_seqlens",
        "slopes",
        "lse",
        "part_max",
        "part_sum",
    ],
}


# ---- on the host ----


def check_caches(key_cache: Tensor, value_cache: Tensor, like: Tensor, names: str) -> None:
    """ValueError unless both caches are (num_blocks, block_size, K, D) and fit `like` (..., D), called `names`."""
    for name, cache in (("key_cache", key_cache), ("value_cache", value_cache)):
        check_tensor(name, cache, "num_blocks block_size K D", like=like)
        if cache.dtype != like.dtype:
            raise ValueError(
                f"{name} must be of the dtype of {names}, {describe(like)}, got {describe(cache)}"
            )
        if cache.shape[3] > 1 and cache.stride(3) != 1:
            raise ValueError(f"{name}'s last axis must be contiguous, got strides {cache.stride()}")
    if key_cache.shape != value_cache.shape:
        raise ValueError(
            f"key_cache and value_cache must be of one shape, got {describe(key_cache)} and {describe(value_cache)}"
        )
    if not 8 <= key_cache.shape[1] <= 256:
        raise ValueError(f"block_size must be between 8 and 256, got {describe(key_cache)}")
    if key_cache.shape[3] != like.shape[-1] or not 1 <= like.shape[-1] <= MAX_WIDTH:
        raise ValueError(
            f"{names} and the caches must share their last axis D, 1 to {MAX_WIDTH}, "
            f"got {describe(like)} and {describe(key_cache)}"
        )


def check_table(
    q: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    lengths: Tensor,
    slopes: Tensor | None,
) -> None:
    """ValueError unless q (rows, H, D), the caches, the table, the lengths and the ALiBi slopes fit together.

    What would need a look at the values (lengths within the table, ids within the cache) is not checked here: on a
    GPU the host would have to wait for them. The kernels cut a length to [0, max_blocks * block_size] and read
    zeros for an id outside the cache, never foreign memory.
    """
    check_tensor("q", q, "rows H D")
    check_caches(key_cache, value_cache, q, "q")
    K = key_cache.shape[2]
    if K == 0 or q.shape[1] == 0 or q.shape[1] % K:
        raise ValueError(
            f"q's heads H must be a multiple of the caches' K, got {describe(q)} and {describe(key_cache)}"
        )
    check_tensor("block_table", block_table, "B max_blocks", (torch.int32,), like=q)
    check_tensor("lengths", lengths, "B", (torch.int32,), like=q)
    if block_table.shape[0] != lengths.shape[0]:
        raise ValueError(
            f"block_table and lengths must have a row a sequence, got {describe(block_table)} and {describe(lengths)}"
        )
    if slopes is not None:
        if not isinstance(slopes, Tensor) or slopes.ndim not in (1, 2):
            raise ValueError(f"alibi_slopes must be a tensor (H,) or (B, H), got {describe(slopes)}")
        check_tensor("alibi_slopes", slopes, "B H" if slopes.ndim == 2 else "H", (torch.float32,), like=q)
        if slopes.shape[-1] != q.shape[1] or (slopes.ndim == 2 and slopes.shape[0] != lengths.shape[0]):
            raise ValueError(
                f"alibi_slopes must be (H,) or (B, H) with H = {q.shape[1]} and B = {lengths.shape[0]}, "
                f"got {describe(slopes)}"
            )


def check_scores(D: int, scale: float | None, window: Any, softcap: float) -> tuple[float, int, float]:
    """(scale, left, softcap): 1/√D for no scale; how many tokens before its own a query sees, -1 for all of them.

    window: None; an int w >= 1 (the last w tokens, the query's own included: left = w - 1); or flash-attn's pair
    (left, right), where right is 0 or -1, since nothing lies to the right of a causal query.
    """
    scale = 1 / math.sqrt(D) if scale is None else check_number("scale", scale)
    softcap = check_softcap(softcap)
    if window is None:
        return scale, -1, softcap
    if isinstance(window, (tuple, list)):
        if len(window) != 2:
            raise ValueError(f"window must be an integer or a pair (left, right), got {describe(window)}")
        check_int("window's right end", window[1], -1, 0)
        return scale, check_int("window's left end", window[0], -1, 2**31 - 2), softcap
    return scale, check_int("window", window, 1, 2**31 - 1) - 1, softcap


def unit_stride(x: Tensor | None) -> Tensor | None:
    """`x`, copied if its last axis is not contiguous: every 16 bytes a thread loads must be neighbours."""
    return x if x is None or x.stride(-1) == 1 else x.contiguous()


def as_queries(q: Tensor) -> Tensor:
    """`q` from an address on that 16 divides: where in a batch a slice begins must not choose the machine code."""
    q = unit_stride(q)
    return q.clone(memory_format=torch.contiguous_format) if q.data_ptr() % 16 else q


def launch_strides(
    q: Tensor, key_cache: Tensor, value_cache: Tensor, table: Tensor, slopes: Tensor | None
) -> tuple:
    """All strides the attention kernels take, in their order; slopes shared by all sequences have the stride 0."""
    per_sequence = slopes is not None and slopes.ndim == 2
    return (
        *q.stride()[:2],
        *key_cache.stride()[:3],
        *value_cache.stride()[:3],
        table.stride(0),
        slopes.stride(0) if per_sequence else 0,
    )


# ---- in plain torch ----


def gather_blocks(cache: Tensor, table_row: Tensor, length: int) -> Tensor:
    """The first `length` tokens of one sequence, put side by side: (length, K, D)."""
    blocks = table_row[: -(-length // cache.shape[1])].long()
    return cache[blocks].flatten(0, 1)[:length]


def attend_plain(
    q: Tensor, keys: Tensor, values: Tensor, scale: float, left: int, slopes: Tensor | None, softcap: float
) -> tuple[Tensor, Tensor]:
    """Causal attention of the last T tokens of a sequence: q (T, H, D), keys, values (S, K, D) -> (T, H, D), (H, T).

    Computed in float32 at least. The second result is the natural logarithm of each row's Σ exp(score).
    """
    (T, H, _), (S, K, _) = q.shape, keys.shape
    q, keys, values = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (q, keys, values))
    keys, values = keys.repeat_interleave(H // K, 1), values.repeat_interleave(H // K, 1)  # (S, H, D)
    # scores = scale · Q Kᵀ
    scores = scale * torch.einsum("thd,shd->hts", q, keys)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    # distance[t, s] = how many tokens key s lies before query t; the last query is the last token
    distance = torch.arange(S - T, S, device=q.device)[:, None] - torch.arange(S, device=q.device)
    if slopes is not None:
        scores = scores - slopes[:, None, None] * distance.abs()
    visible = (distance >= 0) if left < 0 else (distance >= 0) & (distance <= left)
    scores = scores.masked_fill(~visible, -math.inf)
    lse = torch.logsumexp(scores, -1)  # (H, T)
    # softmax(s) = exp(s - lse); a row that sees nothing is zeros
    weights = torch.exp(scores - lse.masked_fill(lse == -math.inf, 0.0)[:, :, None])
    return torch.einsum("hts,shd->thd", weights, values), lse


# ---- in Triton ----


@triton.jit
def find_tile(table_row, tile, begin, end, num_blocks, BLOCK_SIZE: tl.constexpr, BLOCK_N: tl.constexpr):
    """Where the tokens tile .. tile + BLOCK_N - 1 of a sequence lie: block ids, offsets, whether they may be read.

    A tile may span several blocks: every token looks its own block up (neighbours read the same word, so a block costs
    one access). Neither the table nor the cache is read for tokens before `begin` or from `end` on: an engine may
    have left garbage there, or taken the blocks that slid out of a window back.
    """
    n = tile + tl.arange(0, BLOCK_N)
    readable = (n >= begin) & (n < end)
    block = tl.load(table_row + n // BLOCK_SIZE, mask=readable, other=-1)
    readable = readable & (block >= 0) & (block < num_blocks)
    # 64 bits: block * stride passes 2**31 elements in a cache of a few gigabytes
    return block.to(tl.int64), n % BLOCK_SIZE, readable  # (BLOCK_N,) each


@triton.jit
def load_tile(
    cache, block, offset, readable, stride_block, stride_token, D: tl.constexpr, BLOCK_D: tl.constexpr
):
    """Keys or values of the tokens that find_tile found, zeros where nothing may be read: (BLOCK_N, BLOCK_D)."""
    d = tl.arange(0, BLOCK_D)
    rows = cache + block * stride_block + offset.to(tl.int64) * stride_token
    # the mask is the same along d, so that a thread still loads 16 bytes at a time
    return tl.load(rows[:, None] + d[None, :], mask=readable[:, None] & (d < D)[None, :], other=0.0)


@triton.jit
def attend_tiles(
    q_tile, position, slope, acc, maximum, total, start, stop, begin,
    key_cache, value_cache, table_row, scale, softcap, left, num_blocks,
    k_stride_block, k_stride_token, v_stride_block, v_stride_token,
    MASKED: tl.constexpr, D: tl.constexpr, BLOCK_SIZE: tl.constexpr, WINDOWED: tl.constexpr, ALIBI: tl.constexpr,
    CAPPED: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Online softmax over the keys start .. stop - 1 of one sequence, a tile at a time.

    q_tile (BLOCK_M, BLOCK_D): rows of queries at these positions (BLOCK_M,). begin: the first key any row sees.
    MASKED: some row may not see some key; start is a multiple of BLOCK_N always, stop if not MASKED.
    acc, maximum, total: Σ p·v, the highest score and Σ p so far, p = 2**(score - maximum); scores in base 2.
    scale, softcap: as `scored` takes them.
    """
    for tile in range(start, stop, BLOCK_N):
        block, offset, readable = find_tile(table_row, tile, begin, stop, num_blocks, BLOCK_SIZE, BLOCK_N)
        keys = load_tile(key_cache, block, offset, readable, k_stride_block, k_stride_token, D, BLOCK_D)
        values = load_tile(value_cache, block, offset, readable, v_stride_block, v_stride_token, D, BLOCK_D)
        products = tl.dot(q_tile, tl.trans(keys), input_precision="ieee")  # (BLOCK_M, BLOCK_N)
        distance = position[:, None] - (tile + tl.arange(0, BLOCK_N))[None, :]
        scores = scored(products, scale, softcap, CAPPED)
        if ALIBI:
            scores -= (slope * LOG2E)[:, None] * distance.to(tl.float32)
        if MASKED:
            visible = distance >= 0
            if WINDOWED:
                visible = visible & (distance <= left)
            highest = tl.max(tl.where(visible, scores, float("-inf")), 1)
        else:
            highest = tl.max(scores, 1)
        # what was summed relative to the old maximum is rescaled to the new one
        new_maximum = tl.maximum(maximum, highest)
        shift = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)  # -inf - -inf would be NaN
        rescale = tl.exp2(maximum - shift)
        weights = tl.exp2(scores - shift[:, None])
        if MASKED:
            weights = tl.where(visible, weights, 0.0)
        total = total * rescale + tl.sum(weights, 1)
        acc = tl.dot(weights.to(values.dtype), values, acc * rescale[:, None], input_precision="ieee")
        maximum = new_maximum
    return acc, maximum, total


@triton.jit
def finish(acc, maximum, total):
    """Σ p·v and Σ p, both relative to 2**maximum -> the output (M, D) and the natural log-sum-exp (M,).

    A row that saw no key has maximum = -inf and total = 0, and becomes zeros and -inf.
    """
    total = tl.where(total == 0, 1.0, total)
    return acc / total[:, None], (maximum + tl.log2(total)) * LN2
