"""The LLaVA of lesson 14_4: it answers questions about pictures of 32 x 32 pixels, in English and Korean.

    kept = small_llava();   ask_picture(kept, picture, "What colour is the star?") -> "red"

    python -m minillm.course.small.llava_exam --write      train seed 0, examine and keep it; then seeds 1, 2

The tower is the small CLIP's, frozen: 16 patch tokens of its last block but one. The projector and a language model of
the Llama kind (width 64, three layers) are learned, from nothing, on answers alone. Pictures: the made world of
data/scenes.py, one or two things on a board of 2 x 2. The weights (float16) lie in llava_weights, with their facts.

Book: 14.4 LLaVA. Left out: photographs, a language model that knew its language before, 336 pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from minillm._checks import describe
from minillm._files import read_json
from minillm.course.small.clip import PATTERN, as_pixels, small_clip
from minillm.course.small.recipe import one_thread
from minillm.data import Scenes, balanced, converse, describe_scene, reason_about, scenes
from minillm.inference import SamplingParams, generate
from minillm.models import LLaVA, LLaVAConfig, Seeing
from minillm.tokenizer import BPETokenizer, load_tokenizer
from minillm.training import PictureCollator, Trainer, TrainerConfig, freeze_for, look_once, picture_example

WEIGHTS = Path(__file__).with_name("llava_weights")
IMAGE, END = "<image>", "<|endoftext|>"
Turns = list[tuple[str, str]]


@dataclass(frozen=True)
class LLaVARecipe:
    """Everything that decides the model, beside the small CLIP whose tower it looks through."""

    pictures: int = 12_000
    turns: int = 5  # of a conversation
    described: float = 0.25  # share of pictures with a description in place of a conversation
    reasoned: float = 0.1  # share with a question whose answer must be worked out
    korean: float = 0.3  # share of pictures talked about in Korean
    vocab_size: int = 768
    width: int = 64
    layers: int = 3
    projector: str = "mlp2x_gelu"
    batch_size: int = 64
    steps: int = 450
    learning_rate: float = 3e-3
    seed: int = 0


class SmallLLaVA(NamedTuple):
    """A LLaVA in evaluation mode, its tokenizer, and the facts that were measured when it was made."""

    model: LLaVA
    tokenizer: BPETokenizer
    facts: dict[str, Any]


# --- pictures and what is said about them ---


def board(n: int, seed: int, split: str = "train") -> Scenes:
    """n scenes of one or two things (equally often) on a 2 x 2 board."""
    return scenes(n, 32, seed, (1, 2), 2, split=split)


def talk(world: Scenes, recipe: LLaVARecipe) -> list[Turns]:
    """One example a picture: a conversation, a description or a reasoned answer, in one of the two languages."""
    rng, asked, out = np.random.default_rng([recipe.seed, 144]), balanced(world.questions), []
    for things, background, questions in zip(world.objects, world.backgrounds, asked):
        lang = "ko" if rng.random() < recipe.korean else "en"
        kind, seed = rng.random(), int(rng.integers(2**31))
        if kind < recipe.described or not questions:
            out.append(describe_scene(things, background, lang))
        elif kind < recipe.described + recipe.reasoned:
            out.append(reason_about(things, seed, lang))
        else:
            out.append(converse(questions, recipe.turns, seed, lang))
    return out


def new_tokenizer(talks: Sequence[Turns], vocab_size: int) -> BPETokenizer:
    """A tokenizer of what is asked and answered, with a token for the picture and one for the end of an answer."""
    texts = [text for turns in talks for asked, answer in turns for text in (asked, f" {answer}")]
    return BPETokenizer.train(texts, vocab_size, (END, IMAGE), PATTERN)


def turn_ids(
    tokenizer: BPETokenizer, turns: Turns, images: int = 1, known: dict[str, list[int]] | None = None
) -> list[tuple[list[int], list[int]]]:
    """Turns as ids: the first question stands behind `images` image tokens, each answer ends with END.

    known: texts whose ids are known, and where new ones are noted.
    """
    end, image = (tokenizer.token_to_id(token) for token in (END, IMAGE))
    known = {} if known is None else known
    for text in (text for asked, answer in turns for text in (asked, f" {answer}")):
        if text not in known:
            known[text] = tokenizer.encode(text)
    rows = [(known[asked], [*known[f" {answer}"], end]) for asked, answer in turns]
    return [([image] * images + rows[0][0], rows[0][1]), *rows[1:]]


def examples(
    tokenizer: BPETokenizer, talks: Sequence[Turns], picture_tokens: int, images: int = 1
) -> list[dict[str, Any]]:
    """Rows for the Trainer, row i with picture i (or pictures i·images to its end, as `images` tiles a picture).

    images=0: the same texts for a model that sees no picture.
    """
    image, known, rows = tokenizer.token_to_id(IMAGE), {}, []
    for i, turns in enumerate(talks):
        ids = turn_ids(tokenizer, turns, images, known)
        row: dict[str, Any] = picture_example(ids, image, picture_tokens)
        if images:
            row["picture_states"] = list(range(i * images, (i + 1) * images))
        rows.append(row)
    return rows


# --- training ---


def new_llava(tokenizer: BPETokenizer, recipe: LLaVARecipe, longest: int = 256) -> LLaVA:
    """The model before its first step: the small CLIP's tower, everything else drawn from the recipe's seed."""
    clip = small_clip().model
    text = {
        "vocab_size": tokenizer.vocab_size,
        "hidden_size": recipe.width,
        "intermediate_size": 3 * recipe.width,
    }
    text |= {"num_hidden_layers": recipe.layers, "num_attention_heads": 4, "max_position_embeddings": longest}
    text |= {
        "tie_word_embeddings": True,
        "initializer_range": 0.1,
        "eos_token_id": tokenizer.token_to_id(END),
    }
    config = LLaVAConfig(
        vision_config=clip.config.vision_config.to_dict(),
        text_config=text,
        image_token_index=tokenizer.token_to_id(IMAGE),
        projector_type=recipe.projector,
        tie_word_embeddings=True,
    )
    model = LLaVA(config, recipe.seed)
    model.vision.load_state_dict(clip.vision.state_dict())
    return model


class StopAfter:
    """A callback that ends a run before its last step; the learning rate is that of the whole run."""

    def __init__(self, steps: int):
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer after each step."""
        control.should_training_stop = state.global_step >= self.steps


