"""What a client may ask: the fields of OpenAI's requests, and those that vLLM adds, under their names.

    bytes -> UTF-8 -> JSON -> fields of the right type -> SamplingParams, which checks the values

A field that is unknown is refused: it asks for something that would not happen. Held against the openai client.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minillm._checks import describe
from minillm.inference.grammar.calls import Calls
from minillm.inference.params import SamplingParams
from minillm.inference.server.errors import ApiError

# not done, with the values that ask for nothing
NOT_YET: dict[str, tuple[Any, ...]] = {
    "functions": ([],),
    "function_call": ("none",),
    "suffix": ("",),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "moderation": (),
}
# these change no text
IGNORED = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "prompt_cache_options", "prediction",
)  # fmt: skip
# SamplingParams' own fields that are handed on by their names
SAME = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty", "seed",
    "min_tokens", "ignore_eos", "no_repeat_ngram_size",
)  # fmt: skip
# the server's defaults have those, ends and stops; the others are a client's to ask for, or say nothing by themselves
DEFAULTS = (*SAME, "stop", "stop_token_ids", "max_tokens", "length_penalty", "early_stopping")
Id = Annotated[int, Field(ge=0, lt=2**63)]
Stop = Annotated[str, Field(min_length=1, max_length=1000)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]
Ids = Annotated[list[Id], Field(min_length=1)]


class Fields(BaseModel):
    """Types are not converted: "1" is no number."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class StreamOptions(Fields):
    """include_usage: a last piece with the counts of tokens."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class NamedSchema(BaseModel):
    """A JSON schema with the name that the client gives it. strict: ours always is."""

    model_config = ConfigDict(strict=True, extra="ignore")
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(Fields):
    """text; json_object: any object; json_schema: what follows the schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    def schema_of(self) -> dict[str, Any] | None:
        """The schema that the answer follows, or None."""
        if self.type == "json_object":
            return {"type": "object"}
        if self.type == "json_schema" and self.json_schema is None:
            raise ApiError(
                400, "response_format of type json_schema needs json_schema.schema", "response_format"
            )
        return self.json_schema.schema_ if self.type == "json_schema" and self.json_schema else None


class Asked(Fields):
    """What both kinds of requests share. None: the server's default."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=0)
    n: int | None = Field(default=None, ge=1)
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    stop_token_ids: Annotated[list[Id], Field(max_length=100)] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=1024)] | None = None
    temperature: float | None = Field(default=None, ge=0)
    top_p: Share | None = None
    top_k: int | None = Field(default=None, ge=0)
    min_p: Share | None = None
    repetition_penalty: float | None = Field(default=None, ge=1e-3, le=1e3)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    min_tokens: int | None = Field(default=None, ge=0)
    ignore_eos: bool | None = None
    no_repeat_ngram_size: int | None = Field(default=None, ge=0)
    response_format: ResponseFormat | None = None

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def has_shape(self) -> bool:
        """Whether a grammar may have to be made for the answer."""
        return self.response_format is not None

    def settings(self) -> dict[str, Any]:
        """The fields of SamplingParams that were given."""
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "stream_options needs stream: true", "stream_options")
        given = {name: getattr(self, name) for name in SAME}
        if self.seed is not None and self.seed < 0:
            given["seed"] = self.seed + 2**63  # OpenAI's may be negative: another number all the same
        if self.top_p == 0:  # the best token alone, as there
            given |= {"top_p": 1.0, "top_k": 1}
        given |= {"n": self.n, "stop": self.stop, "stop_token_ids": self.stop_token_ids}
        if self.response_format is not None:
            given["json_schema"] = self.response_format.schema_of()
        if self.logit_bias is not None:
            given["logit_bias"] = {_token_id(name): value for name, value in self.logit_bias.items()}
        return {name: value for name, value in given.items() if value is not None}


class CompletionAsked(Asked):
    """/v1/completions. echo with logprobs: the prompt's tokens with their log probabilities, too."""

    prompt: (
        Text | Ids | Annotated[list[Text], Field(min_length=1)] | Annotated[list[Ids], Field(min_length=1)]
    )
    echo: bool | None = None
    logprobs: int | None = Field(default=None, ge=0, le=20)
    best_of: int | None = Field(default=None, ge=1)

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each a text or its ids."""
        if isinstance(self.prompt, str) or (self.prompt and isinstance(self.prompt[0], int)):
            return [self.prompt]  # type: ignore[list-item]
        return list(self.prompt)  # type: ignore[arg-type]

    def settings(self) -> dict[str, Any]:
        given = super().settings() | {"logprobs": self.logprobs, "best_of": self.best_of}
        if self.echo and self.logprobs is not None:
            given["prompt_logprobs"] = self.logprobs
        return {name: value for name, value in given.items() if value is not None}


class TextPart(BaseModel):
    """A piece of a message. Marks for a provider's cache and the like are not read."""

    model_config = ConfigDict(strict=True, extra="ignore")
    type: Literal["text"]
    text: str


