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
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from minillm._checks import check_flag, describe
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


class Functions(NamedTuple):
    """What an answer may call."""

    tools: Tools
    choice: ToolChoice
    several: bool  # whether more than one call may come

    @property
    def asked(self) -> dict[str, Any]:
        """As arguments of `chat`: how a model that wraps another one hands them on."""
        if not self.tools:
            return {}
        choice = {} if self.choice.asked is None else {"tool_choice": self.choice.asked}
        return {"tools": self.tools, **choice, **({} if self.several else {"parallel_tool_calls": False})}


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
        several = check_flag("parallel_tool_calls", parallel_tool_calls)
        return self._reply(messages, params, Functions(tools, ToolChoice.of(tool_choice, tools), several))

    @abstractmethod
    def _reply(self, messages: Messages, params: SamplingParams | None, functions: Functions) -> Reply:
        """`chat`, its functions checked."""

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
        that is not done, for an answer that was cut off by max_tokens (give more, or the schema a maxLength), and for
        one that is no JSON."""
        params = self._usual(messages) if params is None else params
        reply = self.chat(messages, replace(params, json_schema=schema))
        if reply.finish_reason != "stop":
            raise ValueError(f"the answer was cut off after max_tokens: {describe(reply.text)}")
        try:
            return json.loads(reply.text)
        except ValueError as error:  # a server that does not hold its model to the schema
            raise ValueError(f"the answer is no JSON ({error}): {describe(reply.text)}") from None

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

    def _reply(self, messages: Messages, params: SamplingParams | None, functions: Functions) -> Reply:
        tools, choice, several = functions
        told = () if choice.mode == "none" else tools
        ids, params = self._asked(messages, params, told)
        if told:
            schema = None if params.json_schema is None else schema_text(params.json_schema)
            calls = self.caller.calls(tools, choice, several, schema)
            params = replace(params, calls=calls, json_schema=None)
        done = self.engine.generate([ids], params)[0]
        usage = usage_of(len(ids), len(done.token_ids))
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
            for one in with_options(templated(messages), options)
        ]
        params = SamplingParams(max_tokens=1, prompt_logprobs=0, temperature=0)
        prompts = [self.tokenizer.encode(text) for text in texts]
        said = [one.prompt_logprobs or [] for one in self.engine.generate(prompts, params)]
        scores = [[None if s is None else s[i] for i, s in zip(*pair)] for pair in zip(prompts, said)]
        return most_probable(prompts, scores)

    def _asked(
        self, messages: Messages, params: SamplingParams | None, tools: Tools = ()
    ) -> tuple[list[int], SamplingParams]:
        ids = self.tokenizer.encode(self.caller.prompt(templated(messages), tools))
        params = self._fitting(len(ids)) if params is None else params
        check_one(params)
        return ids, replace(params, stop_token_ids={*params.stop_token_ids, *self.ends})

    def _usual(self, messages: Messages) -> SamplingParams:
        return self._fitting(len(self.tokenizer.encode(self.caller.prompt(templated(messages)))))

    def _fitting(self, read: int) -> SamplingParams:
        return SamplingParams(max_tokens=max(1, min(USUAL_TOKENS, self.engine.window - read)))


@dataclass
class ScriptedChat(ChatModel):
    """Says what was written down, in order: a test knows what comes. `asked` holds the messages of every call.

    A reply to `choose` is one of its options. ValueError when there are no replies left, or it is none of them.
    """

    replies: Sequence[str | Reply]
    asked: list[list[dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """ValueError for what is no list of replies; a text alone would be said letter by letter."""
        given = self.replies
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise ValueError(f"replies must be a list of texts or Replies, got {describe(given)}")
        if strange := [one for one in given if not isinstance(one, (str, Reply))]:
            raise ValueError(f"every reply must be a text or a Reply, got {describe(strange[0])}")

    def _next(self, messages: Messages) -> Reply:
        if len(self.asked) >= len(self.replies):
            raise ValueError(f"the script has {len(self.replies)} replies, and one more was asked for")
        self.asked.append(as_messages(messages))
        reply = self.replies[len(self.asked) - 1]
        return reply if isinstance(reply, Reply) else Reply(reply, usage_of(0, 0), "stop")

    def _reply(self, messages: Messages, params: SamplingParams | None, functions: Functions) -> Reply:
        return self._next(messages)

    def stream(self, messages: Messages, params: SamplingParams | None = None) -> Iterator[str]:
        return iter(self._next(messages).text.splitlines(keepends=True))

    def choose(self, messages: Messages, options: Sequence[str]) -> tuple[int, list[float]]:
        with_options(messages, options)
        text = self._next(messages).text
        if text not in options:
            raise ValueError(f"the script says {describe(text)}, which is none of {describe(list(options))}")
        at = list(options).index(text)
        return at, [float(i == at) for i in range(len(options))]


def as_messages(messages: Any) -> list[dict[str, Any]]:
    """A copy of a conversation; ValueError for what is no list of dicts, and for one that has no role or says nothing:
    a template would leave it out, or write "None"."""
    listed = isinstance(messages, Sequence) and not isinstance(messages, str)
    if not listed or not all(isinstance(one, Mapping) for one in messages):
        raise ValueError(f"messages must be a list of dicts with role and content, got {describe(messages)}")
    for one in messages:
        says = isinstance(one.get("content"), Sequence) or one.get("tool_calls")
        if not isinstance(one.get("role"), str) or not says:
            raise ValueError(f"a message must have a role and a content, got {describe(dict(one))}")
    return [*map(dict, messages)]


def templated(messages: Any) -> list[dict[str, Any]]:
    """`as_messages`, as a chat template can read them: content in OpenAI's parts, all of them text, is one text."""
    read = as_messages(messages)
    for one in read:
        parts = one.get("content")
        if isinstance(parts, list) and all(
            isinstance(p, Mapping) and isinstance(p.get("text"), str) for p in parts
        ):
            one["content"] = "".join(part["text"] for part in parts)
    return read


def usage_of(prompt: int, completion: int) -> dict[str, int]:
    """A reply's `usage` for so many tokens."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def check_one(params: SamplingParams) -> None:
    """Raises ValueError for anything but SamplingParams of one answer."""
    if not isinstance(params, SamplingParams):
        raise ValueError(f"params must be SamplingParams or None, got {describe(params)}")
    if params.n != 1:
        raise ValueError(f"a chat has one answer: params.n must be 1, got {params.n}")


def with_options(messages: Messages, options: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The conversation, ended by each option."""
    if isinstance(options, str) or not options or not all(isinstance(one, str) and one for one in options):
        raise ValueError(f"options must be texts, one at least and none empty, got {describe(options)}")
    if len(set(options)) < len(options):
        raise ValueError(f"options must differ, got {describe(list(options))}")
    return [[*as_messages(messages), {"role": "assistant", "content": one}] for one in options]


def most_probable(
    prompts: Sequence[Sequence[int]], scores: Sequence[Sequence[float | None]]
) -> tuple[int, list[float]]:
    """Of texts that begin alike, (which is the most probable, softmax of their log probabilities)."""
    same = next((i for i, ids in enumerate(zip(*prompts)) if len(set(ids)) > 1), min(map(len, prompts)))
    sums = [math.fsum(x for x in one[same:] if x is not None) for one in scores]
    weights = [math.exp(x - max(sums)) for x in sums]
    return sums.index(max(sums)), [x / math.fsum(weights) for x in weights]
