"""Flash attention, forward: O = softmax(scale · Q Kᵀ) V without the T x S matrix ever reaching memory.

A program keeps one tile of queries and walks over the keys and values it sees, a block at a time; online softmax
(online_softmax.py) carries a running maximum, sum and output, so that a block of scores lives in registers only.
Bytes: Q, K, V and O once, and one float a row, instead of T·S scores written and read three times over.

Book 8.2 (효율적인 트랜스포머 연산). Dao 2023, "FlashAttention-2", algorithm 1. Where the speed comes from is said
at each line. Leaves out: warp specialisation (one group of warps copying, others computing), fp8, dropout.
"""

from __future__ import annotations

import contextvars

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import INTERPRETED, capability
from kernels.flash_tiles import (
    LN2,
    LOG2E,
    block_at,
    cut,
    lend_scratch,
    load_rows,
    padded,
    place,
    programs_of,
    reach,
    ready,
    room_like,
    scored,
    scores_in_base_2,
    section_of,
    slope_step,
    span,
    store_rows,
    strides,
    turns,
    visible,
    width_of,
)


@triton.jit
def _attend(
    state, q, keys, values, begin, clean, resume, end, rows, S, k_row, v_row, scale, softcap, slope, left, right,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_N: tl.constexpr, FOLDED: tl.constexpr, SOFTCAP: tl.constexpr,
    ALIBI: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, TMA: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Take the blocks of keys at the edges (MASKED) or between them into the state (output, sum, maximum)."""
    output, total, top = state
    # the few blocks at the edges are not copied ahead: with pointers and masks that would cost registers
    stages: tl.constexpr = 1 if MASKED and not TMA and q.dtype != tl.float32 else None
    for turn in tl.range(0, turns(begin, clean, resume, end, MASKED), num_stages=stages):
        start = block_at(turn, begin, clean, resume, MASKED) * BLOCK_N
        if TMA:
            k = keys.load([start, 0])
        else:
            k = load_rows(keys, start, S, k_row, D, WIDTH, BLOCK_N, MASKED)  # (BLOCK_N, WIDTH)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee")  # (BLOCK_M, BLOCK_N)
        # scale > 0 keeps the order, so the maximum may be taken before scaling, and scores · scale - maximum is then
        # one fused multiply-add an element; a soft cap or ALiBi must come between, and scales the scores at once
        unit = scale
        if not FOLDED:
            unit = 1.0
            scores = scored(scores, scale, softcap, SOFTCAP)
        columns = start + tl.arange(0, BLOCK_N)[None, :]
        if ALIBI:
            scores -= slope * tl.abs(rows - columns)
        if MASKED:
            seen = visible(rows, columns, S, left, right, HAS_LEFT, HAS_RIGHT)
            scores = tl.where(seen, scores, float("-inf"))
        # m' = max(m, max scores);  l' = l · 2^(m - m') + Σ p;  o' = o · 2^(m - m') + p V,  p = 2^(scores - m')
        new_top = tl.maximum(top, tl.max(scores, 1) * unit)  # (BLOCK_M,)
        # a row that has seen no key yet has maximum -inf, and -inf - -inf is NaN: take 0 there
        finite = tl.where(new_top == float("-inf"), 0.0, new_top)
        p = tl.exp2(scores * unit - finite[:, None])
        shrink = tl.exp2(top - finite)
        total = total * shrink + tl.sum(p, 1)
        if TMA:
            v = values.load([start, 0])
        else:
            v = load_rows(values, start, S, v_row, D, WIDTH, BLOCK_N, MASKED)
        # the shrunken output is the accumulator the tensor cores start from: no separate addition
        output = output * shrink[:, None]  # (BLOCK_M, WIDTH)
        output = tl.dot(p.to(v.dtype), v, output, input_precision="ieee")
        top = new_top
    return output, total, top


@triton.jit(do_not_specialize=[
    "lse_batch", "lse_head", "total_q", "total_k", "N", "H", "T", "S", "tiles", "section", "left", "right",
])  # fmt: skip
def _forward_kernel(
    Q, K, V, Out, Lse, Slopes, Starts_q, Starts_k,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, o_batch, o_head, o_row,
    lse_batch, lse_head, slope_batch, total_q, total_k, N, H, GROUP, T, S, tiles, section,
    scale, softcap, left, right,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, FOLDED: tl.constexpr,
    SOFTCAP: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_M queries of one head of one sequence."""
    VARLEN: tl.constexpr = Starts_q is not None
    ALIBI: tl.constexpr = Slopes is not None
    head, tile = place(N * H, tiles, section, HAS_RIGHT)
    b, h = (head // H).to(tl.int64), (head % H).to(tl.int64)
    first_q, T = span(Starts_q, b, T, total_q, VARLEN)
    first_k, S = span(Starts_k, b, S, total_k, VARLEN)
    m0 = tile * BLOCK_M
    if m0 >= T:  # the grid is made for the longest sequence
        return
    q = load_rows(Q + b * q_batch + h * q_head + first_q * q_row, m0, T, q_row, D, WIDTH, BLOCK_M, True)
    # a group of query heads shares one head of keys and values
    keys = K + b * k_batch + h // GROUP * k_head + first_k * k_row
    values = V + b * v_batch + h // GROUP * v_head + first_k * v_row
    if TMA:
        # one thread orders a whole tile from the copy engine, which also fills in zeros beyond S and D: no registers
        # for addresses and no instructions for bounds, and that is what lets a 128 x 128 tile fit without a spill
        keys = tl.make_tensor_descriptor(keys, [tl.maximum(S, 1), D], [k_row, 1], [BLOCK_N, WIDTH])
        values = tl.make_tensor_descriptor(values, [tl.maximum(S, 1), D], [v_row, 1], [BLOCK_N, WIDTH])
    queries = m0 + tl.arange(0, BLOCK_M)
    rows = (queries + (S - T))[:, None]  # where the queries stand among the keys
    slope = 0.0
    if ALIBI:
        slope = tl.load(Slopes + b * slope_batch + h) * LOG2E
    last = tl.minimum(m0 + BLOCK_M, T) - 1
    begin, clean, resume, end = reach(m0, last, S - T, left, right, S, BLOCK_N, HAS_LEFT, HAS_RIGHT)
    state = (
        tl.zeros([BLOCK_M, WIDTH], tl.float32),
        tl.zeros([BLOCK_M], tl.float32),
        tl.full([BLOCK_M], float("-inf"), tl.float32),
    )
    # two loops, so that the long one carries no mask; the order of the blocks does not matter to online softmax
    state = _attend(
        state, q, keys, values, begin, clean, resume, end, rows, S, k_row, v_row, scale, softcap, slope, left, right,
        D, WIDTH, BLOCK_N, FOLDED, SOFTCAP, ALIBI, HAS_LEFT, HAS_RIGHT, TMA, True,
    )  # fmt: skip
    output, total, top = _attend(
        state, q, keys, values, begin, clean, resume, end, rows, S, k_row, v_row, scale, softcap, slope, left, right,
        D, WIDTH, BLOCK_N, FOLDED, SOFTCAP, ALIBI, HAS_LEFT, HAS_RIGHT, TMA, False,
    )  # fmt: skip
    # O = o / l; a query that saw nothing has l = 0, o = 0 and m = -inf: O = 0 and a log-sum-exp of -inf
    total = tl.where(total == 0, 1.0, total)
    output = output / total[:, None]
    store_rows(Out + b * o_batch + h * o_head + first_q * o_row, m0, T, o_row, output, D, WIDTH, BLOCK_M)
    lse = (top + tl.log2(total)) * LN2
    tl.store(Lse + b * lse_batch + h * lse_head + first_q + queries, lse, mask=queries < T)


def settings(width: int, dtype: torch.dtype, target: tuple[int, int], alibi: bool) -> dict[str, int | bool]:
    """Tile and pipeline of the forward kernel for heads padded to `width`: what ships (kernels/cases/flash.py).

    Nothing here depends on the batch or on lengths, so that a sequence gives the same bits in any company.
    """
    if INTERPRETED:  # small, so that loops and ragged edges are met by small tensors
        return {"BLOCK_M": 64, "BLOCK_N": 64, "TMA": False}
    hopper, blackwell = target[0] == 9, target[0] == 10
    tma = dtype != torch.float32 and (hopper or blackwell)
    limit = {}
    if dtype == torch.float32:  # exact products: no tensor cores, and every operand of a product in registers
        m, n, warps, stages = {64: (32, 32, 8, 2), 128: (32, 16, 8, 2), 256: (16, 16, 8, 2)}[max(width, 64)]
        limit = {"maxnreg": 224}
    elif hopper and width <= 64:
        # two programs fit side by side: one's exp under the other's wgmma
        m, n, warps, stages = 128, 64, 4, 3
    elif hopper:
        m, n, warps, stages = (128, 128, 8, 2) if width == 128 else (128, 64, 8, 2)
    elif blackwell:
        m, n, warps, stages = (128, 64, 8, 3) if width <= 128 else (128, 32, 8, 2)
        limit = {"maxnreg": 240}  # left alone, the assembler may stop at 128 registers and spill
    else:  # A100 and the cards with 99 kB of shared memory
        m, n, warps, stages = {64: (128, 64, 8, 3), 128: (128, 32, 8, 3), 256: (64, 32, 8, 2)}[max(width, 64)]
        if width == 128 and alibi:  # the distances take registers that the tall tile does not have
            m, n, warps, stages = 64, 32, 4, 3
    return {"BLOCK_M": m, "BLOCK_N": n, "TMA": tma, "num_warps": warps, "num_stages": stages, **limit}


def outputs(q: Tensor) -> tuple[Tensor, Tensor]:
    """Room for the output, like q, and for the log-sum-exp, (B, H, T) or packed (H, total)."""
    rows = q.shape[:3] if q.ndim == 4 else (q.shape[1], q.shape[0])
    return room_like(q), q.new_empty(rows, dtype=torch.float32)


def forward(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor | None, starts_q: Tensor | None, starts_k: Tensor | None,
    longest_q: int, longest_k: int, scale: float, left: int, right: int, softcap: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Launch: (output like q, log-sum-exp (B, H, T) or packed (H, total) in float32). The caller has checked.

    q, k, v as (B, heads, length, D), or packed as (total, heads, D) with the sequences' starts. left, right: how far
    a query sees, -1 = to the end.
    """
    if q.shape[-1] % 8:
        out, lse = forward(
            *padded(q, k, v), slopes, starts_q, starts_k, longest_q, longest_k, scale, left, right, softcap
        )
        return cut(out, q), lse
    packed = starts_q is not None
    out, lse = outputs(q)
    q, k, v = ready(q), ready(k), ready(v)
    sequences, D = (starts_q.numel() - 1 if packed else q.shape[0]), q.shape[-1]
    heads, group = q.shape[1], q.shape[1] // k.shape[1]
    chosen = settings(width_of(D), q.dtype, capability(q), slopes is not None)
    programs, tiles = programs_of(sequences * heads, longest_q, chosen["BLOCK_M"])
    if programs == 0:
        return out, lse

    def launch() -> None:
        lend_scratch(q)
        _forward_kernel[(programs,)](
            q, k, v, out, lse, slopes, starts_q, starts_k,
            *strides(q), *strides(k), *strides(v), *strides(out),
            0 if packed else lse.stride(0), lse.stride(-2), slope_step(slopes),
            q.shape[0], k.shape[0], sequences, heads, group, longest_q, longest_k, tiles,
            section_of(sequences * heads, group, longest_k, k),
            *scores_in_base_2(scale, softcap), left, right,
            D=D, WIDTH=width_of(D), SOFTCAP=softcap > 0,
            FOLDED=scale > 1e-30 and slopes is None and softcap == 0,  # in float32 a smaller one may be 0: 0 · -inf
            HAS_LEFT=left >= 0, HAS_RIGHT=right >= 0, **chosen,
        )  # fmt: skip

    # Triton keeps the lender of scratch memory in a context variable: ours ends with this context
    with torch.cuda.device_of(q):
        contextvars.copy_context().run(launch)
    return out, lse
