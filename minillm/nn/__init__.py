"""Attention, the KV cache, positions, norms, feed-forward and blocks: the parts every model of the house is made of."""

from minillm._kernels import use_kernels
from minillm.nn.alibi import ALiBi, alibi_slopes
from minillm.nn.attention import (
    MultiHeadAttention,
    attention,
    attention_weights,
    padding_mask,
    plain_attention,
)
from minillm.nn.backends import attention_backend, causal_mask, sdpa_attention, window_mask
from minillm.nn.batch_norm import BatchNorm
from minillm.nn.blocks import (
    ACTIVATIONS,
    DecoderBlock,
    EncoderBlock,
    FeedForward,
    LayerNorm,
    RMSNorm,
    SwiGLU,
    gelu_plain,
    gelu_tanh_plain,
    layer_norm_plain,
    rms_norm_plain,
)
from minillm.nn.cache import Cache, KVCache, kv_cache_bytes
from minillm.nn.heads import CausalHead, CrossHead, GroupedHeads, ManyHeads, OneHead
from minillm.nn.lora import LoRALinear, adapter_rows
from minillm.nn.pairing import convert_pairing, to_halves, to_interleaved
from minillm.nn.positions import (
    LearnedPosition,
    Position,
    PositionScheme,
    SinusoidalPosition,
    sinusoids,
)
from minillm.nn.relative_bias import RelativeBias, relative_buckets
from minillm.nn.rope import RoPE
from minillm.nn.rope_scaling import rope_frequencies

__all__ = [
    "ACTIVATIONS",
    "ALiBi",
    "BatchNorm",
    "Cache",
    "CausalHead",
    "CrossHead",
    "DecoderBlock",
    "EncoderBlock",
    "FeedForward",
    "GroupedHeads",
    "KVCache",
    "LayerNorm",
    "LearnedPosition",
    "LoRALinear",
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
    "adapter_rows",
    "alibi_slopes",
    "attention",
    "attention_backend",
    "attention_weights",
    "causal_mask",
    "convert_pairing",
    "gelu_plain",
    "gelu_tanh_plain",
    "kv_cache_bytes",
    "layer_norm_plain",
    "padding_mask",
    "plain_attention",
    "relative_buckets",
    "rms_norm_plain",
    "rope_frequencies",
    "sdpa_attention",
    "sinusoids",
    "to_halves",
    "to_interleaved",
    "use_kernels",
    "window_mask",
]
