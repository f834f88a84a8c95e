"""From what a client asks to what the engine takes: ids that fit, settings, and the shape of the answer.

Runs in a thread of its own, so that a long text to encode holds up nobody's stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from minillm._checks import check_int, check_number
from minillm.inference.engine import Engine
from minillm.inference.grammar.calls import Calls
from minillm.inference.grammar.guide import schema_text
from minillm.inference.params import SamplingParams
from minillm.inference.server.answers import Answer, ChatAnswer, CompletionAnswer
from minillm.inference.server.errors import ApiError
from minillm.inference.server.schemas import Asked, ChatAsked, CompletionAsked, sampling_params
from minillm.inference.stopping import Stopper
from minillm.inference.tool_calls import Caller, ToolChoice, checked_tools
from minillm.nn.lora import BASE, adapters_of
from minillm.tokenizer.chat import apply_chat_template
from minillm.tokenizer.chat_ends import turn_ends

USUAL_TOKENS = 16  # of a completion, as OpenAI's


@dataclass(frozen=True)
class Limits:
    """What a server takes. max_prompt_tokens, max_tokens: None for what the engine's window holds. max_requests:
    prompts at a time, waiting ones included. max_body: bytes. read_seconds: for a request to arrive. write_seconds: for
    a reader to take the next piece. end_seconds: for running requests when the server ends."""

    max_prompt_tokens: int | None = None
    max_tokens: int | None = None
    max_requests: int = 256
    max_body: int = 2**20
    read_seconds: float = 30.0
    write_seconds: float = 30.0
    end_seconds: float = 10.0

    def __post_init__(self) -> None:
        """ValueError for numbers and seconds that are none."""
        for name in ("max_prompt_tokens", "max_tokens"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1)
        check_int("max_requests", self.max_requests, 1)
        check_int("max_body", self.max_body, 1)
        for name in ("read_seconds", "write_seconds", "end_seconds"):
            check_number(name, getattr(self, name), 0)


@dataclass(frozen=True)
class Job:
    """What goes to the engine, and the answer that collects what comes back."""

    prompts: list[list[int]]
    params: SamplingParams
    answer: Answer
    adapter: str | None = None  # of the model, as the engine takes it


@dataclass
class Preparing:
    """Turns requests into jobs, for one engine."""

    engine: Engine
    model_name: str
    limits: Limits
    defaults: SamplingParams
    ends: list[int] = field(default_factory=list)  # of a turn in a chat
    caller: Caller | None = None  # None without a chat template

    def __post_init__(self) -> None:
        """The ends of a turn, and the form of a call, are looked up once."""
        if getattr(self.engine.tokenizer, "chat_template", None):
            self.ends = turn_ends(self.engine.tokenizer)
            self.caller = Caller(self.engine.tokenizer)

    @property
    def models(self) -> dict[str, str | None]:
        """{name that clients ask for: the adapter that answers}: the model itself, and each of its adapters."""
        shared = adapters_of(self.engine.model)
        if shared is None:
            return {self.model_name: None}
        return {self.model_name: BASE, **{name: name for name in shared.settings}}

    def __call__(self, asked: Asked) -> Job:
        """The job; ApiError (or ValueError, of a template or a text) for what cannot be done."""
        return self._chat(asked) if isinstance(asked, ChatAsked) else self._completion(asked)

    def _completion(self, asked: CompletionAsked) -> Job:
        tokenizer = self.engine.tokenizer
        prompts = [self._ids(one) for one in asked.prompts]
        only_echo = bool(asked.echo) and asked.max_tokens == 0
        width = asked.best_of or asked.n or 1
        rooms = [self._room(ids, width) for ids in prompts]
        usual = min(USUAL_TOKENS, *rooms) if rooms else 1
        most = 1 if only_echo else usual if asked.max_tokens is None else asked.max_tokens
        self._check_most(most, prompts)
        params = self._params(asked, most, [])
        texts = None
        if asked.echo:
            texts = [one if isinstance(one, str) else tokenizer.decode(one) for one in asked.prompts]
        answer = CompletionAnswer(tokenizer, asked.model, prompts, params, texts=texts, only_echo=only_echo)
        return Job(prompts, params, answer, self.models.get(asked.model))

    def _chat(self, asked: ChatAsked) -> Job:
        tokenizer = self.engine.tokenizer
        go_on = bool(asked.continue_final_message)
        begin = not go_on if asked.add_generation_prompt is None else asked.add_generation_prompt
        messages = [one.plain() for one in asked.messages]
        options = {"add_generation_prompt": begin, "continue_final_message": go_on}
        calls, named, tools = None, False, []
        if self.caller is None:
            text = apply_chat_template(tokenizer, messages, **options)
        else:
            tools, choice, calls = self._calls(asked, self.caller)
            named = choice.named
            text = self.caller.prompt(messages, () if choice.mode == "none" else tools, **options)
        ids = self._ids(text)
        name = "max_tokens" if asked.max_completion_tokens is None else "max_completion_tokens"
        most = getattr(asked, name)
        if most is None:
            most = self._room(ids, asked.n or 1)
        self._check_most(most, [ids], name)
        params = self._params(asked, most, self.ends, calls)
        answer = ChatAnswer(tokenizer, asked.model, [ids], params, named=named)
        return Job([ids], params, answer, self.models.get(asked.model))

    def _calls(
        self, asked: ChatAsked, caller: Caller
    ) -> tuple[list[dict[str, Any]], ToolChoice, Calls | None]:
        """The functions, which of them may be called, and what an answer may be."""
        param = "tools"
        try:
            tools = checked_tools(asked.tools or [])
            param = "tool_choice"
            choice = ToolChoice.of(asked.tool_choice, tools)
            param = "tools"
            schema = None if asked.response_format is None else asked.response_format.schema_of()
            text = None if schema is None else schema_text(schema)
            calls = caller.calls(tools, choice, asked.parallel_tool_calls is not False, text)
        except ValueError as error:
            raise ApiError(400, str(error), param) from None
        return tools, choice, calls

    def _params(self, asked: Asked, most: int, ends: list[int], calls: Calls | None = None) -> SamplingParams:
        """The settings; ApiError 400 for a schema whose shortest text is longer than `most` tokens, too."""
        params = sampling_params(asked, self.defaults, most, ends, calls)
        if params.json_schema is not None or calls is not None:
            try:
                Stopper(self.engine.model, params, self.engine.tokenizer)
            except ValueError as error:
                raise ApiError(400, str(error), "response_format" if calls is None else "tools") from None
        return params

    def _ids(self, prompt: str | list[int]) -> list[int]:
        tokenizer = self.engine.tokenizer
        ids = tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        if not ids:
            raise ApiError(400, "a prompt must hold at least one token", "prompt")
        if max(ids) >= tokenizer.vocab_size:
            raise ApiError(
                400, f"token ids must be below {tokenizer.vocab_size:,}, got {max(ids):,}", "prompt"
            )
        most = self.engine.window - 1
        if self.limits.max_prompt_tokens is not None:
            most = min(most, self.limits.max_prompt_tokens)
        if len(ids) > most:
            message = f"a prompt may have {most:,} tokens here, got {len(ids):,}"
            raise ApiError(400, message, "prompt", "context_length_exceeded")
        return ids

    def _room(self, ids: list[int], width: int) -> int:
        """New tokens that fit at most: the window, the server's limit, and the blocks of `width` texts."""
        blocks = self.engine.blocks
        shared = len(ids) // blocks.block_size
        own = max(0, blocks.num_blocks - shared) // width
        room = min(self.engine.window, (shared + own) * blocks.block_size) - len(ids)
        return max(1, room if self.limits.max_tokens is None else min(room, self.limits.max_tokens))

    def _check_most(self, most: int, prompts: list[list[int]], name: str = "max_tokens") -> None:
        limit = self.limits.max_tokens
        if limit is not None and most > limit:
            raise ApiError(400, f"{name} may be {limit:,} here, got {most:,}", name)
        longest = max(map(len, prompts), default=0)
        if longest + most > self.engine.window:
            message = (
                f"the prompt has {longest:,} tokens and {name} is {most:,}, but the model reads "
                f"{self.engine.window:,} tokens at most"
            )
            raise ApiError(400, message, name, "context_length_exceeded")
