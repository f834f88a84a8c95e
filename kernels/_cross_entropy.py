"""The pass over the logits that cross_entropy.py and linear_cross_entropy.py launch: losses and their gradient.

A row of up to 16,384 logits stays in the registers of its program. A longer one is read twice: after the first reading
its maximum and its sum are known; the second comes from the L2 cache, and writes the gradient as it goes. Long rows
are read and written 16 bytes at a time, also GPT-2's 50,257 logits, whose rows start at odd addresses.

Book 8.3.1 커널 퓨전 (kernel fusion).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import FLOATS, INTERPRETED, describe
from kernels._rows import WIDEST, whole_rows
from kernels.softmax import merge_lanes, online_step

PIECE = 32_768  # how many numbers a program of _scale_kernel scales where rows do not matter


@triton.jit
def _gradient(x, largest, total, is_target, V, smoothing, scale):
    """(softmax(x) - (1-ε)·[j = t] - ε/V) · scale"""
    return (tl.exp(x - largest) / total - tl.where(is_target, 1.0 - smoothing, 0.0) - smoothing / V) * scale


@triton.jit
def _short_rows_kernel(
    logits_ptr, target_ptr, loss_ptr, gradient_ptr, scale_ptr,
    N, V, logits_stride, gradient_stride, ignore_index, smoothing,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, SMOOTH: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]  # (ROWS, 1)
    column = tl.arange(0, BLOCK)[None, :]  # (1, BLOCK)
    target = tl.load(target_ptr + row, mask=row < N, other=ignore_index)
    counted = target != ignore_index  # an ignored row is not even read
    inside = counted & (column < V)
    x_row = logits_ptr + row * logits_stride
    # a target outside of [0, V) gives NaN instead of another row's number
    valid = counted & (target >= 0) & (target < V)
    # loaded before the gradient may overwrite the logits
    x_target = tl.load(x_row + target, mask=valid, other=float("nan")).to(tl.float32)
    x = tl.load(x_row + column, mask=inside, other=-float("inf")).to(tl.float32)  # (ROWS, BLOCK)
    largest = tl.where(counted, tl.max(x, axis=1, keep_dims=True), 0.0)  # (ROWS, 1)
    total = tl.where(counted, tl.sum(tl.exp(x - largest), axis=1, keep_dims=True), 1.0)
    # loss = log Σ exp(x - m) + (1-ε)(m - x_t) + ε (m - mean x)
    loss = tl.log(total) + (1.0 - smoothing) * (largest - x_target)
    if SMOOTH:
        loss += smoothing * (tl.sum(tl.where(inside, largest - x, 0.0), axis=1, keep_dims=True) / V)
    tl.store(loss_ptr + row, tl.where(counted, loss, 0.0), mask=row < N)
    if gradient_ptr is not None:
        scale = 1.0
        if scale_ptr is not None:
            scale = tl.load(scale_ptr)
        scale = tl.where(valid, scale, float("nan"))
        gradient = _gradient(x, largest, total, column == target, V, smoothing, scale)
        gradient_row = gradient_ptr + row * gradient_stride
        tl.store(gradient_row + column, tl.where(counted, gradient, 0.0), mask=(row < N) & (column < V))


@triton.jit
def _long_rows_kernel(
    logits_ptr, target_ptr, loss_ptr, gradient_ptr, scale_ptr,
    V, logits_stride, gradient_stride, ignore_index, smoothing,
    LANES: tl.constexpr, GROUP: tl.constexpr, GRANULE: tl.constexpr, SMOOTH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(target_ptr + row)
    counted = target != ignore_index
    valid = counted & (target >= 0) & (target < V)
    x_target = tl.load(logits_ptr + row * logits_stride + target, mask=valid, other=float("nan"))
    x_target = x_target.to(tl.float32)
    # A row of 50,257 numbers may start anywhere within 16 bytes, but 16-byte loads start at multiples of 16. So the row
    # is read from the multiple before it: `at` counts from there, and the row is what lies from `shift` to `end`.
    column = tl.arange(0, LANES)[:, None] * GROUP + tl.arange(0, GROUP)[None, :]  # (LANES, GROUP)
    shift = (row * logits_stride % GRANULE).to(tl.int32)
    end = shift + V
    x_row = logits_ptr + tl.multiple_of(row * logits_stride - shift, GRANULE)
    # Granules of 16 bytes are loaded whole; what they hold of the rows before and behind is thrown away. Behind the
    # last row that is up to 14 bytes of padding: memory is given out in larger pieces than granules.
    reach = tl.where(counted, tl.cdiv(end, GRANULE) * GRANULE, 0)
    largest = tl.full((LANES,), -3.4028234663852886e38, tl.float32)  # the lowest number: see softmax.py
    total = tl.zeros((LANES,), tl.float32)
    sums = tl.zeros((LANES,), tl.float32)
    # a sum of differences: of logits that are all about 30,000 it would keep few digits of what sets them apart
    middle = tl.where(tl.abs(x_target) < float("inf"), x_target, 0.0)
    for start in tl.range(0, reach, LANES * GROUP, num_stages=STAGES):
        at = start + column
        inside = (at >= shift) & (at < end)
        x = tl.load(x_row + at, mask=at < reach, other=0.0).to(tl.float32)
        largest, total = online_step(largest, total, tl.where(inside, x, -float("inf")))
        if SMOOTH:
            sums += tl.sum(tl.where(inside, x - middle, 0.0), axis=1)
    largest, total = merge_lanes(largest, total)  # scalars from here on
    largest = tl.where(counted, largest, 0.0)
    total = tl.where(counted, total, 1.0)
    loss = tl.log(total) + (1.0 - smoothing) * (largest - x_target)
    if SMOOTH:
        loss += smoothing * (largest - middle - tl.sum(sums, axis=0) / V)
    tl.store(loss_ptr + row, tl.where(counted, loss, 0.0))
    if gradient_ptr is not None:
        scale = 1.0
        if scale_ptr is not None:
            scale = tl.load(scale_ptr)
        scale = tl.where(valid, scale, float("nan"))
        gradient_row = gradient_ptr + tl.multiple_of(row * gradient_stride - shift, GRANULE)
        # granules that lie inside the row are stored whole, the two that stick out number by number
        first, last = tl.cdiv(shift, GRANULE) * GRANULE, end // GRANULE * GRANULE
        for start in tl.range(0, end, LANES * GROUP, num_stages=STAGES):
            at = start + column
            x = tl.load(x_row + at, mask=at < reach, other=0.0).to(tl.float32)
            gradient = _gradient(x, largest, total, at - shift == target, V, smoothing, scale)
            gradient = tl.where(counted, gradient, 0.0)
            tl.store(gradient_row + at, gradient, mask=(at >= first) & (at < last))
            if (start < first) | (start + LANES * GROUP > last):
                edge = (at >= shift) & (at < end) & ((at < first) | (at >= last))
                tl.store(gradient_row + at, gradient, mask=edge)


@triton.jit
def _scale_kernel(
    x_ptr, y_ptr, g_ptr, V, x_stride, y_stride, g_stride, size,
    IN_PLACE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    g = tl.load(g_ptr + row * g_stride).to(tl.float32)
    end = tl.minimum(size - row * x_stride, V)  # the last row may be a short one
    if (g != 1.0) | (not IN_PLACE):  # in place, times 1 is nothing to do
        for start in tl.range(0, end, BLOCK):
            at = start + tl.arange(0, BLOCK)
            x = tl.load(x_ptr + row * x_stride + at, mask=at < end, other=0.0).to(tl.float32)
            tl.store(y_ptr + row * y_stride + at, x * g, mask=at < end)


def settings_long(logits: Tensor, gradient: Tensor | None) -> tuple[int, int, int, int, int]:
    """(lanes, group, granule, stages, warps) of the loops along a long row; see settings_long in softmax.py.

    granule: how many numbers 16 bytes hold, or 1 where logits and gradient do not lie alike within 16 bytes.
    """
    granule = 16 // logits.element_size()
    for x in (logits,) if gradient is None else (logits, gradient):
        if x.data_ptr() % 16 or (x.stride(0) - logits.stride(0)) % granule:
            granule = 1
    if INTERPRETED:
        return 8, 8, granule, 1, 4
    return 512, 8, granule, 4 if granule > 1 else 1, 16


def launch(
    logits: Tensor,
    targets: Tensor,
    losses: Tensor,
    gradient: Tensor | None,
    scale: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> None:
    """Write losses (N,), and gradient · scale (N, V) unless that is None; it may be the logits (N, V) themselves."""
    N, V = logits.shape
    _check_range(targets, V, ignore_index)
    strides = logits.stride(0), 0 if gradient is None else gradient.stride(0)
    if V <= WIDEST:
        rows, block, warps = whole_rows(V, 32)
        with torch.cuda.device_of(logits):
            _short_rows_kernel[(triton.cdiv(N, rows),)](
                logits, targets, losses, gradient, scale, N, V, *strides, ignore_index, label_smoothing,
                ROWS=rows, BLOCK=block, SMOOTH=label_smoothing > 0, num_warps=warps,
            )  # fmt: skip
    else:
        lanes, group, granule, stages, warps = settings_long(logits, gradient)
        with torch.cuda.device_of(logits):
            _long_rows_kernel[(N,)](
                logits, targets, losses, gradient, scale, V, *strides, ignore_index, label_smoothing,
                LANES=lanes, GROUP=group, GRANULE=granule, SMOOTH=label_smoothing > 0, STAGES=stages,
                num_warps=warps,
            )  # fmt: skip


def _scale(x: Tensor, y: Tensor, g: Tensor) -> None:
    """y = x · g: tensors (N, V) with a scalar or N numbers, or of any shape with a scalar."""
    if not x.numel():
        return
    if g.dim() == 0 and x.is_contiguous() and y.is_contiguous():
        # one number for all: cut into pieces that start at multiples of 16 bytes, as rows of 50,257 do not
        piece = 64 if INTERPRETED else PIECE
        rows, width, strides, size = triton.cdiv(x.numel(), piece), piece, (piece, piece), x.numel()
    else:
        (rows, width), strides = x.shape, (x.stride(0), y.stride(0))
        size = rows * max(width, x.stride(0))  # every row is a whole one
    with torch.cuda.device_of(x):
        _scale_kernel[(rows,)](
            x, y, g, width, *strides, 1 if g.dim() else 0, size,
            IN_PLACE=x is y, BLOCK=32 if INTERPRETED else 4096, num_warps=8,
        )  # fmt: skip


def scale_rows(x: Tensor, g: Tensor) -> None:
    """x (N, V) times g, a scalar or one number a row, in place; reads nothing of x where g is 1."""
    torch.autograd.graph.increment_version(x)  # whoever saved x for a gradient is warned, as by x.mul_
    _scale(x, x, g)


@torch.library.custom_op("minillm_kernels::scaled", mutates_args=())
def scaled(x: Tensor, g: Tensor, dtype: torch.dtype) -> Tensor:
    """x times the scalar g in another dtype, without a float32 copy of x in between."""
    y = torch.empty(x.shape, dtype=dtype, device=x.device)
    _scale(x, y, g)
    return y


@scaled.register_fake
def _(x, g, dtype):
    return torch.empty(x.shape, dtype=dtype, device=x.device)


def _check_range(targets: Tensor, V: int, ignore_index: int) -> None:
    """ValueError for a target that is no class. Not on a GPU: its answer would have to be waited for."""
    if targets.device.type == "cpu":
        wrong = targets[(targets != ignore_index) & ((targets < 0) | (targets >= V))]
        if len(wrong):
            raise ValueError(f"targets must be between 0 and {V - 1} or {ignore_index}, got {int(wrong[0])}")


def check_out_dtype(dtype: Any) -> None:
    """ValueError unless a loss can be returned in this dtype; None stands for the logits' own."""
    if dtype not in (None, *FLOATS):
        raise ValueError(f"out_dtype must be float16, bfloat16, float32 or None, got {describe(dtype)}")


def check_targets(targets: Any, like: Tensor, shape: torch.Size) -> None:
    """ValueError unless targets are int64 of this shape, on the device of `like`."""
    fits = isinstance(targets, Tensor) and targets.dtype == torch.int64 and targets.device == like.device
    if not fits or targets.shape != shape:
        expected = f"targets must be an int64 tensor {tuple(shape)} on {like.device}"
        raise ValueError(f"{expected}, one for each row of {describe(like)}, got {describe(targets)}")
