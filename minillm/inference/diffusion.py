"""From noise to pictures (디퓨전 모델의 샘플링): the ancestral DDPM chain, DDIM, and classifier-free guidance.

    said   = c + w (c - u)              c with the wish, u without it; w = 0: no guidance
    DDPM   x <- mean(x_0, x_t) + sqrt(var) z         a noisy step back, drawn from q(x_s | x_t, x_0)
    DDIM   x <- sqrt(ā_s) x_0 + sqrt(1 - ā_s - σ²) e + σ z,   σ = eta · sqrt(var)

Both first ask the network for x_0, and then go back to the noise level s of an earlier step. DDIM with eta = 0 draws
nothing on its way: one noise, one picture, and far fewer steps will do; with eta = 1 it is DDPM.

Book: 14.3.1 diffusion. Papers: Ho et al. 2020; Song et al. 2021 (DDIM); Ho and Salimans 2021 (guidance; diffusers'
guidance_scale is 1 + w). One step is held against diffusers' DDPMScheduler and DDIMScheduler. Left out: dynamic
thresholds, higher-order solvers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from minillm._checks import check_flag, check_int, check_number, describe
from minillm.models.noise_schedule import NoiseSchedule, check_same

Denoiser = Callable[..., Tensor]


def guided(model: Denoiser, x: Tensor, t: int, condition: Tensor | None, w: float) -> Tensor:
    """What the network says, pushed away from what it would say without the wish. One pass for both halves."""
    if condition is None:
        return model(x, t)
    if w == 0:
        return model(x, t, condition)
    drop = torch.arange(2 * len(x), device=x.device) >= len(x)
    c, u = model(torch.cat([x, x]), t, torch.cat([condition, condition]), drop).chunk(2)
    # said = c + w (c - u)
    return c + w * (c - u)


def ddpm_step(
    schedule: NoiseSchedule, xt: Tensor, said: Tensor, t: int, s: int | None, z: Tensor, clip: bool = True
) -> Tensor:
    """x_s from x_t, with fresh noise z. s: the step to go to, None for the clean picture, which takes no noise."""
    check_back(t, s)
    left, left_s = schedule.alpha_bar_at(t), schedule.alpha_bar_at(s)
    x0, _ = schedule.clean_and_noise(xt, said, t)
    x0 = x0.clamp(-1, 1) if clip else x0
    # q(x_s | x_t, x_0): a = ā_t / ā_s is what the step keeps, 1 - a the noise that it had added
    kept = left / left_s
    mean = left_s**0.5 * (1 - kept) / (1 - left) * x0 + kept**0.5 * (1 - left_s) / (1 - left) * xt
    variance = (1 - left_s) / (1 - left) * (1 - kept)
    return mean if s is None else mean + max(variance, 1e-20) ** 0.5 * z


def ddim_step(
    schedule: NoiseSchedule,
    xt: Tensor,
    said: Tensor,
    t: int,
    s: int | None,
    eta: float = 0.0,
    z: Tensor | None = None,
    clip: bool = True,
    renoise: bool = True,
) -> Tensor:
    """x_s from x_t: the same x_0 and the same noise e, mixed at the noise level of s. z: fresh noise for eta > 0.

    renoise: after clipping, take the noise that goes with the clipped picture (diffusers' use_clipped_model_output,
    there off): guidance pushes x_0 outside -1..1, and 25 steps with noise that does not fit spoil the picture.
    """
    check_back(t, s)
    check_number("eta", eta, 0, 1)
    if eta and s is not None and z is None:
        raise ValueError("eta > 0 draws noise anew: z must be given")
    left, left_s = schedule.alpha_bar_at(t), schedule.alpha_bar_at(s)
    x0, noise = schedule.clean_and_noise(xt, said, t)
    if clip:
        x0, fitting = clipped(xt, x0, left)
        noise = fitting if renoise else noise
    return step_back(x0, noise, left, left_s, eta, z)


def check_back(t: int, s: int | None) -> None:
    """ValueError unless s is a cleaner step than t, or None."""
    if s is not None and check_int("s", s, 0) >= check_int("t", t, 0):
        raise ValueError(f"s must be a step before t = {t}, or None for the clean picture, got {s}")


def clipped(xt: Tensor, x0: Tensor, left: float) -> tuple[Tensor, Tensor]:
    """x_0 within -1..1, and the noise that makes x_t of it; left: ā of x_t."""
    x0 = x0.clamp(-1, 1)
    return x0, (xt - left**0.5 * x0) / (1 - left) ** 0.5


def step_back(x0: Tensor, noise: Tensor, left: float, left_s: float, eta: float, z: Tensor | None) -> Tensor:
    """The picture at ā = left_s, from what was found at ā = left; eta: the share of noise that is drawn anew."""
    variance = (1 - left_s) / (1 - left) * (1 - left / left_s)
    sigma = eta * variance**0.5
    x = left_s**0.5 * x0 + max(1 - left_s - sigma**2, 0.0) ** 0.5 * noise
    return x if sigma == 0 else x + sigma * z


@torch.no_grad()
def ddim_sample(
    model: Denoiser,
    schedule: NoiseSchedule,
    shape: Sequence[int],
    steps: int = 25,
    guidance: float = 0.0,
    seed: int = 0,
    condition: Tensor | None = None,
    eta: float = 0.0,
    noise: Tensor | None = None,
    clip: bool = True,
    spacing: str = "trailing",
    watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Pictures of `shape` (B, C, S, S) in -1..1, or vectors (B, D), by `steps` steps of DDIM.

    noise: the pictures' x_T instead of a draw from `seed`. watch(t, x) is called with every x on the way. A network in
    training mode is used as it is. ValueError for a wrong shape, steps, guidance < 0 or eta outside 0..1.
    """
    check_number("eta", eta, 0, 1)
    x, path, generator = _begin(schedule, shape, steps, guidance, seed, condition, noise, clip, spacing)
    for t, s in path:
        said = guided(model, x, t, condition, guidance)
        z = _draw(x.shape, generator, x) if eta and s is not None else None
        x = ddim_step(schedule, x, said, t, s, eta, z, clip)
        if watch:
            watch(t, x)
    return x


