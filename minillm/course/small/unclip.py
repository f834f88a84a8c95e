"""DALL-E 2 in small: the course's CLIP, a prior, and a decoder of 16 x 16 pixels; their recipes and kept weights.

    unclip = small_unclip()          prior, decoder, and a decoder of equal cost that reads the text's vector directly

One world, two sizes: CLIP reads a scene at 32 pixels, the decoder draws it at 16 (`doubled`). Both decoders start from
the body of lesson 14_3's U-Net, whose four-number wish gives way to a vector: the same steps, pictures and seed. All
three see the same pairs of picture and caption, none of the exam. But 16 pixels hold few scenes: three of four of the
exam's pictures were among those that the body learned from in 14_3 (`never_seen`). The held-out pairs of colour and
shape are new to every network. Beside the weights lies curve.json: losses, the oracle's figures, n, seeds, CPU seconds
(tests/benchmarks/unclip_quality.py).

Book: 14.3.2 DALL-E 모델. Left out: bigger pictures, several things in a picture, training a CLIP for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import minillm.data
from minillm._files import read_json
from minillm.course.small.clip import SHORT, WHOLE, SmallCLIP, as_pixels
from minillm.course.small.diffusion import PIXELS, draw_wishes, small_diffusion, taught_world
from minillm.data.scenes import (
    BACKGROUNDS,
    COLOURS,
    PALETTE,
    SIZES,
    SceneObject,
    Scenes,
    diameters,
    mask,
    scenes,
)
from minillm.data.scenes_partial import partial_caption
from minillm.data.scenes_reader import read_scenes
from minillm.data.scenes_texts import caption
from minillm.inference import NoiseSchedule, draw_embeddings, prior_schedule
from minillm.models import (
    DiffusionPrior,
    PriorConfig,
    UNet,
    UNetConfig,
    at_noise_scale,
    caption_vectors,
    picture_vectors,
)
from minillm.training import DiffusionTrainer, NoiseTrainer, RegressionTrainer

UNCLIP = Path(minillm.data.__file__).with_name("scenes_unclip")
PICTURES, STEPS, PRIOR_STEPS = 20_000, 3_500, 2_000
EXAM_SEED = 41_001
KINDS = ("decoder", "direct")


class SmallUnCLIP(NamedTuple):
    """The kept networks in evaluation mode, and what was measured when they were made."""

    prior: DiffusionPrior
    decoder: UNet  # its wish: an image embedding
    direct: UNet  # its wish: a text embedding
    facts: dict[str, Any]


def small_unclip() -> SmallUnCLIP:
    """The kept networks; BadFileError if a file is damaged."""
    prior = DiffusionPrior.load(UNCLIP / "prior.safetensors")
    decoders = [UNet.load(UNCLIP / f"{kind}.safetensors") for kind in KINDS]
    kept = [one.eval().requires_grad_(False) for one in (prior, *decoders)]
    return SmallUnCLIP(*kept, read_json(UNCLIP / "curve.json", "figures of the small unCLIP"))


# --- pictures, captions, vectors ---


def doubled(world: Scenes) -> NDArray[np.float32]:
    """The scenes of one thing at twice their size (N, 3, 2S, 2S): everything at twice its place, drawn anew."""
    size = 2 * world.images.shape[-1]
    canvas = np.empty((len(world), size, size), np.uint8)
    for place, ((one,), ground) in enumerate(zip(world.objects, world.backgrounds, strict=True)):
        canvas[place] = len(COLOURS) + BACKGROUNDS.index(ground)
        (x, y, *_), d = (2 * end for end in one.box), diameters(size)[SIZES.index(one.size)]
        canvas[place, y : y + d, x : x + d][mask(one.shape, d)] = COLOURS.index(one.colour)
    return np.ascontiguousarray(PALETTE[canvas].transpose(0, 3, 1, 2))


def exam(n: int = 500, split: str = "train") -> Scenes:
    """Scenes that no pair of the training holds. "train": of known pairs of colour and shape; "held_out": of new ones.

    The body of the decoders and CLIP were trained before, on scenes of their own: see `never_seen`.
    """
    return scenes(n, PIXELS, EXAM_SEED, split=split)


def training_world(pictures: int = PICTURES, seed: int = 0) -> Scenes:
    """Scenes to learn from: none of them is, pixel for pixel, one of the exam's 500."""
    return scenes(pictures, PIXELS, seed, split="train").without(set(exam().fingerprints))


def never_seen(world: Scenes) -> NDArray[np.bool_]:
    """Which scenes (N,) lesson 14_3's U-Net, from which both decoders start, was not trained on: pixel for pixel."""
    old = set(taught_world().fingerprints)
    return np.array([one not in old for one in world.fingerprints], dtype=bool)


class Pairs(NamedTuple):
    """Scenes, one caption each, and CLIP's vectors (N, D) of both, of length 1."""

    world: Scenes
    captions: list[str]
    pictures: Tensor
    texts: Tensor


