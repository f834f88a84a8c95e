"""A model behind an HTTP server: `OpenAIChat(base_url, model)`, through the openai client.

Held against our own server, which the same client drives. Book 8.4 LLM 서빙 프레임워크.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from minillm._checks import check_text
from minillm.inference.chat import (
    ChatModel,
    Functions,
    Messages,
    Reply,
    as_messages,
    check_one,
    most_probable,
    usage_of,
    with_options,
)
from minillm.inference.params import SamplingParams

# SamplingParams' fields that are OpenAI's own, and those that our server and vLLM add
_OPENAI = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "max_tokens")
_MORE = ("top_k", "min_p", "repetition_penalty", "min_tokens", "ignore_eos")


class OpenAIChat(ChatModel):
    """Talks to a server with OpenAI's interface, through the `openai` client (the extra `openai`).

    base_url: with its /v1, "http://127.0.0.1:8000/v1". api_key: None for a server that asks for none. timeout: seconds
    for an answer. Errors are the client's own (openai.APIError and its kinds). finish_reason: of the newest stream that
    came to its end.
    """

    finish_reason: str | None = None

    def __init__(self, base_url: str, model: str, api_key: str | None = None, timeout: float = 120.0):
        try:
            from openai import OpenAI
        except ImportError as error:
            raise ImportError(
                f"OpenAIChat needs the openai client ({error}): pip install 'minillm[openai]'"
            ) from None
        self.model = check_text("model", model)
        self.client = OpenAI(
            base_url=check_text("base_url", base_url), api_key=api_key or "none", timeout=timeout
        )

    def _reply(self, messages: Messages, params: SamplingParams | None, functions: Functions) -> Reply:
        asked = as_request(params)
        asked |= functions.asked
        got = self.client.chat.completions.create(model=self.model, messages=as_messages(messages), **asked)
        counts = usage_of(got.usage.prompt_tokens, got.usage.completion_tokens) if got.usage else {}
        said = got.choices[0].message
        calls = tuple(
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in said.tool_calls or ()
        )
        return Reply(said.content or "", counts, got.choices[0].finish_reason, calls)

    def stream(self, messages: Messages, params: SamplingParams | None = None) -> Iterator[str]:
        asked = as_request(params)
        return self._pieces(as_messages(messages), asked)

    def _pieces(self, messages: list[dict[str, Any]], asked: dict[str, Any]) -> Iterator[str]:
        self.finish_reason = None
        with self.client.chat.completions.create(
            model=self.model, messages=messages, stream=True, **asked
        ) as events:
            for event in events:
                for choice in event.choices:
                    self.finish_reason = choice.finish_reason or self.finish_reason
                    if choice.delta.content:
                        yield choice.delta.content

    def choose(self, messages: Messages, options: Sequence[str]) -> tuple[int, list[float]]:
        """As ChatModel's. One request an option; ValueError where the server gives no prompt logprobs, as OpenAI's own
        does not (vLLM and `minillm serve` do)."""
        prompts, scores = [], []
        asked = {"prompt_logprobs": 0, "add_generation_prompt": False, "continue_final_message": True}
        for one in with_options(messages, options):
            got = self.client.chat.completions.create(
                model=self.model, messages=one, max_tokens=1, temperature=0, extra_body=asked
            )
            said = getattr(got, "prompt_logprobs", None)
            if not isinstance(said, list):
                raise ValueError(
                    f"choose needs prompt logprobs, and the server at {self.client.base_url} gives none for "
                    f"{self.model!r}"
                )
            first = [None if at is None else next(iter(at.items())) for at in said]  # the prompt's own token
            prompts.append([-1 if at is None else int(at[0]) for at in first])
            scores.append([None if at is None else at[1]["logprob"] for at in first])
        return most_probable(prompts, scores)


def as_request(params: SamplingParams | None) -> dict[str, Any]:
    """OpenAI's fields, and in extra_body those that it lacks; what differs from SamplingParams() alone."""
    if params is None:
        return {}
    check_one(params)
    usual = {one.name: one.default for one in fields(SamplingParams)} | {"max_tokens": None}
    given = {n: v for n in (*_OPENAI, *_MORE) if (v := getattr(params, n)) != usual[n]}
    more = {name: given.pop(name) for name in _MORE if name in given}
    if params.stop_ids:
        raise ValueError(
            f"a server takes stop strings and stop_token_ids, got ids in stop: {params.stop_ids}"
        )
    if params.stop_strings:
        given["stop"] = list(params.stop_strings)
    if params.stop_token_ids:
        more["stop_token_ids"] = list(params.stop_token_ids)
    if params.json_schema is not None:
        named = {"name": "answer", "schema": params.json_schema, "strict": True}
        given["response_format"] = {"type": "json_schema", "json_schema": named}
    if params.logit_bias:
        given["logit_bias"] = {str(i): value for i, value in params.logit_bias.items()}
    others = {"n", "stop", "stop_token_ids", "logit_bias", "json_schema", *_OPENAI, *_MORE}
    rest = [n for n in usual if n not in others and getattr(params, n) != usual[n]]
    if rest:
        raise ValueError(f"a server does not take {', '.join(rest)}")
    return given | ({"extra_body": more} if more else {})
