"""The workers seen from outside: start one, ask it, end it when it does not answer."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minillm.course.classroom.judge import DOES_NOT_END, Task, Verdict
from minillm.course.paths import LIBRARY

LONGEST_EXERCISE = 120.0  # seconds of one without a limit from here; its own limit is usually less
START = 300.0  # seconds for the imports and a lesson's set-up cells, on a slow disk


class WorkerError(ValueError):
    """A worker does not start, or a lesson's set-up cells fail in it; the message is its last words."""


class Worker:
    """One worker process; it is started by the first question, and again after it died."""

    COMMAND = ("-W", "ignore", "-m", "minillm.course.classroom.worker")

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._ready: list[list[str]] = []  # the set-ups that its process has run

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def judge(self, setup: list[str], task: Task) -> tuple[Verdict, bool]:
        """(the verdict, whether the worker is as good as new). A worker that dies over a task fails the task only;
        WorkerError when it does not come that far."""
        if setup not in self._ready:
            self._get_ready(setup, task.id)
        try:
            longest = START + 6 * (task.seconds or LONGEST_EXERCISE)  # more than any run in there may take
            reply = self._ask({"setup": setup, "task": asdict(task)}, longest)
            fresh = reply.pop("forked")
            return Verdict(**reply), fresh
        except queue.Empty:
            why = Verdict(False, "time", DOES_NOT_END.format(longest))
        except (EOFError, ValueError, TypeError, KeyError, OSError) as error:
            said = str(error)
            if (
                "Timeout (" in said
            ):  # where there is no child, what cannot be stopped ends the worker: limits.py
                why = Verdict(False, "time", DOES_NOT_END.format(task.seconds or LONGEST_EXERCISE))
            else:
                why = Verdict(False, "died", "the answer ended the process that graded it")
        self.close()
        return why, True

    def _get_ready(self, setup: list[str], exercise: str) -> None:
        try:
            if self._process is None:
                self._start()
            failed = self._ask({"setup": setup, "exercise": exercise}, START)["failed"]
        except (queue.Empty, EOFError, OSError) as error:
            failed = str(error).strip().rpartition("\n")[2] or type(error).__name__
        if failed:
            self.close()
            raise WorkerError(f"the lesson's set-up cells cannot be run here: {failed[:500]}")
        self._ready.append(setup)

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._lines.get(timeout=seconds)
        if not line:
            self._process.wait(10)
            self._errors.seek(0)
            raise EOFError(self._errors.read()[-5000:])
        return json.loads(line)

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        path = os.pathsep.join(filter(None, [str(LIBRARY.parent), os.environ.get("PYTHONPATH", "")]))
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = (
            os.environ | one | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "agg"}
        )
        environment["CUDA_VISIBLE_DEVICES"] = ""  # a process that has a GPU cannot be forked
        self._process = subprocess.Popen(
            [sys.executable, *self.COMMAND],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment,
            cwd=Path(tempfile.gettempdir()), text=True, encoding="utf-8", start_new_session=os.name == "posix",
        )  # fmt: skip
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_read, args=(self._process.stdout, self._lines), daemon=True).start()

    def close(self) -> None:
        """End the process and what it started."""
        if self._process is None:
            return
        if os.name == "posix":
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait(30)
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with suppress(OSError):
                stream.close()
        self._process, self._ready = None, []


def _read(stream: Any, lines: queue.Queue[str]) -> None:
    with suppress(ValueError, OSError):
        for line in stream:
            lines.put(line)
    lines.put("")
