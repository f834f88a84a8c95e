"""The verdict on one exercise: the answer's cells, then the instructor's test cell, in processes that cannot hang us.

Twice, if the first run passes:

open      the answer and the tests in one forked child, as in the student's notebook. The tests get names of their own
          (the answer's are taken over only where the stored solution binds them), untouched builtins, and a fresh
          `check`. A run that passed must also show that nothing of ours was replaced, and that the tests still refuse
          two wrong answers.
sealed    the tests in a child that never runs the answer; the answer in children of that one (sealed.py). There is
          nothing in reach for it to replace, so the verdict is the tests'.

In both, guard.py keeps the answer from the course's source, from other files, and from its callers' frames.
Where the stored solution cannot be sealed (it returns an object, or is watched while it runs) the open run decides, and
so it does where no process can be forked. Python in one process is no prison: what changes the tests' values, or asks
the objects it is given for their module, can still cheat there.
"""

from __future__ import annotations

import builtins
import json
import linecache
import re
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from minillm.course.classroom.checking import ExerciseError, checkers, find_exercise
from minillm.course.classroom.guard import get_ready, guard, passed
from minillm.course.classroom.limits import Died, can_fork, run_limited
from minillm.course.classroom.plain_values import NotPlainError
from minillm.course.classroom.sealed import Room
from minillm.course.classroom.submissions import as_python, whole_text

IN_ANSWERS = {"check": passed, "display": passed}  # a student's own cells call both; nobody looks
BUILTINS = dict(vars(builtins))  # as they are before any answer ran
DOES_NOT_END = "stopped after {:.0f} seconds: a loop that does not end?"
NOT_DATA = "the answer gave {}: numbers, text, lists, arrays or tensors are expected"
LONGEST = 600  # characters of a reason


@dataclass(frozen=True)
class Task:
    """What is to be judged; all of it text, because it travels to a worker as JSON."""

    id: str
    cells: list[tuple[str, bool]]  # (code, whether it is the answer cell: an error elsewhere is ignored)
    check: str  # the visible part of the instructor's test cell
    hidden: str  # its hidden part
    provided: list[str]  # the names that the stored solution binds
    seconds: float
    memory: int | None = None
    sealed: bool = False


@dataclass(frozen=True)
class Verdict:
    """`passed`; otherwise the step that failed (answer, check, hidden, time, died, sealed, replaced) and why."""

    passed: bool
    step: str = ""
    why: str = ""
    sealed: bool = False
    seconds: float = 0.0  # the open run took
    limit: float = 0.0  # and might have taken


def judge(names: dict[str, Any], task: Task, ours: dict[tuple[str, str], Any] | None = None) -> Verdict:
    """The verdict on `task`, whose set-up cells have left `names`; `ours` is `watched()` of before any answer ran."""
    ours = watched() if ours is None else ours
    get_ready()
    began = time.monotonic()
    verdict = _limited(lambda: _open(names, task, ours), task.seconds, task.memory)
    seconds = time.monotonic() - began
    sealed = task.sealed and verdict.passed and can_fork()
    if sealed:
        longest = 4 * task.seconds + 60  # each call starts anew; that the answer ends is known by now
        again = _limited(lambda: _sealed(names, task, longest), longest + 5, task.memory)
        if not again.passed:
            verdict = Verdict(False, "sealed", again.why)
    return Verdict(verdict.passed, verdict.step, verdict.why, sealed, seconds, task.seconds)


def _limited(work: Callable[[], tuple[str, str]], seconds: float, memory: int | None) -> Verdict:
    try:
        step, why = json.loads(run_limited(lambda: json.dumps(work()), seconds, alone=True, memory=memory))
    except TimeoutError:
        return Verdict(False, "time", DOES_NOT_END.format(seconds))
    except Died as error:
        return Verdict(False, "died", f"the answer ended the process it ran in ({error})")
    except (ValueError, TypeError):
        return Verdict(False, "died", "the answer disturbed its own check")
    return Verdict(step == "passed", "" if step == "passed" else str(step), whole_text(str(why)))


# --- in one process ---


def _open(names: dict[str, Any], task: Task, ours: dict[tuple[str, str], Any]) -> tuple[str, str]:
    """(step, why), or ("passed", "")."""
    run_tests, replaced = _run_tests, _replaced  # the answer may put others under these names
    tested, mine = names | {"check": _check_of(task.id)}, names | IN_ANSWERS
    guard()
    try:
        _run_answer(task.id, task.cells, mine)
    except BaseException as error:
        return "answer", _reason(error, task)
    mine = {name: mine[name] for name in task.provided if name in mine}
    if missing := [name for name in task.provided if name not in mine and _uses(task, name)]:
        return "answer", f"the answer cell does not define {', '.join(missing)}"
    if failed := run_tests(tested, mine, task):
        return failed
    if changed := replaced(ours):
        return "replaced", f"the answer replaced {changed}"
    for wrong in (object(), lambda *args, **kwargs: None):
        if not run_tests(tested, dict.fromkeys(task.provided, wrong), task):
            return "replaced", "after the answer had run, the tests passed a wrong answer, too"
    return "passed", ""


