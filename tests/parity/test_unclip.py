"""The prior's chain over vectors against diffusers: its DDIM steps, and the steps of the peer's own UnCLIPScheduler."""

import pytest
import torch

from minillm.inference import ddim_step, ddpm_step, prior_schedule

diffusers = pytest.importorskip("diffusers", reason="held against diffusers: pip install -e '.[parity]'")


def test_ddim_steps_of_vectors():
    theirs = diffusers.DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False,
        timestep_spacing="trailing", set_alpha_to_one=True,
    )  # fmt: skip
    theirs.set_timesteps(10)
    ours, generator = prior_schedule(), torch.Generator().manual_seed(0)
    times = ours.timesteps(10)
    assert times == theirs.timesteps.tolist()
    for t, s in zip(times, [*times[1:], None], strict=True):
        x, said = torch.randn(2, 5, 64, generator=generator).unbind(0)
        want = theirs.step(said, t, x, eta=0.0).prev_sample
        torch.testing.assert_close(ddim_step(ours, x, said, t, s, clip=False), want, atol=2e-4, rtol=1e-3)


def test_ancestral_steps_are_those_of_the_unclip_scheduler():
    theirs = diffusers.UnCLIPScheduler(prediction_type="sample", clip_sample=False)
    ours, generator = prior_schedule(), torch.Generator().manual_seed(0)
    tried = 0
    for t in (900, 500, 100, 3):
        x, said = torch.randn(2, 5, 64, generator=generator).unbind(0)
        want = theirs.step(
            said, t, x, prev_timestep=t - 1, generator=torch.Generator().manual_seed(t)
        ).prev_sample
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(t))
        torch.testing.assert_close(
            ddpm_step(ours, x, said, t, t - 1, z, clip=False), want, atol=1e-4, rtol=1e-3
        )
        tried += 1
    assert tried == 4
