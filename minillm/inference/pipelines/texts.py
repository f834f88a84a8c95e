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

from minillm._checks import check_flag, describe
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
OURS = tuple(field.name for field in fields(SamplingParams) if not field.name.endswith("logprobs"))


@dataclass(frozen=True)
class TextOptions:
    """return_full_text: the prompt's text in front. do_sample: draw, or take the best token; None: as `given` and the
    model's own settings say. given: fields of SamplingParams."""

    return_full_text: bool = True
    do_sample: bool | None = None
    given: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        check_flag("return_full_text", self.return_full_text)
        if self.do_sample is not None:
            check_flag("do_sample", self.do_sample)


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
        own = {name: value for name, value in options.items() if name in ("return_full_text", "do_sample")}
        rest = {name: value for name, value in options.items() if name not in own}
        names = {*OURS, *THEIRS}
        if unknown := sorted(rest.keys() - names):
            known = ", ".join((*OURS, *THEIRS, "do_sample", "return_full_text"))
            raise ValueError(f"{self.task} has no option {unknown[0]!r}; it has {known}")
        said = {}
        for name, value in rest.items():
            if THEIRS.get(name, name) in said:
                raise ValueError(f"{THEIRS.get(name, name)} is given twice, once as {name}")
            said[THEIRS.get(name, name)] = value
        chosen = replace(self.options, **own, given={**(self.options.given or {}), **said})
        self.params(chosen, self.model.config.max_length)  # whether the values will do
        return chosen

    def params(self, options: TextOptions, room: int) -> SamplingParams:
        """The settings of a prompt that leaves so much room in the window."""
        file = dict(self.model.generation_config)
        if options.do_sample is not None:
            file["do_sample"] = options.do_sample
        settings = (
            {"max_tokens": max(1, min(NEW_TOKENS, room))} | sampling_fields(file) | (options.given or {})
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
        params = self.params(options, self.model.config.max_length - len(ids))
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
