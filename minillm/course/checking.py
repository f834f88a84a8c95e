"""Instant feedback on an exercise: `check("02-1-a", answer)` prints that it passed or says what is wrong.

A checker is a function in minillm/course/exercises/lesson_NN_S.py, decorated with `@exercise("NN-S-x", points=2)`,
that takes the answer and uses `assert condition, "what a student should look at"`. An exception or an endless loop in
the student's code becomes feedback as well. Marks come from nbgrader (classroom.py), which runs the same checkers and
the hidden tests of the notebook. The time limit reaches Python code only, not a loop inside one compiled call.
"""

from __future__ import annotations

import _thread
import importlib
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm._checks import check_int, check_number, check_text, describe

EXERCISE_ID = re.compile(r"(?P<chapter>\d\d)-(?P<section>\d)-(?P<letter>[a-z])")
LESSON_ID = re.compile(r"\d\d_\d")
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
    if not EXERCISE_ID.fullmatch(check_text("exercise id", exercise_id)):
        raise ValueError(f'an exercise id looks like "02-1-a", got {exercise_id!r}')
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
    if not LESSON_ID.fullmatch(check_text("lesson", lesson)):
        raise ValueError(f'a lesson looks like "02_1", got {lesson!r}')
    name = f"minillm.course.exercises.lesson_{lesson}"
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    prefix = lesson.replace("_", "-") + "-"
    found = {key: _REGISTRY[key] for key in sorted(_REGISTRY) if key.startswith(prefix)}
    if not found:
        folder = Path(__file__).parent / "exercises"
        lessons = ", ".join(sorted(file.stem[-4:] for file in folder.glob("lesson_*.py"))) or "none yet"
        raise ValueError(f"lesson {lesson} has no exercises; lessons with exercises: {lessons}")
    return found


def find_exercise(exercise_id: str) -> Exercise:
    """The exercise of that id; ValueError listing its lesson's ids when there is none."""
    parts = EXERCISE_ID.fullmatch(check_text("exercise id", exercise_id))
    if parts is None:
        raise ValueError(f'an exercise id looks like "02-1-a", got {exercise_id!r}')
    lesson = f"{parts['chapter']}_{parts['section']}"
    known = exercises_of(lesson)
    if exercise_id not in known:
        raise ValueError(f"lesson {lesson} has no exercise {exercise_id!r}; it has {', '.join(known)}")
    return known[exercise_id]


def check(exercise_id: str, answer: Any) -> None:
    """Mark one answer: prints a line when it passes, raises ExerciseError with the feedback when it does not.

    Raises ValueError for an unknown id.
    """
    task = find_exercise(exercise_id)
    points = f"{task.points} point{'s' if task.points > 1 else ''}"
    if answer is ... or answer is None:
        raise ExerciseError(
            f"{exercise_id}: there is no answer yet ({describe(answer)} came). Worth {points}."
        )
    try:
        with time_limit(task.seconds):
            task.checker(answer)
    except TimeoutError:
        feedback = f"stopped after {task.seconds:g} seconds. Does every loop end?"
    except AssertionError as error:
        feedback = str(error) or f"an assert failed{_line_of(error)}"
    except (Exception, SystemExit) as error:  # an answer that leaves is no answer either
        feedback = f"your answer stopped with {type(error).__name__}: {error}{_line_of(error)}"
    else:
        print(f"✓ {exercise_id} passed: {points}")
        return
    raise ExerciseError(f"✗ {exercise_id}: {feedback}") from None


def _line_of(error: BaseException) -> str:
    """Where in the student's own cell it happened: the innermost frame that no file of minillm holds."""
    here = str(Path(__file__).resolve().parents[1])
    own = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(here)
    ]
    notebook = [frame for frame in own if "ipykernel" in frame.filename or frame.filename.startswith("<")]
    return f" (line {notebook[-1].lineno} of your cell)" if notebook else ""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block when it takes longer. Works on every system, in the main thread only.

    A timer thread does what Ctrl-C does. The lock settles the race between a block that just ended and the timer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    lock = threading.Lock()
    ended = expired = False

    def interrupt() -> None:
        nonlocal expired
        with lock:
            if not ended:
                expired = True
                _thread.interrupt_main()

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    try:
        try:
            timer.start()
            yield
        finally:
            with lock:
                ended = True
            timer.cancel()
    except KeyboardInterrupt:
        if expired:
            raise TimeoutError(f"took longer than {seconds:g} seconds") from None
        raise
