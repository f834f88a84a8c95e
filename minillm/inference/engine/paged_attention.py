"""Attention over pages: the new tokens of many texts look back, each over its own text, wherever its blocks lie.

    plain    gather a text's blocks into one piece, then attend as always              (any device, any dtype)
    CPU      one new token a text: read the blocks where they lie                       (numba, float32)
    GPU      the kernels of kernels/ (paged_attention, paged_prefill, store_kv)

All take keys and values as (num_blocks, block_size, K, D). Gathering moves every cached byte three times; reading in
place once, and a token of decoding does nothing else with it. Book 8.3.2 페이지어텐션. Paper: Kwon et al. 2023. Held
against attention over the same tokens in one piece.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from minillm._checks import describe
from minillm._kernels import autocast_dtype, register
from minillm.nn.attention import attention
from minillm.nn.backends import window_mask
from minillm.quantization.loops import QUICK

INTEGERS = (torch.int32, torch.int64)
# the checksum of the compiled files that this one calls: python -m tests.compiled_files --write
CALLED = "ad0a5cd2"

# Several new tokens of one text


def attend_gathered(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    table: Tensor,
    length: int,
    scale: float | None,
    window: int | None,
) -> Tensor:
    """q (T, H, D), the last T of a text's `length` tokens, over all of them -> (T, H, D).

    keys, values: (num_blocks, block_size, K, D). table: (max_blocks,) int, the text's blocks in order. window: how far
    back a token sees, itself included.
    """
    T, past = q.shape[0], 0
    if window is not None:  # no query sees what lies before this
        past = max(0, length - T - window + 1)
    size = keys.shape[1]
    first = past // size
    blocks = table[first : -(-length // size)]
    k, v = (
        pages.index_select(0, blocks).flatten(0, 1)[past - first * size : length - first * size]
        for pages in (keys, values)
    )  # (S, K, D)
    k, v = (x.transpose(0, 1)[None] for x in (k, v))  # (1, K, S, D)
    S = length - past
    mask = window_mask(T, S, window, q.device) if window is not None and window < S else None
    return attention(q.transpose(0, 1)[None], k, v, mask, causal=True, scale=scale)[0].transpose(0, 1)


def prefill_plain(
    q: Tensor, keys: Tensor, values: Tensor, tables: Tensor, starts: Tensor, lengths: Tensor, longest: int,
    scale: float | None, window: int | None,
) -> Tensor:  # fmt: skip
    """New tokens q (N, H, D) of many texts, text i's in rows starts[i] to starts[i + 1]; arguments as the kernel's."""
    out = torch.empty_like(q)
    begin = starts.tolist()
    for i, length in enumerate(lengths.tolist()):
        rows = slice(begin[i], begin[i + 1])
        out[rows] = attend_gathered(q[rows], keys, values, tables[i], length, scale, window)
    return out


# One new token a text


def check_pages(q: Tensor, keys: Tensor, values: Tensor, tables: Tensor, lengths: Tensor) -> None:
    """ValueError unless the shapes of decode_plain's tensors fit together."""
    tensors = (q, keys, values, tables, lengths)
    if all(isinstance(x, Tensor) for x in tensors) and [x.dim() for x in tensors] == [3, 4, 4, 2, 1]:
        (B, H, D), (_, _, K, width) = q.shape, keys.shape
        integers = tables.dtype in INTEGERS and lengths.dtype in INTEGERS
        alike = keys.shape == values.shape and q.dtype == keys.dtype == values.dtype and integers
        if alike and width == D and K and H % K == 0 and len(tables) == B == len(lengths):
            return
    raise ValueError(
        "q (B, H, D) needs keys and values (num_blocks, block_size, K, D) of its dtype, H divisible by K, tables "
        f"(B, max_blocks) and lengths (B,) of integers, got {', '.join(map(describe, tensors))}"
    )


