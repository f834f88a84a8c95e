"""What an answer of chapter 4 is worth: it is run, then its style is measured.

    passed     1 where the program is right on all eight inputs            data/small_programs.py
    readable   the rubric, 0..1, of the text alone                         evaluation/readability.py
    true       passed x readable: what we want; no model sees it while it learns from a proxy

An answer that has not ended after PARAMS.max_tokens tokens is no answer: all three are 0.

Book: 4.1 코딩 테스트 통과하기, 4.2 채점 모델로 코드 가독성 높이기.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from minillm._checks import describe, is_listing
from minillm.data import ProgramTask, run_answer
from minillm.data.small_programs import english_step, korean_step
from minillm.evaluation import readability
from minillm.inference import SamplingParams
from minillm.tokenizer import apply_chat_template

PARAMS = SamplingParams(max_tokens=72)  # the longest program of any writer has 58 tokens


class ProgramScores(NamedTuple):
    """One number an answer, float64 (N,) each."""

    passed: np.ndarray
    readable: np.ndarray
    true: np.ndarray


def chat_prompts(tokenizer: Any, tasks: Sequence[ProgramTask]) -> list[list[int]]:
    """The ids of each instruction, as a user says it in the tokenizer's chat template."""
    asked = ([{"role": "user", "content": task.prompt}] for task in tasks)
    return [apply_chat_template(tokenizer, messages, tokenize=True) for messages in asked]


def comment_of(task: ProgramTask) -> str:
    """The steps of a task as the comment that a text for pre-training begins with: "# add 3, multiply by 4"."""
    said = korean_step if task.language == "ko" else english_step
    return f"# {', '.join(map(said, task.steps))}"


def comment_prompts(tokenizer: Any, tasks: Sequence[ProgramTask]) -> list[list[int]]:
    """The ids of each task as a text for pre-training begins: what a base model can go on with."""
    end = tokenizer.encode("<|endoftext|>", allowed_special="all")
    return [[*end, *tokenizer.encode(f"{comment_of(task)}\n")] for task in tasks]


def answer_texts(tokenizer: Any, answers: Sequence[Sequence[int]]) -> list[str | None]:
    """The text of each answer without its end token; None for one that has not ended."""
    (end,) = tokenizer.encode("<|endoftext|>", allowed_special="all")
    return [tokenizer.decode(list(ids[:-1])) if len(ids) and ids[-1] == end else None for ids in answers]


def program_scores(
    tokenizer: Any, tasks: Sequence[ProgramTask], answers: Sequence[Sequence[int]]
) -> ProgramScores:
    """Run and measure each answer (ids) to its task. ValueError unless there are as many of both."""
    if not is_listing(answers) or not is_listing(tasks):
        raise ValueError(f"expected tasks and their answers, got {describe(tasks)} and {describe(answers)}")
    tasks, answers = list(tasks), list(answers)
    if any(isinstance(one, str) or not is_listing(one) for one in answers):
        raise ValueError("an answer is a list of ids, one of these is none")
    if len(answers) != len(tasks):
        raise ValueError(f"expected one answer to each of {len(tasks)} tasks, got {len(answers)} answers")
    pairs = zip(tasks, answer_texts(tokenizer, answers))
    found = [(0.0, 0.0) if text is None else _score(task.steps, text) for task, text in pairs]
    passed, readable = np.array(found, dtype=np.float64).reshape(-1, 2).T
    return ProgramScores(passed, readable, passed * readable)


@lru_cache(maxsize=65536)
def _score(steps: tuple, text: str) -> tuple[float, float]:
    """The same program is written many times."""
    return float(run_answer(ProgramTask(steps), text).passed), readability(text)
