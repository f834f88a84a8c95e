"""Token classification: names in a text, put together from labels of tokens.

    김  ##철수  는  서울  에      tokens
    B-PER I-PER  O  B-LOC  O      the best label of each                                "none" stops here
    김철수       는  서울  에      words, each with one label (of its first, best, or average piece)
    PER: 김철수     LOC: 서울      neighbours with the same tag; B- begins a new one     all the others

Book 3.5.1 파이프라인을 활용한 추론. Held against transformers' TokenClassificationPipeline. Where a tokenizer
marks pieces that go on with a word (##), the mark counts here; transformers compares lengths, and takes a letter that
the normalizer took apart for such a piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minillm._checks import check_choice, check_int, check_text, describe
from minillm.inference.pipelines.base import Options, Pipeline, Row, check_logits
from minillm.models.encoder_heads import ForTokenClassification

STRATEGIES = ("none", "simple", "first", "average", "max")


class Piece(NamedTuple):
    """A token: how it is spelled, probabilities (labels,), place in the text, number in the row, and whether it goes
    on with the word before it."""

    name: str
    scores: Tensor
    start: int
    end: int
    index: int
    goes_on: bool


class Tagged(NamedTuple):
    """A token or a word with its label and that label's probability; names: the tokens it is made of."""

    label: str
    score: float
    names: list[str]
    start: int
    end: int


