"""Rows (행): what every kernel that works along the last axis shares, on the host's side.

Such a kernel is bound by memory: it reads its rows once, writes them once, and its arithmetic hides behind that. So
the settings here follow one rule: enough 16-byte loads in flight. Little's law says how much that is on an H200:
4.8 TB/s (its data sheet) times about 700 ns is 3.4 MB, 25 kB on each of its 132 multiprocessors. A tile of 4,096
numbers on 4 warps is four 16-byte loads a thread in bfloat16, and several such programs share a multiprocessor.

Book 8.3.1 커널 퓨전 (kernel fusion).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from kernels._checks import FLOATS, INTERPRETED, check_launch, check_number, check_tensor, describe

WIDEST = 16_384  # the widest row that one program holds in registers without spilling


class Tile(NamedTuple):
    """The block of a (N, C) tensor that one program works on at a time."""

    rows: int
    columns: int  # a power of two
    warps: int


def whole_rows(width: int, per_thread: int) -> Tile:
    """A tile of whole rows: one long row, or as many short ones as fill 4 warps.

    per_thread: numbers of each tensor in a thread: 32 where a kernel holds one tensor, 16 where it holds two or three.
    """
    columns = triton.next_power_of_2(width)
    if INTERPRETED:  # few rows a tile, so that a small test has several tiles and a ragged one
        return Tile(max(1, 256 // columns), columns, 4)
    rows = max(1, 128 * per_thread // columns)
    return Tile(rows, columns, min(32, max(4, columns // (32 * per_thread))))


def row_pieces(width: int, piece: int, warps: int) -> Tile:
    """A tile for a loop along rows: `piece` columns a step."""
    return Tile(1, min(64 if INTERPRETED else piece, triton.next_power_of_2(width)), warps)


def count_rows(x: Tensor) -> int:
    """How many rows x (..., C) has. (torch.Size.numel would fix a number that torch.compile is to keep open.)"""
    return math.prod(x.shape[:-1])


def as_rows(x: Tensor) -> Tensor:
    """x (..., C) as (N, C) whose last axis is contiguous: a view where the strides allow it, else a copy.

    An expanded x stays a view with row stride 0: kernels address rows by their stride.
    """
    rows = x.reshape(count_rows(x), x.shape[-1])
    return rows if rows.stride(1) == 1 or rows.shape[1] == 1 else rows.contiguous()


def persistent(x: Tensor, tiles: int, warps: int) -> int:
    """How many programs share the tiles of a grid-stride loop: as many as the GPU that holds x runs at once."""
    if INTERPRETED:
        return min(tiles, 3)
    processors = torch.cuda.get_device_properties(x.device).multi_processor_count if x.is_cuda else 132
    # 1,024 threads of 64 registers fill a multiprocessor; of small programs 4 are enough, and each leaves a partial sum
    return min(tiles, processors * (32 // max(warps, 8)))


def check_rows(name: str, x: Any, like: Tensor | None = None) -> Tensor:
    """`x` if it is a float tensor (..., C); with `like`, of its shape, dtype and device too. Raises ValueError."""
    dense = isinstance(x, Tensor) and x.layout == torch.strided
    if not dense or x.dtype not in FLOATS or x.dim() == 0:
        raise ValueError(f"{name} must be a float16, bfloat16 or float32 tensor (..., C), got {describe(x)}")
    if count_rows(x) >= 2**31:  # rows are counted in 32 bits, and a launch takes no more programs
        raise ValueError(f"{name} must be of fewer than 2**31 rows, got {describe(x)}")
    if like is not None and (x.shape, x.dtype, x.device) != (like.shape, like.dtype, like.device):
        raise ValueError(f"{name} must match {describe(like)}, got {describe(x)}")
    return x


def check_norm(x: Any, weight: Any, bias: Any, eps: Any, residual: Any, launch: bool = True) -> float:
    """What rms_norm and layer_norm ask of their arguments; eps as a float. Raises ValueError.

    launch: whether a kernel is to read them; the plain versions run anywhere.
    """
    check_rows("x", x)
    for name, value in (("weight", weight), ("bias", bias)):
        if name == "weight" or value is not None:
            check_tensor(name, value, "C", like=x)
            if value.shape[0] != x.shape[-1]:
                raise ValueError(f"{name} must be as wide as x, {describe(x)}, got {describe(value)}")
    if residual is not None:
        check_rows("residual", residual, like=x)
    if launch:
        check_launch(x, weight, bias, residual)
    return check_number("eps", eps, 0.0)
