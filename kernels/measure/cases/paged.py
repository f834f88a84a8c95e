"""Paged attention and its cache as they ship: store_kv, decode, chunked prefill; every branch of their settings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.measure.compile_ahead import Case
from kernels.paged_attention import paged_attention
from kernels.paged_prefill import paged_prefill
from kernels.store_kv import store_kv

B, MAX_BLOCKS = 4, 256
HALF, BRAIN, FULL = torch.float16, torch.bfloat16, torch.float32
# everything that adds instructions to the loop
OPTIONS = {"window": 100, "softcap": 30.0}


def whole(*shape: int) -> Tensor:
    """Zeros as a block table or lengths hold them: int32."""
    return torch.zeros(shape, dtype=torch.int32)


def caches(D: int, dtype: torch.dtype, K: int, block_size: int) -> tuple[Tensor, Tensor]:
    """Keys and values, the halves of one tensor."""
    return torch.empty(2, 8, block_size, K, D, dtype=dtype).unbind(0)


def store(D: int, dtype: torch.dtype, slots: torch.dtype) -> Callable:
    """A call that stores 64 tokens; slots: the slot mapping's dtype."""

    def call() -> None:
        k, v = torch.empty(2, 64, 8, D, dtype=dtype).unbind(0)
        store_kv(k, v, *caches(D, dtype, 8, 16), torch.zeros(64, dtype=slots))

    return call


def decode(
    D: int, dtype: torch.dtype, H: int = 32, K: int = 8, block_size: int = 16, alibi: bool = False, **options
) -> Callable:
    """A call of `paged_attention` with B sequences of up to MAX_BLOCKS blocks."""

    def call() -> Tensor:
        slopes = torch.zeros(H) if alibi else None
        q = torch.empty(B, H, D, dtype=dtype)
        table = whole(B, MAX_BLOCKS)
        return paged_attention(
            q, *caches(D, dtype, K, block_size), table, whole(B), alibi_slopes=slopes, **options
        )

    return call


def prefill(
    D: int, dtype: torch.dtype, H: int = 32, K: int = 8, block_size: int = 16, alibi: bool = False, **options
) -> Callable:
    """A call of `paged_prefill` with 1,024 new tokens of B sequences of up to MAX_BLOCKS blocks."""

    def call() -> Tensor:
        slopes = torch.zeros(H) if alibi else None
        q, table = torch.empty(1024, H, D, dtype=dtype), whole(B, MAX_BLOCKS)
        cu = whole(B + 1)
        return paged_prefill(
            q, *caches(D, dtype, K, block_size), table, cu, whole(B), 256, alibi_slopes=slopes, **options
        )

    return call


CASES = [
    Case("store_kv D128 bf16", store(128, BRAIN, torch.int64)),
    Case("store_kv D96 fp32", store(96, FULL, torch.int32)),
    Case("paged_attention D64 bf16", decode(64, BRAIN), dots=True),
    Case("paged_attention D128 bf16", decode(128, BRAIN), dots=True),
    Case(
        "paged_attention D96 bf16, all options, blocks of 24",
        decode(96, BRAIN, 14, 2, 24, True, **OPTIONS),
        dots=True,
    ),
    Case("paged_attention D256 bf16", decode(256, BRAIN), dots=True),
    Case("paged_attention D72 bf16", decode(72, BRAIN), dots=True),
    Case("paged_attention D128 bf16, MQA of 64", decode(128, BRAIN, 64, 1), dots=True),
    Case("paged_attention D128 fp32", decode(128, FULL), dots=True),
    Case("paged_attention D256 fp32", decode(256, FULL), dots=True),
    Case(
        "paged_attention D128 fp32, all options, MQA of 64",
        decode(128, FULL, 64, 1, alibi=True, **OPTIONS),
        dots=True,
    ),
    Case("paged_prefill D64 bf16", prefill(64, BRAIN), dots=True),
    Case("paged_prefill D128 bf16", prefill(128, BRAIN), dots=True),
    Case(
        "paged_prefill D128 fp16, all options, blocks of 24",
        prefill(128, HALF, 14, 2, 24, True, **OPTIONS),
        dots=True,
    ),
    Case("paged_prefill D256 bf16", prefill(256, BRAIN), dots=True),
    Case("paged_prefill D72 bf16", prefill(72, BRAIN), dots=True),
    Case("paged_prefill D64 fp32", prefill(64, FULL), dots=True),
    Case("paged_prefill D128 fp32", prefill(128, FULL), dots=True),
    Case("paged_prefill D256 fp32", prefill(256, FULL), dots=True),
]