@torch.no_grad()
def ddpm_sample(
    model: Denoiser,
    schedule: NoiseSchedule,
    shape: Sequence[int],
    steps: int | None = None,
    guidance: float = 0.0,
    seed: int = 0,
    condition: Tensor | None = None,
    noise: Tensor | None = None,
    clip: bool = True,
    spacing: str = "trailing",
    watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """As `ddim_sample`, by the ancestral chain. steps: all of the schedule's if None."""
    steps = schedule.steps if steps is None else steps
    x, path, generator = _begin(schedule, shape, steps, guidance, seed, condition, noise, clip, spacing)
    for t, s in path:
        said = guided(model, x, t, condition, guidance)
        x = ddpm_step(schedule, x, said, t, s, _draw(x.shape, generator, x), clip)
        if watch:
            watch(t, x)
    return x


def _begin(
    schedule: NoiseSchedule,
    shape: Sequence[int],
    steps: int,
    guidance: float,
    seed: int,
    condition: Tensor | None,
    noise: Tensor | None,
    clip: bool,
    spacing: str,
) -> tuple[Tensor, list[tuple[int, int | None]], torch.Generator]:
    """(first noise, [(t, s), ...], generator), everything checked."""
    if not isinstance(schedule, NoiseSchedule):
        raise ValueError(f"schedule must be a NoiseSchedule, got {describe(schedule)}")
    if not isinstance(shape, (tuple, list, torch.Size)) or len(shape) not in (2, 4):
        raise ValueError(f"shape must be (B, C, H, W), or (B, D) of vectors, got {describe(shape)}")
    shape = tuple(check_int("each of shape", one, 1) for one in shape)
    check_number("guidance", guidance, 0)
    check_flag("clip", clip)
    times = schedule.timesteps(steps, spacing)
    if condition is not None and (not isinstance(condition, Tensor) or len(condition) != shape[0]):
        raise ValueError(f"condition must have {shape[0]} rows, got {describe(condition)}")
    if guidance and condition is None:
        raise ValueError("guidance needs a condition to be guided to, got None")
    generator = torch.Generator().manual_seed(check_int("seed", seed, 0))
    like = torch.zeros((), device=None if condition is None else condition.device)
    if noise is None:
        noise = _draw(shape, generator, like)
    elif not isinstance(noise, Tensor) or tuple(noise.shape) != shape or not noise.is_floating_point():
        raise ValueError(f"noise must be floats of shape {shape}, got {describe(noise)}")
    return noise, list(zip(times, [*times[1:], None], strict=True)), generator


def _draw(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(shape, generator=generator).to(
        like.device
    )  # drawn on the CPU: the same on every device


def mix_noise(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The noise `share` of the way from a to b along the sphere (slerp): a walk in the latent space.

    a, b: floats of one shape, each taken as one vector. A straight mix of two Gaussians is too short for its dimension,
    and the network has never seen such a noise. ValueError for noises of other shapes, of length 0, or opposite ones.
    """
    check_number("share", share, 0, 1)
    check_same("b", b, check_same("a", a, a))
    if not 0 < float(a.norm() * b.norm()) < float("inf"):
        raise ValueError("a noise must have a length above 0, and be finite: it has no direction")
    cosine = torch.dot(a.flatten(), b.flatten()) / (a.norm() * b.norm())
    angle = torch.arccos(cosine.clamp(-1, 1))
    if float(angle) < 1e-4:
        return torch.lerp(a, b, share)
    if float(angle) > torch.pi - 1e-3:
        raise ValueError("the two noises are opposite: no way between them is the shortest")
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
