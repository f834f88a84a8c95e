"""What torchrun runs in test_distributed.py: python two_processes.py FOLDER KIND; rank 0 writes FOLDER/found.json."""

import json
import os
import sys
import time
from pathlib import Path

from minillm.training import (
    DataCollatorForLanguageModeling,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerConfig,
    TrainingArguments,
)
from tests.training.classifier import Padding, classes, classifier_run, tiny_classifier
from tests.training.toy import COUNTING, ToyLM

PROCESSES = int(os.environ.get("WORLD_SIZE", 1))
RANK = int(os.environ.get("RANK", 0))


class Spoiled(TrainerCallback):
    """Rank 1 raises, or goes to sleep, before step 3."""

    def __init__(self, kind):
        self.kind = kind

    def on_step_begin(self, args, state, control, **parts):
        if RANK == 1 and state.global_step == 2:
            if self.kind == "raises":
                raise RuntimeError("rank 1 has had enough")
            time.sleep(600)


def make(kind, folder, processes=PROCESSES):
    size = 8 // processes
    if kind == "stream":
        config = TrainerConfig(10, batch_size=size, context_length=8, precision="fp32", learning_rate=1e-2)
        return Trainer(ToyLM(dropout=0.0), config, COUNTING)
    if kind == "texts":
        # of different lengths, so that the parts of a batch have different numbers of targets
        rows = [{"input_ids": COUNTING[i : i + 2 + i * 7 % 11].tolist()} for i in range(45)]
        args = TrainingArguments(per_device_train_batch_size=size, gradient_accumulation_steps=2, learning_rate=1e-2,
                                 logging_steps=1, max_steps=10)  # fmt: skip
        collate = DataCollatorForLanguageModeling(Padding(), mlm=False)
        return Trainer(ToyLM(dropout=0.0), args, train_dataset=rows, data_collator=collate)
    callbacks = [EarlyStoppingCallback(3)] if kind == "classes" else [Spoiled(kind)]
    return classifier_run(
        folder / "run", model=tiny_classifier(dropout=0.0, seed=RANK), eval_rows=classes(20, seed=1),
        callbacks=callbacks, per_device_train_batch_size=size, max_steps=10, logging_steps=1, eval_strategy="steps",
        eval_steps=2, save_steps=4, metric_for_best_model="loss", ddp_timeout=20,
    )  # fmt: skip


if __name__ == "__main__":
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    run = make(kind, folder)
    run.train(resume_from_checkpoint=len(sys.argv) > 3)
    found = {"loss": [one["train_loss"] for one in run.history], "eval": [one["eval_loss"] for one in run.history],
             "tokens": run.history[-1]["tokens"],
             "weights": {name: tensor.tolist() for name, tensor in run.model.state_dict().items()}}  # fmt: skip
    (folder / f"found-{RANK}.json").write_text(json.dumps(found))
