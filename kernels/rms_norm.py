"""RMS norm of each row (RMS 정규화), with the residual sum before it in the same pass.

    s = x + residual      y = s · r · w,   r = 1 / √(mean of s² + ε)
    with n = s·r and g = ∂L/∂y:   ∂L/∂s = r · (g·w - n · mean(g·w·n)) + what came in for s,   ∂L/∂w = Σ_rows g·n

Counted in passes over the (N, C) tensor: unfused, the sum, the square, the mean and the two products read 6 times and
write 4 times. Fused, x and the residual are read, s and y are written, and of a row nothing but r (4 bytes) is kept
for the gradient, which reads two tensors and writes one.

Book 8.3.1 커널 퓨전 (kernel fusion), 2.4 정규화. Paper: Zhang and Sennrich 2019. Held against F.rms_norm.
Leaves out: Gemma's weight (1 + w). Rows wider than 16,384 do not fit one program and take the plain path.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._rows import WIDEST, Tile, as_rows, check_norm, count_rows, persistent, whole_rows


def rms_norm_plain(
    x: Tensor, weight: Tensor, eps: float = 1e-6, residual: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """The formula: x (..., C), weight (C,) -> y (..., C), or (y, x + residual). Refuses as rms_norm."""
    check_norm(x, weight, None, eps, residual, launch=False)
    summed = x if residual is None else x + residual
    s = summed.float()
    # y = s / √(mean of s² + ε) · w
    y = (s * torch.rsqrt(s.square().mean(dim=-1, keepdim=True) + eps) * weight.float()).to(x.dtype)
    return y if residual is None else (y, summed)


@triton.jit
def _rms_norm_kernel(
    x_ptr, residual_ptr, weight_ptr, y_ptr, sum_ptr, r_ptr,
    N, C, x_stride, residual_stride, eps,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # int64: row · stride passes 2^31 in a large batch
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
    # r = 1 / √(mean of s² + ε): the padding adds zeros
    r = tl.rsqrt(tl.sum(s * s, axis=1, keep_dims=True) / C + eps)  # (ROWS, 1)
    tl.store(r_ptr + row, r, mask=row < N)  # before the long store, which needs the registers of its address
    # loaded only now, to hold fewer registers; the same for every row, so it comes from the cache
    weight = tl.load(weight_ptr + column, mask=column < C, other=0.0).to(tl.float32)  # (1, BLOCK)
    tl.store(y_ptr + row * C + column, s * r * weight, mask=inside)


@triton.jit
def _rms_norm_backward_kernel(
    s_ptr, weight_ptr, r_ptr, g_ptr, g_sum_ptr, dx_ptr, dw_ptr,
    N, C, s_stride, g_stride, g_sum_stride,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    # A row of up to 8,192 is one part. Of a wider one, program_id(1) says whose part of the columns is written here.
    column = tl.arange(0, BLOCK)[None, :]
    own = column  # (1, BLOCK)
    if PARTS > 1:  # (of one part the compiler then knows that both readings below take the same addresses)
        own += tl.program_id(1) * BLOCK
    # ∂L/∂w is a sum over all rows. A program keeps its share in registers while it walks over many tiles, and writes
    # it once. No atomics: the order of the sum, and so its last bit, is the same in every launch.
    dw = tl.zeros((ROWS, BLOCK), tl.float32)
    # (what disable_licm keeps inside the loop are addresses: held across it, they would spill)
    for tile in tl.range(tl.program_id(0), tl.cdiv(N, ROWS), tl.num_programs(0), disable_licm=True):
        row = (tile * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]  # (ROWS, 1)
        s_row = s_ptr + row * s_stride
        g_row = g_ptr + row * g_stride
        dx_row = dx_ptr + row * C
        r = tl.load(r_ptr + row, mask=row < N, other=0.0)  # (ROWS, 1)
        # First reading, for the row's one sum: mean(g·w·n) with n = s·r. It asks the cache to keep what it read, so
        # that the second reading is free, and the registers in between belong to dw.
        dots = tl.zeros((ROWS, BLOCK), tl.float32)
        for part in tl.range(PARTS, loop_unroll_factor=1):
            at = part * BLOCK + column
            inside = (row < N) & (at < C)
            s = tl.load(s_row + at, mask=inside, other=0.0, eviction_policy="evict_last").to(tl.float32)
            g = tl.load(g_row + at, mask=inside, other=0.0, eviction_policy="evict_last").to(tl.float32)
            weight = tl.load(weight_ptr + at, mask=at < C, other=0.0, eviction_policy="evict_last")
            dots += g * weight.to(tl.float32) * s
        along = tl.sum(dots, axis=1, keep_dims=True) * r / C  # (ROWS, 1)
        inside = (row < N) & (own < C)
        # the weight first: after s and g it takes more registers, and fewer programs run at once (Triton 3.6, sm_90)
        weight = tl.load(weight_ptr + own, mask=own < C, other=0.0).to(tl.float32)
        s = tl.load(s_row + own, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
        g = tl.load(g_row + own, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
        n = s * r
        dw += g * n
        # ∂L/∂s = r · (g·w - n · mean(g·w·n))
        ds = r * (g * weight - n * along)
        if g_sum_ptr is not None:  # the sum also went on as the next residual
            ds += tl.load(g_sum_ptr + row * g_sum_stride + own, mask=inside, other=0.0).to(tl.float32)
        tl.store(dx_row + own, ds, mask=inside)
    share = tl.sum(dw, axis=0, keep_dims=True)  # (1, BLOCK)
    tl.store(dw_ptr + tl.program_id(0) * C + own, share, mask=own < C)


def settings_backward(width: int) -> tuple[Tile, int]:
    """(tile, parts of a row). 8,192 columns of the weight's gradient are what a program's registers hold."""
    parts = triton.cdiv(width, 8192)
    return whole_rows(triton.cdiv(width, parts), 16), parts


@torch.library.custom_op("minillm_kernels::rms_norm", mutates_args=())
def _rms_norm(
    x: Tensor, weight: Tensor, residual: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, x + residual or an empty tensor, r (N,) float32)."""
    y, summed, r = _rms_norm_fake(x, weight, residual, eps)
    if x.numel():
        x = as_rows(x)
        residual = None if residual is None else as_rows(residual)
        tile = whole_rows(x.shape[1], 32)
        with torch.cuda.device_of(x):
            _rms_norm_kernel[(triton.cdiv(len(x), tile.rows),)](
                x, residual, weight.contiguous(), y, summed, r,
                *x.shape, x.stride(0), 0 if residual is None else residual.stride(0), eps,
                ROWS=tile.rows, BLOCK=tile.columns, num_warps=tile.warps,
            )  # fmt: skip
    return y, summed, r


