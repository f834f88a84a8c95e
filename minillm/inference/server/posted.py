"""The addresses that take JSON: read it, check it, reserve a place, prepare, submit, and answer.

    Generate    /v1/completions and /v1/chat/completions: one JSON object, or server-sent events
    Embed       /v1/embeddings

What comes out of the engine's thread goes through a queue of the answer's own. A client that goes away ends its
request, and its blocks are free.
Book 8.4 LLM 서빙 프레임워크. Held against the openai client.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from minillm.inference.engine import StepOutput
from minillm.inference.server.connection import GoneError, read_body, unless_gone
from minillm.inference.server.embeddings import EmbeddingsAsked
from minillm.inference.server.errors import ApiError
from minillm.inference.server.loop import ShuttingDownError, StepFailedError, Ticket
from minillm.inference.server.prepare import Job
from minillm.inference.server.schemas import Asked, CompletionAsked, parse, read_json

if TYPE_CHECKING:
    from minillm.inference.server.app import App

MOST_BEHIND = 4096  # pieces that are kept for a reader who does not take them
FAILURES = (
    ApiError,
    ValueError,
    ShuttingDownError,
    StepFailedError,
)  # what a client is told in its own words


class Posted(ABC):
    """Answers an address that takes JSON; a client that went away is counted, and hears nothing."""

    def __init__(self, app: App):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read, check, and answer."""
        try:
            await self.answer(scope, receive, send)
        except (GoneError, ClientDisconnect, OSError):
            self.app.metrics.gone.inc()

    @abstractmethod
    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        """The same; raises what is wrong, and GoneError where nobody is there to hear it."""


class Embed(Posted):
    """Answers /v1/embeddings."""

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        app = self.app
        body = await read_body(Request(scope, receive), app.limits)
        asked = parse(EmbeddingsAsked, read_json(body))
        embeddings = app.embeddings
        if embeddings is None:
            app.check_model(asked.model)
            return
        app.check_model(asked.model, embeddings.name)
        with app.reserved(1):
            start = time.monotonic()
            here = asyncio.get_running_loop()
            texts, tokens = await here.run_in_executor(app.worker, embeddings.texts, asked)
            app.metrics.prompt_tokens.inc(tokens)

            async def work() -> None:
                vectors = await embeddings.vectors(texts)
                shaped = lambda: JSONResponse(embeddings.answer(asked, vectors, tokens))  # noqa: E731
                answer = await here.run_in_executor(app.worker, shaped)  # a large one takes its time
                await answer({"type": "http"}, None, send)  # type: ignore[arg-type]

            await unless_gone(receive, work())
            app.metrics.whole.observe(time.monotonic() - start)


class Generate(Posted):
    """Answers one of the two addresses that write text, whole or as a stream."""

    def __init__(self, app: App, kind: type[Asked]):
        super().__init__(app)
        self.kind = kind

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        app = self.app
        body = await read_body(Request(scope, receive), app.limits)
        asked = parse(self.kind, read_json(body))
        app.check_model(asked.model, *app.preparing.models)
        with app.reserved(len(asked.prompts) if isinstance(asked, CompletionAsked) else 1):
            start = time.monotonic()
            worker = app.grammars if asked.has_shape else app.worker
            job = await asyncio.get_running_loop().run_in_executor(worker, app.preparing, asked)
            app.metrics.prompt_tokens.inc(sum(map(len, job.prompts)))
            try:
                work = self.stream(job, asked.with_usage, send) if asked.stream else self.whole(job, send)
                await unless_gone(receive, work)
                app.metrics.whole.observe(time.monotonic() - start)
            finally:
                app.metrics.completion_tokens.inc(job.answer.written)

    async def whole(self, job: Job, send: Any) -> None:
        """One JSON object."""
        async with contextlib.aclosing(self.outputs(job)) as outputs:
            async for prompt, output in outputs:
                job.answer.pieces(prompt, output)
        await JSONResponse(job.answer.whole())({"type": "http"}, None, send)

    async def stream(self, job: Job, with_usage: bool, send: Any) -> None:
        """Server-sent events. An error before the first of them is an answer with its status, a later one an event."""
        started = False
        try:
            async with contextlib.aclosing(self.outputs(job)) as outputs:
                async for prompt, output in outputs:
                    if not started:
                        await send(_HEAD)
                        started = True
                    for choice in job.answer.pieces(prompt, output):
                        await send(_event(job.answer.piece([choice], with_usage)))
            if with_usage:
                await send(_event(job.answer.piece([], True)))
            await send(_body(b"data: [DONE]\n\n", more=False))
        except FAILURES as error:
            if not started:
                raise
            await send(_event(as_api_error(error).body()))
            await send(_body(b"", more=False))

    async def outputs(self, job: Job) -> AsyncIterator[tuple[int, StepOutput]]:
        """(which prompt, what was added) until all are finished; whatever ends it, the engine is free of it."""
        events: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()
        here, engine, start = asyncio.get_running_loop(), self.app.loop, time.monotonic()

        def put(number: int, event: Any) -> None:
            if events.qsize() == MOST_BEHIND:  # a reader far behind: what is put last ends it
                event = GoneError("the reader is too slow")
                for ticket in tickets:
                    engine.abort(ticket)
            if events.qsize() <= MOST_BEHIND:
                events.put_nowait((number, event))

        def deliver(number: int, event: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                here.call_soon_threadsafe(put, number, event)

        tickets = [
            Ticket(ids, job.params, lambda event, number=number: deliver(number, event), job.adapter)
            for number, ids in enumerate(job.prompts)
        ]
        left, first = len(tickets) * job.params.n, True
        try:
            for ticket in tickets:
                engine.submit(ticket)
            while left:
                number, event = await events.get()
                if isinstance(event, Exception):
                    raise event
                if first:
                    self.app.metrics.first.observe(time.monotonic() - start)
                    first = False
                left -= event.finished
                yield number, event
        finally:
            for ticket in tickets:
                engine.abort(ticket)


def as_api_error(error: Exception) -> ApiError:
    """What a client is told of an exception."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ShuttingDownError):
        return ApiError(503, str(error), None, "shutting_down")
    return ApiError(400 if isinstance(error, ValueError) else 500, str(error))


_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
    ],
}


def _body(data: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def _event(value: dict[str, Any]) -> dict[str, Any]:
    return _body(f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode())
