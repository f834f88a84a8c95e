"""A chat model behind rails: the same `.chat`, `.stream`, `.choose`, `.json` as the model inside.

    user, tool results -> input rails -> flows -> model -> output rails -> answer

Every message but those of the system and of the assistant is checked, each time it is sent: a document that a search
brought in may carry instructions as well as a user may. A refused text never reaches the model; the reply is the
refusal, with finish_reason "content_filter" as OpenAI has it. `choose` and `json` have no words to refuse with:
RefusedError. Arguments of function calls and the values of a JSON answer are checked like text.

A model that fails, or answers with nothing, is a ModelError that names it; a wrong argument stays a ValueError.
Book: 9.3 데이터 검증. Left out: pictures (refused by name), checks of the model's own system prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from minillm._checks import check_text, describe
from minillm.apps.guardrails.flows import Flows
from minillm.apps.guardrails.guard import Guard
from minillm.apps.guardrails.sentence_stream import checked_stream
from minillm.apps.guardrails.verdict import GuardError, ModelError, RefusedError, Verdict
from minillm.inference.chat import ChatModel, Functions, Messages, Reply, usage_of
from minillm.inference.params import SamplingParams

REFUSAL = "I cannot help with that. 도와드릴 수 없는 요청입니다."
OWN = ("system", "developer", "assistant")  # roles of the application; words of any other come from outside
FILTERED = "content_filter"


class GuardedChat(ChatModel):
    """`GuardedChat(model, Guard([...]), Guard([...]))`. Rails left out (None) pass everything.

    refusal: what is said for a refused text whose verdict says nothing else. finish_reason: of the newest stream, where
    it was refused "content_filter", else what the model inside says of it. verdict: of the newest refusal, None before.
    """

    def __init__(
        self,
        model: ChatModel,
        input_rails: Guard | None = None,
        output_rails: Guard | None = None,
        flows: Flows | None = None,
        refusal: str = REFUSAL,
    ):
        if not isinstance(model, ChatModel):
            raise ValueError(f"model must be a ChatModel, got {describe(model)}")
        for name, rails in (("input_rails", input_rails), ("output_rails", output_rails)):
            if rails is not None and not isinstance(rails, Guard):
                raise ValueError(f"{name} must be a Guard or None, got {describe(rails)}")
        if flows is not None and not isinstance(flows, Flows):
            raise ValueError(f"flows must be Flows or None, got {describe(flows)}")
        self.model, self.flows, self.refusal = model, flows, check_text("refusal", refusal)
        self.input_rails, self.output_rails = input_rails or Guard([]), output_rails or Guard([])
        self.finish_reason: str | None = None
        self.verdict: Verdict | None = None

    def _reply(self, messages: Messages, params: SamplingParams | None, functions: Functions) -> Reply:
        let_in, said = self._let_in(messages)
        if said is not None:
            return said
        reply = self._ask(lambda: self.model._reply(let_in, params, functions))
        if not isinstance(reply, Reply) or not isinstance(reply.text, str):
            raise ModelError(f"{self._name} must answer with a Reply, got {describe(reply)}")
        if not reply.text and not reply.tool_calls:
            raise ModelError(f"{self._name} answered with nothing (finish_reason {reply.finish_reason!r})")
        return self._let_out(reply)

    def stream(self, messages: Messages, params: SamplingParams | None = None) -> Iterator[str]:
        """Sentences, each checked before it leaves; a refusal is the last piece. The input is checked at the call."""
        let_in, said = self._let_in(messages)
        self.finish_reason = None
        if said is not None:
            self.finish_reason = said.finish_reason
            return iter([said.text])
        return self._sentences(self._ask(lambda: self.model.stream(let_in, params)))

    def _sentences(self, pieces: Iterator[str]) -> Iterator[str]:
        try:
            any_text = False
            for sentence in checked_stream(self.output_rails, self._pieces(pieces)):
                any_text = True
                yield sentence if isinstance(sentence, str) else self._refused(sentence).text
            if not any_text:
                raise ModelError(f"{self._name} answered with nothing")
            self.finish_reason = self.finish_reason or getattr(self.model, "finish_reason", None)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _pieces(self, pieces: Iterator[str]) -> Iterator[str]:
        pieces, done = iter(pieces), object()
        while (piece := self._ask(lambda: next(pieces, done))) is not done:
            if not isinstance(piece, str):
                raise ModelError(f"{self._name} must stream text, got {describe(piece)}")
            yield piece

    def choose(self, messages: Messages, options: Sequence[str]) -> tuple[int, list[float]]:
        """As ChatModel's; RefusedError for messages that the input rails refuse. Flows do not answer here."""
        return self._ask(lambda: self.model.choose(self._or_refused(messages), options))

    def json(
        self, messages: Messages, schema: Mapping[str, Any], params: SamplingParams | None = None
    ) -> Any:
        """As ChatModel's; RefusedError for refused messages and for a refused answer. Flows do not answer here."""
        let_in = self._or_refused(messages)
        return self._checked_value(self._ask(lambda: self.model.json(let_in, schema, params)))

    # --- what goes in ---

    def _let_in(self, messages: Messages) -> tuple[list[dict[str, Any]], Reply | None]:
        """(the messages as the rails leave them, None), or what is said instead of asking the model."""
        try:
            let_in = self._or_refused(messages)
        except RefusedError as error:
            return [], self._refused(error.verdict)
        last = let_in[-1] if let_in else {}
        if self.flows is None or last.get("role") != "user" or not isinstance(last.get("content"), str):
            return let_in, None
        flow = self.flows.match(last["content"])
        if flow is None:
            return let_in, None
        if flow.refuses:
            return [], self._refused(Verdict(False, f"flow: {flow.intent}", None, flow.says))
        return [], Reply(flow.says, usage_of(0, 0), "stop")

    def _or_refused(self, messages: Messages) -> list[dict[str, Any]]:
        let_in = []
        for message in messages:
            if not isinstance(message, Mapping):
                raise ValueError(f"a message must be a dict with role and content, got {describe(message)}")
            message = dict(message)
            if message.get("role") not in OWN:
                message["content"] = self._checked_content(message.get("content"))
            let_in.append(message)
        return let_in

    def _checked_content(self, content: Any) -> Any:
        """A text, or OpenAI's list of parts; of these only texts can be checked."""
        if isinstance(content, str):
            return self._passed(self.input_rails, content)
        if not isinstance(content, (list, tuple)):
            raise ValueError(f"content must be a text, got {describe(content)}")
        for part in content:
            if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
                raise ValueError(f"the rails read text alone, got a part {describe(part)}")
        return [{**part, "text": self._passed(self.input_rails, part["text"])} for part in content]

    # --- what comes out ---

    def _let_out(self, reply: Reply) -> Reply:
        try:
            text = self._passed(self.output_rails, reply.text)
            calls = tuple(map(self._checked_call, reply.tool_calls))
        except RefusedError as error:
            return replace(self._refused(error.verdict), usage=reply.usage)
        return replace(reply, text=text, tool_calls=calls)

    def _checked_call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        try:
            arguments = json.loads(call["function"]["arguments"])
        except (ValueError, KeyError, TypeError):  # cut off: there is no value in it, but text there is
            text = self._passed(self.output_rails, str(call.get("function", {}).get("arguments", "")))
            return {**call, "function": {**call.get("function", {}), "arguments": text}}
        checked = self._checked_value(arguments)
        if checked == arguments:
            return dict(call)
        return {
            **call,
            "function": {**call["function"], "arguments": json.dumps(checked, ensure_ascii=False)},
        }

    def _checked_value(self, value: Any) -> Any:
        """Texts as the rails leave them; a number that they would rewrite becomes a text."""
        if isinstance(value, str):
            return self._passed(self.output_rails, value)
        if isinstance(value, list):
            return [self._checked_value(one) for one in value]
        if isinstance(value, dict):
            return {
                self._passed(self.output_rails, str(k)): self._checked_value(one) for k, one in value.items()
            }
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = self._passed(self.output_rails, str(value))
            return value if text == str(value) else text
        return value

    # --- verdicts and errors ---

    def _passed(self, guard: Guard, text: str) -> str:
        verdict = guard.check(text)
        if not verdict.allowed:
            raise RefusedError(verdict)
        return verdict.text(text)

    def _refused(self, verdict: Verdict) -> Reply:
        self.verdict, self.finish_reason = verdict, FILTERED
        return Reply(
            self.refusal if verdict.rewritten is None else verdict.rewritten, usage_of(0, 0), FILTERED
        )

    @property
    def _name(self) -> str:
        named = getattr(self.model, "model", None)
        return (
            f"the model inside ({type(self.model).__name__}{f' {named!r}' if isinstance(named, str) else ''})"
        )

    def _ask(self, ask: Any) -> Any:
        """What the model says; ModelError for what is no fault of the caller's."""
        try:
            return ask()
        except GuardError:
            raise
        except Exception as error:
            if isinstance(error, ValueError) and not isinstance(error, (json.JSONDecodeError, UnicodeError)):
                raise  # a wrong argument, and says so
            raise ModelError(f"{self._name} failed: {type(error).__name__}: {error}") from error
