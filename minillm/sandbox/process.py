"""Real Python code of a stranger in a process of its own: `run_python(code)`, on Linux.

    what it cannot                    who holds it
    open files but its own            Landlock: a scratch folder, and the modules of Python itself, which it only reads
    fork, thread, exec, sockets,      seccomp: a list of system calls; what is not on it is refused
      signals to others, ptrace
    more memory, files, processes     limits of the process (rlimits), which it cannot raise again
    more time, output, disk           this process watches, and ends it
    our variables, modules, files     `python -I -S`, no environment, every open file closed
    lie to us with an object          data comes back as JSON, read up to a limit; nothing is unpickled

Where the kernel cannot do all of this (macOS, Windows, Linux without Landlock or seccomp) `CannotConfine` is raised and
nothing runs. What the program says of itself is its own word: never hand it the answers that it is graded by.

Book: 4.1 코딩 테스트 통과하기. Held against: the escapes of tests/sandbox. Left out: hiding the names, sizes and times
of files outside (`os.stat` answers), and what can be learned about the machine (its processor, its clock).
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm._checks import check_int, check_number, check_text
from minillm.sandbox.processes import seconds_left, waited

CHILD = Path(__file__).parent / "child"
LONGEST_CODE = 1_000_000
MOST_PRINTED, MOST_RESULT = 100_000, 1_000_000  # bytes
MOST_STORED, MOST_FILES = 50 * 2**20, 1000  # in the scratch folder
TICK = 0.05  # seconds between two looks at the clock and the folder
START = 60.0  # seconds for the interpreter to start
DIGITS = 4300  # of a whole number that comes back, as Python's own limit


class CannotConfine(RuntimeError):
    """This system cannot hold a stranger's program; the message names what is missing. Nothing was run."""


@dataclass(frozen=True)
class Result:
    """What a program printed, the value of its last line (None if that is no expression), and what went wrong."""

    stdout: str
    value: Any
    error: str | None


def run_python(code: str, seconds: float = 5.0, memory: int = 256 * 2**20) -> Result:
    """Run a program; whatever it does comes back as a Result, also that it was ended.

    seconds: from the first line on, without the time in which it waits for a processor (nine times as long at most).
    memory: bytes beyond what the interpreter itself takes. value: None, bools, numbers, texts, lists, dicts with texts
    as keys; a tuple comes back as a list. error: None, or "NameError: ...", "TimeoutError: ...", "TooMuchOutput: ...",
    "TooMuchStored: ...", "Died: signal SIGSEGV", "Damaged: ...".

    Raises ValueError for other arguments, CannotConfine where the system cannot hold the program.
    """
    if len(check_text("code", code)) > LONGEST_CODE:
        raise ValueError(f"code must have at most {LONGEST_CODE:,} characters, got {len(code):,}")
    seconds = check_number("seconds", seconds, 0.01, 3600)
    memory = check_int("memory", memory, 2**24, 2**40)
    if not sys.platform.startswith("linux"):
        raise CannotConfine(
            f"run_python needs Linux with Landlock and seccomp, this is {sys.platform}: use evaluate"
        )
    if not sys.executable:
        raise CannotConfine("run_python needs a Python of its own to start: sys.executable is empty")
    with _scratch() as folder, tempfile.TemporaryFile() as request:
        given = {
            "code": code,
            "seconds": seconds,
            "memory": memory,
            "parent": os.getpid(),
        }
        request.write(json.dumps(given).encode())
        request.seek(0)
        return _watch(folder, request, seconds)


def _watch(folder: str, request: Any, seconds: float) -> Result:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as results:
        try:
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(CHILD / "main.py"), str(writing)],
                stdin=request, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, env={},
                pass_fds=(writing,), start_new_session=True, bufsize=0,
            )  # fmt: skip
        finally:
            os.close(writing)
        with child:
            try:
                return _result(child, results, folder, seconds)
            finally:
                if child.poll() is None:  # else its number may be another's by now
                    os.killpg(child.pid, signal.SIGKILL)


