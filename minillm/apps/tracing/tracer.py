"""A tracer (트레이서) writes down what a program did: each step is a span (스팬) with its parent, times, values, error.

    tracer = Tracer("run.jsonl")
    with tracer.trace("answer", question=text) as span:      a step; steps inside of it become its children
        span.set("documents", 3)
    @tracer.trace                                            every call of a function: plain, async, generator

Which span is open is kept in a context variable: each thread and each asyncio task has its own, so that children find
their parent without being handed it. A span is written when it ends (span_file.py says what survives). A span with
short texts costs less than 50 µs, and 40 µs more for each 1,000 characters. Texts are masked and cut (recording.py).
Tracing never raises into the program that it watches: what could not be written is counted in `lost`.
Book 9.4 데이터 로깅. Peer: OpenTelemetry's SDK. Left out: sampling, batches, sending over a network.
"""

from __future__ import annotations

import os
import random
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_flag, check_function, check_int, check_text, describe
from minillm.apps.tracing import names
from minillm.apps.tracing.recording import LIMIT, cut_text, recorded
from minillm.apps.tracing.span_file import SpanFile, SpanRecord, Trace, line_of, read_trace

_OPEN: ContextVar[Span | None] = ContextVar("minillm_open_span", default=None)
KINDS = ("internal", "client")


