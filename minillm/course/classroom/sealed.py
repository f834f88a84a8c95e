"""An answer in a process of its own: the checker calls it from outside, and only data comes back.

Wherever Python code runs, it can change everything in its process, the judge included. So the judge is not there: each
call of the answer forks a child, which defines the answer from its text, calls it and sends the result back as plain
values (plain_values.py). The arguments need no such way: a forked child has them already, live objects too. It has no
frame of the checker's (limits.py), no checker's module and no way to the course's source (guard.py). What the answer
did to the interpreter ends with the child.

Between two calls an answer remembers nothing, and what it returns cannot be an object. `judge.py` says what that means.
"""

from __future__ import annotations

import builtins
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from minillm.course.classroom.guard import guard, hide_checkers
from minillm.course.classroom.limits import Died, run_limited
from minillm.course.classroom.plain_values import NotPlainError, dumps, loads

MUTABLE = (list, dict, set, bytearray, np.ndarray, torch.Tensor)


class SealedCall:
    """What stands for a function of the answer: calling it runs the answer's own, in a child."""

    def __init__(self, room: Room, name: str):
        self._room, self.__name__ = room, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._room.call(self.__name__, args, kwargs)


class Room:
    """Where the answer lives: `define()` runs its cells and returns their names; `memory` bytes; until `deadline`."""

    def __init__(self, define: Callable[[], dict[str, Any]], deadline: float, memory: int | None):
        self._define, self._deadline, self._memory = define, deadline, memory

    def names(self, wanted: list[str]) -> dict[str, Any]:
        """The answer's values under those names, with a SealedCall for each function. Raises what the answer raises."""

        def work() -> str:
            hide_checkers()
            guard()
            names = self._define()
            found = {name: names[name] for name in wanted if name in names}
            return json.dumps({n: None if callable(v) else dumps(v) for n, v in found.items()})

        found = json.loads(self._run(work))
        return {name: SealedCall(self, name) if one is None else loads(one) for name, one in found.items()}

    def call(self, name: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The result of one call. What the answer changed in its arguments is changed here, too."""
        given = [one for one in (*args, *kwargs.values()) if isinstance(one, MUTABLE)]

        def work() -> str:
            before = [_dumps_or_none(one) for one in given]
            hide_checkers([*args, *kwargs.values()])
            guard()
            function = self._define()[name]  # its cells may have changed what they found: the arguments, too
            for one, old in zip(given, before):
                if old is not None:
                    _become(one, loads(old))
            result = dumps(function(*args, **kwargs))
            after = [_dumps_or_none(one) for one in given]
            return json.dumps([result, [new if new != old else None for old, new in zip(before, after)]])

        text = self._run(work)
        try:
            result, changed = json.loads(text)
            for one, new in zip(given, changed):
                if new is not None:
                    _become(one, loads(new))
            return loads(result)
        except (ValueError, TypeError, RuntimeError):
            raise NotPlainError("damaged data") from None

    def _run(self, work: Callable[[], str]) -> str:
        def guarded() -> str:
            try:
                return "ok " + work()
            except NotPlainError as error:
                return f"plain {error}"
            except BaseException as error:
                return "raised " + json.dumps([type(error).__name__, str(error)[:2000]])

        left = max(0.0, self._deadline - time.monotonic())
        kind, _, text = run_limited(guarded, left, alone=True, memory=self._memory).partition(" ")
        if kind == "ok":
            return text
        if kind == "plain":
            raise NotPlainError(text)
        if kind == "raised":
            raise _as_here(text)
        raise Died("without a result")


class AnswerError(Exception):
    """The answer raised an exception that has no name here."""


def _as_here(text: str) -> Exception:
    """The answer's exception: of its own type when Python has one of that name, for checkers that expect it."""
    name, message = json.loads(text)
    kind = getattr(builtins, str(name), None)
    if (
        isinstance(kind, type)
        and issubclass(kind, Exception)
        and not issubclass(kind, (OSError, UnicodeError))
    ):
        return kind(message)
    return AnswerError(f"{name}: {message}")


def _dumps_or_none(value: Any) -> str | None:
    try:
        return dumps(value)
    except NotPlainError:
        return None


def _become(old: Any, new: Any) -> None:
    """Give `old` the content of `new`, in place."""
    if isinstance(old, (list, bytearray)):
        old[:] = new
    elif isinstance(old, (dict, set)):
        old.clear()
        old.update(new)
    elif isinstance(old, np.ndarray):
        old[...] = new
    else:
        with torch.no_grad():
            old.copy_(new)
