"""Noise schedules and single steps against diffusers' DDPMScheduler and DDIMScheduler."""

import pytest
import torch

from minillm.inference import NoiseSchedule, ddim_step, ddpm_step

diffusers = pytest.importorskip("diffusers", reason="held against diffusers: pip install -e '.[parity]'")

NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
KINDS = ["linear", "scaled_linear", "squaredcos_cap_v2"]


def pair(peer, kind, prediction, clip=True, spacing="leading", steps=1000):
    """Our schedule and the peer's."""
    names = {"beta_schedule": kind, "prediction_type": NAMES[prediction], "timestep_spacing": spacing}
    theirs = peer(num_train_timesteps=steps, beta_start=1e-3, beta_end=0.02, clip_sample=clip, **names)
    return NoiseSchedule(kind, steps, NAMES[prediction], 1e-3, 0.02), theirs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [2, 37, 1000])
def test_schedules(kind, steps):
    ours, theirs = pair(diffusers.DDPMScheduler, kind, "eps", steps=steps)
    assert torch.equal(ours.betas, theirs.betas)
    torch.testing.assert_close(ours.alpha_bar, theirs.alphas_cumprod)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_and_velocity(kind):
    ours, theirs = pair(diffusers.DDPMScheduler, kind, "v")
    x0, noise = torch.randn(2, 5, 3, 4, 4, generator=torch.Generator().manual_seed(0)).unbind(0)
    t = torch.tensor([0, 10, 400, 800, 999])
    torch.testing.assert_close(
        ours.add_noise(x0, noise, t), theirs.add_noise(x0, noise, t), atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(
        ours.target(x0, noise, t), theirs.get_velocity(x0, noise, t), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("count", [1, 7, 10, 25, 999])
def test_timesteps(spacing, count):
    ours, theirs = pair(diffusers.DDIMScheduler, "linear", "eps", spacing=spacing)
    theirs.set_timesteps(count)
    assert ours.timesteps(count, spacing) == theirs.timesteps.tolist()


def chain(ours, theirs, count, spacing, seed=0):
    """(x, said, t, s) of every step of a chain."""
    generator = torch.Generator().manual_seed(seed)
    theirs.set_timesteps(count)
    times = ours.timesteps(count, spacing)
    for t, s in zip(times, [*times[1:], None], strict=True):
        x, said = torch.randn(2, 2, 3, 4, 4, generator=generator).unbind(0)
        yield x, said, t, s


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prediction", list(NAMES))
@pytest.mark.parametrize("clip", [True, False])
def test_one_step_of_ddpm(kind, prediction, clip):
    ours, theirs = pair(diffusers.DDPMScheduler, kind, prediction, clip, "trailing")
    for x, said, t, s in chain(ours, theirs, 10, "trailing"):
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(t))
        want = theirs.step(said, t, x, generator=torch.Generator().manual_seed(t)).prev_sample
        torch.testing.assert_close(ddpm_step(ours, x, said, t, s, z, clip), want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prediction", list(NAMES))
@pytest.mark.parametrize(("clip", "eta"), [(True, 0.0), (False, 0.0), (True, 0.6), (False, 1.0)])
@pytest.mark.parametrize("renoise", [True, False])
def test_one_step_of_ddim(kind, prediction, clip, eta, renoise):
    ours, theirs = pair(diffusers.DDIMScheduler, kind, prediction, clip, "trailing")
    for x, said, t, s in chain(ours, theirs, 10, "trailing"):
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(t))
        want = theirs.step(said, t, x, eta, renoise, variance_noise=z).prev_sample
        torch.testing.assert_close(
            ddim_step(ours, x, said, t, s, eta, z, clip, renoise), want, atol=1e-4, rtol=1e-4
        )
