"""When a text is done, and what its reader sees: end tokens, sequences of ids, and stop strings.

New tokens are read as bytes in the middle of a text (`tokenizer.decode_bytes`), where each token adds its own bytes
whatever stands before it: the blank in front of a Llama's word is there, and a character cut across tokens is whole
again. So a stop string is found wherever it begins and ends.

Book 7.1 언어 모델 추론 이해하기. Held against transformers' StopStringCriteria and text-generation pipeline.
How text is held back while a stop string may still be arriving: streaming.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import describe
from minillm.inference.grammar.guide import Guide, calls_guide, json_guide
from minillm.inference.params import SamplingParams


def added_text(tokenizer: Any, before: Sequence[int], new: Sequence[int]) -> str:
    """What the ids `new` add to the text of the ids `before`, without special tokens."""
    old, whole = (tokenizer.decode(ids, skip_special_tokens=True) for ids in ([*before], [*before, *new]))
    same = next((i for i, pair in enumerate(zip(old, whole)) if pair[0] != pair[1]), len(old))
    return whole[same:]


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
        self.strings = tuple(text.encode() for text in params.stop_strings)
        self.tokenizer, self.least, self.prompt = tokenizer, params.min_tokens, list(prompt)
        self.data = b""  # what the new tokens spell, kept where there are stop strings to look for
        self.cut: int | None = None  # where in it the stop string begins
        self.guide: Guide | None = None  # what json_schema or calls let come, and where in it the text is
        self.state = 0
        if params.json_schema is not None or params.calls is not None:
            what = "json_schema" if params.calls is None else "calls"
            self.guide = (
                json_guide(params.json_schema, tokenizer)
                if params.calls is None
                else calls_guide(params.calls, tokenizer)
            )
            spells = self.guide.vocabulary.spells
            parts = [i for i in self.end_ids if i < len(spells) and spells[i]]
            if parts:
                raise ValueError(f"{what} may need the tokens {sorted(parts)}: they cannot end its text, too")
            least = self.guide.shortest(enough=params.max_tokens)
            if least > params.max_tokens:
                raise ValueError(
                    f"max_tokens must be at least {least} for the shortest text of {what}, got {params.max_tokens}"
                )

    def __call__(self, token: int) -> bool:
        """Append the token; whether the text ends with it."""
        new, before = self.new, len(self.data)
        new.append(token)
        if self.guide is not None and token not in self.end_ids:
            self.state = self.guide.after(self.state, self._spell([token]))
            self.done = self.guide.must_end(self.state)
            return self.done
        if self.strings:
            self.data += self._spell([token])
        if len(new) > self.least:
            # a stop string ends in the newest token, else it would have ended the text before
            found = [self.data.find(s, max(0, before + 1 - len(s))) for s in self.strings]
            self.cut = min((at for at in found if at >= 0), default=None)
            self.done = (
                self.cut is not None
                or token in self.end_ids
                or any(new[-len(ids) :] == ids for ids in self.sequences)
            )
        return self.done

    def allowed(self, size: int) -> Tensor | None:
        """bool (size,): the tokens that the grammar lets come next, and end tokens after a whole text; None: all."""
        if self.guide is None:
            return None
        allowed = torch.zeros(size, dtype=torch.bool)
        here = torch.from_numpy(self.guide.allowed(self.state))[:size]
        allowed[: len(here)] = here
        allowed[[i for i in self.end_ids if i < size]] = self.guide.may_end(self.state)
        return allowed

    def fork(self) -> Stopper:
        """One that goes on from here by itself."""
        other = copy(self)
        other.new = list(self.new)
        return other

    def text(self) -> str:
        """What the new tokens add to the prompt's text, without special tokens, up to a stop string.

        A character that the prompt begins and a new token ends is new.
        """
        text = added_text(self.tokenizer, self.prompt, self.new)
        return text if self.cut is None else text[: len(text) - self.shown_from(self.cut)]

    def begun(self) -> int:
        """Where in `data` a stop string may have begun that later tokens finish: the earliest place, else its end."""
        longest = max(map(len, self.strings), default=1) - 1
        start = max(0, len(self.data) - longest)
        tails = (
            at
            for at in range(start, len(self.data))
            if any(s.startswith(self.data[at:]) for s in self.strings)
        )
        return next(tails, len(self.data))

    def shown_from(self, at: int) -> int:
        """How many characters of the text stand for what `data` holds from `at` on; special tokens show none."""
        over, tail = len(self.data) - at, b""  # bytes from there on, and those of them that are shown
        for token in reversed(self.new if over else []):
            shown, length = self._spell([token], skip=True), len(self._spell([token]))
            tail = shown[max(0, len(shown) - over) :] + tail
            over -= length
            if over <= 0:
                break
        return len(tail.decode("utf-8", "replace"))

    def _spell(self, ids: list[int], skip: bool = False) -> bytes:
        if hasattr(self.tokenizer, "decode_bytes"):
            return self.tokenizer.decode_bytes(ids, skip)
        return self.tokenizer.decode(ids, skip_special_tokens=skip).encode()  # another library's: as it says
