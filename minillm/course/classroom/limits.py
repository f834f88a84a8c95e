"""Run someone else's code for a limited time, whatever it does: `run_limited(work, seconds)`.

On Linux the work runs in a forked child, which shares nothing with this process but a pipe. The child is killed when
its time is up. That ends everything: loops that catch every exception, sleeps, one compiled call that never returns,
a crash of the interpreter. It needs no signal here, so it holds in any thread, in a Jupyter kernel, and where Ctrl-C
is ignored (`nohup`). What the work changed stays in the child; only its text and what it printed come back. Work
that asks for more memory than there is gets a MemoryError, and the system ends the child before this process. What
the child waits for a processor does not count, so a class that is graded on a busy machine loses no right answer.

Elsewhere (fork is unsafe on macOS and unknown to Windows), and where torch has a GPU (a forked child cannot use it),
the work runs in this process. An exception is thrown into its thread when the time is up. Work that swallows the
exception, or that is inside one compiled call and stays there, ends this process GRACE seconds later, with the stack
on standard error: a dead kernel is better than a machine that computes for ever.
"""

from __future__ import annotations

import builtins
import contextvars
import ctypes
import faulthandler
import gc
import io
import json
import math
import os
import secrets
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch.autograd.grad_mode import inference_mode, set_grad_enabled
from tqdm import tqdm

from minillm.sandbox.processes import BUSY, seconds_left

GRACE = 10.0  # seconds between the exception and the end of the process, where there is no child
ORPHAN = 5  # seconds a child outlives its limit when the parent was killed and cannot end it
MOST_PRINTED = 100_000  # characters of a child's prints that are passed on: a loop may print for ever, too
STACK = 16 * 2**20  # bytes of a child's stack; a main thread has 8 MiB as a rule
PART = 300  # characters of a message: as JSON under 4,096 bytes, which a pipe takes whole, from any thread or process


class Died(Exception):
    """The work ended the process it ran in; the message says how."""


def can_fork() -> bool:
    """Whether a forked child can do the work: on Linux, and without a GPU."""
    return sys.platform.startswith("linux") and not torch.cuda.is_available()


def run_limited(
    work: Callable[[], str], seconds: float, alone: bool = False, memory: int | None = None
) -> str:
    """What `work()` returns, a str. Raises TimeoutError after `seconds`, Died when the work ended its process.

    `work` handles its own exceptions: one that gets out of it in a child counts as Died. `alone` closes what the child
    has open beside standard input, output and error: files and pipes of this process are not its business. `memory`
    is the most bytes a child may ask for beyond what this process holds (None: what the machine has left).
    """
    return _in_child(work, seconds, alone, memory) if can_fork() else _in_this_process(work, seconds)


# --- in a child ---


