"""Attention (어텐션): every query looks at every key and takes home a weighted mean of the values.

    one head        O = softmax(scale · Q Kᵀ + bias) V,   scale = 1/√D unless given
    many heads      head_h = attention(x W_q^h, x W_k^h, x W_v^h),   y = [head_1 ... head_H] W_o

Book 2.3 어텐션 이해하기 (2.3.4 멀티 헤드 어텐션). Papers: Vaswani et al. 2017; Shazeer 2019 (one key head, MQA);
Ainslie et al. 2023 (grouped queries, GQA). Held against torch.nn.functional.scaled_dot_product_attention,
torch.nn.MultiheadAttention and transformers' LlamaAttention. The first steps of the ladder are in heads.py.

`attention` is the one way to it in the house: "plain" is the formula above, "sdpa" torch's fused kernels, "triton"
the kernels of kernels/ (and torch's where those cannot run), "auto" what is fastest for the case. Query heads share
key heads in groups (H = G·K) without a copy of K and V where the backend allows it. With T != S, causal means that
the LAST query sees the last key, which is what decoding with a cache needs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number, describe
from minillm.nn.backends import (
    BACKENDS,
    causal_mask,
    check_attention,
    check_sequence,
    chosen_backend,
    flash_or_sdpa,
    sdpa_attention,
)
from minillm.nn.positions import Position, PositionScheme

if TYPE_CHECKING:
    from minillm.nn.cache import Cache


def padding_mask(attention_mask: Tensor) -> Tensor:
    """Bool (B, 1, 1, S) for `attention` from an attention_mask (B, S) of 1 = token, 0 = padding."""
    if not isinstance(attention_mask, Tensor) or attention_mask.dim() != 2:
        raise ValueError(f"attention_mask must be a tensor (B, S) of 0 and 1, got {describe(attention_mask)}")
    if attention_mask.dtype != torch.bool and bool(((attention_mask != 0) & (attention_mask != 1)).any()):
        raise ValueError("attention_mask must hold 0 (padding) and 1 (token) only")
    return attention_mask.bool()[:, None, None, :]


# The formula


def attention_scores(
    q: Tensor,
    k: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """scale · Q Kᵀ + bias, and -∞ where a query may not look: (B, H, T, S). Arguments and errors as in `attention`."""
    check_attention(q, k, k, mask, bias)
    if scale is not None:
        check_number("scale", scale)
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
    return scores if mask is None else scores.masked_fill(~mask, -torch.inf)


def softmax_rows(scores: Tensor) -> Tensor:
    """Softmax over the last dimension of scores (..., S); a row that is -∞ throughout gives zeros, not NaN.

    ValueError for anything but a float tensor (..., S).
    """
    if not isinstance(scores, Tensor) or scores.dim() == 0 or not scores.is_floating_point():
        raise ValueError(f"scores must be a float tensor (..., S), got {describe(scores)}")
    if scores.shape[-1] == 0:  # no keys: nothing to share
        return scores
    # softmax(s) = exp(s - max) / Σ exp(s - max); the row maximum keeps exp from overflowing
    top = scores.amax(dim=-1, keepdim=True)  # (..., 1)
    weights = torch.exp(scores - top.masked_fill(top == -torch.inf, 0.0))
    total = weights.sum(dim=-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0)


def attention_weights(
    q: Tensor,
    k: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """softmax(scale · Q Kᵀ + bias): how much each query takes of each key, (B, H, T, S), rows sum to 1.

    A row that may see nothing is all zeros, not NaN. Arguments and errors as in `attention`.
    """
    return softmax_rows(attention_scores(q, k, mask, causal, scale, bias))


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
    """The formula on the whiteboard: weights (B, H, T, S) in full, then their mean of the values -> (B, H, T, D).

    Arguments and errors as in `attention`.
    """
    check_attention(q, k, v, mask, bias)
    B, H, T, _ = q.shape
    K, S = k.shape[1], k.shape[2]
    weights = F.dropout(softmax_rows(attention_scores(q, k, mask, causal, scale, bias)), dropout)
    # O = weights · V
    mixed = weights.reshape(B, K, H // K, T, S) @ v.unsqueeze(2)
    return mixed.reshape(B, H, T, v.shape[-1])


# The public way in

RUN = {
    "auto": flash_or_sdpa,  # the kernel where `use_kernels` wants it
    "plain": plain_attention,
    "sdpa": sdpa_attention,
    "triton": flash_or_sdpa.always,
}


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
    "triton" falls back to torch where the kernels cannot run (see backends.py). dropout: probability of
    dropping a weight (training only). Returns (B, H, T, D) in q's dtype. A query that may attend to
    nothing gives zeros. (So does, on the CPU, torch's own kernel where scores are NaN: look for NaN with "plain".)
    Raises ValueError for shapes, dtypes or a backend that do not fit.
    """
    if backend not in BACKENDS:
        check_choice("backend", backend, BACKENDS)
    check_attention(q, k, v, mask, bias)
    if not isinstance(causal, bool):
        check_flag("causal", causal)
    if scale is not None:
        check_number("scale", scale)
    if dropout != 0:
        check_number("dropout", dropout, 0.0, 1.0)
    backend = chosen_backend() if backend == "auto" else backend
    return RUN[backend](q, k, v, mask, causal, scale, bias, dropout)


# Many heads


