"""Store new keys and values in a paged cache (페이지 캐시에 쓰기): every token goes to the slot it was given.

    cache[slot // block_size, slot % block_size] = k[n],    slot = slot_mapping[n], and nothing for slot -1

Whoever hands out the blocks (the engine) knows where each new token goes; this kernel scatters all of a step's tokens,
of all sequences, keys and values, in one launch: each byte is read once and written once. Slot -1 marks a row that
only pads the batch (a recorded CUDA graph has a fixed number of rows) and is skipped.

Book 8.3.2 페이지어텐션. Paper: Kwon et al. 2023 (PagedAttention). Held against torch's index_put_ on the flattened
cache. Leaves out: quantizing on the way in; gradients (inference only).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels._checks import INTERPRETED, check_launch, check_tensor, describe
from kernels._paged import check_caches, unit_stride


def store_kv_plain(
    k: Tensor, v: Tensor, key_cache: Tensor, value_cache: Tensor, slot_mapping: Tensor
) -> None:
    """`store_kv` by its formula, in place."""
    block_size = key_cache.shape[1]
    # a slot outside the cache, -1 above all, is no place at all
    real = (slot_mapping >= 0) & (slot_mapping < key_cache.shape[0] * block_size)
    slot = slot_mapping[real].long()
    # cache[slot // block_size, slot % block_size] = k[n]
    key_cache[slot // block_size, slot % block_size] = k[real]
    value_cache[slot // block_size, slot % block_size] = v[real]


@triton.jit(do_not_specialize=["rows", "slots"], do_not_specialize_on_alignment=["slot_mapping"])
def _store_kv_kernel(
    k, v, key_cache, value_cache, slot_mapping, rows, K, slots,
    k_stride_n, k_stride_h, v_stride_n, v_stride_h, kc_stride_block, kc_stride_token, kc_stride_head,
    vc_stride_block, vc_stride_token, vc_stride_head,
    D: tl.constexpr, BLOCK_SIZE: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """BLOCK_R rows of width D, where row r is head r % K of token r // K: keys and values."""
    # 64 bits throughout: tokens * K * D passes 2**31 in a long prefill, block * stride in a cache of a few gigabytes
    row = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    n, head = row // K, row % K  # (BLOCK_R,)
    slot = tl.load(slot_mapping + n, mask=row < rows, other=-1).to(tl.int64)
    block, offset = slot // BLOCK_SIZE, slot % BLOCK_SIZE
    d = tl.arange(0, BLOCK_D)
    # the masks are the same along d, so that a thread still moves 16 bytes at a time; keys and values do not wait for
    # the slot to arrive, only the stores do
    given = (row < rows)[:, None] & (d < D)[None, :]  # (BLOCK_R, BLOCK_D)
    keys = tl.load(k + (n * k_stride_n + head * k_stride_h)[:, None] + d[None, :], mask=given)
    values = tl.load(v + (n * v_stride_n + head * v_stride_h)[:, None] + d[None, :], mask=given)
    mask = ((slot >= 0) & (slot < slots))[:, None] & (d < D)[None, :]
    key_row = block * kc_stride_block + offset * kc_stride_token + head * kc_stride_head
    value_row = block * vc_stride_block + offset * vc_stride_token + head * vc_stride_head
    tl.store(key_cache + key_row[:, None] + d[None, :], keys, mask=mask)
    tl.store(value_cache + value_row[:, None] + d[None, :], values, mask=mask)


def settings(D: int, dtype: torch.dtype) -> tuple[int, int]:
    """(rows a program, warps): 4 kB of keys and 4 kB of values, two 16-byte loads of each a thread in flight."""
    BLOCK_D = triton.next_power_of_2(D)
    return (4 if INTERPRETED else max(4096 // (BLOCK_D * dtype.itemsize), 1)), 4


@torch.library.custom_op("minillm_kernels::store_kv", mutates_args=("key_cache", "value_cache"))
def _store_kv(k: Tensor, v: Tensor, key_cache: Tensor, value_cache: Tensor, slot_mapping: Tensor) -> None:
    check_launch(k, v, key_cache, value_cache, slot_mapping)
    (N, K, D), (num_blocks, block_size) = k.shape, key_cache.shape[:2]
    if N * K * num_blocks == 0:
        return
    k, v, slot_mapping = map(unit_stride, (k, v, slot_mapping))
    BLOCK_R, num_warps = settings(D, k.dtype)
    with torch.cuda.device_of(k):
        _store_kv_kernel[(triton.cdiv(N * K, BLOCK_R),)](
            k, v, key_cache, value_cache, slot_mapping, N * K, K, num_blocks * block_size,
            *k.stride()[:2], *v.stride()[:2], *key_cache.stride()[:3], *value_cache.stride()[:3],
            D=D, BLOCK_SIZE=block_size, BLOCK_R=BLOCK_R, BLOCK_D=triton.next_power_of_2(D), num_warps=num_warps,
        )  # fmt: skip


def store_kv(k: Tensor, v: Tensor, key_cache: Tensor, value_cache: Tensor, slot_mapping: Tensor) -> None:
    """Write the keys and values of N new tokens into the caches, in place.

    k, v: (N, K, D), float16, bfloat16 or float32. key_cache, value_cache: (num_blocks, block_size, K, D) of k's
    dtype, the last axis contiguous, else any strides (a layer's slice of one big tensor); block_size 8 to 256.
    slot_mapping: (N,) int32 or int64; token n goes to block slot // block_size, place slot % block_size. A slot
    outside the cache is skipped; -1 is the usual mark of padding. Two tokens with one slot: it holds numbers of
    either, perhaps a key of the one and a value of the other.

    ValueError for shapes, dtypes or devices that do not fit, and for a cache that overlaps itself (expanded).
    """
    check_tensor("k", k, "N K D")
    check_tensor("v", v, "N K D", like=k)
    if v.shape != k.shape or v.dtype != k.dtype:
        raise ValueError(f"k and v must be of one shape and dtype, got {describe(k)} and {describe(v)}")
    check_caches(key_cache, value_cache, k, "k and v")
    if key_cache.shape[2] != k.shape[1]:
        raise ValueError(
            f"k and the caches must have the same heads K, got {describe(k)} and {describe(key_cache)}"
        )
    for name, cache in (("key_cache", key_cache), ("value_cache", value_cache)):
        if any(stride == 0 and size > 1 for stride, size in zip(cache.stride(), cache.shape)):
            raise ValueError(
                f"{name} must not be expanded: its blocks would overlap, got strides {cache.stride()}"
            )
    check_tensor("slot_mapping", slot_mapping, "N", (torch.int32, torch.int64), like=k)
    if slot_mapping.shape[0] != k.shape[0]:
        raise ValueError(
            f"slot_mapping must have a slot a token, got {describe(slot_mapping)} and k {describe(k)}"
        )
    _store_kv(k, v, key_cache, value_cache, slot_mapping)
