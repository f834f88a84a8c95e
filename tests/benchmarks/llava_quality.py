"""Small LLaVAs of equal cost beside each other: two stages or one, one layer of projector or two, tiles or none.

    python -m tests.benchmarks.llava_quality --part stages --seeds 0 1 2      prints; --write keeps the figures
    python -m tests.benchmarks.llava_quality --part tiles --seeds 0 1 2

stages: every model begins with the same language model, taught on the texts alone, and then has the same number of
steps of 32 pictures: all of them with everything learned ("one stage"), or the first 3 of 10 with the projector alone,
on descriptions. tiles: the kept model learns 96 x 96 pictures of a 3 x 3 board, from the overview alone (16 tokens) or
from the overview and nine tiles (160 tokens), in as many steps; and from the overview with as many CPU seconds.
What comes out stands in minillm/course/small/llava_weights/comparisons.json: n, paired wins and losses, intervals.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from minillm._files import read_json, write_json
from minillm.course.small.clip import as_pixels
from minillm.course.small.llava import (
    WEIGHTS,
    LLaVARecipe,
    examples,
    new_llava,
    small_llava,
    talk,
    teach,
    training_data,
)
from minillm.course.small.llava_exam import Exam, answers_right, by_kind, make_exam
from minillm.data import balanced, prove_held_out, scenes
from minillm.evaluation import paired
from minillm.models import LLaVA, cut_tiles
from minillm.training import look_once

RESULTS = WEIGHTS / "comparisons.json"
WORDS, STEPS, ALIGN = 60, 160, 48


def beside(a: list[bool], b: list[bool]) -> dict[str, Any]:
    """Two systems on the same questions: n, shares, paired wins and losses, interval of the difference."""
    found = paired(a, b)
    return {
        "n": len(a), "shares": [round(sum(one) / len(one), 4) for one in (a, b)], "wins": found.wins,
        "losses": found.losses, "interval": [round(end, 4) for end in found.interval],
    }  # fmt: skip


def kinds_beside(exam: Exam, a: list[bool], b: list[bool]) -> dict[str, Any]:
    """The same for all questions and for each kind."""
    other = by_kind(exam, b)
    return {"all": beside(a, b)} | {
        kind: beside(marks, other[kind]) for kind, marks in by_kind(exam, a).items()
    }


def stages(seed: int) -> dict[str, Any]:
    """One stage against two, and a linear projector against two layers, from one language model."""
    recipe = LLaVARecipe(seed=seed, steps=STEPS, pictures=4000, batch_size=32)
    world, talks, tokenizer = training_data(recipe)
    described = talk(world, replace(recipe, described=1.0))
    base = new_llava(tokenizer, recipe)
    teach(base, examples(tokenizer, talks, 16, 0), None, replace(recipe, steps=WORDS))
    states, rows = look_once(base, as_pixels(world.images)), examples(tokenizer, talks, 16)
    exam = make_exam(250, 9_500 + seed, taught=world)
    seen = look_once(base, as_pixels(exam.world.images))

    def taught(align: int, projector: str) -> tuple[list[bool], float]:
        model = new_llava(tokenizer, replace(recipe, projector=projector))
        model.language.load_state_dict(base.language.state_dict())
        start = time.process_time()
        if align:
            teach(model, examples(tokenizer, described, 16), states, replace(recipe, steps=align), "align")
        teach(model, rows, states, replace(recipe, steps=STEPS - align))
        return answers_right(model, tokenizer, seen, exam), round(time.process_time() - start, 1)

    one, two, linear = taught(0, "mlp2x_gelu"), taught(ALIGN, "mlp2x_gelu"), taught(0, "linear")
    return {
        "cpu_seconds": {"one stage": one[1], "two stages": two[1], "linear": linear[1]},
        "two stages against one": kinds_beside(exam, two[0], one[0]),
        "two layers against one": kinds_beside(exam, one[0], linear[0]),
        "proof": str(prove_held_out([i.tobytes() for i in exam.world.images], [i.tobytes() for i in world.images],
                                    what="picture")),
    }  # fmt: skip


KINDS = ("shape", "colour", "size", "place")
LARGE = 96


def look_at_tiles(model: LLaVA, n: int, seed: int, sizes: tuple[str, ...]) -> tuple[Any, Tensor]:
    """n scenes of 96 pixels on a 3 x 3 board: (questions and objects alone, states of overview and tiles)."""
    world = scenes(n, LARGE, seed, (1, 2), 3, split="train", sizes=sizes)
    states = []
    for some in as_pixels(world.images).split(200):
        states.append(look_once(model, torch.cat([cut_tiles(picture, 32) for picture in some])))
    return world, torch.cat(states)  # (n * 10, N, D)


def overview(states: Tensor) -> Tensor:
    """The first of every ten."""
    return states[::10]


def tiles(seed: int, pictures: int = 1600, steps: int = 100) -> dict[str, Any]:
    """What the tiles add, for small things and for large ones, at equal steps and at equal CPU seconds."""
    kept = small_llava()
    tokenizer = kept.tokenizer
    recipe = LLaVARecipe(
        seed=seed, steps=steps, batch_size=16, turns=3, described=0, reasoned=0, learning_rate=1e-3
    )
    world, states = look_at_tiles(kept.model, pictures, 700 + seed, ("small", "large"))
    talks = talk(world, recipe)
    exams = {}
    for size in ("small", "large"):
        drawn, seen = look_at_tiles(kept.model, 200, 9_700 + seed, (size,))
        prove_held_out(
            [i.tobytes() for i in drawn.images], [i.tobytes() for i in world.images], what="picture"
        )
        rows = enumerate(balanced(drawn.questions))
        exams[size] = Exam(drawn, [(i, one) for i, row in rows for one in row if one.kind in KINDS]), seen

    def taught(with_tiles: bool, steps: int) -> tuple[dict[str, list[bool]], float]:
        model = small_llava().model
        count = 10 if with_tiles else 1
        rows = examples(tokenizer, talks, 16, count)
        start = time.process_time()
        teach(model, rows, states if with_tiles else overview(states), replace(recipe, steps=steps))
        seconds = time.process_time() - start
        marks = {
            size: answers_right(model, tokenizer, seen if with_tiles else overview(seen), exam, tiles=count)
            for size, (exam, seen) in exams.items()
        }
        return marks, round(seconds, 1)

    all_tiles, few = taught(True, steps), taught(False, steps)
    more_steps = round(steps * all_tiles[1] / few[1])
    more = taught(False, more_steps)
    found: dict[str, Any] = {
        "steps": {"tiles": steps, "overview": steps, "overview, equal seconds": more_steps},
        "cpu_seconds": {"tiles": all_tiles[1], "overview": few[1], "overview, equal seconds": more[1]},
    }
    for name, other in (("equal steps", few), ("equal seconds", more)):
        found[name] = {
            size: kinds_beside(exam, all_tiles[0][size], other[0][size]) for size, (exam, _) in exams.items()
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("stages", "tiles"), required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--write", action="store_true", help="keep the figures beside the weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in options.seeds:
        found = {"stages": stages, "tiles": tiles}[options.part](seed)
        print(seed, found, flush=True)
        if options.write:
            kept = read_json(RESULTS, "comparisons") if RESULTS.exists() else {}
            kept.setdefault(options.part, {})[str(seed)] = found
            write_json(RESULTS, kept)


if __name__ == "__main__":
    main()
