"""What each address answers: an ASGI application around the engine's thread.

    POST /v1/completions, /v1/chat/completions     read, check, reserve a place, prepare, submit, answer
    POST /v1/embeddings                            read, check, reserve a place, encode (embeddings.py)
    GET  /v1/models, /v1/models/NAME, /health, /metrics, /openapi.json

A client that goes away ends its request, and its blocks are free. Where all places are taken the answer is 429 at once.
Book 8.4 LLM 서빙 프레임워크. Held against the openai client.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from minillm import __version__
from minillm._checks import describe
from minillm.inference.engine import StepOutput
from minillm.inference.server.connection import GoneError, read_body, unless_gone
from minillm.inference.server.embeddings import Embeddings, EmbeddingsAsked
from minillm.inference.server.errors import ApiError
from minillm.inference.server.loop import EngineLoop, ShuttingDownError, StepFailedError, Ticket
from minillm.inference.server.metrics import Metrics
from minillm.inference.server.openapi import document
from minillm.inference.server.prepare import Job, Preparing
from minillm.inference.server.schemas import Asked, ChatAsked, CompletionAsked, parse, read_json

logger = logging.getLogger("minillm.server")

MOST_BEHIND = 4096  # pieces that are kept for a reader who does not take them
FAILURES = (
    ApiError,
    ValueError,
    ShuttingDownError,
    StepFailedError,
)  # what a client is told in its own words


class App:
    """The ASGI application. Every answer under /v1 asks for the key, where there is one."""

    def __init__(
        self,
        loop: EngineLoop,
        preparing: Preparing,
        api_key: str | None = None,
        embeddings: Embeddings | None = None,
    ):
        self.embeddings = embeddings
        self.loop, self.preparing, self.limits = loop, preparing, preparing.limits
        self.key = None if api_key is None else f"Bearer {api_key}".encode()
        self.metrics = Metrics(loop, None if embeddings is None else embeddings.loop)
        self.active = 0
        self.created = int(time.time())
        self.worker = ThreadPoolExecutor(1, "minillm-prepare")
        self.paths = {
            "/v1/completions": Generate(self, CompletionAsked),
            "/v1/chat/completions": Generate(self, ChatAsked),
            "/v1/embeddings": Embed(self),
        }
        routes = [Route(path, one, methods=["POST"]) for path, one in self.paths.items()]
        pages = {
            "/v1/models": self.models,
            "/v1/models/{name:path}": self.model,
            "/health": self.health,
            "/metrics": self.numbers,
            "/openapi.json": self.described,
        }
        routes += [Route(path, one, methods=["GET"]) for path, one in pages.items()]
        self.known = {*self.paths, *pages}
        handlers = {HTTPException: _no_such_page, **dict.fromkeys(FAILURES, _said), Exception: _broken}
        self.inner = Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]
        self.inner.router.redirect_slashes = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Check the key, let the address answer, count it. Every answer bears the request's id: the client's own
        x-request-id, or a new one."""
        status, name = 0, _request_id(scope)

        async def counted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = message | {"headers": [*message["headers"], (b"x-request-id", name)]}
            await send(message)

        try:
            if self._lacks_key(scope):
                error = ApiError(401, "the API key is missing or wrong", None, "invalid_api_key")
                await JSONResponse(error.body(), 401, {"WWW-Authenticate": "Bearer"})(scope, receive, counted)
            else:
                await self.inner(scope, receive, counted)
        finally:
            path = scope["path"]
            if status:
                self.metrics.requests.labels(path if path in self.known else "other", str(status)).inc()

    def _lacks_key(self, scope: Any) -> bool:
        if self.key is None or not scope["path"].startswith("/v1/"):
            return False
        return not hmac.compare_digest(dict(scope["headers"]).get(b"authorization", b""), self.key)

    @contextlib.contextmanager
    def reserved(self, prompts: int) -> Iterator[None]:
        """Places for so many prompts; ApiError 429 where they are taken."""
        most = self.limits.max_requests
        if not 1 <= prompts <= most:
            raise ApiError(400, f"a request may hold 1 to {most} prompts, got {prompts}", "prompt")
        if self.active + prompts > most:
            raise ApiError(429, f"the server answers {most} prompts at a time: try again", None, "overloaded")
        self.active += prompts
        self.metrics.active.set(self.active)
        try:
            yield
        finally:
            self.active -= prompts
            self.metrics.active.set(self.active)

    # Pages

    @property
    def windows(self) -> dict[str, int]:
        """Of each model by name, how many tokens it reads."""
        encoder = (
            {} if self.embeddings is None else {self.embeddings.name: self.embeddings.encoder.max_length}
        )
        return {self.preparing.model_name: self.preparing.engine.window, **encoder}

    def _described(self, name: str) -> dict[str, Any]:
        shape = {"id": name, "object": "model", "created": self.created, "owned_by": "minillm"}
        return {**shape, "max_model_len": self.windows[name]}

    async def models(self, request: Request) -> Response:
        """GET /v1/models."""
        return JSONResponse({"object": "list", "data": [self._described(name) for name in self.windows]})

    async def model(self, request: Request) -> Response:
        """GET /v1/models/NAME."""
        name = request.path_params["name"]
        self.check_model(name, *self.windows)
        return JSONResponse(self._described(name))

    def check_model(self, name: str, *known: str) -> None:
        """ApiError 404 for a model that is not among those that do what is asked."""
        if name not in known:
            there = " and ".join(map(repr, known)) or "none that does this"
            message = f"the model {describe(name)} does not exist; there is {there}"
            raise ApiError(404, message, "model", "model_not_found")

    async def health(self, request: Request) -> Response:
        """GET /health: 200 while requests are taken."""
        alive = self.loop.takes_requests
        return JSONResponse({"status": "ok" if alive else "shutting down"}, 200 if alive else 503)

    async def numbers(self, request: Request) -> Response:
        """GET /metrics."""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(self.metrics.text(), headers={"content-type": kind})

    async def described(self, request: Request) -> Response:
        """GET /openapi.json."""
        encoder = None if self.embeddings is None else self.embeddings.name
        return JSONResponse(document(__version__, self.key is not None, self.preparing.model_name, encoder))


