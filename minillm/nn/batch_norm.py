"""Batch norm (배치 정규화), for comparison: each coordinate is brought to one scale over the tokens of the batch.

    y = (x - mean over the batch) / √(variance over the batch + ε) · w + b

A text's result then depends on its neighbours and on padding, which is why transformers use layer norm (layers.py).
Book 2.4 정규화와 피드 포워드 층. Paper: Ioffe and Szegedy 2015. Held against torch.nn.BatchNorm1d.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minillm._checks import check_int, check_number
from minillm.nn.blocks import check_width


class BatchNorm(nn.Module):
    """Batch norm of x (B, C) or (B, T, C): each coordinate over all tokens of the batch.

    Training uses the batch's own statistics and keeps running ones (share `momentum` new a step) for
    evaluation, where a text's result no longer depends on its neighbours.
    """

    def __init__(self, width: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps, self.momentum = check_number("eps", eps, 0.0), check_number("momentum", momentum, 0.0, 1.0)
        self.weight = nn.Parameter(torch.ones(check_int("width", width, 1)))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C). ValueError for another width or dtype, or a training batch of one token."""
        check_width(x, self.weight.shape[0])
        if x.dtype != self.weight.dtype:
            raise ValueError(f"x must be {self.weight.dtype} as the weights are, got {x.dtype}")
        mean, variance = self.running_mean, self.running_var
        if self.training:
            rows = x.reshape(-1, x.shape[-1])  # (N, C)
            if len(rows) < 2:
                raise ValueError(f"batch norm needs at least two tokens to train on, got {len(rows)}")
            mean, variance = rows.mean(dim=0), rows.var(dim=0, correction=0)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(rows.var(dim=0), self.momentum)  # unbiased, as torch keeps it
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias
