"""One way to talk to a model, wherever it runs: here, behind an HTTP server, or written down beforehand.

    LocalChat(engine)   OpenAIChat(base_url, model)   ScriptedChat(["first answer", ...])
        .chat(messages)               a Reply
        .stream(messages)             pieces of its text
        .choose(messages, options)    which of the options the model would rather say
        .json(messages, schema)       a value that follows the JSON schema
        .chat(messages, tools=[...])  a Reply that may call functions (tool_calls.py)

`choose` writes nothing: every option is put where the answer would stand, and the log probabilities that the model
gives to its tokens are summed, log p(option) = Σ log p(token_t | before). p = softmax over the options.
Book 8.4 LLM 서빙 프레임워크. Held against the openai client and our own server.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from minillm._checks import check_flag, check_text, describe
from minillm.inference.call_reader import CallReader
from minillm.inference.engine import Engine
from minillm.inference.grammar.guide import schema_text
from minillm.inference.params import SamplingParams
from minillm.inference.tool_calls import Caller, ToolChoice, checked_tools
from minillm.tokenizer.chat import apply_chat_template
from minillm.tokenizer.chat_ends import turn_ends

Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]]
USUAL_TOKENS = 512  # of an answer
# SamplingParams' fields that are OpenAI's own, and those that our server and vLLM add
_OPENAI = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "max_tokens")
_MORE = ("top_k", "min_p", "repetition_penalty", "min_tokens", "ignore_eos")


@dataclass(frozen=True)
class Reply:
    """An answer. usage: prompt_tokens, completion_tokens, total_tokens.

    finish_reason: "stop", "length" or "tool_calls". tool_calls: of each call {"id", "type": "function", "function":
    {"name", "arguments": JSON as text}}.
    """

    text: str
    usage: dict[str, int]
    finish_reason: str
    tool_calls: tuple[dict[str, Any], ...] = ()

    @property
    def message(self) -> dict[str, Any]:
        """The answer as a message of the conversation; results of its calls follow it as messages of role "tool"."""
        calls = {"tool_calls": [*self.tool_calls]} if self.tool_calls else {}
        return {"role": "assistant", "content": self.text, **calls}


class ChatModel(ABC):
    """Answers messages: dicts with a role and a content. params: None for what is usual for the model."""

    def chat(
        self,
        messages: Messages,
        params: SamplingParams | None = None,
        *,
        tools: Tools = (),
        tool_choice: Any = None,
        parallel_tool_calls: bool = True,
    ) -> Reply:
        """The answer.

        tools: functions that it may call, {"type": "function", "function": {"name", "description", "parameters": JSON
        schema}}. tool_choice: "auto" (None), "none", "required", or {"type": "function", "function": {"name"}}.
        parallel_tool_calls: whether it may make more than one call. Arguments of an answer that was not cut off parse
        and follow their schema. A conversation goes on with `reply.message` and, for every call,
        {"role": "tool", "tool_call_id", "content"}.
        """
        tools = checked_tools(tools)
        return self._reply(
            messages,
            params,
            tools,
            ToolChoice.of(tool_choice, tools),
            check_flag("parallel_tool_calls", parallel_tool_calls),
        )

    @abstractmethod
    def _reply(
        self,
        messages: Messages,
        params: SamplingParams | None,
        tools: Tools,
        choice: ToolChoice,
        several: bool,
    ) -> Reply:
        """`chat`; several: whether more than one call may come."""

    @abstractmethod
    def stream(self, messages: Messages, params: SamplingParams | None = None) -> Iterator[str]:
        """The answer's text, in pieces as it is written. Closing the iterator ends the writing."""

    @abstractmethod
    def choose(self, messages: Messages, options: Sequence[str]) -> tuple[int, list[float]]:
        """(index of the most probable option, the probability of each among them). An option that is the beginning of
        another is never less probable than it."""

    def json(
        self, messages: Messages, schema: Mapping[str, Any], params: SamplingParams | None = None
    ) -> Any:
        """The answer as a value that follows a JSON schema (grammar/json_schema.py says which). ValueError for a schema
        that is not done, and for an answer that was cut off by max_tokens: give more, or the schema a maxLength."""
        params = self._usual(messages) if params is None else params
        reply = self.chat(messages, replace(params, json_schema=schema))
        if reply.finish_reason != "stop":
            raise ValueError(f"the answer was cut off after max_tokens: {describe(reply.text)}")
        return json.loads(reply.text)

    def _usual(self, messages: Messages) -> SamplingParams:
        """The settings where the caller gives none."""
        return SamplingParams(max_tokens=USUAL_TOKENS)


