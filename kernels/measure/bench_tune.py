"""Rank other settings of a kernel on this GPU: block sizes, warps, stages, one step up or down at a time.

Every kernel's file picks its launch settings in a plain function `settings(...)`. Here each such function that a work
calls is replaced by one whose answer differs in one number, halved or doubled (stages: one less or one more). What
runs, is right (compared with float64) and is fastest becomes the new start, until no step helps (coordinate descent).
A good answer is then written into the file by hand, and compile_ahead.py must agree that nothing spills.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from kernels._checks import describe
from kernels.measure.bench_check import check
from kernels.measure.bench_works import Trial, Work

Place = tuple[str, str]  # (the settings function's module and name, what it was asked)
Path = tuple[Any, ...]  # where in an answer a number stands: ("num_warps",) or (0, "columns")
# the functions that choose, by name; the last two: _rows.py
SETTINGS = ("settings", "whole_rows", "row_pieces")
GAIN = 1.02  # less than 2 % faster is noise


def steps(name: str, number: Any) -> list[int]:
    """The neighbours of one setting: stages count by one, everything else by powers of two."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        return []
    if "stages" in name:
        return [n for n in (number - 1, number + 1) if 1 <= n <= 6]
    if "warps" in name:
        return [n for n in (number // 2, number * 2) if 1 <= n <= 32]
    return [n for n in (number // 2, number * 2) if n >= 1] if number & (number - 1) == 0 else []


def items(answer: Any) -> list[tuple[Any, Any]]:
    """(key, part) of the dict, NamedTuple or tuple that a settings function answers with."""
    if isinstance(answer, dict):
        return list(answer.items())
    if isinstance(answer, tuple):
        return list(answer._asdict().items() if hasattr(answer, "_fields") else enumerate(answer))
    return []


def neighbours(answer: Any, path: Path = ()) -> Iterator[tuple[Path, int]]:
    """(where, other number) for each answer that differs from this one in one number, parts of parts included."""
    for key, part in items(answer):
        for other in steps(str(key), part):
            yield (*path, key), other
        yield from neighbours(part, (*path, key))


def changed(answer: Any, path: Path, number: int) -> Any:
    """The answer with another number at `path`."""
    if not path:
        return number
    parts = {key: changed(part, path[1:], number) if key == path[0] else part for key, part in items(answer)}
    if isinstance(answer, dict):
        return parts
    return answer._replace(**parts) if hasattr(answer, "_fields") else tuple(parts.values())


class Overridden:
    """While entered, every `settings` function of kernels/ answers with the numbers in `changes` put in.

    `asked` collects the places and the answers that were given.
    """

    def __init__(self) -> None:
        self.changes: dict[tuple[Place, Path], int] = {}
        self.asked: dict[Place, Any] = {}
        self._originals: list[tuple[Any, str, Callable]] = []

    def __enter__(self) -> Overridden:
        for module in [m for name, m in sys.modules.items() if name.startswith("kernels.") and m]:
            for name, function in list(vars(module).items()):
                if name in SETTINGS and callable(function):
                    self._originals.append((module, name, function))
                    setattr(module, name, self._wrapped(function))
        return self

    def __exit__(self, *_: object) -> None:
        for module, name, function in self._originals:
            setattr(module, name, function)
        self._originals.clear()

    def _wrapped(self, function: Callable) -> Callable:
        def settings(*args: Any, **options: Any) -> Any:
            asked = ", ".join(describe(value) for value in (*args, *options.values()))
            place = (f"{function.__module__}.{function.__name__}", asked)
            answer = function(*args, **options)
            for (where, path), number in self.changes.items():
                if where == place:
                    answer = changed(answer, path, number)
            self.asked[place] = answer
            return answer

        return settings


def named(place: Place, path: Path) -> str:
    """Where a number stands, for people: "kernels.softmax.settings(4096, 32) num_warps"."""
    return f"{place[0]}({place[1]}) {'.'.join(map(str, path))}"


def seconds(trial: Trial, gpu: Any) -> float | None:
    """How long a trial's kernel takes; None if it does not run or is wrong."""
    return None if check(trial) else gpu.seconds({"ours": trial.ours})[0].get("ours")


def tune_one(work: Work, gpu: Any, end: float) -> bool:
    """Walk from a work's shipped settings to faster ones until the clock says `end`; False if it does not run."""
    trial = work.build(gpu.device)
    with Overridden() as overridden:
        best = seconds(trial, gpu)
        if best is None:
            print(f"{work.kernel}, {work.name}: does not run as shipped: {check(trial)}")
            return False
        print(f"{work.kernel}, {work.name}: {best * 1e6:.1f} us as shipped", flush=True)
        answers, improved, tried = dict(overridden.asked), True, set()
        while improved:
            improved = False
            for place, path, number in [
                (where, *step) for where, now in answers.items() for step in neighbours(now)
            ]:
                before, overridden.changes = overridden.changes, overridden.changes | {(place, path): number}
                key = frozenset(overridden.changes.items())
                found = None
                if key not in tried and time.monotonic() < end:
                    tried.add(key)
                    found = seconds(trial, gpu)
                    said = f"{found * 1e6:.1f} us" if found else "does not run, or is wrong"
                    print(f"  {named(place, path)} {number}: {said}", flush=True)
                if found and found * GAIN < best:
                    best, improved, answers = found, True, answers | overridden.asked
                else:
                    overridden.changes = before
        better = [f"{named(*where)} {number}" for where, number in overridden.changes.items()]
        print(f"  best: {best * 1e6:.1f} us with {', '.join(better) or 'the shipped settings'}", flush=True)
    return True


def tune(works: list[Work], gpu: Any, minutes: float = 8.0) -> int:
    """Rank the neighbours of each work's shipped settings; print every candidate, then the best. 1 if none ran."""
    end, ran = time.monotonic() + 60 * minutes, False
    for work in works:
        if time.monotonic() < end:
            ran |= tune_one(work, gpu, end)
            gpu.forget()
    return 0 if ran else 1
