"""A function, traced: each call is a span with its arguments and what came back.

    plain function     the span lasts as long as the call
    async function     as long as it is awaited, the pauses too
    generator          from the first piece that is asked for to the last, the time to the first one noted; while the
                       reader holds a piece the span is not the open one, so what the reader does is no child of it

Arguments go under input.value by their names (self is left out), the result under output.value; of a stream of texts
the text is joined. Book 9.4 데이터 로깅.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from minillm.apps.tracing import names
from minillm.apps.tracing.tracer import Ending, Scope, Span, Within


def traced_function(scope: Scope, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that does the same and leaves a span for each call. ValueError for what is no function."""
    if not callable(function):
        raise ValueError(f"trace takes a name or a function, got {type(function).__name__}")
    if isinstance(function, (staticmethod, classmethod)):  # callable since 3.10
        return type(function)(traced_function(scope, function.__func__))
    name = scope.name or getattr(function, "__qualname__", type(function).__name__).replace("<locals>.", "")
    listed = _parameters(function)

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Span:
        span = scope.open(name)
        return span.content(names.INPUT, _by_name(listed, args, kwargs)) if span.tracer.content else span

    if inspect.isasyncgenfunction(function):

        async def traced(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            stream = Stream(begin(args, kwargs))
            inner = function(*args, **kwargs)
            try:
                while True:
                    with Within(stream.span):
                        piece = await anext(inner)
                    stream.take(piece)
                    yield piece
            except StopAsyncIteration:
                stream.end()
            except BaseException as error:
                try:
                    await inner.aclose()
                finally:
                    stream.end(error)
                raise

    elif inspect.isgeneratorfunction(function):

        def traced(*args: Any, **kwargs: Any) -> Iterator[Any]:
            return (yield from traced_pieces(begin(args, kwargs), function(*args, **kwargs)))

    elif inspect.iscoroutinefunction(function):

        async def traced(*args: Any, **kwargs: Any) -> Any:
            with Ending(begin(args, kwargs)) as span:
                result = await function(*args, **kwargs)
                span.content(names.OUTPUT, result)
                return result

    else:

        def traced(*args: Any, **kwargs: Any) -> Any:
            with Ending(begin(args, kwargs)) as span:
                result = function(*args, **kwargs)
                span.content(names.OUTPUT, result)
                return result

    return functools.wraps(function)(traced)


class Stream:
    """What is noted of a stream: how many pieces, when the first one came, the text."""

    def __init__(self, span: Span, output: str = names.OUTPUT) -> None:
        self.span, self.output = span, output
        self.count, self.first, self.texts, self.length = 0, 0, [], 0

    def take(self, piece: Any) -> None:
        """One piece more. Only so much text is held on to as is kept in the end."""
        self.count += 1
        self.first = self.first or self.span.tracer.clock()
        if self.span.tracer.content and isinstance(piece, str):
            self.length += len(piece)
            if self.length <= 2 * self.span.tracer.limit:
                self.texts.append(piece)

    def end(self, error: BaseException | None = None) -> None:
        """End the span. A reader that stopped early is no error."""
        span = self.span
        span.set(names.PIECES, self.count)
        if self.count:
            span.set(names.FIRST_PIECE, (self.first - span.start) / 1e9)
        if self.texts:
            self.written("".join(self.texts))
        if isinstance(error, GeneratorExit):
            span.set(names.CLOSED_EARLY, True)
        elif error is not None:
            span.fail(error)
        span.end()

    def written(self, text: str) -> None:
        """Note the text."""
        self.span.content(self.output, text)


def traced_pieces(span: Span, inner: Any, stream: Stream | None = None) -> Iterator[Any]:
    """The pieces of an iterator or generator; the span ends with it, or when the reader closes or drops it."""
    stream = Stream(span) if stream is None else stream
    inner = iter(inner)
    step: Callable[[], Any] = functools.partial(next, inner)
    try:
        while True:
            with Within(span):
                piece = step()
            stream.take(piece)
            try:
                sent = yield piece
            except GeneratorExit:
                if close := getattr(inner, "close", None):
                    with Within(span):
                        close()
                raise
            except Exception as error:  # thrown in by the reader: the generator may want it
                if not hasattr(inner, "throw"):
                    raise
                step = functools.partial(inner.throw, error)
            else:
                step = functools.partial(next, inner) if sent is None else functools.partial(inner.send, sent)
    except StopIteration as end:
        stream.end()
        return end.value
    except BaseException as error:
        stream.end(error)
        raise


def _parameters(function: Callable[..., Any]) -> list[tuple[str, bool]]:
    """(name, whether it takes all that is left) of what may come by position."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some that are written in C
        return [("args", True)]
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [(p.name, p.kind is p.VAR_POSITIONAL) for p in found if p.kind in (*by_place, p.VAR_POSITIONAL)]


def _by_name(listed: list[tuple[str, bool]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name; bound by hand, since inspect's way takes ten times as long. Too many stay numbered."""
    found: dict[str, Any] = {}
    for place, value in enumerate(args):
        name, rest = listed[min(place, len(listed) - 1)] if listed else (f"argument {place}", False)
        if rest:
            found[name] = [*args[place:]]
            break
        found[name if place < len(listed) else f"argument {place}"] = value
    if listed and listed[0][0] in ("self", "cls"):
        found.pop(listed[0][0], None)
    return found | kwargs
