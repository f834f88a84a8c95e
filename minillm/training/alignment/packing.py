"""Packing: several short examples side by side in one row, and none of them sees another.

    documents   1 1 1 1 2 2 2 3 3 0 0          which example a token belongs to; 0 is padding
    positions   0 1 2 3 0 1 2 0 1 0 1          they begin anew with each example
    mask        t may see s  if  documents[t] = documents[s] and s <= t

Without that mask a token would read the answers of strangers. With it every token has the logits that it has alone: a
packed row is the same sum of losses with less padding. Rows are filled by best fit: the longest example first, each
into the fullest row that still has room.

Book: 4.1.2 연습문제 풀어보기: 지도 미세 조정. Papers: Krell et al. 2021 (packing), Johnson 1973 (best fit).
Held against: the same examples unpacked; trl's pack_dataset.
Leaves out: cutting an example in two; attention that skips strangers (FlashAttention's varlen) in place of a mask.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minillm._checks import check_int, describe, is_listing
from minillm.training.alignment.logprobs import IGNORED
from minillm.training.batches import Batch, ExampleSet
from minillm.training.linear_cross_entropy import linear_cross_entropy
from minillm.training.objectives import CausalLMObjective, Outcome, token_loss

SHARED_PROMPT = "shared_documents"  # documents of a row whose examples share a prompt (shared_prompt.py)


def best_fit(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Which examples share a row: lists of their numbers, every example once, no row longer than `room`.

    Longest first, each into the row that it leaves the least room in. ValueError for lengths outside 1 ... `room`.
    """
    check_lengths(lengths, room)
    rows: list[list[int]] = []
    left: list[tuple[int, int]] = []  # (room left, number of the row), sorted
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        at = bisect.bisect_left(left, (lengths[i], -1))  # the fullest row with room for it
        free, row = left.pop(at) if at < len(left) else (room, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(i)
        bisect.insort(left, (free - lengths[i], row))
    return rows


def check_lengths(lengths: Any, room: int) -> None:
    """ValueError for what is no list of whole numbers from 1 to `room`."""
    check_int("room", room, 1)
    if not hasattr(lengths, "__len__") or not is_listing(lengths) or isinstance(lengths, (Mapping, set)):
        raise ValueError(f"lengths must be a list of whole numbers, got {describe(lengths)}")
    for i, one in enumerate(lengths):
        check_int(f"length {i}", one, 1)
        if one > room:
            raise ValueError(f"example {i} has {one} ids, a row has room for {room}")


def check_documents(documents: Any) -> None:
    """ValueError for what has no (B, T)."""
    if getattr(documents, "ndim", None) != 2:
        raise ValueError(f"documents must be a tensor (B, T), got {describe(documents)}")


def positions_within(documents: Tensor) -> Tensor:
    """How far each token stands from the start of its example: documents (B, T) -> int64 (B, T).

    [[1, 1, 1, 2, 2]] -> [[0, 1, 2, 0, 1]]
    """
    check_documents(documents)
    places = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)  # (B, T)
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return places - torch.where(begins, places, 0).cummax(dim=1).values


def document_mask(documents: Tensor) -> Tensor:
    """Bool (B, 1, T, T): True where two tokens are of the same example. The model itself hides what comes later.

    documents: int64 (B, T). Padding, document 0, sees padding, and nobody learns from what it sees. The mask has a byte
    for each pair of tokens: 64 MiB for a row of 8,192, 1 GiB for one of 32,768.
    """
    check_documents(documents)
    return (documents[:, :, None] == documents[:, None, :])[:, None]


