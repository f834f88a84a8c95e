"""Softmax over rows (소프트맥스), in one pass over memory.

    p_j = exp(x_j - m) / Σ_i exp(x_i - m),   m = max_i x_i          ∂L/∂x_j = p_j · (g_j - Σ_i g_i p_i)

Unfused, the maximum, the difference, the exponential, the sum and the division each go over the whole tensor: 5 reads
and 3 writes. Fused, a row of up to 16,384 is read once, stays in registers, and is written once. A longer row is read
twice, the second time from the L2 cache: the first reading keeps a running maximum and a running sum (online softmax,
Milakov and Gimelshein 2018), the step that flash attention is built on.

Book 8.3.1 커널 퓨전 (kernel fusion). Held against torch.softmax. Leaves out: any axis but the last, masks,
temperature.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import INTERPRETED, check_launch
from kernels._rows import WIDEST, as_rows, check_rows, whole_rows


def softmax_plain(x: Tensor) -> Tensor:
    """The formula: x (..., V) -> (..., V). Refuses as softmax."""
    check_rows("x", x)
    wide = x.float()
    # p_j = exp(x_j - m) / Σ_i exp(x_i - m): without m, exp overflows from 89 on
    e = torch.exp(wide - wide.amax(dim=-1, keepdim=True))
    return (e / e.sum(dim=-1, keepdim=True)).to(x.dtype)


@triton.jit
def online_step(largest, total, x):
    """One step of the online softmax: total = Σ exp(x - largest) over all the x that each lane has seen.

    largest, total (LANES,), x (LANES, GROUP). A new maximum shrinks what was summed so far by exp(old - new). Each lane
    keeps its own: no lane waits for another before the row ends, and the loads of the next step run ahead.
    """
    new = tl.maximum(largest, tl.max(x, axis=1))
    total = total * tl.exp(largest - new) + tl.sum(tl.exp(x - new[:, None]), axis=1)
    return new, total


@triton.jit
def merge_lanes(largest, total):
    """Maximum and sum of a row, from those its lanes kept: (LANES,) twice -> two scalars."""
    row_largest = tl.max(largest, axis=0)
    return row_largest, tl.sum(total * tl.exp(largest - row_largest), axis=0)


@triton.jit
def _softmax_kernel(x_ptr, y_ptr, N, V, x_stride, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    # int64: row · stride passes 2^31 for a batch of logits
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]  # (ROWS, 1)
    column = tl.arange(0, BLOCK)[None, :]  # (1, BLOCK)
    inside = (row < N) & (column < V)
    # padding is -inf, and exp(-inf) = 0 changes no sum
    x = tl.load(x_ptr + row * x_stride + column, mask=inside, other=-float("inf"))  # (ROWS, BLOCK)
    x = x.to(tl.float32)
    # p_j = exp(x_j - m) / Σ_i exp(x_i - m); rows behind the last one must not compute -inf - -inf, which the
    # interpreter warns of
    e = tl.exp(x - tl.where(row < N, tl.max(x, axis=1, keep_dims=True), 0.0))
    total = tl.where(row < N, tl.sum(e, axis=1, keep_dims=True), 1.0)
    tl.store(y_ptr + row * V + column, e / total, mask=inside)


@triton.jit
def _softmax_long_kernel(
    x_ptr, y_ptr, V, x_stride, LANES: tl.constexpr, GROUP: tl.constexpr, STAGES: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, LANES)[:, None] * GROUP + tl.arange(0, GROUP)[None, :]  # (LANES, GROUP)
    # the lowest number there is, not -inf: a lane that has seen only -inf would subtract -inf from -inf
    largest = tl.full((LANES,), -3.4028234663852886e38, tl.float32)
    total = tl.zeros((LANES,), tl.float32)
    for start in tl.range(0, V, LANES * GROUP, num_stages=STAGES):  # later pieces are copied meanwhile
        at = start + column
        x = tl.load(x_ptr + row * x_stride + at, mask=at < V, other=-float("inf")).to(tl.float32)
        largest, total = online_step(largest, total, x)
    row_largest, row_total = merge_lanes(largest, total)
    for start in tl.range(0, V, LANES * GROUP, num_stages=STAGES):  # read again, from the L2 cache
        at = start + column
        x = tl.load(x_ptr + row * x_stride + at, mask=at < V, other=0.0).to(tl.float32)
        tl.store(y_ptr + row * V + at, tl.exp(x - row_largest) / row_total, mask=at < V)


@triton.jit
def _softmax_backward_kernel(p_ptr, g_ptr, dx_ptr, N, V, g_stride, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    inside = (row < N) & (column < V)
    p = tl.load(p_ptr + row * V + column, mask=inside, other=0.0).to(tl.float32)  # (ROWS, BLOCK)
    g = tl.load(g_ptr + row * g_stride + column, mask=inside, other=0.0).to(tl.float32)
    # dx_j = p_j · (g_j - Σ_i g_i p_i)
    tl.store(dx_ptr + row * V + column, p * (g - tl.sum(g * p, axis=1, keep_dims=True)), mask=inside)


@triton.jit
def _softmax_backward_long_kernel(
    p_ptr, g_ptr, dx_ptr, V, g_stride, BLOCK: tl.constexpr, STAGES: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    dots = tl.zeros((BLOCK,), tl.float32)
    for start in tl.range(0, V, BLOCK, num_stages=STAGES):
        at = start + column
        p = tl.load(p_ptr + row * V + at, mask=at < V, other=0.0).to(tl.float32)
        dots += p * tl.load(g_ptr + row * g_stride + at, mask=at < V, other=0.0).to(tl.float32)
    dot = tl.sum(dots, axis=0)
    for start in tl.range(0, V, BLOCK, num_stages=STAGES):
        at = start + column
        p = tl.load(p_ptr + row * V + at, mask=at < V, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + row * g_stride + at, mask=at < V, other=0.0).to(tl.float32)
        tl.store(dx_ptr + row * V + at, p * (g - dot), mask=at < V)


def settings_long(width: int, stride: int) -> tuple[int, int, int, int]:
    """(lanes, group, stages, warps) of the loops along a long row: a lane is a thread, a group its 8 neighbours.

    512 threads a row: the few rows a multiprocessor works on stay in the L2 cache until they are read again. Four
    stages keep three pieces on their way while one is summed; rows that do not start on 16 bytes cannot be copied so.
    """
    if INTERPRETED:
        return 16, 8, 1, 4
    return 512, 8, 4 if width % 16 == stride % 16 == 0 else 1, 16


@torch.library.custom_op("minillm_kernels::softmax", mutates_args=())
def _softmax(x: Tensor) -> Tensor:
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if x.numel():
        x = as_rows(x)
        N, V = x.shape
        if V <= WIDEST:
            rows, block, warps = whole_rows(V, 32)
            with torch.cuda.device_of(x):
                _softmax_kernel[(triton.cdiv(N, rows),)](
                    x, y, N, V, x.stride(0), ROWS=rows, BLOCK=block, num_warps=warps
                )
        else:
            lanes, group, stages, warps = settings_long(V, x.stride(0))
            with torch.cuda.device_of(x):
                _softmax_long_kernel[(N,)](
                    x, y, V, x.stride(0), LANES=lanes, GROUP=group, STAGES=stages, num_warps=warps
                )
    return y


@_softmax.register_fake
def _(x):
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


@torch.library.custom_op("minillm_kernels::softmax_backward", mutates_args=())
def _softmax_backward(p: Tensor, g: Tensor) -> Tensor:
    dx = torch.empty(p.shape, dtype=p.dtype, device=p.device)
    if p.numel():
        p, g = as_rows(p), as_rows(g)
        N, V = p.shape
        if V <= WIDEST:
            rows, block, warps = whole_rows(V, 16)
            with torch.cuda.device_of(p):
                _softmax_backward_kernel[(triton.cdiv(N, rows),)](
                    p, g, dx, N, V, g.stride(0), ROWS=rows, BLOCK=block, num_warps=warps
                )
        else:
            lanes, group, stages, warps = settings_long(V, g.stride(0))
            with torch.cuda.device_of(p):
                _softmax_backward_long_kernel[(N,)](
                    p, g, dx, V, g.stride(0), BLOCK=lanes * group, STAGES=stages, num_warps=warps
                )
    return dx


@_softmax_backward.register_fake
def _(p, g):
    return torch.empty(p.shape, dtype=p.dtype, device=p.device)


_softmax.register_autograd(
    lambda ctx, g: _softmax_backward(ctx.saved_tensors[0], g),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(output),
)


def softmax(x: Tensor) -> Tensor:
    """Softmax over the last axis: x (..., V) float16, bfloat16 or float32 -> same shape and dtype, computed in float32.

    Differentiable once. A row of -inf alone gives NaN, as torch.softmax does. Any strides (a last axis that is not
    contiguous is copied first). Raises ValueError for no tensor, no axis or another dtype.
    """
    check_launch(check_rows("x", x))
    return _softmax(x)
