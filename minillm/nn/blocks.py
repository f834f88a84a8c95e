"""What a transformer is stacked from (인코더, 디코더): attention mixes tokens, feed-forward thinks, residuals carry.

    pre-norm      x = x + f(norm(x))    GPT-2, Llama: the residual path is never normalised, deep stacks train
    post-norm     x = norm(x + f(x))    the 2017 paper, BERT

    layer norm    y = (x - mean) / √(variance + ε) · w + b      over the width of each token
    RMS norm      y = x / √(mean of x² + ε) · w                 no mean, no shift: cheaper, as good

    FeedForward   y = W₂ φ(W₁ x + b₁) + b₂
    SwiGLU        y = W_down (φ(W_gate x) ⊙ W_up x),   φ = SiLU

Book 2.4 정규화와 피드 포워드 층, 2.5 인코더, 2.6 디코더. Papers: Vaswani et al. 2017; Xiong et al. 2020 (pre-norm);
Ba et al. 2016 (layer norm); Zhang and Sennrich 2019 (RMS norm); Hendrycks and Gimpel 2016 (GELU); Shazeer 2020 (GLU).
Held against torch's norms, F.gelu and TransformerEncoderLayer, and transformers' LlamaRMSNorm, GPT2MLP and LlamaMLP.
The residual is always x as it came in: adding the normalised x instead is a common slip, and another network.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number, describe
from minillm._kernels import autocast_dtype, register
from minillm.nn.attention import MultiHeadAttention
from minillm.nn.backends import check_dtype
from minillm.nn.cache import Cache
from minillm.nn.positions import Position


def check_width(x: Tensor, width: int) -> None:
    """ValueError if x is no float tensor (..., width)."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() == 0 or x.shape[-1] != width:
        raise ValueError(f"x must be a float tensor (..., {width}), got {describe(x)}")


# Norms


def check_norm(x: Tensor, eps: float, *weights: Tensor | None) -> None:
    """ValueError unless x is a float tensor (..., C), each of the weights is (C,), and eps is not below 0."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() == 0 or not x.shape[-1]:
        raise ValueError(f"x must be a float tensor (..., C), got {describe(x)}")
    for one in weights:
        if one is not None and (not isinstance(one, Tensor) or one.shape != x.shape[-1:]):
            raise ValueError(f"weight and bias must be tensors ({x.shape[-1]},), got {describe(one)}")
    check_number("eps", eps, 0.0)


def layer_norm_plain(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """The formula: x (..., C) -> (..., C). ValueError for a weight or bias that is not (C,), and an eps below 0."""
    check_norm(x, eps, weight, bias)
    mean = x.mean(dim=-1, keepdim=True)
    variance = x.var(dim=-1, keepdim=True, correction=0)
    # y = (x - mean) / √(variance + ε) · w + b
    y = (x - mean) * torch.rsqrt(variance + eps) * weight
    return y if bias is None else y + bias


def rms_norm_plain(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The formula: x (..., C) -> (..., C); the mean square in float32 whatever x is. ValueError as there."""
    check_norm(x, eps, weight)
    wide = x.float()
    # y = x / √(mean of x² + ε) · w
    y = wide * torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + eps)
    return weight * y.to(x.dtype)


WIDEST = 16384  # that the kernels take


def _norm_takes(x: Tensor, weight: Tensor, *_: Tensor | float | None) -> bool:
    return autocast_dtype(x) is None and x.shape[-1] <= WIDEST and weight.device == x.device


# The same, in one pass over x: by torch, or by our kernels where `use_kernels` wants them
layer_norm = register(
    "layer_norm",
    "kernels.layer_norm:layer_norm",
    _norm_takes,
    lambda x, weight, bias, eps: F.layer_norm(x, weight.shape, weight, bias, eps),
)
rms_norm = register(
    "rms_norm",
    "kernels.rms_norm:rms_norm",
    _norm_takes,
    lambda x, weight, eps: F.rms_norm(x, weight.shape, weight, eps),
)


