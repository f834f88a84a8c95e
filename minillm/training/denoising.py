"""BART's noise: damage the text in any way, and ask for the whole text back.

    text                  A B C . D E .       (a letter is a token)
    token masking         A _ C . D _ .       single tokens become [MASK]
    token deletion        A C . D .           single tokens go; where, the model must find out
    text infilling        A _ . D _ E .       a span becomes one [MASK]; its length is Poisson(3), 0 too: a [MASK] more
    sentence permutation  D E . A B C .       sentences in another order
    document rotation     C . D E . A B       the text begins at any token; the model finds the true start

The decoder writes all of the text, not only what is missing. The paper's best recipe is infilling of 30 % of the tokens
after sentence permutation.

Book: 2.7.3 BART, 2.8 주요 사전 학습 메커니즘. Paper: Lewis et al. 2020, section 2.2. Held against: expected counts, and
properties that hold for every draw. Unlike the authors' code, infilling never makes a text longer, and two spans may
lie side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from minillm._checks import check_function, check_int, check_number, describe, is_listing
from minillm.training.noise import check_generator, check_ids, id_list, runs_between

Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def mask_tokens(
    ids: np.ndarray, generator: np.random.Generator, mask_id: int, rate: float = 0.15
) -> np.ndarray:
    """ids (T,) with each token a mask with probability `rate`. ValueError for a rate outside 0 to 1."""
    ids = check_ids(ids)
    check_generator(generator), check_int("mask_id", mask_id, 0), check_number("rate", rate, 0, 1)
    return np.where(generator.random(len(ids)) < rate, mask_id, ids)


def delete_tokens(ids: np.ndarray, generator: np.random.Generator, rate: float = 0.15) -> np.ndarray:
    """ids (T,) without some of its tokens, each gone with probability `rate`; one stays in any case."""
    ids = check_ids(ids)
    check_generator(generator), check_number("rate", rate, 0, 1)
    draw = generator.random(len(ids))
    return ids[(draw >= rate) | (draw == draw.max(initial=0))]


def infill_text(
    ids: np.ndarray, generator: np.random.Generator, mask_id: int, rate: float = 0.3, mean_span: float = 3.0
) -> np.ndarray:
    """ids (T,) with ceil(rate T) tokens lost in spans of Poisson(mean_span) tokens, each span one mask.

    ValueError for a rate outside 0 to 1, or a mean_span under 0.1: such spans lose nothing, and it would not end.
    """
    ids = check_ids(ids)
    check_generator(generator), check_int("mask_id", mask_id, 0)
    check_number("rate", rate, 0, 1), check_number("mean_span", mean_span, 0.1)
    lost = math.ceil(rate * len(ids))
    lengths: list[int] = []
    while (left := lost - sum(lengths)) > 0:
        lengths.append(min(int(generator.poisson(mean_span)), left))
    while len(lengths) > lost:
        lengths.remove(0)  # no more masks than lost tokens
    # spans and the tokens that stay, in any order: -1 is a token that stays
    steps = np.full(len(ids) - lost + len(lengths), -1)
    steps[generator.permutation(len(steps))[: len(lengths)]] = lengths
    out, place = [], 0
    for step in steps:
        out.append(ids[place] if step < 0 else mask_id)
        place += 1 if step < 0 else step
    return np.array(out, dtype=np.int64)


def permute_sentences(
    ids: np.ndarray, generator: np.random.Generator, sentence_end_ids: np.ndarray
) -> np.ndarray:
    """ids (T,) with its sentences in any order; one ends with an id of `sentence_end_ids`, or a row of them."""
    ids = check_ids(ids)
    check_generator(generator), check_ids(np.atleast_1d(sentence_end_ids), "sentence_end_ids")
    ends = np.isin(ids, sentence_end_ids)
    sentences = np.split(ids, np.flatnonzero(ends[:-1] & ~ends[1:]) + 1)
    return np.concatenate([sentences[place] for place in generator.permutation(len(sentences))])


def rotate_document(ids: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """ids (T,) from any of its tokens on, then those before it."""
    ids = check_ids(ids)
    check_generator(generator)
    return np.roll(ids, generator.integers(max(len(ids), 1)))


class BARTNoise:
    """Some kinds of damage, one after the other; the labels are the text as it was.

    `steps`: functions (ids, generator) -> ids, such as `partial(delete_tokens, rate=0.2)`; by default the paper's
    recipe, `permute_sentences` and then `infill_text`. `special_ids` stay where they are; texts that they part are
    damaged one by one. `rate`, `mean_span`: of the infilling. ValueError for settings out of range.
    """

    adds = 0

    def __init__(
        self,
        mask_id: int,
        sentence_end_ids: Iterable[int] = (),
        special_ids: Iterable[int] = (),
        rate: float = 0.3,
        mean_span: float = 3.0,
        steps: Iterable[Damage] | None = None,
    ) -> None:
        self.mask_id = check_int("mask_id", mask_id, 0)
        rate, mean_span = check_number("rate", rate, 0, 1), check_number("mean_span", mean_span, 1)
        if steps is None:
            ends = id_list("sentence_end_ids", sentence_end_ids)
            steps = (
                partial(permute_sentences, sentence_end_ids=ends),
                partial(infill_text, mask_id=mask_id, rate=rate, mean_span=mean_span),
            )
        if not is_listing(steps):
            raise ValueError(f"steps must be functions of (ids, generator), got {describe(steps)}")
        self.steps = tuple(check_function("a step", step) for step in steps)
        if None in self.steps:
            raise ValueError("steps must be functions of (ids, generator), got None among them")
        self.special_ids = id_list("special_ids", special_ids)
        self.largest_id = int(np.append(self.special_ids, mask_id).max())

    def __call__(self, ids: Any, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """ids (T,) -> (input_ids (S,), labels (T,)), int64; S is at most T."""
        check_generator(generator)
        ids = check_ids(ids)
        parts = [np.zeros(0, dtype=np.int64)]
        for special, run in runs_between(ids, self.special_ids):
            for step in () if special else self.steps:
                run = step(run, generator)
            parts.append(run)
        return np.concatenate(parts), ids
