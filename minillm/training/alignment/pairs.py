"""Pairs of answers to one prompt, of which people preferred the first: what reward models and DPO learn from.

    {"prompt_ids": [...], "chosen_ids": [...], "rejected_ids": [...]}   ->   a batch with a row for each pair

        chosen_input_ids, chosen_labels, chosen_attention_mask         (B, T)     prompt and better answer
        rejected_input_ids, rejected_labels, rejected_attention_mask   (B, T')    prompt and worse answer
        labels                                                         (B,)       0: the first of both is the better one

Labels are -100 in the prompt and in the padding. Further columns of one number a pair (a margin, what a reference model
finds) go along under their names.

Book: 4.2.1 선호 데이터셋을 사용한 채점 모델 만들기, 4.3.2 DPO: 선호 데이터셋을 직접 학습하기.
Held against: trl's collators of preference pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minillm._checks import check_int, describe, is_listing
from minillm.nn.modes import Evaluating
from minillm.training.alignment.chat_examples import chat_example
from minillm.training.alignment.logprobs import IGNORED, sequence_logprobs
from minillm.training.batches import Batch, ExampleSet, id_array

SIDES = ("chosen", "rejected")


def answer_example(prompt: Sequence[int], answer: Sequence[int]) -> dict[str, list[int]]:
    """Prompt and answer as one example, of which the answer is learned: [5, 6], [7] -> labels [-100, -100, 7]."""
    return {"input_ids": [*prompt, *answer], "labels": [IGNORED] * len(prompt) + [*answer]}


class PreferenceSet:
    """Pairs as a source of batches for the Trainer.

    pairs: dicts of prompt_ids, chosen_ids, rejected_ids (lists of ids, none of them empty), or of chosen and rejected,
    two examples as chat_example gives them; `margin` (a number) may stand in all of them. Pairs are dealt and padded
    as ExampleSet deals its examples. ValueError for anything else, naming the pair.
    """

    def __init__(self, pairs: Any, pad_id: int = 0) -> None:
        self.pad_id = check_int("pad_id", pad_id, 0)
        pairs = list(pairs) if is_listing(pairs) and not isinstance(pairs, Mapping) else []
        if not pairs:
            raise ValueError(f"pairs must be a non-empty list of dicts, got {describe(pairs)}")
        read = [_two_examples(number, pair) for number, pair in enumerate(pairs)]
        self.sides = {
            side: ExampleSet([one[place] for one in read], pad_id) for place, side in enumerate(SIDES)
        }
        for side, examples in self.sides.items():
            for number, (_, labels) in enumerate(examples.rows):
                if (labels[1:] == IGNORED).all():
                    raise ValueError(
                        f"{side} of pair {number} has no label: no token of an answer is left in it"
                    )
        self.columns: dict[str, Tensor] = {}
        margins = [pair.get("margin") for pair in pairs]
        if any(one is not None for one in margins):
            self.columns["margin"] = _numbers("margin", margins)

    def __len__(self) -> int:
        return len(self.sides["chosen"])

    @property
    def largest_id(self) -> int:
        """Of all answers and prompts."""
        return max(one.largest_id for one in self.sides.values())

    def check(self, context_length: int) -> None:
        """ValueError if a prompt and an answer are longer than `context_length` ids and the id after them."""
        for side, one in self.sides.items():
            try:
                one.check(context_length)
            except ValueError as error:
                raise ValueError(f"{side}: {error}") from None

    def batch(self, seed: int, step: int, rows: int, context_length: int) -> Batch:
        """`rows` pairs; an epoch deals each pair once."""
        self.check(context_length)
        places = range(step * rows, (step + 1) * rows)
        orders = {epoch: np.random.default_rng([seed, epoch]).permutation(len(self))
                  for epoch in {place // len(self) for place in places}}  # fmt: skip
        return self.rows([int(orders[place // len(self)][place % len(self)]) for place in places])

    def eval_batches(self, rows: int, context_length: int, limit: int | None = None) -> Iterator[Batch]:
        """All pairs in order, in batches of at most `rows`; at most `limit` batches, spread evenly."""
        self.check(context_length)
        places = np.arange(len(self))
        if limit is not None and limit * rows < len(places):
            places = places[np.linspace(0, len(places) - 1, limit * rows).round().astype(np.int64)]
        for start in range(0, len(places), rows):
            yield self.rows(places[start : start + rows].tolist())

    def rows(self, places: Sequence[int]) -> Batch:
        """The pairs at these places as a batch."""
        batch = {
            f"{side}_{name}": tensor
            for side, one in self.sides.items()
            for name, tensor in one._padded(places).items()
        }
        columns = {name: column[list(places)] for name, column in self.columns.items()}
        return batch | columns | {"labels": torch.zeros(len(places), dtype=torch.int64)}

    def with_reference(self, model: Any, rows: int = 16) -> PreferenceSet:
        """The same pairs with what `model` finds of both answers, log probabilities (N,), as two columns.

        They are computed once, without gradients and without dropout: DPO then needs no second model in memory.
        """
        same = object.__new__(PreferenceSet)
        same.pad_id, same.sides = self.pad_id, self.sides
        found: dict[str, list[Tensor]] = {side: [] for side in SIDES}
        with torch.no_grad(), Evaluating(model):
            for start in range(0, len(self), rows):
                batch = self.rows(range(start, min(start + rows, len(self))))
                for side, logprobs in zip(SIDES, pair_logprobs(model, batch)):
                    found[side].append(logprobs.cpu())
        same.columns = self.columns | {f"reference_{side}": torch.cat(found[side]) for side in SIDES}
        return same


def pair_logprobs(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(log p of the better answers (B,), of the worse ones (B,)) of a batch of a PreferenceSet."""
    check_pairs(batch)
    device = next(model.parameters()).device
    both = []
    for side in SIDES:
        names = (f"{side}_input_ids", f"{side}_labels", f"{side}_attention_mask")
        both.append(sequence_logprobs(model, *(batch[name].to(device) for name in names)))
    return both[0], both[1]


