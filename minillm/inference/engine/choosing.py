"""The next tokens of many texts at once: the sampler, rules and beams of `generate`, text by text.

Texts with the same settings draw in one call, each by a generator of its own. A text with drafts draws as long as what
it draws is what was drafted (drafts.py): place by place, all texts that are still at it together. Nothing here changes
a request: what is chosen is applied when everything of the step has been chosen (writing.py).
Book 7.1.1 언어 모델이 언어를 생성하는 방법. Held against `generate_batch`, request by request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from minillm.inference.beams import _candidates
from minillm.inference.engine.request import Request
from minillm.inference.engine.request import Sequence as Text
from minillm.inference.loop import Row, held_back, logprobs_of, texts_so_far
from minillm.inference.params import SamplingParams
from minillm.inference.sampling import sample_rows

Choice = Any  # a list of new tokens for each sequence; of beams: what `_candidates` gives


def choose(logits: Mapping[Request, list[Tensor]], drafts: Mapping[Text, list[int]]) -> dict[Request, Choice]:
    """For each request what comes next, from the logits (1 + drafts, V) of each of its sequences.

    ValueError where the scores hold NaN or infinity; the generators are then as they were.
    """
    chosen: dict[Request, Choice] = {}
    writers: list[Writer] = []
    for request, scores in logits.items():
        if request.params.beams > 1:
            continue
        texts = zip(request.sequences, scores) if request.split else [(request.sequences[0], scores[0])]
        mine = [
            Writer(row, request.alike, of_places, drafts.get(text, []))
            for text, of_places in texts
            for row in ([text.row] if request.split else request.rows)
        ]
        chosen[request] = [writer.tokens for writer in mine]
        writers += mine
    before = [(w.row.generator, w.row.generator.get_state()) for w in writers if w.params.temperature]
    try:
        while writers:
            draw(writers)
            writers = [writer for writer in writers if writer.goes_on]
        for request, scores in logits.items():
            if request.params.beams > 1:
                rows = [sequence.row for sequence in request.sequences]
                step = len(rows[0].stop.new) + 1
                chosen[request] = _candidates(torch.cat(scores), rows, request.params, step)
    except BaseException:
        for generator, state in before:
            generator.set_state(state)
        raise
    return chosen


class Writer:
    """A text that takes its next tokens. row: itself, or where there are drafts one that goes on in its place.

    logits: (1 + drafts, V), of the place of each token that may be drawn.
    """

    def __init__(self, row: Row, params: SamplingParams, logits: Tensor, drafts: Sequence[int] = ()) -> None:
        self.row = row.fork() if drafts else row
        self.params, self.logits, self.drafts = params, logits, drafts
        self.tokens: list[int] = []

    @property
    def place(self) -> Tensor:
        """The logits (1, V) of the next token."""
        at = len(self.tokens)
        return self.logits[at : at + 1] if self.drafts else self.logits

    @property
    def goes_on(self) -> bool:
        """Whether the newest token is the one that was drafted, so that the next place's logits are of this text."""
        at = len(self.tokens) - 1
        if at == len(self.drafts) or self.tokens[at] != self.drafts[at]:
            return False
        return not self.row.stop(self.tokens[at])


def draw(writers: Sequence[Writer]) -> None:
    """One token more for each: those with the same settings in one call."""
    groups: dict[Any, list[Writer]] = {}
    for writer in writers:
        groups.setdefault(_alike(writer), []).append(writer)
    for group in groups.values():
        tokens = next_tokens(
            [writer.row for writer in group],
            torch.cat([writer.place for writer in group]),
            group[0].params,
        )
        for writer, token in zip(group, tokens):
            writer.tokens.append(token)


def _alike(writer: Writer) -> Any:
    """Texts of which this is equal can be drawn together."""
    params, stop = writer.params, writer.row.stop
    # penalties count new tokens, the same number in every row; end tokens of a text are held back with its like's
    counted = len(stop.new) if params.frequency_penalty or params.presence_penalty else 0
    ends = stop.end_ids if len(stop.new) < params.min_tokens else None
    return id(params), counted, ends


def next_tokens(rows: Sequence[Row], scores: Tensor, params: SamplingParams) -> list[int]:
    """A token for each row, from the model's scores (B, V), as `generate` draws it."""
    scores = held_back(scores, params, rows, len(rows[0].stop.new))
    seen, new = texts_so_far(params, rows, scores.device)
    return sample_rows(scores, params, [row.generator for row in rows], seen, new).tolist()


def check_tokens(choices: Mapping[Request, Choice], size: int | None) -> None:
    """ValueError for a token that a tokenizer of `size` tokens does not have; None: no tokenizer."""
    drawn = (choice for request, choice in choices.items() if request.params.beams == 1)
    highest = max((token for choice in drawn for tokens in choice for token in tokens), default=0)
    if size is not None and highest >= size:
        raise ValueError(
            f"the model chose token {highest}, and the tokenizer has {size:,}: they do not belong together"
        )


def reported(choices: Mapping[Request, Choice], logits: Mapping[Request, list[Tensor]]) -> dict[Request, Any]:
    """For each sequence and token {id: log probability}: what was asked for, or tells the best of those drawn."""
    return {
        request: [
            [
                logprobs_of(of_place, token, request.params.logprobs or 0)
                for of_place, token in zip(scores, tokens)
            ]
            for scores, tokens in zip(
                logits[request] if request.split else logits[request] * len(choice), choice
            )
        ]
        for request, choice in choices.items()
        if request.params.beams == 1
        and (request.params.logprobs is not None or request.params.best_of is not None)
    }