def _in_child(work: Callable[[], str], seconds: float, alone: bool, memory: int | None) -> str:
    seal = secrets.token_hex(16)  # what the work writes into the pipe by itself is no result
    reading, writing = os.pipe()
    sys.stdout.flush(), sys.stderr.flush()  # or the child would hold a second copy of what is not written yet

    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def life() -> None:
        os.close(reading)
        # torch keeps both by thread; by the names of here, because an exercise may forbid torch.inference_mode
        with inference_mode(inference):
            set_grad_enabled(grad)
            _be_the_child(work, writing, seconds, alone, memory, seal)

    child = _fork(life)
    os.close(writing)
    result = None
    try:
        result = _receive(reading, child, seconds, seal)
    finally:
        os.close(reading)
        status = _end(child)
    if result is None:
        code = os.waitstatus_to_exitcode(status)
        raise Died(f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")
    return result


def _fork(life: Callable[[], None]) -> int:
    """Fork a child that lives `life()`, which does not return; its number.

    A thread forks that is there for nothing else, and a child has the thread that forked it alone. So the child's stack
    begins here: it has none of the frames of whoever called `run_limited`, which hold what a test expects.
    """
    forked: list[int | OSError] = []

    def fork() -> None:
        try:
            with warnings.catch_warnings():
                # 3.12: "fork() may lead to deadlocks in the child"
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
        except OSError as error:
            forked.append(error)
            return
        if child == 0:
            life()
        forked.append(child)

    before = threading.stack_size(STACK)
    try:
        thread = threading.Thread(target=contextvars.copy_context().run, args=(fork,))
        thread.start()
    finally:
        threading.stack_size(before)
    try:
        thread.join()
    except BaseException:  # Ctrl-C
        thread.join()
        if isinstance(forked[0], int):
            _end(forked[0])
        raise
    if isinstance(forked[0], OSError):
        raise forked[0]
    return forked[0]


def _receive(reading: int, child: int, seconds: float, seal: str) -> str | None:
    """The child's result, None when it ended without one. Passes on what it prints. TimeoutError after `seconds`."""
    began = time.monotonic()
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    rest, printed, result = b"", 0, []
    while (left := seconds_left(child, began, seconds)) > 0:
        if not poll.poll(1000 * left):
            continue  # its time is up, unless it had to wait for a processor meanwhile
        if not (data := os.read(reading, 65536)):
            return None
        *lines, rest = (rest + data).split(b"\n")
        for kind, text in map(_message, lines):
            if kind == f"end {seal}":
                return "".join(result)
            if kind == f"result {seal}":
                result.append(text)
            elif kind in ("stdout", "stderr"):
                getattr(sys, kind).write(text[: max(0, MOST_PRINTED - printed)])
                printed += len(text)
    raise TimeoutError


def _message(line: bytes) -> tuple[str, str]:
    """(kind, text) of a line of the pipe; ("", "") for what the work itself wrote into it."""
    with suppress(ValueError, TypeError, RecursionError):
        kind, text = json.loads(line)
        if isinstance(kind, str) and isinstance(text, str):
            return kind, text
    return "", ""


def _end(child: int) -> int:
    """Kill the child, with the processes it started; its exit status (its own, if it had ended before)."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _be_the_child(
    work: Callable[[], str], writing: int, seconds: float, alone: bool, memory: int | None, seal: str
) -> None:
    """The child's whole life. It leaves by os._exit, so that nothing of the parent's is cleaned up twice."""
    try:
        gc.freeze()  # what the parent holds is no garbage of this process: a collection would copy every page of it
        os.setsid()  # a process group of its own, which ends as one
        if alone:
            _close_all_but(writing)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(math.ceil((1 + BUSY) * seconds) + ORPHAN)
        _limit_memory(memory)
        torch.set_num_threads(1)  # the parent's other threads are not here: waiting for them would never end
        own_progress_lock()
        sys.stdout, sys.stderr = (_Relay(writing, kind) for kind in ("stdout", "stderr"))
        builtins.input = _no_input  # in a notebook it would talk through the parent's connection
        own = os.getpid()
        result = work()
        if os.getpid() == own:  # not in a process that the work forked, and that comes by here, too
            _send(writing, f"result {seal}", result)
            _send(writing, f"end {seal}", ".")
    finally:
        os._exit(1)


def own_progress_lock() -> None:
    """Give this process a tqdm lock of its own.

    tqdm's lock is shared with forked children. A child that is killed while it draws a bar never gives it back, and the
    next bar of the parent would wait for ever.
    """
    tqdm.set_lock(threading.RLock())


def _close_all_but(kept: int) -> None:
    """Close every open file but 0, 1, 2 and `kept`."""
    most = min(os.sysconf("SC_OPEN_MAX"), 65536)
    os.closerange(3, kept)
    os.closerange(kept + 1, most)


def _limit_memory(most: int | None) -> None:
    """What this process asks for beyond the memory that is left fails; where that is misjudged, it is ended first.

    Nothing happens where the system says nothing about memory, or has set a limit already.
    """
    import resource  # Windows has no such module

    with suppress(OSError):  # a process that hides from its children may not
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(OSError, ValueError, StopIteration):
        left = 1024 * _kilobytes("/proc/meminfo", "MemAvailable")
        limit = 1024 * _kilobytes("/proc/self/status", "VmData") + min(left, left if most is None else most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _kilobytes(path: str, name: str) -> int:
    """The number that a file of /proc gives for `name`."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _send(writing: int, kind: str, text: str) -> None:
    for start in range(0, len(text), PART):
        part = text[start : start + PART].encode("utf-8", "replace").decode()
        os.write(writing, json.dumps([kind, part]).encode() + b"\n")


def _no_input(*_: object) -> str:
    raise EOFError("an answer cannot ask for input while it is checked")


class _Relay(io.TextIOBase):
    """The child's standard output: what is printed goes to the parent."""

    encoding = "utf-8"

    def __init__(self, writing: int, kind: str):
        self._writing, self._kind, self._left = writing, kind, MOST_PRINTED

    def write(self, text: str) -> int:
        _send(self._writing, self._kind, text[: self._left])
        self._left -= min(self._left, len(text))
        return len(text)


# --- in this process ---


class _TimeIsUp(BaseException):
    """Thrown into the thread that works; no Exception, so that ordinary handlers let it pass."""


def _in_this_process(work: Callable[[], str], seconds: float) -> str:
    thread = ctypes.c_ulong(threading.get_ident())
    throw = ctypes.pythonapi.PyThreadState_SetAsyncExc
    lock = threading.Lock()  # settles the race between work that just ended and the timer
    ended = expired = False

    def interrupt() -> None:  # at most once
        nonlocal expired
        with lock:
            if not ended:
                expired = True
                throw(thread, ctypes.py_object(_TimeIsUp))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=2)  # a thread that needs no GIL
    try:
        try:
            timer.start()
            result = work()
        finally:
            with lock:
                ended = True
            throw(thread, None)  # takes back an exception that has not arrived yet
    except _TimeIsUp:
        pass
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()
    if expired:
        raise TimeoutError
    return result
