"""`minillm chat`: a conversation in the terminal, or of the lines of a file.

    turn        what was said so far -> the model's own template -> ids -> the answer, shown while it is written
    too long    the oldest question and answer are left out, and that is said
    cache       lasts from turn to turn: only what is new in the ids is read, mostly the question
    Ctrl-C      ends the answer, not the chat; what was written of it stays part of what was said

Answers go to standard output, everything else to standard error: `minillm chat smollm2 < questions.txt > answers.txt`.
The model is opened here, or stands behind a server: chat_server.py. Book 1.2.3 챗GPT의 등장. Leaves out: pictures,
tools.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from minillm._files import write_json
from minillm.commands._adapters import base_of
from minillm.commands._find import find_model
from minillm.commands._sampling import sampling_params
from minillm.commands.generate import open_writer, tokenizer_path

DEFAULT_TOKENS = 512  # of an answer
HELP = "/reset forgets what was said, /save FILE writes it as JSON, /quit or Ctrl-D leaves, Ctrl-C ends an answer"


def chat(options: Namespace) -> None:
    """Read lines and answer each until there are no more."""
    if options.server is None:
        for name in ("model", "api_key"):
            if getattr(options, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} is for --server: a model here is named first")
        converse(open_here(options), options.seed)
        return
    from minillm.commands.chat_server import open_there

    converse(open_there(options), options.seed)


def converse(talk: Conversation, seed: int) -> None:
    """The loop of every chat."""
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if terminal:
        note(HELP)
    while (line := next_line(terminal)) is not None:
        if line.startswith("/"):
            if command(talk, line):
                return
        elif line.strip():
            try:
                talk.answer(line.strip(), seed)
            except KeyboardInterrupt:  # before its first piece or after its last
                note("stopped")


def open_here(options: Namespace) -> Here:
    """A conversation with a model of this machine."""
    from minillm.tokenizer import load_tokenizer

    folder = find_model(options.named)
    tokenizer = load_tokenizer(tokenizer_path(folder, options.tokenizer))
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            f"{folder} has no chat template: it was not taught to answer; `minillm generate` continues texts"
        )

    from minillm.inference import is_encoder_decoder
    from minillm.tokenizer.chat_ends import turn_ends

    model = open_writer(folder, tokenizer, options.tokenizer)
    if is_encoder_decoder(model):
        raise ValueError(
            f"{folder} holds a {type(model).__name__}, which holds no conversation: use `minillm generate`"
        )
    window = model.config.max_length
    most = min(DEFAULT_TOKENS, max(1, window // 4)) if options.max_tokens is None else options.max_tokens
    if most >= window:
        raise ValueError(f"--max-tokens must be below {window:,}, the window of {folder}, got {most:,}")
    params = sampling_params(options, model, base_of(folder), True, most)
    params = replace(params, n=1, stop_token_ids={*params.stop_token_ids, *turn_ends(tokenizer)})
    return Here(model=model, tokenizer=tokenizer, params=params, system=options.system)


@dataclass(kw_only=True)
class Conversation(ABC):
    """What was said so far. messages: {"role": ..., "content": ...}, a system prompt's first."""

    system: str | None = None
    messages: list[dict[str, str]] = field(default_factory=list)
    saved: Path | None = None  # where it was written last

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Only the system prompt was said."""
        self.messages = [] if self.system is None else [{"role": "system", "content": self.system}]

    @abstractmethod
    def answer(self, question: str, seed: int) -> None:
        """One turn: show the answer and remember both; a question that cannot be answered is forgotten."""

    def turns(self, question: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """(the system prompt's message if there is one, all others with the question behind them)."""
        first = 0 if self.system is None else 1
        return self.messages[:first], [*self.messages[first:], {"role": "user", "content": question}]

    def shown(self, pieces: Iterable[str]) -> bool:
        """Print an answer while it comes; whether it came to its end."""
        whole = True
        try:
            for piece in pieces:
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            whole = False
        finally:
            print(flush=True)
        return whole

    def remember(self, messages: list[dict[str, str]], text: str, whole: bool) -> None:
        """The turn becomes part of what was said, unless Ctrl-C came before its first word."""
        if not whole:
            note("stopped")
        if text or whole:
            self.messages = [*messages, {"role": "assistant", "content": text.strip()}]


def left_out(count: int) -> None:
    """Say that the oldest messages did not fit."""
    if count:
        note(f"the window is full: the oldest {count} messages are left out from here on")


@dataclass(kw_only=True)
class Here(Conversation):
    """A conversation with a model of this process."""

    model: Any
    tokenizer: Any
    params: Any
    cache: Any = None  # keys and values of `read`, the ids that the model has read and written
    read: list[int] = field(default_factory=list)

    def fitting(self, question: str) -> tuple[list[dict[str, str]], list[int], int]:
        """(messages that go to the model, their ids, how many old ones were left out), room for the answer kept.

        ValueError if the question alone is too long.
        """
        from minillm.tokenizer.chat import apply_chat_template

        head, turns = self.turns(question)
        room = self.model.config.max_length - self.params.max_tokens
        for start in range(0, len(turns), 2):  # a turn is a question and its answer
            messages = head + turns[start:]
            ids = self.tokenizer.encode(apply_chat_template(self.tokenizer, messages))
            if len(ids) <= room:
                return messages, ids, start
        raise ValueError(
            f"that has {len(ids):,} tokens with what stands around it, and {room:,} fit: shorten it"
        )

    def cache_of(self, ids: list[int]) -> Any:
        """The cache of the turns before, cut back to what these ids begin with; a larger one where they do not fit.

        It saves reading, and changes no answer. Under rotary positions of "dynamic" scaling the past depends on the
        length, and every turn has a cache of its own.
        """
        config = self.model.config
        if (getattr(config, "rope_scaling", None) or {}).get("rope_type") == "dynamic":
            return True
        needed = len(ids) + self.params.max_tokens
        if self.cache is None or self.cache.max_length < needed:
            self.read = []  # before the cache: Ctrl-C may come in between
            self.cache = self.model.new_cache(1, min(4 * needed, config.max_length))
        known = ids[:-1]  # the last is read anew: its scores say what follows
        pairs = enumerate(zip(self.read, known))
        same = next((i for i, (old, new) in pairs if old != new), min(len(self.read), len(known)))
        self.read = self.read[:same]
        self.cache.crop(same)
        return self.cache

    def answer(self, question: str, seed: int) -> None:
        from minillm.inference import stream_text

        try:
            messages, ids, dropped = self.fitting(question)
            turn = sum(one["role"] == "user" for one in messages)
            params = replace(self.params, seed=seed + turn)
            text = stream_text(self.model, self.tokenizer, ids, params, self.cache_of(ids))
        except ValueError as error:
            note(str(error))
            return
        left_out(dropped)
        whole = self.shown(text)
        if self.cache is not None:
            self.read = [*ids, *text.token_ids][: self.cache.length]
        if whole and text.finish_reason == "length":
            note(f"cut off after {len(text.token_ids):,} tokens: --max-tokens allows more")
        self.remember(messages, text.text, whole)


def command(talk: Conversation, line: str) -> bool:
    """Do what a line that begins with / says; whether the chat ends with it."""
    name, _, rest = line.strip().partition(" ")
    if name == "/quit":
        return True
    if name == "/reset":
        talk.reset()
        note("forgotten")
    elif name == "/save":
        save(talk, rest.strip())
    elif name == "/help":
        note(HELP)
    else:
        note(
            f"there is no {name}: {HELP}. A line that is meant for the model and begins with / needs a blank in front"
        )
    return False


def save(talk: Conversation, name: str) -> None:
    """Write the messages; a file that another program or chat wrote stays."""
    if not name:
        note("name the file: /save FILE")
        return
    path = Path(name).expanduser()
    if path.exists() and path != talk.saved:
        note(f"{path} is there already: name another file")
        return
    try:
        talk.saved = write_json(path, talk.messages)
    except (OSError, ValueError) as error:
        note(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}")
    else:
        note(f"{len(talk.messages)} messages are in {path}")


def next_line(terminal: bool) -> str | None:
    """What was typed, or the next line of a file; None at the end. Ctrl-C at the prompt empties the line."""
    while True:
        try:
            if terminal:
                print("> ", end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline() if sys.stdin is not None else ""
        except KeyboardInterrupt:
            if not terminal:
                raise
            print(file=sys.stderr)
            note("/quit or Ctrl-D leaves")
            continue
        if not line and terminal:
            print(file=sys.stderr)
        return line.rstrip("\r\n") if line else None


def note(text: str) -> None:
    """A line that is no part of an answer."""
    print(f"[{' '.join(text.split())}]", file=sys.stderr, flush=True)
