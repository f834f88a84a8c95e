"""T5's span corruption: short stretches of the text leave it, each for one sentinel; the answer lists them.

    text      Thank you  for  inviting me to your party last    week
    inputs    Thank you  <0>  me to your party        <1>       week
    targets   <0> for inviting  <1> last

Of L tokens N = round(0.15 L) are lost, in S = round(N / 3) spans (each at least 1): inputs have L - N + S tokens,
targets N + S. Lengths of lost and of kept stretches are drawn apart, all divisions equally likely; the text begins with
a kept one and so ends with a lost one. Inputs and targets together hold the whole text: `restore_spans` joins them.

Book: 2.8 주요 사전 학습 메커니즘, 2.7.3 BART, T5. Paper: Raffel et al. 2020, section 3.1.4 (whose figure closes the
targets with one more sentinel; the authors' code, which this follows, does not).
Held against: the closed form of the lengths above, and the inverse.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minillm._checks import check_int, check_number, describe
from minillm.training.batches import id_array
from minillm.training.noise import check_generator, check_ids, id_list, runs_between


def random_lengths(total: int, parts: int, generator: np.random.Generator) -> np.ndarray:
    """`parts` whole numbers of at least 1 that add up to `total`, all such rows equally likely.

    ValueError for more parts than `total`, or none.
    """
    check_generator(generator), check_int("total", total, 1), check_int("parts", parts, 1, total)
    cuts = 1 + np.sort(generator.choice(total - 1, parts - 1, replace=False))
    return np.diff(np.concatenate([[0], cuts, [total]]))


def span_mask(
    length: int, generator: np.random.Generator, density: float = 0.15, mean_span: float = 3.0
) -> np.ndarray:
    """Which of `length` tokens are lost, bool (length,): N of them in S spans, as above; none of a text under 2.

    density: the share that is lost, 0 to 1, but one token at least. mean_span: at least 1. ValueError for others.
    """
    check_generator(generator), check_int("length", length, 0)
    check_number("density", density, 0, 1), check_number("mean_span", mean_span, 1)
    if length < 2:
        return np.zeros(length, dtype=bool)
    lost = min(max(round(length * density), 1), length - 1)
    spans = min(max(round(lost / mean_span), 1), length - lost)
    kept_lengths = random_lengths(length - lost, spans, generator)
    lost_lengths = random_lengths(lost, spans, generator)
    # kept, lost, kept, lost, ...
    turns = np.stack([kept_lengths, lost_lengths], axis=1).flatten()
    return np.repeat(np.arange(2 * spans) % 2 == 1, turns)


def corrupt_spans(
    ids: np.ndarray, mask: np.ndarray, sentinel_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, targets) of ids (T,) with the spans of `mask` (T,) bool taken out; sentinels in their order.

    ValueError for a mask of another length or dtype, ids among which is a sentinel, and more spans than sentinels.
    """
    ids, mask = check_ids(ids), _check_mask(ids, mask)
    _check_apart(ids, check_ids(sentinel_ids, "sentinel_ids"))
    starts = mask & ~np.append(False, mask[:-1])[: len(mask)]  # the first token of each span
    spans = starts.sum()
    if spans > len(sentinel_ids):
        raise ValueError(
            f"a text of {len(ids)} ids has {spans} spans, more than {len(sentinel_ids)} sentinels"
        )
    inputs = ids.copy()
    inputs[starts] = sentinel_ids[:spans]
    targets = np.insert(ids[mask], np.flatnonzero(starts[mask]), sentinel_ids[:spans])
    return inputs[starts | ~mask], targets


