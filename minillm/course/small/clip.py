"""The CLIP of chapters 12 and 14: it reads pictures of 32 x 32 pixels, and captions in English and Korean.

    model, tokenizer, facts = small_clip()

It comes with minillm (the folder clip_weights beside this file, float16), made and examined by clip_exam.py, seed 0.
Pictures: the made world of data/scenes.py, one or two things. Each batch is read twice: with whole captions, and with
short ones that all leave out the same attributes (data/scenes_partial.py). Its figures are of pictures that it was not
trained on; the held-out pairs of colour and shape are in none that it was.

Book: 14.2 CLIP, 12.5. Left out: bigger pictures, photographs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minillm._files import read_json
from minillm.course.small.recipe import one_thread
from minillm.data import Scenes, caption, scenes
from minillm.data.scenes_partial import partial_caption
from minillm.models import CLIP, CLIPConfig
from minillm.tokenizer import BPETokenizer, load_tokenizer
from minillm.tokenizer.tokenizer_json import from_json
from minillm.training import AdamW, cosine_schedule
from minillm.training.contrastive import clip_loss
from minillm.training.groups import decay_groups

WEIGHTS = Path(__file__).with_name("clip_weights")
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
PATTERN = r" ?\p{L}+| ?[^\s\p{L}]+|\s"  # words, each with the blank before it
LONGEST = 40  # tokens of a caption

# (what a caption says, None: everything; its language; its share). A batch is read in one form of each kind.
Form = tuple[tuple[str, ...] | None, str, float]
WHOLE: tuple[Form, ...] = ((None, "en", 0.36), (None, "en", 0.36), (None, "ko", 0.28))
SHORT: tuple[Form, ...] = (
    (("shape",), "en", 0.30), (("shape",), "ko", 0.10),
    (("colour", "shape"), "en", 0.15), (("colour", "shape"), "ko", 0.05),
    (("size",), "en", 0.06), (("place",), "en", 0.06), (("colour",), "en", 0.06), (("background",), "en", 0.06),
    (("shape", "place"), "en", 0.04), (("size", "colour", "shape"), "en", 0.04),
    (("colour",), "ko", 0.02), (("place",), "ko", 0.02),
    (("size", "shape"), "ko", 0.02), (("colour", "background"), "ko", 0.02),
)  # fmt: skip


@dataclass(frozen=True)
class CLIPRecipe:
    """Everything that decides the model."""

    pictures: int = 30_000
    vocab_size: int = 768
    stem: tuple[int, ...] = (24, 48, 48)
    places: float = (
        0.5  # spread of the first position embeddings of patches, beside a stem whose values are near 1
    )
    layers: int = 2  # of the tower that reads pictures; the other has one
    dims: int = 64
    batch_size: int = 128
    steps: int = 3500
    learning_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        """From JSON a tuple comes as a list, which has no hash."""
        object.__setattr__(self, "stem", tuple(self.stem))


RECIPE = CLIPRecipe()  # of the kept one


class SmallCLIP(NamedTuple):
    """A CLIP in evaluation mode, its tokenizer, and the facts that were measured when it was made."""

    model: CLIP
    tokenizer: BPETokenizer
    facts: dict[str, Any]


class Pairs(NamedTuple):
    """Pictures (N, 3, 32, 32) as the model takes them; ids and mask (M, T) of the M different captions;
    which of those belongs to each picture, one of each of the K forms, WHOLE and SHORT."""

    images: Tensor
    ids: Tensor
    mask: Tensor
    same: Tensor  # (N, K)


# --- pictures and captions ---


def as_pixels(images: NDArray[np.float32]) -> Tensor:
    """Pictures of values 0..1 as the model takes them: -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)) * 2 - 1


def as_caption(text: str) -> str:
    """A text in the wording of the captions it was taught: "red star" -> "a red star"; Korean has no article."""
    first = text.split()[0].lower() if text.split() else ""
    if not first[:1].isascii() or not first[:1].isalpha() or first in ("a", "an", "the", "on", "there"):
        return text
    return f"{'an' if first[0] in 'aeiou' else 'a'} {text.strip()}"


def world(n: int, seed: int, split: str = "train") -> Scenes:
    """n scenes: a fifth of one thing anywhere; three of one thing on a 2 x 2 board; one of two things on it."""
    parts = [(n - n // 5 * 4, 1, 1), (n // 5 * 3, 1, 2), (n // 5, 2, 2)]
    made = [
        scenes(k, 32, 3 * seed + i, things, grid, split=split) for i, (k, things, grid) in enumerate(parts)
    ]
    every = lambda name: [row for part in made for row in getattr(part, name)]  # noqa: E731
    images, keys = (np.concatenate([getattr(part, name) for part in made]) for name in ("images", "keys"))
    return Scenes(images, every("objects"), every("backgrounds"), keys)


def draw_captions(world: Scenes, recipe: CLIPRecipe) -> list[list[str]]:
    """The captions of every scene, one of each form."""
    rng = np.random.default_rng([recipe.seed, 14])
    return [
        [
            caption(things, ground, rng, lang)
            if said is None
            else partial_caption(things, ground, said, lang)
            for said, lang, _ in WHOLE + SHORT
        ]
        for things, ground in zip(world.objects, world.backgrounds)
    ]


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
    """One batch of pictures, with whole captions and with short ones, one step of the optimiser; the loss of both."""
    rows = torch.randint(len(pairs.images), (batch_size,), generator=generator)
    u, loss = model.encode_image(pairs.images[rows]), 0
    for form in draw_forms(generator):
        texts, same = pairs.same[rows, form].unique(
            return_inverse=True
        )  # (M,) different ones; (B,) which of them
        ids, mask = pairs.ids[texts], pairs.mask[texts]
        longest = int(mask.sum(1).max())
        v = model.encode_text(ids[:, :longest], mask[:, :longest])[same]
        loss = loss + clip_loss(u, v, model.logit_scale, same)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.clamp_scale()
    return loss.item()


def draw_forms(generator: torch.Generator) -> tuple[int, int]:
    """A form of whole captions and one of short ones, as columns of the captions."""
    whole, short = (
        int(torch.multinomial(torch.tensor([share for *_, share in forms]), 1, generator=generator))
        for forms in (WHOLE, SHORT)
    )
    return whole, len(WHOLE) + short


# --- the kept one ---


def small_clip() -> SmallCLIP:
    """The CLIP of the course: (model, tokenizer, facts), from the weights that come with minillm, in float32."""
    facts = read_json(WEIGHTS / "facts.json", "facts of the small CLIP")
    return SmallCLIP(CLIP.from_pretrained(WEIGHTS, torch.float32), load_tokenizer(WEIGHTS), facts)
