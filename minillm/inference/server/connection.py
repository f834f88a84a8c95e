"""The client at the other end: a request that arrives slowly or is too large, a reader who goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request

from minillm.inference.server.errors import ApiError
from minillm.inference.server.prepare import Limits

DISCARDED = 64 * 2**20  # bytes of a body over the limit that are read, so that its sender hears why


class GoneError(Exception):
    """The client is not there any more."""


async def unless_gone(receive: Any, work: Coroutine[Any, Any, None]) -> None:
    """Do the work; cancel it, and raise GoneError, if the client goes away before it is done."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = task, watch = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise GoneError
        await task
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def read_body(request: Request, limits: Limits) -> bytes:
    """All of it; ApiError 413 for one over the limit, 408 for one that does not come."""

    async def read() -> bytes:
        data, size = bytearray(), 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > DISCARDED:
                break
            data += chunk if size <= limits.max_body else b""
        if size > limits.max_body:
            raise ApiError(413, f"the body may have {limits.max_body:,} bytes", None, "request_too_large")
        return bytes(data)

    try:
        return await asyncio.wait_for(read(), limits.read_seconds)
    except asyncio.TimeoutError:
        raise ApiError(408, f"the request did not arrive in {limits.read_seconds:g} s") from None