def _result(child: subprocess.Popen, results: Any, folder: str, seconds: float) -> Result:
    """Read both pipes until the child ends, or is ended."""
    heard: dict[Any, bytearray] = {child.stdout: bytearray(), results: bytearray()}
    ended = None
    with selectors.DefaultSelector() as pipes:
        for pipe in heard:
            pipes.register(pipe, selectors.EVENT_READ)
        clock, began, before = START, time.monotonic(), 0.0
        while ended is None and (pipes.get_map() or child.poll() is None):
            left = seconds_left(child.pid, began, clock, before)
            if left <= 0:
                ended = f"TimeoutError: it ran for more than {clock:g} seconds"
            elif not pipes.get_map():
                with suppress(subprocess.TimeoutExpired):
                    child.wait(min(left, TICK))
            for key, _ in pipes.select(min(max(left, 0), TICK)):
                data = os.read(key.fd, 65536)
                heard[key.fileobj] += data
                if not data:
                    pipes.unregister(key.fileobj)
            if clock == START and b"\n" in heard[results]:
                clock, began, before = seconds, time.monotonic(), waited(child.pid)
            ended = ended or _too_much(len(heard[child.stdout]), len(heard[results]), folder)
    if ended is not None:
        child.kill()
    printed = bytes(heard[child.stdout][:MOST_PRINTED]).decode("utf-8", "replace")
    value, error = _read(bytes(heard[results]), child)
    return Result(printed, None, ended) if ended else Result(printed, value, error)


def _too_much(printed: int, sent: int, folder: str) -> str | None:
    if printed > MOST_PRINTED:
        return f"TooMuchOutput: it printed more than {MOST_PRINTED:,} bytes"
    if sent > MOST_RESULT:
        return f"TooMuchOutput: its value has more than {MOST_RESULT:,} bytes as JSON"
    return _too_much_stored(folder)


def _too_much_stored(folder: str) -> str | None:
    """Not os.walk, which calls itself for each folder in a folder."""
    files, stored, rest = 0, 0, [folder]
    while rest:
        try:
            with os.scandir(rest.pop()) as entries:
                for entry in entries:
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        rest.append(entry.path)
                    with suppress(FileNotFoundError):  # gone meanwhile
                        stored += 512 * entry.stat(follow_symlinks=False).st_blocks
                    if files > MOST_FILES or stored > MOST_STORED:
                        return f"TooMuchStored: more than {MOST_FILES:,} files or {MOST_STORED:,} bytes"
        except FileNotFoundError:
            continue
        except OSError:  # closed to its owner, or at the end of a path that is too long
            return "TooMuchStored: a folder that nobody can look into"
    return None


def _read(data: bytes, child: subprocess.Popen) -> tuple[Any, str | None]:
    """(value, error) from what the child sent. It may have written anything: what is not a result is called damaged."""
    lines = data.split(b"\n")
    first = _json(lines[0])
    if first.get("cannot"):
        raise CannotConfine(
            f"run_python needs {str(first['cannot'])[:300]}; use evaluate, which runs everywhere"
        )
    status = child.wait(START)
    if first != {"ready": True}:
        raise CannotConfine(f"run_python could not start Python in an empty environment (status {status})")
    if status != 0 or len(lines) < 3:
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
        return None, f"Died: {how}"
    found = _json(lines[1]) if lines[2:] == [b""] else {}
    if found.keys() != {"value", "error"} or not isinstance(found["error"], (str, type(None))):
        return None, "Damaged: what came back is not one result"
    return found["value"], found["error"]


def _json(line: bytes) -> dict[str, Any]:
    """The object of a line; {} for anything else."""
    with suppress(ValueError, RecursionError):
        found = json.loads(line, parse_int=_whole)
        return found if isinstance(found, dict) else {}
    return {}


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError("a number of too many digits")
    return int(digits)


@contextmanager
def _scratch() -> Iterator[str]:
    """A new folder, which is gone afterwards, whatever was made in it."""
    folder = os.path.realpath(tempfile.mkdtemp(prefix="minillm-"))
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: str) -> None:
    """Folders in folders in folders are moved up before they are removed: no path grows long, no recursion deep."""
    numbers, own = itertools.count(), secrets.token_hex(8)
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, 0o700)  # a folder without rights cannot be moved
                os.rename(inner.path, os.path.join(folder, f"{own}{next(numbers)}"))
            os.rmdir(entry.path)
    os.rmdir(folder)
