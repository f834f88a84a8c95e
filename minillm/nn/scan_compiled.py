"""The selective scan as one compiled loop, forward and backward: the states never reach memory (numba).

    torch      exp(Δ A), Δ x B and h of every token are tensors (B, T, D, N): N = 16 times what goes in and out
    compiled   h of 64 channels (4 kB) stays in the first cache; x, Δ, B, C are read once, y is written once

The gradient needs h again, from the last token to the first. It is computed anew (recompute) in pieces of 16 tokens,
from the states before each piece that the way forward has kept. The exponential is a polynomial: 2^k e^f with
|f| < 0.35, so that eight or sixteen of them are one instruction each. Book 16.3 선택 메커니즘, 16.4 맘바. Paper: Gu and
Dao 2023. Held against scans.scan_loop. Leaves out: other dtypes than float32 (scan_chunked serves them).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from torch import Tensor
from torch.autograd.function import once_differentiable

from minillm.nn.scans import check_scan, scan_chunked

# Sums in any order let the compiler use wide registers; infinities and NaNs still mean what they mean.
QUICK: dict[str, Any] = {"cache": True, "fastmath": {"reassoc", "contract", "nsz", "arcp"}, "nogil": True}
PIECE = 16  # tokens between two states that are kept
BLOCK = 64  # channels that are worked on together
LOG2_E, LN_2 = np.float32(1.4426950408889634), np.float32(0.6931471805599453)
LOWEST, HIGHEST = np.float32(-126), np.float32(127)
HALF, ONE, NONE = np.float32(0.5), np.float32(1), np.float32(0)
TAYLOR = tuple(np.float32(1 / n) for n in (5040, 720, 120, 24, 6, 2))


@intrinsic
def nearest(typing: Any, number: Any) -> Any:  # pragma: no cover
    """The whole number next to a float32, as a float32: one instruction for a register full of them."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        floor = builder.module.declare_intrinsic("llvm.floor", [ir.FloatType()])
        return builder.call(floor, [builder.fadd(arguments[0], ir.Constant(ir.FloatType(), 0.5))])

    return types.float32(types.float32), make


