"""The exam of the small LLaVA: questions about pictures that taught nothing, each asked alone, answers balanced.

    python -m minillm.course.small.llava_exam --write      train seed 0, examine and keep it; then seeds 1, 2

    right  =  every token of the true answer, and its end, is the likeliest one      (what greedy writing would write)

Beside each share stand n, the share of a model that never saw a picture, and the paired wins and losses of the two.
Pictures of the held-out pairs of colour and shape are counted apart. Book 14.4; why a blind model must stand beside:
Goyal et al. 2017 (VQA v2). Left out: answers that mean the same in other words.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from minillm._files import write_json
from minillm.course.small.clip import as_pixels
from minillm.course.small.llava import (
    WEIGHTS,
    LLaVARecipe,
    SmallLLaVA,
    board,
    examples,
    small_llava,
    train_llava,
)
from minillm.course.small.recipe import one_thread
from minillm.data import SceneQuestion, Scenes, balanced, held_out_pairs, prove_held_out
from minillm.evaluation import paired, wilson_interval
from minillm.models import LLaVA
from minillm.tokenizer import BPETokenizer
from minillm.training import PictureCollator, look_once
from minillm.training.alignment.pairs import IGNORED


class Exam(NamedTuple):
    """Pictures, and questions with the number of the picture that each is asked about."""

    world: Scenes
    asked: list[tuple[int, SceneQuestion]]


def make_exam(n: int, seed: int, split: str = "train", taught: Scenes | set[bytes] | None = None) -> Exam:
    """Balanced questions on n scenes; a scene whose picture is in `taught` (fingerprints, too) is left out."""
    known = set(taught.fingerprints) if isinstance(taught, Scenes) else taught or set()
    world = board(n, seed, split).without(known)
    return Exam(world, [(i, one) for i, row in enumerate(balanced(world.questions)) for one in row])


@torch.no_grad()
def answers_right(
    model: LLaVA, tokenizer: BPETokenizer, states: Tensor | None, exam: Exam, lang: str = "en", tiles: int = 1
) -> list[bool]:
    """Whether the model answers each question as it is true. states: of the exam's pictures, `tiles` a picture."""
    talks = [
        [(one.text, one.answer) if lang == "en" else (one.text_ko, one.answer_ko)] for _, one in exam.asked
    ]
    rows = examples(tokenizer, talks, model.config.picture_tokens, 0 if states is None else tiles)
    for row, (place, _) in zip(rows, exam.asked):
        row["picture_states"] = list(range(place * tiles, (place + 1) * tiles))
    collate, right = PictureCollator(model.eos_token_ids[0], states), []
    for start in range(0, len(rows), 128):
        batch = collate(rows[start : start + 128])
        labels = batch.pop("labels")[:, 1:]  # (B, T - 1)
        logits = model(**batch).logits[:, :-1]
        right += ((logits.argmax(-1) == labels) | (labels == IGNORED)).all(1).tolist()
    return right


def by_kind(exam: Exam, right: Sequence[bool]) -> dict[str, list[bool]]:
    """The marks of each kind of question, in the order of the kinds."""
    out: dict[str, list[bool]] = {}
    for (_, one), mark in sorted(zip(exam.asked, right), key=lambda pair: KIND_ORDER[pair[0][1].kind]):
        out.setdefault(one.kind, []).append(mark)
    return out


KIND_ORDER = {
    kind: i
    for i, kind in enumerate(
        (
            "background",
            "colour",
            "shape",
            "size",
            "place",
            "count",
            "count_of",
            "exists",
            "is_colour",
            "beside",
        )
    )
}


def table(exam: Exam, right: Sequence[bool], blind: Sequence[bool]) -> dict[str, Any]:
    """Of each kind: n, how many answers there are, both shares, Wilson's interval of ours, paired wins and losses."""
    answers: dict[str, set[str]] = {}
    for _, one in exam.asked:
        answers.setdefault(one.kind, set()).add(one.answer)
    other, out = by_kind(exam, blind), {}
    for kind, marks in by_kind(exam, right).items():
        beside, n = paired(marks, other[kind]), len(marks)
        low, high = wilson_interval(sum(marks), n)
        out[kind] = {
            "n": n, "answers": len(answers[kind]), "right": round(sum(marks) / n, 4),
            "interval": [round(low, 4), round(high, 4)], "blind": round(sum(other[kind]) / n, 4),
            "wins": beside.wins, "losses": beside.losses,
            "difference": [round(end, 4) for end in beside.interval],
        }  # fmt: skip
    return out


