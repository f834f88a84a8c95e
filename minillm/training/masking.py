"""Masked language modelling: hide 15 % of the tokens, and ask for them.

    of the chosen tokens      80 % become [MASK]     the hole
                              10 % become any id     so that no token can be trusted because it is no [MASK]
                              10 % stay as they are  so that a token may also be right
    labels                    the lost id where a token was chosen, -100 everywhere else

Without the second and third line a model may learn to work only where it sees a [MASK]; a text that is used later
has none.

Book: 2.8.2 마스크 언어 모델링. Paper: Devlin et al. 2019 (BERT), section 3.1 and appendix C.2.
Held against: transformers' DataCollatorForLanguageModeling, whole words too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minillm._checks import check_int, check_number, describe
from minillm.training.noise import check_generator, check_ids, id_list


def place_masks(
    ids: np.ndarray,
    chosen: np.ndarray,
    kind: np.ndarray,
    words: np.ndarray,
    mask_id: int,
    mask_share: float = 0.8,
    random_share: float = 0.1,
) -> tuple[np.ndarray, np.ndarray]:
    """(input_ids, labels) from what was drawn; all arrays of one shape.

    chosen: bool, the tokens to ask for. kind: in [0, 1), which of the three things happens to each. words: the ids
    that stand in for a token of the second kind. ValueError for arrays of several shapes, `chosen` that is not bool,
    or shares that are no shares.
    """
    _check_drawn(ids, chosen, kind, words)
    check_number("mask_share", mask_share, 0, 1)
    check_number("random_share", random_share, 0, round(1 - mask_share, 9))
    masked = chosen & (kind < mask_share)
    random = chosen & (kind >= mask_share) & (kind < mask_share + random_share)
    inputs = np.where(masked, mask_id, np.where(random, words, ids))
    labels = np.where(chosen, ids, -100)
    return inputs, labels


def _check_drawn(ids: np.ndarray, chosen: np.ndarray, kind: np.ndarray, words: np.ndarray) -> None:
    for name, one in {"ids": ids, "chosen": chosen, "kind": kind, "words": words}.items():
        if np.shape(one) != np.shape(ids):
            raise ValueError(f"{name} must have the shape {np.shape(ids)} of the ids, got {np.shape(one)}")
    if np.asarray(chosen).dtype != bool:
        raise ValueError(f"chosen must be bool, got {describe(chosen)}")


class MaskedLMNoise:
    """BERT's noise for ids below `vocab_size`; a token is chosen with probability `rate`, each by itself.

    `special_ids` ([CLS], [SEP], padding, ...) and `mask_id` are never chosen. Random words come from the whole
    vocabulary, as in the peer. `word_start_ids`: the ids that begin a word; with them whole words are chosen.
    ValueError for settings out of range.
    """

    adds = 0

    def __init__(
        self,
        mask_id: int,
        vocab_size: int,
        special_ids: Iterable[int] = (),
        rate: float = 0.15,
        mask_share: float = 0.8,
        random_share: float = 0.1,
        word_start_ids: Iterable[int] | None = None,
    ) -> None:
        self.vocab_size = check_int("vocab_size", vocab_size, 1)
        self.mask_id = check_int("mask_id", mask_id, 0, vocab_size - 1)
        self.special_ids = np.append(id_list("special_ids", special_ids), mask_id)
        self.rate = check_number("rate", rate, 0, 1)
        self.mask_share = check_number("mask_share", mask_share, 0, 1)
        self.random_share = check_number("random_share", random_share, 0, round(1 - mask_share, 9))
        self.word_start_ids = None if word_start_ids is None else id_list("word_start_ids", word_start_ids)
        self.largest_id = vocab_size - 1

    def __call__(self, ids: Any, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """ids (T,) -> (input_ids (T,), labels (T,)), int64 both."""
        check_generator(generator)
        ids = check_ids(ids)
        chosen = self._chosen(ids, generator)
        kind, words = generator.random(len(ids)), generator.integers(self.vocab_size, size=len(ids))
        return place_masks(ids, chosen, kind, words, self.mask_id, self.mask_share, self.random_share)

    def _chosen(self, ids: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Which tokens to ask for, bool (T,)."""
        special = np.isin(ids, self.special_ids)
        draw = generator.random(len(ids))
        if self.word_start_ids is not None:
            starts = np.isin(ids, self.word_start_ids) | np.append(True, special[:-1])[: len(ids)]
            # every token of a word takes the draw of its first one
            draw = draw[np.maximum.accumulate(np.where(starts, np.arange(len(ids)), 0))]
        return (draw < self.rate) & ~special
