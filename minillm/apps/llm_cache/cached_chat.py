"""A chat model behind a cache: `CachedChat(model, cache, namespace)` is asked like the model.

The namespace has no default: whose answers these are must be said. Functions (tools) and JSON schemas are part of the
key. Settings that are left to the model may draw (SamplingParams' own temperature is 1): such answers are not kept
unless the cache was made with sampled=True; ask with temperature=0.
Book 9.2.2 실습: OpenAI API 캐시 구현.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from minillm._checks import check_text, describe
from minillm.apps.llm_cache.cache import LLMCache
from minillm.inference.chat import ChatModel, Functions, Messages, Reply
from minillm.inference.params import SamplingParams


class CachedChat(ChatModel):
    """The model's answers, kept. model_name: tells the answers of two models apart (default: the model's
    own name, or its class: give one each to two LocalChats over one file)."""

    def __init__(
        self, model: ChatModel, cache: LLMCache, namespace: str, model_name: str | None = None
    ) -> None:
        if not isinstance(model, ChatModel) or not isinstance(cache, LLMCache):
            raise ValueError(
                f"CachedChat takes a ChatModel and an LLMCache, got {describe(model)}, {describe(cache)}"
            )
        self.inner, self.cache, self.namespace = model, cache, check_text("namespace", namespace)
        own = getattr(model, "model", None)
        usual = own if isinstance(own, str) else type(model).__name__
        self.model_name = usual if model_name is None else check_text("model_name", model_name)

    def chat(self, messages: Messages, params: SamplingParams | None = None, **functions: Any) -> Reply:
        """As the model's; a kept reply says of itself what it said the first time, its usage too."""
        params = self._usual(messages) if params is None else params
        return self.cache.get_or_create(
            messages, lambda: self.inner.chat(messages, params, **functions), self.namespace, model=self.model_name,
            params=params, functions=functions,
        )  # fmt: skip

    def stream(self, messages: Messages, params: SamplingParams | None = None) -> Iterator[str]:
        """As the model's."""
        params = self._usual(messages) if params is None else params
        return self.cache.stream(
            messages,
            lambda: self.inner.stream(messages, params),
            self.namespace,
            model=self.model_name,
            params=params,
        )

    def choose(self, messages: Messages, options: Sequence[str]) -> tuple[int, list[float]]:
        """As the model's, and not kept."""
        return self.inner.choose(messages, options)

    def _reply(self, messages: Messages, params: SamplingParams | None, functions: Functions) -> Reply:
        """As `chat`: what wraps this one (a GuardedChat) asks by this name."""
        return self.chat(messages, params, **functions.asked)

    def _usual(self, messages: Messages) -> SamplingParams:
        return self.inner._usual(messages)
