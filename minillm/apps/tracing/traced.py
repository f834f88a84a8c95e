"""Our own parts, traced: a chat model, an engine, a vector store, an encoder, each used as before.

    TracedChat(model, tracer)         chat, stream, json, choose: messages, answer, tokens, settings
    traced_engine(engine, tracer)     generate: prompts, texts, tokens
    traced_store(store, tracer)       query: how many, which ids, their scores
    traced_encoder(encoder, tracer)   encode and its kinds: how many texts

Names are OpenTelemetry's (names.py). A model's error passes through as it is, and stands in the span. Numbers of tokens
are those that the model itself gave: a server's stream gives none, and then there are none.
Book 9.4 데이터 로깅. Left out: an Engine inside of a LocalChat, which takes the real one: trace the chat instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from minillm._checks import check_text, describe
from minillm.apps.tracing import names
from minillm.apps.tracing.decorating import Stream, traced_pieces
from minillm.apps.tracing.tracer import Ending, Span, Tracer, Within
from minillm.inference.chat import ChatModel, Functions, Messages, Reply
from minillm.inference.params import SamplingParams

_USUAL = {one.name: one.default for one in fields(SamplingParams)}


class TracedChat(ChatModel):
    """The model, every call of it a span. model_name: as it is to stand in the trace (default: the model's own)."""

    def __init__(self, model: ChatModel, tracer: Tracer, model_name: str | None = None) -> None:
        if not isinstance(model, ChatModel) or not isinstance(tracer, Tracer):
            raise ValueError(
                f"TracedChat takes a ChatModel and a Tracer, got {describe(model)}, {describe(tracer)}"
            )
        self.inner, self.tracer = model, tracer
        own = getattr(model, "model", None)
        self.model_name = own if model_name is None and isinstance(own, str) else model_name
        self.model_name = check_text("model_name", self.model_name or type(model).__name__)

    def chat(self, messages: Messages, params: SamplingParams | None = None, **functions: Any) -> Reply:
        """As the model's."""
        with Ending(self._begin(messages, params)) as span:
            if functions.get("tools"):
                span.content(names.TOOLS, functions["tools"])
            return noted(span, self.inner.chat(messages, params, **functions))

    def stream(self, messages: Messages, params: SamplingParams | None = None) -> Iterator[str]:
        """As the model's; the span begins here, and ends with the last piece, or when the reader closes the stream."""
        span = self._begin(messages, params).set("gen_ai.request.stream", True)
        try:
            with Within(span):
                pieces = self.inner.stream(messages, params)
        except BaseException as error:  # what the model refuses at once
            span.fail(error).end()
            raise
        return _Streamed(span, pieces, self.inner)

    def choose(self, messages: Messages, options: Sequence[str]) -> tuple[int, list[float]]:
        """As the model's."""
        with Ending(self._begin(messages, None)) as span:
            span.content("minillm.options", options)
            at, probabilities = self.inner.choose(messages, options)
            span.content(names.OUTPUT_MESSAGES, [as_message("assistant", options[at], None)])
            span.set("minillm.probabilities", [round(one, 6) for one in probabilities])
            return at, probabilities

    def json(
        self, messages: Messages, schema: Mapping[str, Any], params: SamplingParams | None = None
    ) -> Any:
        """As the model's."""
        if type(self.inner).json is ChatModel.json:
            return super().json(messages, schema, params)  # by way of our `chat`, which sees the tokens
        with Ending(self._begin(messages, params)) as span:
            span.content("minillm.json_schema", schema)
            value = self.inner.json(messages, schema, params)
            span.content(names.OUTPUT, value)
            return value

    def _reply(self, messages: Messages, params: SamplingParams | None, functions: Functions) -> Reply:
        """As `chat`: what wraps this one (a GuardedChat) asks by this name."""
        return self.chat(messages, params, **functions.asked)

    def _usual(self, messages: Messages) -> SamplingParams:
        return self.inner._usual(messages)

    def _begin(self, messages: Messages, params: SamplingParams | None) -> Span:
        remote = hasattr(self.inner, "client")
        named = {
            names.OPERATION: "chat",
            names.PROVIDER: "openai" if remote else "minillm",
            names.MODEL: self.model_name,
        }
        span = self.tracer.trace(
            f"chat {self.model_name}", "client" if remote else "internal", **named
        ).open()
        if isinstance(params, SamplingParams):
            for field, name in names.REQUEST.items():
                value = getattr(params, field)
                if field in ("max_tokens", "temperature") or value != _USUAL[field]:
                    span.set(name, value)
            if params.json_schema is not None:
                span.set("gen_ai.output.type", "json")
        if self.tracer.content:
            span.set(names.INPUT_MESSAGES, noting(as_messages, messages))
        return span


class _Streamed:
    """The pieces of an answer; iterate, or close()."""

    def __init__(self, span: Span, pieces: Iterator[str], model: ChatModel) -> None:
        self._pieces = traced_pieces(span, pieces, _AnswerStream(span, model))
        self._span, self._begun, self._inner = span, False, pieces

    def __iter__(self) -> _Streamed:
        return self

    def __next__(self) -> str:
        self._begun = True
        return next(self._pieces)

    def close(self) -> None:
        """Stop the writing, and end the span."""
        if not self._begun:  # a generator that was never asked runs no code when it is closed
            if close := getattr(self._inner, "close", None):
                close()
            self._span.set(names.CLOSED_EARLY, True)
        self._pieces.close()
        self._span.end()

    def __del__(self) -> None:
        self.close()


class _AnswerStream(Stream):
    """The text is the assistant's message; why it ended is the model's to say."""

    def __init__(self, span: Span, model: ChatModel) -> None:
        super().__init__(span)
        self.model = model

    def end(self, error: BaseException | None = None) -> None:
        """As a Stream's."""
        finish = getattr(self.model, "finish_reason", None)
        if error is None and isinstance(finish, str):
            self.span.set(names.FINISH, [finish])
        super().end(error)

    def written(self, text: str) -> None:
        """Note the text."""
        self.span.content(names.OUTPUT_MESSAGES, [as_message("assistant", text, None)])


def noted(span: Span, reply: Reply) -> Reply:
    """The reply, noted in the span."""
    usage = reply.usage if isinstance(reply.usage, Mapping) else {}
    if "prompt_tokens" in usage and "completion_tokens" in usage:
        span.tokens(usage["prompt_tokens"], usage["completion_tokens"])
    span.set(names.FINISH, [reply.finish_reason])
    said = noting(as_message, "assistant", reply.text, reply.tool_calls, reply.finish_reason)
    span.content(names.OUTPUT_MESSAGES, [said])
    return reply


def noting(form: Callable[..., Any], *values: Any) -> Any:
    """What `form` makes of the values. Of values that it cannot read: them as they are, and never an error."""
    try:
        return form(*values)
    except Exception:
        return values[0] if len(values) == 1 else [*values]


def as_messages(messages: Any) -> Any:
    """Messages as the conventions write them: a role and parts. What is no message is left as it is."""
    if isinstance(messages, (str, bytes)) or not isinstance(messages, Sequence):
        return messages
    return [
        as_message(one.get("role"), one.get("content"), one.get("tool_calls"))
        if isinstance(one, Mapping)
        else one
        for one in messages
    ]


def as_message(role: Any, content: Any, calls: Any, finish: str | None = None) -> dict[str, Any]:
    """One of them."""
    parts = [{"type": "text", "content": content}] if content else []
    for call in calls or ():
        called = call.get("function", {}) if isinstance(call, Mapping) else {}
        given = {"name": called.get("name"), "arguments": called.get("arguments")}
        parts.append(
            {"type": "tool_call", "id": call.get("id") if isinstance(call, Mapping) else None, **given}
        )
    return {"role": role, "parts": parts, **({} if finish is None else {"finish_reason": finish})}


class Proxy:
    """An object of which some methods are traced; everything else is the object's own."""

    def __init__(self, target: Any, **methods: Callable[..., Any]) -> None:
        vars(self).update(methods, _target=target)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_target"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._target, name, value)

    def __len__(self) -> int:
        return len(self._target)


def traced_store(store: Any, tracer: Tracer, name: str = "vector store") -> Any:
    """A VectorStore (or what has its `query`): each query is a span "retrieval <name>"."""

    def query(vector: Any = None, top_k: int = 10, *args: Any, **kwargs: Any) -> Any:
        named = {names.OPERATION: "retrieval", names.PROVIDER: "minillm", "gen_ai.data_source.id": name}
        with tracer.trace(f"retrieval {name}", **named, **{names.TOP_K: top_k}) as span:
            if isinstance(vector, str):
                span.content(names.QUERY_TEXT, vector)
            for key in ("filter", "namespace"):
                if kwargs.get(key):
                    span.content(f"minillm.{key}", kwargs[key])
            found = store.query(vector, top_k, *args, **kwargs)
            span.set(names.DOCUMENTS, noting(ids_and_scores, found))
            return found

    return Proxy(store, query=query)


def ids_and_scores(found: Any) -> list[dict[str, Any]]:
    """Of a store's answer."""
    return [{"id": one["id"], "score": float(one["score"])} for one in found["matches"]]


def traced_encoder(encoder: Any, tracer: Tracer, name: str = "encoder") -> Any:
    """A SentenceEncoder (or what has its `encode`): each call is a span "embeddings <name>"."""

    def of(method: str) -> Callable[..., Any]:
        def encode(texts: Any, *args: Any, **kwargs: Any) -> Any:
            named = {names.OPERATION: "embeddings", names.PROVIDER: "minillm", names.MODEL: name}
            with tracer.trace(f"embeddings {name}", **named) as span:
                span.set("minillm.texts", 1 if isinstance(texts, str) else len(texts)).content(
                    names.INPUT, texts
                )
                vectors = getattr(encoder, method)(texts, *args, **kwargs)
                span.set("gen_ai.embeddings.dimension.count", int(vectors.shape[-1]))
                return vectors

        return encode

    kinds = [one for one in ("encode", "encode_query", "encode_document") if hasattr(encoder, one)]
    return Proxy(encoder, **{one: of(one) for one in kinds})


def traced_engine(engine: Any, tracer: Tracer, name: str = "engine") -> Any:
    """An Engine: each `generate` is a span "text_completion <name>"."""

    def generate(prompts: Any, *args: Any, **kwargs: Any) -> Any:
        named = {names.OPERATION: "text_completion", names.PROVIDER: "minillm", names.MODEL: name}
        with tracer.trace(f"text_completion {name}", **named) as span:
            span.content(names.INPUT, prompts)
            done = engine.generate(prompts, *args, **kwargs)
            span.set(names.OUTPUT_TOKENS, sum(len(one.token_ids) for one in done))
            span.set(names.FINISH, [one.finish_reason for one in done])
            span.content(names.OUTPUT, [one.text for one in done])
            return done

    return Proxy(engine, generate=generate)