@_rms_norm.register_fake
def _rms_norm_fake(x, weight, residual, eps):
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    summed = torch.empty((0,) if residual is None else x.shape, dtype=x.dtype, device=x.device)
    return y, summed, torch.empty(count_rows(x), dtype=torch.float32, device=x.device)


@torch.library.custom_op("minillm_kernels::rms_norm_backward", mutates_args=())
def _rms_norm_backward(
    s: Tensor, weight: Tensor, r: Tensor, g: Tensor, g_sum: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(∂L/∂x, ∂L/∂w (C,) float32) from the gradients of y and of the sum."""
    dx = torch.empty(s.shape, dtype=s.dtype, device=s.device)
    if not s.numel():
        return dx, torch.zeros(s.shape[-1], dtype=torch.float32, device=s.device)
    s, g, g_sum = as_rows(s), as_rows(g), None if g_sum is None else as_rows(g_sum)
    tile, parts = settings_backward(s.shape[1])
    programs = persistent(s, triton.cdiv(len(s), tile.rows), tile.warps)
    shares = torch.empty((programs, s.shape[1]), dtype=torch.float32, device=s.device)
    with torch.cuda.device_of(s):
        _rms_norm_backward_kernel[(programs, parts)](
            s, weight.contiguous(), r, g, g_sum, dx, shares,
            *s.shape, s.stride(0), g.stride(0), 0 if g_sum is None else g_sum.stride(0),
            ROWS=tile.rows, BLOCK=tile.columns, PARTS=parts, num_warps=tile.warps,
        )  # fmt: skip
    return dx, shares.sum(dim=0)


@_rms_norm_backward.register_fake
def _rms_norm_backward_fake(s, weight, r, g, g_sum):
    dw = torch.empty(s.shape[-1], dtype=torch.float32, device=s.device)
    return torch.empty(s.shape, dtype=s.dtype, device=s.device), dw


def _setup(ctx, inputs, output):
    x, weight, residual, _ = inputs
    ctx.with_residual = residual is not None
    ctx.save_for_backward(output[1] if ctx.with_residual else x, weight, output[2])
    ctx.set_materialize_grads(False)  # an output nobody used costs no tensor of zeros


def _backward(ctx, g, g_sum, _):
    s, weight, r = ctx.saved_tensors
    g = torch.zeros_like(s) if g is None else g
    dx, dw = _rms_norm_backward(s, weight, r, g, g_sum if ctx.with_residual else None)
    return dx, dw.to(weight.dtype), dx if ctx.with_residual else None, None


_rms_norm.register_autograd(_backward, setup_context=_setup)


def rms_norm(
    x: Tensor, weight: Tensor, eps: float = 1e-6, residual: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """RMS norm over the last axis: y (..., C); with a residual, (y, x + residual), where y is the norm of the sum.

    x, residual: (..., C), one dtype of float16, bfloat16 and float32, any strides. weight: (C,), of any of these
    dtypes. The outputs have x's dtype; the sum is rounded to it once and then normed. Differentiable once, in x,
    weight and residual. ValueError for shapes, dtypes or devices that do not fit, or a negative eps.
    """
    eps = check_norm(x, weight, None, eps, residual)
    if x.shape[-1] > WIDEST:
        return rms_norm_plain(x, weight, eps, residual)
    y, summed, _ = _rms_norm(x, weight, residual, eps)
    return y if residual is None else (y, summed)