@intrinsic
def two_to(typing: Any, number: Any) -> Any:  # pragma: no cover
    """2^k for a whole float32 k in -126..127: k + 127 written into the bits of the exponent."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = builder.fptosi(arguments[0], ir.IntType(32))
        bits = builder.shl(
            builder.add(whole, ir.Constant(ir.IntType(32), 127)), ir.Constant(ir.IntType(32), 23)
        )
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.float32), make


@njit(**QUICK)
def exp_of(x):  # pragma: no cover
    """e^x in float32, within a few last bits; below -87 the smallest number there is, not zero."""
    z = x * LOG2_E
    z = LOWEST if z < LOWEST else z  # in this order: NaN stays NaN
    z = HIGHEST if z > HIGHEST else z
    k = nearest(z)
    f = (z - k) * LN_2
    a, b, c, d, e, g = TAYLOR
    return (ONE + f * (ONE + f * (g + f * (e + f * (d + f * (c + f * (b + f * a))))))) * two_to(k)


@njit(**QUICK)
def scan_forward(x, dt, A, B, C, h, y, kept):  # pragma: no cover
    """x, dt, y (B, T, D), A (N, D), B, C (B, T, N), h (B, N, D) from first to last, kept (B, T/PIECE or 0, N, D)."""
    T, D, N = x.shape[1], x.shape[2], A.shape[0]
    write = np.empty(BLOCK, np.float32)
    for i in range(x.shape[0]):
        for first in range(0, D, BLOCK):
            last = min(first + BLOCK, D)
            W = last - first
            for t in range(T):
                if kept.shape[1] and t % PIECE == 0:
                    for n in range(N):
                        kept[i, t // PIECE, n, first:last] = h[i, n, first:last]
                x_t, dt_t, y_t = x[i, t, first:last], dt[i, t, first:last], y[i, t, first:last]
                for d in range(W):
                    write[d] = dt_t[d] * x_t[d]
                    y_t[d] = NONE
                for n in range(N):
                    b, c, h_n, A_n = B[i, t, n], C[i, t, n], h[i, n, first:last], A[n, first:last]
                    for d in range(W):
                        # h = exp(Δ A) h + Δ x B,   y = C · h
                        h_n[d] = exp_of(dt_t[d] * A_n[d]) * h_n[d] + write[d] * b
                        y_t[d] += c * h_n[d]


@njit(**QUICK)
def scan_backward(x, dt, A, B, C, kept, gy, gh, gx, gdt, gA, gB, gC):  # pragma: no cover
    """The gradients of everything, from gy (B, T, D) and gh (B, N, D), which becomes that of the first state.

    gx, gdt (B, T, D) are written; gA (N, D), gB, gC (B, T, N) are added to.
    """
    T, D, N = x.shape[1], x.shape[2], A.shape[0]
    states, decays = np.empty((PIECE + 1, N, BLOCK), np.float32), np.empty((PIECE, N, BLOCK), np.float32)
    write, to_write = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for i in range(x.shape[0]):
        for first in range(0, D, BLOCK):
            last = min(first + BLOCK, D)
            W = last - first
            for start in range((T - 1) // PIECE * PIECE, -1, -PIECE):
                stop = min(start + PIECE, T)
                states[0, :, :W] = kept[i, start // PIECE, :, first:last]
                for t in range(start, stop):  # the states of this piece once more
                    x_t, dt_t = x[i, t, first:last], dt[i, t, first:last]
                    for d in range(W):
                        write[d] = dt_t[d] * x_t[d]
                    for n in range(N):
                        b, A_n = B[i, t, n], A[n, first:last]
                        old, new, decay = states[t - start, n], states[t - start + 1, n], decays[t - start, n]
                        for d in range(W):
                            decay[d] = exp_of(dt_t[d] * A_n[d])
                            new[d] = decay[d] * old[d] + write[d] * b
                for t in range(stop - 1, start - 1, -1):
                    x_t, dt_t, gy_t = x[i, t, first:last], dt[i, t, first:last], gy[i, t, first:last]
                    gx_t, gdt_t = gx[i, t, first:last], gdt[i, t, first:last]
                    for d in range(W):
                        write[d] = dt_t[d] * x_t[d]
                        to_write[d] = NONE
                        gdt_t[d] = NONE
                    for n in range(N):
                        b, c, A_n, gA_n, gh_n = (
                            B[i, t, n],
                            C[i, t, n],
                            A[n, first:last],
                            gA[n, first:last],
                            gh[i, n, first:last],
                        )
                        old, new, decay = states[t - start, n], states[t - start + 1, n], decays[t - start, n]
                        to_b, to_c = NONE, NONE
                        for d in range(W):
                            g = gh_n[d] + c * gy_t[d]  # of h
                            to_c += gy_t[d] * new[d]
                            to_b += g * write[d]
                            to_write[d] += g * b
                            back = g * decay[d]  # of h before
                            slope = back * old[d]  # of Δ A
                            gdt_t[d] += slope * A_n[d]
                            gA_n[d] += slope * dt_t[d]
                            gh_n[d] = back
                        gB[i, t, n] += to_b
                        gC[i, t, n] += to_c
                    for d in range(W):
                        gx_t[d] = to_write[d] * dt_t[d]
                        gdt_t[d] += to_write[d] * x_t[d]


class _CompiledScan(torch.autograd.Function):
    """scan_forward and scan_backward as one operation for autograd."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None
    ) -> tuple:
        given = [one.detach().contiguous() for one in (x, dt, A.T, B, C)]
        learning = any(ctx.needs_input_grad)
        N, D = given[2].shape
        h = (
            x.new_zeros(len(x), N, D)
            if state is None
            else state.detach().transpose(1, 2).contiguous().clone()
        )
        kept = x.new_empty(len(x), -(-x.shape[1] // PIECE) if learning else 0, N, D)
        y = torch.empty_like(given[0])
        scan_forward(*(one.numpy() for one in (*given, h, y, kept)))
        ctx.save_for_backward(*given, kept)
        return y, h.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor, gh: Tensor) -> tuple:
        *given, kept = ctx.saved_tensors
        x, dt, A, B, C = given
        gh = gh.transpose(1, 2).contiguous().clone()
        gx, gdt = torch.empty_like(x), torch.empty_like(dt)
        sums = [torch.zeros_like(one) for one in (A, B, C)]
        arrays = (*given, kept, gy.contiguous(), gh, gx, gdt, *sums)
        scan_backward(*(one.numpy() for one in arrays))
        return gx, gdt, sums[0].T, sums[1], sums[2], gh.transpose(1, 2) if ctx.needs_input_grad[5] else None


def scan_compiled(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """scan_loop's arguments and answer, in float32 on a CPU. ValueError for other shapes, dtypes and devices."""
    check_scan(x, dt, A, B, C, state)
    if not takes(x, dt, A, B, C, state):
        raise ValueError(f"the compiled scan takes float32 on a CPU, got x {describe_place(x)}")
    return _CompiledScan.apply(x, dt, A, B, C, state)


def takes(*tensors: Tensor | None) -> bool:
    """Whether all of them are float32 on a CPU."""
    return all(one is None or (one.dtype == torch.float32 and one.is_cpu) for one in tensors)


def describe_place(x: Tensor) -> str:
    """A tensor's dtype and device."""
    return f"{x.dtype} on {x.device}"


def selective_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """scan_loop's arguments and answer, by the way that is fastest here: compiled, else chunked."""
    if takes(x, dt, A, B, C, state):
        return scan_compiled(x, dt, A, B, C, state)
    return scan_chunked(x, dt, A, B, C, state)
