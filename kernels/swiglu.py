"""SwiGLU (게이트가 있는 피드 포워드), the gated product of Llama's feed-forward layer, in one pass.

    y = silu(gate) · up,   silu(x) = x · σ(x),   σ(x) = 1 / (1 + exp(-x))
    ∂L/∂up = g · silu(gate),   ∂L/∂gate = g · up · σ · (1 + gate · (1 - σ))

Unfused, silu reads one tensor and writes one, the product reads two and writes one: 5 passes, and silu(gate) stays in
memory for the gradient. Fused, two are read and one is written, and the gradient computes silu(gate) again from gate:
an exponential is cheaper than the four bytes a number that storing and loading it would move.

Book 8.3.1 커널 퓨전 (kernel fusion), 2.4 피드 포워드 층. Paper: Shazeer 2020. Held against F.silu(gate) * up.
Leaves out: GELU gates, and the product with the weights before and after, which a matrix library does better.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import check_launch
from kernels._rows import Tile, as_rows, check_rows, row_pieces, whole_rows

PIECE = 2048  # columns a program: 16 of each tensor in each of 128 threads


def swiglu_plain(gate: Tensor, up: Tensor) -> Tensor:
    """The formula: gate and up (..., C) -> (..., C)."""
    # y = silu(gate) · up
    return (F.silu(gate.float()) * up.float()).to(gate.dtype)


@triton.jit
def _swiglu_kernel(
    gate_ptr, up_ptr, y_ptr, N, C, blocks, gate_stride, up_stride, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    tile, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    row = (tile * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]  # (ROWS, 1)
    # int64 too: contiguous tensors come as a single row of all their numbers
    column = (block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK))[None, :]  # (1, BLOCK)
    inside = (row < N) & (column < C)
    gate = tl.load(gate_ptr + row * gate_stride + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(up_ptr + row * up_stride + column, mask=inside, other=0.0).to(tl.float32)
    # y = gate · σ(gate) · up
    tl.store(y_ptr + row * C + column, gate / (1.0 + tl.exp(-gate)) * up, mask=inside)


@triton.jit
def _swiglu_backward_kernel(
    gate_ptr, up_ptr, g_ptr, dgate_ptr, dup_ptr,
    N, C, blocks, gate_stride, up_stride, g_stride,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    tile, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    row = (tile * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = (block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK))[None, :]
    inside = (row < N) & (column < C)
    gate = tl.load(gate_ptr + row * gate_stride + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(up_ptr + row * up_stride + column, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(g_ptr + row * g_stride + column, mask=inside, other=0.0).to(tl.float32)
    sigma = 1.0 / (1.0 + tl.exp(-gate))
    # ∂L/∂up = g · silu(gate),   ∂L/∂gate = g · up · σ · (1 + gate · (1 - σ))
    tl.store(dup_ptr + row * C + column, g * gate * sigma, mask=inside)
    tl.store(dgate_ptr + row * C + column, g * up * sigma * (1.0 + gate * (1.0 - sigma)), mask=inside)


def settings(*tensors: Tensor) -> tuple[Tile, int, list[Tensor]]:
    """(tile, column blocks, the tensors as rows). Contiguous ones are one long row: no row's ragged end is padded."""
    if all(x.is_contiguous() for x in tensors):
        rows = [x.reshape(1, -1) for x in tensors]
    else:
        rows = [as_rows(x) for x in tensors]
    width = rows[0].shape[1]
    tile = whole_rows(width, 16) if width < PIECE else row_pieces(width, PIECE, 4)
    return tile, triton.cdiv(width, tile.columns), rows


@torch.library.custom_op("minillm_kernels::swiglu", mutates_args=())
def _swiglu(gate: Tensor, up: Tensor) -> Tensor:
    y = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    if y.numel():
        tile, blocks, (gate, up) = settings(gate, up)
        with torch.cuda.device_of(gate):
            _swiglu_kernel[(triton.cdiv(len(gate), tile.rows) * blocks,)](
                gate, up, y, *gate.shape, blocks, gate.stride(0), up.stride(0),
                ROWS=tile.rows, BLOCK=tile.columns, num_warps=tile.warps,
            )  # fmt: skip
    return y


@_swiglu.register_fake
def _(gate, up):
    return torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)


@torch.library.custom_op("minillm_kernels::swiglu_backward", mutates_args=())
def _swiglu_backward(gate: Tensor, up: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    dgate, dup = (torch.empty(gate.shape, dtype=gate.dtype, device=gate.device) for _ in range(2))
    if g.numel():
        tile, blocks, (gate, up, g) = settings(gate, up, g)
        with torch.cuda.device_of(gate):
            _swiglu_backward_kernel[(triton.cdiv(len(gate), tile.rows) * blocks,)](
                gate, up, g, dgate, dup, *gate.shape, blocks, gate.stride(0), up.stride(0), g.stride(0),
                ROWS=tile.rows, BLOCK=tile.columns, num_warps=tile.warps,
            )  # fmt: skip
    return dgate, dup


@_swiglu_backward.register_fake
def _(gate, up, g):
    dgate, dup = (torch.empty(gate.shape, dtype=gate.dtype, device=gate.device) for _ in range(2))
    return dgate, dup


_swiglu.register_autograd(
    lambda ctx, g: _swiglu_backward(*ctx.saved_tensors, g),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) · up: gate and up (..., C), one dtype of float16, bfloat16 and float32 -> (..., C), contiguous.

    Any strides: the two halves of one tensor (`packed.chunk(2, dim=-1)`) are read where they lie, without a copy.
    Differentiable once. ValueError where gate and up differ in shape, dtype or device.
    """
    check_rows("gate", gate)
    check_rows("up", up, like=gate)
    check_launch(gate, up)
    return _swiglu(gate, up)
