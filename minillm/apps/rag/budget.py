"""The token budget (토큰 예산): no prompt is longer than the model's window, whatever was found.

    tokens(prompt with the sources) + max_tokens of the answer <= window

Sources are taken best first; one that does not fit is left out, and the answer says so. Tokens are counted by the
model's own template and tokenizer where they are here. Behind a server they are not: each byte is counted as a token,
which no byte-level tokenizer exceeds, and what the template writes is measured by one short request of the same roles.
That is up to four times too much, never too little, but for a server without `usage` (64 tokens are taken then) and a
tokenizer that makes text longer first (NFKC): give those a smaller context_window.

Book: 9.1.2 프롬프트에 검색 결과 통합.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from minillm._checks import check_int, describe
from minillm.apps.rag.nodes import Node, NodeWithScore, failed
from minillm.inference import ChatModel, LocalChat, OpenAIChat, SamplingParams, ScriptedChat

AROUND = 16  # tokens of a message besides its text: role, marks, line ends
TEMPLATE = 64  # of what a template writes by itself, such as the line that opens the answer; at least
USUAL_WINDOW = 4096  # of a ScriptedChat
Prompt = Callable[[str, Sequence[Node]], list[dict[str, str]]]


class Budget(NamedTuple):
    """window: tokens that the model reads and writes; count: messages -> tokens; exact: whether they are its own."""

    window: int
    count: Callable[[Sequence[dict[str, str]]], int]
    exact: bool


def byte_count(messages: Sequence[dict[str, str]], template: int = TEMPLATE) -> int:
    """As many tokens as the messages can have under a tokenizer that falls back to bytes. template: tokens that are
    written around them."""
    return max(TEMPLATE, template) + sum(
        AROUND + len(one["content"].encode("utf-8", "replace")) for one in messages
    )


def budget_of(model: ChatModel, context_window: int | None = None) -> Budget:
    """The budget of a model. context_window: tokens, where they cannot be asked for, or fewer.

    ValueError for a server that does not say how much its model reads, and for a ChatModel of another kind, unless
    context_window is given."""
    if not isinstance(model, ChatModel):
        raise ValueError(
            f"llm must be a ChatModel (LocalChat, OpenAIChat, ScriptedChat) or None, got {describe(model)}"
        )
    given = None if context_window is None else check_int("context_window", context_window, 1)
    if isinstance(model, LocalChat):
        own = model.engine.window
        return Budget(own if given is None else min(own, given), partial(_local_count, model), True)
    if isinstance(model, OpenAIChat):
        return Budget(window_of_server(model) if given is None else given, ServerCount(model), False)
    if given is None and not isinstance(model, ScriptedChat):
        raise ValueError(f"give context_window: nothing says how many tokens a {type(model).__name__} reads")
    return Budget(USUAL_WINDOW if given is None else given, byte_count, False)


def _local_count(model: LocalChat, messages: Sequence[dict[str, str]]) -> int:
    return len(model.tokenizer.encode(model.caller.prompt(messages)))


class ServerCount:
    """`byte_count` with what the template of a server's model writes, asked once for each row of roles: a template may
    write a system message of its own where none is given, or the date of today."""

    def __init__(self, model: OpenAIChat) -> None:
        self.model = model
        self.written: dict[tuple[str, ...], int] = {}

    def __call__(self, messages: Sequence[dict[str, str]]) -> int:
        roles = tuple(one["role"] for one in messages)
        if roles not in self.written:
            self.written[roles] = self._asked(roles)
        return byte_count(messages, self.written[roles])

    def _asked(self, roles: tuple[str, ...]) -> int:
        """The tokens of a prompt of one letter a message; 0 where the server does not say."""
        shortest = [{"role": role, "content": "a"} for role in roles]
        try:
            usage = self.model.chat(shortest, SamplingParams(temperature=0.0, max_tokens=1)).usage
        except Exception as error:
            raise failed(error) from error
        return usage.get("prompt_tokens") or 0


def window_of_server(model: OpenAIChat) -> int:
    """What the server says its model reads (`minillm serve` and vLLM do); ValueError where it says nothing."""
    listed = {one.id: one for one in model.client.models.list().data}
    window = getattr(listed.get(model.model), "max_model_len", None)
    if not isinstance(window, int) or window < 1:
        raise ValueError(
            f"the server at {model.client.base_url} does not say how many tokens {model.model!r} reads: give "
            "context_window"
        )
    return window


class Fitted(NamedTuple):
    """A prompt that fits, its tokens, the sources that stand in it, and those that were left out."""

    messages: list[dict[str, str]]
    tokens: int
    kept: list[NodeWithScore]
    dropped: list[NodeWithScore]


def fit_sources(
    question: str, found: Sequence[NodeWithScore], prompt: Prompt, budget: Budget, answer: int
) -> Fitted:
    """The prompt with as many sources as fit, best first. answer: tokens kept free for it.

    ValueError where the question alone, or with no source at all, is too long."""
    room = budget.window - answer
    kept: list[NodeWithScore] = []
    dropped: list[NodeWithScore] = []
    messages = prompt(question, [])
    tokens = budget.count(messages)
    for one in found:
        longer = prompt(question, [each.node for each in (*kept, one)])
        if (count := budget.count(longer)) <= room:
            kept, messages, tokens = [*kept, one], longer, count
        else:
            dropped.append(one)
    check_room(budget, room, tokens, nothing=bool(dropped) and not kept)
    return Fitted(messages, tokens, kept, dropped)


def check_room(budget: Budget, room: int, tokens: int, nothing: bool) -> None:
    """ValueError for a prompt that is longer than its room, and where no source fits into it."""
    if tokens <= room and not nothing:
        return
    what = "the question" if tokens > room else "every source"
    raise ValueError(
        f"{what} is too long: a window of {budget.window:,} tokens leaves {room:,} to the prompt"
        f"{'' if budget.exact else ', its bytes counted'}; ask a shorter question, use smaller nodes, fewer tokens for "
        "the answer (max_tokens), or give a larger context_window if the model has one"
    )
