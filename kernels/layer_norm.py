"""Layer norm of each row (층 정규화), with the residual sum before it in the same pass.

    s = x + residual      y = n · w + b,   n = (s - mean) · r,   r = 1 / √(variance + ε)
    with g = ∂L/∂y:   ∂L/∂s = r · (g·w - mean(g·w) - n · mean(g·w·n)) + what came in for s
                      ∂L/∂w = Σ_rows g·n,   ∂L/∂b = Σ_rows g

`rms_norm.py` plus a mean and a shift. The variance is the mean of (s - mean)², not mean of s² - mean²: the row is in
registers, so the second look at it is free, and nothing cancels where the mean is large. Bytes are saved as there:
two tensors are read and two written, and the mean and r (8 bytes a row) are kept for the gradient.

Book 8.3.1 커널 퓨전 (kernel fusion), 2.4 정규화. Paper: Ba et al. 2016. Held against F.layer_norm.
Leaves out: norms over more than one axis. Rows wider than 16,384 do not fit one program and take the plain path.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._rows import WIDEST, Tile, as_rows, check_norm, count_rows, persistent, whole_rows


def layer_norm_plain(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, eps: float = 1e-5, residual: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """The formula: x (..., C), weight and bias (C,) -> y (..., C), or (y, x + residual). Refuses as layer_norm."""
    check_norm(x, weight, bias, eps, residual, launch=False)
    summed = x if residual is None else x + residual
    s = summed.float()
    centred = s - s.mean(dim=-1, keepdim=True)
    # y = (s - mean) / √(variance + ε) · w + b
    y = centred * torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + eps) * weight.float()
    y = (y if bias is None else y + bias.float()).to(x.dtype)
    return y if residual is None else (y, summed)


@triton.jit
def _layer_norm_kernel(
    x_ptr, residual_ptr, weight_ptr, bias_ptr, y_ptr, sum_ptr, mean_ptr, r_ptr,
    N, C, x_stride, residual_stride, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]  # (ROWS, 1)
    column = tl.arange(0, BLOCK)[None, :]  # (1, BLOCK)
    inside = (row < N) & (column < C)
    s = tl.load(x_ptr + row * x_stride + column, mask=inside, other=0.0).to(tl.float32)  # (ROWS, BLOCK)
    if residual_ptr is not None:
        s += tl.load(residual_ptr + row * residual_stride + column, mask=inside, other=0.0).to(tl.float32)
        # rounded before it is normed: the norm sees the very number that goes on as the next residual
        s = s.to(sum_ptr.dtype.element_ty)
        tl.store(sum_ptr + row * C + column, s, mask=inside)
        s = s.to(tl.float32)
    mean = tl.sum(s, axis=1, keep_dims=True) / C  # (ROWS, 1)
    centred = tl.where(inside, s - mean, 0.0)  # the padding would add mean² to the variance
    # r = 1 / √(variance + ε)
    r = tl.rsqrt(tl.sum(centred * centred, axis=1, keep_dims=True) / C + eps)  # (ROWS, 1)
    # stored here and not at the end: they and their addresses need not be held while y is made
    tl.store(mean_ptr + row, mean, mask=row < N)
    tl.store(r_ptr + row, r, mask=row < N)
    # loaded only now, to hold fewer registers; the same for every row, so they come from the cache
    y = centred * r * tl.load(weight_ptr + column, mask=column < C, other=0.0).to(tl.float32)
    if bias_ptr is not None:
        y += tl.load(bias_ptr + column, mask=column < C, other=0.0).to(tl.float32)
    tl.store(y_ptr + row * C + column, y, mask=inside)


@triton.jit
def _layer_norm_backward_kernel(
    s_ptr, weight_ptr, mean_ptr, r_ptr, g_ptr, g_sum_ptr, dx_ptr, dw_ptr, db_ptr,
    N, C, s_stride, g_stride, g_sum_stride,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    # as in rms_norm.py: parts of wide rows, shares of the sums over rows, each row read twice, once from the cache
    column = tl.arange(0, BLOCK)[None, :]
    own = tl.program_id(1) * BLOCK + column  # (1, BLOCK)
    dw = tl.zeros((ROWS, BLOCK), tl.float32)
    db = tl.zeros((ROWS, BLOCK), tl.float32)
    for tile in tl.range(tl.program_id(0), tl.cdiv(N, ROWS), tl.num_programs(0), disable_licm=True):
        row = (tile * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]  # (ROWS, 1)
        s_row = s_ptr + row * s_stride
        g_row = g_ptr + row * g_stride
        dx_row = dx_ptr + row * C
        mean = tl.load(mean_ptr + row, mask=row < N, other=0.0)  # (ROWS, 1)
        r = tl.load(r_ptr + row, mask=row < N, other=0.0)
        sums = tl.zeros((ROWS, BLOCK), tl.float32)
        dots = tl.zeros((ROWS, BLOCK), tl.float32)
        for part in tl.range(PARTS, loop_unroll_factor=1):
            at = part * BLOCK + column
            inside = (row < N) & (at < C)
            s = tl.load(s_row + at, mask=inside, other=0.0, eviction_policy="evict_last").to(tl.float32)
            g = tl.load(g_row + at, mask=inside, other=0.0, eviction_policy="evict_last").to(tl.float32)
            weight = tl.load(weight_ptr + at, mask=at < C, other=0.0, eviction_policy="evict_last")
            gw = g * weight.to(tl.float32)
            sums += gw
            dots += gw * (s - mean)
        level = tl.sum(sums, axis=1, keep_dims=True) / C  # mean(g·w), (ROWS, 1)
        along = tl.sum(dots, axis=1, keep_dims=True) * r / C  # mean(g·w·n), (ROWS, 1)
        inside = (row < N) & (own < C)
        s = tl.load(s_row + own, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
        g = tl.load(g_row + own, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
        weight = tl.load(weight_ptr + own, mask=own < C, other=0.0).to(tl.float32)
        n = (s - mean) * r
        dw += g * n
        db += g
        # ∂L/∂s = r · (g·w - mean(g·w) - n · mean(g·w·n))
        ds = r * (g * weight - level - n * along)
        if g_sum_ptr is not None:  # the sum also went on as the next residual
            ds += tl.load(g_sum_ptr + row * g_sum_stride + own, mask=inside, other=0.0).to(tl.float32)
        tl.store(dx_row + own, ds, mask=inside)
    share = tl.program_id(0) * C + own
    tl.store(dw_ptr + share, tl.sum(dw, axis=0, keep_dims=True), mask=own < C)
    tl.store(db_ptr + share, tl.sum(db, axis=0, keep_dims=True), mask=own < C)


def settings_backward(width: int) -> tuple[Tile, int]:
    """(tile, parts of a row). 8,192 columns of both gradients are what a program's registers hold."""
    parts = triton.cdiv(width, 8192)
    return whole_rows(triton.cdiv(width, parts), 16), parts