class LocalChat(ChatModel):
    """Talks through an engine of this process. Nobody else may use the engine at the same time."""

    def __init__(self, engine: Engine):
        if not isinstance(engine, Engine) or not getattr(engine.tokenizer, "chat_template", None):
            raise ValueError(
                f"engine must be an Engine whose tokenizer has a chat template, got {describe(engine)}"
            )
        self.engine, self.tokenizer = engine, engine.tokenizer
        self.ends = turn_ends(self.tokenizer)
        self.caller = Caller(self.tokenizer)

    def _reply(
        self,
        messages: Messages,
        params: SamplingParams | None,
        tools: Tools,
        choice: ToolChoice,
        several: bool,
    ) -> Reply:
        told = () if choice.mode == "none" else tools
        ids, params = self._asked(messages, params, told)
        if told:
            schema = None if params.json_schema is None else schema_text(params.json_schema)
            calls = self.caller.calls(tools, choice, several, schema)
            params = replace(params, calls=calls, json_schema=None)
        done = self.engine.generate([ids], params)[0]
        usage = _usage(len(ids), len(done.token_ids))
        if params.calls is None:
            return Reply(done.text or "", usage, done.finish_reason)
        reader = CallReader(params.calls)
        text = "".join(event[1] for event in reader.feed(done.text or "", last=True) if event[0] == "text")
        calling = reader.calls and done.finish_reason == "stop" and not choice.named
        return Reply(text, usage, "tool_calls" if calling else done.finish_reason, tuple(reader.calls))

    def stream(self, messages: Messages, params: SamplingParams | None = None) -> Iterator[str]:
        ids, params = self._asked(messages, params)
        return self._pieces(ids, params)

    def _pieces(self, ids: list[int], params: SamplingParams) -> Iterator[str]:
        name = self.engine.add_request(ids, params)
        try:
            finished = False
            while not finished:
                for output in self.engine.step():
                    if output.request_id == name:
                        finished = output.finished
                        if output.text:
                            yield output.text
        finally:
            self.engine.abort(name)

    def choose(self, messages: Messages, options: Sequence[str]) -> tuple[int, list[float]]:
        texts = [
            apply_chat_template(self.tokenizer, one, False, continue_final_message=True)
            for one in _with_options(messages, options)
        ]
        params = SamplingParams(max_tokens=1, prompt_logprobs=0, temperature=0)
        prompts = [self.tokenizer.encode(text) for text in texts]
        said = [one.prompt_logprobs or [] for one in self.engine.generate(prompts, params)]
        scores = [[None if s is None else s[i] for i, s in zip(*pair)] for pair in zip(prompts, said)]
        return _most_probable(prompts, scores)

    def _asked(
        self, messages: Messages, params: SamplingParams | None, tools: Tools = ()
    ) -> tuple[list[int], SamplingParams]:
        ids = self.tokenizer.encode(self.caller.prompt(messages, tools))
        params = self._fitting(len(ids)) if params is None else params
        _check_one(params)
        return ids, replace(params, stop_token_ids={*params.stop_token_ids, *self.ends})

    def _usual(self, messages: Messages) -> SamplingParams:
        return self._fitting(len(self.tokenizer.encode(self.caller.prompt(messages))))

    def _fitting(self, read: int) -> SamplingParams:
        return SamplingParams(max_tokens=max(1, min(USUAL_TOKENS, self.engine.window - read)))


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

    def _reply(
        self,
        messages: Messages,
        params: SamplingParams | None,
        tools: Tools,
        choice: ToolChoice,
        several: bool,
    ) -> Reply:
        asked = _as_request(params)
        if tools:
            asked["tools"] = tools
            asked |= {} if choice.asked is None else {"tool_choice": choice.asked}
            asked |= {} if several else {"parallel_tool_calls": False}
        got = self.client.chat.completions.create(model=self.model, messages=[*map(dict, messages)], **asked)
        counts = _usage(got.usage.prompt_tokens, got.usage.completion_tokens) if got.usage else {}
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
        asked = _as_request(params)
        return self._pieces([*map(dict, messages)], asked)

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
        for one in _with_options(messages, options):
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
        return _most_probable(prompts, scores)


