"""Trains the course's DALL-E 2 in small, and has the analytic oracle read what it draws.

    python -m tests.benchmarks.unclip_quality --folder build/unclip                prior, decoder, direct decoder
    python -m tests.benchmarks.unclip_quality --folder build/unclip --until 2000   a prefix; again to go on
    python -m tests.benchmarks.unclip_quality --folder build/unclip --final        every figure, on scenes never seen

The folder holds prior, decoder and direct decoder (.safetensors, smoothed weights, float16), a state of each decoder
from which training goes on, and curve.json: losses by step, the oracle's figures, n, seeds, CPU seconds. No picture of
the exam is trained on here (what lesson 14_3's U-Net and CLIP saw before is counted), and none of the 12 held-out pairs
of colour and shape by any network; those have figures of their own.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from minillm._files import replace_whole, write_json
from minillm.course.small.clip import small_clip
from minillm.course.small.unclip import (
    KINDS,
    PICTURES,
    PRIOR_STEPS,
    STEPS,
    Pairs,
    SmallUnCLIP,
    as_pairs,
    exam,
    linear_map,
    new_decoder_trainer,
    new_prior_trainer,
    training_pairs,
)
from minillm.data import held_out_pairs, prove_held_out
from minillm.models import DiffusionPrior, UNet
from tests.benchmarks.unclip_figures import (
    blend_figures,
    edit_figures,
    embedding_figures,
    reading_figures,
    same_text_cosine,
    seen_before_figures,
    short_figures,
    train_networks,
    variation_figures,
    way_figures,
)


def train_decoder(kind: str, pairs: Pairs, folder: Path, curve: dict[str, Any], options: Any) -> None:
    """A decoder up to step `until`, from where the folder's state stands."""
    state, trainer = folder / f"{kind}.pt", new_decoder_trainer(kind, pairs, options.seed, options.steps)
    row = curve.setdefault(kind, {"seconds": 0.0, "by step": {}})
    if state.exists():
        trainer.load_state_dict(torch.load(state, weights_only=True))
    last = min(options.until or options.steps, options.steps)
    while trainer.step < last:
        started = time.process_time()
        losses = trainer.run(min(options.every, last - trainer.step))
        row["seconds"] = round(row["seconds"] + time.process_time() - started, 1)
        row["first losses"] = [round(loss, 5) for loss in trainer.losses[:8]]
        row["by step"][str(trainer.step)] = round(sum(losses) / len(losses), 4)
        print(kind, trainer.step, row["by step"][str(trainer.step)], row["seconds"], flush=True)
        replace_whole(state, lambda path: torch.save(trainer.state_dict(), path))
        trainer.ema.model.save(folder / f"{kind}.safetensors")
        write_json(folder / "curve.json", curve)


def train_prior(pairs: Pairs, folder: Path, curve: dict[str, Any], seed: int) -> None:
    """The whole prior: it takes seconds."""
    started, trainer = time.process_time(), new_prior_trainer(pairs, seed)
    losses = trainer.run(PRIOR_STEPS)
    trainer.ema.model.save(folder / "prior.safetensors")
    every = PRIOR_STEPS // 20
    curve["prior"] = {
        "seconds": round(time.process_time() - started, 1), "steps": PRIOR_STEPS,
        "first losses": [round(loss, 5) for loss in losses[:8]],
        "by step": {str(i + every): round(sum(losses[i : i + every]) / every, 4)
                    for i in range(0, PRIOR_STEPS, every)},
    }  # fmt: skip
    write_json(folder / "curve.json", curve)


def final(folder: Path, n: int = 400) -> dict[str, Any]:
    """Everything, on scenes that no network was trained on."""
    clip, learned = small_clip(), training_pairs(small_clip())
    kept = [UNet.load(folder / f"{kind}.safetensors").eval() for kind in KINDS]
    unclip = SmallUnCLIP(DiffusionPrior.load(folder / "prior.safetensors").eval(), *kept, {})
    networks, linear = train_networks(learned), linear_map(learned)
    regression = networks[0][1]
    known, new = exam(n), exam(n, "held_out")
    seen = {(one.colour, one.shape) for (one,) in learned.world.objects}
    proofs = [prove_held_out(set(known.fingerprints), set(learned.world.fingerprints), what="picture"),
              prove_held_out(held_out_pairs(), seen, what="pair of colour and shape")]  # fmt: skip
    asked = {"known pairs": as_pairs(clip, known, known.captions),
             "pairs never seen": as_pairs(clip, new, new.captions),
             "known pairs, Korean": as_pairs(clip, known, known.captions_ko)}  # fmt: skip
    figures: dict[str, Any] = {"n": n, "proofs": list(map(str, proofs)), "embeddings": {}, "ways": {}}
    for name, one in asked.items():
        figures["embeddings"][name] = embedding_figures(networks, linear, one)
        figures["ways"][name] = way_figures(unclip, (regression, linear), one, name == "known pairs")
        print(name, json.dumps({k: figures[k][name] for k in ("embeddings", "ways")}, indent=1), flush=True)
    figures["seen before"] = seen_before_figures(clip, unclip, (regression, linear), asked["known pairs"])
    for name in ("known pairs", "pairs never seen"):
        figures.setdefault("CLIP reads", {})[name] = reading_figures(clip, asked[name])
    figures["two pictures of one text"] = same_text_cosine(clip)
    figures["variations"] = variation_figures(unclip, asked["known pairs"])
    figures["blends"] = blend_figures(unclip, asked["known pairs"])
    figures["edits"] = edit_figures(clip, unclip, asked["known pairs"])
    figures["short texts"] = short_figures(clip, unclip, regression)
    print(json.dumps({k: v for k, v in figures.items() if k not in ("embeddings", "ways")}, indent=1))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--until", type=int, default=None)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--final", action="store_true")
    parser.add_argument("--n", type=int, default=400)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.folder.mkdir(parents=True, exist_ok=True)
    place = asked.folder / "curve.json"
    start = {"seed": asked.seed, "steps": asked.steps, "pictures": asked.pictures}
    curve = json.loads(place.read_text()) if place.exists() else start
    if {name: curve[name] for name in start} != start:
        raise SystemExit("the folder holds another run: choose an empty one")
    if asked.final:
        write_json(place, curve | {"kept": final(asked.folder, asked.n)})
        return
    pairs = training_pairs(small_clip(), asked.pictures, asked.seed)
    if "prior" not in curve:
        train_prior(pairs, asked.folder, curve, asked.seed)
    for kind in KINDS:
        train_decoder(kind, pairs, asked.folder, curve, asked)


if __name__ == "__main__":
    main()
