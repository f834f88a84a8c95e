"""Instant feedback on an exercise: `check("02-1-a", answer)` prints that it passed or says what is wrong.

A checker is a function in classroom/exercises/lesson_02_1.py, decorated with `@exercise("02-1-a", points=2)`, that
takes the answer and uses `assert condition, "what a student should look at"`. An exception or an endless loop in the
student's code becomes feedback as well (limits.py says what is covered where). Marks come from `minillm assignment
grade` (grading.py), which runs the same checkers and the hidden tests of the notebook.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm._checks import check_int, check_number, describe
from minillm.course.classroom.limits import Died, run_limited
from minillm.course.lessons.ids import check_exercise_id, exercise_prefix, lesson_of_exercise
from minillm.course.paths import LIBRARY

LONGEST = 2000  # characters of feedback that are shown
_REGISTRY: dict[str, Exercise] = {}


@dataclass(frozen=True)
class Exercise:
    """One exercise: its id, what it is worth, how long its checker may run, and the checker itself."""

    id: str
    points: int
    seconds: float
    checker: Callable[[Any], None]


class ExerciseError(AssertionError):
    """An answer that does not pass; its message is the feedback. Notebooks show the message without a traceback."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for this instead of printing the stack
        return [str(self)]


def exercise(exercise_id: str, points: int = 2, seconds: float = 30.0) -> Callable[[Callable], Callable]:
    """Register the decorated function as the checker of `exercise_id`; it takes the answer and uses `assert`.

    Raises ValueError for an id not of the form "02-1-a", for points below one, or for an id that is taken.
    """
    check_exercise_id(exercise_id)
    points = check_int("points", points, 1)
    seconds = check_number("seconds", seconds, 0)

    def register(checker: Callable[[Any], None]) -> Callable[[Any], None]:
        taken = _REGISTRY.get(exercise_id)
        if taken is not None and taken.checker.__module__ != checker.__module__:
            raise ValueError(f"exercise {exercise_id} is already defined in {taken.checker.__module__}")
        _REGISTRY[exercise_id] = Exercise(exercise_id, points, seconds, checker)
        return checker

    return register


def exercises_of(lesson: str) -> dict[str, Exercise]:
    """The exercises of a lesson such as "02_1", by id. Raises ValueError for a lesson without exercises."""
    prefix = exercise_prefix(lesson)
    name = f"minillm.course.classroom.exercises.lesson_{lesson}"
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    found = {key: _REGISTRY[key] for key in sorted(_REGISTRY) if key.startswith(prefix)}
    if not found:
        files = sorted((Path(__file__).parent / "exercises").glob("lesson_*.py"))
        lessons = ", ".join(file.stem.removeprefix("lesson_") for file in files)
        raise ValueError(f"lesson {lesson} has no exercises; lessons with exercises: {lessons}")
    return found


def checkers() -> dict[str, Callable[[Any], None]]:
    """The checker of every exercise whose lesson was asked for so far, by id."""
    return {name: one.checker for name, one in _REGISTRY.items()}


def find_exercise(exercise_id: str) -> Exercise:
    """The exercise of that id; ValueError listing its lesson's ids when there is none."""
    lesson = lesson_of_exercise(exercise_id)
    known = exercises_of(lesson)
    if exercise_id not in known:
        raise ValueError(f"lesson {lesson} has no exercise {exercise_id!r}; it has {', '.join(known)}")
    return known[exercise_id]


def check(exercise_id: str, answer: Any) -> None:
    """Mark one answer: prints a line when it passes, raises ExerciseError with the feedback when it does not.

    Raises ValueError for an unknown id. Where it can, the answer runs in a child process (limits.py): what it changes
    while it is checked, a random state for example, does not change here.
    """
    task = find_exercise(exercise_id)
    points = f"{task.points} point{'s' if task.points > 1 else ''}"
    if answer is ... or answer is None:
        raise ExerciseError(
            f"{exercise_id}: there is no answer yet ({describe(answer)} came). Worth {points}."
        )
    try:
        feedback = run_limited(lambda: _feedback(task.checker, answer), task.seconds)
    except TimeoutError:
        feedback = f"stopped after {task.seconds:g} seconds. Does every loop end?"
    except Died as error:
        feedback = f"your answer ended the process it ran in ({error})"
    if feedback:
        raise ExerciseError(f"✗ {exercise_id}: {feedback}") from None
    print(f"✓ {exercise_id} passed: {points}")


def _feedback(checker: Callable[[Any], None], answer: Any) -> str:
    """What is wrong with the answer, "" when nothing is."""
    try:
        checker(answer)
    except AssertionError as error:
        return _message(error) or f"an assert failed{_line_of(error)}"
    except (Exception, SystemExit) as error:  # an answer that leaves is no answer either
        return f"your answer stopped with {type(error).__name__}: {_message(error)}{_line_of(error)}"
    return ""


def _message(error: BaseException) -> str:
    """The message of an error: it may hold all that an answer returned, or be one that cannot be made a str."""
    try:
        text = str(error)
    except Exception:
        return "(its message cannot be shown)"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text):,} characters)"


def _line_of(error: BaseException) -> str:
    """Where in the student's own cell it happened: the innermost frame that no file of minillm holds."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(str(LIBRARY))]
    notebook = [frame for frame in own if "ipykernel" in frame.filename or frame.filename.startswith("<")]
    return f" (line {notebook[-1].lineno} of your cell)" if notebook else ""
