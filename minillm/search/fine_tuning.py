"""Fine-tuning an embedding model on one's own pairs: questions and their answers, or pairs with a score.

    history = fine_tune(encoder, [(question, passage), ...])                     multiple negatives ranking
    fine_tune(encoder, pairs, loss=partial(mnr_loss, scale=50), only=2)          the last two layers alone
    fine_tune(encoder, pairs, TrainingArguments(per_device_train_batch_size=512), pieces=16)    little memory
    fine_tune(encoder, [(text, text, 0.8), ...])                                 the cosine shall be the score

It is a run of the house's Trainer. Of a batch no text stands twice, or it would be a wrong answer to its own question.

Book: 11.2 언어 모델을 임베딩 모델로 만들기, 11.3 임베딩 모델 미세 조정하기. Papers: Henderson et al. 2017; Reimers and
Gurevych 2019. Held against: SentenceTransformerTrainer. Leaves out: several data sets at a time, losses of many widths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from minillm._checks import check_function, check_int, describe, is_listing
from minillm.search.losses import cosine_similarity_loss, mnr_loss
from minillm.search.pair_training import PairObjective, PairRows, collate
from minillm.search.pairs import read_either
from minillm.search.static_encoder import StaticEncoder
from minillm.search.trainable import freeze_all_but, trainable, usual_prompts
from minillm.training.arguments import TrainingArguments
from minillm.training.callbacks import PrinterCallback, TrainerCallback
from minillm.training.history import Records
from minillm.training.objectives import Outcome
from minillm.training.trainer import Trainer


def usual_arguments(encoder: Any, pairs: int, **changes: Any) -> TrainingArguments:
    """One epoch in batches of 32, a tenth of it warm-up; the learning rate 2e-5, for a table of tokens 3e-3.

    pairs: how many there are. changes: other settings of TrainingArguments. The first step of a warm-up has the rate
    zero, so that a run of ten steps or fewer has none: one step alone would learn nothing. ValueError for no pairs.
    """
    pairs = check_int("pairs", pairs, 1)
    settings = {
        "num_train_epochs": 1, "per_device_train_batch_size": 32,
        "learning_rate": 3e-3 if isinstance(encoder, StaticEncoder) else 2e-5,
    }  # fmt: skip
    args = TrainingArguments(**settings | changes)
    batches = math.ceil(pairs / (args.per_device_train_batch_size * args.gradient_accumulation_steps))
    steps = args.max_steps if args.max_steps > 0 else batches * args.num_train_epochs
    if steps <= 10 or not {"warmup_ratio", "warmup_steps"}.isdisjoint(changes):
        return args
    return replace(args, warmup_ratio=0.1)


def fine_tune(
    encoder: Any,
    pairs: Any,
    args: TrainingArguments | None = None,
    loss: Callable[..., Tensor] | None = None,
    eval_pairs: Any = None,
    *,
    only: int | Sequence[str] | None = None,
    pieces: int | None = None,
    prompts: tuple[str, str] | None = None,
    callbacks: Iterable[Any] = (),
    resume_from_checkpoint: bool | str | Path | None = None,
) -> Records:
    """Train a SentenceEncoder or a StaticEncoder in place; returns the Trainer's history.

    pairs: (anchor, positive, negative, ...) or the dicts of pairs.py, or (text, text, score). args: settings of the run
    (`usual_arguments`). loss: a function of vectors, loss(anchors, positives, negatives or None), by default mnr_loss;
    of scored pairs loss(first, second, labels), by default cosine_similarity_loss. eval_pairs: for the arguments'
    eval_strategy. only: what is trained, all by default: the last so many layers, or the parameters whose names begin
    so; what does not require a gradient is left alone. pieces: texts in memory at a time, with the gradients of the
    whole batch. prompts: what is put in front of anchors and of the others, by default as `encode_query` and
    `encode_document` do. callbacks: as the Trainer's. It prints nothing; `PrinterCallback` does. A real model loses its
    name: it is no longer the one that others know.

    Raises ValueError for anything else, before anything is changed, and TrainingDiverged as the Trainer does.
    """
    rows, scored = read_either(pairs)
    eval_rows = None
    if eval_pairs is not None:
        eval_rows, eval_scored = read_either(eval_pairs, "eval_pairs")
        if eval_scored != scored:
            raise ValueError("pairs and eval_pairs must both have scores, or neither")
    args = check_arguments(usual_arguments(encoder, len(rows)) if args is None else args)
    if args.train_sampling_strategy != "random":
        raise ValueError(
            f"train_sampling_strategy must be random, got {args.train_sampling_strategy!r}: pairs deal batches of "
            "their own"
        )
    if pieces is not None:
        check_int("pieces", pieces, 1)
    loss = check_function("loss", loss) or (cosine_similarity_loss if scored else mnr_loss)
    part = trainable(encoder)
    fronts = usual_prompts(encoder, scored) if prompts is None else _two_texts(prompts)
    train_rows = PairRows(part, rows, fronts)
    if not scored and getattr(loss, "func", loss) is mnr_loss:
        check_wrong_answers(train_rows, args.per_device_train_batch_size)
    try:
        return run_trainer(
            part.module,
            args,
            only,
            check_callbacks(callbacks) + ([NoName(encoder)] if getattr(encoder, "name", None) else []),
            resume_from_checkpoint,
            train_dataset=train_rows,
            eval_dataset=None if eval_rows is None else PairRows(part, eval_rows, fronts),
            data_collator=partial(collate, pad_id=part.pad_id),
            objective=PairObjective(part.embed, loss, scored, pieces, fronts),
        )
    finally:
        part.finish()


class NoName(TrainerCallback):
    """Takes a real model's name away with the first update: by its name others would open the untrained one."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder

    def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        """A run that is resumed has put a checkpoint's weights in place, even if no step is left."""
        if state.global_step:
            self.encoder.name = None

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        """Right before the weights change."""
        self.encoder.name = None


