"""The client at the other end: a request that arrives slowly or is too large, a reader who goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from minillm.inference.server.errors import ApiError
from minillm.inference.server.prepare import Limits

DISCARDED = 64 * 2**20  # bytes of a body over the limit that are read, so that its sender hears why


class GoneError(Exception):
    """The client is not there any more."""


def patient(limits: Limits) -> type[asyncio.Protocol]:
    """uvicorn's protocol, with an end to its patience.

    A reader who takes nothing for write_seconds is cut off, and one whose request has begun and does not get beyond its
    headers in read_seconds. Nothing is piled up for a slow one: what the system does not take at once makes the writer
    wait, so a connection holds one piece at most.
    """

    class Patient(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        reading: asyncio.TimerHandle | None = None
        writing: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=0)
            self._await_headers()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._await_headers()

        def _await_headers(self) -> None:
            idle = self.cycle is None or self.cycle.response_complete
            if self.reading is not None and not idle:
                self.reading.cancel()
                self.reading = None
            elif self.reading is None and idle:
                self.reading = self.loop.call_later(limits.read_seconds, self._give_up)

        def _give_up(self) -> None:
            self.reading = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.abort()

        def pause_writing(self) -> None:
            super().pause_writing()
            self.writing = self.loop.call_later(limits.write_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._done_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._done_writing()
            if self.reading is not None:
                self.reading.cancel()

        def _done_writing(self) -> None:
            if self.writing is not None:
                self.writing.cancel()
                self.writing = None

    return Patient


async def unless_gone(receive: Any, work: Coroutine[Any, Any, None]) -> None:
    """Do the work; cancel it, and raise GoneError, if the client goes away before it is done."""

    early = False

    async def gone() -> None:
        nonlocal early
        while (await receive())["type"] != "http.disconnect":
            pass
        early = not task.done()  # nothing stops the work in its last writes, which go nowhere: it may yet end

    tasks = task, watch = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if early or not task.done():
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
