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

LINEAR = 2 * math.sqrt(2 / math.pi)  # σ's argument is LINEAR · x + CUBIC · x³
CUBIC = LINEAR * 0.044715


def gelu_tanh_plain(x: Tensor) -> Tensor:
    """The formula with tanh, element by element, as GPT-2's code has it."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3))))


class _SigmoidForm(torch.autograd.Function):
    """The form with σ and its gradient. Faster in training because σ is a cheaper function than tanh on a CPU.

    With s = σ(u):   y = x·s,   dy/dx = s + x·s·(1 - s)·u',   u' = LINEAR + 3·CUBIC·x²
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        s = torch.addcmul(x.new_tensor(LINEAR), x, x, value=CUBIC).mul_(x).sigmoid_()
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        x, s = ctx.saved_tensors
        slope = torch.addcmul(x.new_tensor(LINEAR), x, x, value=3 * CUBIC)
        y = x * s
        # the gradient is built in the memory of y
        return y.addcmul_(y, s, value=-1).mul_(slope).add_(s).mul_(grad)


def gelu_tanh(x: Tensor) -> Tensor:
    """GPT-2's GELU of x, any float tensor: the form with σ when training on a CPU, else torch's own."""
    if x.requires_grad and torch.is_grad_enabled() and x.device.type == "cpu":
        return _SigmoidForm.apply(x)
    return F.gelu(x, approximate="tanh")
