"""The cache's file: what is looked up in it, kept in it, dropped from it, counted. (cache.py asks and makes.)

A file that fails later (a full disk, damage, another writer that holds it) costs hits, and not the answers that a model
can give: it is counted as `failed`, and `why` says what came.
Book 9.2.1 LLM 캐시 작동 원리.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minillm._checks import check_text
from minillm._files import BadFileError
from minillm.apps.llm_cache import answers, flights
from minillm.apps.llm_cache.keys import Request
from minillm.inference.chat import Reply
from minillm.search.store.encoding import TextEncoder
from minillm.search.store.sqlite_file import SQLiteFile

COUNTS = ("exact", "semantic", "shared", "made", "passed", "raised", "dropped", "failed", "saved_tokens")


class Answered(NamedTuple):
    """An answer. how: "exact", "semantic", "shared" (with one who asked at the same time), "made", or "passed" (made,
    and not a thing to keep). score: the cosine similarity of a semantic hit."""

    value: Any
    how: str
    score: float | None = None


class KeptAnswers:
    """The file and the rules by which something in it is an answer."""

    encoder: TextEncoder | None
    threshold: float | None
    agree: Callable[[str, str], bool] | None
    ttl: float | None
    most: int | None
    clock: Callable[[], float]

    def _open(self, path: Path | None) -> None:
        self._counts: Counter[str] = Counter()
        self._counting, self.why = threading.Lock(), ""
        kind = {"kind": "LLM cache", "application": answers.APPLICATION, "durable": False}
        self._file = SQLiteFile(path, answers.TABLES, answers.VERSION, **kind)
        if self.encoder is not None:
            try:
                self._check_encoder()
            except BaseException:
                self._file.close()
                raise

    def _find(self, request: Request, namespace: str, vector: np.ndarray | None) -> Answered | None:
        """The very same request, else the most similar question that is similar enough. It counts as used."""
        how, oldest = "exact", self._oldest()
        with self._file_may_fail():
            with self._file.transaction() as connection:
                found = answers.by_key(connection, namespace, request.key, oldest)
            if found is None and vector is not None:
                how, found = "semantic", self._similar(request, namespace, vector, oldest)
            if found is not None:
                self._count(how, saved_tokens=found.tokens)
                with self._file_may_fail(), self._file.transaction(write=True) as connection:
                    answers.touch(
                        connection, found.number
                    )  # an answer is one, also where this cannot be noted
                return Answered(found.value, how, found.score if how == "semantic" else None)
        return None

    def _similar(
        self, request: Request, namespace: str, vector: np.ndarray, oldest: float
    ) -> answers.Found | None:
        """The answer to the most similar question of the same context that agrees with this one."""
        with self._file.transaction() as connection:
            ranked = answers.by_meaning(connection, namespace, request.context, vector, oldest)
        for score, number, question in ranked:
            if score < self.threshold:
                break
            if self.agree is None or self.agree(request.question, question):
                with self._file.transaction() as connection:
                    found = answers.by_number(connection, namespace, request.context, number, score)
                if found is not None:  # it may have gone meanwhile, or be damaged: then the next one
                    return found
        return None

    def _keep(self, request: Request, namespace: str, vector: np.ndarray | None, value: Any) -> None:
        now = self.clock()
        row = {
            "namespace": namespace, "key": request.key, "context": request.context, "question": None, "vector": None,
            "value": answers.packed(value), "tokens": tokens_of(value), "made": now,
        }  # fmt: skip
        if vector is not None:
            question = request.question.encode(
                "utf-8", "replace"
            ).decode()  # half a surrogate pair is no text
            row |= {"question": question, "vector": vector.astype("<f4").tobytes()}
        with self._file_may_fail(), self._file.transaction(write=True) as connection:
            flights.clean(connection, now)
            self._count("dropped", answers.put(connection, row, self._oldest(), self.most))

    def _vector(self, request: Request) -> np.ndarray | None:
        """The question's vector of length 1 (D,); None without an encoder, or for a text of which it knows nothing."""
        if self.encoder is None or request.question is None:
            return None
        vector = self.encoder.encode([request.question], "query")[0].astype(np.float32)
        length = float(np.linalg.norm(vector))
        return vector / length if np.isfinite(length) and length > 0 else None

    def _check_encoder(self) -> None:
        """Vectors of two encoders in one file would be compared with each other: ValueError."""
        probe = self.encoder.probe()
        with self._file.transaction(write=True) as connection:
            row = connection.execute("SELECT value FROM settings WHERE name = 'probe'").fetchone()
            if row is None:
                connection.execute("INSERT INTO settings VALUES ('probe', ?)", (probe,))
                return
        self.encoder.check(len(probe) // 4, row[0], str(self._file), "LLM cache")

    def _oldest(self) -> float:
        return -1.0 if self.ttl is None else self.clock() - self.ttl

    @contextmanager
    def _file_may_fail(self) -> Iterator[None]:
        try:
            yield
        except (OSError, BadFileError) as error:  # TimeoutError is an OSError
            self.why = str(error)
            self._count("failed")

    def _count(self, what: str, by: int = 1, **more: int) -> None:
        with self._counting:
            self._counts.update({what: by, **more})

    def stats(self) -> dict[str, Any]:
        """Of this object: how often an answer came in each way (see Answered), made ones that `raised`, `dropped`
        (too old, too many), `failed` (reads and writes of the file), `saved_tokens`, `hit_rate` = hits / (hits + made).
        Of the file: `entries`, `namespaces`."""
        with self._file.transaction() as connection:
            sql = "SELECT count(*), count(DISTINCT namespace) FROM answers"
            entries, spaces = connection.execute(sql).fetchone()
        with self._counting:
            counts = {name: self._counts.get(name, 0) for name in COUNTS}
        hits = counts["exact"] + counts["semantic"] + counts["shared"]
        rate = hits / max(1, hits + counts["made"])
        return {**counts, "hit_rate": rate, "entries": entries, "namespaces": spaces}

    def clear(self, namespace: str | None = None) -> int:
        """Forget all answers, or those of one namespace; how many there were."""
        with self._file.transaction(write=True) as connection:
            if namespace is None:
                return connection.execute("DELETE FROM answers").rowcount
            check_text("namespace", namespace)
            return connection.execute("DELETE FROM answers WHERE namespace = ?", (namespace,)).rowcount

    def __len__(self) -> int:
        return self.stats()["entries"]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def is_empty(value: Any) -> bool:
    """No answer: not kept, so that the next one who asks may get one."""
    if isinstance(value, Reply):
        return not value.text.strip() and not value.tool_calls
    return value is None or (isinstance(value, str) and not value.strip())


def tokens_of(value: Any) -> int:
    """What an answer that is not made again saves; 0 where nobody counted."""
    usage = value.usage if isinstance(value, Reply) and isinstance(value.usage, Mapping) else {}
    return int(usage.get("total_tokens", 0))