class LayerNorm(nn.Module):
    """Layer norm over the last dimension of x (..., C), with learned weight (C,) and, if `bias`, a shift (C,)."""

    def __init__(self, width: int, eps: float = 1e-5, bias: bool = True):
        super().__init__()
        self.eps = check_number("eps", eps, 0.0)
        self.weight = nn.Parameter(torch.ones(check_int("width", width, 1)))
        self.bias = nn.Parameter(torch.zeros(width)) if check_flag("bias", bias) else None

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C), as `layer_norm_plain`. ValueError for another width or dtype."""
        try:
            return layer_norm(x, self.weight, self.bias, self.eps)
        except (RuntimeError, TypeError, AttributeError):
            check_width(x, self.weight.shape[0]), check_dtype("x", x, self.weight)  # say so if x is to blame
            raise


class RMSNorm(nn.Module):
    """RMS norm over the last dimension of x (..., C), with a learned weight (C,)."""

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.eps = check_number("eps", eps, 0.0)
        self.weight = nn.Parameter(torch.ones(check_int("width", width, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C), as `rms_norm_plain`. ValueError for another width or dtype."""
        try:
            return rms_norm(x, self.weight, self.eps)
        except (RuntimeError, TypeError, AttributeError):
            check_width(x, self.weight.shape[0]), check_dtype("x", x, self.weight)  # say so if x is to blame
            raise


# Activations


def check_tensor(x: Tensor) -> None:
    """ValueError if x is no float tensor."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise ValueError(f"x must be a float tensor, got {describe(x)}")


def gelu_plain(x: Tensor) -> Tensor:
    """The formula, exact: x times the share of a standard normal that lies below x; any shape."""
    check_tensor(x)
    # φ(x) = x/2 · (1 + erf(x / √2))
    return x / 2 * (1 + torch.erf(x / math.sqrt(2)))


def gelu_tanh_plain(x: Tensor) -> Tensor:
    """The formula that GPT-2 computes, within 0.0005 of the exact one; any shape."""
    check_tensor(x)
    # φ(x) = x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))
    return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's guess at GELU, within 0.021 of it: x · σ(1.702 x); any shape."""
    return x * torch.sigmoid(1.702 * x)


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


GELU_TANH = _gelu_tanh  # gelu_tanh_plain in one pass over x; a function, which copied models share
ACTIVATIONS = {  # by the names of Hugging Face's configs
    "relu": F.relu,
    "gelu": F.gelu,  # gelu_plain in one pass
    "gelu_new": GELU_TANH,  # GPT-2's
    "gelu_pytorch_tanh": GELU_TANH,
    "quick_gelu": quick_gelu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}


# Feed-forward (피드 포워드 층): each token thinks for itself, in a wider space


class FeedForward(nn.Module):
    """Two linear layers with an activation between: (..., C) -> (..., hidden) -> (..., C); hidden is 4C by default."""

    def __init__(self, width: int, hidden: int | None = None, activation: str = "gelu", bias: bool = True):
        super().__init__()
        check_int("width", width, 1), check_flag("bias", bias)
        hidden = 4 * width if hidden is None else hidden
        check_int("hidden", hidden, 1), check_choice("activation", activation, tuple(ACTIVATIONS))
        self.activation = ACTIVATIONS[activation]
        self.up_proj = nn.Linear(width, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C). ValueError for another width."""
        check_width(x, self.up_proj.in_features)
        # y = W₂ φ(W₁ x + b₁) + b₂
        return self.down_proj(self.activation(self.up_proj(x)))


class SwiGLU(nn.Module):
    """A gated feed-forward: one half decides how much of the other half passes. hidden is 8C/3 by default.

    8/3 keeps three matrices at the parameter count of FeedForward's two.
    """

    def __init__(self, width: int, hidden: int | None = None, activation: str = "silu", bias: bool = False):
        super().__init__()
        check_int("width", width, 1), check_flag("bias", bias)
        hidden = 8 * width // 3 if hidden is None else hidden
        check_int("hidden", hidden, 1), check_choice("activation", activation, tuple(ACTIVATIONS))
        self.activation = ACTIVATIONS[activation]
        self.gate_proj = nn.Linear(width, hidden, bias=bias)
        self.up_proj = nn.Linear(width, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C). ValueError for another width."""
        check_width(x, self.up_proj.in_features)
        # y = W_down (φ(W_gate x) ⊙ W_up x)
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


