"""Flash attention, backward, the half that owns queries: dQ = scale · dS K, and δ = rowsum(O ∘ dO) - dlse on the way.

A program keeps a tile of q, dO, lse and δ and walks over the keys and values its queries see, as the forward pass
does; P is worked out again from lse, exp(scale · q·k - lse), with no maximum to search. δ needs O and dO of exactly
these rows, so this kernel makes it (one launch and one reading of dO less) and leaves it in a workspace for
flash_dkv.py, with lse in base 2: whole padded tiles, so that the other kernel loads them without masks.

Book 8.2 (효율적인 트랜스포머 연산). Dao 2023, "FlashAttention-2", algorithm 2, where one kernel does both halves
and adds to dQ atomically.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from kernels._checks import INTERPRETED
from kernels.flash_forward import (
    LOG2E,
    block_at,
    load_rows,
    place,
    reach,
    scored,
    span,
    store_rows,
    turns,
    visible,
)

PAD = tl.constexpr(128)  # rows of the workspace begin on multiples of this: whole, aligned tiles


@triton.jit
def workspace(b, first_q, VARLEN: tl.constexpr):
    """Where sequence b begins in a row of the backward workspace; ceil(length / PAD) · PAD places are its own."""
    start = first_q * 0
    if VARLEN:
        start = (first_q // PAD + b) * PAD
    return start


@triton.jit
def _into_dq(
    dq, q, do, lse, delta, keys, values, begin, clean, resume, end, rows, S, k_row, v_row, scale, softcap, slope,
    left, right, D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_N: tl.constexpr, SOFTCAP: tl.constexpr,
    ALIBI: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, TMA: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Add dS K over the blocks of keys at the edges (MASKED) or between them."""
    # as in the forward pass: no copying ahead at the edges where registers are short (float32: it saves some)
    SHORT: tl.constexpr = q.dtype != tl.float32 and (WIDTH == 256 or not TMA)
    stages: tl.constexpr = 1 if MASKED and SHORT else None
    for turn in tl.range(0, turns(begin, clean, resume, end, MASKED), num_stages=stages):
        start = block_at(turn, begin, clean, resume, MASKED) * BLOCK_N
        if TMA:
            k = keys.load([start, 0])
        else:
            k = load_rows(keys, start, S, k_row, D, WIDTH, BLOCK_N, MASKED)  # (BLOCK_N, WIDTH)
        capped = scored(tl.dot(q, tl.trans(k), input_precision="ieee"), scale, softcap, SOFTCAP)
        columns = start + tl.arange(0, BLOCK_N)[None, :]
        scores = capped
        if ALIBI:
            scores = capped - slope * tl.abs(rows - columns)
        p = tl.exp2(scores - lse[:, None])  # (BLOCK_M, BLOCK_N)
        if TMA:
            v = values.load([start, 0])
        else:
            v = load_rows(values, start, S, v_row, D, WIDTH, BLOCK_N, MASKED)
        ds = p * (tl.dot(do, tl.trans(v), input_precision="ieee") - delta[:, None])
        if SOFTCAP:
            # score = cap · tanh(x), whose derivative in x is cap · (1 - tanh²)
            ds *= 1 - (capped / softcap) * (capped / softcap)
        if MASKED:
            ds = tl.where(visible(rows, columns, S, left, right, HAS_LEFT, HAS_RIGHT), ds, 0.0)
        dq = tl.dot(ds.to(k.dtype), k, dq, input_precision="ieee")  # (BLOCK_M, WIDTH)
    return dq


