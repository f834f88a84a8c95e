"""The query engine: from a question to an answer that names its sources.

    question -> retrieve -> fit into the window -> model (or quote) -> check the citations -> Answer
                   |                                                     [7] of 3 sources is taken out
                   nothing passes the cut-off: "I do not know.", and no model is asked

What was left out, what was removed and what it cost stands in the answer. An error has a name: RetrievalError,
GenerationError, or ValueError for a question that cannot be asked.

Book: 9.1.3 실습: 라마인덱스로 RAG 구현하기. Peer: LlamaIndex' RetrieverQueryEngine and Response. Left out: several
rounds of retrieval, agents (chapter 15).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from minillm._checks import check_function, check_int, check_text, describe
from minillm.apps.rag.budget import Budget, Fitted, Prompt, budget_of, fit_sources
from minillm.apps.rag.citations import CitationCheck
from minillm.apps.rag.nodes import GenerationError, NodeWithScore, failed
from minillm.apps.rag.prompts import UNKNOWN, language_of, rag_messages
from minillm.apps.rag.quoting import quote
from minillm.apps.rag.retriever import Retriever
from minillm.inference import ChatModel, Reply, SamplingParams

# "Sorry, I don't know."; not "I do not know who, but [1] says when", nor "I know that ..."
_DECLINES = re.compile(
    r"(?is)\W*(?:(?:i am |i['’]m )?sorry\b\W*(?:but )?|unfortunately\b\W*|죄송(?:합니다|하지만|해요)\W*)?"
    r"(?:i (?:do not|don['’]t) know\b|(?:잘 )?(?:모르겠|모릅니다)|알 수 (?:없습니다|없어요))"
    r"(?!.*(?:\bbut\b|\bhowever\b|하지만|그러나))"
)
ANSWER = 256  # tokens of an answer, or a quarter of the window


@dataclass(frozen=True)
class Answer:
    """response: the text. source_nodes: what stood in the prompt, [1] first. dropped: what was found and did not fit.

    cited: numbers of sources that the text names; removed: numbers it named that do not exist, taken out of it.
    declined: whether it begins by saying that it does not know. prompt_tokens: of the prompt, by the budget's count; 0
    without a model. finish_reason: "stop", or "length" for an answer that was cut off; None where nothing says it.
    """

    response: str
    source_nodes: tuple[NodeWithScore, ...] = ()
    dropped: tuple[NodeWithScore, ...] = ()
    cited: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    declined: bool = False
    prompt_tokens: int = 0
    finish_reason: str | None = None

    def __str__(self) -> str:
        return self.response

    def get_formatted_sources(self, length: int = 100) -> str:
        """The sources, one a line: "[1] title (id): text ..."."""
        lines = []
        for number, one in enumerate(self.source_nodes, 1):
            text = " ".join(one.text.split())
            cut = text if len(text) <= length else f"{text[:length].rstrip()} ..."
            lines.append(f"[{number}] {one.node.title} ({one.node.id}): {cut}")
        return "\n".join(lines)


class QueryEngine:
    """A retriever, and a ChatModel that answers from what it finds; None quotes the best sentence.

    context_window: tokens that the model reads and writes, asked of the model where it can be. max_tokens: of the
    answer (default 256, or a quarter of the window). params: SamplingParams for everything else (default: greedy).
    prompt: from (question, nodes) to messages. Raises ValueError for what does not fit together.
    """

    OPTIONS = ("context_window", "max_tokens", "params", "prompt")

    def __init__(
        self,
        retriever: Retriever,
        llm: ChatModel | None = None,
        context_window: int | None = None,
        max_tokens: int | None = None,
        params: SamplingParams | None = None,
        prompt: Prompt | None = None,
    ) -> None:
        if not callable(getattr(retriever, "retrieve", None)):
            raise ValueError(f"retriever must have retrieve(question), got {describe(retriever)}")
        if params is not None and not isinstance(params, SamplingParams):
            raise ValueError(f"params must be SamplingParams or None, got {describe(params)}")
        self.retriever, self.llm = retriever, llm
        self.prompt = check_function("prompt", prompt) or rag_messages
        self.budget: Budget | None = None if llm is None else budget_of(llm, context_window)
        window = self.budget.window if self.budget else ANSWER
        most = (
            min(ANSWER, max(1, window // 4)) if max_tokens is None else check_int("max_tokens", max_tokens, 1)
        )
        if self.budget is not None and most >= window:
            raise ValueError(f"max_tokens must be below the window of {window:,} tokens, got {most:,}")
        self.params = replace(params or SamplingParams(temperature=0.0), max_tokens=most)

    def query(self, question: str) -> Answer:
        """The answer to a question. ValueError for an empty question or one that fills the window, RetrievalError,
        GenerationError."""
        found = self.retriever.retrieve(check_text("question", question))
        return self.synthesize(question, found)

    def synthesize(self, question: str, found: Sequence[NodeWithScore]) -> Answer:
        """The answer from nodes that were found, best first."""
        found = list(found)
        if not found:
            return Answer(unknown(question), declined=True)
        if self.llm is None:
            return self._quoted(question, found)
        fitted = self._fitted(question, found)
        reply = self._asked(fitted)
        check = CitationCheck(len(fitted.kept))
        response = check.feed(reply.text) + check.end()
        return self._answer(response, check, fitted, reply.finish_reason)

    def stream(self, question: str) -> StreamingAnswer:
        """The answer in pieces: iterate over it; its `source_nodes` are there at once, its `answer` at the end."""
        found = self.retriever.retrieve(check_text("question", question))
        if not found or self.llm is None:
            whole = self.synthesize(question, found)
            return StreamingAnswer(iter([whole.response]), whole.source_nodes, lambda _: whole)
        fitted = self._fitted(question, found)
        check = CitationCheck(len(fitted.kept))

        def finish(response: str) -> Answer:
            return self._answer(response, check, fitted, getattr(self.llm, "finish_reason", None))

        return StreamingAnswer(self._pieces(fitted, check), tuple(fitted.kept), finish)

    def _asked(self, fitted: Fitted) -> Reply:
        try:
            reply = self.llm.chat(fitted.messages, self.params)
        except Exception as error:
            raise failed(error) from error
        said(reply.text if isinstance(reply, Reply) else None)
        return reply

    def _pieces(self, fitted: Fitted, check: CitationCheck) -> Iterator[str]:
        written, pieces = "", None
        try:
            try:
                pieces = self.llm.stream(fitted.messages, self.params)
                for piece in pieces:
                    written += piece
                    if shown := check.feed(piece):
                        yield shown
            except Exception as error:
                raise failed(error) from error
            said(written)
            if rest := check.end():
                yield rest
        finally:
            if callable(close := getattr(pieces, "close", None)):
                close()  # a reader who stops ends the writing

    def _fitted(self, question: str, found: Sequence[NodeWithScore]) -> Fitted:
        return fit_sources(question, found, self.prompt, self.budget, self.params.max_tokens)

    def _answer(self, response: str, check: CitationCheck, fitted: Fitted, reason: str | None) -> Answer:
        response = response.strip()
        return Answer(
            response, tuple(fitted.kept), tuple(fitted.dropped), tuple(check.cited), tuple(check.removed),
            says_unknown(response), fitted.tokens, reason,
        )  # fmt: skip

    def _quoted(self, question: str, found: list[NodeWithScore]) -> Answer:
        text = quote(question, [one.node for one in found])
        if not text:
            return Answer(unknown(question), tuple(found), declined=True)
        number = int(text.rpartition("[")[2].rstrip("]"))
        return Answer(text, tuple(found), cited=(number,), finish_reason="stop")


@dataclass
class StreamingAnswer:
    """Pieces of an answer, to iterate over once. answer: the whole Answer, after the last piece."""

    pieces: Iterator[str]
    source_nodes: tuple[NodeWithScore, ...]
    finish: Any
    text: str = ""
    answer: Answer | None = field(default=None)

    def __iter__(self) -> Iterator[str]:
        for piece in self.pieces:
            self.text += piece
            yield piece
        self.answer = self.finish(self.text)


def unknown(question: str) -> str:
    """ "I do not know." in the question's language."""
    return UNKNOWN[language_of(question)]


def says_unknown(text: str) -> bool:
    """Whether an answer begins by saying that it does not know, and goes on without a "but"."""
    return bool(_DECLINES.match(text))


def said(text: Any) -> str:
    """The text of a model's answer; GenerationError for one that says nothing: no letter and no digit."""
    if not isinstance(text, str) or not any(letter.isalnum() for letter in text):
        raise GenerationError(f"the model said nothing that could be an answer: {describe(text)}")
    return text