# Blocks


def _same(x: Tensor) -> Tensor:
    """No dropout; a function, because a module's call costs a small model's token as much as a small product."""
    return x


class EncoderBlock(nn.Module):
    """Self-attention over the whole text, then feed-forward, each with its norm and residual.

    hidden: width of the feed-forward (4C). pre_norm: see above. norm: called with the width. attention and
    feed_forward: ready-made parts in place of the default MultiHeadAttention and FeedForward. dropout: on
    what each part adds, while training.
    """

    causal = False

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int | None = None,
        *,
        pre_norm: bool = True,
        activation: str = "gelu",
        norm: Callable[[int], nn.Module] = LayerNorm,
        attention: MultiHeadAttention | None = None,
        feed_forward: nn.Module | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.pre_norm = check_flag("pre_norm", pre_norm)
        _check_parts(attention=attention, feed_forward=feed_forward)
        if self.causal and not getattr(attention, "causal", True):
            raise ValueError("a decoder's attention must be causal, got one that looks at later tokens")
        if not callable(norm):
            raise ValueError(f"norm must be called with the width and give a layer, got {describe(norm)}")
        self.attention = attention or MultiHeadAttention(width, heads, causal=self.causal)
        self.feed_forward = feed_forward or FeedForward(width, hidden, activation)
        self.norm1, self.norm2 = norm(width), norm(width)
        self.dropout = nn.Dropout(dropout) if check_number("dropout", dropout, 0.0, 1.0) else _same

    def forward(
        self, x: Tensor, mask: Tensor | None = None, positions: int | Tensor | Position | None = None
    ) -> Tensor:
        """x (B, T, C) -> (B, T, C); mask: bool, broadcastable to (B, H, T, T), True = may attend."""
        drop = self.dropout
        if self.pre_norm:
            x = x + drop(self.attention(self.norm1(x), mask=mask, positions=positions))
            return x + drop(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + drop(self.attention(x, mask=mask, positions=positions)))
        return self.norm2(x + drop(self.feed_forward(x)))


class DecoderBlock(EncoderBlock):
    """Causal self-attention, with `cross=True` attention to an encoder's output, then feed-forward.

    The arguments are EncoderBlock's; a ready-made `attention` must be causal itself. cross_attention: a ready-made
    layer in place of the default one, which stands for cross=True.
    """

    causal = True

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int | None = None,
        *,
        cross: bool = False,
        cross_attention: MultiHeadAttention | None = None,
        norm: Callable[[int], nn.Module] = LayerNorm,
        **options,
    ):
        super().__init__(width, heads, hidden, norm=norm, **options)
        _check_parts(cross_attention=cross_attention)
        if check_flag("cross", cross) and cross_attention is None:
            cross_attention = MultiHeadAttention(width, heads)
        self.cross_attention = cross_attention
        self.norm3 = None if cross_attention is None else norm(width)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        cache: Cache | None = None,
        positions: int | Tensor | Position | None = None,
    ) -> Tensor:
        """x (B, T, C) -> (B, T, C).

        context: the encoder's output (B, S, C), needed exactly when the block has cross-attention.
        mask, context_mask: bool, broadcastable to (B, H, T, T or S), True = may attend; causal comes on top.
        cache, positions: as in MultiHeadAttention. ValueError when context and cross-attention disagree.
        """
        if (context is None) != (self.cross_attention is None):
            raise ValueError("a context is given exactly to a block made with cross=True or cross_attention")
        drop = self.dropout
        if self.pre_norm:
            x = x + drop(self.attention(self.norm1(x), mask=mask, cache=cache, positions=positions))
            if context is not None:
                x = x + drop(self.cross_attention(self.norm3(x), context, context_mask, cache))
            return x + drop(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + drop(self.attention(x, mask=mask, cache=cache, positions=positions)))
        if context is not None:
            x = self.norm3(x + drop(self.cross_attention(x, context, context_mask, cache)))
        return self.norm2(x + drop(self.feed_forward(x)))


def _check_parts(**parts: nn.Module | None) -> None:
    for name, part in parts.items():
        if part is not None and not isinstance(part, nn.Module):
            raise ValueError(f"{name} must be a torch module or None, got {describe(part)}")
