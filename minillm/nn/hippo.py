"""HiPPO (히포): a state that holds all of the past as a curve, and the two ways of making steps of a flow.

    flow         x'(t) = A x(t) + B u(t)                    A (N, N), B (N,)
    bilinear     x_k = Ā x_{k-1} + B̄ u_k,   Ā = (I - Δ/2 A)⁻¹ (I + Δ/2 A),   B̄ = (I - Δ/2 A)⁻¹ Δ B
    held (ZOH)   Ā = exp(Δ A),   B̄ = A⁻¹ (Ā - I) B          exact where u is constant within a step

LegS: x(t) are the coefficients of the past u[0, t] in Legendre polynomials, of all of it, however long it is by now:
x' = (A x + B u) / t. N numbers, the best curve of degree N - 1. Book 16.2.1 S4.
Papers: Gu et al. 2020 (HiPPO); Gu, Goel and Ré 2021 (S4). Held against numpy's Legendre polynomials,
scipy's expm and cont2discrete.
Leaves out: the low-rank term of S4 (DPLR): S4D does without it (s4d.py).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from minillm._checks import check_int, check_number, describe


def hippo_legs(size: int) -> tuple[Tensor, Tensor]:
    """A (N, N) and B (N,) of LegS, float64. ValueError for a size below one.

    A_nk = -√((2n+1)(2k+1)) below the diagonal, -(n+1) on it, 0 above;   B_n = √(2n+1)
    """
    check_int("size", size, 1)
    root = torch.sqrt(2 * torch.arange(size, dtype=torch.float64) + 1)  # (N,)
    A = torch.tril(-root[:, None] * root[None, :], diagonal=-1)
    return A - torch.diag(torch.arange(1, size + 1, dtype=torch.float64)), root


def bilinear(A: Tensor, B: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Ā (N, N) and B̄ (N,) of a flow A (N, N), B (N,): the mean of its slopes at both ends of a step."""
    _check_flow(A, B, step)
    identity = torch.eye(len(A), dtype=A.dtype, device=A.device)
    right = torch.cat((identity + step / 2 * A, step * B[:, None]), dim=1)  # (N, N + 1)
    # Ā = (I - Δ/2 A)⁻¹ (I + Δ/2 A),   B̄ = (I - Δ/2 A)⁻¹ Δ B
    both = torch.linalg.solve(identity - step / 2 * A, right)
    return both[:, :-1], both[:, -1]


def zero_order_hold(A: Tensor, B: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Ā (N, N) and B̄ (N,) of a flow A (N, N), B (N,) whose input is held for a step."""
    _check_flow(A, B, step)
    N = len(A)
    # exp(Δ [A B; 0 0]) = [Ā B̄; 0 1]: the same as A⁻¹ (Ā - I) B, also where A has no inverse
    both = A.new_zeros(N + 1, N + 1)
    both[:N, :N], both[:N, N] = A, B
    both = torch.linalg.matrix_exp(step * both)
    return both[:N, :N], both[:N, N]


def run_flow(A: Tensor, B: Tensor, u: Tensor) -> Tensor:
    """The states (T, N) of x_k = A x_{k-1} + B u_k from zero, for a signal u (T,) and matrices of single steps."""
    _check_flow(A, B, 0.0)
    _check_signal(u)
    x, states = A.new_zeros(len(A)), []
    for value in u.to(A).unbind(0):
        x = A @ x + B * value
        states.append(x)
    return torch.stack(states)


def legs_memory(u: Tensor, size: int) -> Tensor:
    """What LegS knows of a signal u (T,) after each of its steps: coefficients (T, N), float64.

    In log t the flow x' = (A x + B u) / t is x' = A x + B u: from step k - 1 to step k it runs for log(k / (k - 1)).
    u is held for a step, so nothing is rounded but the numbers: these are the integrals of u with the polynomials.
    """
    _check_signal(u)
    A, B = hippo_legs(size)
    first, *others = u.to(A).unbind(0)
    x = A.new_zeros(size)
    x[0] = first  # after one step the past is one value: a flat curve
    states = [x]
    for k, value in enumerate(others, start=2):
        step, drive = zero_order_hold(A, B, math.log(k / (k - 1)))
        x = step @ x + drive * value
        states.append(x)
    return torch.stack(states)


def legs_curve(coefficients: Tensor, places: Tensor) -> Tensor:
    """The remembered past at places (P,) in 0..1 (0: its beginning, 1: now) from coefficients (..., N) -> (..., P).

    u(s) ≈ Σ_n x_n √(2n+1) P_n(2s - 1), with P_n by (n+1) P_{n+1} = (2n+1) z P_n - n P_{n-1}
    """
    if not isinstance(coefficients, Tensor) or not coefficients.numel() or not coefficients.dim():
        raise ValueError(f"coefficients must be a tensor (..., N), got {describe(coefficients)}")
    if not isinstance(places, Tensor) or places.dim() != 1:
        raise ValueError(f"places must be a tensor (P,), got {describe(places)}")
    z = 2 * places.double() - 1
    before, now, rows = torch.zeros_like(z), torch.ones_like(z), []
    for n in range(coefficients.shape[-1]):
        rows.append(now * (2 * n + 1) ** 0.5)
        before, now = now, ((2 * n + 1) * z * now - n * before) / (n + 1)
    return coefficients.double() @ torch.stack(rows)  # (..., N) @ (N, P)


def _check_flow(A: Tensor, B: Tensor, step: float) -> None:
    check_number("step", step, 0.0)
    if not isinstance(A, Tensor) or A.dim() != 2 or A.shape[0] != A.shape[1] or not len(A):
        raise ValueError(f"A must be a matrix (N, N), got {describe(A)}")
    if not (A.is_floating_point() or A.is_complex()):
        raise ValueError(f"A must hold real or complex numbers, not {A.dtype}")
    if not isinstance(B, Tensor) or B.shape != A.shape[:1] or B.dtype != A.dtype:
        raise ValueError(f"B must be a vector ({len(A)},) of A's dtype, got {describe(B)}")


def _check_signal(u: Tensor) -> None:
    if not isinstance(u, Tensor) or u.dim() != 1 or not len(u) or u.is_complex():
        raise ValueError(f"u must be a real tensor (T,), got {describe(u)}")
