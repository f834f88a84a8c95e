"""The U-Net of the diffusion lessons against diffusers' UNet2DModel of the same size: a training step, and sampling.

    step      32 pictures of 16 x 16: v-prediction loss, backward, clipping, AdamW (torch's, fused, on both sides)
    sampling  32 pictures by 25 steps of DDIM, no guidance: ours with our scheduler, theirs with theirs

Float32, one thread. Both fold 2 x 2 pixels into channels first, have two resolutions, attention on the lower one, and
no wish. Their blocks are built otherwise (two in each of the two ways up), so their widths are the ones whose number of
weights is nearest to ours; both numbers stand in the row.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm.inference import NoiseSchedule, ddim_sample
from minillm.models import UNet, UNetConfig
from minillm.training import diffusion_loss
from tests.benchmarks.harness import Row, in_turn, peer_or_none

WIDTHS = (
    (16, 24),
    (24, 32),
    (24, 40),
    (32, 40),
    (32, 48),
    (32, 64),
)  # of theirs, the nearest to ours is taken


def weights(model: nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())


class Folded(nn.Module):
    """Their U-Net behind the same folding of pixels as ours."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, t: Any, condition: None = None, drop: None = None) -> Tensor:
        return F.pixel_shuffle(self.inner(F.pixel_unshuffle(x, 2), t).sample, 2)


def peer_of(size: int, diffusers: Any) -> nn.Module:
    """Their U-Net whose number of weights is nearest to `size`."""
    made = [
        diffusers.UNet2DModel(
            sample_size=8, in_channels=12, out_channels=12, layers_per_block=1, block_out_channels=widths,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=8, norm_num_groups=8,
        )
        for widths in WIDTHS
    ]  # fmt: skip
    return Folded(min(made, key=lambda one: abs(weights(one) - size)))


def stepper(model: nn.Module, x0: Tensor) -> Callable[[], Tensor]:
    """A function that makes one training step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    schedule, generator = NoiseSchedule(), torch.Generator().manual_seed(0)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = diffusion_loss(model, schedule, x0, None, generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


def sampler(model: nn.Module, diffusers: Any, noise: Tensor, steps: int) -> Callable[[], Tensor]:
    """Their loop around their scheduler, as their pipelines write it."""
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)

    @torch.no_grad()
    def sample() -> Tensor:
        x = noise
        for t in scheduler.timesteps:
            x = scheduler.step(model(x, t), t, x, eta=0.0, use_clipped_model_output=True).prev_sample
        return x

    return sample


def run(quick: bool) -> list[Row]:
    """One row for a training step, one for sampling."""
    torch.set_num_threads(1)
    diffusers = peer_or_none("diffusers")
    ours = UNet(UNetConfig(time_width=32))
    batch, steps = (4, 3) if quick else (32, 25)
    noise = torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    calls: dict[str, dict[str, Callable]] = {
        "sampling": {
            "ours": lambda: ddim_sample(ours.eval(), NoiseSchedule(), noise.shape, steps, noise=noise)
        },
        "training step": {"ours": stepper(ours, noise.clamp(-1, 1))},
    }
    sizes = f"{weights(ours) / 1e3:.0f}k weights"
    if diffusers:
        theirs = peer_of(weights(ours), diffusers)
        sizes += f" (theirs {weights(theirs) / 1e3:.0f}k)"
        calls["sampling"]["theirs"] = sampler(theirs.eval(), diffusers, noise, steps)
        calls["training step"]["theirs"] = stepper(theirs, noise.clamp(-1, 1))
    rows = []
    for work, sides in calls.items():
        times = in_turn(sides, rounds=3 if quick else 9)
        how = f", {steps} DDIM steps" if work == "sampling" else ""
        rows.append(
            Row(
                work=f"U-Net {work}, {batch} pictures of 16 px{how}, {sizes}", peer="diffusers", unit="pictures/s",
                ours=batch / times["ours"], theirs=batch / times["theirs"] if diffusers else None, target=1.0,
                spread=times.spread("theirs"),
            )
        )  # fmt: skip
    return rows
