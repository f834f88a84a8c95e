"""When a text is done, and what its reader sees: end tokens, sequences of ids, and stop strings.

A tokenizer may spell a token differently at the beginning of a text: Metaspace tokenizers (Llama) drop the blank of
the first word, and a character may be cut across tokens. So new tokens are decoded behind the end of what stood
before them, and that end's own text is taken off again: the prompt and the new text read on as one.

Book 7.1 언어 모델 추론 이해하기. Held against transformers' StopStringCriteria and text-generation pipeline.
Leaves out: holding back text while a stop string may still be arriving.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from minillm._checks import describe
from minillm.inference.params import SamplingParams

_CONTEXT = 8  # tokens in front: a character is at most 4 of them, a word's blank 1
_CUT = "\ufffd"  # how decoders show a character that is not whole


def continuation(tokenizer: Any, before: Sequence[int], new: Sequence[int], skip: bool = False) -> str:
    """The text that the ids `new` add to the text of `before`; a character begun there and ended here is new.

    skip: leave special tokens out. continuation(llama's, ids of "Once", ids of " a time") -> " a time"
    """
    old = tokenizer.decode([*before], skip_special_tokens=skip)
    text = tokenizer.decode([*before, *new], skip_special_tokens=skip)
    same = next((i for i, pair in enumerate(zip(old, text)) if pair[0] != pair[1]), len(old))
    return text[same:]


def context_of(tokenizer: Any, prompt: Sequence[int]) -> list[int]:
    """The shortest end of the prompt that spells something, and no part of a character first; else its last few."""
    for n in range(1, min(len(prompt), _CONTEXT) + 1):
        text = tokenizer.decode(prompt[-n:], skip_special_tokens=True)
        if text and not text.startswith(_CUT):
            return list(prompt[-n:])
    return list(prompt[-_CONTEXT:])


class Stopper:
    """Takes the new tokens of one text one by one, keeps them in `new`, and says after each whether it is done."""

    def __init__(
        self, model: nn.Module, params: SamplingParams, tokenizer: Any = None, prompt: Sequence[int] = ()
    ):
        if params.stop_strings and tokenizer is None:
            raise ValueError(f"stop strings {params.stop_strings} need a tokenizer to be seen in the text")
        if tokenizer is not None and not callable(getattr(tokenizer, "decode", None)):
            raise ValueError(f"tokenizer must be a tokenizer or None, got {describe(tokenizer)}")
        self.new: list[int] = []
        self.done = False
        self.end_ids = frozenset(
            (
                *(() if params.ignore_eos else model.eos_token_ids),
                *params.stop_token_ids,
                *(ids[0] for ids in params.stop_ids if len(ids) == 1),
            )
        )
        self.sequences = tuple(list(ids) for ids in params.stop_ids if len(ids) > 1)
        self.strings, self.tokenizer, self.least = params.stop_strings, tokenizer, params.min_tokens
        # a stop string of n bytes lies within the last n tokens (each is a byte or more), the newest included
        self.tail = max((len(text.encode()) for text in self.strings), default=0)
        self.context: list[int] = []  # what decoding reads in front of the new tokens
        self.begins = True  # nothing is spelled in front: the text begins with the new tokens
        if tokenizer is not None and prompt:
            self.context = context_of(tokenizer, list(prompt))
            self.begins = not tokenizer.decode(self.context, skip_special_tokens=True)

    def __call__(self, token: int) -> bool:
        """Append the token; whether the text ends with it."""
        new = self.new
        new.append(token)
        if len(new) > self.least:
            self.done = (
                token in self.end_ids
                or any(new[-len(ids) :] == ids for ids in self.sequences)
                or (bool(self.strings) and self._find(max(0, len(new) - self.tail - _CONTEXT)) >= 0)
            )
        return self.done

    def text(self) -> str:
        """What the new tokens say: without special tokens, and only what stands before a stop string."""
        text = continuation(self.tokenizer, self.context, self.new, skip=True)
        at = self._find(0) if self.done and self.strings else -1
        if at < 0:
            return text
        k = len(self.new) - 1  # the token in which the stop string begins
        while len(self._inside(0, k)) > at:
            k -= 1
        before, through = (
            continuation(self.tokenizer, self.context, self.new[:n], skip=True) for n in (k, k + 1)
        )
        surplus = len(self._inside(0, k + 1)) - at  # characters of that token that belong to the stop string
        return through[: max(len(before), len(through) - surplus)]

    def _inside(self, first: int, last: int) -> str:
        """The text of new[first:last] as it reads inside of a text, special tokens included.

        Where the text begins with the new tokens, the first of them stands in for what is in front, so that its
        blank is seen: a stop " a" is one even where a tokenizer drops the blank of a text's first word.
        """
        if first:
            before = self.new[max(0, first - _CONTEXT) : first]
        else:
            before = self.new[:1] if self.begins else self.context
        return continuation(self.tokenizer, before, self.new[first:last])

    def _find(self, first: int) -> int:
        """Where in the text of new[first:] the first stop string begins, or -1; it ends after min_tokens tokens."""
        text = self._inside(first, len(self.new))
        free = len(self._inside(first, self.least).rstrip(_CUT)) if first < self.least else 0
        found = (text.find(string, max(0, free + 1 - len(string))) for string in self.strings)
        return min((at for at in found if at >= 0), default=-1)
