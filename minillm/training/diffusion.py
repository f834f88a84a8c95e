"""Training a diffusion model (디퓨전 모델 학습): add noise, ask what was added, keep a smoothed copy of the weights.

    loss = mean (model(x_t, t, wish) - target)²,    t and the noise drawn anew for every picture
    EMA  w̄ <- d w̄ + (1 - d) w                      the copy that draws pictures (지수 이동 평균)

A tenth of the wishes is dropped, so that one network learns both what classifier-free guidance subtracts. What step n
draws depends on (seed, n) alone, so a run that was stopped goes on as if it had not been.

Pictures are trained by DiffusionTrainer, vectors (the prior of DALL-E 2) by NoiseTrainer; RegressionTrainer asks the
same network for the mean of all vectors that fit a wish, the baseline of equal cost.

Book: 14.3.1 diffusion, 14.3.2 DALL-E. Papers: Ho et al. 2020; Ho and Salimans 2021; Ramesh et al. 2022. EMA is held
against torch.optim.swa_utils.
Left out: weights per noise level, several devices; minillm.training.Trainer does those for language models.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_int, check_number, describe
from minillm.models.noise_schedule import NoiseSchedule
from minillm.training.adamw import AdamW
from minillm.training.clipping import clip_gradients
from minillm.training.schedule import cosine_schedule


class EMA:
    """A copy of `model` whose weights follow it slowly: `ema.model` after `ema.update(model)` a step."""

    def __init__(self, model: nn.Module, decay: float = 0.99) -> None:
        self.decay = check_number("decay", decay, 0, 1)
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """w̄ <- d w̄ + (1 - d) w, and numbers that are not learned as they are."""
        for kept, new in zip(self.model.parameters(), model.parameters(), strict=True):
            kept.lerp_(new, 1 - self.decay)
        for kept, new in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(new)


def diffusion_loss(
    model: nn.Module,
    schedule: NoiseSchedule,
    x0: Tensor,
    condition: Tensor | None,
    generator: torch.Generator,
    drop: float = 0.1,
) -> Tensor:
    """The squared error of one batch of pictures `x0` (B, C, S, S) in -1..1, a share `drop` of them without wish."""
    t = torch.randint(0, schedule.steps, (len(x0),), generator=generator)  # (B,)
    noise = torch.randn(x0.shape, generator=generator)
    forget = torch.rand(len(x0), generator=generator) < drop  # (B,)
    xt = schedule.add_noise(x0, noise, t)
    said = model(xt, t, condition, forget)
    return (said - schedule.target(x0, noise, t)).square().mean()


def regression_loss(model: nn.Module, schedule: NoiseSchedule, x0: Tensor, condition: Tensor) -> Tensor:
    """The squared error of what `model` says of x_0 (N, D) when it sees the wish alone: nothing at the last step."""
    said = model(torch.zeros_like(x0), schedule.steps - 1, condition)
    return (said - x0).square().mean()


class NoiseTrainer:
    """Train `model` on what it draws, `data` (N, ...), and wishes (N, ...): `run(n)` does n steps, `ema.model` draws.

    data: at the scale of the noise, a mean square near 1. max_steps: where the cosine of the learning rate ends.
    ValueError for data that are not floats, wishes of another number, or numbers out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        schedule: NoiseSchedule,
        data: Tensor,
        conditions: Tensor | None = None,
        max_steps: int = 1000,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        seed: int = 0,
    ) -> None:
        self.check(data)
        if not isinstance(schedule, NoiseSchedule):
            raise ValueError(f"schedule must be a NoiseSchedule, got {describe(schedule)}")
        if conditions is not None and (not isinstance(conditions, Tensor) or len(conditions) != len(data)):
            raise ValueError(
                f"conditions must be one for each of {len(data)} rows, got {describe(conditions)}"
            )
        self.max_steps = check_int("max_steps", max_steps, 1)
        self.batch_size = check_int("batch_size", batch_size, 1)
        self.learning_rate = check_number("learning_rate", learning_rate, 0)
        self.seed = check_int("seed", seed, 0, 2**31 - 1)
        self.model, self.schedule = model, schedule
        self.data, self.conditions = data, conditions
        self.optimizer = AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
        self.ema = EMA(model)
        self.step = 0
        self.losses: list[float] = []

    def check(self, data: Tensor) -> None:
        """ValueError unless `data` can be trained on."""
        if not isinstance(data, Tensor) or data.dim() < 2 or not data.is_floating_point() or not data.numel():
            raise ValueError(f"data must be floats (N, ...), got {describe(data)}")
        if not bool(data.isfinite().all()):
            raise ValueError("data must be finite: a NaN or an infinite number would spoil every weight")

    def run(self, steps: int) -> list[float]:
        """The losses of the next `steps` steps."""
        check_int("steps", steps, 0)
        self.model.train()
        for _ in range(steps):
            self.losses.append(float(self.one_step()))
        return self.losses[len(self.losses) - steps :]

    def one_step(self) -> Tensor:
        """Draw a batch, follow its gradient, let the smoothed copy follow."""
        generator = torch.Generator().manual_seed(self.seed * 2**31 + self.step)
        rows = torch.randint(0, len(self.data), (self.batch_size,), generator=generator)
        loss = self.loss(rows, generator)
        loss.backward()
        clip_gradients(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update(self.model)
        self.step += 1
        return loss.detach()

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of these rows; what is drawn for it comes from `generator`."""
        wish = None if self.conditions is None else self.conditions[rows]
        return diffusion_loss(self.model, self.schedule, self.clean(rows), wish, generator)

    def clean(self, rows: Tensor) -> Tensor:
        """x_0 of these rows."""
        return self.data[rows]

    def rate(self, step: int) -> float:
        """The learning rate of `step`: up in a straight line, then down a cosine to a hundredth."""
        warmup = min(100, self.max_steps // 10)
        return cosine_schedule(step + 1, self.max_steps, self.learning_rate, warmup, self.learning_rate / 100)

    def state_dict(self) -> dict[str, Any]:
        """All that another trainer on the same pictures needs to go on."""
        return {
            "model": copy.deepcopy(self.model.state_dict()),
            "ema": copy.deepcopy(self.ema.model.state_dict()),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "step": self.step,
            "losses": list(self.losses),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` said. ValueError if that is not of such a run: nothing is changed then."""
        try:
            step = check_int("step", state["step"], 0)
            losses = [check_number("each loss", loss) for loss in state["losses"]]
            if len(losses) != step:
                raise ValueError(f"{step} steps have {step} losses, got {len(losses)}")
            model, ema = copy.deepcopy(self.model), copy.deepcopy(self.ema.model)
            model.load_state_dict(state["model"])
            ema.load_state_dict(state["ema"])
            optimizer = AdamW(model.parameters(), lr=self.learning_rate, weight_decay=0.0)
            optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
            for weight, averages in optimizer.state.items():
                shapes = {
                    value.shape for value in averages.values() if isinstance(value, Tensor) and value.dim()
                }
                if shapes - {weight.shape}:
                    raise ValueError(f"averages of shapes {shapes} for a weight of {tuple(weight.shape)}")
        except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
            raise ValueError(f"state must be what state_dict() of an equal trainer said: {error}") from error
        self.model.load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.step, self.losses = step, losses


class DiffusionTrainer(NoiseTrainer):
    """A NoiseTrainer of pictures (N, C, S, S) in 0..1; ValueError for pictures of another form or outside 0..1."""

    def check(self, data: Tensor) -> None:
        """ValueError unless `data` are pictures."""
        if (
            not isinstance(data, Tensor)
            or data.dim() != 4
            or not data.is_floating_point()
            or not data.numel()
        ):
            raise ValueError(f"images must be floats (N, C, S, S), got {describe(data)}")
        low, high = float(data.min()), float(data.max())
        if not 0 <= low <= high <= 1:
            raise ValueError(f"images must lie in 0..1, got {low:g} to {high:g}")

    @property
    def images(self) -> Tensor:
        """The pictures, in 0..1."""
        return self.data

    def clean(self, rows: Tensor) -> Tensor:
        """The pictures of these rows in -1..1, as the network draws them."""
        return self.data[rows] * 2 - 1


class RegressionTrainer(NoiseTrainer):
    """A NoiseTrainer whose network sees no noisy x_0: it learns the mean of what fits a wish (`regression_loss`)."""

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of these rows; nothing is drawn for it. ValueError if there are no wishes to go by."""
        if self.conditions is None:
            raise ValueError("a regression answers wishes: conditions must be given, got None")
        return regression_loss(self.model, self.schedule, self.data[rows], self.conditions[rows])
