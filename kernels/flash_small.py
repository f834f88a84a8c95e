"""Flash attention small enough to read at once: three Triton kernels, each the one before it and one thing more.

    one_head_kernel    softmax(Q Kᵀ / √D) V of one head: a program keeps a tile of queries, all keys pass by it
    causal_kernel      + the loop ends at the diagonal, and the tile on the diagonal has a mask
    heads_kernel       + a second axis of programs: the heads, in groups that share keys and values

These are for reading, and for the exercises of lesson 08_2b; flash_forward.py is the kernel that ships. Book 8.2.1
플래시어텐션, 8.2.2 플래시어텐션 2. Paper: Dao 2023, algorithm 1. Held against F.scaled_dot_product_attention. Leaves
out: gradients, lengths that differ, widths that are no power of two, strides, 64-bit offsets.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import FLOATS, check_flag, check_int, check_launch, check_tensor


@triton.jit
def one_head_kernel(Q, K, V, Out, T, D: tl.constexpr, BLOCK: tl.constexpr):
    tile = tl.program_id(0)
    rows = tile * BLOCK + tl.arange(0, BLOCK)[:, None]  # (BLOCK, 1), the queries that are mine
    across = tl.arange(0, D)[None, :]  # (1, D)
    q = tl.load(Q + rows * D + across, mask=rows < T, other=0.0)  # (BLOCK, D), read once, stays
    m = tl.full([BLOCK, 1], float("-inf"), tl.float32)
    l = tl.zeros([BLOCK, 1], tl.float32)
    o = tl.zeros([BLOCK, D], tl.float32)
    for start in range(0, T, BLOCK):
        keys = start + tl.arange(0, BLOCK)[:, None]
        k = tl.load(K + keys * D + across, mask=keys < T, other=0.0)  # (BLOCK, D), passes by
        v = tl.load(V + keys * D + across, mask=keys < T, other=0.0)
        scores = D**-0.5 * tl.dot(q, tl.trans(k), input_precision="ieee")  # (BLOCK, BLOCK), then gone
        scores = tl.where(tl.trans(keys) < T, scores, float("-inf"))
        top = tl.maximum(m, tl.max(scores, 1, keep_dims=True))
        shrink, shares = tl.exp(m - top), tl.exp(scores - top)
        l = l * shrink + tl.sum(shares, 1, keep_dims=True)
        o = o * shrink + tl.dot(shares.to(v.dtype), v, input_precision="ieee")
        m = top
    tl.store(Out + rows * D + across, o / l, mask=rows < T)  # the only thing that is written


@triton.jit
def causal_kernel(Q, K, V, Out, T, D: tl.constexpr, BLOCK: tl.constexpr):
    tile = tl.program_id(0)
    rows = tile * BLOCK + tl.arange(0, BLOCK)[:, None]  # (BLOCK, 1), the queries that are mine
    across = tl.arange(0, D)[None, :]  # (1, D)
    q = tl.load(Q + rows * D + across, mask=rows < T, other=0.0)  # (BLOCK, D), read once, stays
    m = tl.full([BLOCK, 1], float("-inf"), tl.float32)
    l = tl.zeros([BLOCK, 1], tl.float32)
    o = tl.zeros([BLOCK, D], tl.float32)
    for start in range(0, (tile + 1) * BLOCK, BLOCK):  # later keys are never loaded
        keys = start + tl.arange(0, BLOCK)[:, None]
        k = tl.load(K + keys * D + across, mask=keys < T, other=0.0)  # (BLOCK, D), passes by
        v = tl.load(V + keys * D + across, mask=keys < T, other=0.0)
        scores = D**-0.5 * tl.dot(q, tl.trans(k), input_precision="ieee")  # (BLOCK, BLOCK), then gone
        scores = tl.where(tl.trans(keys) <= rows, scores, float("-inf"))  # hides the keys from T on, too
        top = tl.maximum(m, tl.max(scores, 1, keep_dims=True))
        shrink, shares = tl.exp(m - top), tl.exp(scores - top)
        l = l * shrink + tl.sum(shares, 1, keep_dims=True)
        o = o * shrink + tl.dot(shares.to(v.dtype), v, input_precision="ieee")
        m = top
    tl.store(Out + rows * D + across, o / l, mask=rows < T)  # the only thing that is written


@triton.jit
def heads_kernel(Q, K, V, Out, T, GROUP, D: tl.constexpr, BLOCK: tl.constexpr):
    tile, head = tl.program_id(0), tl.program_id(1)
    Q += head * T * D  # the tensors are (heads, T, D), one head behind the other
    K += head // GROUP * T * D  # GROUP query heads read the same keys: nothing is copied
    V += head // GROUP * T * D
    Out += head * T * D
    rows = tile * BLOCK + tl.arange(0, BLOCK)[:, None]  # (BLOCK, 1), the queries that are mine
    across = tl.arange(0, D)[None, :]  # (1, D)
    q = tl.load(Q + rows * D + across, mask=rows < T, other=0.0)  # (BLOCK, D), read once, stays
    m = tl.full([BLOCK, 1], float("-inf"), tl.float32)
    l = tl.zeros([BLOCK, 1], tl.float32)
    o = tl.zeros([BLOCK, D], tl.float32)
    for start in range(0, (tile + 1) * BLOCK, BLOCK):  # later keys are never loaded
        keys = start + tl.arange(0, BLOCK)[:, None]
        k = tl.load(K + keys * D + across, mask=keys < T, other=0.0)  # (BLOCK, D), passes by
        v = tl.load(V + keys * D + across, mask=keys < T, other=0.0)
        scores = D**-0.5 * tl.dot(q, tl.trans(k), input_precision="ieee")  # (BLOCK, BLOCK), then gone
        scores = tl.where(tl.trans(keys) <= rows, scores, float("-inf"))  # hides the keys from T on, too
        top = tl.maximum(m, tl.max(scores, 1, keep_dims=True))
        shrink, shares = tl.exp(m - top), tl.exp(scores - top)
        l = l * shrink + tl.sum(shares, 1, keep_dims=True)
        o = o * shrink + tl.dot(shares.to(v.dtype), v, input_precision="ieee")
        m = top
    tl.store(Out + rows * D + across, o / l, mask=rows < T)  # the only thing that is written


def flash_small(q: Tensor, k: Tensor, v: Tensor, causal: bool = False, block: int = 32) -> Tensor:
    """softmax(Q Kᵀ / √D) V by the first kernel, or the second (causal) -> (T, D).

    q, k, v: float (T, D), contiguous, T at least 1, D a power of two from 16 on. block: rows of a tile, a power of two
    from 16 on. Raises ValueError for what does not fit.
    """
    check_tiles(q, k, v, "T D", block)
    out = torch.empty_like(q)
    kernel = causal_kernel if check_flag("causal", causal) else one_head_kernel
    with torch.cuda.device_of(q):
        kernel[(triton.cdiv(len(q), block),)](q, k, v, out, len(q), D=q.shape[1], BLOCK=block)
    return out


def flash_small_heads(q: Tensor, k: Tensor, v: Tensor, block: int = 32) -> Tensor:
    """Causal attention of q (H, T, D) on k and v (K, T, D), H a multiple of K, by the third kernel -> (H, T, D)."""
    check_tiles(q, k, v, "H T D", block)
    out = torch.empty_like(q)
    (H, T, D), K = q.shape, len(k)
    with torch.cuda.device_of(q):
        heads_kernel[(triton.cdiv(T, block), H)](q, k, v, out, T, H // K, D=D, BLOCK=block)
    return out


def check_tiles(q: Tensor, k: Tensor, v: Tensor, shape: str, block: int) -> None:
    """ValueError unless the small kernels can take these tensors and this block."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        check_tensor(name, x, shape, FLOATS if name == "q" else (q.dtype,), like=q)
    heads = (q.shape[0], k.shape[0]) if q.ndim == 3 else (1, 1)
    fits = k.shape == v.shape and q.shape[-2:] == k.shape[-2:] and heads[1] > 0 and heads[0] % heads[1] == 0
    if not fits or q.numel() == 0 or not all(x.is_contiguous() for x in (q, k, v)):
        raise ValueError(
            f"q, k and v must be contiguous ({shape.replace(' ', ', ')}), none empty, of one T and D, got "
            f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
        )
    for name, value in (("D", q.shape[-1]), ("block", check_int("block", block, 16))):
        if value < 16 or value & (value - 1):
            raise ValueError(f"{name} must be a power of two from 16 on, got {value}")
    check_launch(q, k, v)
