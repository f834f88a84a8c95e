"""LLMCache: ask it instead of the model. It answers what it knows, and has the rest made, once.

    exact      the same request: model, settings, every message                                      sha256 of it all
    semantic   the last question means the same: cosine(e(q), e(q')) >= threshold                    with an encoder
               model, settings, system prompt and earlier turns must still be exactly the same
    neither    `make` is called, once for all who ask at the same time (flights.py), and its answer is kept

Both in one SQLite file (answers.py). A namespace is whom an answer may be shown to: a user, a tenant, "" for all who
share the cache. Nothing crosses it. A semantic hit is a guess that two questions have one answer: thresholds.py says
how to choose the threshold, and the right one is not the same for two encoders.
Book 9.2 LLM 캐시. Peer: GPTCache. Left out: an index of the vectors (all of a context are compared: 4 ms of a core
for each 1,000 of them), encryption: the file holds questions and answers as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minillm._checks import (
    check_flag,
    check_function,
    check_int,
    check_number,
    check_path,
    check_text,
    describe,
)
from minillm.apps.llm_cache import answers, flights
from minillm.apps.llm_cache.kept import Answered, KeptAnswers, is_empty, tokens_of
from minillm.apps.llm_cache.keys import Request, cache_key, settings_of
from minillm.search.store.encoding import TextEncoder


class LLMCache(KeptAnswers):
    """Answers in the file `path` (None: in memory).

    encoder: with encode(texts), for questions that mean the same; threshold: the cosine similarity from which on they
    do, to be given with it. agree(question, kept_question): what must hold besides (agreement.py).
    ttl: seconds that an answer is good for. most: answers in the file; the least recently used ones go.
    sampled: keep answers that were drawn, too (temperature > 0): everybody then gets the same draw.
    patience: seconds in all that a caller waits for what others (threads, processes) are making.
    clock: seconds since 1970.

    Threads may share one object; processes open the file each, a fork opens it again. ValueError for bad input,
    BadFileError for a file that is no cache.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        encoder: Any = None,
        threshold: float | None = None,
        *,
        agree: Callable[[str, str], bool] | None = None,
        ttl: float | None = None,
        most: int | None = 100_000,
        sampled: bool = False,
        patience: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if (encoder is None) != (threshold is None):
            raise ValueError(
                "encoder and threshold go together: similar enough is not the same for two encoders"
            )
        self.encoder = None if encoder is None else TextEncoder(encoder)
        self.threshold = None if threshold is None else check_number("threshold", threshold, -1.0, 1.0)
        self.agree = check_function("agree", agree)
        self.ttl = None if ttl is None else check_number("ttl", ttl, 0.0)
        self.most = None if most is None else check_int("most", most, 1)
        self.sampled, self.clock = check_flag("sampled", sampled), clock
        self.patience = check_number("patience", patience, 0.0)
        self._flights, self._name = flights.Flights(self.patience), flights.own_name()
        self._open(None if path is None else check_path("path", path))

    def get_or_create(
        self,
        messages: Any,
        make: Callable[[], Any],
        namespace: str = "",
        *,
        model: str = "",
        params: Any = None,
        functions: Mapping[str, Any] | None = None,
    ) -> Any:
        """The answer: a kept one, or what `make()` gives: a Reply, a text or a JSON value. What `make` raises is passed
        on, and nothing is kept then, nor for an empty answer.

        messages: a text, or dicts with a role and a content. model, params, functions: what else the answer hangs on.
        With params whose temperature is above 0, `make` is called each time (unless sampled=True); where no temperature
        is named, nothing is known of it, and the answer is kept.
        """
        return self.answer(messages, make, namespace, model=model, params=params, functions=functions).value

    def answer(
        self,
        messages: Any,
        make: Callable[[], Any],
        namespace: str = "",
        *,
        model: str = "",
        params: Any = None,
        functions: Mapping[str, Any] | None = None,
    ) -> Answered:
        """As `get_or_create`, with how the answer came."""
        if not callable(make):
            raise ValueError(f"make must be a function, got {describe(make)}")
        check_text("namespace", namespace)
        request = cache_key(messages, model, params, functions)
        if not self._to_be_kept(params):
            self._count("passed")
            return Answered(make(), "passed")
        vector, until = self._vector(request), time.monotonic() + self.patience

        def look() -> Answered | None:
            return self._find(request, namespace, vector)

        def made() -> Answered:
            return self._make(request, namespace, vector, make, until)

        key = (namespace, request.key)
        return look() or self._flights.fly(key, look, made, self._pack, self._unpack)

    def find(
        self,
        messages: Any,
        namespace: str = "",
        *,
        model: str = "",
        params: Any = None,
        functions: Mapping[str, Any] | None = None,
    ) -> Answered | None:
        """A kept answer, or None."""
        request = cache_key(messages, model, params, functions)
        if not self._to_be_kept(params):
            return None
        return self._find(request, check_text("namespace", namespace), self._vector(request))

    def stream(
        self,
        messages: Any,
        make: Callable[[], Iterator[str]],
        namespace: str = "",
        *,
        model: str = "",
        params: Any = None,
    ) -> Iterator[str]:
        """The pieces of an answer: kept ones at once, or those of `make()` as they come, kept after the last one.

        A stream that fails, or whose reader stops early, is not kept. Nobody waits for another one's stream: its reader
        may be slow. So equal streams at the same time are each made.
        """
        if not callable(make):
            raise ValueError(f"make must be a function, got {describe(make)}")
        check_text("namespace", namespace)
        request = cache_key(messages, model, params, {"stream": True})
        kept = self._to_be_kept(params)
        return self._pieces(request, namespace, self._vector(request) if kept else None, make, kept)

    def _pieces(
        self, request: Request, namespace: str, vector: np.ndarray | None, make: Any, kept: bool
    ) -> Iterator[str]:
        if kept and (found := self._find(request, namespace, vector)) is not None:
            yield from found.value
            return
        self._count("made" if kept else "passed")
        pieces = []
        try:
            for piece in make():
                pieces.append(check_text("a piece", piece))
                yield piece
        except Exception:
            self._count("raised")
            raise
        if kept and not is_empty("".join(pieces)):
            self._keep(request, namespace, vector, pieces)

    def _make(
        self,
        request: Request,
        namespace: str,
        vector: np.ndarray | None,
        make: Callable[[], Any],
        until: float,
    ) -> Answered:
        """The answer made by us, unless another process is making it and is done first. until: we wait no longer."""
        key = (namespace, request.key)
        found = self._wait_for_turn(key, lambda: self._find(request, namespace, vector), until)
        if found is not None:
            return found
        try:
            self._count("made")
            value = make()
            if not is_empty(value):
                self._keep(request, namespace, vector, value)
            return Answered(value, "made")
        except BaseException:
            self._count("raised")
            raise
        finally:
            with self._file_may_fail(), self._file.transaction(write=True) as connection:
                flights.release(connection, key, self._name)

    def _wait_for_turn(
        self, key: flights.Key, look: Callable[[], Answered | None], until: float
    ) -> Answered | None:
        """None when it is our turn, else what another process has made meanwhile."""
        pause = 0.005
        while True:
            ours = True  # also where the file fails
            with self._file_may_fail(), self._file.transaction(write=True) as connection:
                ours = flights.take(connection, key, self._name, self.clock(), self.patience)
            if ours or (left := until - time.monotonic()) <= 0:
                return None
            time.sleep(min(pause, left))
            pause = min(0.2, pause * 2)
            if (found := look()) is not None:
                return found

    def _pack(self, result: Answered) -> tuple[str, float | None]:
        return answers.packed(result.value), result.score

    def _unpack(self, packed: tuple[str, float | None]) -> Answered:
        """What one gets who waited for it: a copy, since the others may change theirs."""
        value = answers.unpacked(packed[0])
        self._count("shared", saved_tokens=tokens_of(value))
        return Answered(value, "shared", packed[1])

    def _to_be_kept(self, params: Any) -> bool:
        return self.sampled or settings_of(params).get("temperature", 0) == 0

    def __enter__(self) -> LLMCache:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