@torch.library.custom_op("minillm_kernels::layer_norm", mutates_args=())
def _layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(y, x + residual or an empty tensor, mean (N,) float32, r (N,) float32)."""
    y, summed, mean, r = _layer_norm_fake(x, weight, bias, residual, eps)
    if x.numel():
        x = as_rows(x)
        residual = None if residual is None else as_rows(residual)
        bias = None if bias is None else bias.contiguous()
        tile = whole_rows(x.shape[1], 32)
        with torch.cuda.device_of(x):
            _layer_norm_kernel[(triton.cdiv(len(x), tile.rows),)](
                x, residual, weight.contiguous(), bias, y, summed, mean, r,
                *x.shape, x.stride(0), 0 if residual is None else residual.stride(0), eps,
                ROWS=tile.rows, BLOCK=tile.columns, num_warps=tile.warps,
            )  # fmt: skip
    return y, summed, mean, r


@_layer_norm.register_fake
def _layer_norm_fake(x, weight, bias, residual, eps):
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    summed = torch.empty((0,) if residual is None else x.shape, dtype=x.dtype, device=x.device)
    mean, r = (torch.empty(count_rows(x), dtype=torch.float32, device=x.device) for _ in range(2))
    return y, summed, mean, r


@torch.library.custom_op("minillm_kernels::layer_norm_backward", mutates_args=())
def _layer_norm_backward(
    s: Tensor, weight: Tensor, mean: Tensor, r: Tensor, g: Tensor, g_sum: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(∂L/∂x, ∂L/∂w, ∂L/∂b), the last two (C,) float32, from the gradients of y and of the sum."""
    dx = torch.empty(s.shape, dtype=s.dtype, device=s.device)
    if not s.numel():
        zeros = torch.zeros(s.shape[-1], dtype=torch.float32, device=s.device)
        return dx, zeros, zeros.clone()
    s, g, g_sum = as_rows(s), as_rows(g), None if g_sum is None else as_rows(g_sum)
    tile, parts = settings_backward(s.shape[1])
    programs = persistent(s, triton.cdiv(len(s), tile.rows), tile.warps)
    shares = torch.empty((2, programs, s.shape[1]), dtype=torch.float32, device=s.device)
    with torch.cuda.device_of(s):
        _layer_norm_backward_kernel[(programs, parts)](
            s, weight.contiguous(), mean, r, g, g_sum, dx, *shares,
            *s.shape, s.stride(0), g.stride(0), 0 if g_sum is None else g_sum.stride(0),
            ROWS=tile.rows, BLOCK=tile.columns, PARTS=parts, num_warps=tile.warps,
        )  # fmt: skip
    return dx, shares[0].sum(dim=0), shares[1].sum(dim=0)