class MultiHeadAttention(nn.Module):
    """Self-attention, or cross-attention when `forward` gets a context: H small attentions side by side.

    width: C. heads: H query heads. kv_heads: K key/value heads, H divisible by K (default H; 1 is
    multi-query). position: None, a RoPE (turns q and k) or an ALiBi (slopes on the scores). bias: of the q,
    k, v projections; out_bias: of the output projection (default as `bias`). qk_norm: RMS norm on every q and
    k head (Qwen3). causal: a token sees itself and what came before. head_dim: D (default C/H). scale: factor
    on the scores (1/√D). layer: which row of a cache is this layer's. dropout: on the weights, while
    training. Raises ValueError for sizes that do not fit each other.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int | None = None,
        position: PositionScheme | None = None,
        bias: bool = True,
        qk_norm: bool = False,
        *,
        out_bias: bool | None = None,
        causal: bool = False,
        head_dim: int | None = None,
        scale: float | None = None,
        dropout: float = 0.0,
        eps: float = 1e-6,
        layer: int = 0,
    ):
        super().__init__()
        self.width = check_int("width", width, 1)
        self.heads = check_int("heads", heads, 1)
        self.kv_heads = check_int("kv_heads", heads if kv_heads is None else kv_heads, 1)
        if heads % self.kv_heads:
            raise ValueError(f"heads must be divisible by kv_heads, got {heads} and {self.kv_heads}")
        if head_dim is None and width % heads:
            raise ValueError(
                f"width must be divisible by heads unless head_dim is given, got {width} and {heads}"
            )
        self.head_dim = check_int("head_dim", width // heads if head_dim is None else head_dim, 1)
        if position is not None and not isinstance(position, PositionScheme):
            raise ValueError(f"position must be None, a RoPE or an ALiBi, got {describe(position)}")
        if position is not None:
            position.check_heads(self.heads, self.head_dim)
        self.position, self.causal = position, check_flag("causal", causal)
        self.layer = check_int("layer", layer, 0)
        self.scale = None if scale is None else check_number("scale", scale)
        self.dropout = check_number("dropout", dropout, 0.0, 1.0)
        check_flag("bias", bias), check_number("eps", eps, 0.0)
        if out_bias is not None:
            check_flag("out_bias", out_bias)
        self.q_proj = nn.Linear(width, self.heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(width, self.kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(width, self.kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(
            self.heads * self.head_dim, width, bias=bias if out_bias is None else out_bias
        )
        self.q_norm = nn.RMSNorm(self.head_dim, eps) if check_flag("qk_norm", qk_norm) else None
        self.k_norm = nn.RMSNorm(self.head_dim, eps) if qk_norm else None

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        positions: int | Tensor | Position | None = None,
    ) -> Tensor:
        """x (B, T, C) -> (B, T, C); keys and values come from `context` (B, S, C) when it is given, else from x.

        mask: bool, broadcastable to (B, H, T, S), True = may attend; a causal layer applies its own on top.
        cache: keys and values of the tokens before x; x's are appended. With a context it keeps those of the
        context instead: they are the same for every token. positions: the first one, or a LongTensor (T,) or
        (B, T), or what `position.at` made of them (a model does that once for all its layers, and may keep the
        scheme to itself); by default counted on from the cache. ValueError for shapes that do not fit.
        """
        self._check(x, context, cache)
        q = self._split(self.q_proj(x), self.heads)  # (B, H, T, D)
        q = q if self.q_norm is None else self.q_norm(q)
        k, v = self._keys_values(x) if context is None else self._of_context(context, cache)  # (B, K, S, D)
        bias = None
        if self.position is not None or isinstance(positions, Position):
            place = self._place(x, positions, cache)
            (q, k), bias = place.turn(q, k), place.bias()
        if cache is not None and context is None:
            y = cache.attend(self.layer, q, k, v, mask=mask, causal=self.causal, scale=self.scale, bias=bias)
        else:
            dropout = self.dropout if self.training else 0.0
            y = attention(q, k, v, mask, self.causal, self.scale, bias, dropout=dropout)  # (B, H, T, D)
        return self.o_proj(y.transpose(1, 2).flatten(2))

    def _keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """What the tokens of a text (B, S, C) are found by, and what they answer with, (B, K, S, D) each."""
        k = self._split(self.k_proj(source), self.kv_heads)
        v = self._split(self.v_proj(source), self.kv_heads)
        return k if self.k_norm is None else self.k_norm(k), v

    def _of_context(self, context: Tensor, cache: Cache | None) -> tuple[Tensor, Tensor]:
        """The same of a context: with a cache made once a text, not once a token."""
        make = self._keys_values
        return make(context) if cache is None else cache.of_context(self.layer, context, make)

    def _split(self, x: Tensor, heads: int) -> Tensor:
        """(B, T, heads · D) -> (B, heads, T, D)."""
        return x.view(x.shape[0], x.shape[1], heads, self.head_dim).transpose(1, 2)

    def _place(self, x: Tensor, positions: int | Tensor | Position | None, cache: Cache | None) -> Position:
        """Where the tokens of x stand: `positions` if a model has worked it out, else worked out here."""
        if isinstance(positions, Position):
            return positions
        past = 0 if cache is None else cache.length
        return self.position.at(past if positions is None else positions, x, past + x.shape[1])

    def _check(self, x: Tensor, context: Tensor | None, cache: Cache | None) -> None:
        width = self.width
        for name, value in (("x", x), ("context", context)) if context is not None else (("x", x),):
            check_sequence(name, value, width)
        if cache is not None and not hasattr(cache, "attend"):
            raise ValueError(f"cache must be a KVCache or None, got {describe(cache)}")
        if context is not None and (self.causal or self.position is not None):
            raise ValueError("a context has no common order with x: use a layer without causal and position")
