"""Trains the course's diffusion model on scenes of 16 pixels, and has the analytic oracle read what it draws.

    python -m tests.benchmarks.diffusion_quality --folder build/diffusion                 all 45,018 steps
    python -m tests.benchmarks.diffusion_quality --folder build/diffusion --until 3000    a prefix; again to go on
    python -m tests.benchmarks.diffusion_quality --folder build/diffusion --final         500 fresh wishes a figure

The folder holds state.pt (all that is needed to go on), model.safetensors (the smoothed weights, float16) and
curve.json: the oracle's figures by step, n, seed, and the CPU seconds that training took. Pictures that are trained
on hold none of the 12 held-out pairs of colour and shape; wishes for those pairs are counted apart.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minillm._files import replace_whole, write_json
from minillm.course.small.diffusion import (
    ATTRIBUTES,
    PIXELS,
    STEPS,
    attributes_right,
    draw_wishes,
    new_trainer,
    wishes,
)
from minillm.data import scenes
from minillm.evaluation import paired, wilson_interval
from minillm.models import UNet


def shares(hits: Tensor) -> dict[str, float | int]:
    """The share of each attribute, of all four together, and n."""
    found = {name: round(float(hits[:, a].float().mean()), 4) for a, name in enumerate(ATTRIBUTES)}
    return found | {"all": round(float(hits.all(1).float().mean()), 4), "n": len(hits)}


def figures(model: UNet, n: int, weights: Sequence[float] = (0.0, 1.0)) -> dict[str, Any]:
    """The oracle's figures of n pictures for each guidance and split; the wishes are not those of training."""
    found = {}
    for split in ("train", "held_out"):
        wish = wishes(scenes(n, size=PIXELS, seed=9001, split=split))
        found |= {
            f"{split}, w={w:g}": shares(attributes_right(draw_wishes(model, wish, w).numpy(), wish))
            for w in weights
        }
    return found


def final(folder: Path, n: int = 500, seed: int = 90_210) -> dict[str, Any]:
    """The figures of the kept weights, on wishes of a seed that stands nowhere else; intervals of 95 % (Wilson)."""
    model, found = UNet.load(folder / "model.safetensors"), {"n": n, "seed": seed}
    for split in ("train", "held_out"):
        wish = wishes(scenes(n, size=PIXELS, seed=seed, split=split))
        hits = {w: attributes_right(draw_wishes(model, wish, w, seed=seed).numpy(), wish) for w in (0.0, 1.0)}
        for w, one in hits.items():
            ends = [round(end, 4) for end in wilson_interval(int(one.all(1).sum()), n)]
            found[f"{split}, w={w:g}"] = shares(one) | {"interval of all": ends}
        # the same wishes and the same noise: each is a pair
        found[f"{split}, w=1 against w=0"] = str(paired(hits[1.0].all(1).tolist(), hits[0.0].all(1).tolist()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--until", type=int, default=None)
    parser.add_argument("--every", type=int, default=1000)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--final", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.final:
        curve = json.loads((asked.folder / "curve.json").read_text()) | {"kept": final(asked.folder)}
        print(json.dumps(curve["kept"], indent=1))
        write_json(asked.folder / "curve.json", curve)
        return
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
        curve["first losses"] = [round(loss, 5) for loss in trainer.losses[:8]]
        curve["by step"][str(trainer.step)] = row | figures(trainer.ema.model, asked.n)
        print(trainer.step, curve["by step"][str(trainer.step)], flush=True)
        whole = {"trainer": trainer.state_dict(), "curve": curve}
        replace_whole(state, lambda path, whole=whole: torch.save(whole, path))
        trainer.ema.model.save(asked.folder / "model.safetensors")
        write_json(asked.folder / "curve.json", curve)


if __name__ == "__main__":
    main()
