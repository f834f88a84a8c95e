"""Attention, positions, norms, feed-forward and blocks: the parts every model of the house is made of."""

from minillm.nn.attention import (
    attention,
    attention_backend,
    attention_weights,
    causal_mask,
    plain_attention,
    sdpa_attention,
)
from minillm.nn.blocks import DecoderBlock, EncoderBlock
from minillm.nn.feed_forward import ACTIVATIONS, FeedForward, SwiGLU
from minillm.nn.heads import CausalHead, ManyHeads, OneHead
from minillm.nn.linear import Linear
from minillm.nn.multi_head import MultiHeadAttention, padding_mask
from minillm.nn.norms import BatchNorm, LayerNorm, RMSNorm, layer_norm_plain, rms_norm, rms_norm_plain
from minillm.nn.positions import ALiBi, LearnedPosition, SinusoidalPosition, alibi_slopes, sinusoids
from minillm.nn.rope import RoPE, rope_frequencies

__all__ = [
    "ACTIVATIONS",
    "ALiBi",
    "BatchNorm",
    "CausalHead",
    "DecoderBlock",
    "EncoderBlock",
    "FeedForward",
    "LayerNorm",
    "LearnedPosition",
    "Linear",
    "ManyHeads",
    "MultiHeadAttention",
    "OneHead",
    "RMSNorm",
    "RoPE",
    "SinusoidalPosition",
    "SwiGLU",
    "alibi_slopes",
    "attention",
    "attention_backend",
    "attention_weights",
    "causal_mask",
    "layer_norm_plain",
    "padding_mask",
    "plain_attention",
    "rms_norm",
    "rms_norm_plain",
    "rope_frequencies",
    "sdpa_attention",
    "sinusoids",
]
