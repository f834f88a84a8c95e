"""Multi-head attention (멀티 헤드 어텐션): H small attentions side by side, each with its own idea of what
matters.

    head_h = attention(x W_q^h, x W_k^h, x W_v^h),   y = [head_1 ... head_H] W_o

Book 2.3 어텐션 이해하기 (2.3.4 멀티 헤드 어텐션). Papers: Vaswani et al. 2017; Shazeer 2019 (one key head,
MQA); Ainslie et al. 2023 (GQA). Held against torch.nn.MultiheadAttention and transformers' LlamaAttention.
The first steps of the ladder, one head and a causal head, are in heads.py.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_flag, check_int, check_number, describe
from minillm.nn.attention import attention
from minillm.nn.linear import Linear
from minillm.nn.norms import RMSNorm
from minillm.nn.positions import ALiBi
from minillm.nn.rope import RoPE


class Cache(Protocol):
    """What attention asks of a key/value cache (minillm.inference.KVCache is one)."""

    length: int

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append k and v (B, K, T, D) of a layer; all keys and values so far, (B, K, S, D)."""


class MultiHeadAttention(nn.Module):
    """Self-attention, or cross-attention when `forward` gets a context.

    width: C. heads: H query heads. kv_heads: K key/value heads, H divisible by K (default H; 1 is
    multi-query). position: None, a RoPE (turns q and k) or an ALiBi (slopes on the scores). bias: of the q,
    k, v projections; out_bias: of the output projection (default as `bias`). qk_norm: RMS norm on every q and
    k head (Qwen3). causal: a token sees itself and what came before. head_dim: D (default C/H). scale: factor
    on the scores (1/√D). layer: which row of a cache is this layer's. dropout: on the weights, while
    training.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int | None = None,
        position: RoPE | ALiBi | None = None,
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
        check_int("width", width, 1)
        self.heads = check_int("heads", heads, 1)
        self.kv_heads = check_int("kv_heads", heads if kv_heads is None else kv_heads, 1)
        if heads % self.kv_heads:
            raise ValueError(f"heads must be divisible by kv_heads, got {heads} and {self.kv_heads}")
        if head_dim is None and width % heads:
            raise ValueError(
                f"width must be divisible by heads unless head_dim is given, got {width} and {heads}"
            )
        self.head_dim = check_int("head_dim", width // heads if head_dim is None else head_dim, 1)
        if position is not None and not isinstance(position, (RoPE, ALiBi)):
            raise ValueError(f"position must be None, a RoPE or an ALiBi, got {describe(position)}")
        if isinstance(position, RoPE) and position.dim != self.head_dim:
            raise ValueError(f"RoPE turns heads of width {position.dim}, but these are {self.head_dim} wide")
        if isinstance(position, ALiBi) and position.heads != heads:
            raise ValueError(f"ALiBi has slopes for {position.heads} heads, but there are {heads}")
        self.position, self.causal = position, check_flag("causal", causal)
        self.layer = check_int("layer", layer, 0)
        self.scale = None if scale is None else check_number("scale", scale)
        self.dropout = check_number("dropout", dropout, 0.0, 1.0)
        # one matrix for q, k and v: its rows are the H query heads, then the K key heads, then the K value heads
        self.parts = (self.heads, self.kv_heads, self.kv_heads)
        self.qkv_proj = Linear(width, sum(self.parts) * self.head_dim, bias=bias)
        self.o_proj = Linear(self.heads * self.head_dim, width, bias=bias if out_bias is None else out_bias)
        check_number("eps", eps, 0.0)
        self.q_norm = RMSNorm(self.head_dim, eps) if check_flag("qk_norm", qk_norm) else None
        self.k_norm = RMSNorm(self.head_dim, eps) if qk_norm else None

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        positions: int | Tensor | None = None,
    ) -> Tensor:
        """x (B, T, C) -> (B, T, C); keys and values come from `context` (B, S, C) when it is given, else from
        x.

        mask: bool, broadcastable to (B, H, T, S), True = may attend; a causal layer applies its own on top.
        cache: keys and values of the tokens before x; x's are appended. positions: for RoPE, the first
        position or a LongTensor (T,) or (B, T); by default counted on from the cache. ValueError for shapes
        that do not fit.
        """
        self._check(x, context, cache)
        B, T, _ = x.shape
        if context is None:
            heads = self.qkv_proj(x).view(B, T, -1, self.head_dim).transpose(1, 2)  # (B, H + 2K, T, D)
            q, k, v = torch.split_with_sizes(heads, self.parts, 1)  # (B, H, T, D), (B, K, T, D), (B, K, T, D)
        else:
            q, k, v = self._ask_context(x, context)
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        bias = None
        if isinstance(self.position, RoPE):
            if positions is None:
                positions = 0 if cache is None else cache.length
            q, k = self.position(q, k, positions)
        if cache is not None:
            k, v = cache.update(self.layer, k, v)  # (B, K, S, D), old and new
        if isinstance(self.position, ALiBi):
            bias = self.position(T, k.shape[2])
        dropout = self.dropout if self.training else 0.0
        y = attention(q, k, v, mask, self.causal, self.scale, bias, dropout=dropout)  # (B, H, T, D)
        return self.o_proj(y.transpose(1, 2).flatten(2))

    def _ask_context(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q (B, H, T, D) of x, k and v (B, K, S, D) of the context, each by its own rows of the one matrix."""
        weight, bias = self.qkv_proj.weight, self.qkv_proj.bias
        split = self.heads * self.head_dim
        q = F.linear(x, weight[:split], None if bias is None else bias[:split])
        kv = F.linear(context, weight[split:], None if bias is None else bias[split:])
        q = q.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)
        k, v = kv.unflatten(-1, (2 * self.kv_heads, self.head_dim)).transpose(1, 2).chunk(2, dim=1)
        return q, k, v

    def _check(self, x: Tensor, context: Tensor | None, cache: Cache | None) -> None:
        width = self.qkv_proj.in_features
        for name, value in (("x", x), ("context", context)) if context is not None else (("x", x),):
            if not isinstance(value, Tensor) or value.dim() != 3 or value.shape[2] != width:
                raise ValueError(f"{name} must be a float tensor (B, length, {width}), got {describe(value)}")
        if cache is not None and not hasattr(cache, "length"):
            raise ValueError(f"cache must be a KVCache or None, got {describe(cache)}")
        if context is not None and (cache is not None or self.causal or isinstance(self.position, RoPE)):
            raise ValueError(
                "a context has no common order with x: use a layer without cache, causal and RoPE"
            )


def padding_mask(attention_mask: Tensor) -> Tensor:
    """Bool (B, 1, 1, S) for `attention` from an attention_mask (B, S) of 1 = token, 0 = padding."""
    if not isinstance(attention_mask, Tensor) or attention_mask.dim() != 2:
        raise ValueError(f"attention_mask must be a tensor (B, S) of 0 and 1, got {describe(attention_mask)}")
    if attention_mask.dtype != torch.bool and bool(((attention_mask != 0) & (attention_mask != 1)).any()):
        raise ValueError("attention_mask must hold 0 (padding) and 1 (token) only")
    return attention_mask.bool()[:, None, None, :]
