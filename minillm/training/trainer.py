"""The Trainer: puts the parts of a run together, and is what one calls: train, evaluate, predict.

    settings -> batches (feed.py), objective, optimiser, schedule, callbacks -> the loop (loop.py) -> history

What happens step by step stands in loop.py; open_loop.py is the same with nothing around it.

Book: 3.4.2 트레이너 API를 사용해 학습하기. Held against: transformers.Trainer.
Differs from it: `train` returns the history (which has TrainOutput's names, too); True resumes from nothing where there
is no checkpoint; a call of `train` after Ctrl-C goes on; a resumed run must have the settings of its checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minillm._checks import check_choice, check_function, describe
from minillm.nn.fast_cpu import fast_layers
from minillm.training.adamw import AdamW
from minillm.training.arguments import TrainingArguments, steps_of
from minillm.training.batches import Batch
from minillm.training.callbacks import Callbacks, TrainerControl, TrainerState
from minillm.training.checkpoint import load_weights
from minillm.training.checkpointing_blocks import checkpointed_blocks, stacks_of
from minillm.training.computed_loss import ComputedLoss
from minillm.training.config import TrainerConfig, pick_device
from minillm.training.distributed import Processes
from minillm.training.evaluate import EvalPrediction, PredictionOutput, evaluate, predict
from minillm.training.history import History, Records
from minillm.training.loop import Loop
from minillm.training.loss_scaling import LossScale
from minillm.training.objectives import Objective
from minillm.training.parts import (
    in_a_notebook,
    make_feed,
    make_objective,
    make_optimizer,
    make_settings,
    one_of,
)
from minillm.training.randomness import seed_step
from minillm.training.reports import Reports
from minillm.training.resume import check_savable, resume_run
from minillm.training.strategies import STRATEGIES, make_strategy

# what subclasses of transformers' Trainer override, and ours does not call -> what to give it instead
INSTEAD = {
    "training_step": "objective=", "prediction_step": "objective=",
    "create_optimizer": "optimizers=", "create_scheduler": "optimizers=",
    "create_optimizer_and_scheduler": "optimizers=", "get_train_dataloader": "train_dataset= and data_collator=",
    "get_eval_dataloader": "eval_dataset= and data_collator=", "get_test_dataloader": "data_collator=",
    "log": "callbacks= (on_log)", "evaluation_loop": "compute_metrics=",
}  # fmt: skip


class Trainer(Loop, Reports):
    """Trains `model` in place, by TrainingArguments or by a TrainerConfig.

        Trainer(model, args=TrainingArguments(...), train_dataset=rows, eval_dataset=..., data_collator=...)
        Trainer(model, TrainerConfig(...), ids, held_out_ids)

    `train_dataset`, `eval_dataset`: a sequence of dicts (input_ids, labels, ...): a list, our Dataset, one of
    `datasets`; `data_collator` makes a batch of some of them, by default with the padding of `processing_class`, the
    tokenizer. `train_data`, `eval_data`: ids as a list, array or tensor (one long text), a list of examples (each a
    list of ids, or a dict of `input_ids` and `labels`), or a source as in batches.py. Either name takes either. None to
    learn from: evaluate and predict alone. A dict of data sets to evaluate on: figures named eval_<its name>_loss.

    `objective`: what is learned, by default what the model's head is for. `compute_metrics(EvalPrediction) -> dict`
    adds `eval_<name>` figures; `preprocess_logits_for_metrics(logits, labels)` makes less of a batch's logits before
    they are kept for it. `callbacks`: see callbacks.py. `optimizers`: an optimiser and a schedule of one's own, as
    torch's; None for each that is not wanted. `on_step(record)` is called with each record of the history; `tokenizer`
    is `processing_class`, and saved with every checkpoint. A subclass may have a `compute_loss` (computed_loss.py).
    `strategy`: under torchrun, None (gradients summed by hand), "ddp" or "fsdp" (strategies.py).

    Raises ValueError for a model without parameters, data that
    do not fit the model, arguments that do not fit each other, or a strategy without a group of processes.
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
        preprocess_logits_for_metrics: Callable[[Tensor, Tensor], Tensor] | None = None,
        strategy: str | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ValueError(f"model must be a torch module, got {describe(model)}")
        names = ("train_data", "train_dataset"), ("eval_data", "eval_dataset")
        train_name, eval_name = (
            new if one is None else old for one, (old, new) in zip((train_data, eval_data), names)
        )
        settings = one_of("the settings", ("config", "args"), (config, args))
        train_data = one_of("what to learn", names[0], (train_data, train_dataset))
        eval_data = one_of("what to evaluate on", names[1], (eval_data, eval_dataset))
        tokenizer = one_of("the tokenizer", ("tokenizer", "processing_class"), (tokenizer, processing_class))
        self.config, self.args = make_settings(settings, eval_data is not None)
        if tokenizer is not None and not (
            hasattr(tokenizer, "save") or hasattr(tokenizer, "save_pretrained")
        ):
            raise ValueError(f"tokenizer must have a method save(folder), got {describe(tokenizer)}")
        self.tokenizer = self.processing_class = tokenizer
        if self.args.gradient_checkpointing:
            stacks_of(model)  # there are some
        check_choice("strategy", strategy, STRATEGIES)
        needed = "" if strategy is None else f'strategy="{strategy}"'
        self.processes = Processes(pick_device(self.args.device), self.args.ddp_timeout, needed)
        self.device = self.processes.device
        self.model = model.to(self.device)
        self.data_collator = check_function("data_collator", data_collator)
        self.train_feed = None if train_data is None else self.new_feed(train_name, train_data)
        self.eval_feeds = self._new_eval_feeds(eval_name, eval_data)
        self.objective = make_objective(model, objective, self.config, self.args.label_smoothing_factor)
        if hasattr(self, "compute_loss"):  # a subclass has one
            if objective is not None or self.args.label_smoothing_factor:
                raise ValueError(
                    "compute_loss is the loss: give no objective and no label_smoothing_factor besides"
                )
            self.objective = ComputedLoss(self.compute_loss, self.objective)
        self.compute_metrics = check_function("compute_metrics", compute_metrics)
        self.preprocess_logits = check_function(
            "preprocess_logits_for_metrics", preprocess_logits_for_metrics
        )
        self.on_step = check_function("on_step", on_step)
        self.strategy = make_strategy(
            strategy, model, self.objective, self.processes, optimizers, self.args.fp16
        )
        self.optimizer, self.lr_scheduler, self._peaks = make_optimizer(
            model, self.args, optimizers, self.strategy.own
        )
        self.loss_scale = LossScale(fixed=not self.args.fp16)
        # on a GPU the host would wait for all that it has asked for
        self._reads_are_free = self.device.type == "cpu" or not isinstance(self.optimizer, AdamW)
        self.records = History(self.device)
        self.control, self.state = TrainerControl(), self._new_state()
        self.rate = self.config.rate(self.state.max_steps)
        # the short form has its history, a notebook its plots
        prints = isinstance(self.config, TrainingArguments) and not in_a_notebook()
        self.callbacks = Callbacks(callbacks, prints)
        self.place, self.logged, self._trail = (0, 0), 0, []
        self._call("on_init_end")

    def __init_subclass__(cls, **options: Any) -> None:
        """ValueError for a class that overrides what is never called: it would be believed to act."""
        super().__init_subclass__(**options)
        for name, instead in INSTEAD.items():
            if hasattr(cls, name):
                raise ValueError(
                    f"{cls.__name__} overrides {name}, which minillm's Trainer does not call; what it should do is "
                    f"given to the Trainer as {instead}"
                )

    def train(self, resume_from_checkpoint: bool | str | Path | None = None) -> Records:
        """Run until all updates are done or a callback ends it; returns the history, a list with one dict a record.

        Keys: step (1 for the first), train_loss (mean since the last record, nats a target), learning_rate,
        gradient_norm (before clipping), tokens (targets seen so far), seconds (of training so far),
        tokens_per_second, eval_loss and eval_<metric> (None where not evaluated), epoch where there are epochs. The
        list has transformers' TrainOutput as attributes: global_step, training_loss, metrics (train_loss, ...).
        `resume_from_checkpoint`: True takes the newest checkpoint of the folder (starts anew without one), a path takes
        that one. Raises ValueError if it is refused, TrainingDiverged if the loss is NaN or infinite. Ctrl-C
        leaves the checkpoints written so far, all of them whole.
        """
        if self.train_feed is None:
            raise ValueError("train() needs a train_dataset, the Trainer was given none")
        if resume_from_checkpoint is not False and resume_from_checkpoint is not None:
            resume_run(self, resume_from_checkpoint)
        check_savable(self)
        self._check_eval_data()
        self.strategy.same_start()
        was_training = self.model.training
        # tqdm's None: silent where standard error is no terminal
        hidden = self.args.disable_tqdm if self.processes.first else True
        shown = {"initial": self.step, "total": self.state.max_steps, "disable": hidden}
        gpus = [self.device] if self.device.type == "cuda" else []
        try:
            # dropout reads torch's global generator: it is seeded anew each step, and given back as it was
            bar = tqdm(**shown, unit="step", dynamic_ncols=True)
            saving = checkpointed_blocks(self.model) if self.args.gradient_checkpointing else nullcontext()
            with torch.random.fork_rng(gpus), fast_layers(self.model), saving, bar:
                self._loop(bar)
        finally:
            self.model.train(was_training)
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            cutter = self.strategy if self.strategy.cuts else None
            load_weights(self.state.best_model_checkpoint, self.model, cutter)
        self._call("on_train_end")
        return self._totals()

    def evaluate(self, eval_dataset: Any = None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """{"eval_loss": nats a target, "eval_<metric>": ...} on the data given or the Trainer's; ValueError without."""
        feeds = (
            self.eval_feeds if eval_dataset is None else self._new_eval_feeds("eval_dataset", eval_dataset)
        )
        if not feeds:
            raise ValueError("evaluate() needs eval_data, the Trainer was given none")
        figures: dict[str, float] = {}
        for name, feed in feeds.items():
            prefix = f"{metric_key_prefix}_{name}" if name else metric_key_prefix
            with self._autocast(), self._seeded(), fast_layers(self.model):
                batches = feed.eval_batches(self.args.eval_batches)
                figures |= evaluate(
                    self.model, batches, self.strategy.objective, self.compute_metrics, self._to_device, prefix,
                    self.preprocess_logits,
                )  # fmt: skip
        return self.processes.agreed(figures)

    def predict(self, test_dataset: Any, metric_key_prefix: str = "test") -> PredictionOutput:
        """(predictions, label_ids, metrics) of all examples in order; metrics are named test_loss, test_<metric>."""
        feed = self.new_feed("test_dataset", test_dataset)
        with self._autocast(), self._seeded(), fast_layers(self.model):
            found = predict(
                self.model,
                feed.eval_batches(),
                self.strategy.objective,
                self.compute_metrics,
                self._to_device,
                metric_key_prefix,
                preprocess=self.preprocess_logits,
            )
        self._call("on_predict", metrics=found.metrics)
        return found

    def add_callback(self, callback: Any) -> None:
        """Put a callback, or a class of one, behind those there are."""
        self.callbacks.add(callback)

    def pop_callback(self, callback: Any) -> Any:
        """Take out a callback, or the first of a class, and return it; None if there is none."""
        return self.callbacks.take(callback)

    def remove_callback(self, callback: Any) -> None:
        """Take out a callback, or the first of a class."""
        self.callbacks.take(callback)

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
        feed = next(iter(self.eval_feeds.values()), None)
        return getattr(feed, "source", feed)

    def _new_eval_feeds(self, name: str, data: Any) -> dict[str, Any]:
        """The batches of each data set by its name; one that has none is called ""."""
        if isinstance(data, Mapping):
            return {str(part): self.new_feed(f"{name}[{part!r}]", one) for part, one in data.items()}
        return {} if data is None else {"": self.new_feed(name, data)}

    def _check_eval_data(self) -> None:
        """ValueError for data without labels now, and not after the first epoch."""
        if self.args.eval_strategy != "no":
            for feed in self.eval_feeds.values():
                with self._seeded():
                    self.objective.count(next(iter(feed.eval_batches(self.args.eval_batches))))

    def _totals(self) -> Records:
        """The history with the figures of the whole run."""
        history, args = self.records.entries, self.args
        seconds = history[-1]["seconds"] if history else 0.0
        rows = (
            args.per_device_train_batch_size
            * args.gradient_accumulation_steps
            * self.processes.count
            * self.step
        )
        history.global_step, history.training_loss = self.step, self.records.mean_loss(0)
        history.metrics = {
            "train_runtime": seconds, "train_samples_per_second": rows / max(seconds, 1e-9),
            "train_steps_per_second": self.step / max(seconds, 1e-9), "train_loss": history.training_loss,
        } | ({} if self.state.epoch is None else {"epoch": self.state.epoch})  # fmt: skip
        return history

    def _new_state(self) -> TrainerState:
        """The state before the first step: how many steps there are, and which of them are special."""
        args, processes = self.args, self.processes
        feed = self.train_feed
        self.steps_per_epoch = None if feed is None else feed.steps_per_epoch(processes.count)
        steps, epochs = args.max_steps, 1
        if feed is None:  # it only evaluates and predicts
            steps = 1
        elif self.steps_per_epoch is not None:
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

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """A collator that draws at random draws the same in every evaluation, and takes nothing from the run."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            seed_step(self.args.seed, 0, 0, self.device)
            yield