@njit(**QUICK)
def _one_token(q, keys, values, tables, lengths, scale, window, out):  # pragma: no cover
    """out[b, h] = softmax(scale · q[b, h] · keys(b)ᵀ) · values(b): q, out (B, H, D), tables (B, max_blocks).

    Keys and values are read token by token, all heads of each, in the order in which they lie: memory is the cost.
    """
    size, heads, shared = keys.shape[1], q.shape[1], q.shape[1] // keys.shape[2]
    # numba asks nobody whether an index lies in its array: these are read before anything else
    for b in range(q.shape[0]):
        if lengths[b] < 1 or lengths[b] > size * tables.shape[1]:
            raise ValueError(
                "a length must be at least 1, and no more than its row of the tables has room for"
            )
        for n in range((lengths[b] + size - 1) // size):
            if tables[b, n] < 0 or tables[b, n] >= keys.shape[0]:
                raise ValueError("a table must hold numbers of blocks, as far as its text is long")
    scores = np.empty((heads, lengths.max()), np.float32)
    for b in range(q.shape[0]):
        stop = lengths[b]
        start = max(0, stop - window)
        for n in range(start // size, (stop + size - 1) // size):
            block = keys[tables[b, n]]  # (block_size, K, D)
            for s in range(max(start, n * size), min(stop, n * size + size)):
                for h in range(heads):
                    x, key, score = q[b, h], block[s - n * size, h // shared], np.float32(0)
                    for i in range(x.size):
                        score += x[i] * key[i]
                    scores[h, s] = score * scale
        for h in range(heads):
            row = scores[h, start:stop]
            row[:] = np.exp(row - row.max())
            row /= row.sum()
        out[b] = 0
        for n in range(start // size, (stop + size - 1) // size):
            block = values[tables[b, n]]
            for s in range(max(start, n * size), min(stop, n * size + size)):
                for h in range(heads):
                    y, value, weight = out[b, h], block[s - n * size, h // shared], scores[h, s]
                    for i in range(y.size):
                        y[i] += weight * value[i]


def decode_plain(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    tables: Tensor,
    lengths: Tensor,
    scale: float | None,
    window: int | None,
) -> Tensor:
    """The newest token of each text, q (B, H, D), over lengths (B,) int32 tokens in tables (B, max_blocks) int32.

    keys, values: (num_blocks, block_size, K, D). Raises ValueError for shapes that do not fit, for lengths below 1 or
    beyond the table, and for blocks that there are not.
    """
    check_pages(q, keys, values, tables, lengths)
    if len(q) == 0:
        return torch.empty_like(q)
    if q.dtype == torch.float32 and q.device.type == "cpu":
        out = torch.empty(q.shape)
        arrays = (x.contiguous().numpy() for x in (q, keys, values, tables, lengths))
        scale = np.float32(q.shape[-1] ** -0.5 if scale is None else scale)
        _one_token(*arrays, scale, 2**31 if window is None else window, out.numpy())
        return out
    rows = [
        attend_gathered(q[b : b + 1], keys, values, tables[b], length, scale, window)
        for b, length in enumerate(lengths.tolist())
    ]
    return torch.cat(rows)


def store_plain(k: Tensor, v: Tensor, keys: Tensor, values: Tensor, places: Tensor) -> None:
    """Keys and values (N, K, D) of new tokens into the pages; places (N,): block · block_size + offset."""
    keys.view(-1, *keys.shape[2:]).index_copy_(0, places, k)
    values.view(-1, *values.shape[2:]).index_copy_(0, places, v)


def _kernel_takes(q: Tensor, keys: Any, *rest: Any) -> bool:
    pages = rest[1] if keys.dim() == 3 else keys  # store: k, v, keys, values, places
    return (
        autocast_dtype(q) is None
        and q.dtype == pages.dtype
        and 8 <= pages.shape[1] <= 256
        and 1 <= pages.shape[3] <= 256
    )


# A GPU takes the kernels by itself: the plain versions ask it for every length, text by text
decode_attention = register(
    "paged_attention", "kernels.paged_attention:paged_attention", _kernel_takes, decode_plain, auto=True
)
prefill_attention = register(
    "paged_prefill", "kernels.paged_prefill:paged_prefill", _kernel_takes, prefill_plain, auto=True
)
store_kv = register("store_kv", "kernels.store_kv:store_kv", _kernel_takes, store_plain, auto=True)
