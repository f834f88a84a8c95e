"""The layers that work on each token by itself: norms (정규화) scale it, feed-forward (피드 포워드) thinks.

    layer norm    y = (x - mean) / √(variance + ε) · w + b      over the width of each token
    RMS norm      y = x / √(mean of x² + ε) · w                 no mean, no shift: cheaper, as good

    FeedForward   y = W₂ φ(W₁ x + b₁) + b₂
    SwiGLU        y = W_down (φ(W_gate x) ⊙ W_up x),   φ = SiLU

    GELU          φ(x) = x · P(z ≤ x), z standard normal; GPT-2 takes the tanh that comes close to it

Book 2.4 정규화와 피드 포워드 층. Papers: Ba et al. 2016 (layer norm); Zhang and Sennrich 2019 (RMS norm); Hendrycks and
Gimpel 2016 (GELU); Shazeer 2020 (GLU). Held against torch's norms and F.gelu, and transformers' LlamaRMSNorm, GPT2MLP
and LlamaMLP. Batch norm, which mixes the tokens of a batch, has its own file for comparison (batch_norm.py).
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number, describe
from minillm._kernels import autocast_dtype, register


def check_width(x: Tensor, width: int) -> None:
    """ValueError if x is no float tensor (..., width)."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() == 0 or x.shape[-1] != width:
        raise ValueError(f"x must be a float tensor (..., {width}), got {describe(x)}")


# Norms


def layer_norm_plain(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """The formula: x (..., C) -> (..., C)."""
    mean = x.mean(dim=-1, keepdim=True)
    variance = x.var(dim=-1, keepdim=True, correction=0)
    # y = (x - mean) / √(variance + ε) · w + b
    y = (x - mean) * torch.rsqrt(variance + eps) * weight
    return y if bias is None else y + bias


def rms_norm_plain(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The formula: x (..., C) -> (..., C); the mean square in float32 whatever x is."""
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
        """x (..., C) -> (..., C), as `layer_norm_plain`. ValueError for another width."""
        try:
            return layer_norm(x, self.weight, self.bias, self.eps)
        except (RuntimeError, TypeError, AttributeError):
            check_width(x, self.weight.shape[0])  # says so if x is to blame
            raise


class RMSNorm(nn.Module):
    """RMS norm over the last dimension of x (..., C), with a learned weight (C,)."""

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.eps = check_number("eps", eps, 0.0)
        self.weight = nn.Parameter(torch.ones(check_int("width", width, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C), as `rms_norm_plain`. ValueError for another width."""
        try:
            return rms_norm(x, self.weight, self.eps)
        except (RuntimeError, TypeError, AttributeError):
            check_width(x, self.weight.shape[0])  # says so if x is to blame
            raise


# Activations


def gelu_plain(x: Tensor) -> Tensor:
    """The formula, exact: x times the share of a standard normal that lies below x; any shape."""
    # φ(x) = x/2 · (1 + erf(x / √2))
    return x / 2 * (1 + torch.erf(x / math.sqrt(2)))


def gelu_tanh_plain(x: Tensor) -> Tensor:
    """The formula that GPT-2 computes, within 0.0005 of the exact one; any shape."""
    # φ(x) = x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))
    return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


GELU_TANH = partial(F.gelu, approximate="tanh")  # gelu_tanh_plain in one pass over x
ACTIVATIONS = {  # by the names of Hugging Face's configs
    "relu": F.relu,
    "gelu": F.gelu,  # gelu_plain in one pass
    "gelu_new": GELU_TANH,  # GPT-2's
    "gelu_pytorch_tanh": GELU_TANH,
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
