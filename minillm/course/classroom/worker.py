"""A warm process that judges one task after another: `python -m minillm.course.classroom.worker`.

It has imported the library and run the lesson's set-up cells, so that a verdict takes milliseconds. One JSON line comes
in, one goes out; both ways are moved away from standard input and output, which belong to the answers.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from minillm.course.classroom.checking import find_exercise
from minillm.course.classroom.judge import Task, Verdict, judge, run_cell, watched
from minillm.course.classroom.limits import can_fork

LARGEST_FILE = 100 * 2**20  # bytes that an answer may write into one file
NOT_DUMPABLE = 4  # prctl's PR_SET_DUMPABLE
A_CLASS = 5  # so many requests: more will come


def main() -> None:
    """Serve until standard input ends."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0), os.dup2(nothing, 1)
    _protect()
    warm: dict[str, tuple[dict[str, Any], dict]] = {}
    for number, line in enumerate(requests):
        if number == A_CLASS and can_fork():
            _load_ahead()
        replies.write(json.dumps(_answer(json.loads(line), warm)) + "\n")
        replies.flush()


def _load_ahead() -> None:
    """What torch imports the first time some operations run: a second, which each forked child would pay again."""
    import torch._dynamo  # noqa: F401


def _answer(request: dict[str, Any], warm: dict[str, tuple[dict[str, Any], dict]]) -> dict[str, Any]:
    """What to reply; `warm` keeps each set-up's names, and what `watched()` was before any answer."""
    key = json.dumps(request["setup"])
    if "task" not in request:
        try:
            names = _names(request["setup"])
            find_exercise(request["exercise"])  # its lesson's checkers are there, and are watched
            warm[key] = names, watched()
        except Exception as error:
            return {"failed": f"{type(error).__name__}: {error}"}
        return {"failed": ""}
    names, ours = warm[key]
    if not can_fork():  # the last answer may have changed what it found
        names = _names(request["setup"])
    own = find_exercise(request["task"]["id"]).seconds
    task = Task(**request["task"] | {"seconds": request["task"]["seconds"] or own})
    home = os.getcwd()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)  # what an answer writes beside itself goes with it
        try:
            verdict: Verdict = judge(names, task, ours)
        finally:
            os.chdir(home)
    return asdict(verdict) | {"forked": can_fork()}


def _names(setup: list[str]) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, text in enumerate(setup):
        run_cell(text, f"<set-up {number}>", names)
    return names


def _protect() -> None:
    """Limits that children inherit; and on Linux they cannot open this process's pipes through /proc."""
    with suppress(ImportError, ValueError, OSError):  # Windows has no resource module
        import resource

        resource.setrlimit(
            resource.RLIMIT_FSIZE, (LARGEST_FILE, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        )
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(NOT_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    main()
