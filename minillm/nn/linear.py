"""A linear layer that decodes at the speed of memory: y = W x + b.

Book 7.1 언어 모델 추론 이해하기: writing one token reads every weight once, so a matrix times one vector should take
as long as reading the matrix. torch's product of a matrix and a vector takes two to four times that on some
processors (its BLAS keeps to one stream of memory); the product of a stack of two half matrices does not.
A training step has many rows instead; there the library that multiplies makes the difference.
Held against torch.nn.Linear: the same layer, the same weights, rounding aside. Leaves out: gradients of gradients.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from minillm._checks import check_flag, check_int

LARGE = 2**17  # weights from which reading them is what takes the time
MANY = 256  # rows from which oneDNN's product is the faster one
ONE_DNN = torch.backends.mkldnn.is_available()


def one_row_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """y = W x + b of a single row: x (1, ..., 1, C), weight (O, C) with O even, bias (O,) -> (1, ..., 1, O).

    Faster because the two halves of W are multiplied as a batch, which streams them from memory side by side.
    """
    O, C = weight.shape
    # x goes in as a transposed row: as a plain column the same product is ten times slower
    halves = torch.bmm(weight.view(2, O // 2, C), x.reshape(1, 1, C).mT.expand(2, C, 1))  # (2, O/2, 1)
    y = halves.view(*x.shape[:-1], O)
    return y if bias is None else y.add_(bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b in float32 by oneDNN, through the operator that torch.compile uses too (it has no public name)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _OneDNNLinear(torch.autograd.Function):
    """y = x Wᵀ + b:   ∂L/∂x = g W,   ∂L/∂W = gᵀ x,   ∂L/∂b = Σ g   with g = ∂L/∂y.

    Faster in float32 training on some processors: torch sends a float32 product to its BLAS, and of the two
    libraries it ships oneDNN is the quicker by a tenth for y and ∂L/∂x there (for ∂L/∂W they are even).
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])  # (N, O)
        grad_x = _product(grad, weight.t()) if need_x else None
        grad_weight = rows.t() @ x.reshape(-1, x.shape[-1]) if need_weight else None
        return grad_x, grad_weight, rows.sum(dim=0) if need_bias else None


class Linear(nn.Linear):
    """torch.nn.Linear with two fast paths for float32 on the CPU: `one_row_linear` for a single row with no
    gradient kept, and oneDNN's product for the many rows of a training step.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        check_int("in_features", in_features, 1), check_int("out_features", out_features, 1)
        super().__init__(in_features, out_features, bias=check_flag("bias", bias))
        self.large = in_features * out_features >= LARGE and out_features % 2 == 0

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., O)."""
        weight = self.weight
        one_row = self.large and x.numel() == self.in_features
        if one_row and not torch.is_grad_enabled() and self._float32_on_cpu(x, weight):
            return one_row_linear(x, weight, self.bias)
        many_rows = self.large and x.numel() // self.in_features >= MANY and x.shape[-1] == self.in_features
        if many_rows and torch.is_grad_enabled() and ONE_DNN and self._float32_on_cpu(x, weight):
            return _OneDNNLinear.apply(x, weight, self.bias)
        return F.linear(x, weight, self.bias)

    @staticmethod
    def _float32_on_cpu(x: Tensor, weight: Tensor) -> bool:
        return (
            x.dtype == weight.dtype == torch.float32
            and weight.device.type == "cpu"
            and weight.is_contiguous()
            and not torch.is_autocast_enabled("cpu")
        )
