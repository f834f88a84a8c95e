"""The diffusion model of the course: its recipe, the weights that the recipe made, and the oracle's marks.

    small_diffusion()          the kept weights (float16, .4 MB), a U-Net whose wishes are four attribute numbers
    new_trainer()              the same from step 0: tests/benchmarks/diffusion_quality.py runs it, stops and goes on

A wish is a row (colour, shape, size, background) of numbers, places in the lists of `ATTRIBUTES`. What a model draws is
read back by the analytic oracle (minillm.data.scenes_reader), attribute by attribute. Beside the weights lies
curve.json: the oracle's figures by step, n, seed, CPU seconds.

Book: 14.3.1 diffusion. Left out: several objects in a picture, texts as wishes (14_3b).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import minillm.data
from minillm.data.scenes import BACKGROUNDS, COLOURS, SHAPES, SIZES, Scenes, scenes
from minillm.data.scenes_reader import read_scenes
from minillm.inference import NoiseSchedule, ddim_sample
from minillm.models import UNet, UNetConfig
from minillm.training import DiffusionTrainer

PIXELS = 16
STEPS = 45_018
ATTRIBUTES = {"colour": COLOURS, "shape": SHAPES, "size": SIZES, "background": BACKGROUNDS}
DIFFUSION = Path(minillm.data.__file__).with_name("scenes_diffusion")


def small_diffusion() -> UNet:
    """The kept model, ready to draw; BadFileError if its file is damaged."""
    return UNet.load(DIFFUSION / "model.safetensors").eval().requires_grad_(False)


def wishes(world: Scenes) -> Tensor:
    """What each picture of one object shows, as numbers (N, 4): colour, shape, size, background."""
    rows = [(world.objects[i][0], world.backgrounds[i]) for i in range(len(world))]
    named = [(one.colour, one.shape, one.size, background) for one, background in rows]
    return torch.tensor(
        [[list(ATTRIBUTES.values())[a].index(v) for a, v in enumerate(row)] for row in named]
    ).reshape(-1, 4)


def attributes_right(pictures: Any, wish: Tensor) -> Tensor:
    """Which attributes (N, 4) of pictures (N, 3, S, S) in 0..1 the oracle reads as they were wished."""
    answers = []
    for scene in read_scenes(pictures, objects=1):
        one = scene.objects[0] if scene.objects else None
        said = (one.colour, one.shape, one.size, scene.background) if one else ("", "", "", scene.background)
        answers.append(
            [names.index(v) if v in names else -1 for names, v in zip(ATTRIBUTES.values(), said, strict=True)]
        )
    return torch.tensor(answers).reshape(-1, 4) == wish


def draw_wishes(
    model: UNet, wish: Tensor, guidance: float = 1.0, steps: int = 25, seed: int = 7, pixels: int = PIXELS
) -> Tensor:
    """Pictures in 0..1 (N, 3, S, S), one a wish, by DDIM."""
    x = ddim_sample(model, NoiseSchedule(), (len(wish), 3, pixels, pixels), steps, guidance, seed, wish)
    return (x / 2 + 0.5).clamp(0, 1)


def taught_world(seed: int = 0, pictures: int = 20_000) -> Scenes:
    """The scenes that the recipe trains on."""
    return scenes(pictures, size=PIXELS, seed=seed, split="train")


def new_trainer(seed: int = 0, pictures: int = 20_000, steps: int = STEPS) -> DiffusionTrainer:
    """The recipe: v-prediction, cosine noise, AdamW 3e-3 down a cosine, batches of 32, a smoothed copy of .99."""
    world = taught_world(seed, pictures)
    model = UNet(UNetConfig(time_width=32, classes=tuple(map(len, ATTRIBUTES.values()))), seed=seed)
    return DiffusionTrainer(
        model, NoiseSchedule(), torch.as_tensor(world.images), wishes(world), max_steps=steps, seed=seed
    )
