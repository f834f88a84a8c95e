"""`minillm ask --generate`: a model's own words from the passages that were found, each numbered as a source.

The model is opened here (`--model smollm2`) or stands behind a server (`--server URL`). SmolLM2 reads English only
and is asked in a short form of its own; a question in another language quotes the best sentence, and that is said.
What nothing in the index matches is declined as in `ask`, and no model is opened for it. Book 9.1.3.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from minillm.commands._show import print_json

PASSAGES = 3  # that a model answers from
SMALL = "smollm2"


def check_generate(options: Namespace) -> None:
    """ValueError for options that say nothing without --generate, or contradict each other."""
    if not options.generate:
        for name in ("model", "server", "api_key"):
            if getattr(options, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} needs --generate")
    elif options.api_key is not None and options.server is None:
        raise ValueError("--api-key is for --server")


def generate_answer(opened: Any, options: Namespace, told: Any) -> None:
    """Print what the model says, and the sources. told: the stage of `ask`, which knows whether to decline."""
    from minillm.apps.rag import GenerationError, RetrievalError

    figures = {"question": options.question, "declined": True, "response": told.meaning, "sources": []}
    if not told.figures["declined"]:
        try:
            figures = said(opened, options)
        except (GenerationError, RetrievalError) as error:
            raise ValueError(str(error)) from None
    elif not options.json:
        print(told.meaning)
    if options.json:
        print_json(figures)


def said(opened: Any, options: Namespace) -> dict[str, Any]:
    """The answer as JSON has it; printed while it is written, unless --json was asked for."""
    from minillm.apps.rag import QueryEngine

    llm, own = open_llm(options)
    engine = QueryEngine(passage_retriever(opened, options), llm, **own)
    stream = engine.stream(options.question)
    for piece in stream:
        if not options.json:
            print(piece, end="", flush=True)
    answer = stream.answer
    if not options.json:
        print("\n")
        print(answer.get_formatted_sources(200))
        for text in notes(answer):
            print(f"minillm: {text}", file=sys.stderr)
    return {
        "question": options.question, "declined": answer.declined, "response": answer.response,
        "model": None if llm is None else options.model or getattr(llm, "model", SMALL),
        "sources": [
            {
                "number": number, "id": one.node.id, "title": one.node.title, "score": round(one.score, 4),
                "text": one.text,
            }
            for number, one in enumerate(answer.source_nodes, 1)
        ],
        "cited": list(answer.cited), "removed": list(answer.removed), "dropped": [one.node.id for one in
        answer.dropped],
    }  # fmt: skip


def notes(answer: Any) -> list[str]:
    """What a reader should know about an answer."""
    found = []
    if answer.dropped:
        names = ", ".join(one.node.id for one in answer.dropped)
        found.append(f"left out, the model's window is full: {names}")
    if answer.removed:
        found.append(
            f"taken out of the answer: [{'], ['.join(map(str, answer.removed))}], sources that there are not"
        )
    if answer.finish_reason == "length":
        found.append("the answer was cut off")
    return found


def open_llm(options: Namespace) -> tuple[Any, dict[str, Any]]:
    """(the model, options of QueryEngine); None for a question that the small model cannot read: it is quoted then."""
    if options.server is not None:
        from minillm.commands.chat_server import open_client

        chat, url, window = open_client(options.server, options.model, options.api_key)
        if not isinstance(window, int):
            window = 4096
            print(
                f"minillm: {url} does not say how much its model reads: {window:,} tokens are assumed",
                file=sys.stderr,
            )
        return chat, {"context_window": window}
    name = options.model or SMALL
    if name == SMALL:
        from minillm.course.tour.real_model import mostly_ascii

        if not mostly_ascii(options.question):
            print("minillm: smollm2 reads English only: the best sentence is quoted", file=sys.stderr)
            return None, {}
    return open_here(name), small_options() if name == SMALL else {}


def small_options() -> dict[str, Any]:
    """How SmolLM2 is asked: shortly, and one sentence is enough."""
    from minillm.apps.rag import short_messages
    from minillm.inference import SamplingParams

    return {
        "prompt": short_messages,
        "max_tokens": 60,
        "params": SamplingParams(temperature=0.0, stop=("\n\n",)),
    }


def open_here(name: str) -> Any:
    """A LocalChat of a model of this machine; ValueError for one that was not taught to answer."""
    from minillm.commands._find import find_model
    from minillm.commands.generate import open_writer, tokenizer_path
    from minillm.inference import Engine, LocalChat
    from minillm.tokenizer import load_tokenizer

    folder = find_model(Path(name))
    tokenizer = load_tokenizer(tokenizer_path(folder, None))
    return LocalChat(Engine(open_writer(folder, tokenizer, None), tokenizer, max_batch_size=1))


def passage_retriever(opened: Any, options: Namespace) -> Any:
    """The index folder as a retriever."""
    from minillm.apps.rag import Node, Retriever

    nodes = {
        one.id: Node(one.id, one.document_id, one.title, one.text, None, None)
        for one in opened.passages.values()
    }
    return Retriever(_Ranked(opened, options.method), nodes, PASSAGES if options.k is None else options.k)


class _Ranked:
    """A PassageIndex searched by one of its methods."""

    def __init__(self, opened: Any, method: str) -> None:
        self.opened, self.method = opened, method

    def search(self, queries: Any, k: int) -> Any:
        return self.opened.rankings(queries, k, self.method)
