"""Examples that begin alike: the prompt that all of them share is run once a row, not once an example.

    ids        p p p p a a a b b c c 0      p: a schema of 160 ids; a, b, c: questions, each with its query
    documents  -1-1-1-1 1 1 1 2 2 3 3 0     -1 is what all share, 0 padding
    positions  0 1 2 3 4 5 6 4 5 4 5 4      each example goes on where the prompt ends
    mask       t may see s  if  s <= t and (documents[t] = documents[s] or documents[s] = -1)

No token of the prompt sees an example, so it is the same for all of them, and every token of an example has the logits
that it has alone: the loss and its gradients are those of the examples one by one, for a part of the work. On GeoQuery
(166 of 212 ids are the schema) a row of 11 examples takes a third of their time.

Book: 6.3.2 미세 조정. Paper: Juravsky et al. 2024 (Hydragen: shared prefixes, for inference). Held against: the same
examples one by one. Leaves out: a loss on the shared ids, several prompts in one data set, sliding windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minillm._checks import check_int
from minillm.training.alignment.logprobs import IGNORED
from minillm.training.alignment.packing import (
    SHARED_PROMPT,
    PackedSet,
    SFTObjective,
    document_mask,
    positions_within,
)
from minillm.training.batches import Batch, ExampleSet
from minillm.training.objectives import Outcome

SHARED = -1  # the document of what all examples of a row see


def shared_length(ids: list[np.ndarray], labels: list[np.ndarray]) -> int:
    """How many ids all examples begin with; none of them carries loss, nor is next to one that does, nor the last two.

    The id before the first target stays in its example: the target is predicted from there.
    """
    most = min(len(one) for one in ids) - 2
    for one in labels:
        targets = np.flatnonzero(one[1:] >= 0)  # place of the id before each target
        most = min(most, int(targets[0]) if len(targets) else most)
    if most <= 0:
        return 0
    alike = np.all([one[:most] == ids[0][:most] for one in ids], axis=0)
    return most if alike.all() else int(np.argmin(alike))


class SharedPromptSet(PackedSet):
    """Examples packed into rows of at most `length` ids, after the ids that all begin with, to be learned with a
    SharedPromptObjective.

    examples: as ExampleSet's, with labels -100 over the prompt. `shared`: how many ids stand once a row. Where nothing
    is shared these are a PackedSet's rows. ValueError as PackedSet, with the shared ids counted.
    """

    def __init__(self, examples: Any, length: int, pad_id: int = 0) -> None:
        alone = ExampleSet(examples, pad_id).rows
        ids, labels = ([one[part] for one in alone] for part in (0, 1))
        self.shared = n = shared_length(ids, labels)
        for i, one in enumerate(ids):  # before PackedSet names what is left of it
            if len(one) > check_int("length", length, 2):
                raise ValueError(f"example {i} has {len(one)} ids, a row has room for {length}")
        rest = [{"input_ids": a[n:], "labels": b[n:]} for a, b in zip(ids, labels)]
        super().__init__(rest, length - n, pad_id)
        head = np.full(n, IGNORED)
        self.rows = [
            (np.concatenate([ids[0][:n], row]), np.concatenate([head, labels])) for row, labels in self.rows
        ]
        self.documents = [np.concatenate([np.full(n, SHARED), one]) for one in self.documents]
        self.lengths = self.lengths + n

    def _padded(self, chosen: Sequence[int]) -> Batch:
        batch = super()._padded(chosen)
        if "documents" in batch:  # by PackedSet's mask no example would see the prompt
            batch[SHARED_PROMPT] = batch.pop("documents")
        return batch


class SharedPromptObjective(SFTObjective):
    """An SFTObjective for a SharedPromptSet's batches: each example sees the shared prompt and itself.

    ValueError as SFTObjective, and for a model with a sliding window shorter than a row: its window counts the places
    between an example and the prompt, where strangers stand.
    """

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """As SFTObjective's."""
        windows = getattr(getattr(model, "config", None), "windows", ())
        window = min((one for one in windows if one is not None), default=None)
        width = batch["input_ids"].shape[-1]
        if window is not None and window < width and SHARED_PROMPT in batch:
            raise ValueError(
                f"a prompt cannot be shared in rows of {width} ids by a model whose window is {window}"
            )
        return super().__call__(model, batch, predict)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the model reads."""
        documents = batch.get(SHARED_PROMPT)
        if documents is None:  # rows of one example each
            return super().inputs(batch)
        documents = documents[:, :-1]
        shared = documents == SHARED  # (B, L)
        begin = shared.sum(dim=1, keepdim=True)
        return {
            "input_ids": batch["input_ids"][:, :-1],
            "attention_mask": document_mask(documents) | shared[:, None, None],
            "position_ids": positions_within(documents) + torch.where(shared, 0, begin),
        }
