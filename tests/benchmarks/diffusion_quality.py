"""Trains the course's diffusion model on scenes of 16 pixels, and has the analytic oracle read what it draws.

    python -m tests.benchmarks.diffusion_quality --folder build/diffusion                 all 45,018 steps
    python -m tests.benchmarks.diffusion_quality --folder build/diffusion --until 3000    a prefix; again to go on

The folder holds state.pt (all that is needed to go on), model.safetensors (the smoothed weights, float16) and
curve.json: the oracle's figures by step, n, seed, and the CPU seconds that training took. Pictures that are trained
on hold none of the 12 held-out pairs of colour and shape; wishes for those pairs are counted apart.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minillm._files import replace_whole, write_json
from minillm.data.scenes import BACKGROUNDS, COLOURS, SHAPES, SIZES, Scenes, scenes
from minillm.data.scenes_reader import read_scenes
from minillm.inference import NoiseSchedule, ddim_sample
from minillm.models import UNet, UNetConfig
from minillm.training import DiffusionTrainer

PIXELS = 16
ATTRIBUTES = {"colour": COLOURS, "shape": SHAPES, "size": SIZES, "background": BACKGROUNDS}
STEPS = 45_018


def wishes(world: Scenes) -> Tensor:
    """What each picture of one object shows, as numbers (N, 4): colour, shape, size, background."""
    rows = [(world.objects[i][0], world.backgrounds[i]) for i in range(len(world))]
    named = [(one.colour, one.shape, one.size, background) for one, background in rows]
    return torch.tensor([[list(ATTRIBUTES.values())[a].index(v) for a, v in enumerate(row)] for row in named])


def right(pictures: Any, wish: Tensor) -> Tensor:
    """Which attributes (N, 4) of pictures in 0..1 the oracle reads as they were wished."""
    answers = []
    for scene in read_scenes(pictures, objects=1):
        one = scene.objects[0] if scene.objects else None
        said = (one.colour, one.shape, one.size, scene.background) if one else ("", "", "", scene.background)
        answers.append(
            [v in names and names.index(v) for names, v in zip(ATTRIBUTES.values(), said, strict=True)]
        )
    known = [[a is not False for a in row] for row in answers]
    return (torch.tensor([[int(a) for a in row] for row in answers]) == wish) & torch.tensor(known)


def shares(hits: Tensor) -> dict[str, float | int]:
    """The share of each attribute, of all four together, and n."""
    found = {name: round(float(hits[:, a].float().mean()), 4) for a, name in enumerate(ATTRIBUTES)}
    return found | {"all": round(float(hits.all(1).float().mean()), 4), "n": len(hits)}


def drawn(model: UNet, wish: Tensor, guidance: float, steps: int = 25, seed: int = 7) -> Tensor:
    """Pictures in 0..1, one a wish."""
    x = ddim_sample(model, NoiseSchedule(), (len(wish), 3, PIXELS, PIXELS), steps, guidance, seed, wish)
    return (x / 2 + 0.5).clamp(0, 1)


def figures(model: UNet, n: int, weights: Sequence[float] = (0.0, 1.0)) -> dict[str, Any]:
    """The oracle's figures of n pictures for each guidance and split; the wishes are not those of training."""
    found = {}
    for split in ("train", "held_out"):
        wish = wishes(scenes(n, size=PIXELS, seed=9001, split=split))
        found |= {f"{split}, w={w:g}": shares(right(drawn(model, wish, w).numpy(), wish)) for w in weights}
    return found


def new_trainer(seed: int = 0, pictures: int = 20_000, steps: int = STEPS) -> DiffusionTrainer:
    """The recipe: v-prediction, cosine noise, AdamW 3e-3 down a cosine, batches of 32, a smoothed copy of .99."""
    world = scenes(pictures, size=PIXELS, seed=seed, split="train")
    model = UNet(UNetConfig(time_width=32, classes=tuple(map(len, ATTRIBUTES.values()))), seed=seed)
    return DiffusionTrainer(
        model, NoiseSchedule(), torch.as_tensor(world.images), wishes(world), max_steps=steps, seed=seed
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--until", type=int, default=None)
    parser.add_argument("--every", type=int, default=1000)
    parser.add_argument("--n", type=int, default=200)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.folder.mkdir(parents=True, exist_ok=True)
    state, trainer = asked.folder / "state.pt", new_trainer(asked.seed, steps=asked.steps)
    curve: dict[str, Any] = {"seed": asked.seed, "steps": asked.steps, "seconds": 0.0, "by step": {}}
    if state.exists():
        kept = torch.load(state, weights_only=True)
        if kept["curve"]["seed"] != asked.seed or kept["curve"]["steps"] != asked.steps:
            raise SystemExit("the folder holds another run: choose an empty one")
        trainer.load_state_dict(kept["trainer"])
        curve = kept["curve"]
    last = min(asked.until or asked.steps, asked.steps)
    while trainer.step < last:
        started = time.process_time()
        losses = trainer.run(min(asked.every, last - trainer.step))
        curve["seconds"] = round(curve["seconds"] + time.process_time() - started, 1)
        row = {"loss": round(sum(losses) / len(losses), 4), "seconds": curve["seconds"]}
        curve["by step"][str(trainer.step)] = row | figures(trainer.ema.model, asked.n)
        print(trainer.step, curve["by step"][str(trainer.step)], flush=True)
        whole = {"trainer": trainer.state_dict(), "curve": curve}
        replace_whole(state, lambda path, whole=whole: torch.save(whole, path))
        trainer.ema.model.save(asked.folder / "model.safetensors")
        write_json(asked.folder / "curve.json", curve)


if __name__ == "__main__":
    main()
