"""The CLIP of chapters 12 and 14: it reads pictures of 32 x 32 pixels, and captions in English and Korean.

    model, tokenizer, facts = small_clip()

    python -m minillm.course.small.clip --write        train it (two minutes of one core) and replace the kept weights

It comes with minillm (the folder clip_weights beside this file, float16), made by this script, seed 0. Pictures: the
made world of data/scenes.py, one or two things; a part of the captions leaves attributes out (data/scenes_partial.py).
Its figures are of pictures that are in no training data; the held-out pairs of colour and shape are in none, either.

Book: 14.2 CLIP, 12.5. Left out: bigger pictures, photographs.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minillm._files import read_json, write_json
from minillm.course.small.recipe import one_thread
from minillm.data import Scenes, caption, prove_held_out, scenes
from minillm.data.scenes_partial import draw_said, partial_caption
from minillm.models import CLIP, CLIPConfig, caption_vectors, picture_vectors
from minillm.tokenizer import BPETokenizer, load_tokenizer
from minillm.tokenizer.tokenizer_json import from_json
from minillm.training import AdamW, cosine_schedule
from minillm.training.contrastive import clip_loss
from minillm.training.groups import decay_groups

WEIGHTS = Path(__file__).with_name("clip_weights")
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
PATTERN = r" ?\p{L}+| ?[^\s\p{L}]+|\s"  # words, each with the blank before it
LONGEST = 40  # tokens of a caption


@dataclass(frozen=True)
class CLIPRecipe:
    """Everything that decides the model."""

    pictures: int = 15_000
    captions: int = 4  # of each picture, drawn once
    partial: float = 0.25  # share of captions that leave attributes out
    korean: float = 0.2  # share of captions in Korean
    vocab_size: int = 768
    stem: tuple[int, ...] = (24, 48, 48)
    places: float = (
        0.5  # spread of the first position embeddings of patches, beside a stem whose values are near 1
    )
    layers: int = 2  # of the tower that reads pictures; the other has one
    dims: int = 64
    batch_size: int = 128
    steps: int = 1300
    learning_rate: float = 3e-3
    seed: int = 0


class SmallCLIP(NamedTuple):
    """A CLIP in evaluation mode, its tokenizer, and the facts that were measured when it was made."""

    model: CLIP
    tokenizer: BPETokenizer
    facts: dict[str, Any]


class Pairs(NamedTuple):
    """Pictures (N, 3, 32, 32) as the model takes them; ids and mask (M, T) of the M different captions;
    which K of those belong to each picture."""

    images: Tensor
    ids: Tensor
    mask: Tensor
    same: Tensor  # (N, K)


# --- pictures and captions ---


def as_pixels(images: NDArray[np.float32]) -> Tensor:
    """Pictures of values 0..1 as the model takes them: -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)) * 2 - 1