@_layer_norm_backward.register_fake
def _layer_norm_backward_fake(s, weight, mean, r, g, g_sum):
    dw, db = (torch.empty(s.shape[-1], dtype=torch.float32, device=s.device) for _ in range(2))
    return torch.empty(s.shape, dtype=s.dtype, device=s.device), dw, db


def _setup(ctx, inputs, output):
    x, weight, bias, residual, _ = inputs
    ctx.with_residual, ctx.bias_dtype = residual is not None, None if bias is None else bias.dtype
    ctx.save_for_backward(output[1] if ctx.with_residual else x, weight, *output[2:])
    ctx.set_materialize_grads(False)  # an output nobody used costs no tensor of zeros


def _backward(ctx, g, g_sum, *_):
    s, weight, mean, r = ctx.saved_tensors
    g = torch.zeros_like(s) if g is None else g
    dx, dw, db = _layer_norm_backward(s, weight, mean, r, g, g_sum if ctx.with_residual else None)
    db = None if ctx.bias_dtype is None else db.to(ctx.bias_dtype)
    return dx, dw.to(weight.dtype), db, dx if ctx.with_residual else None, None


_layer_norm.register_autograd(_backward, setup_context=_setup)


def layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, eps: float = 1e-5, residual: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """Layer norm over the last axis: y (..., C); with a residual, (y, x + residual), where y is the norm of the sum.

    x, residual: (..., C), one dtype of float16, bfloat16 and float32, any strides. weight, bias: (C,), of any of these
    dtypes. The outputs have x's dtype; the sum is rounded to it once and then normed. Differentiable once, in x,
    weight, bias and residual. ValueError for shapes, dtypes or devices that do not fit, or a negative eps.
    """
    eps = check_norm(x, weight, bias, eps, residual)
    if x.shape[-1] > WIDEST:
        return layer_norm_plain(x, weight, bias, eps, residual)
    y, summed, *_ = _layer_norm(x, weight, bias, residual, eps)
    return y if residual is None else (y, summed)
