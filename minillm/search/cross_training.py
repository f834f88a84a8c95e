"""Training a cross-encoder: pairs of a question and a text, and whether they fit, 1 or 0, or anything between.

    loss = mean -[label log p + (1 - label) log(1 - p)],   p = sigmoid(the model's number)          binary cross-entropy

    history = train_cross_encoder(encoder, [("question", "text", 1), ("question", "another text", 0), ...])
    train_cross_encoder(encoder, labelled_pairs(mine_hard_negatives(pairs)))

What is wrong must be hard, or the model learns to tell subjects apart, which the first stage of a search does already:
so the negatives come from that first stage (hard_negatives.py). It is a run of the house's Trainer.

Book: 11.4 검색 품질을 높이는 순위 재정렬. Paper: Nogueira and Cho 2019.
Held against: sentence_transformers' CrossEncoderTrainer with BinaryCrossEntropyLoss. Leaves out: losses of whole lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minillm._checks import describe
from minillm.search.cross_encoder import CrossEncoder
from minillm.search.fine_tuning import check_arguments, run_trainer, usual_arguments
from minillm.search.pairs import ScoredPair, as_scored
from minillm.training.arguments import TrainingArguments
from minillm.training.collators import DataCollatorWithPadding
from minillm.training.history import Records
from minillm.training.objectives import ClassificationObjective


class Padding(NamedTuple):
    """What a collator asks of a tokenizer: rows are filled up on the right, as CrossEncoder reads them."""

    pad_token_id: int


def pair_rows(encoder: CrossEncoder, pairs: Sequence[ScoredPair]) -> list[dict[str, Any]]:
    """The ids of each pair, its token types where the model reads them, and its label as a float."""
    read = encoder._rows([(one.first, one.second) for one in pairs])
    rows = [
        {"input_ids": ids, "token_type_ids": types, "labels": float(one.score)}
        for (ids, types), one in zip(read, pairs)
    ]
    if not encoder.typed:
        for row in rows:
            del row["token_type_ids"]
    return rows


def train_cross_encoder(
    encoder: CrossEncoder,
    pairs: Any,
    args: TrainingArguments | None = None,
    eval_pairs: Any = None,
    *,
    only: int | Sequence[str] | None = None,
    callbacks: Iterable[Any] = (),
    resume_from_checkpoint: bool | str | Path | None = None,
) -> Records:
    """Train a CrossEncoder in place; returns the Trainer's history.

    pairs: (question, text, label), labels from 0 to 1. args: settings of the run, by default one epoch in batches of 16
    at 2e-5, a tenth of it warm-up. eval_pairs, only, callbacks: as `fine_tune`; it prints nothing. Raises ValueError
    for anything else, before anything is changed, and TrainingDiverged as the Trainer does.
    """
    if not isinstance(encoder, CrossEncoder):
        raise ValueError(f"encoder must be a CrossEncoder, got {describe(encoder)}")
    labelled = as_scored(pairs, lowest=0)
    eval_labelled = None if eval_pairs is None else as_scored(eval_pairs, "eval_pairs", lowest=0)
    if args is None:
        args = usual_arguments(encoder, len(labelled), per_device_train_batch_size=16)
    return run_trainer(
        encoder.model,
        check_arguments(args),
        only,
        callbacks,
        resume_from_checkpoint,
        train_dataset=pair_rows(encoder, labelled),
        eval_dataset=None if eval_labelled is None else pair_rows(encoder, eval_labelled),
        data_collator=DataCollatorWithPadding(Padding(encoder.tokenizer.pad_token_id)),
        # one label, yes or no: the logarithm of both, and not the squared error that one output usually means
        objective=ClassificationObjective("multi_label_classification"),
    )
