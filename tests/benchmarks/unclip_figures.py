"""What the oracle and the cosines say of the course's DALL-E 2: every figure of unclip_quality.py, one function each.

All pictures are drawn with guidance 1 (where nothing else is said) by 15 steps of DDIM, and read back by the oracle
(minillm.data.scenes_reader). Two ways are compared on the same scenes and the same noise: wins, losses, interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from minillm.course.small.clip import CLIPRecipe, SmallCLIP, world
from minillm.course.small.diffusion import ATTRIBUTES, attributes_right, wishes
from minillm.course.small.unclip import (
    PRIOR_STEPS,
    Pairs,
    SmallUnCLIP,
    as_pairs,
    cosines,
    doubled,
    draw_vectors,
    embeddings_of,
    exam,
    never_seen,
    new_prior_trainer,
    places,
    text_vectors,
)
from minillm.data import held_out_pairs, scenes
from minillm.data.scenes_partial import partial_caption
from minillm.data.scenes_reader import read_scenes
from minillm.evaluation import paired, wilson_interval
from minillm.inference import blend_embeddings, draw_embeddings, edit_embeddings, regress_embeddings
from minillm.models import DiffusionPrior, UNet
from tests.benchmarks.diffusion_quality import shares

STEPS_OF_DDIM = 15


def drawn_by(decoder: UNet, vectors: Tensor, guidance: float = 1.0, seed: int = 7) -> Tensor:
    """Pictures of vectors, as every figure has them."""
    return draw_vectors(decoder, vectors, guidance, STEPS_OF_DDIM, seed)


def interval(right: Tensor) -> list[float]:
    """The ends of the interval (95 %) of a share, from one bool an item."""
    return [round(end, 4) for end in wilson_interval(int(right.sum()), len(right))]


def counted(hits: Tensor) -> dict[str, Any]:
    """Shares of the attributes and of all four, with the interval of the last."""
    return shares(hits) | {"interval of all": interval(hits.all(1))}


def compared(a: Any, b: Any) -> dict[str, Any]:
    """Wins, losses, ties, the difference and its interval."""
    one = paired(list(map(float, a)), list(map(float, b)))
    return {
        "wins": one.wins, "losses": one.losses, "ties": one.ties, "difference": round(one.difference, 4),
        "interval": [round(end, 4) for end in one.interval],
    }  # fmt: skip


Nets = dict[int, tuple[DiffusionPrior, DiffusionPrior]]


def train_networks(learned: Pairs, seeds: Sequence[int] = (0, 1, 2)) -> Nets:
    """(prior, regression) of every seed."""
    found = {}
    for seed in seeds:
        trainers = [new_prior_trainer(learned, seed, regression=mean) for mean in (False, True)]
        for one in trainers:
            one.run(PRIOR_STEPS)
        found[seed] = tuple(one.ema.model.eval() for one in trainers)
    return found


def embedding_figures(networks: Nets, linear: Tensor, asked: Pairs) -> dict[str, Any]:
    """Cosines to the true image embedding: of the text, a linear map, and of every seed's regression and prior."""
    text = cosines(asked.texts, asked.pictures)
    found: dict[str, Any] = {"n": len(text), "text": round(float(text.mean()), 4)}
    found["linear map"] = round(float(cosines(asked.texts @ linear, asked.pictures).mean()), 4)
    for seed, (prior, regression) in networks.items():
        one, best = (
            cosines(draw_embeddings(prior, asked.texts, seed=7, candidates=k), asked.pictures) for k in (1, 2)
        )
        mean = cosines(regress_embeddings(regression, asked.texts), asked.pictures)
        again = [draw_embeddings(prior, asked.texts, seed=s, candidates=1) for s in (7, 8)]
        found[f"seed {seed}"] = {
            "prior, one draw": round(float(one.mean()), 4), "prior, best of two": round(float(best.mean()), 4),
            "regression": round(float(mean.mean()), 4),
            "two draws of one text": round(float(cosines(*again).mean()), 4),
            "prior (best of two) against text": compared(best, text),
            "prior (best of two) against regression": compared(best, mean),
            "regression against text": compared(mean, text),
        }  # fmt: skip
    return found


def same_text_cosine(clip: SmallCLIP, n: int = 6000) -> dict[str, Any]:
    """The cosine of two real pictures whose four attributes are the same, and n of such couples."""
    world = scenes(n, 16, 51_001, split="train")
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(wishes(world).tolist()):
        groups.setdefault(tuple(row), []).append(i)
    couples = [(rows[0], rows[1]) for rows in groups.values() if len(rows) > 1]
    first, second = (
        as_pairs(clip, world[[c[k] for c in couples]], ["a thing"] * len(couples)) for k in (0, 1)
    )
    return {"n": len(couples), "cosine": round(float(cosines(first.pictures, second.pictures).mean()), 4)}