class OfAPart:
    """An objective, and what is trained by it: a resumed run must train the same, or its averages are of others."""

    def __init__(self, objective: Any, only: int | Sequence[str] | None) -> None:
        self.objective, self.count = objective, objective.count
        self.only = only if only is None or isinstance(only, int) else list(only)

    def __call__(self, model: Any, batch: Any, predict: bool = False) -> Outcome:
        """As the objective."""
        return self.objective(model, batch, predict)

    def what_decides_the_weights(self) -> dict[str, Any]:
        """What a resumed run must share: what the objective says, and `only`."""
        ask = getattr(self.objective, "what_decides_the_weights", dict)
        return ask() | {"only": self.only}


def check_wrong_answers(rows: PairRows, batch_size: int) -> None:
    """ValueError where no batch holds a wrong answer: the ranking loss would be zero, and nothing learned."""
    batches = rows.epoch_batches(batch_size, 0, 0)
    if all(len(batch) == 1 and not rows[batch[0]]["negatives"] for batch in batches):
        raise ValueError(
            "pairs must have wrong answers, negatives of their own or the answers of the other pairs of a batch; got "
            f"{len(rows)} in batches of {batch_size} without any (pairs that share a text are never in one batch)"
        )


def check_arguments(args: Any) -> TrainingArguments:
    """`args` if they are TrainingArguments."""
    if not isinstance(args, TrainingArguments):
        raise ValueError(f"args must be TrainingArguments, got {describe(args)}")
    return args


def check_callbacks(callbacks: Any) -> list[Any]:
    """`callbacks` as a list."""
    if not is_listing(callbacks):
        raise ValueError(f"callbacks must be a list of callbacks, got {describe(callbacks)}")
    return list(callbacks)


def run_trainer(
    module: nn.Module,
    args: TrainingArguments,
    only: int | Sequence[str] | None,
    callbacks: Iterable[Any],
    resume: bool | str | Path | None,
    **parts: Any,
) -> Records:
    """A run of the Trainer on what `only` names of a module (`freeze_all_but`). It prints nothing; a callback may."""
    callbacks, frozen = check_callbacks(callbacks), freeze_all_but(module, only)
    try:
        args = replace(args, remove_unused_columns=False)
        parts["objective"] = OfAPart(parts["objective"], only)
        trainer = Trainer(module, args=args, callbacks=callbacks, **parts)
        if not any(PrinterCallback in (one, type(one)) for one in callbacks):
            trainer.remove_callback(PrinterCallback)
        return trainer.train(resume)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _two_texts(prompts: Any) -> tuple[str, str]:
    two = isinstance(prompts, (tuple, list)) and len(prompts) == 2
    if not two or not all(isinstance(one, str) for one in prompts):
        raise ValueError(f"prompts must be two str, of anchors and of the others, got {describe(prompts)}")
    return tuple(prompts)
