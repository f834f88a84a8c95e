"""The training loop: draw a batch, measure the loss, follow its gradient a little way down, again and again.

    w <- w - AdamW(clip(d loss(batch(seed, step), w) / d w)) * rate(step)

Everything random at step s (the batch, dropout) is drawn from (seed, s). Together with the weights, the optimiser's
averages and what the callbacks remember, that is the whole state: 5 steps, a checkpoint and 5 more give the bits of 10
in one go. `open_loop.py` is the same without everything that surrounds it; trainer.py puts the parts together.

Book: 2.8 주요 사전 학습 메커니즘, 3.4 모델 학습시키기. Held against: transformers.Trainer.
Leaves out: torch.compile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minillm.training.adamw import AdamW
from minillm.training.arguments import TrainingArguments
from minillm.training.callbacks import Callbacks, TrainerControl, TrainerState, is_better, metric_name
from minillm.training.distributed import Processes
from minillm.training.history import History
from minillm.training.loss_scaling import LossScale
from minillm.training.parts import set_rates
from minillm.training.randomness import seed_step
from minillm.training.resume import save_run
from minillm.training.strategies import Round, Strategy
from minillm.training.tally import Reading


class TrainingDiverged(ValueError):
    """The loss or its gradient is no longer a finite number. The weights are those of the last good step.

    On a GPU, where asking after every step would cost time, it is raised at the next record of the history; the
    steps in between, too, have left the weights as they were.
    """


class Loop:
    """What a Trainer does while it trains; the Trainer is made of the parts that are named here."""

    model: nn.Module
    args: TrainingArguments
    train_feed: Any
    objective: Any
    optimizer: Any
    lr_scheduler: Any
    rate: Callable[[int], float]
    loss_scale: LossScale
    processes: Processes
    strategy: Strategy
    device: torch.device
    records: History
    callbacks: Callbacks
    tokenizer: Any
    on_step: Callable[[dict[str, Any]], None] | None
    evaluate: Callable[[], dict[str, float]]
    state: TrainerState
    control: TrainerControl
    steps_per_epoch: int | None
    place: tuple[int, int]
    """the epoch, and how many of its updates are done"""
    _trail: list[tuple[int, int]]
    """the places of the steps since the last record"""
    logged: int
    """the step of the last record of the loss in log_history"""

    @property
    def step(self) -> int:
        """Updates done."""
        return self.state.global_step

    @step.setter
    def step(self, step: int) -> None:
        self.state.global_step = step

    @property
    def history(self) -> list[dict[str, Any]]:
        """The records, as `train` returns them."""
        return self.records.entries

    def _loop(self, bar: tqdm) -> None:
        """Update after update, to the last one or until a callback ends the run."""
        state = self.state
        self.model.train()
        self.records.restart()
        self.records.close(self.step)  # steps that Ctrl-C left without a record
        self._trail = []
        if state.global_step == 0:
            self.control = TrainerControl()
        if state.global_step == 0 and self.steps_per_epoch is not None:
            state.epoch = 0.0
        self._call("on_train_begin")
        if self.args.eval_on_start and state.global_step == 0:
            self._evaluated(self.evaluate())
        while state.global_step < state.max_steps and not self.control.should_training_stop:
            if self.place[1] == 0:
                self.control.should_epoch_stop = False
                self._call("on_epoch_begin")
            self.control.new_step()
            self._call("on_step_begin")
            self._trail.append(self.place)
            with self.records.timed() as targets:
                rate, count = self._update()
                targets.append(count)
            self._advance()
            bar.update()
            self._call("on_step_end")
            # an epoch ends before its last step is recorded, evaluated and saved: a checkpoint leaves nothing to do
            over = self.place[1] == 0
            if over or self.control.should_epoch_stop or self.control.should_training_stop:
                self.place = self.place if over else (self.place[0] + 1, 0)
                self._call("on_epoch_end")
            self._act(rate, bar)
        if self.history and "train_loss" not in (state.log_history or [{}])[-1]:
            self._log({"train_loss": self.records.mean_loss(0)})
        if self.place[1]:  # an evaluation has ended the run within an epoch
            self._call("on_epoch_end")

    def _update(self) -> tuple[float, int]:
        """One update; returns (learning rate, targets). Reads nothing from a GPU: the host runs ahead of it."""
        args, processes, strategy = self.args, self.processes, self.strategy
        seed_step(args.seed, self.step, processes.rank, self.device)
        parts = self.train_feed.passes(self.step, *self.place, processes.rank, processes.count)
        counts = [self.objective.count(part) for part in parts]
        total = processes.total(sum(counts))
        if total == 0:
            raise ValueError(f"the batch of step {self.step} has no targets: every label is ignored")
        strategy.zero_grad(self.optimizer)
        loss = self._accumulate(strategy.rounds(parts, counts, self._all_rounds), total)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        loss = strategy.collect(parameters, loss)
        fits = self.loss_scale.undo([p.grad for p in parameters if p.grad is not None])
        norm = strategy.clip(parameters, args.max_grad_norm)
        good = self.records.add(loss, norm if fits else torch.zeros_like(norm))
        if self._reads_are_free:
            self._read_tally()
        rate = set_rates(
            self.optimizer, self.lr_scheduler, self._peaks, self.rate(self.step), args.learning_rate
        )
        self._call("on_pre_optimizer_step")
        if fits:
            self.optimizer.step(*[good] * isinstance(self.optimizer, AdamW))
        elif self.loss_scale.is_hopeless:
            raise TrainingDiverged(
                f"training stopped at step {self.step + 1}: with fp16 the gradient is infinite at every scale of the "
                "loss; bf16=True or neither has the range that this model needs"
            )
        self._call("on_optimizer_step")
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()
        return rate, total

    def _accumulate(self, rounds: Sequence[Round], total: int) -> Tensor:
        """Add up the gradients of the passes of an update; returns their part of the loss, the mean over all targets.

        rounds: a batch and its targets each. total: targets of the update, on all processes.
        """
        loss, scale = torch.zeros((), device=self.device), self.loss_scale.scale * self.strategy.factor
        for number, (part, count) in enumerate(rounds, 1):
            with self.strategy.one_round(number == len(rounds)):
                with self._autocast():
                    # each part weighs by its targets, so that the sum is the mean over all targets of the step
                    share = self.strategy.objective(self.model, self._to_device(part)).loss * (count / total)
                (share if scale == 1 else share * scale).backward()
            loss += share.detach()
            if number < len(rounds):
                self._call("on_substep_end")
        return loss

    def _all_rounds(self) -> Iterator[Round]:
        """The batches of all processes for this update, with their targets."""
        for rank in range(self.processes.count):
            for part in self.train_feed.passes(self.step, *self.place, rank, self.processes.count):
                yield part, self.objective.count(part)

    def _advance(self) -> None:
        """Count the update."""
        state, (epoch, place) = self.state, self.place
        state.global_step += 1
        if self.steps_per_epoch is None:
            self.place = (0, place + 1)
            return
        state.epoch = epoch + (place + 1) / self.steps_per_epoch
        self.place = (epoch + 1, 0) if place + 1 == self.steps_per_epoch else (epoch, place + 1)

    def _act(self, rate: float, bar: tqdm) -> None:
        """Do what the callbacks ask for: a record, an evaluation, a checkpoint. The last step always has a record."""
        control, state = self.control, self.state
        last = state.global_step >= state.max_steps or control.should_training_stop
        if not (control.should_log or control.should_evaluate or control.should_save or last):
            return
        with self.records.timed():  # of the steps that a GPU was still busy with
            reading = self._read_tally()
        record = self.records.record(reading, state.global_step, rate, state.epoch)
        self._trail = []
        if control.should_log:
            loss = self.records.mean_loss(self.logged)
            self._log({"loss": loss, "grad_norm": record["gradient_norm"], "learning_rate": rate})
            self.logged = state.global_step
        if control.should_evaluate:
            metrics = self.evaluate()
            record |= metrics
            self._evaluated(metrics)
        shown = {"loss": record["train_loss"], "eval": record["eval_loss"]}
        bar.set_postfix({name: f"{x:.3f}" for name, x in shown.items() if x is not None}, refresh=False)
        if self.control.should_save:
            save_run(self)
            self._call("on_save")
        if self.on_step is not None:
            self.on_step(record)

    def _log(self, figures: Mapping[str, float]) -> None:
        epoch = {} if self.state.epoch is None else {"epoch": self.state.epoch}
        self.state.log_history.append({**figures, **epoch, "step": self.state.global_step})
        self._call("on_log", logs=self.state.log_history[-1])

    def _evaluated(self, metrics: Mapping[str, float]) -> None:
        """Note an evaluation, and whether it was the best so far."""
        self._log(metrics)
        args, state = self.args, self.state
        if args.metric_for_best_model is not None and metric_name(args) not in metrics:
            raise ValueError(
                f"metric_for_best_model is {args.metric_for_best_model!r}, the evaluation gave {sorted(metrics)}"
            )
        self._call("on_evaluate", metrics=metrics)
        better = False
        if args.metric_for_best_model is not None:
            value = metrics[metric_name(args)]
            better = is_better(value, state.best_metric, args.greater_is_better)
            if better:
                state.best_metric, state.best_global_step = value, state.global_step
        if args.save_strategy == "best":
            self.control.should_save = better

    def _read_tally(self) -> Reading:
        """Loss and gradient norm so far; TrainingDiverged, with the count of steps put right, after a bad step."""
        reading = self.records.read()
        if not reading.good:
            good = self.records.recorded + reading.steps
            self.optimizer.uncount(self.step - good)
            self.step, self.place = good, self._trail[reading.steps]
            self.control = TrainerControl()
            del self.records.since[reading.steps :]
            raise TrainingDiverged(
                f"training stopped at step {self.step + 1}: loss {reading.loss}, gradient norm {reading.norm}; a "
                f"lower learning_rate (now {self.args.learning_rate:g}), more warmup_steps or a smaller "
                "max_grad_norm usually helps"
            )
        return reading

    def _call(self, event: str, **parts: Any) -> None:
        parts |= {"model": self.model, "optimizer": self.optimizer, "processing_class": self.tokenizer}
        parts["lr_scheduler"] = self.lr_scheduler
        self.control = self.callbacks.call(event, self.args, self.state, self.control, **parts)

    def _to_device(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.device.type != "cuda":
            return {name: tensor.to(self.device) for name, tensor in batch.items()}
        # from pinned memory the copy goes on while the host does
        return {
            name: tensor.pin_memory().to(self.device, non_blocking=True) for name, tensor in batch.items()
        }

    def _autocast(self) -> AbstractContextManager:
        if not (self.args.bf16 or self.args.fp16):
            return nullcontext()
        return torch.autocast(self.device.type, torch.float16 if self.args.fp16 else torch.bfloat16)
