"""Noise schedules of diffusion (디퓨전 모델의 노이즈 스케줄): how much of a picture is left after t steps of noise.

    x_t = sqrt(ā_t) x_0 + sqrt(1 - ā_t) e,      ā_t = product of (1 - β_s) for s <= t,     e ~ N(0, 1)
    v_t = sqrt(ā_t) e - sqrt(1 - ā_t) x_0       the "velocity": what a v-network predicts

The sum of many small Gaussian steps is one Gaussian step, so x_t is drawn in one go, for any t. Of e, x_0 and v_t each
gives the other two once x_t is known: `clean_and_noise` is that piece of algebra. Steps are numbered 0 to steps - 1.

Book: 14.3.1 diffusion. Papers: Ho et al. 2020 (DDPM, linear), Nichol and Dhariwal 2021 (cosine), Rombach et al. 2022
(scaled_linear), Salimans and Ho 2022 (v). Held against diffusers' DDPMScheduler and DDIMScheduler, whose names are
taken too. Left out: learned variances, sigma-spaced schedules (Karras et al. 2022).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from minillm._checks import check_choice, check_int, check_number, describe

KINDS = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "cosine": "cosine",
    "squaredcos_cap_v2": "cosine",
}
PREDICTIONS = {"eps": "eps", "x0": "x0", "v": "v", "epsilon": "eps", "sample": "x0", "v_prediction": "v"}
SPACINGS = ("trailing", "leading", "linspace")


def linear_betas(steps: int, start: float, end: float) -> Tensor:
    """The share of noise that each step adds: from `start` to `end` in a straight line. (T,)"""
    return torch.linspace(start, end, steps, dtype=torch.float32)


def scaled_linear_betas(steps: int, start: float, end: float) -> Tensor:
    """The square roots lie on a straight line (Stable Diffusion). (T,)"""
    return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float32) ** 2


def cosine_betas(steps: int, largest: float = 0.999) -> Tensor:
    """ā falls as a squared cosine: noise comes evenly, where a straight line drowns the picture early. (T,)"""

    def left(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    # β_t = 1 - ā(t + 1) / ā(t)
    betas = [min(1 - left((i + 1) / steps) / left(i / steps), largest) for i in range(steps)]
    return torch.tensor(betas, dtype=torch.float32)


class NoiseSchedule:
    """The table ā (T,) of one schedule, and the algebra between a picture, its noise and what a network predicts.

    prediction: what the network that goes with it says: the noise ("eps"), the picture ("x0") or "v". start, end: the
    first and last β of the linear kinds. ValueError for an unknown kind or prediction, steps < 2, β out of order, or so
    much noise that float32 has nothing left of the picture: ā would be 0, and x_0 could not be worked out.
    """

    def __init__(
        self,
        kind: str = "cosine",
        steps: int = 1000,
        prediction: str = "v",
        start: float = 1e-4,
        end: float = 0.02,
    ) -> None:
        self.kind = KINDS[check_choice("kind", kind, tuple(KINDS))]
        self.steps = check_int("steps", steps, 2, 100_000)
        self.prediction = PREDICTIONS[check_choice("prediction", prediction, tuple(PREDICTIONS))]
        start = check_number("start", start, 1e-7, 1 - 1e-6)  # 1 - β is not 1 in float32
        end = check_number("end", end, start, 1 - 1e-6)
        if self.kind == "cosine":
            self.betas = cosine_betas(self.steps)
        else:
            make = linear_betas if self.kind == "linear" else scaled_linear_betas
            self.betas = make(self.steps, start, end)
        self.alpha_bar = torch.cumprod(1 - self.betas, dim=0)  # ā, (T,)
        if not float(self.alpha_bar[-1]) > torch.finfo(torch.float32).tiny:
            raise ValueError(
                f"nothing is left of a picture after {steps} steps up to β = {end:g}: take fewer or less"
            )

    def at(self, t: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """(sqrt(ā_t), sqrt(1 - ā_t)), shaped to multiply `like` (B, ...). t: (B,), or one number for all."""
        t = torch.as_tensor(t)
        whole = not t.is_floating_point() and t.dtype != torch.bool
        if not whole or t.shape not in ((), (like.shape[0],)):
            raise ValueError(f"t must be a whole number or {like.shape[0]} of them, got {describe(t)}")
        if t.numel() and not 0 <= int(t.min()) <= int(t.max()) < self.steps:
            raise ValueError(f"t must lie in 0..{self.steps - 1}, got {int(t.min())} to {int(t.max())}")
        left = self.alpha_bar[t.long().cpu()].to(like)  # (B,) or ()
        left = left.reshape(-1, *[1] * (like.dim() - 1))  # (B, 1, 1, 1)
        return left.sqrt(), (1 - left).sqrt()

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor | int) -> Tensor:
        """The picture `x0` (B, ...) after t steps of noise, in one go."""
        check_same("noise", noise, x0)
        signal, sigma = self.at(t, x0)
        # x_t = sqrt(ā) x_0 + sqrt(1 - ā) e
        return signal * x0 + sigma * noise

    def target(self, x0: Tensor, noise: Tensor, t: Tensor | int) -> Tensor:
        """What the network is asked to say of x_t."""
        check_same("noise", noise, x0)
        if self.prediction == "eps":
            return noise
        if self.prediction == "x0":
            return x0
        signal, sigma = self.at(t, x0)
        # v = sqrt(ā) e - sqrt(1 - ā) x_0
        return signal * noise - sigma * x0

    def clean_and_noise(self, xt: Tensor, said: Tensor, t: Tensor | int) -> tuple[Tensor, Tensor]:
        """(x_0, e) that belong to `xt` if the network is right in what it `said`."""
        check_same("said", said, xt)
        signal, sigma = self.at(t, xt)
        if self.prediction == "eps":
            return (xt - sigma * said) / signal, said
        if self.prediction == "x0":
            return said, (xt - signal * said) / sigma
        # v and x_t are (e, x_0) turned by an angle: turn back
        return signal * xt - sigma * said, signal * said + sigma * xt

    def timesteps(self, count: int, spacing: str = "trailing") -> list[int]:
        """`count` of the steps, from noisy to clean.

        "trailing" starts at pure noise, "leading" (the peer's default) ends at step 0 and starts a stride too low,
        "linspace" has both ends. 1,000 steps, 4: [999, 749, 499, 249], [750, 500, 250, 0], [999, 666, 333, 0].
        """
        check_int("count", count, 1, self.steps)
        check_choice("spacing", spacing, SPACINGS)
        if spacing == "leading":
            return [i * (self.steps // count) for i in reversed(range(count))]
        if spacing == "linspace":
            return [round(i * (self.steps - 1) / max(count - 1, 1)) for i in reversed(range(count))]
        return [round(self.steps - i * self.steps / count) - 1 for i in range(count)]

    def alpha_bar_at(self, t: int | None) -> float:
        """ā_t; 1 for None, the clean picture that lies before step 0."""
        return 1.0 if t is None else float(self.alpha_bar[check_int("t", t, 0, self.steps - 1)])


def check_same(name: str, value: Tensor, like: Tensor) -> Tensor:
    """`value` if it is a floating tensor of the shape of `like`."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise ValueError(f"{name} must be a tensor of floats, got {describe(value)}")
    if value.shape != like.shape:
        raise ValueError(f"{name} must have the shape {tuple(like.shape)}, got {describe(value)}")
    return value
