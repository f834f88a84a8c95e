"""The training loop: draw a batch, measure the loss, follow its gradient a little way down, again and again.

    w <- w - AdamW(clip(d loss(batch(seed, step), w) / d w)) * rate(step)

Everything random at step s (the batch, dropout) is drawn from (seed, s). Together with the weights, the optimiser's
averages and what the callbacks remember, that is the whole state: 5 steps, a checkpoint and 5 more give the bits of 10
in one go. `open_loop.py` is the same without everything that surrounds it.

Book: 2.8 주요 사전 학습 메커니즘, 3.4 모델 학습시키기. Held against: transformers.Trainer.
Leaves out: ZeRO (it comes with its chapter), torch.compile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minillm._checks import check_function, check_path, describe
from minillm.nn.fast_cpu import fast_layers
from minillm.training.adamw import AdamW
from minillm.training.arguments import TrainingArguments, steps_of
from minillm.training.batches import Batch
from minillm.training.callbacks import Callbacks, TrainerControl, TrainerState, metric_name
from minillm.training.checkpoint import load_weights
from minillm.training.clipping import clip_gradients, gradient_norm
from minillm.training.config import TrainerConfig, pick_device
from minillm.training.distributed import Processes
from minillm.training.evaluate import EvalPrediction, PredictionOutput, evaluate, predict
from minillm.training.history import History
from minillm.training.loss_scaling import LossScale
from minillm.training.objectives import Objective
from minillm.training.parts import make_feed, make_objective, make_optimizer, make_settings, one_of, set_rates
from minillm.training.randomness import seed_step
from minillm.training.resume import resume_run, save_run
from minillm.training.tally import Reading


class TrainingDiverged(ValueError):
    """The loss or its gradient is no longer a finite number. The weights are those of the last good step.

    On a GPU, where asking after every step would cost time, it is raised at the next record of the history; the
    steps in between, too, have left the weights as they were.
    """


class Trainer:
    """Trains `model` in place, by TrainingArguments or by a TrainerConfig.

        Trainer(model, args=TrainingArguments(...), train_dataset=rows, eval_dataset=..., data_collator=...)
        Trainer(model, TrainerConfig(...), ids, held_out_ids)

    `train_dataset`, `eval_dataset`: a sequence of dicts (input_ids, labels, ...): a list, our Dataset, one of
    `datasets`; `data_collator` makes a batch of some of them, by default with the padding of `processing_class`, the
    tokenizer. `train_data`, `eval_data`: ids as a list, array or tensor (one long text), a list of examples (each a
    list of ids, or a dict of `input_ids` and `labels`), or a source as in batches.py. Either name takes either.
    `objective`: what is learned, by default what the model's head is for. `compute_metrics(EvalPrediction) -> dict`
    adds `eval_<name>` figures. `callbacks`: see callbacks.py. `optimizers`: an optimiser and a schedule of one's own,
    as torch's; None for each that is not wanted. `on_step(record)` is called with each record of the history;
    `tokenizer` is `processing_class`, and saved with every checkpoint. Raises ValueError for a model without
    parameters, data that do not fit the model, or arguments that do not fit each other.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainerConfig | TrainingArguments | None = None,
        train_data: Any = None,
        eval_data: Any = None,
        objective: Objective | None = None,
        compute_metrics: Callable[[EvalPrediction], Mapping[str, float]] | None = None,
        on_step: Callable[[dict[str, Any]], None] | None = None,
        tokenizer: Any = None,
        *,
        args: TrainingArguments | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        data_collator: Callable[[list[Any]], Batch] | None = None,
        processing_class: Any = None,
        callbacks: Iterable[Any] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ValueError(f"model must be a torch module, got {describe(model)}")
        settings = one_of("the settings", ("config", "args"), (config, args))
        train_data = one_of("what to learn", ("train_data", "train_dataset"), (train_data, train_dataset))
        eval_data = one_of("what to evaluate on", ("eval_data", "eval_dataset"), (eval_data, eval_dataset))
        tokenizer = one_of("the tokenizer", ("tokenizer", "processing_class"), (tokenizer, processing_class))
        self.config, self.args = make_settings(settings, eval_data is not None)
        if tokenizer is not None and not callable(getattr(tokenizer, "save", None)):
            raise ValueError(f"tokenizer must have a method save(path), got {describe(tokenizer)}")
        self.tokenizer = self.processing_class = tokenizer
        self.device = pick_device(self.args.device)
        self.model = model.to(self.device)
        self.data_collator = check_function("data_collator", data_collator)
        self.train_feed = self.new_feed("train_data", train_data)
        self.eval_feed = None if eval_data is None else self.new_feed("eval_data", eval_data)
        self.objective = make_objective(model, objective, self.config, self.args.label_smoothing_factor)
        self.compute_metrics = check_function("compute_metrics", compute_metrics)
        self.on_step = check_function("on_step", on_step)
        self.optimizer, self.lr_scheduler, self._peaks = make_optimizer(model, self.args, optimizers)
        self.loss_scale = LossScale(fixed=not self.args.fp16)
        self.processes = Processes(self.device, self.args.ddp_timeout)
        # on a GPU the host would wait for all that it has asked for
        self._reads_are_free = self.device.type == "cpu" or not isinstance(self.optimizer, AdamW)
        self.records = History(self.device)
        self.control, self.state = TrainerControl(), self._new_state()
        self.rate = self.config.rate(self.state.max_steps)
        self.callbacks = Callbacks(callbacks)
        self.place = (0, 0)  # the epoch, and how many of its updates are done
        self._trail: list[tuple[int, int]] = []  # the places of the steps since the last record
        self.logged = 0  # the step of the last record of the loss in log_history
        self._call("on_init_end")

    def train(self, resume_from_checkpoint: bool | str | Path | None = None) -> list[dict[str, Any]]:
        """Run until all updates are done or a callback ends it; returns the history, one dict a record.

        Keys: step (1 for the first), train_loss (mean since the last record, nats a target), learning_rate,
        gradient_norm (before clipping), tokens (targets seen so far), seconds (of training so far),
        tokens_per_second, eval_loss and eval_<metric> (None where not evaluated), epoch where there are epochs.
        `resume_from_checkpoint`: True takes the newest checkpoint of the folder (starts anew without one), a path takes
        that one. Raises ValueError if it is refused, TrainingDiverged if the loss is NaN or infinite. Ctrl-C
        leaves the checkpoints written so far, all of them whole.
        """
        if resume_from_checkpoint is not False and resume_from_checkpoint is not None:
            resume_run(self, resume_from_checkpoint)
        self.processes.same_start(self.model)
        was_training = self.model.training
        # tqdm's None: silent where standard error is no terminal
        hidden = self.args.disable_tqdm if self.processes.first else True
        shown = {"initial": self.step, "total": self.state.max_steps, "disable": hidden}
        gpus = [self.device] if self.device.type == "cuda" else []
        try:
            # dropout reads torch's global generator: it is seeded anew each step, and given back as it was
            bar = tqdm(**shown, unit="step", dynamic_ncols=True)
            with torch.random.fork_rng(gpus), fast_layers(self.model), bar:
                self._loop(bar)
        finally:
            self.model.train(was_training)
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            load_weights(self.state.best_model_checkpoint, self.model)
        self._call("on_train_end")
        return self.history

    def evaluate(self, eval_dataset: Any = None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """{"eval_loss": nats a target, "eval_<metric>": ...} on the data given or the Trainer's; ValueError without."""
        if eval_dataset is None and self.eval_feed is None:
            raise ValueError("evaluate() needs eval_data, the Trainer was given none")
        feed = self.eval_feed if eval_dataset is None else self.new_feed("eval_dataset", eval_dataset)
        with self._autocast(), self._seeded(), fast_layers(self.model):
            batches = feed.eval_batches(self.args.eval_batches)
            figures = evaluate(
                self.model, batches, self.objective, self.compute_metrics, self._to_device, metric_key_prefix
            )
        return self.processes.agreed(figures)

    def predict(self, test_dataset: Any, metric_key_prefix: str = "test") -> PredictionOutput:
        """(predictions, label_ids, metrics) of all examples in order; metrics are named test_loss, test_<metric>."""
        feed = self.new_feed("test_dataset", test_dataset)
        with self._autocast(), self._seeded(), fast_layers(self.model):
            found = predict(
                self.model,
                feed.eval_batches(),
                self.objective,
                self.compute_metrics,
                self._to_device,
                metric_key_prefix,
            )
        self._call("on_predict", metrics=found.metrics)
        return found

    def save_model(self, output_dir: str | Path | None = None) -> Path:
        """Write the model, and the tokenizer if there is one, into a folder that `load_model` opens; returns it."""
        folder = check_path("output_dir", self.args.output_dir if output_dir is None else output_dir)
        if not hasattr(self.model, "save_pretrained"):
            raise ValueError(
                f"the model must have a method save_pretrained(folder), got {describe(self.model)}"
            )
        if self.processes.first:
            self.model.save_pretrained(folder)
            if self.tokenizer is not None:
                self.tokenizer.save(folder / "tokenizer.json")
        return folder

    def add_callback(self, callback: Any) -> None:
        """Put a callback, or a class of one, behind those there are."""
        self.callbacks.add(callback)

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
        state = self.state
        self.model.train()
        self.records.restart()
        self.records.close(self.step)  # steps that Ctrl-C left without a record
        self._trail = []
        if state.global_step == 0:
            self.control = TrainerControl()
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
            value, best = metrics[metric_name(args)], state.best_metric
            better = best is None or (value > best if args.greater_is_better else value < best)
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

    def _update(self) -> tuple[float, int]:
        """One update; returns (learning rate, targets). Reads nothing from a GPU: the host runs ahead of it."""
        args, processes = self.args, self.processes
        seed_step(args.seed, self.step, processes.rank, self.device)
        parts = self.train_feed.passes(self.step, *self.place, processes.rank, processes.count)
        counts = [self.objective.count(part) for part in parts]
        total = processes.total(sum(counts))
        if total == 0:
            raise ValueError(f"the batch of step {self.step} has no targets: every label is ignored")
        self.optimizer.zero_grad()
        loss = torch.zeros((), device=self.device)
        for part, count in zip(parts, counts):
            if count == 0:
                continue
            with self._autocast():
                # each part weighs by its targets, so that the sum is the mean over all targets of the step
                share = self.objective(self.model, self._to_device(part)).loss * (count / total)
            (share if self.loss_scale.fixed else share * self.loss_scale.scale).backward()
            loss += share.detach()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        loss = processes.sum_gradients(parameters, loss)
        fits = self.loss_scale.undo([p.grad for p in parameters if p.grad is not None])
        limit = args.max_grad_norm
        norm = clip_gradients(parameters, limit) if limit else gradient_norm(parameters)
        good = self.records.add(loss, norm if fits else torch.zeros_like(norm))
        if self._reads_are_free:
            self._read_tally()
        rate = set_rates(
            self.optimizer, self.lr_scheduler, self._peaks, self.rate(self.step), args.learning_rate
        )
        if fits:
            self.optimizer.step(*[good] * isinstance(self.optimizer, AdamW))
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()
        return rate, total

    def new_feed(self, name: str, data: Any) -> Any:
        """The batches of a set of data, by the Trainer's collator and arguments."""
        return make_feed(name, data, self.model, self.config, self.args, self.data_collator, self.tokenizer)

    @property
    def train_source(self) -> Any:
        """Where the training batches come from: a source of batches.py, or the examples."""
        return getattr(self.train_feed, "source", self.train_feed)

    @property
    def eval_source(self) -> Any:
        """Where the batches of an evaluation come from."""
        return getattr(self.eval_feed, "source", self.eval_feed)

    def _new_state(self) -> TrainerState:
        """The state before the first step: how many steps there are, and which of them are special."""
        args, processes = self.args, self.processes
        self.steps_per_epoch = self.train_feed.steps_per_epoch(processes.count)
        steps, epochs = args.max_steps, 1
        if self.steps_per_epoch is not None:
            if steps <= 0:
                steps = math.ceil(args.num_train_epochs * self.steps_per_epoch)
            epochs = -(-steps // self.steps_per_epoch)
        elif steps <= 0:
            raise ValueError("max_steps must be above 0 for a stream of ids, which has no epochs")
        every = {
            name: steps_of(getattr(args, name) or 1, steps)
            for name in ("logging_steps", "eval_steps", "save_steps")
        }
        return TrainerState(
            max_steps=steps, num_train_epochs=epochs, train_batch_size=args.per_device_train_batch_size, **every,
            is_local_process_zero=processes.first, is_world_process_zero=processes.first,
        )  # fmt: skip

    def _call(self, event: str, **parts: Any) -> None:
        parts |= {"model": self.model, "optimizer": self.optimizer, "processing_class": self.tokenizer}
        self.control = self.callbacks.call(event, self.args, self.state, self.control, **parts)

    def _to_device(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.device.type != "cuda":
            return {name: tensor.to(self.device) for name, tensor in batch.items()}
        # from pinned memory the copy goes on while the host does
        return {
            name: tensor.pin_memory().to(self.device, non_blocking=True) for name, tensor in batch.items()
        }

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """A collator that draws at random draws the same in every evaluation, and takes nothing from the run."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            seed_step(self.args.seed, 0, 0, self.device)
            yield

    def _autocast(self) -> AbstractContextManager:
        if not (self.args.bf16 or self.args.fp16):
            return nullcontext()
        return torch.autocast(self.device.type, torch.float16 if self.args.fp16 else torch.bfloat16)
