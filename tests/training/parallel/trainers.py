"""Trainers that tests run in ranks: `run_ranks(trainers.runs, 2, ...)`, and in one process to compare with."""

from pathlib import Path

import torch

from minillm.models import Llama, LlamaConfig
from minillm.training import (
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainerConfig,
    TrainingArguments,
    checkpoints,
)
from minillm.training.alignment.dpo import DPOTrainer
from minillm.training.distillation_objective import DistillationObjective
from minillm.training.objectives import CausalLMObjective
from minillm.training.parallel import place
from minillm.training.parallel.zero import storage_bytes
from tests.training.classifier import Padding
from tests.training.toy import COUNTING


def model(seed=0):
    """Its vocabulary of 11 rows does not divide by 2 or 4, and one of its blocks' parts has 3 rows."""
    return Llama(
        LlamaConfig(vocab_size=11, hidden_size=12, intermediate_size=18, num_hidden_layers=2, num_attention_heads=2,
                    max_position_embeddings=32, initializer_range=0.2, tie_word_embeddings=True), seed,
    )  # fmt: skip


class WithSpare(torch.nn.Module):
    """A model with a part that nothing uses."""

    def __init__(self):
        super().__init__()
        self.inner = model()
        torch.manual_seed(3)
        self.spare = torch.nn.Linear(3, 3)
        self.config = self.inner.config

    def forward(self, input_ids, attention_mask=None):
        return self.inner(input_ids, attention_mask)


def make(kind, strategy=None, folder=None, processes=1, seed=0, **options):
    """A run of ten steps of eight rows, however many processes there are."""
    size = 8 // processes
    if kind == "stream":
        config = TrainerConfig(
            10, batch_size=size, context_length=8, precision="fp32", learning_rate=1e-2, progress=False,
            eval_every=5, checkpoint_folder=folder, checkpoint_every=4 if folder else None, keep_last=5, **options,
        )  # fmt: skip
        return Trainer(model(seed), config, COUNTING, COUNTING[:200], strategy=strategy)
    # of different lengths, so that parts have different numbers of targets; the last update has 5 of 16 rows, which
    # leaves a process without any
    rows = [{"input_ids": COUNTING[i : i + 2 + i * 7 % 11].tolist()} for i in range(37)]
    arguments = TrainingArguments(
        folder, per_device_train_batch_size=size, gradient_accumulation_steps=2, learning_rate=1e-2,
        logging_steps=1, max_steps=7, disable_tqdm=True, weight_decay=0.1, **options,
    )  # fmt: skip
    collate = DataCollatorForLanguageModeling(Padding(), mlm=False)
    made = WithSpare() if kind == "spare" else model(seed)
    callbacks = [Silent()]
    return Trainer(
        made,
        args=arguments,
        train_dataset=rows,
        data_collator=collate,
        strategy=strategy,
        callbacks=callbacks,
    )


def run_of(objective, strategy, processes):
    """Six steps of an objective that calls a model more than once, or only its body, or another model besides."""
    config = TrainerConfig(
        6, batch_size=8 // processes, context_length=12, precision="fp32", learning_rate=1e-2, progress=False,
        eval_every=3,
    )  # fmt: skip
    if objective == "pairs":
        pairs = [
            {"prompt_ids": row[:3], "chosen_ids": row[3 : 5 + i % 4], "rejected_ids": row[-2 - i % 3 :]}
            for i, row in enumerate(COUNTING[i : i + 12].tolist() for i in range(24))
        ]
        return DPOTrainer(model(), config, pairs, pairs[:8], strategy=strategy)
    made = {
        "twice": Twice,
        "fused": lambda: CausalLMObjective(fused=True),
        "distilled": lambda: DistillationObjective(model(5), hidden_weight=1.0, layers={0: 0, 2: 2}),
    }[objective]()
    return Trainer(model(), config, COUNTING, COUNTING[:200], objective=made, strategy=strategy)


OBJECTIVES = ("pairs", "twice", "fused", "distilled")


class Twice(CausalLMObjective):
    """Calls the model twice before one backward pass."""

    def __call__(self, model, batch, predict=False):
        other = {**batch, "input_ids": batch["input_ids"].flip(1)}
        first, second = (super(Twice, self).__call__(model, one, predict) for one in (batch, other))
        return first._replace(loss=(first.loss + second.loss) / 2)


