"""What the engine wrote, in the shapes of OpenAI's answers: whole, or piece by piece.

    StepOutput  ->  pieces of choices   (a stream sends each)   ->  joined: the whole answer

Both kinds of answers are made of the same pieces, so a stream joined is the whole answer.
Held against the openai client.
"""

from __future__ import annotations

import codecs
import time
import uuid
from collections.abc import Sequence
from typing import Any

from minillm.inference.call_reader import CallReader
from minillm.inference.engine import StepOutput
from minillm.inference.params import SamplingParams

Scores = dict[int, float]


def spelled(tokenizer: Any, token: int) -> bytes:
    """The bytes of a token, a special one by its name; none for an id that the tokenizer lacks."""
    return tokenizer.decode_bytes([token]) if token < tokenizer.vocab_size else b""


def named(tokenizer: Any, token: int) -> str:
    """A token as text; one that is a part of a character as "bytes:\\xea\\xb0"."""
    data = spelled(tokenizer, token)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{one:02x}" for one in data)


def finite(score: float | None) -> float | None:
    """A log probability as JSON can hold it."""
    return None if score is None else max(score, -9999.0)


def usage(prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> dict[str, Any]:
    """The counts that a client is told. cached_tokens: of the prompts, those that an earlier text had left."""
    return {
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


class Answer:
    """One answer to one request: `pieces` of an output, `whole` at the end. prompts: the ids of each."""

    prefix = kind = piece_kind = ""

    def __init__(
        self, tokenizer: Any, model: str, prompts: Sequence[Sequence[int]], params: SamplingParams
    ) -> None:
        self.tokenizer, self.model, self.prompts, self.params = tokenizer, model, prompts, params
        self.id, self.created = f"{self.prefix}-{uuid.uuid4().hex}", int(time.time())
        self.written = 0  # tokens of all choices
        self.cached: dict[int, int] = {}  # of each prompt: tokens that were there already
        self.choices: dict[int, dict[str, Any]] = {}  # joined so far, by index

    def head(self, kind: str) -> dict[str, Any]:
        """What every answer and every piece of one begins with."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    @property
    def counts(self) -> dict[str, Any]:
        """usage, so far."""
        return usage(sum(map(len, self.prompts)), self.written, sum(self.cached.values()))

    def piece(self, choices: list[dict[str, Any]], with_usage: bool) -> dict[str, Any]:
        """A stream's next object; an empty list of choices carries the counts."""
        counted = {"usage": None if choices else self.counts} if with_usage else {}
        return self.head(self.piece_kind) | {"choices": choices} | counted

    def index(self, prompt: int, output: StepOutput) -> int:
        """Choices of the first prompt come first."""
        return prompt * self.params.n + output.index


class CompletionAnswer(Answer):
    """Of /v1/completions. texts: the prompts as text, where they are to be echoed."""

    prefix, kind, piece_kind = "cmpl", "text_completion", "text_completion"

    def __init__(self, *common: Any, texts: Sequence[str] | None = None, only_echo: bool = False):
        super().__init__(*common)
        self.texts, self.only_echo = texts, only_echo
        self.said: dict[int, Any] = {}  # of each prompt: its scores
        self.offsets: dict[int, tuple[Any, int]] = {}

    def pieces(self, prompt: int, output: StepOutput) -> list[dict[str, Any]]:
        """Choices of a stream's next object; [] where nothing can be shown."""
        at, self.cached[prompt] = self.index(prompt, output), output.cached_tokens
        if output.prompt_logprobs is not None:
            self.said[prompt] = output.prompt_logprobs
        first = at not in self.choices
        text, tokens, scores = output.text or "", output.token_ids, output.logprobs
        if self.only_echo:
            text, tokens, scores = "", [], scores if scores is None else []
        self.written += len(tokens)
        if first and self.texts is not None:
            text = self.texts[prompt] + text
            if self.params.logprobs is not None:
                tokens = [*self.prompts[prompt], *tokens]
                scores = [*self.said[prompt], *(scores or ())]
        said = None if self.params.logprobs is None else self._scores(at, tokens, scores or [])
        why = "length" if self.only_echo and output.finished else output.finish_reason
        piece = {"index": at, "text": text, "logprobs": said, "finish_reason": why}
        self._join(at, piece)
        return [piece] if text or said or output.finished else []

    def _scores(self, at: int, tokens: Sequence[int], scores: Sequence[Scores | None]) -> dict[str, Any]:
        decoder, offset = self.offsets.get(at) or (codecs.getincrementaldecoder("utf-8")("replace"), 0)
        found: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token, score in zip(tokens, scores):
            best = None if score is None else {named(self.tokenizer, i): finite(x) for i, x in score.items()}
            found["tokens"].append(named(self.tokenizer, token))
            found["token_logprobs"].append(None if score is None else finite(score[token]))
            found["top_logprobs"].append(best)
            found["text_offset"].append(offset)
            offset += len(decoder.decode(self.tokenizer.decode_bytes([token], True)))
        self.offsets[at] = decoder, offset
        return found

    def _join(self, at: int, piece: dict[str, Any]) -> None:
        whole = self.choices.get(at)
        if whole is None:
            logprobs = piece["logprobs"] and {name: list(one) for name, one in piece["logprobs"].items()}
            self.choices[at] = piece | {"logprobs": logprobs}
            return
        whole["text"] += piece["text"]
        whole["finish_reason"] = piece["finish_reason"]
        for name, more in (piece["logprobs"] or {}).items():
            whole["logprobs"][name] += more

    def whole(self) -> dict[str, Any]:
        """The answer to a request that does not stream."""
        choices = [self.choices[at] for at in sorted(self.choices)]
        return self.head(self.kind) | {"choices": choices, "usage": self.counts}


class ChatAnswer(Answer):
    """Of /v1/chat/completions. named: one function was asked for by its name; an answer that calls it ends with
    "stop", as OpenAI's do."""

    prefix, kind, piece_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"
    said: Any = None  # the prompt's scores

    def __init__(self, *common: Any, named: bool = False):
        super().__init__(*common)
        self.named = named
        self.readers: dict[int, CallReader] = {}  # of each choice, where functions may be called

    def pieces(self, prompt: int, output: StepOutput) -> list[dict[str, Any]]:
        """Choices of a stream's next objects, one each: who speaks, what is said, how it ends."""
        at, text = self.index(prompt, output), output.text or ""
        self.cached[prompt] = output.cached_tokens
        if output.prompt_logprobs is not None:
            self.said = [self._prompt_score(one) for one in output.prompt_logprobs]
        self.written += len(output.token_ids)
        logprobs = None
        if output.logprobs is not None:
            pairs = zip(output.token_ids, output.logprobs)
            logprobs = {"content": [self._score(token, scores) for token, scores in pairs], "refusal": None}
        found = []
        whole = self.choices.get(at)
        if whole is None:
            if self.params.calls is not None:
                self.readers[at] = CallReader(self.params.calls)
            message: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
            whole = {"index": at, "message": message, "logprobs": None, "finish_reason": None}
            if logprobs is not None:
                whole["logprobs"] = {"content": [], "refusal": None}
            self.choices[at] = whole
            found.append(_delta(at, {"role": "assistant", "content": ""}))
        deltas = [{"content": text}] if text else []
        reader, why = self.readers.get(at), output.finish_reason
        if reader is not None:
            deltas = [_said(reader, event) for event in reader.feed(text, output.finished)]
            if why == "stop" and reader.calls and not self.named:
                why = "tool_calls"
        whole["message"]["content"] += "".join(one.get("content", "") for one in deltas)
        if logprobs is not None:
            whole["logprobs"]["content"] += logprobs["content"]
            deltas = deltas or [{"content": ""}]
        for delta in deltas:
            found.append(_delta(at, delta, logprobs))
            logprobs = None  # they come once
        if output.finished:
            whole["finish_reason"] = why
            if reader is not None and reader.calls:
                whole["message"] |= {
                    "content": whole["message"]["content"] or None,
                    "tool_calls": reader.calls,
                }
            found.append(_delta(at, {}, None, why))
        return found

    def _score(self, token: int, scores: Scores) -> dict[str, Any]:
        best = sorted(scores, key=lambda i: -scores[i])[: self.params.logprobs]
        tops = [self._one(i, scores[i]) for i in best]
        return self._one(token, scores[token]) | {"top_logprobs": tops}

    def _one(self, token: int, score: float) -> dict[str, Any]:
        data = list(spelled(self.tokenizer, token))
        return {"token": named(self.tokenizer, token), "logprob": finite(score), "bytes": data}

    def _prompt_score(self, scores: Scores | None) -> Any:
        if scores is None:
            return None
        return {
            str(i): {"logprob": finite(x), "decoded_token": named(self.tokenizer, i)}
            for i, x in scores.items()
        }

    def whole(self) -> dict[str, Any]:
        """The answer to a request that does not stream."""
        choices = [self.choices[at] for at in sorted(self.choices)]
        more = {} if self.said is None else {"prompt_logprobs": self.said}
        return self.head(self.kind) | {"choices": choices, "usage": self.counts} | more


def _said(reader: CallReader, event: tuple[Any, ...]) -> dict[str, Any]:
    """The delta of what a reader told."""
    kind, what, *rest = event
    if kind == "text":
        return {"content": what}
    if kind == "arguments":
        return {"tool_calls": [{"index": what, "function": {"arguments": rest[0]}}]}
    call = reader.calls[what]
    function = {"name": call["function"]["name"], "arguments": ""}
    return {"tool_calls": [{"index": what, "id": call["id"], "type": "function", "function": function}]}


def _delta(
    index: int, delta: dict[str, Any], logprobs: Any = None, finish_reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