def ways(
    unclip: SmallUnCLIP, rivals: tuple[DiffusionPrior, Tensor], asked: Pairs, unguided: bool
) -> dict[str, Tensor]:
    """Attributes right (N, 4) by every way from a scene or its caption to a picture; the same noise."""
    wish = wishes(asked.world)
    vectors = embeddings_of(unclip, asked)
    vectors["regression"] = regress_embeddings(rivals[0], asked.texts)
    vectors["linear map"] = asked.texts @ rivals[1]
    hits = {name: attributes_right(drawn_by(unclip.decoder, v), wish) for name, v in vectors.items()}
    hits["direct decoder"] = attributes_right(drawn_by(unclip.direct, asked.texts), wish)
    if unguided:
        hits["direct decoder, w=0"] = attributes_right(drawn_by(unclip.direct, asked.texts, 0.0), wish)
        hits["prior, w=0"] = attributes_right(drawn_by(unclip.decoder, vectors["prior"], 0.0), wish)
    return hits


def way_figures(
    unclip: SmallUnCLIP, rivals: tuple[DiffusionPrior, Tensor], asked: Pairs, unguided: bool = False
) -> dict[str, Any]:
    """Shares of every way, and the ways compared on the same scenes (all four attributes right or not)."""
    hits = ways(unclip, rivals, asked, unguided)
    right = {name: one.all(1) for name, one in hits.items()}
    couples = [("prior", "direct decoder"), ("prior", "text itself"), ("prior", "regression"), ("prior", "linear map"),
              ("true image", "prior"), ("prior, w=0", "direct decoder, w=0")]  # fmt: skip
    return {name: counted(one) for name, one in hits.items()} | {
        f"{a} against {b}": compared(right[a], right[b]) for a, b in couples if a in right
    }


def seen_before_figures(
    clip: SmallCLIP, unclip: SmallUnCLIP, rivals: tuple[DiffusionPrior, Tensor], asked: Pairs
) -> dict[str, Any]:
    """How many of the exam's pictures the older networks saw in their training, and every way on the rest alone."""
    recipe = CLIPRecipe()
    old = {picture.tobytes() for picture in world(recipe.pictures, 1 + recipe.seed).images}
    fresh = never_seen(asked.world)
    rest = asked.world[[i for i, one in enumerate(fresh) if one]]
    return {
        "n": len(fresh),
        "by the U-Net of 14_3": int((~fresh).sum()),
        "by CLIP, twice as large": sum(picture.tobytes() in old for picture in doubled(asked.world)),
        "small things among the rest": int((wishes(rest)[:, 2] == 0).sum()),
        "the rest": way_figures(unclip, rivals, as_pairs(clip, rest, rest.captions)),
    }