def _check_mask(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.shape != (len(ids),) or (mask.size and mask.dtype != bool):
        raise ValueError(f"mask must be bool of the shape {(len(ids),)} of the ids, got {describe(mask)}")
    return mask.astype(bool)


def _check_apart(ids: np.ndarray, sentinel_ids: np.ndarray) -> None:
    if (strange := np.isin(ids, sentinel_ids)).any():
        raise ValueError(f"a text must not hold sentinels, got {ids[strange][0]}")


def restore_spans(inputs: Any, targets: Any, sentinel_ids: Iterable[int]) -> np.ndarray:
    """The text (T,) that `corrupt_spans` took apart: each sentinel of the inputs gives way to its span.

    A closing sentinel in the targets is allowed, as in the paper's figure. ValueError for targets that do not begin
    with a sentinel, or that do not have just the sentinels of the inputs, in their order.
    """
    inputs, targets = id_array("inputs", inputs), id_array("targets", targets)
    sentinels = id_list("sentinel_ids", sentinel_ids)
    holes = np.flatnonzero(np.isin(inputs, sentinels))
    heads = np.flatnonzero(np.isin(targets, sentinels))
    if len(heads) == len(holes) + 1 and heads[-1] == len(targets) - 1:
        heads, targets = heads[:-1], targets[:-1]
    asked, answered = inputs[holes].tolist(), targets[heads].tolist()
    if asked != answered or (len(targets) and (not len(heads) or heads[0] != 0)):
        raise ValueError(
            f"targets must answer the sentinels {asked} one after the other, got {targets.tolist()}"
        )
    spans = [span[1:] for span in np.split(targets, heads)[1:]]  # without their sentinels
    pieces = np.split(inputs, holes)  # from the second on each begins with a sentinel
    rest = [part for span, piece in zip(spans, pieces[1:]) for part in (span, piece[1:])]
    return np.concatenate([pieces[0], *rest])


class SpanCorruption:
    """T5's noise. `sentinel_ids`: of <extra_id_0>, <extra_id_1>, ... in this order.

    `eos_id` closes inputs and targets (a text that ends with it already keeps the one it has). It and `special_ids`
    are never lost; texts that a special id parts are damaged one by one. ValueError for settings out of range, a text
    that holds a sentinel, or one with more spans than sentinels.
    """

    def __init__(
        self,
        sentinel_ids: Iterable[int],
        eos_id: int | None = None,
        special_ids: Iterable[int] = (),
        density: float = 0.15,
        mean_span: float = 3.0,
    ) -> None:
        self.sentinel_ids = id_list("sentinel_ids", sentinel_ids)
        if not len(self.sentinel_ids) or len(set(self.sentinel_ids.tolist())) < len(self.sentinel_ids):
            raise ValueError(f"sentinel_ids must be different ids, got {self.sentinel_ids.tolist()}")
        self.eos_id = None if eos_id is None else check_int("eos_id", eos_id, 0)
        closing = [] if eos_id is None else [eos_id]
        self.special_ids = np.append(id_list("special_ids", special_ids), closing).astype(np.int64)
        self.density = check_number("density", density, 0, 1)
        self.mean_span = check_number("mean_span", mean_span, 1)
        self.adds = len(closing)
        self.largest_id = int(np.concatenate([self.sentinel_ids, self.special_ids]).max())

    def __call__(self, ids: Any, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """ids (T,) -> (input_ids, labels), int64, of lengths that follow from T."""
        check_generator(generator)
        ids = check_ids(ids)
        _check_apart(ids, self.sentinel_ids)
        parts = [
            np.zeros(len(run), dtype=bool)
            if special
            else span_mask(len(run), generator, self.density, self.mean_span)
            for special, run in runs_between(ids, self.special_ids)
        ]
        inputs, targets = corrupt_spans(
            ids, np.concatenate([*parts, np.zeros(0, dtype=bool)]), self.sentinel_ids
        )
        if self.eos_id is None:
            return inputs, targets
        closed = len(inputs) > 0 and inputs[-1] == self.eos_id
        return inputs if closed else np.append(inputs, self.eos_id), np.append(targets, self.eos_id)

    def restore(self, input_ids: Any, labels: Any) -> np.ndarray:
        """The text (T,) behind what this noise made of it, closed by `eos_id`. ValueError as in `restore_spans`."""
        labels = id_array("labels", labels)
        if self.eos_id is not None and len(labels) and labels[-1] == self.eos_id:
            labels = labels[:-1]
        return restore_spans(input_ids, labels, self.sentinel_ids)