def words_of(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """The pieces of each word: 김 ##철수 는 -> [김 ##철수] [는]."""
    words: list[list[Piece]] = []
    for piece in pieces:
        if words and piece.goes_on:
            words[-1].append(piece)
        else:
            words.append([piece])
    return words


def word_scores(word: Sequence[Piece], strategy: str) -> Tensor:
    """One word's probabilities (labels,): of its first piece, of the surest one ("max"), or their "average".

    ValueError for a word without pieces, and for another strategy."""
    check_choice("strategy", strategy, ("first", "max", "average"))
    if not word:
        raise ValueError(f"word must have at least one piece, got {describe(word)}")
    if strategy == "first":
        return word[0].scores
    if strategy == "max":
        return max(word, key=lambda piece: piece.scores.max().item()).scores
    return torch.stack([piece.scores for piece in word]).mean(0)


def tagged(word: Sequence[Piece], scores: Tensor, names: Mapping[int, str]) -> Tagged:
    """A word, or a piece alone, with the label that scores best."""
    best = int(scores.argmax())
    return Tagged(
        names[best], scores[best].item(), [piece.name for piece in word], word[0].start, word[-1].end
    )


def split_label(label: str) -> tuple[bool, str]:
    """(whether a name begins here, its tag): B-PER -> (True, PER), I-PER and PER -> (False, PER)."""
    check_text("label", label)
    begins = label.startswith("B-")
    return begins, label[2:] if begins or label.startswith("I-") else label


def grouped(words: Iterable[Tagged]) -> list[list[Tagged]]:
    """Neighbours with the same tag are one name, until the next B-."""
    groups: list[list[Tagged]] = []
    for word in words:
        begins, tag = split_label(word.label)
        if groups and not begins and tag == split_label(groups[-1][-1].label)[1]:
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def without_overlaps(entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of names that two windows both found, the longer one, or the surer of equally long ones."""
    kept: list[dict[str, Any]] = []
    for entity in sorted(entities, key=lambda entity: entity["start"]):
        if kept and entity["start"] < kept[-1]["end"]:
            rank = [(one["end"] - one["start"], one["score"]) for one in (kept[-1], entity)]
            kept[-1] = entity if rank[1] > rank[0] else kept[-1]
        else:
            kept.append(entity)
    return kept


@dataclass(frozen=True)
class EntityOptions(Options):
    """aggregation_strategy: how labels of tokens become names; ignore_labels: which are left out. stride: tokens that
    the windows of a long text share; None: a long text is refused, or cut if truncation says so."""

    aggregation_strategy: str = "none"
    ignore_labels: Sequence[str] = ("O",)
    stride: int | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        check_choice("aggregation_strategy", self.aggregation_strategy, STRATEGIES)
        if isinstance(self.ignore_labels, str) or not isinstance(self.ignore_labels, (list, tuple)):
            raise ValueError(f"ignore_labels must be a list of labels, got {describe(self.ignore_labels)}")
        if self.stride is not None:
            check_int("stride", self.stride, 0)
            if self.aggregation_strategy == "none":
                raise ValueError("stride needs an aggregation_strategy that makes names, got 'none'")


class TokenClassification(Pipeline):
    """A text -> a list of its names, {"entity_group", "score", "word", "start", "end"}; without aggregation of its
    tokens, {"entity", "score", "index", "word", "start", "end"}. start, end: characters of the text."""

    task, options_class = "token-classification", EntityOptions

    @classmethod
    def fits(cls, model_class: type) -> bool:
        """A classifier of tokens."""
        return issubclass(model_class, ForTokenClassification)

    def preprocess(self, item: Any, options: EntityOptions) -> list[Row]:
        """One row, or the windows of a long text."""
        windows: dict[str, Any] = {}
        if options.stride is not None:
            windows = {"truncation": True, "return_overflowing_tokens": True, "stride": options.stride}
        batch = self.encode(
            item, None, options, return_offsets_mapping=True, return_special_tokens_mask=True, **windows
        )
        rows = self.rows(batch)
        for row, places, special in zip(rows, batch["offset_mapping"], batch["special_tokens_mask"]):
            row.about = item, places, special
        return rows

    def read(self, row: Row, output: Any, number: int, options: EntityOptions) -> list[Piece]:
        """The tokens of the text, special ones left out."""
        scores = output.logits[number, : len(row.ids)].float().softmax(-1).cpu()  # (T, labels)
        check_logits(scores, axes=2)
        text, places, special = row.about
        return [
            self.piece(text, row.ids[index], scores[index], places[index], index)
            for index in range(len(row.ids))
            if not special[index]
        ]

    def piece(self, text: str, token: int, scores: Tensor, place: tuple[int, int], index: int) -> Piece:
        """One token, and whether it goes on with a word: by its mark, else because no blank stands before it."""
        name, (start, end) = self.tokenizer.id_to_token(token), place
        if token == self.role_id("unk_token"):
            return Piece(text[start:end], scores, start, end, index, False)
        mark = getattr(self.tokenizer.model, "prefix", "")
        goes_on = name.startswith(mark) if mark else start > 0 and " " not in text[start - 1 : start + 1]
        return Piece(name, scores, start, end, index, goes_on)

    def postprocess(self, found: list[list[Piece]], rows: list[Row], options: EntityOptions) -> list[dict]:
        """The names, or the tokens, whose labels are not ignored."""
        if options.aggregation_strategy == "none":
            return self.tokens(found[0], options)
        entities = [entity for pieces in found for entity in self.entities(pieces, options)]
        return without_overlaps(entities) if len(found) > 1 else entities

    def tokens(self, pieces: list[Piece], options: EntityOptions) -> list[dict[str, Any]]:
        """Each token with its best label."""
        labelled = [(piece, tagged([piece], piece.scores, self.model.config.id2label)) for piece in pieces]
        return [
            {
                "entity": tag.label,
                "score": tag.score,
                "index": piece.index,
                "word": piece.name,
                "start": piece.start,
                "end": piece.end,
            }
            for piece, tag in labelled
            if tag.label not in options.ignore_labels
        ]

    def entities(self, pieces: list[Piece], options: EntityOptions) -> list[dict[str, Any]]:
        """Names, put together by the strategy."""
        names, strategy = self.model.config.id2label, options.aggregation_strategy
        if strategy == "simple":
            words = [tagged([piece], piece.scores, names) for piece in pieces]
        else:
            words = [tagged(word, word_scores(word, strategy), names) for word in words_of(pieces)]
        return [
            {
                "entity_group": group[0].label.split("-", 1)[-1],
                "score": sum(word.score for word in group) / len(group),
                "word": self.spelled([name for word in group for name in word.names]),
                "start": group[0].start,
                "end": group[-1].end,
            }
            for group in grouped(words)
            if group[0].label.split("-", 1)[-1] not in options.ignore_labels
        ]

    def spelled(self, names: list[str]) -> str:
        """Tokens as text."""
        decoder = self.tokenizer.decoder
        return " ".join(names) if decoder is None else "".join(decoder(names))
