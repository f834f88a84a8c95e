"""Attention, the KV cache, positions, norms, feed-forward and blocks: the parts every model of the house is made of."""

from minillm._kernels import use_kernels
from minillm.nn.attention import (
    MultiHeadAttention,
    attention,
    attention_weights,
    padding_mask,
    plain_attention,
)
from minillm.nn.backends import attention_backend, causal_mask, sdpa_attention
from minillm.nn.batch_norm import BatchNorm
from minillm.nn.blocks import (
    ACTIVATIONS,
    DecoderBlock,
    EncoderBlock,
    FeedForward,
    LayerNorm,
    RMSNorm,
    SwiGLU,
    layer_norm_plain,
    rms_norm_plain,
)
from minillm.nn.cache import Cache, KVCache, kv_cache_bytes
from minillm.nn.heads import CausalHead, ManyHeads, OneHead
from minillm.nn.positions import (
    ALiBi,
    LearnedPosition,
    Position,
    PositionScheme,
    RoPE,
    SinusoidalPosition,
    alibi_slopes,
    sinusoids,
)
from minillm.nn.relative_bias import RelativeBias, relative_buckets
from minillm.nn.rope_scaling import rope_frequencies

__all__ = [
    "ACTIVATIONS",
    "ALiBi",
    "BatchNorm",
    "Cache",
    "CausalHead",
    "DecoderBlock",
    "EncoderBlock",
    "FeedForward",
    "KVCache",
    "LayerNorm",
    "LearnedPosition",
    "ManyHeads",
    "MultiHeadAttention",
    "OneHead",
    "Position",
    "PositionScheme",
    "RMSNorm",
    "RelativeBias",
    "RoPE",
    "SinusoidalPosition",
    "SwiGLU",
    "alibi_slopes",
    "attention",
    "attention_backend",
    "attention_weights",
    "causal_mask",
    "kv_cache_bytes",
    "layer_norm_plain",
    "padding_mask",
    "plain_attention",
    "relative_buckets",
    "rms_norm_plain",
    "rope_frequencies",
    "sdpa_attention",
    "sinusoids",
    "use_kernels",
]
