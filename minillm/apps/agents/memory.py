"""Memory: what an agent is told again. Short: the newest steps, a summary of older ones. Long: earlier tasks.

    ShortMemory(limit=1024, summarize=None).fit(messages)     the newest that fit, before them one summary
    LongMemory(store).recall(task), .keep(task, answer)       a VectorStore with an encoder

Book: 15.1.2 에이전트의 두뇌. Paper: Park et al. 2023, "Generative Agents". Left out: forgetting, scores of importance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from minillm._checks import check_function, check_int, describe

Message = dict[str, str]


def bytes_over_four(text: str) -> int:
    """Tokens of a text, roughly: for a model whose tokenizer is not at hand."""
    return len(text.encode("utf-8", "replace")) // 4 + 1


class ShortMemory:
    """limit: tokens. summarize: (older messages) -> text; None leaves them out. count: tokens of a text."""

    def __init__(
        self,
        limit: int = 1024,
        summarize: Callable[[list[Message]], str] | None = None,
        count: Callable[[str], int] = bytes_over_four,
    ) -> None:
        self.limit = check_int("limit", limit, 1)
        self.summarize, self.count = check_function("summarize", summarize), check_function("count", count)

    def fit(self, messages: Sequence[Message]) -> list[Message]:
        """The messages, cut to the limit from the old end. Half of the limit at most goes to the summary."""
        sizes = [self.count(one["content"]) for one in messages]
        if sum(sizes) <= self.limit:
            return [*messages]
        room, kept = self.limit if self.summarize is None else self.limit - self.limit // 2, len(messages)
        while kept and sizes[kept - 1] <= room:
            kept -= 1
            room -= sizes[kept]
        summary = "" if self.summarize is None else self._short(self.summarize([*messages[:kept]]))
        return ([{"role": "user", "content": summary}] if summary else []) + [*messages[kept:]]

    def _short(self, text: str) -> str:
        while text and self.count(f"Before: {text}") > self.limit // 2:
            text = text[: len(text) * 3 // 4]
        return f"Before: {text}" if text else ""


class LongMemory:
    """Tasks and their answers in a VectorStore. top_k: how many are recalled."""

    def __init__(self, store: Any, top_k: int = 3, namespace: str = "memory") -> None:
        if not callable(getattr(store, "query", None)) or not callable(getattr(store, "upsert", None)):
            raise ValueError(f"store must be a VectorStore with an encoder, got {describe(store)}")
        self.store, self.top_k, self.namespace = store, check_int("top_k", top_k, 1), namespace

    def recall(self, task: str) -> list[str]:
        """What was kept and is nearest to the task, the nearest first."""
        found = self.store.query(task, top_k=self.top_k, namespace=self.namespace)["matches"]
        return [one["metadata"]["text"] for one in found]

    def keep(self, task: str, answer: str) -> None:
        """Remember; the same task and answer are kept once."""
        text = f"{task} -> {answer}"
        name = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
        self.store.upsert([{"id": name, "text": text}], namespace=self.namespace)


class BothMemories:
    """A short and a long memory as one."""

    def __init__(self, short: ShortMemory, long: LongMemory) -> None:
        self.fit, self.recall, self.keep = short.fit, long.recall, long.keep
