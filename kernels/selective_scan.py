"""The selective scan of Mamba (선택적 스캔), fused with all that surrounds it, in one pass over memory.

    Δ = softplus(dt),  h = exp(Δ A) h + Δ x B,  y = (C · h + skip x) · silu(gate)        per channel: h (N,)

Unfused, exp(Δ A), Δ x B and h are (B, T, D, N): N = 16 times what goes in and out, written and read again. Fused, a
program keeps h of 32 channels in registers, walks along the text, and reads and writes each x, dt, gate and y once.
The gradient walks back. It needs the states again: every 16th was kept, those between are computed once more
(recompute) and pass through a small scratch that stays in the L2 cache. Sums over channels (of B, C) leave partial
sums, no atomics: two runs give equal bits. Book 16.4 맘바. Paper: Gu and Dao 2023. Held against the plain version
below in float64. Leaves out: several programs along one text, complex A. Not timed on a GPU yet.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import INTERPRETED, check_launch, check_tensor, describe
from kernels._rows import as_rows

PIECE = 16  # tokens between two states that are kept for the gradient
WIDEST = 64  # numbers of a channel's state


def selective_scan_plain(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    skip: Tensor,
    gate: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The formula, a token at a time: x, dt, gate (B, T, D), A (D, N), B, C (B, T, N), skip (D,) -> (y, state)."""
    wide = torch.promote_types(x.dtype, torch.float32)
    h = x.new_zeros(len(x), *A.shape, dtype=wide) if state is None else state
    rows = [one.to(wide).unbind(1) for one in (x, F.softplus(dt.to(wide)), B, C, gate)]
    out = []
    for u, delta, b, c, z in zip(*rows):
        h = torch.exp(delta[..., None] * A) * h + (delta * u)[..., None] * b[:, None]
        out.append(((h * c[:, None]).sum(-1) + skip * u) * F.silu(z))
    return torch.stack(out, dim=1).to(x.dtype), h


