"""Normalisation (정규화): bring every vector to one scale, so that deep stacks train at one learning rate.

    layer norm:  y = (x - mean) / √(variance + ε) · w + b      over the width of each token
    RMS norm:    y = x / √(mean of x² + ε) · w                 no mean, no shift: cheaper, as good
    batch norm:  as layer norm, but over the batch for each coordinate: mixes texts and padding (for
    comparison)

Book 2.4 정규화와 피드 포워드 층. Papers: Ba et al. 2016; Zhang and Sennrich 2019; Ioffe and Szegedy 2015.
Held against torch.nn.LayerNorm, torch.nn.RMSNorm, torch.nn.BatchNorm1d and transformers' LlamaRMSNorm.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_flag, check_int, check_number, describe


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


class _RMSNorm(torch.autograd.Function):
    """RMS norm with its gradient written out. Faster in training because autograd's own takes ten passes over
    x.

    With r = 1/√(mean x² + ε), n = x·r and g = ∂L/∂y:   ∂L/∂w = Σ g·n,   ∂L/∂x = r · (g·w - n · mean(g·w·n))
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        r = (
            torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
            .square_()
            .div_(x.shape[-1])
            .add_(eps)
            .rsqrt_()
        )
        n = wide * r
        ctx.save_for_backward(n, r, weight)
        ctx.dtype = x.dtype
        return n.to(x.dtype) * weight

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        n, r, weight = ctx.saved_tensors
        grad = grad.float()
        scaled = grad * weight
        grad_weight = (grad * n).reshape(-1, n.shape[-1]).sum(dim=0)
        along = (scaled * n).mean(dim=-1, keepdim=True)
        grad_x = scaled.addcmul_(n, along, value=-1).mul_(r)  # in place: `scaled` is ours
        return grad_x.to(ctx.dtype), grad_weight.to(weight.dtype), None


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm of x (..., C): the written-out gradient when training, one fused call otherwise."""
    if torch.is_grad_enabled():
        return _RMSNorm.apply(x, weight, eps)
    return F.rms_norm(x, (x.shape[-1],), weight, eps)


def _check_width(x: Tensor, width: int) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() == 0 or x.shape[-1] != width:
        raise ValueError(f"x must be a float tensor (..., {width}), got {describe(x)}")


class LayerNorm(nn.Module):
    """Layer norm over the last dimension of x (..., C), with learned weight (C,) and, if `bias`, a shift (C,)."""

    def __init__(self, width: int, eps: float = 1e-5, bias: bool = True):
        super().__init__()
        self.eps = check_number("eps", eps, 0.0)
        self.weight = nn.Parameter(torch.ones(check_int("width", width, 1)))
        self.bias = nn.Parameter(torch.zeros(width)) if check_flag("bias", bias) else None

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C). ValueError for another width."""
        weight = self.weight
        try:
            return torch.layer_norm(x, weight.shape, weight, self.bias, self.eps)  # F.layer_norm's own call
        except (RuntimeError, TypeError):
            _check_width(x, weight.shape[0])  # says so if x is to blame
            raise


class RMSNorm(nn.Module):
    """RMS norm over the last dimension of x (..., C), with a learned weight (C,)."""

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.eps = check_number("eps", eps, 0.0)
        self.weight = nn.Parameter(torch.ones(check_int("width", width, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C). ValueError for another width."""
        _check_width(x, self.weight.shape[0])
        return rms_norm(x, self.weight, self.eps)


class BatchNorm(nn.Module):
    """Batch norm of x (B, C) or (B, T, C): each coordinate over all tokens of the batch. Kept for comparison.

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
        """x (..., C) -> (..., C). ValueError for another width, or a training batch of one token."""
        _check_width(x, self.weight.shape[0])
        mean, variance = self.running_mean, self.running_var
        if self.training:
            rows = x.reshape(-1, x.shape[-1])  # (N, C)
            if len(rows) < 2:
                raise ValueError("batch norm needs at least two tokens to train on, got one")
            mean, variance = rows.mean(dim=0), rows.var(dim=0, correction=0)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(rows.var(dim=0), self.momentum)  # unbiased, as torch keeps it
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias
