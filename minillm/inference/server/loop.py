"""The engine's own thread: requests come by a queue, what a step adds goes back to whoever asked.

    others:  submit, abort  ->  inbox  ->  this thread: add_request, step, step, ...  ->  deliver(output)

An engine is used by one thread at a time, so nobody else touches it. A step that fails ends the requests that are there
with the error, and the thread goes on with the next ones. Book 8.4 LLM 서빙 프레임워크.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from minillm.inference.engine import Engine
from minillm.inference.params import SamplingParams

logger = logging.getLogger("minillm.server")


class ShuttingDownError(RuntimeError):
    """The server ends, and the time that it gives running requests is over."""


class StepFailedError(RuntimeError):
    """A step of the engine failed, and this request was there."""


class Ticket:
    """One request on its way.

    deliver(event) is called in the engine's thread: with every StepOutput, and with an exception that ends it
    (ValueError: refused before it began)."""

    def __init__(
        self,
        prompt: Sequence[int],
        params: SamplingParams,
        deliver: Callable[[Any], None],
        adapter: str | None = None,
    ):
        self.prompt, self.params, self.deliver, self.adapter = prompt, params, deliver, adapter
        self.id: str | None = None  # the engine's name for it
        self.left = params.n  # completions that are not finished


class EngineLoop:
    """Runs an engine in a thread from `start` to `stop`."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.stats = engine.stats()  # after the newest step
        self.failed_steps = 0
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._tickets: dict[str, Ticket] = {}
        self._deadline: float | None = None  # when it ends what still runs
        self._thread = threading.Thread(target=self._run, name="minillm-engine", daemon=True)

    def start(self) -> None:
        """Begin to take requests."""
        self._thread.start()

    def submit(self, ticket: Ticket) -> None:
        """Put a request in line."""
        self._inbox.put(("add", ticket))

    def abort(self, ticket: Ticket) -> None:
        """End a request without an answer, its blocks free; nothing happens if it has ended."""
        self._inbox.put(("abort", ticket))

    def stop(self, seconds: float = 0.0) -> None:
        """Take no more requests, and end those that still run after so many seconds. Returns at once; see `join`."""
        self._inbox.put(("stop", time.monotonic() + seconds))

    def join(self, timeout: float) -> bool:
        """Wait for the end of the thread; whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def takes_requests(self) -> bool:
        """Whether it runs and is not about to end."""
        return self._thread.is_alive() and self._deadline is None

    # In the thread

    def _run(self) -> None:
        while True:
            self._read_inbox(wait=not self._tickets)
            if self._deadline is not None and (not self._tickets or time.monotonic() >= self._deadline):
                self._fail(ShuttingDownError("the server is shutting down"))
                self.stats = self.engine.stats()
                return
            if self._tickets:
                self._step()
            self.stats = self.engine.stats()

    def _read_inbox(self, wait: bool) -> None:
        while True:
            try:
                what, value = self._inbox.get(block=wait and self._deadline is None)
            except queue.Empty:
                return
            wait = False
            if what == "add":
                self._add(value)
            elif what == "abort":
                self._forget(value)
            else:
                self._deadline = value if self._deadline is None else min(self._deadline, value)

    def _add(self, ticket: Ticket) -> None:
        try:
            if self._deadline is not None:
                raise ShuttingDownError("the server is shutting down")
            ticket.id = self.engine.add_request(ticket.prompt, ticket.params, adapter=ticket.adapter)
        except Exception as error:
            ticket.deliver(error)
            return
        self._tickets[ticket.id] = ticket

    def _forget(self, ticket: Ticket) -> None:
        if ticket.id is not None and self._tickets.pop(ticket.id, None) is not None:
            self.engine.abort(ticket.id)

    def _step(self) -> None:
        try:
            outputs = self.engine.step()
        except Exception as error:  # which request it was cannot be told: all that are there end
            self.failed_steps += 1
            logger.error("a step of the engine failed", exc_info=error)
            self._fail(StepFailedError(f"the engine failed: {error}"))
            return
        for output in outputs:
            ticket = self._tickets.get(output.request_id)
            if ticket is None:
                continue
            ticket.left -= output.finished
            if not ticket.left:
                del self._tickets[output.request_id]
            ticket.deliver(output)

    def _fail(self, error: Exception) -> None:
        for ticket in list(self._tickets.values()):
            self._forget(ticket)
            ticket.deliver(error)
