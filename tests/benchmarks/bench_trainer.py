"""A step of the Trainer, collation included: a BERT classifier (4 layers x 256), 16 texts of 8 to 64 tokens a batch.

Ours against transformers' Trainer: the same weights, texts, batches (their sampler takes our order), arguments, and one
thread. Set-up is left out: the time from the first step's end to the last one's, divided by the steps between.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
from typing import Any

import numpy as np
import torch

from minillm.models import BERTForSequenceClassification
from minillm.training import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments
from minillm.training.feed import epoch_order
from tests.benchmarks.harness import Row, Times, peer_or_none

SIZES = {"vocab_size": 4096, "num_hidden_layers": 4, "max_position_embeddings": 64, "hidden_dropout_prob": 0.1,
         "attention_probs_dropout_prob": 0.1}  # fmt: skip


class Padding:
    """What a collator asks of a tokenizer."""

    pad_token_id, padding_side = 0, "right"


class Clock(TrainerCallback):
    """The time when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self.ends.append(time.perf_counter())

    def per_step(self) -> float:
        """Seconds of a step, on the mean."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def texts(count: int) -> list[dict[str, Any]]:
    """Random ids, with what a tokenizer gives for each text, and a class."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, SIZES["vocab_size"], int(rng.integers(8, 65))).tolist() for _ in range(count)]
    return [{"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids), "labels": n % 2}
            for n, ids in enumerate(rows)]  # fmt: skip


def ours(folder: str, rows: list[dict[str, Any]], settings: dict[str, Any]) -> float:
    """Seconds of a step of our Trainer."""
    clock, model = Clock(), BERTForSequenceClassification.from_pretrained(folder)
    args = TrainingArguments(**settings)
    Trainer(
        model, args, train_dataset=rows, data_collator=DataCollatorWithPadding(Padding()), callbacks=[clock]
    ).train()
    return clock.per_step()


def theirs(transformers: Any, folder: str, rows: list[dict[str, Any]], settings: dict[str, Any]) -> float:
    """Seconds of a step of transformers' Trainer, with the collator its users take."""
    import tokenizers

    class Order(torch.utils.data.Sampler):
        def __len__(self) -> int:
            return len(rows)

        def __iter__(self) -> Any:
            return iter(epoch_order(len(rows), settings["seed"], 0).tolist())

    class TheirTrainer(transformers.Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Order:
            return Order()

    class TheirClock(Clock, transformers.TrainerCallback):
        pass

    words = {"[PAD]": 0, "[UNK]": 1}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "[UNK]")), pad_token="[PAD]"
    )
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    args = transformers.TrainingArguments(
        f"{folder}/out", report_to="none", dataloader_pin_memory=False, **settings, save_strategy="no"
    )
    clock = TheirClock()
    collate = transformers.DataCollatorWithPadding(tokenizer)
    trainer = TheirTrainer(model, args, train_dataset=rows, data_collator=collate, callbacks=[clock])
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return clock.per_step()


def run(quick: bool) -> list[Row]:
    """Texts a second of both Trainers."""
    torch.set_num_threads(1)
    transformers, size, steps = peer_or_none("transformers"), 16, 4 if quick else 12
    rows = texts(size * steps)
    width = 64 if quick else 256
    config = BERTForSequenceClassification.config_class(
        hidden_size=width, num_attention_heads=width // 32, intermediate_size=4 * width, **SIZES
    )
    settings = {"per_device_train_batch_size": size, "num_train_epochs": 1, "learning_rate": 1e-4, "weight_decay": 0.01,
                "disable_tqdm": True, "use_cpu": True, "seed": 0}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        BERTForSequenceClassification(config).save_pretrained(folder)
        calls = {"ours": lambda: ours(folder, rows, settings)}
        if transformers:
            transformers.logging.set_verbosity_error()
            transformers.logging.disable_progress_bar()
            calls["theirs"] = lambda: theirs(transformers, folder, rows, settings)
        rounds: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(1 + (3 if quick else 7)):
            for name, call in list(calls.items())[:: 1 if turn % 2 else -1]:
                found = call()
                if turn:  # the first round warms up
                    rounds[name].append(found)
    seconds = Times(rounds)
    return [
        Row(
            work=f"Trainer step, BERT classifier 4x{width}, {size} texts of 8 to 64 tokens, collation included",
            peer="transformers",
            unit="texts/s",
            ours=size / seconds["ours"],
            theirs=size / seconds["theirs"] if "theirs" in seconds else None,
            target=1.0,
            spread=seconds.spread("theirs"),
        )
    ]
