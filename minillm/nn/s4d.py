"""S4D: a state space whose matrix is diagonal, so that its answer to a pulse is a sum of powers (상태 공간 모델).

    recurrence    x_k = Ā x_{k-1} + B̄ u_k,   y_k = 2 Re Σ_n C_n x_kn               one token after another: generation
    convolution   y = u * K,   K_l = 2 Re Σ_n C_n B̄_n Ā_n^l                        all at once by FFT: training

Nothing here depends on the token, so both are the same. The kernel takes N·L powers; with l = i·F + j it is a product
of coarse and fine powers, (Ā^F)^i Ā^j, of which there are N·(L/F + F) only. States come in conjugate pairs: one of
each is kept, hence 2 Re. Book 16.2.1 S4. Papers: Gu, Goel and Ré 2021 (S4); Gu et al. 2022 (S4D, values Lin and Inv).
Held against scipy's state spaces and numpy's convolution. Leaves out: S4's low-rank term.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_int, check_number, describe
from minillm.nn.hippo import hippo_legs

# Initial values: N/2 numbers, complex128, one of each conjugate pair


def s4d_lin(size: int) -> Tensor:
    """A_n = -1/2 + iπn: frequencies at even distances, as a Fourier series has them."""
    n = torch.arange(_half(size)).double()
    return torch.complex(torch.full_like(n, -0.5), math.pi * n)


def s4d_inv(size: int) -> Tensor:
    """A_n = -1/2 + i N/π (N/(2n+1) - 1): about those of HiPPO's matrix."""
    n = torch.arange(_half(size)).double()
    return torch.complex(torch.full_like(n, -0.5), size / math.pi * (size / (2 * n + 1) - 1))


