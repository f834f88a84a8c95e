"""What makes a good set of instructions? The same base model learns from eight sets, and each is examined alike.

    rows = SETS["300 rows"](recipe)                 {"messages": [user, assistant]} each
    model = instructed(base, recipe, rows=rows)     as many steps for every set: a small one is repeated
    examined(model.model, model.tokenizer)          pass@1 of all, of each language, of three steps; readable

    python -m minillm.course.small.instruction_sets --seeds 0 1          the table of lesson 04_1

A set differs from the recipe's in one thing: how many rows it has, in what language, how hard its tasks are, whose
hand wrote it, whether it is right. "half wrong" has a slip in every second answer: one number is another one, and the
program runs and gives other values.

Book: 4.1.3 좋은 지시 데이터셋이 갖춰야 할 조건. Paper: Zhou et al. 2023 (LIMA: few rows, well chosen).
Left out: rows that a model wrote; what several of these do together.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minillm.course.small.program_models import EXAM, exam_scores, program_model
from minillm.course.small.program_scores import ProgramScores
from minillm.course.small.programs import ROWS, ProgramRecipe, instructed
from minillm.data import ProgramTask, program_rows, small_tasks
from minillm.data.small_programs import LANGUAGES, LENGTHS, NUMBERS, OPERATIONS, PROBES, part_of
from minillm.evaluation import paired

Rows = list[dict[str, Any]]


def rows_of(
    recipe: ProgramRecipe,
    n: int | None = None,
    languages: Sequence[str] = LANGUAGES,
    lengths: Sequence[int] = tuple(LENGTHS),
    styles: Sequence[str] | None = None,
) -> Rows:
    """The recipe's instructions, or the first `n` of them, of these languages, steps and writers only."""
    tasks = small_tasks(
        recipe.rows if n is None else n, "train", recipe.seed + ROWS, languages=languages, lengths=lengths
    )
    return program_rows(tasks, seed=recipe.seed, styles=styles)


def slipped(task: ProgramTask, rng: random.Random) -> ProgramTask:
    """The same task with another number in one step: other values, and no function of the exam.

    Another operation, too, for the rare task that no other number changes: x // 9 // 6 // 9 is -1 or 0 in any case.
    """
    places = range(len(task.steps))
    numbers = [(place, (task.steps[place][0], number)) for place in places for number in NUMBERS]
    others = [(place, (name, number)) for place in places for name in OPERATIONS for number in NUMBERS]
    rng.shuffle(numbers), rng.shuffle(others)
    values = [task(x) for x in PROBES]
    for place, step in numbers + others:
        steps = (*task.steps[:place], step, *task.steps[place + 1 :])
        other = ProgramTask(steps, task.language, task.form)
        if part_of(steps) == "train" and [other(x) for x in PROBES] != values:
            return other
    raise ValueError(f"no other step in {task.steps} gives another function of the training part")


def half_wrong(recipe: ProgramRecipe) -> Rows:
    """The recipe's instructions; every second answer is that of a slipped task."""
    tasks = small_tasks(recipe.rows, "train", seed=recipe.seed + ROWS)
    rng = random.Random(recipe.seed)
    written = [slipped(task, rng) if i % 2 else task for i, task in enumerate(tasks)]
    rows = program_rows(written, seed=recipe.seed)
    asked = ({"role": "user", "content": task.prompt} for task in tasks)
    return [{"messages": [question, row["messages"][1]]} for question, row in zip(asked, rows)]


SETS: dict[str, Callable[[ProgramRecipe], Rows]] = {
    "3,000 rows": rows_of,
    "300 rows": partial(rows_of, n=300),
    "30 rows": partial(rows_of, n=30),
    "English only": partial(rows_of, languages=("en",)),
    "one and two steps": partial(rows_of, lengths=(1, 2)),
    "one writer": partial(rows_of, styles=("clear",)),  # a comment before each step
    "one silent writer": partial(rows_of, styles=("plain",)),  # the same without the comments
    "half wrong": half_wrong,
}


def parts(tasks: Sequence[ProgramTask]) -> dict[str, np.ndarray]:
    """Which tasks belong to each column of the table, bool (N,)."""
    return {
        "all": np.ones(len(tasks), dtype=bool),
        "English": np.array([task.language == "en" for task in tasks]),
        "Korean": np.array([task.language == "ko" for task in tasks]),
        "3 steps": np.array([len(task.steps) == max(LENGTHS) for task in tasks]),
    }


def examined(model: Any, tokenizer: Any, n: int = EXAM) -> tuple[ProgramScores, dict[str, float]]:
    """(the scores of `n` held-out instructions, pass@1 of each part and how readable the answers are)."""
    scores = exam_scores(model, tokenizer, n)
    passed = {
        name: float(scores.passed[mask].mean())
        for name, mask in parts(small_tasks(n, "test", seed=0)).items()
    }
    return scores, passed | {"readable": float(scores.readable.mean())}


def main(arguments: list[str] | None = None) -> int:
    """Print the table of lesson 04_1: a line for each set and seed."""
    parser = argparse.ArgumentParser(
        prog="python -m minillm.course.small.instruction_sets", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    options = parser.parse_args(arguments)
    for seed in options.seeds:
        base, recipe, first = program_model(seed=seed), ProgramRecipe(seed=seed), None
        for name in options.sets:
            made = instructed(base, recipe, rows=SETS[name](recipe))
            scores, figures = examined(made.model, made.tokenizer)
            first = scores if first is None else first
            said = "".join(f"{key} {value:.3f}  " for key, value in figures.items())
            print(
                f"seed {seed}, {name:18}{said}against the first: {paired(scores.passed, first.passed)}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