@triton.jit
def _softplus(x):
    # log(1 + e) loses what is small: log(w) e / (w - 1) with w = 1 + e, rounded, gives it back
    e = tl.exp(tl.minimum(x, 20.0))
    w = 1.0 + e
    small = w == 1.0
    near = tl.where(small, e, tl.log(w) * (e / tl.where(small, 1.0, w - 1.0)))
    return tl.where(x > 20.0, x, near)  # torch's own limit


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _scan_kernel(
    x_ptr, dt_ptr, A_ptr, B_ptr, C_ptr, skip_ptr, gate_ptr, state_ptr, y_ptr, last_ptr, kept_ptr,
    T, D, N, blocks, pieces, x_stride, dt_stride, B_stride, C_stride, gate_stride,
    KEEP: tl.constexpr, PIECE: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    text, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    d, n = block * CHANNELS + tl.arange(0, CHANNELS), tl.arange(0, STATES)
    inside, known = d < D, n < N
    both, place = inside[:, None] & known[None, :], d[:, None] * N + n[None, :]  # (CHANNELS, STATES)
    A = tl.load(A_ptr + place, mask=both, other=0.0)
    h = tl.load(state_ptr + text * D * N + place, mask=both, other=0.0)
    skip = tl.load(skip_ptr + d, mask=inside, other=0.0)
    for piece in range(0, pieces):
        if KEEP:
            tl.store(kept_ptr + (text * pieces + piece) * D * N + place, h, mask=both)
        for t in range(piece * PIECE, tl.minimum(piece * PIECE + PIECE, T)):
            row = text * T + t
            x = tl.load(x_ptr + row * x_stride + d, mask=inside, other=0.0).to(tl.float32)
            dt = tl.load(dt_ptr + row * dt_stride + d, mask=inside, other=0.0).to(tl.float32)
            gate = tl.load(gate_ptr + row * gate_stride + d, mask=inside, other=0.0).to(tl.float32)
            b = tl.load(B_ptr + row * B_stride + n, mask=known, other=0.0).to(tl.float32)
            c = tl.load(C_ptr + row * C_stride + n, mask=known, other=0.0).to(tl.float32)
            # h = exp(Δ A) h + Δ x B,   y = (C · h + skip x) · silu(gate)
            delta = _softplus(dt)
            h = tl.exp(delta[:, None] * A) * h + (delta * x)[:, None] * b[None, :]
            y = tl.sum(h * c[None, :], axis=1) + skip * x
            tl.store(y_ptr + row * D + d, y * gate * _sigmoid(gate), mask=inside)
    tl.store(last_ptr + text * D * N + place, h, mask=both)


@triton.jit
def _scan_backward_kernel(
    x_ptr, dt_ptr, A_ptr, B_ptr, C_ptr, skip_ptr, gate_ptr, kept_ptr, gy_ptr, glast_ptr,
    gx_ptr, gdt_ptr, gA_ptr, gB_ptr, gC_ptr, gskip_ptr, ggate_ptr, gstate_ptr, scratch_ptr,
    T, D, N, rows, blocks, pieces, x_stride, dt_stride, B_stride, C_stride, gate_stride, gy_stride,
    PIECE: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    text, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    d, n = block * CHANNELS + tl.arange(0, CHANNELS), tl.arange(0, STATES)
    inside, known = d < D, n < N
    both, place = inside[:, None] & known[None, :], d[:, None] * N + n[None, :]
    own = tl.arange(0, CHANNELS)[:, None] * STATES + n[None, :]
    scratch = scratch_ptr + tl.program_id(0).to(tl.int64) * (PIECE * CHANNELS * STATES) + own
    A = tl.load(A_ptr + place, mask=both, other=0.0)
    skip = tl.load(skip_ptr + d, mask=inside, other=0.0)
    gh = tl.load(glast_ptr + text * D * N + place, mask=both, other=0.0)
    gA = tl.zeros((CHANNELS, STATES), tl.float32)
    gskip = tl.zeros((CHANNELS,), tl.float32)
    for done in range(0, pieces):
        piece = pieces - 1 - done
        start, stop = piece * PIECE, tl.minimum(piece * PIECE + PIECE, T)
        h = tl.load(kept_ptr + (text * pieces + piece) * D * N + place, mask=both, other=0.0)
        for t in range(start, stop):  # the states of this piece once more
            row = text * T + t
            x = tl.load(x_ptr + row * x_stride + d, mask=inside, other=0.0).to(tl.float32)
            dt = tl.load(dt_ptr + row * dt_stride + d, mask=inside, other=0.0).to(tl.float32)
            b = tl.load(B_ptr + row * B_stride + n, mask=known, other=0.0).to(tl.float32)
            tl.store(scratch + (t - start) * (CHANNELS * STATES), h)
            delta = _softplus(dt)
            h = tl.exp(delta[:, None] * A) * h + (delta * x)[:, None] * b[None, :]
        tl.debug_barrier()  # another thread may have written what this one reads
        for back in range(0, stop - start):
            t = stop - 1 - back
            row = text * T + t
            x = tl.load(x_ptr + row * x_stride + d, mask=inside, other=0.0).to(tl.float32)
            dt = tl.load(dt_ptr + row * dt_stride + d, mask=inside, other=0.0).to(tl.float32)
            gate = tl.load(gate_ptr + row * gate_stride + d, mask=inside, other=0.0).to(tl.float32)
            gy = tl.load(gy_ptr + row * gy_stride + d, mask=inside, other=0.0).to(tl.float32)
            b = tl.load(B_ptr + row * B_stride + n, mask=known, other=0.0).to(tl.float32)
            c = tl.load(C_ptr + row * C_stride + n, mask=known, other=0.0).to(tl.float32)
            old = tl.load(scratch + (t - start) * (CHANNELS * STATES))
            delta = _softplus(dt)
            decay, write = tl.exp(delta[:, None] * A), delta * x
            new = decay * old + write[:, None] * b[None, :]
            # y = s · silu(gate), s = C · h + skip x
            s = tl.sum(new * c[None, :], axis=1) + skip * x
            passed = _sigmoid(gate)
            tl.store(ggate_ptr + row * D + d, gy * s * passed * (1.0 + gate * (1.0 - passed)), mask=inside)
            gs = gy * gate * passed
            gskip += gs * x
            gh += gs[:, None] * c[None, :]
            part = (block * rows + row) * N + n
            tl.store(gC_ptr + part, tl.sum(gs[:, None] * new, axis=0), mask=known)
            tl.store(gB_ptr + part, tl.sum(gh * write[:, None], axis=0), mask=known)
            gwrite = tl.sum(gh * b[None, :], axis=1)
            gh = gh * decay  # of the state before
            slope = gh * old  # of Δ A
            gA += slope * delta[:, None]
            gdelta = tl.sum(slope * A, axis=1) + gwrite * x
            tl.store(gx_ptr + row * D + d, gwrite * delta + gs * skip, mask=inside)
            tl.store(gdt_ptr + row * D + d, gdelta * _sigmoid(dt), mask=inside)
        tl.debug_barrier()  # all has been read before the next piece is written
    tl.store(gA_ptr + text * D * N + place, gA, mask=both)
    tl.store(gskip_ptr + text * D + d, gskip, mask=inside)
    tl.store(gstate_ptr + text * D * N + place, gh, mask=both)


# left alone, the assembler may stop at 96 or 128 registers and spill
REGISTERS = {} if INTERPRETED else {"maxnreg": 240}


class Program(NamedTuple):
    """How many channels one program walks along with, and on how many warps."""

    channels: int
    warps: int


def settings(width: int, states: int) -> Program:
    """32 channels, and so many warps that each thread holds 16 numbers of a state, 8 of one so long that more spill."""
    channels, states = (
        min(8 if INTERPRETED else 32, triton.next_power_of_2(width)),
        triton.next_power_of_2(states),
    )
    return Program(channels, max(1, channels * states // (512 if states <= 32 else 256)))


@torch.library.custom_op("minillm_kernels::selective_scan", mutates_args=())
def _scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    skip: Tensor,
    gate: Tensor,
    state: Tensor,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    y, last, kept = _empty(x, A, keep)
    (texts, T, D), N = x.shape, A.shape[1]
    program = settings(D, N)
    states, blocks = triton.next_power_of_2(N), triton.cdiv(D, program.channels)
    x, dt, B, C, gate = (as_rows(one) for one in (x, dt, B, C, gate))
    with torch.cuda.device_of(x):
        _scan_kernel[(texts * blocks,)](
            x, dt, A.contiguous(), B, C, skip.contiguous(), gate, state.contiguous(), y, last, kept,
            T, D, N, blocks, triton.cdiv(T, PIECE), *(one.stride(0) for one in (x, dt, B, C, gate)),
            KEEP=keep, PIECE=PIECE, CHANNELS=program.channels, STATES=states, num_warps=program.warps, **REGISTERS,
        )  # fmt: skip
    return y, last, kept


def _empty(x: Tensor, A: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Room for y, the last state and the states before each piece."""
    texts, T, D = x.shape
    y = torch.empty((texts, T, D), dtype=x.dtype, device=x.device)
    last = torch.empty((texts, D, A.shape[1]), dtype=torch.float32, device=x.device)
    pieces = (T + PIECE - 1) // PIECE if keep else 0
    return y, last, torch.empty((texts, pieces, D, A.shape[1]), dtype=torch.float32, device=x.device)


@_scan.register_fake
def _(x, dt, A, B, C, skip, gate, state, keep):
    return _empty(x, A, keep)


@torch.library.custom_op("minillm_kernels::selective_scan_backward", mutates_args=())
def _scan_backward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, skip: Tensor, gate: Tensor, kept: Tensor, gy: Tensor,
    glast: Tensor,
) -> list[Tensor]:  # fmt: skip
    gx, gdt, gA, gB, gC, gskip, ggate, gstate = _empty_gradients(x, dt, A, B, C, gate)
    (texts, T, D), N = x.shape, A.shape[1]
    program = settings(D, N)
    states, blocks = triton.next_power_of_2(N), triton.cdiv(D, program.channels)
    parts = [torch.empty((blocks, texts * T, N), dtype=torch.float32, device=x.device) for _ in range(2)]
    size = (texts * blocks, PIECE, program.channels, states)
    scratch = torch.empty(size, dtype=torch.float32, device=x.device)
    x, dt, B, C, gate, gy = (as_rows(one) for one in (x, dt, B, C, gate, gy))
    with torch.cuda.device_of(x):
        _scan_backward_kernel[(texts * blocks,)](
            x, dt, A.contiguous(), B, C, skip.contiguous(), gate, kept, gy, glast.contiguous(),
            gx, gdt, gA, *parts, gskip, ggate, gstate, scratch,
            T, D, N, texts * T, blocks, kept.shape[1], *(one.stride(0) for one in (x, dt, B, C, gate, gy)),
            PIECE=PIECE, CHANNELS=program.channels, STATES=states, num_warps=program.warps, **REGISTERS,
        )  # fmt: skip
    gB.copy_(parts[0].sum(0).view(gB.shape)), gC.copy_(parts[1].sum(0).view(gC.shape))
    return [gx, gdt, gA, gB, gC, gskip, ggate, gstate]


def _empty_gradients(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, gate: Tensor) -> list[Tensor]:
    """Room for the gradients of x, dt, A and skip of each text, B, C, gate and the first state."""
    texts, _, D = x.shape
    like = [torch.empty(one.shape, dtype=one.dtype, device=one.device) for one in (x, dt, B, C, gate)]
    sums = [
        torch.empty(shape, dtype=torch.float32, device=x.device)
        for shape in ((texts, *A.shape), (texts, D), (texts, *A.shape))
    ]
    return [like[0], like[1], sums[0], like[2], like[3], sums[1], like[4], sums[2]]


@_scan_backward.register_fake
def _(x, dt, A, B, C, skip, gate, kept, gy, glast):
    return _empty_gradients(x, dt, A, B, C, gate)


def _setup(ctx, inputs, output):
    *given, _, _ = inputs  # not the first state, not whether states are kept
    ctx.save_for_backward(*given, output[2])
    ctx.mark_non_differentiable(output[2])


def _gradients(ctx, gy, glast, _):
    *given, kept = ctx.saved_tensors
    if not kept.shape[1]:
        raise RuntimeError("selective_scan kept no states: it was called where no gradient was asked for")
    gx, gdt, gA, gB, gC, gskip, ggate, gstate = _scan_backward(*given, kept, gy, glast)
    return gx, gdt, gA.sum(0), gB, gC, gskip.sum(0), ggate, gstate, None


_scan.register_autograd(_gradients, setup_context=_setup)


def selective_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    skip: Tensor,
    gate: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(scan(x, softplus(dt), A, B, C) + skip x) silu(gate) -> (y (B, T, D), the last state (B, D, N) float32).

    x, dt, gate (B, T, D), B, C (B, T, N): one dtype of float16, bfloat16 and float32; halves of one tensor are read
    where they lie. A (D, N) with N up to 64, skip (D,), state (B, D, N), None for zeros: floats, taken in float32.
    Differentiable once, in all of them. Raises ValueError for other shapes, dtypes and devices, and for no tokens.
    """
    check_tensor("x", x, "B T D")
    check_tensor("A", A, "D N", like=x)
    if not x.numel() or A.shape[0] != x.shape[2] or not 0 < A.shape[1] <= WIDEST:
        raise ValueError(
            f"A must be ({x.shape[2]}, 1..{WIDEST}) for x of some tokens, got {describe(A)}, {describe(x)}"
        )
    rows = (*x.shape[:2], A.shape[1])
    for name, value, shape in (("dt", dt, x.shape), ("gate", gate, x.shape), ("B", B, rows), ("C", C, rows)):
        if check_tensor(name, value, "B T D", dtypes=(x.dtype,), like=x).shape != shape:
            raise ValueError(f"{name} must be {tuple(shape)}, got {describe(value)}")
    if check_tensor("skip", skip, "D", like=x).shape != x.shape[2:]:
        raise ValueError(f"skip must be {tuple(x.shape[2:])}, got {describe(skip)}")
    shape = (len(x), *A.shape)
    if state is None:
        state = torch.zeros(shape, dtype=torch.float32, device=x.device)
    elif check_tensor("state", state, "B D N", like=x).shape != shape:
        raise ValueError(f"state must be {shape}, got {describe(state)}")
    check_launch(x, dt, A, B, C, skip, gate, state)
    given = (x, dt, A.float(), B, C, skip.float(), gate, state.float())
    keep = torch.is_grad_enabled() and any(one.requires_grad for one in given)
    return _scan(*given, keep)[:2]
