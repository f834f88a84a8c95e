"""What the host does around a launch of flash attention: check, lay memory out, count programs.

Shared by flash_attention.py, which launches the forward kernel, and flash_backward.py, which launches the others.
"""

from __future__ import annotations

import math

import torch
import triton
from torch import Tensor

from kernels._checks import FLOATS, check_flag, check_int, check_number, check_softcap, check_tensor, describe

WIDEST = 256  # head widths above this would need the width cut into pieces
CACHE = 32 << 20  # bytes of keys and values shared by programs side by side: the L2 cache holds 40 MB or more
FARTHEST = 1 << 29  # lengths and windows stay below this, so that sums of a few of them fit into 32 bits
APART = 1 << 23  # numbers from row to row stay below this, so that offsets within a tile fit into 32 bits
PROGRAMS = 1 << 31  # a launch has fewer


def options_of(
    q: Tensor,
    causal: bool,
    scale: float | None,
    window: tuple[int, int] | None,
    softcap: float,
    return_lse: bool,
) -> tuple[int, int, float, float]:
    """(left, right, scale, softcap) with the defaults filled in; left, right: how far a query sees, -1 = to the end."""
    check_flag("return_lse", return_lse)
    left, right = -1, -1
    if window is not None:
        if not isinstance(window, (tuple, list)) or len(window) != 2:
            raise ValueError(f"window must be (left, right), two integers, got {describe(window)}")
        # a window wider than any sequence is cut, so that sums of positions fit into 32 bits
        left, right = (min(check_int("each side of window", side, -1), FARTHEST) for side in window)
    if check_flag("causal", causal):
        right = 0
    if scale is None:
        width = q.shape[-1] if isinstance(q, Tensor) and q.ndim else 1
        scale = 1 / math.sqrt(max(width, 1))
    return left, right, check_number("scale", scale), check_softcap(softcap)


def check_inputs(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    shape: str,
    slopes: Tensor | None,
    dtypes: tuple[torch.dtype, ...] = FLOATS,
    sequences: int | None = None,
) -> None:
    """ValueError unless q, k, v and the slopes fit together. shape: "B {} T D" or "T {} D", with H or K for {}."""
    check_tensor("q", q, shape.format("H"), dtypes)
    for name, x in (("k", k), ("v", v)):
        check_tensor(name, x, shape.format("K").replace("T", "S"), (q.dtype,), like=q)
    heads, key_heads = q.shape[1], k.shape[1]
    together = k.shape == v.shape and q.shape[-1] == k.shape[-1] and (q.ndim == 3 or q.shape[0] == k.shape[0])
    if not together or key_heads == 0 or heads % key_heads:
        raise ValueError(
            f"q ({shape.format('H')}) needs k and v ({shape.format('K').replace('T', 'S')}), with H a multiple of K "
            f"and one D, got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
        )
    if not 1 <= q.shape[-1] <= WIDEST:
        raise ValueError(f"the head width D must be between 1 and {WIDEST}, got q {describe(q)}")
    if max(q.shape[-3], q.shape[-2], k.shape[-3], k.shape[-2]) >= FARTHEST:
        raise ValueError(f"lengths must be below {FARTHEST}, got q {describe(q)} and k {describe(k)}")
    if slopes is not None:
        sequences = q.shape[0] if sequences is None else sequences
        if (
            not isinstance(slopes, Tensor)
            or slopes.dtype != torch.float32
            or slopes.device != q.device
            or tuple(slopes.shape) not in ((heads,), (sequences, heads))
        ):
            raise ValueError(
                f"alibi_slopes must be a float32 tensor of shape ({heads},) or ({sequences}, {heads}) on {q.device}, "
                f"got {describe(slopes)}"
            )


def check_starts(name: str, starts: Tensor, longest: int, total: int) -> None:
    """ValueError unless the starts rise from 0 to total in steps of at most `longest`; read only where that is free."""
    if starts.device.type != "cpu":
        return
    steps = starts.diff()
    if starts[0] != 0 or starts[-1] != total or (steps < 0).any() or (steps > longest).any():
        raise ValueError(
            f"cu_seqlens_{name} must rise from 0 to {total}, the rows of {name}, in steps of at most "
            f"max_seqlen_{name} = {longest}, got {describe(starts.tolist())}"
        )


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