def check_pairs(batch: Any) -> None:
    """ValueError for what is no batch of a PreferenceSet."""
    names = [f"{side}_{name}" for side in SIDES for name in ("input_ids", "labels", "attention_mask")]
    if not isinstance(batch, Mapping) or not set(names) <= set(batch):
        came = sorted(batch) if isinstance(batch, Mapping) else describe(batch)
        raise ValueError(f"a batch of pairs must have {', '.join(names)}, got {came}")


def ranked_right(margins: np.ndarray) -> np.ndarray:
    """1 where the better answer is ahead, 0.5 where both are level, 0 where the worse one is: (N,) -> (N,)."""
    return (margins > 0) + 0.5 * (margins == 0)


def preference_pair(
    tokenizer: Any, prompt: Any, chosen: Any, rejected: Any, **template: Any
) -> dict[str, dict[str, list[int]]]:
    """{"chosen": example, "rejected": example} of texts, by the tokenizer's chat template.

    prompt: a text, or messages; chosen, rejected: the answer's text, or messages that follow the prompt's. Only the
    last answer carries loss. ValueError as chat_example.
    """
    for name, one in (("prompt", prompt), ("chosen", chosen), ("rejected", rejected)):
        if not isinstance(one, str) and (not is_listing(one) or isinstance(one, Mapping)):
            raise ValueError(f"{name} must be a text or a list of messages, got {describe(one)}")
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)

    def example(answer: Any) -> dict[str, list[int]]:
        after = [{"role": "assistant", "content": answer}] if isinstance(answer, str) else list(answer)
        return chat_example(tokenizer, [*before, *after], "last", **template)

    return {"chosen": example(chosen), "rejected": example(rejected)}


def _two_examples(number: int, pair: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    what = f"pair {number}"
    if not isinstance(pair, Mapping):
        raise ValueError(f"{what} must be a dict, got {describe(pair)}")
    if all(isinstance(pair.get(side), Mapping) for side in SIDES):
        return pair["chosen"], pair["rejected"]
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    if any(pair.get(name) is None for name in names):
        raise ValueError(
            f"{what} must have {', '.join(names)}, or chosen and rejected examples (preference_pair makes them of "
            f"texts), got {sorted(pair)}"
        )
    prompt, *answers = (id_array(f"{name} of {what}", pair[name]).tolist() for name in names)
    if not prompt or not all(answers):
        raise ValueError(f"prompt and answers of {what} must hold an id each")
    return answer_example(prompt, answers[0]), answer_example(prompt, answers[1])


def _numbers(name: str, values: Sequence[Any]) -> Tensor:
    try:
        found = torch.tensor([float(value) for value in values])
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a number in every pair or in none, got {describe(values)}"
        ) from None
    if not found.isfinite().all():
        raise ValueError(f"{name} must be a finite number in every pair")
    return found