def as_pairs(clip: SmallCLIP, world: Scenes, captions: Sequence[str]) -> Pairs:
    """What CLIP makes of scenes and captions."""
    pictures = picture_vectors(clip.model, as_pixels(doubled(world)))
    return Pairs(world, list(captions), torch.from_numpy(pictures), text_vectors(clip, captions))


def text_vectors(clip: SmallCLIP, texts: Sequence[str]) -> Tensor:
    """CLIP's vectors (N, D) of texts; the same text is read once."""
    different = sorted(set(texts))
    place = {text: i for i, text in enumerate(different)}
    vectors = torch.from_numpy(caption_vectors(clip.model, clip.tokenizer, different))
    return vectors[[place[text] for text in texts]]


def draw_caption(things: Sequence[SceneObject], ground: str, rng: np.random.Generator) -> str:
    """One caption of a scene: 7 of 10 are whole, 3 leave attributes out; the forms and languages are CLIP's own."""
    forms = WHOLE if rng.random() < 0.7 else [form for form in SHORT if "place" not in form[0]]
    odds = np.array([share for *_, share in forms])
    said, lang, _ = forms[rng.choice(len(forms), p=odds / odds.sum())]
    return caption(things, ground, rng, lang) if said is None else partial_caption(things, ground, said, lang)


def training_pairs(clip: SmallCLIP, pictures: int = PICTURES, seed: int = 0) -> Pairs:
    """The pairs of picture and caption that all networks learn from."""
    world, rng = training_world(pictures, seed), np.random.default_rng([seed, 143])
    rows = zip(world.objects, world.backgrounds, strict=True)
    return as_pairs(clip, world, [draw_caption(things, ground, rng) for things, ground in rows])


def linear_map(pairs: Pairs) -> Tensor:
    """The matrix (D, D) that takes the captions' vectors nearest to the pictures', by least squares."""
    return torch.linalg.lstsq(pairs.texts, pairs.pictures).solution


# --- training ---


def new_decoder(dim: int, seed: int = 0) -> UNet:
    """The U-Net of lesson 14_3 with a vector for a wish: its body is kept, "no wish" is where it was."""
    old = small_diffusion()
    model = UNet(UNetConfig(time_width=old.config.time_width, cond_dim=dim), seed=seed)
    body = {name: value for name, value in old.state_dict().items() if not name.startswith("wish.")}
    body["wish.null"] = sum(table.weight[-1] for table in old.wish.tables)
    model.load_state_dict(body, strict=False)
    return model


def new_decoder_trainer(kind: str, pairs: Pairs, seed: int = 0, steps: int = STEPS) -> DiffusionTrainer:
    """The recipe of both decoders; kind says which vectors are the wishes: of the picture, or of its caption."""
    wishes = at_noise_scale({"decoder": pairs.pictures, "direct": pairs.texts}[kind])
    model, images = new_decoder(wishes.shape[1], seed), torch.as_tensor(pairs.world.images)
    return DiffusionTrainer(model, NoiseSchedule(), images, wishes, steps, 32, 2e-3, seed)


def new_prior_trainer(
    pairs: Pairs, seed: int = 0, steps: int = PRIOR_STEPS, regression: bool = False
) -> NoiseTrainer:
    """The recipe of the prior; regression: of the same network that learns the mean instead."""
    x0, wishes = at_noise_scale(pairs.pictures), at_noise_scale(pairs.texts)
    model = DiffusionPrior(PriorConfig(dim=x0.shape[1]), seed=seed)
    kind = RegressionTrainer if regression else NoiseTrainer
    return kind(model, prior_schedule(), x0, wishes, steps, 128, 2e-3, seed)


# --- drawing and reading ---


def embeddings_of(unclip: SmallUnCLIP, pairs: Pairs, seed: int = 7) -> dict[str, Tensor]:
    """The vectors that the decoder is handed on each way."""
    return {
        "true image": pairs.pictures,
        "prior": draw_embeddings(unclip.prior, pairs.texts, seed=seed),
        "text itself": pairs.texts,
    }


def draw_vectors(
    decoder: UNet, vectors: Tensor, guidance: float = 1.0, steps: int = 25, seed: int = 7
) -> Tensor:
    """Pictures in 0..1 (N, 3, S, S), one a vector."""
    return draw_wishes(decoder, at_noise_scale(vectors), guidance, steps, seed)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of each row of a with its row of b. (N,)"""
    return torch.cosine_similarity(a, b, dim=1)


def places(pictures: Any) -> Tensor:
    """The middle (N, 2) of the thing that the oracle sees in each picture, in pixels."""
    boxes = [scene.objects[0].box for scene in read_scenes(pictures, objects=1)]
    return torch.tensor([[(x0 + x1) / 2, (y0 + y1) / 2] for x0, y0, x1, y1 in boxes])
