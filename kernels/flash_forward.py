"""Flash attention, forward: O = softmax(scale · Q Kᵀ) V without the T x S matrix ever reaching memory.

A program keeps one tile of queries and walks over the keys and values it sees, a block at a time; online softmax
(online_softmax.py) carries a running maximum, sum and output, so that a block of scores lives in registers only.
Bytes: Q, K, V and O once, and one float a row, instead of T·S scores written and read three times over.

Query i sees key j if  i + S - T - left <= j <= i + S - T + right: the last query stands on the last key, causal is
right = 0. Scores are kept in base 2, exp(x) = 2^(x · log2 e), because 2^x is one instruction of the GPU: the host has
multiplied scale and soft cap by log2 e (scores_in_base_2), the kernel multiplies the slopes.

Top to bottom: the kernel, the loop it runs, then the tile helpers of both, which the backward kernels use too.
flash_attention.py launches it.

Book 8.2 (효율적인 트랜스포머 연산). Dao 2023, "FlashAttention-2", algorithm 1. Where the speed comes from is said
at each line. Leaves out: warp specialisation (one group of warps copying, others computing), fp8, dropout.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from kernels._checks import INTERPRETED

LOG2E = tl.constexpr(math.log2(math.e))
LN2 = tl.constexpr(math.log(2))


@triton.jit(do_not_specialize=[
    "lse_batch", "lse_head", "total_q", "total_k", "N", "H", "T", "S", "tiles", "section", "left", "right",
])  # fmt: skip
def forward_kernel(
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


@triton.jit
def place(heads, tiles, section, LAST_FIRST: tl.constexpr):
    """(head, tile) of this program: the one axis of programs is cut into sections of `section` heads.

    Programs that run side by side belong to one section, so they find each other's keys and values in the L2 cache.
    Within a section tile by tile over all heads: under a causal mask the last queries see most, and LAST_FIRST
    starts them first, so that no long tile begins when the rest of the GPU is already done.
    """
    program = tl.program_id(0)
    first = program // (section * tiles) * section
    width = tl.minimum(section, heads - first)  # the last section may hold fewer heads
    within = program - first * tiles
    head, tile = first + within % width, within // width
    if LAST_FIRST:
        tile = tiles - 1 - tile
    return head, tile


@triton.jit
def span(Starts, b, length, total, VARLEN: tl.constexpr):
    """(first row, rows) of sequence b: a slice of the packed rows, or all `length` rows of a batch element.

    Cut to the rows there are: wrong cu_seqlens give a wrong answer, but never touch memory beyond the tensor.
    """
    first = b * 0
    if VARLEN:
        first = tl.minimum(tl.maximum(tl.load(Starts + b), 0), total)
        length = tl.minimum(tl.maximum(tl.load(Starts + b + 1), first), total) - first
    return first.to(tl.uint32).to(tl.int64), length  # never negative: the upper half is 0, not a register


@triton.jit
def reach(
    first, last, shift, before, after, length,
    BLOCK: tl.constexpr, HAS_BEFORE: tl.constexpr, HAS_AFTER: tl.constexpr,
):  # fmt: skip
    """Which blocks of the other axis rows first..last see, by number: (begin, clean, resume, end).

    Row r sees r + shift - before .. r + shift + after, cut to [0, length). Blocks clean .. resume - 1 are seen by
    every row, whole: no mask. Blocks begin .. clean - 1 and resume .. end - 1, the two edges, need one. Blocks
    outside are never loaded: that is why causal attention costs half.
    """
    stop, clean_stop = length, length
    if HAS_AFTER:
        stop = tl.maximum(tl.minimum(length, last + shift + after + 1), 0)
        clean_stop = tl.maximum(tl.minimum(length, first + shift + after + 1), 0)
    end = tl.cdiv(stop, BLOCK)
    begin, clean = end * 0, end * 0
    if HAS_BEFORE:
        begin = tl.minimum(tl.maximum(first + shift - before, 0) // BLOCK, end)
        clean = tl.minimum(tl.cdiv(tl.maximum(last + shift - before, 0), BLOCK), end)
    return begin, clean, tl.maximum(clean_stop // BLOCK, clean), end


@triton.jit
def turns(begin, clean, resume, end, MASKED: tl.constexpr):
    """How many blocks a loop visits: those of both edges (MASKED), or those between them."""
    count = resume - clean
    if MASKED:
        count = (clean - begin) + (end - resume)
    return count


@triton.jit
def block_at(turn, begin, clean, resume, MASKED: tl.constexpr):
    """The block of turn 0, 1, ..: of the edges begin .. clean - 1, resume .. end - 1 (MASKED), or from clean on."""
    block = clean + turn
    if MASKED:
        block = begin + turn
        block += (block >= clean).to(tl.int32) * (resume - clean)
    return block


@triton.jit
def visible(rows, columns, S, left, right, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr):
    """Whether the query at position r among the keys (i + S - T) sees key c; rows and columns broadcast."""
    seen = columns < S
    if HAS_LEFT:
        seen = seen & (columns >= rows - left)
    if HAS_RIGHT:
        seen = seen & (columns <= rows + right)
    return seen


@triton.jit
def load_rows(
    source,
    start,
    rows,
    stride,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    CHECKED: tl.constexpr,
):
    """Rows start .. start + BLOCK - 1 as (BLOCK, WIDTH); columns from D on are 0, and (CHECKED) rows from `rows` on."""
    down, across = tl.arange(0, BLOCK)[:, None], tl.arange(0, WIDTH)[None, :]
    # 64-bit arithmetic once, for the first row; the offsets within a tile are the same in every turn of a loop
    pointers = source + tl.cast(start, tl.int64) * stride + (down * stride + across)
    if CHECKED:
        tile = tl.load(pointers, mask=(start + down < rows) & (across < D), other=0.0)
    elif D < WIDTH:
        tile = tl.load(pointers, mask=across < D, other=0.0)
    else:
        tile = tl.load(pointers)
    return tile


@triton.jit
def store_rows(target, start, rows, stride, tile, D: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """The opposite of load_rows, rounded to the target's dtype.

    Mask and start are written otherwise than there, on purpose: what is the same expression, the compiler works out
    once and keeps in a register a row, from the loads before a loop to the stores after it.
    """
    down, across = tl.arange(0, BLOCK)[:, None], tl.arange(0, WIDTH)[None, :]
    pointers = target + tl.cast(tl.cast(start, tl.uint32), tl.int64) * stride + (down * stride + across)
    tl.store(pointers, tile.to(target.dtype.element_ty), mask=(down < rows - start) & (across < D))


@triton.jit
def tanh(x):
    """tanh x = 1 - 2 / (1 + e^2x), and its series near 0, where that difference would lose its digits.

    A GPU's 2^x and division are right to 2^-22 and 2 units only: from 0.35 on that leaves 1e-6.
    """
    squared = x * x
    series = x * (1 + squared * (-1 / 3 + squared * (2 / 15 + squared * (-17 / 315 + squared * (62 / 2835)))))
    return tl.where(tl.abs(x) < 0.35, series, 1 - 2 / (1 + tl.exp2(x * 2.8853900817779268)))  # 2 · log2 e


@triton.jit
def scored(products, scale, softcap, SOFTCAP: tl.constexpr):
    """q·k to scores in base 2: scale · q·k, or cap · tanh(scale · q·k / cap), which stays within ±cap.

    The host has put log2 e into `scale`; with a soft cap into `softcap`, and 1 / cap into `scale`.
    """
    if SOFTCAP:
        scores = softcap * tanh(products * scale)
    else:
        scores = products * scale
    return scores


def scores_in_base_2(scale: float, softcap: float) -> tuple[float, float]:
    """What `scored` takes as (scale, softcap)."""
    return (scale / softcap, softcap * LOG2E.value) if softcap else (scale * LOG2E.value, 0.0)


def settings(width: int, dtype: torch.dtype, target: tuple[int, int], alibi: bool) -> dict[str, int | bool]:
    """Tile and pipeline of the forward kernel for heads padded to `width`: what ships (kernels/measure/cases/flash.py).

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