def s4d_legs(size: int) -> Tensor:
    """Those of HiPPO's matrix A + p pᵀ, p = B/√2, whose eigenvalues are all -1/2 + iω."""
    A, B = hippo_legs(2 * _half(size))
    skew = A + B[:, None] * B[None, :] / 2 + torch.eye(len(A)).double() / 2  # Sᵀ = -S
    frequencies = torch.linalg.eigvalsh(-1j * skew)  # real, in pairs ±ω, rising
    return torch.complex(torch.full((_half(size),), -0.5).double(), frequencies[len(A) // 2 :])


def _half(size: int) -> int:
    if check_int("size", size, 2) % 2:
        raise ValueError(f"size must be even: states come in pairs, got {size}")
    return size // 2


INITIAL = {"lin": s4d_lin, "inv": s4d_inv, "legs": s4d_legs}

# From a flow to steps: A complex (H, N), step (H, 1) -> Ā and B̄ (H, N), with B = 1


def held_steps(A: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Zero-order hold: Ā = exp(z), B̄ = Δ (exp(z) - 1) / z with z = Δ A; Δ where z is 0: a sum, nothing is forgotten.

    expm1, because exp(z) - 1 of a small z is mostly rounding.
    """
    z = step * A
    still = z == 0
    ratio = torch.where(still, 1 + z / 2, torch.expm1(z) / torch.where(still, 1, z))
    return torch.exp(z), step * ratio


def bilinear_steps(A: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Bilinear: Ā = (1 + Δ/2 A) / (1 - Δ/2 A), B̄ = Δ / (1 - Δ/2 A)."""
    below = 1 - step / 2 * A
    return (1 + step / 2 * A) / below, step / below


DISCRETE = {"zoh": held_steps, "bilinear": bilinear_steps}

# The same layer, three ways. bar, drive, C: Ā, B̄, C complex (H, N); u (B, H, L) real


def s4d_recurrence(u: Tensor, bar: Tensor, drive: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Token by token from state (B, H, N) -> (y (B, H, L), the last state)."""
    shown = []
    for value in u.unbind(-1):  # (B, H)
        state = bar * state + drive * value[..., None]
        shown.append(2 * (C * state).sum(-1).real)
    return torch.stack(shown, dim=-1), state


def s4d_kernel_plain(weights: Tensor, bar: Tensor, length: int) -> Tensor:
    """K_l = 2 Re Σ_n w_n Ā_n^l for l < length: weights (..., H, N), bar (H, N) -> (..., H, L); N·L powers."""
    powers = bar[..., None] ** torch.arange(length, device=bar.device)  # (H, N, L)
    return 2 * (weights[..., None] * powers).sum(-2).real


def powers(bar: Tensor, count: int) -> Tensor:
    """1, Ā, Ā², ... of bar (H, N) -> (H, N, count), by doubling: each product is of two that are there already."""
    found, factor = torch.ones_like(bar)[..., None], bar[..., None]
    while found.shape[-1] < count:
        found, factor = torch.cat((found, found * factor), dim=-1), factor * factor
    return found[..., :count]


def s4d_kernel(weights: Tensor, bar: Tensor, length: int) -> Tensor:
    """The same of coarse and fine powers: l = i·F + j, one real product of matrices for each channel."""
    check_int("length", length, 1)
    F = math.isqrt(length - 1) + 1  # about √L of each
    fine = powers(bar, F)  # (H, N, F)
    coarse = powers(fine[..., -1] * bar, -(-length // F)).transpose(-1, -2)  # (H, L/F, N) of Ā^F
    left = weights[..., None, :] * coarse  # (..., H, L/F, N)
    # Re(a b) = Re a Re b - Im a Im b, as one product over 2N
    left = torch.cat((left.real, -left.imag), dim=-1)
    return 2 * (left @ torch.cat((fine.real, fine.imag), dim=-2)).flatten(-2)[..., :length]


def fft_convolve(u: Tensor, kernel: Tensor) -> Tensor:
    """y_k = Σ_{l ≤ k} K_l u_{k-l}: u (B, H, L), kernel (H, any length) -> (B, H, L), in L log L steps.

    Twice the length, because a product of spectra is a convolution around a circle.
    """
    L = u.shape[-1]
    spectrum = torch.fft.rfft(kernel[..., :L], n=2 * L)  # (H, L + 1)
    # a text at a time: what one needs stays in the cache
    return torch.stack([
        torch.fft.irfft(torch.fft.rfft(text, n=2 * L) * spectrum, n=2 * L)[:, :L] for text in u.unbind(0)
    ])  # fmt: skip


def s4d_last_state(u: Tensor, bar: Tensor, drive: Tensor, state: Tensor | None) -> Tensor:
    """x_L = Ā^L x_0 + Σ_k Ā^{L-1-k} B̄ u_k without the states between: (B, H, N), by coarse and fine powers, too."""
    L = u.shape[-1]
    F = math.isqrt(L - 1) + 1
    rows = -(-L // F)
    u = torch.nn.functional.pad(u, (rows * F - L, 0)).unflatten(-1, (rows, F))  # (B, H, L/F, F)
    fine = powers(bar, F)  # (H, N, F)
    down = fine.flip(-1).transpose(-1, -2)  # (H, F, N)
    inner = torch.complex(u @ down.real, u @ down.imag)  # (B, H, L/F, N)
    coarse = powers(fine[..., -1] * bar, rows).flip(-1).transpose(-1, -2)  # (H, L/F, N)
    last = drive * (inner * coarse).sum(-2)
    return last if state is None else last + bar**L * state


class S4DLayer(nn.Module):
    """S4D over x (B, T, H), each channel for itself: `S4DLayer(width, state_size)`; state (B, H, N/2), complex.

    state_size: N, even. initial: "lin", "inv" or "legs". discrete: "zoh" or "bilinear". step_min, step_max: bounds of
    the first steps Δ, of which each channel has one. Raises ValueError for other choices.
    """

    def __init__(
        self,
        width: int,
        state_size: int = 64,
        initial: str = "lin",
        discrete: str = "zoh",
        step_min: float = 0.001,
        step_max: float = 0.1,
    ):
        super().__init__()
        self.width, self.half = check_int("width", width, 1), _half(state_size)
        self.initial = check_choice("initial", initial, tuple(INITIAL))
        self.discrete = check_choice("discrete", discrete, tuple(DISCRETE))
        self.bounds = check_number("step_min", step_min, 1e-9), check_number("step_max", step_max, step_min)
        self.log_step = nn.Parameter(torch.empty(width))
        self.log_decay = nn.Parameter(torch.empty(width, self.half))  # Re A = -exp of it: always a decay
        self.frequency = nn.Parameter(torch.empty(width, self.half))  # Im A
        self.C = nn.Parameter(torch.empty(width, self.half, 2))  # real and imaginary part
        self.D = nn.Parameter(torch.empty(width))  # what goes straight through
        if not self.D.is_meta:
            self.draw()

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None) -> None:
        """First weights: A of `initial`, Δ even in its logarithm, C normal with variance 1, D 1."""
        A = INITIAL[self.initial](2 * self.half)
        self.log_decay.copy_((-A.real).log().expand_as(self.log_decay))
        self.frequency.copy_(A.imag.expand_as(self.frequency))
        low, high = (math.log(bound) for bound in self.bounds)
        self.log_step.uniform_(low, high, generator=generator)
        self.C.normal_(0.0, 0.5**0.5, generator=generator)
        self.D.fill_(1.0)

    def steps(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ā, B̄ and C, complex (H, N/2)."""
        wide = torch.promote_types(self.C.dtype, torch.float32)  # there is no complex bfloat16
        A = torch.complex(-self.log_decay.to(wide).exp(), self.frequency.to(wide))
        bar, drive = DISCRETE[self.discrete](A, self.log_step.to(wide).exp()[:, None])
        return bar, drive, torch.view_as_complex(self.C.to(wide))

    def forward(
        self, x: Tensor, state: Tensor | None = None, last: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, T, H) -> (y (B, T, H), the last state (B, H, N/2)); state None: zeros. ValueError for others.

        last: whether the last state is wanted, which the convolution does without; None in its place if not.
        """
        if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != self.width or not x.numel():
            raise ValueError(f"x must be a tensor (B, T, {self.width}), got {describe(x)}")
        if not x.is_floating_point():
            raise ValueError(f"x must hold real numbers, not {x.dtype}")
        if state is not None:
            self._check_state(state, len(x))
        bar, drive, C = self.steps()
        u = x.transpose(1, 2).to(bar.real.dtype)  # (B, H, T)
        if u.shape[-1] == 1:
            zero = bar.new_zeros(len(u), *bar.shape) if state is None else state
            y, after = s4d_recurrence(u, bar, drive, C, zero)
            y = y + self.D[:, None] * u
        else:
            kernel = s4d_kernel(C * drive, bar, u.shape[-1])
            # D u is a pulse at once
            kernel = torch.cat((kernel[:, :1] + self.D[:, None], kernel[:, 1:]), dim=-1)
            y = fft_convolve(u, kernel)
            if state is not None:  # what the state before still says: 2 Re Σ C Ā^{l+1} x_0
                y = y + s4d_kernel(C * bar * state, bar, u.shape[-1])
            after = s4d_last_state(u, bar, drive, state) if last else None
        return y.transpose(1, 2).to(x.dtype), after if last else None

    def _check_state(self, state: Tensor, texts: int) -> None:
        shape = (texts, self.width, self.half)
        if not isinstance(state, Tensor) or not state.is_complex() or state.shape != shape:
            raise ValueError(f"state must be a complex tensor {shape} or None, got {describe(state)}")
