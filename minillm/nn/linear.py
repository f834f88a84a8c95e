"""A linear layer that decodes at the speed of memory: y = W x + b.

Book 7.1 언어 모델 추론 이해하기: writing one token reads every weight once, so a matrix times one vector should take
as long as reading the matrix. torch's product of a matrix and a vector takes two to four times that on some
processors (its BLAS keeps to one stream of memory); the product of a stack of two half matrices does not.
Held against torch.nn.Linear: the same layer, the same weights, rounding aside.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_flag, check_int

LARGE = 2**17  # weights from which reading them is what takes the time


def one_row_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """y = W x + b of a single row: x (1, ..., 1, C), weight (O, C) with O even, bias (O,) -> (1, ..., 1, O).

    Faster because the two halves of W are multiplied as a batch, which streams them from memory side by side.
    """
    O, C = weight.shape
    # x goes in as a transposed row: as a plain column the same product is ten times slower
    halves = torch.bmm(weight.view(2, O // 2, C), x.reshape(1, 1, C).mT.expand(2, C, 1))  # (2, O/2, 1)
    y = halves.view(*x.shape[:-1], O)
    return y if bias is None else y.add_(bias)


class Linear(nn.Linear):
    """torch.nn.Linear with the fast path of `one_row_linear` for a single float32 row on the CPU, no gradient kept."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        check_int("in_features", in_features, 1), check_int("out_features", out_features, 1)
        super().__init__(in_features, out_features, bias=check_flag("bias", bias))
        self.large = in_features * out_features >= LARGE and out_features % 2 == 0

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., O)."""
        weight = self.weight
        if self.large and x.numel() == self.in_features and self._plain_float32(x, weight):
            return one_row_linear(x, weight, self.bias)
        return F.linear(x, weight, self.bias)

    @staticmethod
    def _plain_float32(x: Tensor, weight: Tensor) -> bool:
        return (
            x.dtype == weight.dtype == torch.float32
            and weight.device.type == "cpu"
            and weight.is_contiguous()
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
        )
