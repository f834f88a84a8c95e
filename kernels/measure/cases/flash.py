"""How flash attention ships: every branch of its three settings() functions, forward and backward, and the options
that take the most registers."""

from __future__ import annotations

from typing import Any

import torch

from kernels.measure.compile_ahead import Case

HEADS, LENGTH = 8, 1024


def _case(
    name: str,
    D: int,
    dtype: torch.dtype,
    key_heads: int = 2,
    packed: bool = False,
    curved: bool = False,
    **options: Any,
) -> Case:
    """Forward and backward for heads of width D; curved: with ALiBi and a soft cap; packed: with cu_seqlens."""

    def call() -> None:
        from kernels.flash_attention import flash_attention, flash_attention_varlen

        more = options | ({"alibi_slopes": torch.empty(HEADS), "softcap": 30.0} if curved else {})
        rows = (LENGTH, HEADS, D) if packed else (1, HEADS, LENGTH, D)
        shared = (LENGTH, key_heads, D) if packed else (1, key_heads, LENGTH, D)
        q, k, v = (torch.empty(shape, dtype=dtype, requires_grad=True) for shape in (rows, shared, shared))
        if packed:
            starts = torch.tensor([0, LENGTH], dtype=torch.int32)
            out = flash_attention_varlen(q, k, v, starts, starts, LENGTH, LENGTH, **more)
        else:
            out = flash_attention(q, k, v, **more)
        torch.autograd.grad(out, (q, k, v), torch.empty_like(out))

    return Case(f"flash_attention {name}", call, dots=dtype != torch.float32)


def _small(name: str, shape: tuple[int, ...], **options: Any) -> Case:
    """One of the three kernels for reading."""

    def call() -> None:
        from kernels.flash_small import flash_small, flash_small_heads

        q = torch.empty(shape, dtype=fp16)
        (flash_small_heads if len(shape) == 3 else flash_small)(q, q, q, block=64, **options)

    return Case(f"flash_small {name}", call, dots=True)


bf16, fp16, fp32 = torch.bfloat16, torch.float16, torch.float32
everything: dict[str, Any] = {"packed": True, "curved": True, "window": (256, 0)}

CASES = [
    _case("D32 fp16 causal", 32, fp16, causal=True),
    _case("D64 bf16 causal", 64, bf16, causal=True),
    _case("D64 bf16 everything", 64, bf16, **everything),
    _case("D96 bf16 causal", 96, bf16, causal=True),
    _case("D128 bf16", 128, bf16),
    _case("D128 bf16 causal", 128, bf16, causal=True),
    _case("D128 bf16 causal packed", 128, bf16, key_heads=HEADS, packed=True, causal=True),
    _case("D128 bf16 ALiBi", 128, bf16, key_heads=HEADS, alibi_slopes=torch.empty(HEADS)),
    _case("D128 bf16 everything", 128, bf16, **everything),
    _case("D256 bf16 causal", 256, bf16, causal=True),
    _case("D256 bf16 packed", 256, bf16, packed=True),
    _case("D256 bf16 ALiBi", 256, bf16, key_heads=HEADS, alibi_slopes=torch.empty(HEADS)),
    _case("D256 bf16 everything", 256, bf16, **everything),
    _case("D64 fp32 everything", 64, fp32, **everything),
    _case("D128 fp32 everything", 128, fp32, **everything),
    _case("D256 fp32 everything", 256, fp32, **everything),
    _small("one head", (LENGTH, 64)),
    _small("causal", (LENGTH, 64), causal=True),
    _small("heads", (HEADS, LENGTH, 64)),
]
