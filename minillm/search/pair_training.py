"""Pairs of texts for the Trainer: rows of ids, batches in which no text stands twice, and a loss on vectors.

    PairRows[i]   {"anchor": ids, "positive": ids, "negatives": [ids, ...], "label": 1.0}
    collate       anchors (B, T), documents (B + M, S): the B positives first, then all negatives; a mask of each
    PairObjective loss(u of the anchors, v of the first B documents, v of the others)

So a fine-tuning is a run of the house's one Trainer, with its schedule, callbacks, clipping and checkpoints.
Book: 11.3 임베딩 모델 미세 조정하기. Held against: the collator and the losses of sentence_transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import describe
from minillm.data.documents import plain_words
from minillm.search.batches_without_doubles import epoch_of_unique_batches
from minillm.search.pairs import Pair, ScoredPair
from minillm.search.trainable import Trainable
from minillm.training.batches import Batch
from minillm.training.collators import pad
from minillm.training.feed import epoch_order
from minillm.training.gradient_cache import cached_loss
from minillm.training.objectives import Outcome


class PairRows(Sequence):
    """Pairs, or scored pairs, as rows of ids. fronts: what is put in front of anchors and of the other texts.

    Pairs deal their own batches to the Trainer (`epoch_batches`); scored pairs have no wrong answers in a batch, and
    any order does.
    """

    def __init__(self, part: Trainable, pairs: Sequence[Pair | ScoredPair], fronts: tuple[str, str]) -> None:
        self.scored = isinstance(pairs[0], ScoredPair)
        rows = [(one.first, one.second, ()) if self.scored else one for one in pairs]
        # each text once: an answer that stands in many pairs is cut into tokens once
        texts = list(
            dict.fromkeys(
                text
                for anchor, positive, negatives in rows
                for text in (fronts[0] + anchor, *(fronts[1] + one for one in (positive, *negatives)))
            )
        )
        ids = dict(zip(texts, part.tokens(texts)))
        self.rows = [
            {
                "anchor": ids[fronts[0] + anchor],
                "positive": ids[fronts[1] + positive],
                "negatives": [ids[fronts[1] + one] for one in negatives],
                "label": pairs[place].score if self.scored else 1.0,
            }
            for place, (anchor, positive, negatives) in enumerate(rows)
        ]
        self.texts = [
            frozenset(map(plain_words, (anchor, positive, *negatives)))
            for anchor, positive, negatives in rows
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        return self.rows[place]

    def epoch_batches(self, size: int, seed: int, epoch: int) -> Sequence[Sequence[int]]:
        """The batches of an epoch: places of rows, shuffled by (seed, epoch)."""
        order = epoch_order(len(self), seed, epoch)
        if self.scored:
            return [order[start : start + size] for start in range(0, len(order), size)]
        return epoch_of_unique_batches(order.tolist(), self.texts, size)


def collate(rows: Sequence[Mapping[str, Any]], pad_id: int) -> Batch:
    """Rows of a PairRows as a batch: anchors (B, T), documents (B + M, S) int64 and their masks, labels (B,)."""
    anchors = [row["anchor"] for row in rows]
    documents = [row["positive"] for row in rows] + [one for row in rows for one in row["negatives"]]
    batch = {"labels": torch.tensor([row["label"] for row in rows])}
    for name, texts in (("anchors", anchors), ("documents", documents)):
        lengths = np.array([len(ids) for ids in texts])
        width = max(1, lengths.max())
        batch[name] = pad(texts, pad_id, width)
        batch[f"{name}_mask"] = torch.from_numpy((np.arange(width) < lengths[:, None]).astype(np.int64))
    return batch


def without_shared_padding(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """ids and mask (B, T) without the last places that are padding in every row; on a GPU, which one would have to wait
    for, as they are."""
    if mask.device.type != "cpu":
        return ids, mask
    width = max(1, int(mask.sum(1).max()))
    return ids[:, :width], mask[:, :width]


def check_scalar(loss: Any) -> Tensor:
    """`loss` if it is a tensor of one number."""
    if not isinstance(loss, Tensor) or loss.ndim:
        raise ValueError(f"loss must give a scalar tensor, got {describe(loss)}")
    return loss


class PairObjective:
    """The loss of a batch of pairs: loss(anchors, positives, negatives or None), or loss(first, second, labels).

    embed: as Trainable's. pieces: texts in memory at a time (gradient_cache.py); None takes all of the batch. fronts:
    what PairRows has put in front of the texts.
    """

    def __init__(
        self,
        embed: Callable[[nn.Module, Tensor, Tensor], Tensor],
        loss: Callable[..., Tensor],
        scored: bool = False,
        pieces: int | None = None,
        fronts: tuple[str, str] = ("", ""),
    ) -> None:
        self.embed, self.loss, self.scored, self.pieces = embed, loss, scored, pieces
        self.fronts = fronts

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """predictions: the cosine of each anchor with its positive (B,), for metrics such as Spearman; labels (B,)."""
        columns = [{"ids": batch[name], "mask": batch[f"{name}_mask"]} for name in ("anchors", "documents")]

        def embed(column: Mapping[str, Tensor]) -> Tensor:
            ids, mask = column["ids"], column["mask"]
            if self.pieces is not None:  # a piece is padded to the longest text of the whole batch
                ids, mask = without_shared_padding(ids, mask)
            return self.embed(model, ids, mask)

        def loss(anchors: Tensor, documents: Tensor) -> Tensor:
            with torch.autocast(
                anchors.device.type, enabled=False
            ):  # products of 16 bits would blur near scores
                return check_scalar(self._loss(anchors, documents, batch["labels"]))

        if self.pieces is not None and torch.is_grad_enabled():
            return Outcome(cached_loss(embed, columns, loss, self.pieces), None, batch["labels"])
        anchors, documents = map(embed, columns)
        cosines = F.cosine_similarity(anchors, documents[: len(anchors)]) if predict else None
        return Outcome(loss(anchors, documents), cosines, batch["labels"])

    def _loss(self, anchors: Tensor, documents: Tensor, labels: Tensor) -> Tensor:
        if self.scored:
            return self.loss(anchors, documents, labels)
        size = len(anchors)
        negatives = documents[size:] if len(documents) > size else None
        return self.loss(anchors, documents[:size], negatives)

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Number of pairs in the batch."""
        return len(batch["labels"])

    def what_decides_the_weights(self) -> dict[str, Any]:
        """What a resumed run must share: the loss, by its name and settings, and the prompts. Pieces change nothing."""
        loss, given = self.loss, {}
        if isinstance(loss, partial):
            loss, given = loss.func, {**loss.keywords}
        return {
            "loss": getattr(loss, "__name__", type(loss).__name__),
            "settings": repr(sorted(given.items())),
            "prompts": list(self.fronts),
        }
