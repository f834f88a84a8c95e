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
from minillm.nn.hippo import (
    bilinear,
    hippo_legs,
    legs_curve,
    legs_memory,
    run_flow,
    zero_order_hold,
)
from minillm.nn.lora import LoRALinear, adapter_rows
from minillm.nn.mamba import causal_conv, mamba_scan, mamba_scan_plain
from minillm.nn.pairing import convert_pairing, to_halves, to_interleaved
from minillm.nn.positions import (
    LearnedPosition,
    Position,
    PositionScheme,
    SinusoidalPosition,
    sinusoids,
)
from minillm.nn.recurrent import (
    GRULayers,
    LSTMLayers,
    RNNLayers,
    gradient_norms,
    gru_step,
    lstm_step,
    rnn_step,
)
from minillm.nn.relative_bias import RelativeBias, relative_buckets
from minillm.nn.rope import RoPE
from minillm.nn.rope_scaling import rope_frequencies
from minillm.nn.s4d import (
    S4DLayer,
    fft_convolve,
    s4d_inv,
    s4d_kernel,
    s4d_kernel_plain,
    s4d_last_state,
    s4d_legs,
    s4d_lin,
    s4d_recurrence,
)
from minillm.nn.scan_compiled import scan_compiled, selective_scan
from minillm.nn.scans import scan_associative, scan_chunked, scan_loop, scan_tree
from minillm.nn.ssd import ssd_chunked, ssd_loop, ssd_matrix
from minillm.nn.state_cache import StateCache, has_states

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
    "GRULayers",
    "GroupedHeads",
    "KVCache",
    "LSTMLayers",
    "LayerNorm",
    "LearnedPosition",
    "LoRALinear",
    "ManyHeads",
    "MultiHeadAttention",
    "OneHead",
    "Position",
    "PositionScheme",
    "RMSNorm",
    "RNNLayers",
    "RelativeBias",
    "RoPE",
    "S4DLayer",
    "SinusoidalPosition",
    "StateCache",
    "SwiGLU",
    "adapter_rows",
    "alibi_slopes",
    "attention",
    "attention_backend",
    "attention_weights",
    "bilinear",
    "causal_conv",
    "causal_mask",
    "convert_pairing",
    "fft_convolve",
    "gelu_plain",
    "gelu_tanh_plain",
    "gradient_norms",
    "gru_step",
    "has_states",
    "hippo_legs",
    "kv_cache_bytes",
    "layer_norm_plain",
    "legs_curve",
    "legs_memory",
    "lstm_step",
    "mamba_scan",
    "mamba_scan_plain",
    "padding_mask",
    "plain_attention",
    "relative_buckets",
    "rms_norm_plain",
    "rnn_step",
    "rope_frequencies",
    "run_flow",
    "s4d_inv",
    "s4d_kernel",
    "s4d_kernel_plain",
    "s4d_last_state",
    "s4d_legs",
    "s4d_lin",
    "s4d_recurrence",
    "scan_associative",
    "scan_chunked",
    "scan_compiled",
    "scan_loop",
    "scan_tree",
    "sdpa_attention",
    "selective_scan",
    "sinusoids",
    "ssd_chunked",
    "ssd_loop",
    "ssd_matrix",
    "to_halves",
    "to_interleaved",
    "use_kernels",
    "window_mask",
    "zero_order_hold",
]
