"""Feed-forward layers (피드 포워드 층): each token thinks for itself, in a wider space.

    FeedForward:  y = W₂ φ(W₁ x + b₁) + b₂
    SwiGLU:       y = W_down (φ(W_gate x) ⊙ W_up x),   φ = SiLU

Book 2.4 정규화와 피드 포워드 층. Papers: Vaswani et al. 2017; Hendrycks and Gimpel 2016 (GELU); Shazeer 2020
(GLU). Held against transformers' GPT2MLP and LlamaMLP.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_choice, check_int, describe
from minillm.nn.gelu import gelu_tanh
from minillm.nn.linear import Linear

ACTIVATIONS = {  # by the names of Hugging Face's configs
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": gelu_tanh,  # GPT-2's: x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))
    "gelu_pytorch_tanh": gelu_tanh,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}


def _check_width(x: Tensor, width: int) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() == 0 or x.shape[-1] != width:
        raise ValueError(f"x must be a float tensor (..., {width}), got {describe(x)}")


class FeedForward(nn.Module):
    """Two linear layers with an activation between: (..., C) -> (..., hidden) -> (..., C); hidden is 4C by
    default.
    """

    def __init__(self, width: int, hidden: int | None = None, activation: str = "gelu", bias: bool = True):
        super().__init__()
        check_int("width", width, 1)
        self.activation = ACTIVATIONS[check_choice("activation", activation, tuple(ACTIVATIONS))]
        self.up_proj = Linear(
            width, check_int("hidden", 4 * width if hidden is None else hidden, 1), bias=bias
        )
        self.down_proj = Linear(self.up_proj.out_features, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C). ValueError for another width."""
        _check_width(x, self.up_proj.in_features)
        # y = W₂ φ(W₁ x + b₁) + b₂
        return self.down_proj(self.activation(self.up_proj(x)))


class SwiGLU(nn.Module):
    """A gated feed-forward: one half decides how much of the other half passes. hidden is 8C/3 by default.

    8/3 keeps three matrices at the parameter count of FeedForward's two.
    """

    def __init__(self, width: int, hidden: int | None = None, activation: str = "silu", bias: bool = False):
        super().__init__()
        check_int("width", width, 1)
        hidden = check_int("hidden", max(1, 8 * width // 3) if hidden is None else hidden, 1)
        self.activation = ACTIVATIONS[check_choice("activation", activation, tuple(ACTIVATIONS))]
        self.gate_proj = Linear(width, hidden, bias=bias)
        self.up_proj = Linear(width, hidden, bias=bias)
        self.down_proj = Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C). ValueError for another width."""
        _check_width(x, self.up_proj.in_features)
        # y = W_down (φ(W_gate x) ⊙ W_up x)
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))