class PackedSet(ExampleSet):
    """Examples packed into rows of at most `length` ids, to be learned with an SFTObjective.

    examples: as ExampleSet's. A run with context_length L takes rows of L + 1 ids at most. The first id of each example
    is no target: nothing of its own stands before it. Batches have `documents` (B, L), 0 in the padding, unless all of
    their rows hold one example: those need no mask of pairs. ValueError as ExampleSet, and for one above `length`.
    """

    def __init__(self, examples: Any, length: int, pad_id: int = 0) -> None:
        super().__init__(examples, pad_id)
        alone = self.rows
        self.packs = best_fit([len(ids) for ids, _ in alone], check_int("length", length, 2))
        self.rows, self.documents = [], []
        for pack in self.packs:
            labels = [np.concatenate([[IGNORED], alone[i][1][1:]]) for i in pack]
            self.rows.append((np.concatenate([alone[i][0] for i in pack]), np.concatenate(labels)))
            self.documents.append(np.repeat(np.arange(1, len(pack) + 1), [len(alone[i][0]) for i in pack]))
        self.lengths = np.array([len(ids) for ids, _ in self.rows])

    def _padded(self, chosen: Sequence[int]) -> Batch:
        batch = super()._padded(chosen)
        if all(len(self.packs[i]) == 1 for i in chosen):
            return batch
        documents = torch.zeros_like(batch["input_ids"])
        for row, i in enumerate(chosen):
            documents[row, : len(self.documents[i])] = torch.from_numpy(self.documents[i])
        return batch | {"documents": documents}


class SFTObjective(CausalLMObjective):
    """Predict the labelled tokens, the answers, in rows of one example or of several.

    A batch of a PackedSet has `documents` (B, L): each example then sees itself alone, from position 0 on. The loss is
    the mean over all answer tokens of an update: a long answer weighs more than a short one, as in trl.

    On a CPU, where the head itself does not learn (LoRA), and in a fused objective, it is applied to answer tokens
    alone. ValueError as CausalLMObjective.
    """

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """As CausalLMObjective's."""
        head, labels = getattr(model, "head", None), batch.get("labels")
        alone = isinstance(head, nn.Linear) and (self.fused or not head.weight.requires_grad)
        here = isinstance(labels, Tensor) and labels.device.type == "cpu"  # a GPU's are not counted
        fits = here and labels.ndim == 2 and labels.shape[1] > 1 and labels.shape == batch["input_ids"].shape
        if predict or not alone or not fits or not hasattr(model, "body"):
            return super().__call__(model, batch, predict)
        targets = labels[:, 1:]
        counted = targets != self.ignore_index
        hidden = model.body(**self.inputs(batch)).last_hidden_state[counted]  # (N, C)
        rest = targets[counted], self.ignore_index, self.label_smoothing
        if self.fused:
            loss = linear_cross_entropy(hidden, head.weight, rest[0], head.bias, *rest[1:])
        else:
            loss = token_loss(head(hidden), *rest)
        return Outcome(loss, None, targets)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the model reads."""
        check_packed(batch)
        documents = batch.get("documents")
        if documents is None:
            return super().inputs(batch)
        documents = documents[:, :-1]
        return {
            "input_ids": batch["input_ids"][:, :-1],
            "attention_mask": document_mask(documents),
            "position_ids": positions_within(documents),
        }


def check_packed(batch: Mapping[str, Tensor]) -> None:
    """ValueError for a row whose examples share a prompt: as plain text each would see the others."""
    if SHARED_PROMPT in batch:
        raise ValueError("a SharedPromptSet's batches are learned with a SharedPromptObjective")


def packed_share(lengths: Any, room: int) -> tuple[float, float]:
    """(share of padding in rows of one example each, the same packed), both in rows as wide as the longest."""
    lengths = list(lengths) if is_listing(lengths) and not isinstance(lengths, Mapping) else []
    packs, lengths = best_fit(lengths, room), [int(one) for one in lengths]
    if not packs:
        raise ValueError("lengths must hold at least one length, got none")
    used, wide = sum(lengths), max(sum(lengths[i] for i in pack) for pack in packs)
    return 1 - used / (len(lengths) * max(lengths)), 1 - used / (len(packs) * wide)
