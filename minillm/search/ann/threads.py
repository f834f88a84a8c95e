"""Threads for compiled code, and a lock that lets many read or one write.

Compiled code gives the interpreter's lock away (nogil), so ordinary Python threads run it side by side. Work is split
into parts that write into rows of their own: the result does not depend on how many threads there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


def in_parts(work: Callable[[int, int], object], count: int, threads: int) -> None:
    """Call work(first, last) for parts of range(count), each in a thread; returns when all are done."""
    parts = min(threads, count)
    if parts <= 1:
        if count:
            work(0, count)
        return
    with ThreadPoolExecutor(parts) as pool:
        done = [pool.submit(work, count * i // parts, count * (i + 1) // parts) for i in range(parts)]
        for part in done:
            part.result()


class ReadWriteLock:
    """Many readers at once, or one writer alone. A writer who waits goes before readers who come later. A copy of it is
    a lock of its own, that nobody holds."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reading = 0
        self._waiting = 0
        self._writer: int | None = None  # the thread that writes

    def __reduce__(self) -> tuple[type[ReadWriteLock], tuple[()]]:
        return ReadWriteLock, ()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """For reading."""
        with self._changed:
            while self._writer is not None or self._waiting:
                self._changed.wait()
            self._reading += 1
        try:
            yield
        finally:
            with self._changed:
                self._reading -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For writing. Who holds it may ask for it again."""
        if self._writer == threading.get_ident():
            yield
            return
        with self._changed:
            self._waiting += 1
            try:
                while self._writer is not None or self._reading:
                    self._changed.wait()
                self._writer = threading.get_ident()
            finally:
                self._waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._writer = None
                self._changed.notify_all()