@triton.jit(do_not_specialize=[
    "lse_batch", "lse_head", "total_q", "total_k", "N", "H", "T", "S", "tiles", "section", "left", "right",
])  # fmt: skip
def dq_kernel(
    Q, K, V, Out, Dout, Lse, Dlse, Slopes, Starts_q, Starts_k, Dq, Lse2, Delta,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, o_batch, o_head, o_row,
    do_batch, do_head, do_row, dq_batch, dq_head, dq_row, lse_batch, lse_head, work_batch, work_head,
    slope_batch, total_q, total_k, N, H, GROUP, T, S, tiles, section, scale, softcap, factor, left, right,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    SOFTCAP: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_M queries of one head. Also leaves their δ and base-2 lse in the workspace for dK and dV."""
    VARLEN: tl.constexpr = Starts_q is not None
    ALIBI: tl.constexpr = Slopes is not None
    head, tile = place(N * H, tiles, section, HAS_RIGHT)
    b, h = (head // H).to(tl.int64), (head % H).to(tl.int64)
    first_q, T = span(Starts_q, b, T, total_q, VARLEN)
    first_k, S = span(Starts_k, b, S, total_k, VARLEN)
    m0 = tile * BLOCK_M
    if m0 >= T:
        return
    queries = m0 + tl.arange(0, BLOCK_M)
    Dout += b * do_batch + h * do_head + first_q * do_row
    do = load_rows(Dout, m0, T, do_row, D, WIDTH, BLOCK_M, True)
    out = load_rows(Out + b * o_batch + h * o_head + first_q * o_row, m0, T, o_row, D, WIDTH, BLOCK_M, True)
    # δ = rowsum(O ∘ dO) - dlse: what the softmax takes off every dP of the row
    delta = tl.sum(out.to(tl.float32) * do.to(tl.float32), 1)  # (BLOCK_M,)
    row = b * lse_batch + h * lse_head + first_q + queries
    if Dlse is not None:
        delta -= tl.load(Dlse + row, mask=queries < T, other=0.0)
    lse = tl.load(Lse + row, mask=queries < T, other=float("-inf")) * LOG2E
    # a row without keys, or beyond T: 2^(score - inf) = 0, so that nothing comes from it and no mask is needed
    lse = tl.where(lse == float("-inf"), float("inf"), lse)
    work = b * work_batch + h * work_head + workspace(b, first_q, VARLEN) + queries
    tl.store(Lse2 + work, lse)
    tl.store(Delta + work, delta)
    q = load_rows(Q + b * q_batch + h * q_head + first_q * q_row, m0, T, q_row, D, WIDTH, BLOCK_M, True)
    keys = K + b * k_batch + h // GROUP * k_head + first_k * k_row
    values = V + b * v_batch + h // GROUP * v_head + first_k * v_row
    if TMA:
        keys = tl.make_tensor_descriptor(keys, [tl.maximum(S, 1), D], [k_row, 1], [BLOCK_N, WIDTH])
        values = tl.make_tensor_descriptor(values, [tl.maximum(S, 1), D], [v_row, 1], [BLOCK_N, WIDTH])
    rows = (queries + (S - T))[:, None]
    slope = 0.0
    if ALIBI:
        slope = tl.load(Slopes + b * slope_batch + h) * LOG2E
    last = tl.minimum(m0 + BLOCK_M, T) - 1
    begin, clean, resume, end = reach(m0, last, S - T, left, right, S, BLOCK_N, HAS_LEFT, HAS_RIGHT)
    dq = tl.zeros([BLOCK_M, WIDTH], tl.float32)
    dq = _into_dq(
        dq, q, do, lse, delta, keys, values, begin, clean, resume, end, rows, S, k_row, v_row, scale, softcap, slope,
        left, right, D, WIDTH, BLOCK_N, SOFTCAP, ALIBI, HAS_LEFT, HAS_RIGHT, TMA, True,
    )  # fmt: skip
    dq = _into_dq(
        dq, q, do, lse, delta, keys, values, begin, clean, resume, end, rows, S, k_row, v_row, scale, softcap, slope,
        left, right, D, WIDTH, BLOCK_N, SOFTCAP, ALIBI, HAS_LEFT, HAS_RIGHT, TMA, False,
    )  # fmt: skip
    store_rows(
        Dq + b * dq_batch + h * dq_head + first_q * dq_row, m0, T, dq_row, dq * factor, D, WIDTH, BLOCK_M
    )


def settings(width: int, dtype: torch.dtype, target: tuple[int, int], curved: bool) -> dict[str, int | bool]:
    """Tile and pipeline for heads padded to `width`; curved: with a soft cap or ALiBi, which take more registers."""
    if INTERPRETED:
        return {"BLOCK_M": 128, "BLOCK_N": 64, "TMA": False}
    hopper, blackwell = target[0] == 9, target[0] == 10
    tma = dtype != torch.float32 and (hopper or blackwell)
    shape = max(width, 64)
    limit = {}
    if dtype == torch.float32:
        m, n, warps, stages = {64: (32, 32, 8, 2), 128: (32, 16, 8, 2), 256: (16, 16, 8, 2)}[shape]
        limit = {"maxnreg": 224}
    elif hopper or blackwell:
        m, n, warps, stages = (
            (128, 64, 8, 2) if width <= 128 else (128, 16 if hopper and curved else 32, 8, 2)
        )
        limit = {"maxnreg": 240} if blackwell else {}
    else:
        m, n, warps, stages = {64: (64, 64, 4, 2), 128: (64, 32, 4, 2), 256: (64, 16, 8, 2)}[shape]
    return {"BLOCK_M": m, "BLOCK_N": n, "TMA": tma, "num_warps": warps, "num_stages": stages, **limit}