def world(n: int, seed: int, split: str = "train") -> Scenes:
    """n scenes, a third each: one thing anywhere; one thing on a 2 x 2 board; two things on it."""
    parts = [(n - n // 3 * 2, 1, 1), (n // 3, 1, 2), (n // 3, 2, 2)]
    made = [
        scenes(k, 32, 3 * seed + i, things, grid, split=split) for i, (k, things, grid) in enumerate(parts)
    ]
    every = lambda name: [row for part in made for row in getattr(part, name)]  # noqa: E731
    images, keys = (np.concatenate([getattr(part, name) for part in made]) for name in ("images", "keys"))
    return Scenes(images, every("objects"), every("backgrounds"), keys)


def draw_captions(world: Scenes, recipe: CLIPRecipe) -> list[list[str]]:
    """K captions of every scene: some in Korean, some that leave attributes out."""
    rng, rows = np.random.default_rng([recipe.seed, 14]), []
    for things, background in zip(world.objects, world.backgrounds):
        row = []
        for _ in range(recipe.captions):
            lang = "ko" if rng.random() < recipe.korean else "en"
            if rng.random() < recipe.partial:
                row.append(partial_caption(things, background, draw_said(rng), lang))
            else:
                row.append(caption(things, background, rng, lang))
        rows.append(row)
    return rows


def new_tokenizer(texts: list[str], vocab_size: int) -> BPETokenizer:
    """A tokenizer of captions that begins and ends each of them, as CLIP's does."""
    trained = BPETokenizer.train(texts, vocab_size, (BEGIN, END), PATTERN).to_json()
    ids = {token["content"]: token["id"] for token in trained["added_tokens"]}
    trained["post_processor"] = {
        "type": "RobertaProcessing", "sep": [END, ids[END]], "cls": [BEGIN, ids[BEGIN]],
        "trim_offsets": False, "add_prefix_space": False,
    }  # fmt: skip
    trained["padding"] = {
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": ids[END],
        "pad_type_id": 0, "pad_token": END,
    }  # fmt: skip
    return from_json(trained)


def make_pairs(
    recipe: CLIPRecipe, tokenizer: BPETokenizer | None = None
) -> tuple[Pairs, BPETokenizer, Scenes]:
    """The training data: pairs, the tokenizer of their captions, and the scenes they are of."""
    seen = world(recipe.pictures, 1 + recipe.seed)
    rows = draw_captions(seen, recipe)
    texts = sorted({text for row in rows for text in row})
    if tokenizer is None:
        tokenizer = new_tokenizer(texts[:: max(1, len(texts) // 4000)], recipe.vocab_size)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    number = {text: i for i, text in enumerate(texts)}
    same = torch.tensor([[number[text] for text in row] for row in rows])
    return Pairs(as_pixels(seen.images), batch["input_ids"], batch["attention_mask"], same), tokenizer, seen


# --- training ---


def new_clip(tokenizer: BPETokenizer, recipe: CLIPRecipe) -> CLIP:
    """The model before its first step."""
    width = recipe.stem[-1]
    tower = {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": 4}
    tower |= {"projection_dim": recipe.dims, "hidden_act": "gelu"}
    begin, end = (tokenizer.token_to_id(token) for token in (BEGIN, END))
    text = {"vocab_size": tokenizer.vocab_size, "num_hidden_layers": 1, "max_position_embeddings": LONGEST}
    text |= {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": end}
    vision = {
        "image_size": 32,
        "patch_size": 8,
        "stem_widths": list(recipe.stem),
        "num_hidden_layers": recipe.layers,
    }
    vision |= {"initializer_range": recipe.places}
    return CLIP(CLIPConfig(text_config=tower | text, vision_config=tower | vision, projection_dim=recipe.dims),
                recipe.seed)  # fmt: skip


def train_clip(
    model: CLIP, pairs: Pairs, recipe: CLIPRecipe, steps: int | None = None, progress: bool = False
) -> list[float]:
    """Train the model in place; the loss of every step. steps: stop there, on the way of the whole recipe."""
    optimizer = AdamW(decay_groups(model, 0.02), recipe.learning_rate, (0.9, 0.98))
    generator, losses = torch.Generator().manual_seed(recipe.seed), []
    with one_thread():
        for step in range(recipe.steps if steps is None else steps):
            rate = cosine_schedule(step + 1, recipe.steps, recipe.learning_rate, recipe.steps // 25)
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses.append(one_step(model, pairs, optimizer, generator, recipe.batch_size))
            if progress and step % 100 == 0:
                print(f"step {step}: loss {losses[-1]:.3f}, {time.process_time():.0f} s", flush=True)
    model.eval()
    return losses


def one_step(
    model: CLIP, pairs: Pairs, optimizer: AdamW, generator: torch.Generator, batch_size: int
) -> float:
    """One batch of pairs, one step of the optimiser; the loss."""
    rows = torch.randint(len(pairs.images), (batch_size,), generator=generator)
    which = torch.randint(pairs.same.shape[1], (batch_size,), generator=generator)
    same = pairs.same[rows, which]  # (B,) which caption
    ids, mask = pairs.ids[same], pairs.mask[same]
    longest = int(mask.sum(1).max())
    u, v = model.encode_image(pairs.images[rows]), model.encode_text(ids[:, :longest], mask[:, :longest])
    loss = clip_loss(u, v, model.logit_scale, same)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.clamp_scale()
    return loss.item()


# --- examination ---


def distinct(n: int, split: str, seed: int) -> Scenes:
    """n scenes of one thing on a 2 x 2 board, no two with the same whole caption."""
    drawn, seen, keep = scenes(12 * n, 32, seed, 1, 2, split=split), set(), []
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


def examine(model: CLIP, tokenizer: BPETokenizer, seed: int = 9_000) -> dict[str, Any]:
    """All figures: 1,024 distinct scenes of pairs that were taught; 384 of held-out pairs among 640 of taught ones."""
    with one_thread():
        seen, other = distinct(1024, "train", seed), distinct(384, "held_out", seed)
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


def make_small_clip(recipe: CLIPRecipe = CLIPRecipe(), progress: bool = False) -> SmallCLIP:
    """Train it and examine it: the whole recipe, with nothing kept."""
    start = time.process_time()
    pairs, tokenizer, seen = make_pairs(recipe)
    model = new_clip(tokenizer, recipe)
    losses = train_clip(model, pairs, recipe, progress=progress)
    seconds = time.process_time() - start
    other = distinct(384, "held_out", 9_000)
    names = [{(one.colour, one.shape) for things in part.objects for one in things} for part in (other, seen)]
    facts = {
        "recipe": asdict(recipe), "parameters": model.num_parameters(), "cpu_seconds": round(seconds, 1),
        "losses": [round(loss, 4) for loss in losses[:: max(1, recipe.steps // 26)]],
        "scale": round(model.logit_scale.exp().item(), 2), "exam": examine(model, tokenizer),
        "proof": str(prove_held_out(names[0], names[1], what="pair of colour and shape")),
        "python": ".".join(map(str, sys.version_info[:3])), "torch": torch.__version__,
    }  # fmt: skip
    return SmallCLIP(model, tokenizer, facts)


def small_clip() -> SmallCLIP:
    """The CLIP of the course: (model, tokenizer, facts), from the weights that come with minillm, in float32."""
    facts = read_json(WEIGHTS / "facts.json", "facts of the small CLIP")
    return SmallCLIP(CLIP.from_pretrained(WEIGHTS, torch.float32), load_tokenizer(WEIGHTS), facts)


def main(arguments: list[str] | None = None) -> int:
    """Say what is kept, or make it anew."""
    parser = argparse.ArgumentParser(
        prog="python -m minillm.course.small.clip", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--write", action="store_true", help="train it and replace the kept weights")
    parser.add_argument("--try", dest="tried", action="store_true", help="train it and print its figures")
    for name in ("seed", "steps"):
        parser.add_argument(f"--{name}", type=int, default=getattr(CLIPRecipe, name))
    for name in ("partial", "korean", "learning_rate"):
        parser.add_argument(f"--{name}", type=float, default=getattr(CLIPRecipe, name))
    options = vars(parser.parse_args(arguments))
    write, tried = options.pop("write"), options.pop("tried")
    made = make_small_clip(CLIPRecipe(**options), progress=True) if write or tried else small_clip()
    if write:
        made.model.to(torch.float16).save_pretrained(WEIGHTS)
        made.tokenizer.save(WEIGHTS)
        write_json(WEIGHTS / "facts.json", made.facts)
    for name, value in made.facts.items():
        print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
