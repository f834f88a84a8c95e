"""How attention is computed: torch's fused kernels, our Triton kernels, and which of them "auto" means.

    sdpa     torch.nn.functional.scaled_dot_product_attention, with our rules for masks, groups and alignment
    triton   kernels/flash_attention.py where it can run, else sdpa

The formula itself, and `attention`, which chooses, are in attention.py. Book 2.3 어텐션 이해하기, 8.2 효율적인
트랜스포머 연산. Held against torch's attention with heads repeated and one float mask.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from minillm._checks import check_choice, check_int, describe
from minillm._kernels import autocast_dtype, interpreter_takes, register

BACKENDS = ("auto", "plain", "sdpa", "triton")
WIDEST_HEAD = 256  # that the kernels take
_chosen = "auto"  # what "auto" means: attention_backend changes it for a while


def causal_mask(queries: int, keys: int, device: torch.device | str | None = None) -> Tensor:
    """Bool (T, S), True where query t may see key s; the last query is aligned with the last key.

    causal_mask(2, 4) -> [[T, T, T, F], [T, T, T, T]]. ValueError for lengths that are no whole numbers from 0.
    """
    for name, length in (("queries", queries), ("keys", keys)):
        # torch.compile can follow this of a length that changes
        if isinstance(length, (bool, float)) or length < 0:
            raise ValueError(f"{name} must be an integer of at least 0, got {length!r}")
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def window_mask(queries: int, keys: int, window: int, device: torch.device | str | None = None) -> Tensor:
    """Bool (T, S): causal_mask, and no further back than the last `window` keys, the query's own included.

    window_mask(2, 4, 2) -> [[F, T, T, F], [F, F, T, T]]. ValueError for a window below 1, and as there.
    Paper: Beltagy et al. 2020 (Longformer); Mistral and Qwen2 use it.
    """
    check_int("window", window, 1)
    return causal_mask(queries, keys, device).triu(keys - queries - window + 1)


def sdpa_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """torch's fused attention. Faster because the (T, S) weights never leave the cache of the processor."""
    (B, H, T, D), (_, K, S, _) = q.shape, k.shape
    if T == 1:
        causal = False  # one query, aligned to the end: it sees every key
        if K != H and bias is None and (mask is None or mask.dim() < 3 or mask.shape[-3] == 1):
            # the G query heads of a group become G queries of their key head: no copy of K and V
            folded = F.scaled_dot_product_attention(
                q.reshape(B, K, H // K, D), k, v, mask, dropout, scale=scale
            )
            return folded.reshape(B, H, 1, v.shape[-1])
    if causal and (T != S or mask is not None or bias is not None):
        # torch aligns its own causal mask to the first key; ours is aligned to the last
        allowed = causal_mask(T, S, q.device)
        mask, causal = (allowed if mask is None else mask & allowed), False
    if bias is not None:
        bias = bias.to(q.dtype)
        mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, causal, scale=scale, enable_gqa=K != H)


def _flash_takes(q, k, v, mask=None, causal=False, scale=None, bias=None, dropout=0.0) -> bool:
    """No mask, bias or dropout; q, k and v of one dtype, as autocast leaves them; heads of one width, at most 256."""
    if mask is not None or bias is not None or dropout != 0:
        return False
    narrow = autocast_dtype(q)
    dtypes = {x.dtype if narrow is None or x.dtype == torch.float64 else narrow for x in (q, k, v)}
    fits = len(dtypes) == 1 and 1 <= q.shape[-1] == v.shape[-1] <= WIDEST_HEAD
    return fits and (q.device.type != "cpu" or interpreter_takes(*dtypes))


def _call_flash(kernel: Callable[..., Tensor], q, k, v, mask, causal, scale, bias, dropout) -> Tensor:
    narrow = autocast_dtype(q)
    if narrow is not None:  # as autocast does for torch's own attention
        q, k, v = (x if x.dtype == torch.float64 else x.to(narrow) for x in (q, k, v))
    return kernel(q, k, v, causal=causal, scale=scale)


# On a GPU, too, "auto" stays with torch until the kernel has been timed on one and is faster
flash_or_sdpa = register(
    "attention", "kernels.flash_attention:flash_attention", _flash_takes, sdpa_attention, _call_flash
)


@contextlib.contextmanager
def attention_backend(name: str) -> Iterator[None]:
    """`with attention_backend("triton"): model(ids)`: every attention inside whose backend is "auto" takes this one.

    For whole models, whose layers do not name a backend. name: one of BACKENDS. Raises ValueError for another. One
    setting a process, as torch.nn.attention.sdpa_kernel's: not for threads that want different ones.
    """
    global _chosen
    before, _chosen = _chosen, check_choice("backend", name, BACKENDS)
    try:
        yield
    finally:
        _chosen = before


def chosen_backend() -> str:
    """What "auto" means now: "auto", or what `attention_backend` says."""
    return _chosen


def check_sequence(name: str, x: Tensor, width: int) -> None:
    """ValueError unless x is a float tensor (B, length, width)."""
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != width or not x.is_floating_point():
        raise ValueError(f"{name} must be a float tensor (B, length, {width}), got {describe(x)}")


def check_dtype(name: str, x: Tensor, weight: Tensor) -> None:
    """ValueError unless x has the dtype of the weight, or autocast narrows both."""
    if x.dtype != weight.dtype and autocast_dtype(x) is None:
        raise ValueError(
            f"{name} must be {weight.dtype} as the weights are, got {x.dtype}: x.to(...) changes it"
        )


def check_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None) -> None:
    """ValueError for shapes and dtypes that do not fit `attention`."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor) or x.dim() != 4 or not x.is_floating_point():
            raise ValueError(
                f"{name} must be a float tensor of shape (B, heads, length, D), got {describe(x)}"
            )
    (B, H, T, D), (_, K, S, _) = q.shape, k.shape
    if k.shape[0] != B or k.shape[3] != D or v.shape[:3] != k.shape[:3] or K == 0 or H % K or D == 0:
        raise ValueError(
            "q (B, H, T, D) needs k (B, K, S, D) and v (B, K, S, any) with H divisible by K and D at least 1, "
            f"got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
        )
    if (q.dtype != k.dtype or k.dtype != v.dtype) and autocast_dtype(q) is None:
        raise ValueError(f"q, k and v must have one dtype, got {q.dtype}, {k.dtype} and {v.dtype}")
    for name, x in (("mask", mask), ("bias", bias)):
        if x is None:
            continue
        if not isinstance(x, Tensor) or (
            x.dtype != torch.bool if name == "mask" else not x.is_floating_point()
        ):
            kind = (
                "bool tensor (True = may attend)" if name == "mask" else "float tensor (added to the scores)"
            )
            raise ValueError(f"{name} must be a {kind}, got {describe(x)}")
        sizes = (1,) * (4 - x.dim()) + tuple(x.shape)
        if not 2 <= x.dim() <= 4 or any(n not in (1, full) for n, full in zip(sizes, (B, H, T, S))):
            raise ValueError(f"{name} must broadcast to (B, H, T, S) = {(B, H, T, S)}, got {tuple(x.shape)}")