def reading_figures(clip: SmallCLIP, asked: Pairs) -> dict[str, Any]:
    """Of which sentence "a red circle" CLIP holds each picture: all 64 of colour and shape are offered."""
    names = list(ATTRIBUTES.values())
    offered = [f"a {colour} {shape}" for colour in names[0] for shape in names[1]]
    best = (asked.pictures @ text_vectors(clip, offered).T).argmax(1)
    said, true = torch.stack([best // len(names[1]), best % len(names[1])], 1), wishes(asked.world)[:, :2]
    right, banned = (said == true).all(1), held_out_pairs()
    wrong = [(names[0][c], names[1][s]) for c, s in said[~right].tolist()]
    return {
        "n": len(right), "colour and shape": round(float(right.float().mean()), 3), "interval": interval(right),
        "errors": len(wrong), "errors that name a pair of the training": sum(one not in banned for one in wrong),
    }  # fmt: skip


def variation_figures(unclip: SmallUnCLIP, asked: Pairs, copies: int = 2) -> dict[str, Any]:
    """What stays and what moves when a picture is drawn again from its embedding."""
    wish, home = wishes(asked.world), places(asked.world.images)
    drawn = [drawn_by(unclip.decoder, asked.pictures, seed=100 + k) for k in range(copies)]
    kept = torch.cat([attributes_right(x, wish) for x in drawn])
    moved = torch.cat([(places(x) - home).norm(dim=1) for x in drawn])
    other = (home - home.roll(1, 0)).norm(dim=1)
    return counted(kept) | {
        "pixels from the original's place": round(float(moved.mean()), 2),
        "pixels between two random pictures": round(float(other.mean()), 2),
    }


def blend_figures(unclip: SmallUnCLIP, asked: Pairs) -> dict[str, Any]:
    """Of couples of pictures: how often each attribute of a blend is the first's, the second's, or neither's."""
    half = len(asked.pictures) // 2
    wish, found = wishes(asked.world), {"n": half}
    first, second = wish[:half], wish[half : 2 * half]
    for share in (0.25, 0.5, 0.75):
        mixed = blend_embeddings(asked.pictures[:half], asked.pictures[half : 2 * half], share)
        drawn = drawn_by(unclip.decoder, mixed)
        a, b, differ = attributes_right(drawn, first), attributes_right(drawn, second), first != second
        found[f"share {share}"] = {
            name: {"first": round(float(a[:, i][differ[:, i]].float().mean()), 3),
                   "second": round(float(b[:, i][differ[:, i]].float().mean()), 3),
                   "of": int(differ[:, i].sum())} for i, name in enumerate(ATTRIBUTES)
        }  # fmt: skip
    return found


def edit_figures(clip: SmallCLIP, unclip: SmallUnCLIP, asked: Pairs) -> dict[str, Any]:
    """The colour of a picture changed by words: is the new colour there, and do the other three attributes stay?"""
    wish = wishes(asked.world)
    new = wish.clone()
    new[:, 0] = (wish[:, 0] + 1 + torch.arange(len(wish)) % 7) % 8
    names = list(ATTRIBUTES["colour"])
    old_texts = text_vectors(clip, [f"a {names[c]} thing" for c in wish[:, 0]])
    new_texts = text_vectors(clip, [f"a {names[c]} thing" for c in new[:, 0]])
    found: dict[str, Any] = {"n": len(wish)}
    for share in (0.25, 0.4, 0.55):
        turned = edit_embeddings(asked.pictures, new_texts, old_texts, share)
        hits = attributes_right(drawn_by(unclip.decoder, turned), new)
        found[f"share {share}"] = {
            "new colour": round(float(hits[:, 0].float().mean()), 3),
            "others stay": round(float(hits[:, 1:].all(1).float().mean()), 3),
            "both": round(float(hits.all(1).float().mean()), 3), "interval of both": interval(hits.all(1)),
        }  # fmt: skip
    return found


def short_figures(
    clip: SmallCLIP, unclip: SmallUnCLIP, regression: DiffusionPrior, copies: int = 8
) -> dict[str, Any]:
    """Texts that name no size and no ground ("a red circle"): what is drawn there, over `copies` pictures a text."""
    asked = exam()
    rows = list({tuple(row[:2]): i for i, row in enumerate(wishes(asked).tolist())}.values())
    texts = [partial_caption(asked.objects[i], asked.backgrounds[i], ("colour", "shape")) for i in rows]
    vectors, wish = text_vectors(clip, texts), wishes(asked[rows])[:, :2]
    makers = {
        "prior": lambda k: drawn_by(
            unclip.decoder, draw_embeddings(unclip.prior, vectors, seed=20 + 2 * k, candidates=1), seed=60 + k
        ),
        "regression": lambda k: drawn_by(
            unclip.decoder, regress_embeddings(regression, vectors), seed=60 + k
        ),
        "text itself": lambda k: drawn_by(unclip.decoder, vectors, seed=60 + k),
        "direct decoder": lambda k: drawn_by(unclip.direct, vectors, seed=60 + k),
    }
    found: dict[str, Any] = {"texts": len(texts), "pictures a text": copies}
    right: dict[str, Tensor] = {}  # the share of each text's pictures
    for name, make in makers.items():
        drawn = [make(k) for k in range(copies)]
        told = torch.stack([attributes_right(x, torch.cat([wish, wish * 0], 1))[:, :2].all(1) for x in drawn])
        right[name] = told.float().mean(0)
        grounds = [[scene.background for scene in read_scenes(x, objects=1)] for x in drawn]
        different = [len(set(column)) for column in zip(*grounds, strict=True)]
        commonest = [Counter(column).most_common(1)[0][1] / copies for column in zip(*grounds, strict=True)]
        found[name] = {
            "colour and shape right": round(float(told.float().mean()), 3),
            "different grounds a text": round(sum(different) / len(different), 2),
            "share of the commonest ground": round(sum(commonest) / len(commonest), 3),
        }
    for rival in ("regression", "direct decoder"):
        found[f"prior against {rival}"] = compared(
            right["prior"], right[rival]
        )  # a text, not a picture, is an item
    return found
