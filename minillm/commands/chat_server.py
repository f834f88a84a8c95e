"""`minillm chat --server URL`: the same conversation with a model behind any server of OpenAI's interface.

What the server says of itself (its models, how much they read) is asked for once, so that a wrong address, key or name
is said before the first question. A conversation that has become too long for the model is told by its error, and the
oldest turn is left out. Book 8.4 LLM 서빙 프레임워크. Held against our own server.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from minillm.commands._sampling import OF_ONE
from minillm.commands.chat import DEFAULT_TOKENS, Conversation, left_out, note

TOO_LONG = "context_length_exceeded"  # OpenAI's code of a prompt that does not fit


class ServerError(ValueError):
    """What the server, or the way to it, said no to; the message is one plain line."""

    def __init__(self, message: str, code: str | None = None):
        super().__init__(message)
        self.code = code


def open_there(options: Namespace) -> There:
    """A conversation with a model of a server; ServerError where it does not answer, or has no such model."""
    from minillm.inference import SamplingParams

    if options.named is not None or options.tokenizer is not None:
        raise ValueError("--server names where the model runs, and --model which: no model is opened here")
    chat, url, window = open_client(options.server, options.model, options.api_key)
    most = options.max_tokens
    if most is None:
        most = min(DEFAULT_TOKENS, max(1, window // 4)) if isinstance(window, int) else DEFAULT_TOKENS
    given = {name: getattr(options, name, None) for name in OF_ONE}
    given = {name: value for name, value in given.items() if value is not None}
    if "logit_bias" in given:
        given["logit_bias"] = dict(given["logit_bias"])
    params = SamplingParams(**given | {"max_tokens": most})
    talk = There(chat=chat, params=params, url=url, system=options.system)
    note(f"{chat.model} at {url}")
    return talk


def open_client(server: str, model: str | None, api_key: str | None) -> tuple[Any, str, int | None]:
    """(OpenAIChat, its address, how many tokens the model reads if the server says so); model: None for its first."""
    from minillm.inference import OpenAIChat

    url = base_url(server)
    chat = OpenAIChat(url, model or "", api_key or os.environ.get("OPENAI_API_KEY"))
    with plain_errors(url, model):
        models = {one.id: one for one in chat.client.models.list().data}
    chat.model = model or next(iter(models), "")
    if chat.model not in models:
        known = ", ".join(list(models)[:8]) or "none"
        raise ServerError(f"the server at {url} has no model {chat.model!r}; it has {known}")
    return chat, url, getattr(models[chat.model], "max_model_len", None)


def base_url(server: str) -> str:
    """The address with its /v1: "127.0.0.1:8000" -> "http://127.0.0.1:8000/v1". ValueError for what is none."""
    address = server if "://" in server else f"http://{server}"
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"--server must be an address such as http://127.0.0.1:8000, got {server!r}")
    return address.rstrip("/") if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/v1"


@contextmanager
def plain_errors(url: str, model: str | None) -> Iterator[None]:
    """The openai client's errors as ServerError."""
    import openai

    try:
        yield
    except openai.APITimeoutError:
        raise ServerError(f"the server at {url} did not answer in time") from None
    except openai.APIConnectionError as error:
        why = f" ({error.__cause__})" if error.__cause__ is not None else ""
        raise ServerError(f"no server answers at {url}{why}") from None
    except openai.AuthenticationError:
        raise ServerError(
            f"the server at {url} asks for another API key: give --api-key KEY, or set OPENAI_API_KEY"
        ) from None
    except openai.NotFoundError as error:
        raise ServerError(f"the server at {url} has no model {model!r}: {_said(error)}") from None
    except openai.APIError as error:
        raise ServerError(f"the server at {url} says: {_said(error)}", getattr(error, "code", None)) from None


def _said(error: Any) -> str:
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(said or getattr(error, "message", error)).split())[:500]


@dataclass(kw_only=True)
class There(Conversation):
    """A conversation with a model behind a server."""

    chat: Any
    params: Any
    url: str

    def answer(self, question: str, seed: int) -> None:
        head, turns = self.turns(question)
        for start in range(0, len(turns), 2):  # a turn is a question and its answer
            messages = head + turns[start:]
            try:
                self._answer(messages, seed, start)
                return
            except ServerError as error:
                if error.code != TOO_LONG or start + 2 >= len(turns):
                    note(str(error))
                    return

    def _answer(self, messages: list[dict[str, str]], seed: int, dropped: int) -> None:
        """One request. ServerError where it is refused, and nothing was shown."""
        turn = sum(one["role"] == "user" for one in messages)
        text: list[str] = []
        with plain_errors(self.url, self.chat.model):
            stream = self.chat.stream(messages, replace(self.params, seed=seed + turn))
            first = next(stream, None)
        left_out(dropped)

        def pieces() -> Iterator[str]:
            with plain_errors(self.url, self.chat.model):
                for piece in () if first is None else chain([first], stream):
                    text.append(piece)
                    yield piece

        try:
            whole = self.shown(pieces())
        except ServerError as error:  # in the middle: what came stays part of what was said
            note(str(error))
            whole = False
        finally:
            stream.close()
        if whole and self.chat.finish_reason == "length":
            note("cut off: --max-tokens allows more")
        self.remember(messages, "".join(text), whole)
