"""Attention in float64 by torch's own functions, and random inputs, for the tests of flash attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.kernels.conftest import DEVICE

# what the interpreter should run as a GPU would: the settings of an A100, an H100 and a B200
GPUS = {"sm_80": (8, 0), "sm_90": (9, 0), "sm_100": (10, 0)}


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def inputs(B, H, K, T, S, D, seed=0, dtype=torch.float32) -> list[Tensor]:
    """q, k, v that want gradients."""
    shapes = ((B, H, T, D), (B, K, S, D), (B, K, S, D))
    return [random(*shape, seed=seed + n, dtype=dtype).requires_grad_() for n, shape in enumerate(shapes)]


def seen(T: int, S: int, causal: bool = False, window: tuple[int, int] | None = None) -> Tensor:
    """(T, S), True where query i may see key j; the last query stands on the last key."""
    left, right = window or (-1, -1)
    right = 0 if causal else right
    allowed = torch.ones(T, S, dtype=torch.bool)
    if right >= 0:
        allowed = allowed.tril(S - T + right)
    if left >= 0:
        allowed = allowed.triu(S - T - left)
    return allowed


def exact(
    q, k, v, causal=False, scale=None, window=None, alibi_slopes=None, softcap=0.0
) -> tuple[Tensor, Tensor]:
    """(output, log-sum-exp), float64 and differentiable. No code shared with kernels/."""
    (B, H, T, D), (_, K, S, _) = q.shape, k.shape
    allowed = seen(T, S, causal, window).to(q.device)
    blind = ~allowed.any(-1)[:, None]  # rows that see nothing: computed without a mask, then set to nothing
    bias = torch.zeros(B, H, T, S, dtype=torch.float64, device=q.device)
    if alibi_slopes is not None:
        distance = (torch.arange(T)[:, None] + S - T - torch.arange(S)).abs().to(q.device)
        bias = bias - alibi_slopes.double().expand(B, H)[:, :, None, None] * distance
    bias = bias.masked_fill(~(allowed | blind), -torch.inf)
    k, v = (x.repeat_interleave(H // K, 1) for x in (k, v))
    scores = (q @ k.mT) * (D**-0.5 if scale is None else scale)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
        out = torch.softmax(scores + bias, -1) @ v
    elif S:
        out = F.scaled_dot_product_attention(q, k, v, bias, scale=scale)
    else:
        out = 0 * (q + k.sum() + v.sum())
    lse = torch.logsumexp(scores + bias, -1)
    return out.masked_fill(blind, 0.0), lse.masked_fill(blind.squeeze(-1), -torch.inf)


def results(call, q, k, v, upstream: Tensor, upstream_lse: Tensor | None = None) -> list[Tensor]:
    """[output, log-sum-exp, dq, dk, dv] of a call that returns (output, log-sum-exp)."""
    leaves = [x.detach().requires_grad_() for x in (q, k, v)]
    out, lse = call(*leaves)
    if upstream_lse is None:
        grads = torch.autograd.grad(out, leaves, upstream.to(out.dtype))
    else:
        grads = torch.autograd.grad([out, lse], leaves, [upstream.to(out.dtype), upstream_lse.to(lse.dtype)])
    return [out.detach(), lse.detach(), *grads]


def assert_exact(
    ours: list[Tensor], truth: list[Tensor], q, k, v, upstream, scale=None, error: float = 1e-5
) -> None:
    """Each of `results` within 1e-5 of float64, relative to its largest number and to its norm.

    dq and dk are sums of terms that cancel: with one key they are exactly 0, and float32 leaves a rounding error of the
    terms. So `cancelled`, a few roundings of the largest term, is allowed on top.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else abs(scale)
    with torch.no_grad():
        G = q.shape[1] // k.shape[1]
        products = (upstream @ v.repeat_interleave(G, 1).mT).abs() if v.shape[2] else upstream.new_zeros(1)
        largest = [
            max([x.abs().max().item() for x in (y,) if x.numel()], default=0.0) for y in (products, q, k)
        ]
    cancelled = [0, 0, scale * largest[0] * largest[2], scale * largest[0] * largest[1] * G, 0]
    for name, x, y, terms in zip(("out", "lse", "dq", "dk", "dv"), ours, truth, cancelled):
        assert x.shape == y.shape, name
        x, y = x.double(), y.double()
        hidden = torch.isneginf(y)
        assert torch.equal(torch.isneginf(x), hidden), name
        x, y = x.masked_fill(hidden, 0), y.masked_fill(hidden, 0)
        assert torch.isfinite(x).all(), name
        if x.numel():
            off, room = (x - y).abs(), 1e-6 * terms
            assert off.max() <= error * y.abs().max() + room, (name, off.max().item(), y.abs().max().item())
            assert off.norm() <= error * y.norm() + room * off.numel() ** 0.5, name
