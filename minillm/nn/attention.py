"""Attention (어텐션): every query looks at every key and takes home a weighted mean of the values.

    O = softmax(scale · Q Kᵀ + bias) V,   scale = 1/√D unless given

Book 2.3 어텐션 이해하기. Papers: Vaswani et al. 2017 (attention), Ainslie et al. 2023 (grouped queries, GQA).
Held against torch.nn.functional.scaled_dot_product_attention.

`attention` is the one dispatch point of the house: "plain" is the formula above, "sdpa" torch's fused
kernels, "triton" the kernels of kernels/ (and torch's where those cannot run), "auto" the fastest for the case.
Query heads share key/value heads in groups (H = G·K) without a copy of K and V wherever the backend allows it.
With T != S, causal means that the LAST query sees the last key, which is what decoding with a cache needs.
Leaves out: returning the weights (see `attention_weights`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from minillm._checks import check_choice, check_flag, check_number, describe
from minillm._kernels import INSTALLED, gpu_runs_kernels

BACKENDS = ("auto", "plain", "sdpa", "triton")
WIDEST_HEAD = 256  # that the kernels take
_chosen = "auto"  # what "auto" means: attention_backend changes it for a while
SHORT = 256  # keys up to which bfloat16 is slower than float32 in training on a CPU


def causal_mask(queries: int, keys: int, device: torch.device | str | None = None) -> Tensor:
    """Bool (T, S), True where query t may see key s; the last query is aligned with the last key.

    causal_mask(2, 4) -> [[T, T, T, F], [T, T, T, T]]
    """
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def _check(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None) -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor) or x.dim() != 4 or not x.is_floating_point():
            raise ValueError(
                f"{name} must be a float tensor of shape (B, heads, length, D), got {describe(x)}"
            )
    (B, H, T, D), (_, K, S, _) = q.shape, k.shape
    if k.shape[0] != B or k.shape[3] != D or v.shape[:3] != k.shape[:3] or K == 0 or H % K:
        raise ValueError(
            "q (B, H, T, D) needs k (B, K, S, D) and v (B, K, S, any) with H divisible by K, "
            f"got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
        )
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


def attention_weights(
    q: Tensor,
    k: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """softmax(scale · Q Kᵀ + bias): how much each query takes of each key, (B, H, T, S), rows sum to 1.

    A row that may see nothing is all zeros, not NaN. Arguments as in `attention`.
    """
    (B, H, T, D), (_, K, S, _) = q.shape, k.shape
    scale = 1 / math.sqrt(D) if scale is None else scale
    # the G = H/K query heads of a group meet their shared key head by broadcasting: K is never repeated
    grouped = q.reshape(B, K, H // K, T, D)
    # scores = scale · Q Kᵀ
    scores = (scale * (grouped @ k.unsqueeze(2).transpose(-2, -1))).reshape(B, H, T, S)
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    if causal:
        allowed = causal_mask(T, S, q.device)
        mask = allowed if mask is None else mask & allowed
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    # softmax(s) = exp(s - max) / Σ exp(s - max); the row maximum keeps exp from overflowing
    top = scores.amax(dim=-1, keepdim=True)  # (B, H, T, 1)
    weights = torch.exp(scores - top.masked_fill(top == -torch.inf, 0.0))
    total = weights.sum(dim=-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0)  # (B, H, T, S)


def plain_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """The formula on the whiteboard: weights (B, H, T, S) in full, then their mean of the values -> (B, H, T, D)."""
    B, H, T, _ = q.shape
    K, S = k.shape[1], k.shape[2]
    weights = F.dropout(attention_weights(q, k, mask, causal, scale, bias), dropout)
    # O = weights · V
    mixed = weights.reshape(B, K, H // K, T, S) @ v.unsqueeze(2)
    return mixed.reshape(B, H, T, v.shape[-1])


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
        if K != H and bias is None and (mask is None or mask.dim() < 4 or mask.shape[1] == 1):
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


def sdpa_in_float32(q: Tensor, k: Tensor, v: Tensor, *options) -> Tensor:
    """sdpa_attention of bfloat16 q, k, v, worked out in float32; the result is bfloat16 again.

    Faster in training on a CPU because torch's bfloat16 kernel rearranges every small tile of q, k and v before
    it multiplies it: on short texts that costs more than the narrower product saves. More exact, too.
    """
    with torch.autocast(q.device.type, enabled=False):  # autocast would narrow q, k and v again
        return sdpa_attention(q.float(), k.float(), v.float(), *options).to(q.dtype)


def _better_in_float32(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether `sdpa_in_float32` is the faster way: a short text in bfloat16, on a CPU, with a gradient."""
    short_bfloat16 = q.dtype == torch.bfloat16 and q.device.type == "cpu" and k.shape[2] <= SHORT
    return short_bfloat16 and torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))


def triton_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """kernels/flash_attention.py where it can run, else sdpa_attention: the house's way to that kernel.

    It runs on NVIDIA's GPUs from the A100 on, and anywhere in Triton's interpreter (TRITON_INTERPRET=1), if there is
    no mask, bias or dropout, q, k and v are float16, bfloat16 (not in the interpreter, which computes it wrongly) or
    float32, all the same, and D is at most 256 and the values' width, too. Autocast narrows q, k and v as it does for
    torch's own attention.
    """
    kind = q.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        narrow = torch.get_autocast_dtype(kind)
        q, k, v = (x if x.dtype == torch.float64 else x.to(narrow) for x in (q, k, v))
    flash = None
    if mask is None and bias is None and dropout == 0 and q.dtype == k.dtype == v.dtype:
        flash = _flash_attention(q, v)
    if flash is None:
        return sdpa_attention(q, k, v, mask, causal, scale, bias, dropout)
    return flash(q, k, v, causal=causal, scale=scale)


def _flash_attention(q: Tensor, v: Tensor) -> Callable[..., Tensor] | None:
    """The kernel if it can take these, else None. Imported on the way, so that the rest never needs Triton."""
    if not INSTALLED:
        return None
    from kernels._checks import INTERPRETED

    dtypes = [torch.float16, torch.float32] if INTERPRETED else [torch.float16, torch.float32, torch.bfloat16]
    fits = q.dtype in dtypes and 1 <= q.shape[-1] == v.shape[-1] <= WIDEST_HEAD
    if not fits or not (INTERPRETED or gpu_runs_kernels(q)):
        return None
    from kernels.flash_attention import flash_attention

    return flash_attention


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


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    bias: Tensor | None = None,
    backend: str = "auto",
    dropout: float = 0.0,
) -> Tensor:
    """softmax(scale · Q Kᵀ + bias) V, by the backend of your choice.

    q: float (B, H, T, D); k, v: float (B, K, S, D) with H divisible by K (K = H multi-head, K = 1
    multi-query). mask: bool, broadcastable to (B, H, T, S), True = may attend. causal: query t sees keys up
    to t + S - T. scale: factor on the scores, 1/√D by default. bias: float, broadcastable to (B, H, T, S),
    added to the scores. backend: "auto" takes the fastest that is there, or what `attention_backend` says;
    "triton" falls back to torch where the kernels cannot run (see `triton_attention`). dropout: probability of
    dropping a weight (training only). Returns (B, H, T, D) in q's dtype. A query that may attend to
    nothing gives zeros. Raises ValueError for shapes, dtypes or a backend that do not fit.
    """
    if backend not in BACKENDS:
        check_choice("backend", backend, BACKENDS)
    _check(q, k, v, mask, bias)
    if not isinstance(causal, bool):
        check_flag("causal", causal)
    if scale is not None:
        check_number("scale", scale)
    if dropout != 0:
        check_number("dropout", dropout, 0.0, 1.0)
    backend = _chosen if backend == "auto" else backend
    run = {"plain": plain_attention, "triton": triton_attention}.get(backend, sdpa_attention)
    # "auto" stays with torch on a GPU, too, until the kernels of kernels/ have been timed on one and are faster
    if backend == "auto" and _better_in_float32(q, k, v):
        run = sdpa_in_float32
    return run(q, k, v, mask, causal, scale, bias, dropout)
