"""Flash attention, backward, the half that owns keys: dV = Pᵀ dO and dK = scale · dSᵀ Q, dS = P ∘ (dO Vᵀ - δ).

A program keeps a tile of k and v and walks over the queries that see it, of all query heads that share this head:
every sum has one owner and one order, so there are no atomics, and two runs give equal bits. lse (in base 2) and δ
come from the workspace that flash_dq.py has filled.

Book 8.2 (효율적인 트랜스포머 연산). Dao 2023, "FlashAttention-2", algorithm 2.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from kernels._checks import INTERPRETED
from kernels.flash_dq import PAD, workspace
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


@triton.jit
def _into_dkv(
    dk, dv, k, v, queries, gradients, Lse2, Delta, Slopes, begin, clean, resume, end, columns, T, S, GROUP,
    q_head, q_row, do_head, do_row, work_head, scale, softcap, left, right,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_M: tl.constexpr, SOFTCAP: tl.constexpr, ALIBI: tl.constexpr,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, TMA: tl.constexpr, WANT_DK: tl.constexpr,
    WANT_DV: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Add dSᵀ Q and Pᵀ dO over the blocks of queries at the edges (MASKED) or between them, of all heads of the group.

    Everything is transposed, keys down and queries across: Pᵀ and dSᵀ then lie in registers just as the next product
    wants its left operand, and do not travel through shared memory. One flat loop over heads and blocks: a loop
    around the loop would cost registers.
    """
    blocks = turns(begin, clean, resume, end, MASKED)
    # the few blocks at the edges are not copied ahead: that would cost registers this loop does not have
    stages: tl.constexpr = 1 if MASKED and k.dtype != tl.float32 else None
    for turn in tl.range(0, GROUP * blocks, num_stages=stages):
        g = turn // blocks
        start = block_at(turn % blocks, begin, clean, resume, MASKED) * BLOCK_M
        at = g * work_head + start
        if TMA:
            q = queries.load([g, start, 0]).reshape([BLOCK_M, WIDTH])
            lse = Lse2.load([at])
        else:
            q = load_rows(queries + g.to(tl.int64) * q_head, start, T, q_row, D, WIDTH, BLOCK_M, MASKED)
            lse = tl.load(Lse2 + at + tl.arange(0, BLOCK_M))
        capped = scored(tl.dot(k, tl.trans(q), input_precision="ieee"), scale, softcap, SOFTCAP)
        rows = (start + tl.arange(0, BLOCK_M) + (S - T))[None, :]
        scores = capped
        if ALIBI:
            scores = capped - tl.load(Slopes + g) * LOG2E * tl.abs(rows - columns)
        p = tl.exp2(scores - lse[None, :])  # (BLOCK_N, BLOCK_M)
        if MASKED:
            seen = visible(rows, columns, S, left, right, HAS_LEFT, HAS_RIGHT)
            p = tl.where(seen, p, 0.0)
        if TMA:
            do = gradients.load([g, start, 0]).reshape([BLOCK_M, WIDTH])
        else:
            do = load_rows(gradients + g.to(tl.int64) * do_head, start, T, do_row, D, WIDTH, BLOCK_M, MASKED)
        if WANT_DV:
            dv = tl.dot(p.to(do.dtype), do, dv, input_precision="ieee")  # (BLOCK_N, WIDTH)
        if WANT_DK:
            dp = tl.dot(v, tl.trans(do), input_precision="ieee")
            if TMA:
                delta = Delta.load([at])
            else:
                delta = tl.load(Delta + at + tl.arange(0, BLOCK_M))
            ds = p * (dp - delta[None, :])
            if SOFTCAP:
                ds *= 1 - (capped / softcap) * (capped / softcap)
            if MASKED:
                ds = tl.where(p != 0, ds, 0.0)  # (`seen` again would have to wait through the product above)
            dk = tl.dot(ds.to(q.dtype), q, dk, input_precision="ieee")  # (BLOCK_N, WIDTH)
    return dk, dv


