"""Ranks: processes that run one function and talk to each other. They can be started from a notebook, and always end.

    losses = run_ranks(train, 4, rows, seconds=60)       train(rows) in four processes; what each of them returned

Each process has a number, its rank (랭크), and is a member of torch.distributed's default group (gloo, on the CPU).
A rank that raises ends all the others, and its traceback is what the caller gets; so do a rank that is killed and a
time that is up. If the caller itself is killed, its ranks end, too.

Processes come from a fork server that has imported torch already: the first call takes seconds, the next ones a tenth
of that. A function travels by its name, so it stands in a module; one of a notebook's cell is refused.

Book: 5.3 분산 학습과 ZeRO. Held against: torchrun (torch.distributed.run), which starts a script instead of a function.
Leaves out: several machines, GPUs (torchrun starts those), restarts.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from minillm._checks import check_int, check_number, describe

GRACE = (
    1.0  # seconds in which the others may say what they know, once one has failed: the first one is to blame
)
MOST = 64  # ranks of one machine


class RankFailed(RuntimeError):
    """A rank raised, was killed, or was too slow. `rank` is its number, `summary` one line without paths."""

    def __init__(self, rank: int, summary: str, details: str = "") -> None:
        super().__init__(f"{summary}\n\n{details}".rstrip())
        self.rank, self.summary = rank, summary


class _Member(NamedTuple):
    """A rank as its caller sees it."""

    process: Any
    line: Connection


class _Word(NamedTuple):
    """What a rank says when it is done."""

    good: bool
    told: bytes | tuple[str, str]  # the pickled result, or (last line, traceback) of the error
    printed: str
    when: float  # of a clock that all processes of the machine share


def run_ranks(function: Callable[..., Any], ranks: int, *args: Any, seconds: float = 120.0) -> list[Any]:
    """`function(*args)` in `ranks` processes; the list of what they returned, by rank.

    Arguments and results are copied (tensors and models, too): nothing is shared. What ranks print is printed here
    when all is over, rank by rank. Each has one thread. ValueError for a function or arguments that cannot travel;
    RankFailed if a rank raises, dies, or has no result `seconds` after all were started. No rank is left when this
    returns or raises.
    """
    check_int("ranks", ranks, 1, MOST)
    if check_number("seconds", seconds, 0, 1e6) == 0:
        raise ValueError("seconds must be above 0, got 0")
    work = _packed(function, args)
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload([__name__])
    team: list[_Member] = []
    with tempfile.TemporaryDirectory(prefix="minillm-ranks-") as folder:
        try:
            for rank in range(ranks):
                ours, theirs = context.Pipe()
                given = (rank, ranks, str(Path(folder) / "meeting"), work, seconds, theirs)
                process = context.Process(target=_rank, args=given, name=f"rank {rank}", daemon=True)
                process.start()
                theirs.close()
                team.append(_Member(process, ours))
            words = _listen(team, time.monotonic() + seconds, seconds)
        finally:
            for member in team:
                member.process.kill()
                member.process.join()
                member.line.close()
    for rank, word in enumerate(words):
        for line in word.printed.splitlines():
            print(f"rank {rank}: {line}")
    return [pickle.loads(word.told) for word in words]


def _packed(function: Any, args: tuple[Any, ...]) -> bytes:
    """The work as bytes, read by our own processes only; ValueError for what they could not read."""
    if not callable(function):
        raise ValueError(f"function must be a function, got {describe(function)}")
    main = sys.modules["__main__"]
    if getattr(function, "__module__", "") == "__main__" and not hasattr(main, "__file__"):
        raise ValueError(
            f"{getattr(function, '__name__', 'the function')} is defined in a notebook or at a prompt, where another "
            "process cannot find it: write it into a module (a .py file) and import it from there"
        )
    try:
        return pickle.dumps((function, args))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"the function and its arguments must be importable or plain data, to travel to other processes: {error}"
        ) from None


def _listen(team: list[_Member], deadline: float, seconds: float) -> list[_Word]:
    """What every rank says; RankFailed for the first that failed."""
    words: dict[int, _Word] = {}
    killed: dict[int, int] = {}  # rank -> exit code
    while len(words) + len(killed) < len(team):
        left = deadline - time.monotonic()
        open_ones = [rank for rank in range(len(team)) if rank not in words and rank not in killed]
        if left <= 0:
            break
        wait([team[r].line for r in open_ones] + [team[r].process.sentinel for r in open_ones], left)
        for rank in open_ones:
            process, line = team[rank]
            word = _said(line)
            if word is not None:
                words[rank] = word
            elif not process.is_alive():
                late = _said(line)  # it spoke and ended between the two questions
                words |= {} if late is None else {rank: late}
                killed |= {} if late is not None else {rank: process.exitcode}
        if killed or not all(word.good for word in words.values()):
            deadline = min(deadline, time.monotonic() + GRACE)
    bad = {rank: word for rank, word in words.items() if not word.good}
    for rank, code in killed.items():
        if bad and code == -signal.SIGABRT:
            continue  # gloo aborts where another rank has left in the middle of a message
        raise RankFailed(rank, f"rank {rank} of {len(team)} {_ending(code)} before it had a result")
    if bad:
        rank = min(bad, key=lambda one: bad[one].when)
        last, details = bad[rank].told
        raise RankFailed(rank, f"rank {rank} of {len(team)} failed: {last}", details)
    missing = [rank for rank in range(len(team)) if rank not in words]
    if missing:
        names = ", ".join(map(str, missing))
        raise RankFailed(
            missing[0], f"no result after {seconds:g} seconds from rank {names} of {len(team)}: all ended"
        )
    return [words[rank] for rank in range(len(team))]


def _said(line: Connection) -> _Word | None:
    """What waits on a line; None for nothing, or for the end of the line."""
    with contextlib.suppress(EOFError, OSError):
        if line.poll():
            return _Word(*line.recv())
    return None


def _ending(code: int) -> str:
    """What an exit code means."""
    if code >= 0:
        return f"ended by itself with exit code {code}"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    return f"was ended by signal {-code}{name}"


# In the other process


def _rank(
    rank: int, ranks: int, meeting: str, work: bytes, seconds: float, line: Connection
) -> None:  # pragma: no cover
    """The life of a rank: meet the others, do the work, say how it went, leave."""
    threading.Thread(target=_end_with_the_caller, args=(line,), daemon=True).start()
    torch.set_num_threads(1)
    if sys.platform == "linux":  # the machine's name need not have an address: there may be no network
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            function, args = pickle.loads(work)
            dist.init_process_group(
                "gloo", init_method=Path(meeting).as_uri(), rank=rank, world_size=ranks,
                timeout=timedelta(seconds=seconds),
            )  # fmt: skip
            result = pickle.dumps(function(*args))
            dist.barrier()  # nobody leaves while another still reads what it sent
    except BaseException as error:
        last = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        line.send(_Word(False, (last, traceback.format_exc()), printed.getvalue(), time.monotonic()))
        os._exit(1)  # gloo may wait for the others, who wait for this rank
    line.send(_Word(True, result, printed.getvalue(), time.monotonic()))
    dist.destroy_process_group()


def _end_with_the_caller(line: Connection) -> None:  # pragma: no cover
    """The caller says nothing on the line; that it is closed means that the caller is gone."""
    with contextlib.suppress(Exception):
        line.recv()
    os._exit(1)