@dataclass
class ScriptedChat(ChatModel):
    """Says what was written down, in order: a test knows what comes. `asked` holds the messages of every call.

    A reply to `choose` is one of its options. ValueError when there are no replies left, or it is none of them.
    """

    replies: Sequence[str | Reply]
    asked: list[list[dict[str, Any]]] = field(default_factory=list)

    def _next(self, messages: Messages) -> Reply:
        if len(self.asked) >= len(self.replies):
            raise ValueError(f"the script has {len(self.replies)} replies, and one more was asked for")
        self.asked.append([*map(dict, messages)])
        reply = self.replies[len(self.asked) - 1]
        return reply if isinstance(reply, Reply) else Reply(reply, _usage(0, 0), "stop")

    def _reply(
        self,
        messages: Messages,
        params: SamplingParams | None,
        tools: Tools,
        choice: ToolChoice,
        several: bool,
    ) -> Reply:
        return self._next(messages)

    def stream(self, messages: Messages, params: SamplingParams | None = None) -> Iterator[str]:
        return iter(self._next(messages).text.splitlines(keepends=True))

    def choose(self, messages: Messages, options: Sequence[str]) -> tuple[int, list[float]]:
        _with_options(messages, options)
        text = self._next(messages).text
        if text not in options:
            raise ValueError(f"the script says {describe(text)}, which is none of {describe(list(options))}")
        at = list(options).index(text)
        return at, [float(i == at) for i in range(len(options))]


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _check_one(params: SamplingParams) -> None:
    if not isinstance(params, SamplingParams):
        raise ValueError(f"params must be SamplingParams or None, got {describe(params)}")
    if params.n != 1:
        raise ValueError(f"a chat has one answer: params.n must be 1, got {params.n}")


def _as_request(params: SamplingParams | None) -> dict[str, Any]:
    """OpenAI's fields, and in extra_body those that it lacks; what differs from SamplingParams() alone."""
    if params is None:
        return {}
    _check_one(params)
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


def _with_options(messages: Messages, options: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The conversation, ended by each option."""
    if isinstance(options, str) or not options or not all(isinstance(one, str) and one for one in options):
        raise ValueError(f"options must be texts, one at least and none empty, got {describe(options)}")
    if len(set(options)) < len(options):
        raise ValueError(f"options must differ, got {describe(list(options))}")
    return [[*map(dict, messages), {"role": "assistant", "content": one}] for one in options]


def _most_probable(
    prompts: Sequence[Sequence[int]], scores: Sequence[Sequence[float | None]]
) -> tuple[int, list[float]]:
    """Of texts that begin alike, (which is the most probable, softmax of their log probabilities)."""
    same = next((i for i, ids in enumerate(zip(*prompts)) if len(set(ids)) > 1), min(map(len, prompts)))
    sums = [math.fsum(x for x in one[same:] if x is not None) for one in scores]
    weights = [math.exp(x - max(sums)) for x in sums]
    return sums.index(max(sums)), [x / math.fsum(weights) for x in weights]