class Posted:
    """Answers an address that takes JSON; a client that went away is counted, and hears nothing."""

    def __init__(self, app: App):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read, check, and answer."""
        try:
            await self.answer(scope, receive, send)
        except (GoneError, ClientDisconnect, OSError):
            self.app.metrics.gone.inc()

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        """The same; raises what is wrong, and GoneError where nobody is there to hear it."""
        raise NotImplementedError


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
        app.check_model(asked.model, app.preparing.model_name)
        with app.reserved(len(asked.prompts) if isinstance(asked, CompletionAsked) else 1):
            start = time.monotonic()
            job = await asyncio.get_running_loop().run_in_executor(app.worker, app.preparing, asked)
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
            Ticket(ids, job.params, lambda event, number=number: deliver(number, event))
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


def _request_id(scope: Any) -> bytes:
    given = dict(scope["headers"]).get(b"x-request-id", b"")
    return given if re.fullmatch(rb"[!-~]{1,128}", given) else uuid.uuid4().hex.encode()


async def _said(request: Request, error: Exception) -> Response:
    answer = as_api_error(error)
    headers = {"Retry-After": "1"} if answer.status in (429, 503) else None
    return JSONResponse(answer.body(), answer.status, headers)


async def _broken(request: Request, error: Exception) -> Response:
    logger.error("an answer to %s failed", request.url.path, exc_info=error)
    return JSONResponse(ApiError(500, "the server made a mistake").body(), 500)


async def _no_such_page(request: Request, error: HTTPException) -> Response:
    message = f"{request.method} {describe(request.url.path)}: {error.detail}"
    return JSONResponse(ApiError(error.status_code, message).body(), error.status_code, error.headers)


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