def _run_answer(exercise: str, cells: list[tuple[str, bool]], names: dict[str, Any]) -> None:
    for number, (text, own) in enumerate(cells):
        try:
            run_cell(text, f"<answer {exercise} {number}>", names)
        except Exception:
            if own:
                raise


def _run_tests(names: dict[str, Any], answer: dict[str, Any], task: Task) -> tuple[str, str] | None:
    """(step, why) of the first test that fails; None when none does."""
    names = names | {"__builtins__": dict(BUILTINS)} | answer
    for step, text in (("check", task.check), ("hidden", task.hidden)):
        try:
            run_cell(text, f"<test {task.id} {step}>", names)
        except BaseException as error:
            if isinstance(error, NotPlainError):
                return "plain", NOT_DATA.format(error)
            if isinstance(error, (TimeoutError, Died)):  # of a sealed call
                return "time" if isinstance(error, TimeoutError) else "died", str(error)
            return step, _reason(error, task, tell=step == "check")
    return None


def _check_of(exercise: str) -> Callable[[str, Any], None]:
    """`check` without its process and its line of praise: both are the judge's here."""
    checker = find_exercise(exercise).checker

    def check(exercise_id: str, answer: Any) -> None:
        if answer is None or answer is ...:
            raise ExerciseError("there is no answer yet")
        checker(answer)

    return check


def run_cell(text: str, file: str, names: dict[str, Any]) -> None:
    """Run a cell as IPython does: its lines can be read back, which @triton.jit does; %magic and !shell do nothing."""
    code = compile(as_python(text), file, "exec", dont_inherit=True)
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(code, names)


def _uses(task: Task, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", task.check + task.hidden) is not None


def _reason(error: BaseException, task: Task, tell: bool = True) -> str:
    """What went wrong, for the student. With `tell` False it gives nothing away of a hidden test."""
    lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if "<answer" in one.filename]
    where = f" (line {lines[-1]} of the answer)" if lines else ""
    said = _text_of(error)[:LONGEST]
    if isinstance(error, SyntaxError):
        return f"syntax error in line {error.lineno}: {error.msg}"
    if isinstance(error, AssertionError) and not lines:
        return (said or "an assert failed") if tell else "the answer differs on another input"
    if isinstance(error, NameError) and lines:
        where += "; of the lesson's cells only the set-up is run, and of yours what the answer uses"
    stopped = f"the answer stopped with {type(error).__name__}"
    return f"{stopped}: {said}{where}" if tell else f"{stopped}{where} on another input"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be shown)"


WATCHED = re.compile(
    r"(minillm|builtins|math|json|re|inspect|traceback)(\.|$)|(torch|numpy)(\.(testing|nn\.functional))?$"
)

# replaced by others: by torch, when its compiler is imported; by the child that an answer runs in
NOT_WATCHED = {("torch", "manual_seed"), ("builtins", "input")}


def watched() -> dict[tuple[str, str], Any]:
    """Every function and class that the tests and the judge may call, by module and name, with its code."""
    found = {("the checker of", name): (one, _code(one)) for name, one in checkers().items()}
    for module, content in list(sys.modules.items()):
        if content is None or not WATCHED.match(module):
            continue
        for name, value in list(vars(content).items()):
            if callable(value) and (module, name) not in NOT_WATCHED:
                found[module, name] = value, _code(value)
                if isinstance(value, type) and value.__module__.startswith("minillm."):
                    found |= {
                        (module, f"{name}.{key}"): (one, _code(one))
                        for key, one in list(vars(value).items())
                        if callable(one)
                    }
    return found


def _code(value: Any) -> Any:
    return value.__code__ if isinstance(value, FunctionType) else None


def _replaced(before: dict[tuple[str, str], Any]) -> str:
    """The first thing of `before` that is another one now, "" when there is none."""
    now = watched()
    for key, (value, code) in before.items():
        found, its_code = now.get(key, (None, None))
        if found is not value or its_code is not code:
            return " ".join(key) if " " in key[0] else ".".join(key)
    return ""


# --- in two ---


def _sealed(names: dict[str, Any], task: Task, seconds: float) -> tuple[str, str]:
    """As `_open`; the answer runs in children only."""

    exercise, cells = task.id, task.cells  # the task has the hidden tests in it

    def define() -> dict[str, Any]:
        mine = names | IN_ANSWERS
        _run_answer(exercise, cells, mine)
        return mine

    room = Room(define, time.monotonic() + seconds, task.memory)
    try:
        mine = room.names(task.provided)
    except NotPlainError as error:
        return "plain", NOT_DATA.format(error)
    except TimeoutError:
        return "time", "the answer does not end when it runs by itself"
    except Exception as error:
        return "answer", _reason(error, task)
    return _run_tests(names | {"check": _check_of(task.id)}, mine, task) or ("passed", "")
