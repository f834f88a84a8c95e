"""Text generation: what comes next, as text.

    prompt or chat -> ids -> generate_batch -> the new tokens' text, behind the prompt or alone

Options have the names of SamplingParams or of transformers' generate. What nobody names is taken from the model's
generation_config.json as transformers' generate reads it: greedy without do_sample (transformers' pipeline draws, at
temperature 0.7). A stop string is cut off, as in vLLM; transformers leaves it in the text.

Book 3.5.1 파이프라인을 활용한 추론, 7.1.1 언어 모델이 언어를 생성하는 방법. Held against transformers'
TextGenerationPipeline. Leaves out: beams, tools and documents of a chat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any

from minillm._checks import check_flag, check_int, describe
from minillm.inference.generate import Completion, check_prompt, generate_batch
from minillm.inference.params import SamplingParams, sampling_fields
from minillm.inference.pipelines.base import Pipeline, Row
from minillm.models.decoder import CausalLM
from minillm.tokenizer.chat import apply_chat_template

NEW_TOKENS = 256  # where nobody says how many, if the window has room: transformers' number
THEIRS = {  # transformers' name -> SamplingParams'
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
    "num_return_sequences": "n",
    "stop_strings": "stop",
    "stop_sequence": "stop",
}
OWN = ("return_full_text", "do_sample", "max_length")
OURS = tuple(field.name for field in fields(SamplingParams) if not field.name.endswith("logprobs"))


@dataclass(frozen=True)
class TextOptions:
    """return_full_text: the prompt's text in front. do_sample: draw, or take the best token; None: as `given` and the
    model's own settings say. max_length: tokens of prompt and answer together, in place of max_tokens. given: fields of
    SamplingParams."""

    return_full_text: bool = True
    do_sample: bool | None = None
    max_length: int | None = None
    given: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        check_flag("return_full_text", self.return_full_text)
        if self.do_sample is not None:
            check_flag("do_sample", self.do_sample)
        if self.max_length is not None:
            check_int("max_length", self.max_length, 1)


def is_chat(item: Any) -> bool:
    """Whether this is a list of messages, {"role": ..., "content": ...}."""
    return (
        isinstance(item, (list, tuple))
        and bool(item)
        and all(isinstance(message, Mapping) and {"role", "content"} <= message.keys() for message in item)
    )


class TextGeneration(Pipeline):
    """A text, or a chat (a list of messages) -> [{"generated_text": ...}, ...], one for each of n.

    A chat's text is the chat with the answer as one more message; with return_full_text=False the answer alone. Text j
    of every input draws with seed + j, whatever the batches are.
    """

    task, options_class = "text-generation", TextOptions

    @classmethod
    def fits(cls, model_class: type) -> bool:
        """A decoder with its output matrix."""
        return issubclass(model_class, CausalLM)

    def settle(self, options: Mapping[str, Any]) -> TextOptions:
        """The pipeline's options with these in their place; ValueError for unknown names and values out of range."""
        chosen = self.changed(self.options, options)
        self.params(chosen, 0)  # whether the values will do
        return chosen

    @classmethod
    def changed(cls, before: TextOptions, options: Mapping[str, Any]) -> TextOptions:
        """`before` with these options in their place; None says nothing, as in transformers."""
        cls.check_names(options, (*OURS, *THEIRS, *OWN))
        options = {name: value for name, value in options.items() if value is not None}
        own = {name: value for name, value in options.items() if name in OWN}
        said = {}
        for name, value in options.items():
            if name in own:
                continue
            if THEIRS.get(name, name) in said:
                raise ValueError(f"{THEIRS.get(name, name)} is given twice, once as {name}")
            said[THEIRS.get(name, name)] = value
        if "max_tokens" in said:  # new tokens are counted: the later word wins over a total
            if "max_length" in own:
                raise ValueError("max_length counts the prompt, max_new_tokens does not: give one of them")
            own["max_length"] = None
        return replace(before, **own, given={**(before.given or {}), **said})

    def params(self, options: TextOptions, prompt: int) -> SamplingParams:
        """The settings of a prompt of so many tokens; ValueError for one that leaves no room in max_length."""
        file = dict(self.model.generation_config)
        if options.do_sample is not None:
            file["do_sample"] = options.do_sample
        room = self.model.config.max_length - prompt
        settings = (
            {"max_tokens": max(1, min(NEW_TOKENS, room))} | sampling_fields(file) | (options.given or {})
        )
        if options.max_length is not None:
            settings["max_tokens"] = options.max_length - prompt
            if settings["max_tokens"] < 1:
                raise ValueError(
                    f"max_length is {options.max_length}, which a prompt of {prompt} tokens fills: no room for new ones"
                )
        if options.do_sample is False:
            settings["temperature"] = 0.0
        return SamplingParams(**settings)

    def is_single(self, inputs: Any) -> bool:
        """A text or a chat."""
        return super().is_single(inputs) or is_chat(inputs)

    def preprocess(self, item: Any, options: TextOptions) -> list[Row]:
        """One row: the prompt's ids, and its settings."""
        if is_chat(item):
            ids = self.tokenizer.encode(self.chat_text(item))
        elif isinstance(item, str):
            ids = self.tokenizer([item])["input_ids"][0]
        else:
            raise ValueError(f"{self.task} takes a text or a list of messages, got {describe(item)}")
        params = self.params(options, len(ids))
        return [
            Row(check_prompt(self.model, ids, params, f"the prompt {describe(item)}"), about=(item, params))
        ]

    def chat_text(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The chat through the tokenizer's template, up to where the answer begins, or goes on in a last message of
        the assistant."""
        begun = messages[-1]["role"] == "assistant"
        return apply_chat_template(
            self.tokenizer, list(messages), add_generation_prompt=not begun, continue_final_message=begun
        )

    def run(self, rows: Sequence[Row], batch_size: int, options: TextOptions) -> list[list[Completion]]:
        """The completions of each prompt; neighbours with the same settings go together."""
        found: list[list[Completion]] = []
        for params, group in groupby(rows, key=lambda row: row.about[1]):
            same = list(group)
            for start in range(0, len(same), batch_size):
                batch = same[start : start + batch_size]
                made = generate_batch(self.model, [row.ids for row in batch], params, self.tokenizer)
                found += [made[i : i + params.n] for i in range(0, len(made), params.n)]
        return found

    def postprocess(self, found: list[Any], rows: list[Row], options: TextOptions) -> list[dict[str, Any]]:
        """The new texts, behind the prompt if that is asked for."""
        prompt = rows[0].about[0]
        return [{"generated_text": self._joined(prompt, one.text, options)} for one in found[0]]

    def _joined(self, prompt: Any, text: str, options: TextOptions) -> Any:
        if not options.return_full_text:
            return text
        if isinstance(prompt, str):
            return prompt + text
        last = prompt[-1]
        if last["role"] == "assistant":
            return [*prompt[:-1], {**last, "content": last["content"] + text}]
        return [*prompt, {"role": "assistant", "content": text}]
