"""The models of chapter 4, made once on this machine and kept, with the figures they were made with.

    base, tokenizer, facts = program_model()     goes on with a text
    model, tokenizer, facts = sft_model()        answers an instruction
    judge, tokenizer, facts = reward_model()     scores an answer

The first call of each makes it, and those that it is made from; all three take about a minute and a half of one core.
The recipe is programs.py. Every figure is of instructions whose functions are in no training data, and the proof stands
beside it.

Book: 4.1 코딩 테스트 통과하기, 4.2.1 선호 데이터셋을 사용한 채점 모델 만들기.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from minillm._checks import check_int
from minillm._files import read_json, write_json
from minillm.course.kept import DEADLINE, kept, kept_folder, key_of
from minillm.course.small.program_scores import (
    PARAMS,
    ProgramScores,
    chat_prompts,
    comment_of,
    comment_prompts,
    program_scores,
)
from minillm.course.small.programs import (
    PAIRS,
    ROWS,
    ProgramJudge,
    ProgramModel,
    ProgramRecipe,
    instructed,
    judged_pairs,
    judging,
    pretrained,
)
from minillm.course.small.recipe import one_thread
from minillm.data import (
    label_ceiling,
    program_rows,
    program_texts,
    prove_held_out,
    shared_shapes,
    small_tasks,
)
from minillm.evaluation import paired, readability
from minillm.inference import rollout
from minillm.models import Llama
from minillm.tokenizer import BPETokenizer, load_tokenizer
from minillm.training import RewardModel, reward_report

VERSION = 1  # count it up when what is called here would make other models of the same recipe
EXAM = 500  # instructions of each examination
Made = TypeVar("Made")


# --- made once and kept ---


def program_model(
    rebuild: bool = False, progress: bool = False, deadline: float = DEADLINE, seed: int = 0
) -> ProgramModel:
    """The base model of chapter 4: (model, tokenizer, facts), made by the first call on this machine and kept.

    rebuild: make it again. progress: show a bar while it is made. seed: of everything; lessons take 0. Raises
    TimeoutError when another process has been at it for `deadline` seconds.
    """
    recipe = ProgramRecipe(seed=check_int("seed", seed, 0))

    def make() -> ProgramModel:
        made = pretrained(recipe, progress)
        ways = {"chat": False, "comment": True}
        exam = {
            name: passed_figures(exam_scores(*made[:2], EXAM, comments=one)) for name, one in ways.items()
        }
        return made._replace(facts=made.facts | {"exam": exam})

    return _kept("program_base", recipe, ProgramModel, Llama, make, rebuild, deadline)


def sft_model(
    rebuild: bool = False,
    progress: bool = False,
    deadline: float = DEADLINE,
    seed: int = 0,
    steps: int | None = None,
) -> ProgramModel:
    """The base model after supervised fine-tuning; arguments as program_model's, which is made where it is not there.

    steps: None for the recipe's; chapter 5 compares its adapters with a model of as few steps as they have.
    facts["exam"]: pass@1 of 500 instructions that are in no training data, with its interval; "proof" says so.
    """
    recipe = ProgramRecipe(seed=check_int("seed", seed, 0))
    if steps is not None:
        recipe = replace(recipe, sft_steps=check_int("steps", steps, 1))

    def make() -> ProgramModel:
        made = instructed(program_model(progress=progress, deadline=deadline, seed=seed), recipe, progress)
        exam = passed_figures(exam_scores(made.model, made.tokenizer, EXAM))
        return made._replace(facts=made.facts | {"exam": exam} | held_out_proof(recipe, EXAM))

    return _kept("program_sft", recipe, ProgramModel, Llama, make, rebuild, deadline)


def reward_model(
    rebuild: bool = False, progress: bool = False, deadline: float = DEADLINE, seed: int = 0
) -> ProgramJudge:
    """The reward model of chapter 4; arguments as program_model's. The SFT model is made where it is not there.

    facts["exam"]: accuracy on pairs of instructions that it has not seen, its interval, calibration error, n, and the
    label ceiling: how often who knows the rubric agrees with the judge on such pairs.
    """
    recipe = ProgramRecipe(seed=check_int("seed", seed, 0))

    def make() -> ProgramJudge:
        sft = sft_model(progress=progress, deadline=deadline, seed=seed)
        made = judging(sft, recipe, progress)
        return made._replace(facts=made.facts | {"exam": judge_figures(made.model, sft)})

    return _kept("program_reward", recipe, ProgramJudge, RewardModel, make, rebuild, deadline)


def program_model_folder(name: str, seed: int = 0) -> Path:
    """Where "program_base", "program_sft" or "program_reward" is kept, whether it has been made yet or not."""
    return kept_folder(name, _key(ProgramRecipe(seed=seed)))


def _kept(
    name: str,
    recipe: ProgramRecipe,
    kind: Callable[..., Made],
    weights: Any,
    make: Callable[[], Made],
    rebuild: bool,
    deadline: float,
) -> Made:
    def save(folder: Path) -> None:
        model, tokenizer, facts = make()
        model.save_pretrained(folder)
        tokenizer.save(folder)
        write_json(folder / "facts.json", facts)

    def load(folder: Path) -> Made:
        facts = read_json(folder / "facts.json", f"facts of {name}")
        return kind(weights.from_pretrained(folder).eval(), load_tokenizer(folder), facts)

    return kept(name, _key(recipe), save, load, rebuild, deadline)


def _key(recipe: ProgramRecipe) -> str:
    """Another recipe, another world, another torch or another version makes other models."""
    rows = program_rows(small_tasks(50, "train", seed=recipe.seed + ROWS))
    return key_of(recipe, program_texts(200, recipe.seed), rows, torch.__version__, VERSION)


# --- examinations ---


def exam_scores(
    model: Llama,
    tokenizer: BPETokenizer,
    n: int = EXAM,
    part: str = "test",
    seed: int = 0,
    comments: bool = False,
) -> ProgramScores:
    """One answer, drawn at temperature 1, to each of `n` instructions of a part; comments: asked as a base model is."""
    tasks = small_tasks(n, part, seed=seed)
    prompts = (comment_prompts if comments else chat_prompts)(tokenizer, tasks)
    with one_thread():
        answers = rollout(model, prompts, replace(PARAMS, seed=seed))
    return program_scores(tokenizer, tasks, answers)


def passed_figures(scores: ProgramScores) -> dict[str, Any]:
    """pass@1 with its 95 % interval, the means of the other two, and n."""
    nothing = np.zeros_like(scores.passed)
    figures = {"pass": scores.passed, "readable": scores.readable, "true": scores.true}
    return {name: round(float(values.mean()), 4) for name, values in figures.items()} | {
        "interval": [round(end, 4) for end in paired(scores.passed, nothing).interval], "n": len(nothing),
    }  # fmt: skip


def held_out_proof(recipe: ProgramRecipe, n: int = EXAM) -> dict[str, Any]:
    """That no instruction of the exam, and no function of it, is in what the models learn from; what is: its shapes.

    proof: of the instructions, against those of rows, pairs and sheets. comments: of the same tasks as comments,
    against the first lines of the texts. shared_shapes: the share whose operations are taught in the same order.
    """
    exam = small_tasks(n, "test", seed=0)
    taught = small_tasks(recipe.rows, "train", seed=recipe.seed + ROWS)
    taught += small_tasks(recipe.pairs, "train", seed=recipe.seed + PAIRS)
    texts = program_texts(recipe.texts, seed=recipe.seed)
    sheets = [line.partition(". ")[2] for text in texts if text[0] != "#" for line in text.splitlines()]
    asked = prove_held_out(
        [one.prompt for one in exam], [one.prompt for one in taught] + sheets, what="instruction"
    )
    comments = prove_held_out(
        sorted({comment_of(one) for one in exam}), [text.partition("\n")[0] for text in texts], what="comment"
    )
    prove_held_out({one.steps for one in exam}, {one.steps for one in taught}, what="task")
    return {"proof": str(asked), "comments": str(comments), "shared_shapes": shared_shapes(exam, taught)}


def judge_figures(model: RewardModel, sft: ProgramModel, n: int = EXAM, seed: int = 0) -> dict[str, Any]:
    """What a reward model is worth on pairs of the SFT model's answers to `n` instructions of the test part."""
    rows, pairs = judged_pairs(sft, n, "test", seed)
    with one_thread():
        report = reward_report(model, pairs)
    return {
        "accuracy": round(report.accuracy, 4), "interval": [round(end, 4) for end in report.interval],
        "calibration_error": round(report.calibration_error, 4), "pairs": report.pairs,
        "ceiling": round(label_ceiling(rows, readability), 4),
    }  # fmt: skip
