"""The training loop: draw a batch, measure the loss, follow its gradient a little way down, again and again.

    w <- w - AdamW(clip(d loss(batch(seed, step), w) / d w)) * cosine(step)

Everything random at step s (the batch, dropout) is drawn from (seed, s). Together with the weights and the
optimiser's averages that is the whole state: 5 steps, a checkpoint and 5 more give the bits of 10 in one go.

Book: 2.8 주요 사전 학습 메커니즘, 3.4 모델 학습시키기. Held against: transformers.Trainer.
Leaves out: several devices (ZeRO comes with its chapter), loss scaling for float16, torch.compile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from minillm._checks import check_function, describe
from minillm.nn.fast_cpu import fast_layers
from minillm.training.adamw import AdamW
from minillm.training.batches import as_source
from minillm.training.checkpoint import (
    checkpoint_meta,
    latest_checkpoint,
    load_checkpoint,
    remove_old,
    save_checkpoint,
)
from minillm.training.clipping import clip_gradients, gradient_norm
from minillm.training.config import TrainerConfig, pick_device, pick_precision
from minillm.training.evaluate import EvalPrediction, evaluate
from minillm.training.objectives import CausalLMObjective, Objective
from minillm.training.schedule import cosine_schedule
from minillm.training.tally import Reading, Tally


class TrainingDiverged(ValueError):
    """The loss or its gradient is no longer a finite number. The weights are those of the last good step.

    On a GPU, where asking after every step would cost time, it is raised at the next record of the history; the
    steps in between, too, have left the weights as they were.
    """


class Trainer:
    """Trains `model` in place on `train_data`.

    `train_data`, `eval_data`: ids as a list, array or tensor (one long text), a list of examples (each a list
    of ids, or a dict of `input_ids` and `labels`), or a source as in batches.py.
    `compute_metrics(EvalPrediction) -> dict` adds `eval_<name>` figures to the history. `on_step(record)` is
    called with each record of the history; `tokenizer` is saved with every checkpoint. Raises ValueError for
    a model without parameters, data shorter than the context, a context longer than the model's, or ids the
    model has no embedding for.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainerConfig,
        train_data: Any,
        eval_data: Any = None,
        objective: Objective | None = None,
        compute_metrics: Callable[[EvalPrediction], Mapping[str, float]] | None = None,
        on_step: Callable[[dict[str, Any]], None] | None = None,
        tokenizer: Any = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ValueError(f"model must be a torch module, got {describe(model)}")
        if not isinstance(config, TrainerConfig):
            raise ValueError(f"config must be a TrainerConfig, got {describe(config)}")
        self.device = pick_device(config.device)
        self.model, self.config = model.to(self.device), config
        self.train_source = self._checked_source("train_data", train_data)
        self.eval_source = None if eval_data is None else self._checked_source("eval_data", eval_data)
        self.objective = CausalLMObjective() if objective is None else objective
        for method in ("__call__", "count"):
            if not callable(getattr(self.objective, method, None)):
                raise ValueError(f"objective must be like CausalLMObjective(), got {describe(objective)}")
        self.compute_metrics = check_function("compute_metrics", compute_metrics)
        self.on_step = check_function("on_step", on_step)
        if tokenizer is not None and not callable(getattr(tokenizer, "save", None)):
            raise ValueError(f"tokenizer must have a method save(path), got {describe(tokenizer)}")
        self.tokenizer = tokenizer
        self.optimizer = AdamW(_decay_groups(model, config.weight_decay), betas=config.betas, eps=config.eps)
        self.bf16 = pick_precision(config.precision, config.device) == "bf16"
        self.step = 0
        # on a GPU the host would wait for all that it has asked for
        self._reads_are_free = self.device.type == "cpu"
        self._tally = Tally(self.device)  # what the steps since `_recorded` have left behind
        self._recorded = 0
        self._tokens, self._seconds = 0, 0.0  # of all steps up to `_recorded`
        self._since: list[tuple[int, float]] = []  # targets and seconds of each step since
        self.history: list[dict[str, Any]] = []

    def train(self, resume_from_checkpoint: bool | str | Path = False) -> list[dict[str, Any]]:
        """Run until `max_steps` updates are done; returns the history, one dict a record.

        Keys: step (1 for the first), train_loss (mean since the last record, nats a target), learning_rate,
        gradient_norm (before clipping), tokens (targets seen so far), seconds (of training so far),
        tokens_per_second, eval_loss and eval_<metric> (None where not evaluated). `resume_from_checkpoint`:
        True takes the newest checkpoint of `checkpoint_folder` (starts anew without one), a path takes that
        one. Raises ValueError if it is refused, TrainingDiverged if the loss is NaN or infinite. Ctrl-C
        leaves the checkpoints written so far, all of them whole.
        """
        if resume_from_checkpoint is not False and resume_from_checkpoint is not None:
            self._resume(resume_from_checkpoint)
        was_training = self.model.training
        # tqdm's None: silent where standard error is no terminal
        hidden = None if self.config.progress else True
        shown = {"initial": self.step, "total": self.config.max_steps, "disable": hidden}
        gpus = [self.device] if self.device.type == "cuda" else []
        try:
            # dropout reads torch's global generator: it is seeded anew each step, and given back as it was
            bar = tqdm(**shown, unit="step", dynamic_ncols=True)
            with torch.random.fork_rng(gpus), fast_layers(self.model), bar:
                self._loop(bar)
        finally:
            self.model.train(was_training)
        return self.history

    def evaluate(self) -> dict[str, float]:
        """{"eval_loss": nats a target, "eval_<metric>": ...} on `eval_data`; ValueError without it."""
        if self.eval_source is None:
            raise ValueError("evaluate() needs eval_data, the Trainer was given none")
        config = self.config
        batches = self.eval_source.eval_batches(config.batch_size, config.context_length, config.eval_batches)
        with self._autocast():
            return evaluate(self.model, batches, self.objective, self.compute_metrics, self._to_device)

    def _loop(self, bar: tqdm) -> None:
        config = self.config
        self.model.train()
        self._tally = Tally(self.device)
        self._close_record()  # steps that Ctrl-C left without one
        while self.step < config.max_steps:
            start = time.perf_counter()
            rate, targets = self._update()
            self.step += 1
            self._since.append((targets, time.perf_counter() - start))
            bar.update()
            last = self.step == config.max_steps
            evaluating = self.eval_source is not None and (last or _due(self.step, config.eval_every))
            saving = config.checkpoint_folder is not None and (
                last or _due(self.step, config.checkpoint_every)
            )
            if not (evaluating or saving or last or _due(self.step, config.log_every)):
                continue
            start = time.perf_counter()
            reading = self._read_tally()
            self._since.append(
                (0, time.perf_counter() - start)
            )  # of the steps that a GPU was still busy with
            targets, seconds = self._close_record()
            record = {
                "step": self.step,
                "train_loss": reading.mean_loss,
                "eval_loss": None,
                "learning_rate": rate,
                "gradient_norm": reading.norm,
                "tokens": self._tokens,
                "seconds": self._seconds,
                "tokens_per_second": targets / max(seconds, 1e-9),
            }
            self._tally.restart()
            if evaluating:
                record |= self.evaluate()
            self.history.append(record)
            shown = {"loss": record["train_loss"], "eval": record["eval_loss"]}
            bar.set_postfix(
                {name: f"{value:.3f}" for name, value in shown.items() if value is not None}, refresh=False
            )
            if saving:
                self._save()
            if self.on_step is not None:
                self.on_step(record)

    def _close_record(self) -> tuple[int, float]:
        """Add the targets and seconds of the steps since the last record to the sums, and return them."""
        targets, seconds = (sum(one[part] for one in self._since) for part in (0, 1))
        self._tokens += targets
        self._seconds += seconds
        self._since, self._recorded = [], self.step
        return targets, seconds

    def _read_tally(self) -> Reading:
        """Loss and gradient norm so far; TrainingDiverged, with the count of steps put right, after a bad step."""
        reading = self._tally.read()
        if not reading.good:
            self.optimizer.uncount(self.step - self._recorded - reading.steps)
            self.step = self._recorded + reading.steps
            del self._since[reading.steps :]
            raise TrainingDiverged(
                f"training stopped at step {self.step + 1}: loss {reading.loss}, gradient norm {reading.norm}; a "
                f"lower learning_rate (now {self.config.learning_rate:g}), more warmup_steps or a smaller "
                "max_grad_norm usually helps"
            )
        return reading

    def _update(self) -> tuple[float, int]:
        """One update; returns (learning rate, targets). Reads nothing from a GPU: the host runs ahead of it."""
        config = self.config
        (seed,) = np.random.SeedSequence([config.seed, self.step]).generate_state(1)
        # torch.manual_seed would look for every kind of device first, which costs more than a small step
        torch.default_generator.manual_seed(int(seed))
        if self.device.type == "cuda":
            torch.cuda.manual_seed(int(seed))
        rows = config.batch_size * config.gradient_accumulation
        batch = self.train_source.batch(config.seed, self.step, rows, config.context_length)
        split = {name: tensor.split(config.batch_size) for name, tensor in batch.items()}
        parts = [dict(zip(split, tensors)) for tensors in zip(*split.values())]
        counts = [self.objective.count(part) for part in parts]
        if sum(counts) == 0:
            raise ValueError(f"the batch of step {self.step} has no targets: every label is ignored")
        self.optimizer.zero_grad()
        loss = torch.zeros((), device=self.device)
        for part, count in zip(parts, counts):
            if count == 0:
                continue
            with self._autocast():
                # each part weighs by its targets, so that the sum is the mean over all targets of the step
                share = self.objective(self.model, self._to_device(part)).loss * (count / sum(counts))
            share.backward()
            loss += share.detach()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        limit = config.max_grad_norm
        norm = gradient_norm(parameters) if limit is None else clip_gradients(parameters, limit)
        good = self._tally.add(loss, norm)
        if self._reads_are_free:
            self._read_tally()
        # update numbers 1..max_steps lie between the two ends of the curve, so none is spent at rate zero
        rate = cosine_schedule(
            self.step + 1,
            config.max_steps + 1,
            config.learning_rate,
            config.warmup_steps,
            config.min_learning_rate,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step(good)
        return rate, sum(counts)

    def _save(self) -> None:
        record = self.history[-1]
        settings = self.config.what_decides_the_weights()
        meta = {"config": settings, "history": self.history, "eval_loss": record["eval_loss"]}
        folder = self.config.checkpoint_folder
        save_checkpoint(folder, self.step, self.model, self.optimizer, meta, self.tokenizer)
        remove_old(folder, self.config.keep_last)

    def _resume(self, checkpoint: bool | str | Path) -> None:
        if checkpoint is True:
            if self.config.checkpoint_folder is None:
                raise ValueError("resume_from_checkpoint=True needs a checkpoint_folder, got None")
            checkpoint = latest_checkpoint(self.config.checkpoint_folder)
            if checkpoint is None:
                return
        if not isinstance(checkpoint, (str, Path)):
            raise ValueError(
                f"resume_from_checkpoint must be True, False or a path, got {describe(checkpoint)}"
            )
        meta = checkpoint_meta(checkpoint)
        ours, theirs = self.config.what_decides_the_weights(), meta["config"]
        changed = [
            f"{key} {theirs.get(key)!r} -> {ours[key]!r}" for key in ours if ours[key] != theirs.get(key)
        ]
        if changed:
            raise ValueError(f"checkpoint {str(checkpoint)!r} has other settings: {', '.join(changed)}")
        self.step = load_checkpoint(checkpoint, self.model, self.optimizer)
        self.history = meta["history"]
        self._tokens, self._seconds = self.history[-1]["tokens"], self.history[-1]["seconds"]
        self._since = []

    def _checked_source(self, name: str, data: Any) -> Any:
        source = as_source(data)
        length = self.config.context_length
        try:
            source.check(length)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        settings = getattr(self.model, "config", None)
        vocabulary, window = getattr(settings, "vocab_size", None), getattr(settings, "max_length", None)
        if vocabulary is not None and getattr(source, "largest_id", 0) >= vocabulary:
            raise ValueError(
                f"{name} holds id {source.largest_id}, the model's vocabulary ends at {vocabulary - 1}"
            )
        if window is not None and length > window:
            raise ValueError(f"context_length must be at most the model's {window}, got {length}")
        return source

    def _to_device(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.device.type != "cuda":
            return {name: tensor.to(self.device) for name, tensor in batch.items()}
        # from pinned memory the copy goes on while the host does
        return {
            name: tensor.pin_memory().to(self.device, non_blocking=True) for name, tensor in batch.items()
        }

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()


def _decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and embeddings decay; gains and biases (one axis) do not: zero is not their natural value."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("the model has no parameter to train")
    matrices = [parameter for parameter in trained if parameter.ndim >= 2]
    vectors = [parameter for parameter in trained if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
