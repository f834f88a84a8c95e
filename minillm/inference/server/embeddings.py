"""Texts to vectors over HTTP: /v1/embeddings, with what many clients ask merged into one pass of the encoder.

    client A: 3 texts   \\
    client B: 40 texts    >   a pass of up to 64 texts, everybody's share   ->   each gets its own vectors
    client C: 1 text    /

A thread of its own runs the encoder, beside the engine's. A client with many texts takes many passes and holds up
nobody with few. Book 10.2 문장 임베딩 방식. Held against the openai client and the encoder alone.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from minillm._checks import describe
from minillm.inference.server.errors import ApiError
from minillm.inference.server.loop import ShuttingDownError, StepFailedError
from minillm.inference.server.schemas import Fields, Id

logger = logging.getLogger("minillm.server")
PASS = 64  # texts that go through the encoder together
MOST_INPUTS = 2048  # of one request, as OpenAI's


class EmbeddingsAsked(Fields):
    """/v1/embeddings. prompt_name: one of the encoder's prompts ("query" of e5), put in front of every text; an
    addition of sentence encoders. dimensions: none but all of them, because the vectors may not be cut."""

    model: str
    input: str | list[Id] | list[str] | list[list[Id]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    prompt_name: str | None = None

    @property
    def inputs(self) -> list[str | list[int]]:
        """Each a text or its ids."""
        if isinstance(self.input, str) or (self.input and isinstance(self.input[0], int)):
            return [self.input]  # type: ignore[list-item]
        return list(self.input)  # type: ignore[arg-type]


def check_encoder(encoder: Any) -> None:
    """ValueError for what is no sentence encoder."""
    wanted = (
        "encode", "count_tokens", "decode", "tokenizer", "max_length", "dim", "prompts", "default_prompt_name",
    )  # fmt: skip
    if missing := [name for name in wanted if not hasattr(encoder, name)]:
        raise ValueError(
            f"encoder must be a SentenceEncoder, a StaticEncoder or None, got {describe(encoder)}, "
            f"which lacks {missing[0]}"
        )


class Embeddings:
    """Reads requests for one encoder and shapes answers; `loop` runs it."""

    def __init__(self, encoder: Any, name: str):
        check_encoder(encoder)
        self.encoder, self.name, self.loop = encoder, name, EncoderLoop(encoder)

    def texts(self, asked: EmbeddingsAsked) -> tuple[list[str], int]:
        """(the texts as the encoder reads them, prompts in front; how many tokens they are). ApiError 400."""
        encoder, inputs = self.encoder, asked.inputs
        if not 1 <= len(inputs) <= MOST_INPUTS:
            raise ApiError(400, f"input may hold 1 to {MOST_INPUTS:,} texts, got {len(inputs)}", "input")
        if asked.dimensions not in (None, encoder.dim):
            message = f"dimensions must be {encoder.dim}, the width of {self.name}, got {asked.dimensions}"
            raise ApiError(400, message, "dimensions")
        if asked.prompt_name is not None and asked.prompt_name not in encoder.prompts:
            known = ", ".join(encoder.prompts) or "none"
            message = f"prompt_name must be one of {known}, got {describe(asked.prompt_name)}"
            raise ApiError(400, message, "prompt_name")
        name = encoder.default_prompt_name if asked.prompt_name is None else asked.prompt_name
        front = "" if name is None else encoder.prompts[name]
        texts = [front + self._text(one) for one in inputs]
        counts = encoder.count_tokens(texts)
        longest = max(counts)
        if encoder.max_length is not None and longest > encoder.max_length:
            message = f"a text may have {encoder.max_length:,} tokens here, got {longest:,}"
            raise ApiError(400, message, "input", "context_length_exceeded")
        return texts, sum(counts)

    def _text(self, one: str | list[int]) -> str:
        if not one:
            raise ApiError(400, "input must hold no empty text", "input")
        if isinstance(one, str):
            return one
        size = self.encoder.tokenizer.vocab_size
        if max(one) >= size:
            message = f"token ids must be below {size:,}, got {max(one):,}: send texts, or ids of {self.name}"
            raise ApiError(400, message, "input")
        return self.encoder.decode(one)

    async def vectors(self, texts: list[str]) -> np.ndarray:
        """float32 (N, C). A caller that is cancelled takes its texts out of the line."""
        return await asyncio.wrap_future(self.loop.submit(texts))

    def answer(self, asked: EmbeddingsAsked, vectors: np.ndarray, tokens: int) -> dict[str, Any]:
        """In OpenAI's shape."""
        coded = [
            base64.b64encode(one.astype("<f4").tobytes()).decode()
            if asked.encoding_format == "base64"
            else one.tolist()
            for one in vectors
        ]
        return {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(coded)],
            "model": self.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }


class _Job:
    """A request on its way: its texts, the vectors so far, and who waits for them."""

    def __init__(self, texts: Sequence[str]):
        self.texts = list(texts)
        self.found: list[np.ndarray] = []
        self.done: Future[np.ndarray] = Future()
        self.taken = 0


class EncoderLoop:
    """Runs an encoder in a thread from `start` to `stop`; passes: how many it has done."""

    def __init__(self, encoder: Any):
        self.encoder, self.passes, self.texts = encoder, 0, 0
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._jobs: list[_Job] = []
        self._deadline: float | None = None
        self._ended = False
        self._lock = threading.Lock()  # nobody gets in line behind the end
        self._thread = threading.Thread(target=self._run, name="minillm-encoder", daemon=True)

    def start(self) -> None:
        """Begin to take texts."""
        self._thread.start()

    def submit(self, texts: Sequence[str]) -> Future[np.ndarray]:
        """Their vectors, when they are there; ShuttingDownError after `stop`."""
        job = _Job(texts)
        with self._lock:
            if self._ended or self._deadline is not None:
                raise ShuttingDownError("the server is shutting down")
            self._inbox.put(job)
        return job.done

    def stop(self, seconds: float = 0.0) -> None:
        """Take no more texts, and end what is left after so many seconds. Returns at once; see `join`."""
        with self._lock:
            end = time.monotonic() + seconds
            self._deadline = end if self._deadline is None else min(self._deadline, end)
            self._inbox.put(None)

    def join(self, timeout: float) -> bool:
        """Wait for the end of the thread; whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    # In the thread

    def _run(self) -> None:
        while True:
            self._read_inbox(wait=not self._jobs)
            self._jobs = [job for job in self._jobs if not job.done.cancelled()]
            over = self._deadline is not None and time.monotonic() >= self._deadline
            if over or (self._deadline is not None and not self._jobs):
                with self._lock:
                    self._ended = True
                self._read_inbox(wait=False)
                self._fail(self._jobs, ShuttingDownError("the server is shutting down"))
                return
            if self._jobs:
                self._pass()

    def _read_inbox(self, wait: bool) -> None:
        while True:
            try:
                job = self._inbox.get(block=wait)
            except queue.Empty:
                return
            wait = False
            if job is not None:
                self._jobs.append(job)

    def _pass(self) -> None:
        """The next texts of everybody, in equal shares, through the encoder together."""
        waiting = self._jobs[:PASS]
        share = max(1, PASS // len(waiting))
        parts = [job.texts[job.taken : job.taken + share] for job in waiting]
        try:
            vectors = self.encoder.encode([text for part in parts for text in part], PASS, prompt="")
        except Exception as error:  # whose text it was cannot be told
            logger.error("a pass of the encoder failed", exc_info=error)
            self._fail(waiting, StepFailedError(f"the encoder failed: {error}"))
            return
        self.passes += 1
        self.texts += len(vectors)
        start = 0
        for job, part in zip(waiting, parts):
            job.found.append(np.asarray(vectors[start : start + len(part)], np.float32))
            start += len(part)
            job.taken += len(part)
            if job.taken == len(job.texts):
                with suppress(InvalidStateError):  # cancelled
                    job.done.set_result(np.concatenate(job.found))
        served = set(map(id, waiting))
        rest = [job for job in self._jobs if id(job) not in served]
        self._jobs = rest + [job for job in waiting if job.taken < len(job.texts)]

    def _fail(self, jobs: list[_Job], error: Exception) -> None:
        for job in list(jobs):
            with suppress(InvalidStateError):
                job.done.set_exception(error)
        failed = set(map(id, jobs))
        self._jobs = [job for job in self._jobs if id(job) not in failed]
