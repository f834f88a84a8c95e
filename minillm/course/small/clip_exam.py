"""The examination of the small CLIP, and the command that makes it.

    python -m minillm.course.small.clip_exam --write        train it (four minutes of a core), replace the kept weights
    python -m minillm.course.small.clip_exam --seeds 1 2    train others, and keep their figures beside it

    R@k  =  the share of pictures whose own caption is among the k nearest of all, and of captions likewise

No picture of an examination was trained on, pixel by pixel, and no two have the same whole caption. Pictures of the
held-out pairs of colour and shape are asked for among others of taught ones. Book: 14.2, 12.5.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from minillm._files import write_json
from minillm.course.small.clip import (
    RECIPE,
    WEIGHTS,
    CLIPRecipe,
    SmallCLIP,
    as_pixels,
    make_pairs,
    new_clip,
    small_clip,
    train_clip,
    world,
)
from minillm.course.small.recipe import one_thread
from minillm.data import Scenes, caption, prove_held_out, scenes
from minillm.data.scenes_partial import partial_caption
from minillm.models import CLIP, caption_vectors, picture_vectors
from minillm.tokenizer import BPETokenizer


@cache
def taught(recipe: CLIPRecipe = RECIPE) -> frozenset[bytes]:
    """The fingerprints of all pictures that the recipe trains on."""
    return frozenset(world(recipe.pictures, 1 + recipe.seed).fingerprints)


def distinct(n: int, split: str, seed: int, recipe: CLIPRecipe = RECIPE) -> Scenes:
    """n scenes of one thing on a 2 x 2 board: no two with the same whole caption, no picture that was trained on."""
    drawn, seen, keep = scenes(12 * n, 32, seed, 1, 2, split=split).without(taught(recipe)), set(), []
    for i, ((one,), background) in enumerate(zip(drawn.objects, drawn.backgrounds)):
        what = caption([one], background)
        if what not in seen and len(keep) < n:
            seen.add(what), keep.append(i)
    if len(keep) < n:
        raise ValueError(
            f"n must be at most the {len(keep)} different scenes of {split!r} that were drawn, got {n}"
        )
    return drawn[keep]


def ranks(u: NDArray, v: NDArray) -> NDArray[np.int64]:
    """For each row of u the rank of its own row of v among all of them, 0 for the nearest; rows of length 1."""
    scores = u @ v.T  # (N, M)
    own = scores[np.arange(len(u)), np.arange(len(u))]
    return (scores > own[:, None]).sum(1)


def recalls(
    model: CLIP, tokenizer: BPETokenizer, exam: Scenes, captions: list[str], first: int | None = None
) -> dict:
    """R@1 and R@5, pictures to captions and captions to pictures, of the first scenes among all of them."""
    u, v = picture_vectors(model, as_pixels(exam.images)), caption_vectors(model, tokenizer, captions)
    ways = {"image_to_text": ranks(u, v)[:first], "text_to_image": ranks(v, u)[:first]}
    return {way: {f"R@{k}": round(float((rank < k).mean()), 4) for k in (1, 5)} for way, rank in ways.items()}


def short_prompts(
    model: CLIP, tokenizer: BPETokenizer, exam: Scenes, said: tuple[str, ...], k: int = 10
) -> float:
    """Of the k pictures nearest to a short caption, the share of which it is true, over every such caption."""
    texts = [partial_caption(things, ground, said) for things, ground in zip(exam.objects, exam.backgrounds)]
    asked = [text for text in sorted(set(texts)) if texts.count(text) >= k]
    u, v = picture_vectors(model, as_pixels(exam.images)), caption_vectors(model, tokenizer, asked)
    nearest = np.argsort(-(v @ u.T), axis=1, kind="stable")[:, :k]
    right = [[texts[i] == text for i in row] for text, row in zip(asked, nearest)]
    return round(float(np.mean(right)), 4)


def examine(
    model: CLIP, tokenizer: BPETokenizer, recipe: CLIPRecipe = RECIPE, seed: int = 9_000
) -> dict[str, Any]:
    """All figures: 1,024 distinct scenes of pairs that were taught; 384 of held-out pairs among 640 of taught ones."""
    with one_thread():
        seen, other = distinct(1024, "train", seed, recipe), distinct(384, "held_out", seed, recipe)
        rest = seen[:640]
        mixed = Scenes(np.concatenate([other.images, rest.images]), other.objects + rest.objects,
                       other.backgrounds + rest.backgrounds, np.concatenate([other.keys, rest.keys]))  # fmt: skip
        return {
            "n": len(seen), "english": recalls(model, tokenizer, seen, seen.captions),
            "korean": recalls(model, tokenizer, seen, seen.captions_ko),
            "held_out_pairs": recalls(model, tokenizer, mixed, mixed.captions, len(other)),
            "short_prompts_precision_at_10": {
                " ".join(said): short_prompts(model, tokenizer, seen, said)
                for said in (("colour", "shape"), ("shape",), ("colour",), ("size",), ("place",), ("background",))
            },
        }  # fmt: skip


def make_small_clip(recipe: CLIPRecipe = RECIPE, progress: bool = False) -> SmallCLIP:
    """Train it and examine it: the whole recipe, with nothing kept."""
    start = time.process_time()
    pairs, tokenizer, _ = make_pairs(recipe)
    model = new_clip(tokenizer, recipe)
    losses = train_clip(model, pairs, recipe, progress=progress)
    facts = {
        "recipe": asdict(recipe), "parameters": model.num_parameters(),
        "cpu_seconds": round(time.process_time() - start, 1),
        "losses": [round(loss, 4) for loss in losses[:: max(1, recipe.steps // 100)]],
        "scale": round(model.logit_scale.exp().item(), 2),
        "python": ".".join(map(str, sys.version_info[:3])), "torch": torch.__version__,
    }  # fmt: skip
    return SmallCLIP(model, tokenizer, facts | examined(model, tokenizer, recipe))


def examined(model: CLIP, tokenizer: BPETokenizer, recipe: CLIPRecipe) -> dict[str, Any]:
    """The exam's figures, and the proofs that its pictures, and the held-out pairs, were not trained on."""
    exam, other = distinct(1024, "train", 9_000, recipe), distinct(384, "held_out", 9_000, recipe)
    seen = world(recipe.pictures, 1 + recipe.seed)
    names = [{(one.colour, one.shape) for things in part.objects for one in things} for part in (other, seen)]
    asked = set(exam.fingerprints + other.fingerprints)
    return {
        "exam": examine(model, tokenizer, recipe),
        "proof": [str(prove_held_out(names[0], names[1], what="pair of colour and shape")),
                  str(prove_held_out(asked, taught(recipe), what="picture"))],
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Say what is kept, or make it anew."""
    parser = argparse.ArgumentParser(
        prog="python -m minillm.course.small.clip_exam", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--write", action="store_true", help="train it and replace the kept weights")
    parser.add_argument("--try", dest="tried", action="store_true", help="train it and print its figures")
    parser.add_argument("--examine", action="store_true", help="examine the kept one again")
    parser.add_argument(
        "--seeds", type=int, nargs="*", default=[], help="train others, and keep their figures only"
    )
    for name in ("seed", "steps"):
        parser.add_argument(f"--{name}", type=int, default=getattr(CLIPRecipe, name))
    parser.add_argument("--learning-rate", type=float, default=CLIPRecipe.learning_rate)
    options = vars(parser.parse_args(arguments))
    write, tried, again, seeds = (options.pop(name) for name in ("write", "tried", "examine", "seeds"))
    made = make_small_clip(CLIPRecipe(**options), progress=True) if write or tried else small_clip()
    if write:
        made.model.to(torch.float16).save_pretrained(WEIGHTS)
        made.tokenizer.save(WEIGHTS)
    if again:
        made.facts.update(examined(made.model, made.tokenizer, CLIPRecipe(**made.facts["recipe"])))
    for seed in seeds:
        other = make_small_clip(CLIPRecipe(**{**made.facts["recipe"], "seed": seed}), progress=True)
        made.facts.setdefault("seeds", {})[str(seed)] = other.facts["exam"]
    if write or again or seeds:
        write_json(WEIGHTS / "facts.json", made.facts)
    for name, value in made.facts.items():
        print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