@triton.jit(
    do_not_specialize=["total_q", "total_k", "N", "HEADS", "T", "S", "tiles", "section", "left", "right"]
)
def dkv_kernel(
    Q, K, V, Dout, Slopes, Starts_q, Starts_k, Lse2, Delta, Dk, Dv,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, do_batch, do_head, do_row,
    dk_batch, dk_head, dk_row, dv_batch, dv_head, dv_row, work_batch, work_head,
    slope_batch, total_q, total_k, N, HEADS, GROUP, T, S, tiles, section, scale, softcap, factor, left, right,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    SOFTCAP: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_N keys and values of one head. Dk or Dv may be None: that one is then not computed."""
    VARLEN: tl.constexpr = Starts_q is not None
    ALIBI: tl.constexpr = Slopes is not None
    head, tile = place(N * HEADS, tiles, section, False)  # under a causal mask the first keys are seen most
    b, h = (head // HEADS).to(tl.int64), (head % HEADS).to(tl.int64)
    first_q, T = span(Starts_q, b, T, total_q, VARLEN)
    first_k, S = span(Starts_k, b, S, total_k, VARLEN)
    n0 = tile * BLOCK_N
    if n0 >= S:
        return
    k = load_rows(K + b * k_batch + h * k_head + first_k * k_row, n0, S, k_row, D, WIDTH, BLOCK_N, True)
    v = load_rows(V + b * v_batch + h * v_head + first_k * v_row, n0, S, v_row, D, WIDTH, BLOCK_N, True)
    columns = (n0 + tl.arange(0, BLOCK_N))[:, None]
    # the query heads that share this head of keys: h · GROUP and the next GROUP - 1
    queries = Q + b * q_batch + h * GROUP * q_head + first_q * q_row
    gradients = Dout + b * do_batch + h * GROUP * do_head + first_q * do_row
    work = tl.multiple_of(b * work_batch + h * GROUP * work_head + workspace(b, first_q, VARLEN), PAD)
    lse, delta = Lse2 + work, Delta + work
    slopes = Slopes
    if ALIBI:
        slopes = Slopes + b * slope_batch + h * GROUP
    if TMA:
        deep, long = tl.maximum(T, 1), (GROUP - 1) * work_head + tl.cdiv(T, PAD) * PAD
        queries = tl.make_tensor_descriptor(
            queries, [GROUP, deep, D], [q_head, q_row, 1], [1, BLOCK_M, WIDTH]
        )
        gradients = tl.make_tensor_descriptor(
            gradients, [GROUP, deep, D], [do_head, do_row, 1], [1, BLOCK_M, WIDTH]
        )
        lse = tl.make_tensor_descriptor(lse, [long], [1], [BLOCK_M])
        delta = tl.make_tensor_descriptor(delta, [long], [1], [BLOCK_M])
    last = tl.minimum(n0 + BLOCK_N, S) - 1
    # seen from the keys the window is mirrored: what a query sees to its right sees it on its left
    begin, clean, resume, end = reach(n0, last, T - S, right, left, T, BLOCK_M, HAS_RIGHT, HAS_LEFT)
    dk = tl.zeros([BLOCK_N, WIDTH], tl.float32)
    dv = tl.zeros([BLOCK_N, WIDTH], tl.float32)
    dk, dv = _into_dkv(
        dk, dv, k, v, queries, gradients, lse, delta, slopes, begin, clean, resume, end, columns, T, S, GROUP,
        q_head, q_row, do_head, do_row, work_head, scale, softcap, left, right,
        D, WIDTH, BLOCK_M, SOFTCAP, ALIBI, HAS_LEFT, HAS_RIGHT, TMA, Dk is not None, Dv is not None, True,
    )  # fmt: skip
    dk, dv = _into_dkv(
        dk, dv, k, v, queries, gradients, lse, delta, slopes, begin, clean, resume, end, columns, T, S, GROUP,
        q_head, q_row, do_head, do_row, work_head, scale, softcap, left, right,
        D, WIDTH, BLOCK_M, SOFTCAP, ALIBI, HAS_LEFT, HAS_RIGHT, TMA, Dk is not None, Dv is not None, False,
    )  # fmt: skip
    if Dk is not None:
        dk *= factor
        store_rows(Dk + b * dk_batch + h * dk_head + first_k * dk_row, n0, S, dk_row, dk, D, WIDTH, BLOCK_N)
    if Dv is not None:
        store_rows(Dv + b * dv_batch + h * dv_head + first_k * dv_row, n0, S, dv_row, dv, D, WIDTH, BLOCK_N)


def settings(width: int, dtype: torch.dtype, target: tuple[int, int], curved: bool) -> dict[str, int | bool]:
    """Tile and pipeline for heads padded to `width`; curved: with a soft cap or ALiBi, which take more registers.

    SPLIT: one launch for dK and one for dV. At width 256 both sums together do not fit into the registers.
    """
    if INTERPRETED:
        return {"BLOCK_M": 64, "BLOCK_N": 128, "TMA": False, "SPLIT": width == 256}
    hopper, blackwell = target[0] == 9, target[0] == 10
    tma = dtype != torch.float32 and (hopper or blackwell)
    shape = max(width, 64)
    limit = {}
    if dtype == torch.float32:
        m, n, warps, stages = {64: (16, 32, 8, 2), 128: (16, 16, 8, 2), 256: (16, 16, 8, 2)}[shape]
        limit = {"maxnreg": 224}
    elif hopper:
        m, n, warps, stages = {
            64: (64, 64, 4, 2),
            128: (32 if curved else 64, 128, 8, 2),
            # what bends the scores takes the registers that copying ahead would need
            256: (16, 128, 8, 1) if curved else (32, 128, 8, 2),
        }[shape]
    elif blackwell:
        m, n, warps, stages = (64, 128, 8, 2) if width <= 128 else (32, 128, 8, 2)
        limit = {"maxnreg": 255}
    else:
        m, n, warps, stages = {64: (32, 128, 8, 2), 128: (32, 64, 8, 2), 256: (16, 64, 8, 2)}[shape]
        limit = {"maxnreg": 240}  # left alone, the assembler may stop at 128 registers and spill
    chosen = {"BLOCK_M": m, "BLOCK_N": n, "TMA": tma, "num_warps": warps, "num_stages": stages, **limit}
    return chosen | {"SPLIT": width == 256}