def teach(
    model: LLaVA,
    rows: list[dict[str, Any]],
    states: Tensor | None,
    recipe: LLaVARecipe,
    stage: str = "instruct",
    until: int | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> list[float]:
    """Train the model in place by one of the two stages; the loss of every step. states: what `look_once` gave, or
    None for a model that sees nothing. until: stop there, on the way of the whole recipe. on_step: called with every
    record."""
    settings = TrainerConfig(
        max_steps=recipe.steps, batch_size=recipe.batch_size, learning_rate=recipe.learning_rate,
        warmup_steps=recipe.steps // 20, betas=(0.9, 0.98), weight_decay=0.02, precision="fp32", seed=recipe.seed,
        device="cpu", progress=False,
    )  # fmt: skip
    collate = PictureCollator(model.eos_token_ids[0], states)
    callbacks = [] if until is None else [StopAfter(until)]
    with one_thread():
        options = {"data_collator": collate, "callbacks": callbacks, "on_step": on_step}
        history = Trainer(freeze_for(model, stage), settings, rows, **options).train()
    model.eval()
    return [record["train_loss"] for record in history]


def say(record: dict[str, Any]) -> None:
    """Print every fiftieth record of a training."""
    if record["step"] % 50 == 0:
        print(
            f"step {record['step']}: loss {record['train_loss']:.3f}, {time.process_time():.0f} s", flush=True
        )


def training_data(recipe: LLaVARecipe) -> tuple[Scenes, list[Turns], BPETokenizer]:
    """The pictures that teach, what is said about them, and the tokenizer of that."""
    world = board(recipe.pictures, 100 + recipe.seed)
    talks = talk(world, recipe)
    more = scenes(300, 48, 99, (1, 2), 3, split="train")  # the names of nine places, for the tiles of 14_4
    words = talks[:3000] + talk(more, replace(recipe, seed=99))
    return world, talks, new_tokenizer(words, recipe.vocab_size)


def train_llava(
    recipe: LLaVARecipe, blind: bool = False, until: int | None = None, progress: bool = False
) -> tuple[LLaVA, BPETokenizer, list[float], float, Scenes]:
    """The recipe, in one stage: (model, tokenizer, losses, CPU seconds of the steps, the pictures that taught).

    blind: the same without the pictures.
    """
    world, talks, tokenizer = training_data(recipe)
    model = new_llava(tokenizer, recipe)
    rows = examples(tokenizer, talks, model.config.picture_tokens, 0 if blind else 1)
    with one_thread():
        states = None if blind else look_once(model, as_pixels(world.images))
    start = time.process_time()
    losses = teach(model, rows, states, recipe, until=until, on_step=say if progress else None)
    return model, tokenizer, losses, time.process_time() - start, world


# --- what is kept ---


def small_llava() -> SmallLLaVA:
    """The LLaVA of the course: (model, tokenizer, facts), from the weights that come with minillm, in float32."""
    facts = read_json(WEIGHTS / "facts.json", "facts of the small LLaVA")
    return SmallLLaVA(LLaVA.from_pretrained(WEIGHTS, torch.float32), load_tokenizer(WEIGHTS), facts)


def llava_comparisons() -> dict[str, Any]:
    """What tests/benchmarks/llava_quality.py measured: {"stages": {seed: ...}, "tiles": {seed: ...}}."""
    return read_json(WEIGHTS / "comparisons.json", "comparisons of small LLaVAs")


def ask_picture(
    kept: SmallLLaVA, picture: Tensor, question: str, earlier: Turns = (), tokens: int = 60
) -> str:
    """What the model writes about a picture (3, 32, 32) of values 0..1, after `earlier` turns on it; greedily.

    ValueError for a picture of another shape or of other values, and for more words than the window holds.
    """
    picture = torch.as_tensor(picture)
    if picture.shape != (3, 32, 32) or not bool(((picture >= 0) & (picture <= 1)).all()):
        raise ValueError(f"picture must be (3, 32, 32) of values 0 to 1, got {describe(picture)}")
    image, end = (kept.tokenizer.token_to_id(token) for token in (IMAGE, END))
    ids = [image] * kept.model.config.picture_tokens
    for asked, answer in earlier:
        ids += [*kept.tokenizer.encode(asked), *kept.tokenizer.encode(f" {answer}"), end]
    ids += kept.tokenizer.encode(question)
    seeing = Seeing(kept.model, (picture.float() * 2 - 1)[None])
    written = generate(seeing, ids, SamplingParams(max_tokens=tokens, temperature=0))
    return kept.tokenizer.decode(written, skip_special_tokens=True).strip()