class RefusalPart(BaseModel):
    """What the assistant said when it refused."""

    model_config = ConfigDict(strict=True, extra="ignore")
    type: Literal["refusal"]
    refusal: str


Part = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class CalledFunction(BaseModel):
    """What was called, with what: JSON as text."""

    model_config = ConfigDict(strict=True, extra="ignore")
    name: str
    arguments: str


class CalledTool(BaseModel):
    """A call that the assistant made."""

    model_config = ConfigDict(strict=True, extra="ignore")
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


# in the document: there is content, or a call in its place
SAYS: dict[str, Any] = {
    "anyOf": [
        {"required": ["content"], "properties": {"content": {"not": {"type": "null"}}}},
        {
            "required": ["tool_calls"],
            "properties": {"role": {"const": "assistant"}, "tool_calls": {"type": "array", "minItems": 1}},
        },
    ]
}


class Message(BaseModel):
    """One of a conversation; what else the client keeps with it (an answer's refusal: null) is not read."""

    model_config = ConfigDict(strict=True, extra="ignore", json_schema_extra=SAYS)
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[CalledTool] | None = None
    tool_call_id: str | None = None

    def plain(self) -> dict[str, Any]:
        """As chat templates read it; ApiError 400 for a message that says nothing."""
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ApiError(400, f"a message of role {self.role} needs content", "messages")
        role = "system" if self.role == "developer" else self.role
        parts = self.content or ""
        text = (
            parts
            if isinstance(parts, str)
            else "".join(part.text if isinstance(part, TextPart) else part.refusal for part in parts)
        )
        message: dict[str, Any] = {"role": role, "content": text}
        if self.tool_calls and role == "assistant":
            message["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        if role == "tool":
            message["tool_call_id"] = self.tool_call_id
        return message


class ChatAsked(Asked):
    """/v1/chat/completions. prompt_logprobs, add_generation_prompt, continue_final_message: vLLM's, for scoring."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: int | None = Field(default=None, ge=0)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    prompt_logprobs: int | None = Field(default=None, ge=0, le=20)
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    tools: Annotated[list[dict[str, Any]], Field(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    @property
    def has_shape(self) -> bool:
        return super().has_shape or bool(self.tools)

    def settings(self) -> dict[str, Any]:
        given = super().settings()
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs: true", "top_logprobs")
        if self.logprobs:
            given["logprobs"] = self.top_logprobs or 0
        if self.prompt_logprobs is not None:
            given["prompt_logprobs"] = self.prompt_logprobs
        return given


def read_json(data: bytes) -> dict[str, Any]:
    """The JSON object of a body; ApiError 400 for what is none."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, parse_constant=_no_number)
        if re.search(r"\\u[dD][89a-fA-F]", text):
            json.dumps(value, ensure_ascii=False).encode()  # half of a character is no text
    except UnicodeError as error:
        raise ApiError(400, f"the body is no UTF-8 text: {error.reason}") from None
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ApiError(400, f"the body must be a JSON object, got {describe(value)}")
    return value


def parse(kind: type[Fields], value: dict[str, Any]) -> Any:
    """The request; ApiError 400 naming the field that is wrong."""
    for name, harmless in NOT_YET.items():
        asked = value.pop(name, None)
        if asked is not None and asked not in harmless:
            raise ApiError(400, f"{name} is not supported yet", name, "unsupported_parameter")
    try:
        return kind.model_validate({name: one for name, one in value.items() if name not in IGNORED})
    except ValidationError as error:
        first = _telling(error.errors(include_url=False, include_context=False))
        where = ".".join(str(one) for one in first["loc"] if _is_of_body(one)) or "body"
        came = "" if first["type"] == "missing" else f", got {describe(first['input'])}"
        param = str(first["loc"][0]) if first["loc"] else None
        raise ApiError(400, f"{where}: {first['msg']}{came}", param) from None


def _is_of_body(step: str | int) -> bool:
    """Whether a step of pydantic's way to an error stands in the body; the others name one of several types."""
    return isinstance(step, int) or (re.fullmatch(r"\w+", step) is not None and step not in ("str", "int"))


def _telling(errors: list[Any]) -> Any:
    """Of a value that may be a text, a list of texts, ...: what is wrong with the type that fits it furthest. ["a", ""]
    is a list of texts whose second is empty, and no list of ids whose first is no number."""
    tried: dict[Any, Any] = {}  # a field as one type -> the first error in it
    for one in errors:
        tried.setdefault((one["loc"][:1], *(step for step in one["loc"] if not _is_of_body(step))), one)

    def fit(error: Any) -> tuple[int, list[int], bool]:
        places = [step for step in error["loc"] if isinstance(step, int)]
        return sum(map(_is_of_body, error["loc"])), places, not error["type"].endswith("_type")

    return max(tried.values(), key=fit)


def sampling_params(
    asked: Asked, defaults: SamplingParams, max_tokens: int, ends: list[int], calls: Calls | None = None
) -> SamplingParams:
    """The settings; ApiError 400 for values out of range. ends: ids that end an answer. calls: what it may call."""
    given = {name: getattr(defaults, name) for name in SAME}
    given["min_tokens"] = min(defaults.min_tokens, max_tokens)  # who asks for less did not ask for more
    asks = asked.settings()
    if calls is not None or "json_schema" in asks:  # the text's form says when it ends
        given |= {"min_tokens": 0, "no_repeat_ngram_size": 0}
    elif defaults.stop:
        own = asks.get("stop", [])
        asks["stop"] = [*defaults.stop, *([own] if isinstance(own, str) else own)]
    given |= asks
    given["stop_token_ids"] = [*defaults.stop_token_ids, *given.get("stop_token_ids", ()), *ends]
    if calls is not None:
        given |= {"calls": calls, "json_schema": None}  # they hold what it says
    try:
        return SamplingParams(**given, max_tokens=max_tokens)
    except ValueError as error:
        named = [one for one in str(error).split()[:4] if one in SAME or one in given]
        param = named[0] if named else "response_format" if given.get("json_schema") is not None else None
        raise ApiError(400, str(error), param) from None


def check_defaults(defaults: Any) -> None:
    """ValueError for what are no SamplingParams, and for settings that would be passed over."""
    if not isinstance(defaults, SamplingParams):
        raise ValueError(f"defaults must be SamplingParams or None, got {describe(defaults)}")
    usual, names = SamplingParams(), [one.name for one in fields(defaults) if one.name not in DEFAULTS]
    if other := [name for name in names if getattr(defaults, name) != getattr(usual, name)]:
        raise ValueError(f"defaults cannot set {', '.join(other)}: each request says it")


def _token_id(name: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", name):
        raise ApiError(400, f"logit_bias must map token ids to numbers, got {describe(name)}", "logit_bias")
    return int(name)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
