"""Selection (선택 메커니즘): a state space layer whose step, writing and reading the token itself chooses.

    fixed        Δ, B, C are weights          every token is written in the same way: a convolution
    step         Δ = softplus(W x + b)        the token says how much it writes, and how much of the state it erases
    selective    B = W_B x, C = W_C x, too    and where it writes, and what is read at its place

All run h = exp(Δ A) h + Δ x B, y = C · h. A stays a weight: through Δ the token reaches exp(Δ A) anyway. Book 16.3 선택
메커니즘. Paper: Gu and Dao 2023, algorithms 1 and 2. Held against numpy's convolve (fixed), torch.nn.GRU (step) and the
formula in numpy (selective). The mixer of models/mamba.py has a convolution and a gate around such a layer. Leaves out:
those two, the low rank of Δ, complex A.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_int, check_number, describe
from minillm.nn.scan_compiled import selective_scan


def even_steps(
    count: int, low: float, high: float, floor: float = 0.0, generator: torch.Generator | None = None
) -> Tensor:
    """Numbers (count,) whose softplus lies between low and high, even in its logarithm, and is at least floor."""
    span = math.log(high) - math.log(low)
    steps = torch.exp(torch.rand(count, generator=generator) * span + math.log(low)).clamp(min=floor)
    return steps + torch.log(-torch.expm1(-steps))  # the inverse of softplus


class FixedLayer(nn.Module):
    """x (B, T, D) -> (y (B, T, D), state (B, D, N)), each channel for itself: `FixedLayer(width, state_size)`.

    step_min, step_max: bounds of the first steps Δ. Raises ValueError for sizes below one and bounds out of order.
    """

    def __init__(
        self, width: int, state_size: int = 16, step_min: float = 0.001, step_max: float = 0.1
    ) -> None:
        super().__init__()
        self.width, self.state_size = check_int("width", width, 1), check_int("state_size", state_size, 1)
        self.bounds = check_number("step_min", step_min, 1e-9), check_number("step_max", step_max, step_min)
        self.A_log = nn.Parameter(torch.empty(width, state_size))  # A = -exp of it: always a decay
        self.step = nn.Parameter(torch.empty(width))  # Δ = softplus of it: always positive
        self.add_choices()
        self.draw()

    def add_choices(self) -> None:
        """The weights of B and C."""
        self.B, self.C = (nn.Parameter(torch.empty(self.state_size)) for _ in range(2))

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None) -> None:
        """First weights: A = -1, -2, ..., -N; Δ even in its logarithm; the others normal, of about the size of x."""
        self.A_log.copy_(torch.arange(1.0, self.state_size + 1).log().expand_as(self.A_log))
        self.step.copy_(even_steps(self.width, *self.bounds, generator=generator))
        for name, weight in self.named_parameters():
            if name not in ("A_log", "step"):
                weight.normal_(
                    0.0, weight.shape[-1] ** -0.5 if weight.dim() == 2 else 1.0, generator=generator
                )

    def choices(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Δ (B, T, D), B and C (B, T, N) of every token: here the same ones."""
        rows = (*x.shape[:2], -1)
        return F.softplus(self.step).expand(rows), self.B.expand(rows), self.C.expand(rows)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """y and the last state; state None: zeros. Raises ValueError for other shapes and dtypes."""
        check_layer_input(x, self.width, self.step.dtype)
        dt, B, C = self.choices(x)
        return selective_scan(x, dt, -torch.exp(self.A_log), B, C, state)


class StepLayer(FixedLayer):
    """The token chooses Δ."""

    def add_choices(self) -> None:
        """And the weights of Δ."""
        super().add_choices()
        self.to_step = nn.Parameter(torch.empty(self.width, self.width))

    def choices(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Δ is of the token."""
        _, B, C = super().choices(x)
        return F.softplus(F.linear(x, self.to_step, self.step)), B, C


class SelectiveLayer(FixedLayer):
    """The token chooses Δ, B and C."""

    def add_choices(self) -> None:
        """The weights of all three, one matrix."""
        self.to_all = nn.Parameter(torch.empty(self.width + 2 * self.state_size, self.width))

    def choices(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All three are of the token."""
        dt, B, C = F.linear(x, self.to_all).split([self.width, self.state_size, self.state_size], dim=-1)
        return F.softplus(dt + self.step), B, C


def check_layer_input(x: Any, width: int, dtype: torch.dtype) -> None:
    """ValueError unless x is a tensor (B, T, width) of at least one token and of the weights' dtype."""
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != width or x.dtype != dtype or not x.numel():
        kind = str(dtype).removeprefix("torch.")
        raise ValueError(
            f"x must be a {kind} tensor (B, T, {width}) of at least one token, got {describe(x)}"
        )
