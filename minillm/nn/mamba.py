"""What happens inside a Mamba layer between its two projections (맘바 블록의 안쪽).

    u = silu(conv(x))                          each channel looks K tokens back
    Δ, B, C = split(W u), Δ = softplus(W_Δ Δ + b)       chosen by the token
    y = (scan(u, Δ, A, B, C) + D u) · silu(z)           z: the gate, the other half of the first projection

For many tokens each line is an operation over all of them. For one token (generation) the block is one compiled loop:
what counts there is not arithmetic but how often Python calls torch. Book 16.4 맘바. Paper: Gu and Dao 2023. Held
against transformers' Mamba, and one token at a time against all at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor

from minillm._kernels import autocast_dtype, register
from minillm.nn.fast_cpu import four_rows
from minillm.nn.scan_compiled import NONE, ONE, QUICK, exp_of, selective_scan

# the checksum of the compiled files that this one calls: python -m tests.compiled_files --write
CALLED = "0af6a7e7"

F32 = np.float32


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None, before: Tensor) -> tuple[Tensor, Tensor]:
    """y_t = Σ_k w_k x_{t-K+1+k} + b for each channel: x (B, T, D), weight (D, K) -> (y, the last K-1 tokens of x).

    before: the K-1 tokens in front of x (B, K-1, D), zeros at the beginning of a text.
    """
    T = x.shape[1]
    x = torch.cat((before.to(x.dtype), x), dim=1)  # (B, K-1 + T, D)
    y = sum(x[:, k : k + T] * weight[:, k] for k in range(weight.shape[1]))
    return y if bias is None else y + bias, x[:, T:]


def mamba_scan_plain(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, skip: Tensor, gate: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """y = (scan(x, softplus(dt), A, B, C) + skip x) silu(gate): x, dt, gate (B, T, D) -> (y, state (B, D, N)).

    In float32 at least, whatever the model's dtype; y in x's.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    given = [one.to(wide) for one in (x, F.softplus(dt.to(wide)), A, B, C)]
    y, state = selective_scan(*given, state)
    return ((y + skip * given[0]) * F.silu(gate.to(wide))).to(x.dtype), state


def _kernel_takes(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, *others: Tensor | None) -> bool:
    """Whether the kernel can: no autocast, one dtype of what comes for each token, a state that fits in registers."""
    return (
        autocast_dtype(x) is None and x.dtype == dt.dtype == B.dtype and A.shape[1] <= 64 and x.shape[1] > 1
    )


mamba_scan = register(
    "selective_scan", "kernels.selective_scan:selective_scan", _kernel_takes, mamba_scan_plain, auto=False
)


# One token: the whole block as one loop


@njit(**QUICK)
def _product(weight, x, y):  # pragma: no cover
    """y = weight x: weight (O, I), x (I,), y (O,); four rows at a time, as in fast_cpu."""
    rows = weight.shape[0] // 4 * 4
    four_rows(weight[:rows], x, y[:rows])
    for o in range(rows, weight.shape[0]):
        total, row = NONE, weight[o]
        for i in range(x.size):
            total += row[i] * x[i]
        y[o] = total


@njit(**QUICK)
def _step(
    x, norm, into, conv_weight, conv_bias, pick, dt_weight, dt_bias, A_log, skip, out, eps,
    conv, h, new_conv, new_h, y,
):  # fmt: skip # pragma: no cover
    """One token: x (B, C), conv (B, K-1, D), h (B, D, N) -> new_conv, new_h, y (B, C)."""
    width, D, N, K, R = x.shape[1], A_log.shape[0], A_log.shape[1], conv_weight.shape[1], dt_weight.shape[1]
    normed, xz, u, written = np.empty(width, F32), np.empty(2 * D, F32), np.empty(D, F32), np.empty(D, F32)
    picked, delta = np.empty(R + 2 * N, F32), np.empty(D, F32)
    for i in range(x.shape[0]):
        square = NONE
        for k in range(width):
            square += x[i, k] * x[i, k]
        scale = ONE / np.sqrt(square / F32(width) + eps)
        for k in range(width):
            normed[k] = x[i, k] * scale * norm[k]
        _product(into, normed, xz)
        for d in range(D):
            u[d] = conv_bias[d] + conv_weight[d, K - 1] * xz[d]
        for k in range(K - 1):
            for d in range(D):
                u[d] += conv_weight[d, k] * conv[i, k, d]
        for k in range(K - 2):
            new_conv[i, k] = conv[i, k + 1]
        if K > 1:
            new_conv[i, K - 2] = xz[:D]
        for d in range(D):
            u[d] = u[d] / (ONE + exp_of(-u[d]))
        _product(pick, u, picked)
        B, C = picked[R : R + N], picked[R + N :]
        _product(dt_weight, picked[:R], delta)
        for d in range(D):
            dt, total = delta[d] + dt_bias[d], NONE
            dt = max(dt, NONE) + np.log1p(exp_of(-abs(dt)))
            A_d, h_d, new_d, write = A_log[d], h[i, d], new_h[i, d], dt * u[d]
            for n in range(N):
                new_d[n] = exp_of(-exp_of(A_d[n]) * dt) * h_d[n] + write * B[n]
                total += new_d[n] * C[n]
            z = xz[D + d]
            written[d] = (total + skip[d] * u[d]) * z / (ONE + exp_of(-z))
        _product(out, written, y[i])
        for k in range(width):
            y[i, k] += x[i, k]


def mamba_step(
    x: Tensor, weights: Sequence[Tensor], eps: float, conv: Tensor, h: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One token of each text through a block: x (B, C) -> (x (B, C), conv (B, K-1, D), h (B, D, N)).

    weights: norm (C,), in_proj (2D, C), conv (D, K), its bias (D,), x_proj (R + 2N, D), dt_proj (D, R), its bias (D,),
    A_log (D, N), skip (D,), out_proj (C, D). All float32 on a CPU (`step_takes`), without a gradient.
    """
    new_conv, new_h, y = torch.empty_like(conv), torch.empty_like(h), torch.empty_like(x)
    arrays = [one.detach().numpy() for one in weights]
    _step(x.numpy(), *arrays, F32(eps), conv.numpy(), h.numpy(), new_conv.numpy(), new_h.numpy(), y.numpy())
    return y, new_conv, new_h


def step_takes(x: Tensor, *tensors: Tensor) -> bool:
    """Whether `mamba_step` may be taken: one token, nothing to learn, float32 on a CPU in one piece each."""
    if x.shape[1] > 1 or torch.is_grad_enabled() or autocast_dtype(x) is not None:
        return False
    return all(one.dtype == torch.float32 and one.is_cpu and one.is_contiguous() for one in (x, *tensors))
