"""Rotary positions (RoPE, 회전 위치 임베딩): turn the pairs of coordinates of all heads of q and k, in one launch.

    (a, b) -> (a cos θ - b sin θ, a sin θ + b cos θ),   θ of pair i at position t;   the gradient turns by -θ

Unfused (q * cos + rotate_half(q) * sin) reads q five times and writes it four times, then k. Fused, each number is read
once and written once. The angles come from memory once for a handful of heads: a program takes a few tokens and up to 8
heads, and the heads after the first find cos and sin in the cache.

Two pairings: halves, coordinate i with i + R/2 (GPT-NeoX, Llama), and neighbours, 2i with 2i + 1 (GPT-J, the paper).
Book 8.3.1 커널 퓨전 (kernel fusion), 2.2.3 위치 인코딩. Paper: Su et al. 2021. Held against transformers' Llama and
GPT-J. Leaves out: making the tables (minillm/nn/positions.py), rotation in place, gradients of cos and sin.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import INTERPRETED, check_flag, check_launch, check_tensor, describe


def rotary_plain(
    q: Tensor, k: Tensor | None, cos: Tensor, sin: Tensor, interleaved: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The formula: q (B, H, T, D) and k (B, K, T, D) turned; cos and sin (T, R/2) or (B, T, R/2)."""
    if k is not None:
        return rotary_plain(q, None, cos, sin, interleaved), rotary_plain(k, None, cos, sin, interleaved)
    if cos.dim() == 3:
        cos, sin = cos[:, None], sin[:, None]  # (B, 1, T, R/2)
    cos, sin = cos.float(), sin.float()
    x, rest = q[..., : 2 * cos.shape[-1]].float(), q[..., 2 * cos.shape[-1] :]
    pairs = x.unflatten(-1, (-1, 2) if interleaved else (2, -1)).unbind(-1 if interleaved else -2)
    a, b = pairs  # (B, H, T, R/2) each
    # (a, b) -> (a cos θ - b sin θ, a sin θ + b cos θ)
    turned = torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1 if interleaved else -2).flatten(-2)
    return torch.cat((turned.to(q.dtype), rest), dim=-1)


@triton.jit
def _turn_rows(
    x_row, y_row, cos, sin, inside,
    HALF: tl.constexpr, BLOCK: tl.constexpr, REST: tl.constexpr, REST_BLOCK: tl.constexpr,
    INTERLEAVED: tl.constexpr,
):  # fmt: skip
    """Turn heads whose first numbers lie at x_row (ROWS, 1) by cos and sin (ROWS, BLOCK); copy the REST behind."""
    if INTERLEAVED:
        # neighbours are loaded together, 16 bytes at a time, and parted in registers
        both = tl.arange(0, 2 * BLOCK)[None, :]
        mask = inside & (both < 2 * HALF)
        x = tl.load(x_row + both, mask=mask, other=0.0).to(tl.float32)  # (ROWS, 2 BLOCK)
        a, b = tl.split(tl.reshape(x, (x.shape[0], BLOCK, 2)))  # (ROWS, BLOCK) each
        turned = tl.join(a * cos - b * sin, a * sin + b * cos)  # (ROWS, BLOCK, 2)
        tl.store(y_row + both, tl.reshape(turned, (x.shape[0], 2 * BLOCK)), mask=mask)
    else:
        pair = tl.arange(0, BLOCK)[None, :]
        mask = inside & (pair < HALF)
        a = tl.load(x_row + pair, mask=mask, other=0.0).to(tl.float32)  # (ROWS, BLOCK)
        b = tl.load(x_row + HALF + pair, mask=mask, other=0.0).to(tl.float32)
        tl.store(y_row + pair, a * cos - b * sin, mask=mask)
        tl.store(y_row + HALF + pair, a * sin + b * cos, mask=mask)
    if REST > 0:
        at = tl.arange(0, REST_BLOCK)[None, :]
        mask = inside & (at < REST)
        tl.store(y_row + 2 * HALF + at, tl.load(x_row + 2 * HALF + at, mask=mask, other=0.0), mask=mask)


@triton.jit
def _rotary_kernel(
    q_ptr, k_ptr, q_out_ptr, k_out_ptr, cos_ptr, sin_ptr,
    T, H, K, q_blocks,
    q_batch, q_head, q_time, k_batch, k_head, k_time,
    q_out_batch, q_out_head, q_out_time, k_out_batch, k_out_head, k_out_time,
    table_batch,
    TOKENS: tl.constexpr, HEADS: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr,
    REST: tl.constexpr, REST_BLOCK: tl.constexpr, INTERLEAVED: tl.constexpr, BACK: tl.constexpr,
):  # fmt: skip
    times = tl.cdiv(T, TOKENS)
    batch, block = (tl.program_id(0) // times).to(tl.int64), tl.program_id(1)
    # a row of the tile is one head of one token
    row = tl.arange(0, TOKENS * HEADS)[:, None]  # (ROWS, 1)
    t = (tl.program_id(0) % times) * TOKENS + row // HEADS
    pair = tl.arange(0, BLOCK)[None, :]  # (1, BLOCK)
    angle = batch * table_batch + t.to(tl.int64) * HALF + pair
    mask = (t < T) & (pair < HALF)
    cos = tl.load(cos_ptr + angle, mask=mask, other=0.0).to(tl.float32)  # (ROWS, BLOCK)
    sin = tl.load(sin_ptr + angle, mask=mask, other=0.0).to(tl.float32)
    if BACK:
        sin = -sin
    # the second axis of the grid counts blocks of q's heads, then of k's
    if block < q_blocks:
        head = block * HEADS + row % HEADS
        inside = (t < T) & (head < H)
        x_row = q_ptr + batch * q_batch + head.to(tl.int64) * q_head + t.to(tl.int64) * q_time
        y_row = q_out_ptr + batch * q_out_batch + head.to(tl.int64) * q_out_head + t.to(tl.int64) * q_out_time
        _turn_rows(x_row, y_row, cos, sin, inside, HALF, BLOCK, REST, REST_BLOCK, INTERLEAVED)
    else:
        head = (block - q_blocks) * HEADS + row % HEADS
        inside = (t < T) & (head < K)
        x_row = k_ptr + batch * k_batch + head.to(tl.int64) * k_head + t.to(tl.int64) * k_time
        y_row = k_out_ptr + batch * k_out_batch + head.to(tl.int64) * k_out_head + t.to(tl.int64) * k_out_time
        _turn_rows(x_row, y_row, cos, sin, inside, HALF, BLOCK, REST, REST_BLOCK, INTERLEAVED)


class Settings(NamedTuple):
    """How a launch is laid out: tokens and heads a program, pairs a row (rounded up), warps."""

    tokens: int
    heads: int
    block: int
    warps: int


def settings(heads: int, half: int, rest: int) -> Settings:
    """Up to 8 heads a program, and tokens until the tile holds 2,048 pairs: 16 in each of 128 threads."""
    block = triton.next_power_of_2(half)
    heads = min(8, triton.next_power_of_2(heads))
    room = 512 if INTERPRETED else 2048
    widest = max(block, triton.next_power_of_2(rest) // 2)
    return Settings(max(1, room // (heads * widest)), heads, block, 4)


def _output(x: Tensor) -> Tensor:
    """An unwritten tensor in the layout of x: heads before time, or time before heads as a projection leaves it."""
    order = (0, 2, 1, 3) if x.transpose(1, 2).is_contiguous() else (0, 1, 2, 3)
    return torch.empty_permuted(x.shape, order, dtype=x.dtype, device=x.device)


@torch.library.custom_op("minillm_kernels::rotary", mutates_args=())
def _rotary(heads: list[Tensor], cos: Tensor, sin: Tensor, interleaved: bool, back: bool) -> list[Tensor]:
    """heads: [q] or [q, k], turned by θ, or by -θ if `back`."""
    turned = [_output(x) for x in heads]
    B, H, T, D = heads[0].shape
    K = heads[1].shape[1] if len(heads) == 2 else 0
    half = cos.shape[-1]
    rest = D - 2 * half
    if B * T * (H + K) == 0:
        return turned
    heads = [x if x.stride(3) == 1 else x.contiguous() for x in heads]  # any strides but the last
    cos, sin = cos.contiguous(), sin.contiguous()
    tokens, group, block, warps = settings(max(H, K), half, rest)
    q_blocks = triton.cdiv(H, group)
    # without k, q stands in its place and is never read there
    q, k, q_out, k_out = heads[0], heads[-1], turned[0], turned[-1]
    with torch.cuda.device_of(q):
        _rotary_kernel[(B * triton.cdiv(T, tokens), q_blocks + triton.cdiv(K, group))](
            q, k, q_out, k_out, cos, sin, T, H, K, q_blocks,
            *q.stride()[:3], *k.stride()[:3], *q_out.stride()[:3], *k_out.stride()[:3],
            cos.stride(0) if cos.dim() == 3 else 0,
            TOKENS=tokens, HEADS=group, HALF=half, BLOCK=block,
            REST=rest, REST_BLOCK=triton.next_power_of_2(max(rest, 1)),
            INTERLEAVED=interleaved, BACK=back, num_warps=warps,
        )  # fmt: skip
    return turned


@_rotary.register_fake
def _(heads, cos, sin, interleaved, back):
    return [_output(x) for x in heads]


def _setup(ctx, inputs, output):
    _, cos, sin, ctx.interleaved, ctx.back = inputs
    ctx.save_for_backward(cos, sin)


def _backward(ctx, grads):
    # the inverse of a turn is its transpose: the turn by -θ
    return _rotary(grads, *ctx.saved_tensors, ctx.interleaved, not ctx.back), None, None, None, None


_rotary.register_autograd(_backward, setup_context=_setup)


def rotary(
    q: Tensor, k: Tensor | None, cos: Tensor, sin: Tensor, interleaved: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """q (B, H, T, D) and k (B, K, T, D) turned, in new tensors; only q if k is None.

    cos, sin: (T, R/2), or (B, T, R/2) for positions that differ from text to text; of any float dtype. The first R <= D
    coordinates of each head are turned, the others copied. interleaved: pair neighbours instead of halves. q and k:
    float16, bfloat16 or float32, any strides; a layout (B, T, H, D) seen through transpose is kept. Differentiable any
    number of times in q and k. ValueError for shapes, dtypes or devices that do not fit, and for tables that require
    a gradient: there is none.
    """
    check_tensor("q", q, "B H T D")
    heads = [q]
    if k is not None:
        heads.append(check_tensor("k", k, "B K T D", like=q))
        if k.dtype != q.dtype or (k.shape[0], *k.shape[2:]) != (q.shape[0], *q.shape[2:]):
            raise ValueError(f"q and k may differ in their heads alone, got {describe(q)} and {describe(k)}")
    B, _, T, D = q.shape
    for name, table in (("cos", cos), ("sin", sin)):
        axes = "B T R/2" if isinstance(table, Tensor) and table.dim() == 3 else "T R/2"
        check_tensor(name, table, axes, like=q)
        if table.shape[:-1] not in ((T,), (B, T)) or not 2 <= 2 * table.shape[-1] <= D:
            expected = f"{name} must be (T, R/2) or (B, T, R/2) with R <= D"
            raise ValueError(f"{expected} for {describe(q)}, got {describe(table)}")
        if table.requires_grad:
            raise ValueError(f"{name} requires a gradient, and rotary has none for its tables: detach it")
    if (cos.shape, cos.dtype) != (sin.shape, sin.dtype):
        raise ValueError(f"cos and sin must match, got {describe(cos)} and {describe(sin)}")
    check_flag("interleaved", interleaved)
    check_launch(q, k, cos, sin)
    turned = _rotary(heads, cos, sin, interleaved, False)
    return turned[0] if k is None else (turned[0], turned[1])
