"""Several threads in one compiled step: everyone takes a share of the rows, then all meet, then comes the next product.

    thread 0    q, k, v: rows 0-287     |      heads 0-3  |      W_o: rows 0-287     |  ...
    thread 1             rows 288-575   |      heads 4-8  |           rows 288-575   |
                                      meet               meet                       meet

A step has some two hundred products that take microseconds each. To wake a thread for each of them takes longer than
the product; so the threads are woken once a token, and where they meet, those who are early look again and again
whether the last one has come (a spin barrier; llama.cpp does the same), and doze only if it takes long. Where other
programs want the processors, that is a bad bargain: `Pace` tries both, and stays with what was faster.

Book 7.1 언어 모델 추론 이해하기. Each number is computed by the same operations for any number of threads.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from statistics import median
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.extending import intrinsic

from minillm.quantization.loops import QUICK

# the checksum of the compiled files that this one calls: python -m tests.compiled_files --write
CALLED = "ad0a5cd2"

LOOKS = 100_000  # at the counter, some 30 µs, before a waiting thread lets others have the processor
NOBODY_COMES = np.iinfo(np.int64).min // 2  # in the counter: do not wait, a thread has failed
TRIES = 3  # tokens with each number of threads before one is chosen
ANEW = 500  # tokens after which the choice is made anew: other programs come and go

# A short sleep, not sched_yield: where other programs want the processors, who only steps aside is soon in the way of
# the thread that it waits for, and a meeting takes milliseconds. Windows' sleeps are too long.
_WINDOWS = sys.platform == "win32"
_give_way = ctypes.windll.kernel32.SwitchToThread if _WINDOWS else ctypes.CDLL(None).usleep
_SLEEP = [] if _WINDOWS else [ir.Constant(ir.IntType(32), 20)]  # µs
binding.add_symbol("minillm_give_way", ctypes.cast(_give_way, ctypes.c_void_p).value)


class Team(NamedTuple):
    """Who of how many computes, and the address of the int64 that counts who has come."""

    part: int
    parts: int
    counter: int


@intrinsic
def _take_number(typing, counter):  # pragma: no cover
    """Adds one to the counter at an address, and returns what was there: each number is given once."""

    def build(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(types.int64), build


@intrinsic
def _look(typing, counter):  # pragma: no cover
    """What stands in the counter now. All that others wrote before they took a number is seen after it."""

    def build(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(types.int64), build


@intrinsic
def _let_others_run(typing):  # pragma: no cover
    """Other threads, if any wait, have the processor for a short while."""

    def build(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.IntType(32), [one.type for one in _SLEEP])
        name = "minillm_give_way"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(function, _SLEEP)
        return context.get_dummy_value()

    return types.void(), build


@njit(**QUICK)
def meet(team):  # pragma: no cover
    """Returns when all have called it."""
    if team.parts == 1:
        return
    all_here = (_take_number(team.counter) // team.parts + 1) * team.parts
    looks = 0
    while 0 <= _look(team.counter) < all_here:
        looks += 1
        if looks > LOOKS:
            _let_others_run()


@njit(**QUICK)
def share(many, team):  # pragma: no cover
    """(first, last) of `many` things that are this thread's."""
    return team.part * many // team.parts, (team.part + 1) * many // team.parts


@lru_cache(maxsize=1)
def _workers(process: int, many: int) -> tuple[ThreadPoolExecutor, Lock]:
    """Threads that wait for work, and the lock of who gives them some: two steps that share them could wait for each
    other. A forked process has neither of its parent's."""
    return ThreadPoolExecutor(many, "minillm-step"), Lock()


def run_together(step: Callable[..., None], arguments: tuple[Any, ...], threads: int) -> None:
    """`step(*arguments, team)` in as many threads. The step ends with a meeting.

    When it is over, also by an error or Ctrl-C, no thread is at work any more. Where no thread is to be had (the
    program is about to end, or the system has no more), one does it all.
    """
    if threads > 1:
        counter = np.zeros(16, np.int64)  # nothing else in its part of the cache

        def take_part(part: int) -> None:
            try:
                step(*arguments, Team(part, threads, counter[8:].ctypes.data))
            except BaseException:
                counter[8] = NOBODY_COMES
                raise

        # as many for every model, so that models that take turns keep them
        workers, one_at_a_time = _workers(os.getpid(), max(threads, os.cpu_count() or 1) - 1)
        others: list[Future[None]] = []
        with one_at_a_time:
            try:
                for part in range(1, threads):
                    others.append(workers.submit(take_part, part))
                take_part(0)
                if counter[8] < 0:
                    for other in others:
                        other.result()  # raises what went wrong there
                return
            except BaseException as error:
                counter[8] = NOBODY_COMES
                _workers.cache_clear()
                workers.shutdown(cancel_futures=True)  # and waits for them
                if not isinstance(error, RuntimeError) or len(others) == threads - 1:
                    raise
    step(*arguments, Team(0, 1, 0))


class Pace:
    """How many threads: 1, 2, 4, ... up to what is allowed take turns in the first tokens, then the fastest goes on.

    A number that is once more than twice as slow as another one is not tried again. Threads of Python may share a pace:
    the table of times is never changed, but replaced.
    """

    def __init__(self) -> None:
        self.times: dict[int, list[float]] = {}  # threads: seconds of their first tokens
        self.tokens = 0

    def threads(self, most: int) -> int:
        """Of the next token."""
        choices = [2**i for i in range(most.bit_length()) if 2**i < most] + [most]
        found = self.times
        best = min((min(times) for times in found.values()), default=math.inf)
        times = {one: found.get(one, []) for one in choices}
        waiting = [
            one for one in choices if len(times[one]) < TRIES and min(times[one], default=0) <= 2 * best
        ]
        if waiting:
            return min(waiting, key=lambda one: len(times[one]))
        return min(choices, key=lambda one: median(times[one]))

    def took(self, threads: int, seconds: float) -> None:
        """A token took so long."""
        self.tokens += 1
        found = self.times
        times = found.get(threads, [])
        if self.tokens % ANEW == 1:
            self.times = {}  # nor does the first of all count: it may have been compiled for
        elif len(times) < TRIES:
            self.times = {**found, threads: [*times, seconds]}