class Tracer:
    """Writes spans into a file, or keeps them in `kept` where path is None.

    content: False leaves out what the steps read and wrote, and what errors say; names, times, tokens, errors' types
    and the attributes that the program sets itself stay.
    sync: wait for the disk at each span. limit: characters of a text. seed: of the ids, for a trace that is the same
    each time; None draws from the operating system. clock: nanoseconds since 1970, never going back.
    ValueError and OSError for a path that cannot be written, here and not later.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        content: bool = True,
        sync: bool = False,
        limit: int = LIMIT,
        seed: int | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.content, self.limit = check_flag("content", content), check_int("limit", limit, 1)
        check_flag("sync", sync)
        self.clock = check_function("clock", clock) or _steady_clock()
        self._ids = None if seed is None else random.Random(check_int("seed", seed, 0))
        self._file = None if path is None else SpanFile(path, sync)
        self.kept: list[SpanRecord] = []
        self.lost, self.why = 0, ""

    def trace(self, name: Any = None, kind: str = "internal", **attributes: Any) -> Any:
        """A Scope: `with tracer.trace("name"):` or `@tracer.trace("name")`; `@tracer.trace` alone names it itself.

        kind: "client" for what leaves the process. attributes: values of the span, under names of your own.
        """
        if callable(name):
            return Scope(self, "", kind, attributes)(name)
        return Scope(self, check_text("name", name), check_choice("kind", kind, KINDS), attributes)

    @property
    def open_span(self) -> Span | None:
        """The span that a new one would be a child of."""
        span = _OPEN.get()
        while span is not None and span.tracer is not self:  # another tracer's
            span = span.outer
        return span

    def carry(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, to be called in another thread: its spans are children of the span that is open now."""
        if not callable(function):
            raise ValueError(f"carry takes a function, got {describe(function)}")
        span = _OPEN.get()

        def carried(*args: Any, **kwargs: Any) -> Any:
            token = _OPEN.set(span)
            try:
                return function(*args, **kwargs)
            finally:
                _OPEN.reset(token)

        return carried

    def new_id(self, bits: int) -> str:
        """So many random bits in hexadecimal."""
        number = (
            int.from_bytes(os.urandom(bits // 8), "big") if self._ids is None else self._ids.getrandbits(bits)
        )
        return f"{number or 1:0{bits // 4}x}"  # zero means "no id"

    def write(self, record: SpanRecord) -> None:
        """Called by a span that ends. Never raises."""
        try:
            if self._file is None:
                self.kept.append(record)
            else:
                self._file.append(line_of(record))
        except Exception as error:
            self.lost, self.why = self.lost + 1, f"{type(error).__name__}: {error}"

    def read(self) -> Trace:
        """The spans so far."""
        return Trace([*self.kept], 0) if self._file is None else read_trace(self._file.path)

    def flush(self) -> None:
        """Wait until every span that has ended is on the disk."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Write no more; spans that end later are counted in `lost`."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Tracer:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


class Span:
    """A step that is going on. Its methods may be called from any thread; after the end they change nothing."""

    __slots__ = (
        "attributes", "ended", "events", "kind", "message", "name", "outer", "parent_id", "span_id", "start", "status",
        "trace_id", "tracer",
    )  # fmt: skip

    def __init__(self, tracer: Tracer, name: str, kind: str) -> None:
        parent = tracer.open_span
        self.tracer, self.kind, self.outer = tracer, kind, _OPEN.get()
        self.name = cut_text(name, tracer.limit)
        self.trace_id = tracer.new_id(128) if parent is None else parent.trace_id
        self.parent_id = None if parent is None else parent.span_id
        self.span_id = tracer.new_id(64)
        self.attributes: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.status, self.message, self.ended = "ok", "", False
        self.start = tracer.clock()

    def set(self, name: str, value: Any) -> Span:
        """One attribute, as it is now: masked and cut, a later change of the object is not seen."""
        if not self.ended:
            name = name if type(name) is str else cut_text(str(recorded(name)), 200)
            self.attributes[name] = recorded(value, name, self.tracer.limit)
        return self

    def content(self, name: str, value: Any) -> Span:
        """As `set`, for what a step read or wrote: left out where the tracer keeps no content."""
        return self.set(name, value) if self.tracer.content else self

    def tokens(self, read: int, written: int) -> Span:
        """The tokens of a model's prompt and of its answer."""
        return self.set(names.INPUT_TOKENS, read).set(names.OUTPUT_TOKENS, written)

    def event(self, name: str, **attributes: Any) -> Span:
        """Something that happened at one moment within the step."""
        if self.ended:
            return self
        limit = self.tracer.limit
        found = {key: recorded(value, key, limit) for key, value in attributes.items()}
        self.events.append({"name": name, "time": self.tracer.clock(), "attributes": found})
        return self

    def fail(self, error: BaseException | str) -> Span:
        """The step ended in this error: its type, its message, and the line of the program that raised it; or in one
        that nobody raised, told as a text."""
        if self.ended:
            return self
        if not isinstance(error, BaseException):
            self.status, self.attributes[names.ERROR] = (
                "error",
                "_OTHER",
            )  # the conventions' name for "no type known"
            self.message = cut_text(str(recorded(error)), self.tracer.limit) if self.tracer.content else ""
            return self
        kind = type(error)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        self.status, self.attributes[names.ERROR] = "error", name
        if self.tracer.content:
            self.message = cut_text(_said(error), self.tracer.limit)
        if frames := traceback.extract_tb(error.__traceback__, -1 if error.__traceback__ else None):
            last = frames[-1]
            self.attributes["minillm.raised_at"] = (
                f"{os.path.basename(last.filename)}:{last.lineno} in {last.name}"
            )
        return self

    def end(self) -> None:
        """Write it down, once."""
        if self.ended:
            return
        self.ended = True
        end = max(self.start, self.tracer.clock())
        self.tracer.write(
            SpanRecord(
                self.trace_id, self.span_id, self.parent_id, self.name, self.kind, self.start, end, self.status,
                self.message, dict(self.attributes), tuple(self.events),
            )
        )  # fmt: skip


class Within:
    """The span is open inside of the block; it does not end with it: for a stream, which stops between two pieces."""

    __slots__ = ("span", "token")

    def __init__(self, span: Span) -> None:
        self.span = span

    def __enter__(self) -> Span:
        self.token = _OPEN.set(self.span)
        return self.span

    def __exit__(self, kind: Any, error: BaseException | None, where: Any) -> None:
        try:
            _OPEN.reset(self.token)
        except ValueError:  # left in another context than it was entered in
            _OPEN.set(self.span.outer)


class Ending(Within):
    """The span is open inside of the block, and ends with it."""

    __slots__ = ()

    def __exit__(self, kind: Any, error: BaseException | None, where: Any) -> None:
        super().__exit__(kind, error, where)
        if error is not None:
            self.span.fail(error)
        self.span.end()


class Scope:
    """A name and attributes of a span to come: `with` opens one, a call with a function traces the function."""

    __slots__ = ("attributes", "kind", "name", "opened", "tracer")

    def __init__(self, tracer: Tracer, name: str, kind: str, attributes: dict[str, Any]) -> None:
        self.tracer, self.name, self.kind, self.attributes = tracer, name, kind, attributes
        self.opened: Ending | None = None

    def open(self, name: str = "") -> Span:
        """The span, to be ended by hand; what follows is no child of it, unless it is put `Within`."""
        span = Span(self.tracer, name or self.name, self.kind)
        for key, value in self.attributes.items():
            span.set(key, value)
        return span

    def __enter__(self) -> Span:
        if self.opened is not None:
            raise ValueError(f"the span {self.name!r} was opened already: call trace() again for another one")
        self.opened = Ending(self.open())
        return self.opened.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, where: Any) -> None:
        self.opened.__exit__(kind, error, where)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        from minillm.apps.tracing.decorating import traced_function

        return traced_function(self, function)


def _steady_clock() -> Callable[[], int]:
    """The wall clock as it was now, and from here on a clock that is never set back."""
    begin = time.time_ns() - time.perf_counter_ns()
    return lambda: begin + time.perf_counter_ns()


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(an error that cannot be shown)"
