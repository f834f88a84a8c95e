"""What the flash-attention kernels share: which tile a program works on, which keys it may see, how scores are made.

A tile of scores is queries by keys. Query i sees key j if  i + S - T - left <= j <= i + S - T + right: the last query
stands on the last key, causal is right = 0, and seen from a key the same rule is the same window, mirrored.
Scores are kept in base 2, exp(x) = 2^(x · log2 e), because 2^x is one instruction of the GPU: the host has multiplied
scale and soft cap by log2 e, the kernels multiply the slopes.

Book 8.2 (효율적인 트랜스포머 연산). Used by flash_forward.py and flash_backward.py.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2E = tl.constexpr(math.log2(math.e))
LN2 = tl.constexpr(math.log(2))
PAD = tl.constexpr(128)  # rows of the backward workspace begin on multiples of this: whole, aligned tiles
CACHE = 32 << 20  # bytes of keys and values shared by programs side by side: the L2 cache holds 40 MB or more
FARTHEST = 1 << 29  # lengths and windows stay below this, so that sums of a few of them fit into 32 bits
APART = 1 << 23  # numbers from row to row stay below this, so that offsets within a tile fit into 32 bits
PROGRAMS = 1 << 31  # a launch has fewer


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
    return first.to(tl.int64), length


@triton.jit
def workspace(b, first_q, VARLEN: tl.constexpr):
    """Where sequence b begins in a row of the backward workspace; ceil(length / PAD) · PAD places are its own."""
    start = first_q * 0
    if VARLEN:
        start = (first_q // PAD + b) * PAD
    return start


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
    """The opposite of load_rows, rounded to the target's dtype."""
    down, across = tl.arange(0, BLOCK)[:, None], tl.arange(0, WIDTH)[None, :]
    pointers = target + tl.cast(start, tl.int64) * stride + (down * stride + across)
    tl.store(pointers, tile.to(target.dtype.element_ty), mask=(start + down < rows) & (across < D))


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


def width_of(D: int) -> int:
    """The width of a tile for heads of width D: the next of 16, 32, 64, 128, 256. 96 costs what 128 costs."""
    return max(16, triton.next_power_of_2(D))


def ready(x: Tensor) -> Tensor:
    """x if every row starts on 16 bytes and its elements lie side by side, rows not too far apart; else a copy.

    16 bytes are what one load instruction takes, and what the copy engine (TMA) of Hopper and later insists on.
    """
    batch, head, row = strides(x)
    unit = 16 // x.element_size()
    aligned = x.data_ptr() % 16 == 0 and all(step % unit == 0 for step in (batch, head, row))
    if aligned and x.stride(-1) == 1 and head > 0 and 0 < row < APART:
        return x
    return x.clone(memory_format=torch.contiguous_format)


def padded(*tensors: Tensor) -> list[Tensor]:
    """Heads widened with zeros to the next multiple of 8, so that rows can start on 16 bytes: zeros change nothing."""
    return [torch.nn.functional.pad(x, (0, -x.shape[-1] % 8)) for x in tensors]


def cut(padded_result: Tensor, x: Tensor) -> Tensor:
    """The opposite of `padded` for a result shaped as x."""
    return room_like(x).copy_(padded_result[..., : x.shape[-1]])


def room_like(x: Tensor) -> Tensor:
    """Memory for a result shaped as x, its axes in x's order where rows stay whole and not too far apart."""
    room = torch.empty_like(x)
    return room if room.stride(-1) == 1 and strides(room)[2] < APART else x.new_empty(x.shape)


def strides(x: Tensor) -> tuple[int, int, int]:
    """(batch, head, row) strides of (B, H, T, D), or of packed (total, H, D), which has no batch axis."""
    return x.stride()[:3] if x.ndim == 4 else (0, x.stride(1), x.stride(0))


def scores_in_base_2(scale: float, softcap: float) -> tuple[float, float]:
    """What `scored` takes as (scale, softcap)."""
    return (scale / softcap, softcap * LOG2E.value) if softcap else (scale * LOG2E.value, 0.0)


def slope_step(slopes: Tensor | None) -> int:
    """From one sequence's slopes to the next one's: 0 if all share theirs."""
    return slopes.stride(0) if slopes is not None and slopes.ndim == 2 else 0


def programs_of(heads: int, longest: int, block: int) -> tuple[int, int]:
    """(programs of a launch, tiles a head): all sequences' `heads` in tiles of `block` of up to `longest` rows."""
    tiles = triton.cdiv(longest, block)
    if heads * tiles >= PROGRAMS:
        raise ValueError(
            f"{heads} heads of up to {longest} rows (all sequences together) take {heads * tiles} programs, a launch "
            f"has fewer than {PROGRAMS}: give a smaller max_seqlen, or fewer sequences at once"
        )
    return heads * tiles, tiles


def section_of(heads: int, group: int, rows: int, x: Tensor) -> int:
    """How many query heads run side by side: as many as their `rows` keys and values fit into the L2 cache."""
    bytes_of_a_head = 2 * max(rows, 1) * x.shape[-1] * x.element_size()
    return max(1, min(heads, CACHE // bytes_of_a_head * group))


def lend_scratch(x: Tensor) -> None:
    """Kernels that make descriptors ask Triton for a little device memory to keep them in; torch's cache lends it."""
    triton.set_allocator(lambda size, alignment, stream: torch.empty(size, dtype=torch.int8, device=x.device))