class RowsMeet(CausalLMObjective):
    """As a loss with in-batch negatives."""

    rows_apart = False


class Silent(TrainerCallback):
    """Counts."""

    def __init__(self):
        self.substeps = 0

    def on_substep_end(self, args, state, control, **parts):
        self.substeps += 1


def figures(run):
    """What a run gave: losses, evaluations, tokens, whole weights."""
    with run.strategy.whole_model():
        weights = {name: tensor.detach().clone() for name, tensor in run.model.state_dict().items()}
    return {
        "loss": [one["train_loss"] for one in run.history], "norm": [one["gradient_norm"] for one in run.history],
        "eval": [one["eval_loss"] for one in run.history if one["eval_loss"]],
        "tokens": run.history[-1]["tokens"], "weights": weights,
    }  # fmt: skip


def runs(folder, plain):
    """Every kind under every strategy; a resumed run from a checkpoint that one process wrote; what is refused."""
    rank, ranks = place()
    folder, found = Path(folder), {}
    for kind in ("stream", "texts", "spare"):
        for strategy in ("ddp", "fsdp"):
            # rank 1 begins with other weights: those of rank 0 are taken
            made = make(
                kind, strategy, folder / f"{kind}-{strategy}" if kind == "stream" else None, ranks, seed=rank
            )
            made.train()
            found[kind, strategy] = figures(made)
            if (kind, strategy) == ("stream", "fsdp"):
                held = [piece for group in made.optimizer.param_groups for piece in group["params"]]
                averages = [state[name] for state in made.optimizer.state.values() for name in "mv"]
                found["bytes"] = storage_bytes(held), storage_bytes(averages)
                made.save_model(folder / "saved")
                found["evaluated"] = made.evaluate()["eval_loss"]
                found["predicted"] = made.predict(COUNTING[:50]).metrics["test_loss"]
    for objective in OBJECTIVES:
        for strategy in ("ddp", "fsdp"):
            made = run_of(objective, strategy, ranks)
            made.train()
            found[objective, strategy] = figures(made)
    found["from plain"] = resumed(plain, "fsdp", ranks, folder / "again")
    found["refused"] = {}
    for name, call in {
        "optimizers": own_optimizer,
        "fp16": lambda: make("texts", "fsdp", fp16=True),
        "name": lambda: make("texts", "zero"),
        "other batches": lambda: resumed(plain, "ddp", 1, folder / "never"),
    }.items():
        try:
            call()
        except ValueError as error:
            found["refused"][name] = str(error)
    return found


def own_optimizer():
    """FSDP with an optimizer of one's own."""
    whole = model()
    given = torch.optim.SGD(whole.parameters(), 0.1), None
    return Trainer(
        whole, TrainerConfig(1, context_length=8, progress=False), COUNTING, strategy="fsdp", optimizers=given
    )


def resumed(checkpoint, strategy, processes, folder):
    """The stream's run, from a checkpoint to its end."""
    run = make("stream", strategy, folder, processes)
    run.train(resume_from_checkpoint=str(checkpoint))
    return figures(run) | {"steps": [path.name for path in checkpoints(folder)]}


def resumed_here(checkpoint, strategy, folder):
    """The same in every rank of a launch."""
    return resumed(checkpoint, strategy, place()[1], Path(folder))


def best_of_all(folder):
    """load_best_model_at_end under fsdp: whole weights of the end, and the best checkpoint's step."""
    ranks = place()[1]
    rows = [{"input_ids": COUNTING[i : i + 9].tolist()} for i in range(40)]
    arguments = TrainingArguments(
        folder, per_device_train_batch_size=8 // ranks, learning_rate=0.3, logging_steps=1, max_steps=6,
        disable_tqdm=True, eval_strategy="steps", eval_steps=1, save_steps=1, load_best_model_at_end=True,
    )  # fmt: skip
    collate = DataCollatorForLanguageModeling(Padding(), mlm=False)
    run = Trainer(
        model(),
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows[:8],
        data_collator=collate,
        strategy="fsdp",
    )
    run.train()
    return figures(run) | {"best": run.state.best_global_step, "again": run.evaluate()["eval_loss"]}
