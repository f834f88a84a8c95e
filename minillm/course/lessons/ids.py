"""The names of lessons and exercises, read in this one place; which lessons there are stands in notebooks/course.toml.

lesson     08_3c                            chapter 8, section 3, the third lesson that starts there
file       08_3c_speculative_decoding.ipynb
module     lesson_08_3c.py                  its checkers, and in the tests its wrong answers
exercise   08-3c-a                          its first exercise
"""

from __future__ import annotations

import re
from typing import Any

from minillm._checks import check_text

_LESSON = r"\d\d_\d[a-z]?"
_EXERCISE = r"\d\d-\d[a-z]?-[a-z]"


def check_lesson_id(lesson: Any) -> str:
    """`lesson` when it has the form of a lesson's id; ValueError otherwise."""
    if not re.fullmatch(_LESSON, check_text("lesson", lesson)):
        raise ValueError(f'a lesson looks like "02_1" or "08_3c", got {lesson!r}')
    return lesson


def check_exercise_id(exercise: Any) -> str:
    """`exercise` when it has the form of an exercise's id; ValueError otherwise."""
    if not re.fullmatch(_EXERCISE, check_text("exercise id", exercise)):
        raise ValueError(f'an exercise id looks like "02-1-a" or "08-3c-a", got {exercise!r}')
    return exercise


def lesson_of_exercise(exercise: str) -> str:
    """The lesson an exercise belongs to: "08-3c-a" -> "08_3c". ValueError for anything else."""
    return check_exercise_id(exercise).rpartition("-")[0].replace("-", "_")


def lesson_of_file(name: str) -> str | None:
    """The lesson a file's name begins with: "08_3c_any name.ipynb" -> "08_3c"; None when it begins with none."""
    found = re.match(rf"{_LESSON}(?![a-z0-9])", name)
    return found[0] if found else None


def ids_in(text: str) -> list[tuple[str, str]]:
    """(id, what follows it) of each lesson that a text names: "see 08_3c, then" -> [("08_3c", ", then")]."""
    return [(one[0], text[one.end() :]) for one in re.finditer(rf"\b{_LESSON}(?![a-z0-9_])", text)]


def is_lesson_file(name: str) -> bool:
    """Whether a notebook's name is a lesson's: the id, then a name in small letters, as in 02_1_bpe.ipynb."""
    return re.fullmatch(rf"{_LESSON}_[a-z0-9_]+\.ipynb", name) is not None


def exercise_prefix(lesson: str) -> str:
    """What the ids of a lesson's exercises begin with: "08_3c" -> "08-3c-"."""
    return check_lesson_id(lesson).replace("_", "-") + "-"