def examine(
    model: LLaVA, blind: LLaVA, tokenizer: BPETokenizer, taught: Scenes, n: int = 1200, seed: int = 9_000
) -> dict[str, Any]:
    """All figures: n scenes of pairs that were taught, in both languages, and half as many of held-out pairs."""
    seen, other = make_exam(n, seed, "train", taught), make_exam(n // 2, seed, "held_out", taught)
    pairs = {(one.colour, one.shape) for things in taught.objects for one in things}
    proofs = {
        "pictures": str(
            prove_held_out(set(seen.world.fingerprints), set(taught.fingerprints), what="picture")
        ),
        "pairs": str(prove_held_out(set(held_out_pairs()), pairs, what="colour-shape pair")),
    }
    figures: dict[str, Any] = {}
    with one_thread():
        for name, exam, lang in (("en", seen, "en"), ("ko", seen, "ko"), ("held_out_pairs", other, "en")):
            states = look_once(model, as_pixels(exam.world.images))
            right = answers_right(model, tokenizer, states, exam, lang)
            figures[name] = table(exam, right, answers_right(blind, tokenizer, None, exam, lang))
    return {"exam": figures, "proofs": proofs}


def make_small_llava(recipe: LLaVARecipe, progress: bool = False) -> SmallLLaVA:
    """Train it, and a blind one for a third more steps on the same texts, and examine both; nothing is kept."""
    model, tokenizer, losses, seconds, world = train_llava(recipe, progress=progress)
    blind_recipe = replace(
        recipe, steps=recipe.steps * 4 // 3
    )  # its texts are shorter by the picture's tokens
    blind, _, blind_losses, blind_seconds, _ = train_llava(blind_recipe, blind=True, progress=progress)
    every = max(1, recipe.steps // 25)
    facts = {
        "recipe": asdict(recipe),
        "parameters": {name: sum(p.numel() for p in getattr(model, name).parameters())
                       for name in ("vision", "projector", "language")},
        "cpu_seconds": round(seconds, 1),
        "losses": [round(loss, 4) for loss in losses[::every]],
        "blind": {"steps": blind_recipe.steps, "cpu_seconds": round(blind_seconds, 1),
                  "last_loss": round(float(np.mean(blind_losses[-20:])), 4)},
        "last_loss": round(float(np.mean(losses[-20:])), 4),
        **examine(model, blind, tokenizer, world),
        "python": ".".join(map(str, sys.version_info[:3])), "torch": torch.__version__,
    }  # fmt: skip
    if progress:
        print(f"seed {recipe.seed}: {facts}", flush=True)
    return SmallLLaVA(model, tokenizer, facts)


def brief(facts: dict[str, Any]) -> dict[str, Any]:
    """Of each set of questions and each kind: [n, right, blind]."""
    return {
        name: {kind: [row["n"], row["right"], row["blind"]] for kind, row in rows.items()}
        for name, rows in facts["exam"].items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Say what is kept, or make it anew."""
    parser = argparse.ArgumentParser(
        prog="python -m minillm.course.small.llava_exam", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--write", action="store_true", help="train three seeds and keep the first")
    parser.add_argument("--try", dest="tried", action="store_true", help="train one and print its figures")
    for name in ("seed", "steps", "pictures", "batch_size"):
        parser.add_argument(f"--{name}", type=int, default=getattr(LLaVARecipe, name))
    for name in ("learning_rate", "described", "korean"):
        parser.add_argument(f"--{name}", type=float, default=getattr(LLaVARecipe, name))
    options = vars(parser.parse_args(arguments))
    write, tried = options.pop("write"), options.pop("tried")
    recipe = LLaVARecipe(**options)
    made = make_small_llava(recipe, progress=True) if write or tried else small_llava()
    if write:
        made.model.to(torch.float16).save_pretrained(WEIGHTS)
        made.tokenizer.save(WEIGHTS)
        write_json(WEIGHTS / "facts.json", made.facts)
        for seed in (1, 2):
            other = make_small_llava(replace(recipe, seed=seed), progress=True)
            made.facts.setdefault("seeds", {str(recipe.seed): brief(made.facts)})[str(seed)] = brief(
                other.facts
            )
            write_json(WEIGHTS / "facts.json", made.facts)
    for name, value in made.facts.items():
        print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
