"""GPT-2's GELU: a smooth gate that lets large values through and small ones die.

    gelu(x) = x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))  =  x · σ(2√(2/π) (x + 0.044715 x³))

The two forms are one, because 1 + tanh(u) = 2 σ(2u). Book 2.4 정규화와 피드 포워드 층.
Paper: Hendrycks and Gimpel 2016. Held against torch's F.gelu(approximate="tanh") and transformers' gelu_new.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

LINEAR = 2 * math.sqrt(2 / math.pi)  # σ's argument is LINEAR · x + CUBIC · x³
CUBIC = LINEAR * 0.044715
AT_A_TIME = (
    2**17
)  # numbers worked on at a time: 512 kB of float32, so that a few such pieces stay in the cache


def gelu_tanh_plain(x: Tensor) -> Tensor:
    """The formula with tanh, element by element, as GPT-2's code has it."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3))))


class _SigmoidForm(torch.autograd.Function):
    """The form with σ, and its slope in the same pass.

    Faster in training because σ is cheaper than tanh on a CPU, x is worked on in pieces that stay in the
    cache, and one tensor is kept for the gradient instead of two.

    With u = LINEAR·x + CUBIC·x³ and s = σ(u):   y = x·s,   dy/dx = s + s·(1 - s)·x·u',   x·u' = 3u - 2·LINEAR·x
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        x = x.contiguous()
        y, slope = torch.empty_like(x), torch.empty_like(x)
        wide = torch.promote_types(x.dtype, torch.float32)  # half precision is worked on in float32
        linear = torch.tensor(LINEAR, dtype=wide)
        pieces = (tensor.view(-1).split(AT_A_TIME) for tensor in (x, y, slope))
        for x_piece, y_piece, slope_piece in zip(*pieces):
            x_piece = x_piece.to(wide)
            u = torch.addcmul(linear, x_piece, x_piece, value=CUBIC).mul_(x_piece)
            s = torch.sigmoid(u)
            torch.mul(x_piece, s, out=y_piece)
            third = u.sub_(x_piece, alpha=2 / 3 * LINEAR)  # x·u' / 3
            torch.addcmul(s, torch.addcmul(s, s, s, value=-1), third, value=3, out=slope_piece)
        ctx.save_for_backward(slope)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return slope * grad


def gelu_tanh(x: Tensor) -> Tensor:
    """GPT-2's GELU of x, any float tensor: the form with σ when training on a CPU, else torch's own."""
    if x.requires_grad and torch.is_grad_enabled() and x.device.type == "cpu":
        return _SigmoidForm.apply(x)
    return F.gelu(x, approximate="tanh")
