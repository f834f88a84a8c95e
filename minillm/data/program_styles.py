"""The same program in many hands: writers of different styles, texts for pre-training, and pairs that a judge chose.

    clear                       cramped                       one_line
    def solve(x):               def f(x):                     def solve(x):
        # add 3                  a=x+3                            return (x + 3) * 4
        result = x + 3           return a*4
        # multiply by 4
        return result * 4

All of them are right; they differ in what readers like. The judge looks at the style alone, as a person who skims: he
prefers the first of two with probability sigmoid((score(first) - score(second)) / noise). So even who knows the scores
agrees with him only so often: `label_ceiling`, against which the accuracy of a reward model is held.

Book: 4.2.1 선호 데이터셋을 사용한 채점 모델 만들기. Paper: Bradley and Terry 1952. Left out: several judges.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minillm._checks import check_choice, check_int, check_number, check_text, describe
from minillm.data.small_programs import ProgramTask, english_step, korean_step, small_tasks

NOISE = 0.05
SHEETS = 0.15  # the share of exercise sheets among the texts


@dataclass(frozen=True)
class Style:
    """How a writer writes. indent: columns. steps: one line a step, else one expression."""

    comments: bool = True
    steps: bool = True
    spaces: bool = True
    names: bool = True
    indent: int = 4
    in_place: bool = False  # x += 3


STYLES = {
    "clear": Style(),
    "plain": Style(comments=False),
    "in_place": Style(comments=False, in_place=True),
    "one_line": Style(comments=False, steps=False),
    "short_names": Style(comments=False, names=False),
    "cramped": Style(comments=False, spaces=False, names=False, indent=1),
    "cramped_line": Style(comments=False, steps=False, spaces=False, names=False, indent=2),
}
# operation: its expression on {e}; whether a sum in {e} needs brackets; the sign of `x += 3`
_WRITTEN = {
    "add": ("{e} + {n}", False, "+"), "subtract": ("{e} - {n}", False, "-"), "multiply": ("{e} * {n}", True, "*"),
    "quotient": ("{e} // {n}", True, "//"), "remainder": ("{e} % {n}", True, "%"),
    "larger": ("max({e}, {n})", False, ""), "smaller": ("min({e}, {n})", False, ""),
    "distance": ("abs({e} - {n})", False, ""),
}  # fmt: skip


def write_program(task: ProgramTask, style: Style | str = "clear", language: str | None = None) -> str:
    """The right answer to a task in a writer's style, a Style or a name of STYLES; comments in the task's language."""
    if isinstance(style, str):
        style = STYLES[check_choice("style", style, tuple(STYLES))]
    if not isinstance(style, Style):
        raise ValueError(f"style must be a Style or one of {', '.join(STYLES)}, got {describe(style)}")
    check_int("indent", style.indent, 1, 8)
    said = korean_step if (language or task.language) == "ko" else english_step
    name, value = ("solve", "result") if style.names else ("f", "a")
    lines, expression, additive = [f"def {name}(x):"], "x", False
    for place, (operation, number) in enumerate(task.steps):
        form, brackets, sign = _WRITTEN[operation]
        if style.comments:
            lines.append(f"# {said((operation, number))}")
        if not style.steps:
            expression = f"({expression})" if brackets and additive else expression
            expression, additive = form.format(e=expression, n=number), operation in ("add", "subtract")
        elif style.in_place:
            written = f"x {sign}= {number}" if sign else f"x = {form.format(e='x', n=number)}"
            lines.append(written)
            expression = "x"
        else:
            old = "x" if place == 0 else value
            expression = form.format(e=old, n=number)
            if place < len(task.steps) - 1:
                lines.append(f"{value} = {expression}")
    lines.append(f"return {expression}")
    if not style.spaces:
        lines = [line if line.startswith(("#", "def")) else _tight(line) for line in lines]
    return "\n".join([lines[0], *(" " * style.indent + line for line in lines[1:])]) + "\n"


def _tight(line: str) -> str:
    word, _, rest = line.partition("return ")
    return f"return {rest.replace(' ', '')}" if rest else word.replace(" ", "")


def random_style(rng: random.Random) -> Style:
    """A writer drawn at random, each of his habits by itself."""
    flags = [rng.random() < share for share in (0.4, 0.7, 0.6, 0.6)]
    return Style(*flags, indent=(4, 4, 2, 1)[int(rng.random() * 4)], in_place=rng.random() < 0.2)


def program_rows(
    tasks: Iterable[ProgramTask], seed: int = 0, styles: Sequence[Style | str] | None = None
) -> list[dict[str, Any]]:
    """Instruction data: {"messages": [user, assistant]} for each task, written in one of `styles` (all by default)."""
    rng = random.Random(check_int("seed", seed, 0))
    chosen = list(STYLES) if styles is None else list(styles)
    if not chosen:
        raise ValueError("styles must hold at least one style, got none")
    rows = []
    for task in tasks:
        code = write_program(task, chosen[int(rng.random() * len(chosen))])
        rows.append({"messages": [_user(task.prompt), {"role": "assistant", "content": code}]})
    return rows


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def program_texts(n: int, seed: int = 0, part: str = "train") -> list[str]:
    """Texts to learn a language from, before any instruction: 85 % commented programs, 15 % sheets of exercises.

    A sheet lists instructions and answers none. So a model that has read only these goes on with the next exercise when
    it is asked for a program, which is what instruction tuning (지도 미세 조정) then changes.
    """
    check_int("n", n, 0)
    rng = random.Random(check_int("seed", seed, 0))
    sheets = [rng.random() < SHEETS for _ in range(n)]
    tasks = iter(small_tasks(sum(3 if sheet else 1 for sheet in sheets), part, seed))
    texts = []
    for sheet in sheets:
        if sheet:
            texts.append("".join(f"{number}. {next(tasks).prompt}\n" for number in (1, 2, 3)))
        else:
            task = next(tasks)
            said = korean_step if task.language == "ko" else english_step
            steps = ", ".join(map(said, task.steps))
            texts.append(f"# {steps}\n{write_program(task, random_style(rng))}")
    return texts


# --- what a judge prefers ---


def preference(first: float, second: float, noise: float = NOISE) -> float:
    """How probably the judge prefers the first of two answers with these scores."""
    first, second = check_number("a score", first), check_number("a score", second)
    difference = (first - second) / check_number("noise", noise, 1e-9)
    return 1 / (1 + math.exp(-difference)) if difference > -700 else 0.0


def preference_pairs(
    candidates: Iterable[tuple[str, str, str]],
    score: Callable[[str], float],
    noise: float = NOISE,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """What the judge says of (prompt, answer, other answer): {"prompt": [messages], "chosen", "rejected"} for each.

    score: what he looks at, as minillm.evaluation.readability. Pairs of equal texts are left out: there is nothing to
    prefer.
    """
    rng, rows = random.Random(check_int("seed", seed, 0)), []
    for prompt, first, second in candidates:
        draw = rng.random()
        if check_text("an answer", first) == check_text("an answer", second):
            continue
        if draw >= preference(score(first), score(second), noise):
            first, second = second, first
        rows.append({"prompt": [_user(check_text("a prompt", prompt))], "chosen": first, "rejected": second})
    return rows


def label_ceiling(
    rows: Sequence[dict[str, Any]], score: Callable[[str], float], noise: float = NOISE
) -> float:
    """How often, 0..1, who knows the scores agrees with the judge on such pairs: nobody can do better."""
    if not rows:
        raise ValueError("rows must hold at least one pair, got none")
    if not callable(score):
        raise ValueError(f"score must be a function of a text, got {describe(score)}")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or not {"chosen", "rejected"} <= set(row):
            raise ValueError(f"row {number} must have chosen and rejected, got {describe(row)}")
    sure = [preference(score(row["chosen"]), score(row["rejected"]), noise) for row in rows]
    return sum(max(p, 1 - p) for p in sure) / len(sure)


def written_pairs(tasks: Iterable[ProgramTask], seed: int = 0) -> list[tuple[str, str, str]]:
    """(prompt, program, program of another writer) for each task, both right."""
    rng = random.Random(check_int("seed", seed, 0))
    return [
        (task.prompt, write_program(task, random_style(rng)), write_program(task, random_style(rng)))
        for task in tasks
    ]
