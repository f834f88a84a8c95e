"""What guesses the next tokens for speculative decoding (speculative.py): a smaller model, or the text itself.

Book 8.3.3 추측 디코딩. Papers: Leviathan et al. 2023, Chen et al. 2023; prompt lookup: Saxena 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm.inference.fused import FusedStep
from minillm.inference.loop import Evaluating, Row, held_back, texts_so_far
from minillm.inference.params import SamplingParams
from minillm.inference.sampling import process_logits, race


class Drafter(Protocol):
    """What guesses. A model is wrapped into one by itself."""

    def draft(self, row: Row, count: int) -> list[tuple[int, Tensor | None]]:
        """At most `count` tokens to follow the text row.prompt + row.stop.new; [] where it has no idea.

        Each with the probabilities (V,) that it was drawn from, or None where no other token could have come.
        """


class PromptLookup:
    """Guesses without a model: the text's last tokens stood in it before, and what followed then follows again.

    sizes: how many last tokens to look for, tried in this order. size 2, [5, 6, 7, 8, 5, 6] -> 7, 8, 5, 6, ...
    (a copy may run into itself). Good where a text repeats what it was given: summaries, code, quotations.
    """

    def __init__(self, sizes: Sequence[int] = (3, 2, 1)) -> None:
        if not isinstance(sizes, (list, tuple, range)) or not len(sizes):
            raise ValueError(f"sizes must be a list of lengths, got {describe(sizes)}")
        self.sizes = [check_int("every size", size, 1) for size in sizes]

    def draft(self, row: Row, count: int) -> list[tuple[int, None]]:
        """What followed the latest place where the text's end stands."""
        text = row.prompt + row.stop.new
        for size in self.sizes:
            end = text[len(text) - size :]
            for at in range(len(text) - 1, size - 1, -1):
                if text[at - 1] == end[-1] and text[at - size : at] == end:
                    for i in range(count):
                        text.append(text[at + i])
                    return [(token, None) for token in text[len(text) - count :]]
        return []


class DraftModel:
    """Guesses by a smaller model, which draws with the settings of the request."""

    def __init__(
        self, model: nn.Module, longest: int, params: SamplingParams, generator: torch.Generator
    ) -> None:
        self.read, self.params, self.generator = Reader(model, longest), params, generator

    def draft(self, row: Row, count: int) -> list[tuple[int, Tensor]]:
        """Token by token, each given those before; none after one that ends the text."""
        drafts, row = [], row.fork()  # the fork's text is the text with the drafts
        while len(drafts) < count and not row.stop.done:
            scores = self.read(row.prompt + row.stop.new)[-1].to(self.generator.device)
            q = probabilities(scores, self.params, row)
            drafts.append((drawn(q, self.params, self.generator), q))
            row.stop(drafts[-1][0])
        return drafts


class Reader:
    """A model, and in its cache what it has read of a text: each token once, unless it was a draft and refused."""

    def __init__(self, model: nn.Module, longest: int) -> None:
        self.model, self.cache = model, model.new_cache(1, longest)
        self.fused = FusedStep.of(model, self.cache)  # passes over one token, where the model has such a step

    def __call__(self, text: list[int], keep: int = 1) -> Tensor:
        """Scores (keep, V) of what follows each of the text's last `keep` tokens; only those may be new in it."""
        self.cache.crop(min(self.cache.length, len(text) - keep))  # what was read there was refused
        unread = text[self.cache.length :]
        with torch.inference_mode(), Evaluating(self.model):
            if self.fused is not None and keep == 1 and len(unread) <= 2:  # two: all drafts were kept
                return [self.fused(token) for token in unread][-1]
            ids = torch.tensor([unread], device=self.model.device)
            return self.model(ids, cache=self.cache, logits_to_keep=keep).logits[0]


def probabilities(scores: Tensor, params: SamplingParams, row: Row) -> Tensor:
    """The distribution (V,) that `generate` draws the row's next token from; scores (V,): the model's.

    Greedy: all of it on one token. ValueError where the scores hold NaN or infinity.
    """
    scores = held_back(scores[None], params, [row], len(row.stop.new)).float()
    scores = process_logits(scores, params, *texts_so_far(params, [row], scores.device))[0]
    if not torch.isfinite(scores.max()):  # NaN is the largest of all to max
        raise ValueError("the model's scores hold NaN or infinity, or only -infinity: no token can be chosen")
    if params.temperature == 0:
        return F.one_hot(scores.argmax(), len(scores)).float()
    return scores.softmax(dim=-1)


def drawn(p: Tensor, params: SamplingParams, generator: torch.Generator) -> int:
    """A token of the distribution p (V,)."""
    if params.temperature == 0:
        return int(p.argmax())
    return int(race(p, torch.empty_like(p).exponential_(generator=generator)))
