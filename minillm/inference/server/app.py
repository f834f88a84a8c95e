"""What each address answers: an ASGI application around the engine's thread.

    POST /v1/completions, /v1/chat/completions     read, check, reserve a place, prepare, submit, answer
    POST /v1/embeddings                            read, check, reserve a place, encode (embeddings.py)
    GET  /v1/models, /v1/models/NAME, /health, /metrics, /openapi.json

A client that goes away ends its request, and its blocks are free. Where all places are taken the answer is 429 at once.
Book 8.4 LLM 서빙 프레임워크. Held against the openai client.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import re
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from minillm import __version__
from minillm._checks import describe
from minillm.inference.server.embeddings import Embeddings
from minillm.inference.server.errors import ApiError
from minillm.inference.server.loop import EngineLoop
from minillm.inference.server.metrics import Metrics
from minillm.inference.server.openapi import document
from minillm.inference.server.posted import FAILURES, Embed, Generate, as_api_error
from minillm.inference.server.prepare import Preparing
from minillm.inference.server.schemas import ChatAsked, CompletionAsked

logger = logging.getLogger("minillm.server")


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
        # a grammar of 128 functions takes many seconds the first time: who asks for plain text does not wait for it
        self.grammars = ThreadPoolExecutor(1, "minillm-grammar")
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
    def windows(self) -> dict[str, int | None]:
        """Of each model by name, how many tokens it reads; None for an encoder that reads any number."""
        encoder = (
            {} if self.embeddings is None else {self.embeddings.name: self.embeddings.encoder.max_length}
        )
        written = dict.fromkeys(self.preparing.models, self.preparing.engine.window)
        return {**written, **encoder}

    def _described(self, name: str) -> dict[str, Any]:
        shape = {"id": name, "object": "model", "created": self.created, "owned_by": "minillm"}
        window = self.windows[name]
        if name in self.preparing.models and name != self.preparing.model_name:
            shape["parent"] = self.preparing.model_name  # an adapter of it, as vLLM says it
        return shape if window is None else {**shape, "max_model_len": window}

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
        return JSONResponse(document(__version__, self.key is not None, [*self.preparing.models], encoder))


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
