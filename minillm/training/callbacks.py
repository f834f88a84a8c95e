"""What others may do while a model trains: look on, ask for a record, an evaluation or a checkpoint, or end the run.

    callback.on_step_end(args, state, control, model=..., optimizer=..., ...)     state: where the run is
    control.should_training_stop = True                                           control: what is to be done next

The Trainer itself decides when to log, evaluate and save by such a callback (`Flow`), which comes first.

Book: 3.4.2 트레이너 API를 사용해 학습하기. Held against: transformers.TrainerCallback, of the same names.
Leaves out: on_prediction_step, on_push_begin.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minillm._checks import check_int, check_number, describe, is_listing
from minillm._files import BadFileError, read_json, write_whole

EVENTS = (
    "on_init_end", "on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end", "on_step_begin",
    "on_substep_end", "on_pre_optimizer_step", "on_optimizer_step", "on_step_end", "on_log",
    "on_evaluate", "on_predict", "on_save",
)  # fmt: skip


@dataclass
class TrainerState:
    """Where a run is. It is saved with every checkpoint, as JSON."""

    epoch: float | None = None
    global_step: int = 0
    """updates done"""
    max_steps: int = 0
    num_train_epochs: int = 0
    logging_steps: int = 500
    eval_steps: int = 500
    save_steps: int = 500
    train_batch_size: int = 0
    log_history: list[dict[str, Any]] = field(default_factory=list)
    """as in transformers: a dict for each record of the loss, each evaluation, and the end"""
    best_metric: float | None = None
    best_global_step: int | None = None
    best_model_checkpoint: str | None = None
    is_local_process_zero: bool = True
    is_world_process_zero: bool = True

    def save_to_json(self, json_path: str | Path) -> None:
        """Write it into a file, whole or not at all."""
        write_whole(json_path, json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")

    @classmethod
    def load_from_json(cls, json_path: str | Path) -> TrainerState:
        """What `save_to_json` wrote, or the trainer_state.json of transformers; BadFileError for anything else."""
        found = read_json(json_path, "trainer state")
        if not isinstance(found, dict):
            raise BadFileError(f"trainer state {str(json_path)!r} must hold a dict, got {describe(found)}")
        return restored(cls, found)


@dataclass
class TrainerControl:
    """What the loop is to do next; callbacks set these flags."""

    should_training_stop: bool = False
    should_epoch_stop: bool = False
    should_save: bool = False
    should_evaluate: bool = False
    should_log: bool = False

    def new_step(self) -> None:
        """Before each step what was asked for is forgotten; a stop is not."""
        self.should_save = self.should_evaluate = self.should_log = False


class TrainerCallback:
    """Override the events you want: each is called with (args, state, control) and named parts of the run.

    The parts are `model`, `optimizer`, `lr_scheduler`, `processing_class`, and `logs` (on_log) or `metrics`
    (on_evaluate, on_predict).
    What changes while a callback looks on is lost when a run is resumed, unless `state()` gives it: a dict
    {"args": what the callback was made with, "attributes": {name: JSON-able value}}.
    """

    def on_init_end(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """The Trainer has been made."""

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """The run begins, or goes on from a checkpoint."""

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """The run is over, and the best model is back if that was asked for."""

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """A pass over the data begins."""

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """A pass over the data is done; the last step's record, evaluation and checkpoint come after it."""

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """An update begins."""

    def on_substep_end(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """One of the passes that an update accumulates is done, and it was not the last."""

    def on_pre_optimizer_step(
        self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> Any:
        """The gradient is whole and clipped; the weights are still the old ones."""

    def on_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """The weights are the new ones; their gradient is still there."""

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """An update is done."""

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """`logs` has been added to state.log_history."""

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """An evaluation gave `metrics`."""

    def on_predict(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """`Trainer.predict` gave `metrics`."""

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> Any:
        """A checkpoint has been written."""


class Flow(TrainerCallback):
    """When to log, to evaluate and to save, by the three strategies; the last step ends the run."""

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Every so many steps; with strategy "steps" the last step is evaluated and saved, too."""
        step, last = state.global_step, state.global_step >= state.max_steps
        control.should_log |= step == 1 and args.logging_first_step
        control.should_log |= args.logging_strategy == "steps" and step % state.logging_steps == 0
        if args.eval_strategy == "steps" and args.eval_delay <= step:
            control.should_evaluate |= last or step % state.eval_steps == 0
        if args.save_strategy == "steps":
            control.should_save |= last or step % state.save_steps == 0
        control.should_training_stop |= last

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """At the end of every epoch."""
        control.should_log |= args.logging_strategy == "epoch"
        control.should_evaluate |= args.eval_strategy == "epoch" and args.eval_delay <= (state.epoch or 0)
        control.should_save |= args.save_strategy == "epoch"


class PrinterCallback(TrainerCallback):
    """Print each entry of log_history, as transformers does: {'loss': '0.6931', ..., 'epoch': '1'}.

    Above the progress bar where there is one. A Trainer with TrainingArguments has it from the start, except in a
    notebook, where the history is drawn; `trainer.remove_callback(PrinterCallback)` is for silence.
    """

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Process 0 alone prints."""
        if state.is_world_process_zero:
            told = {name: x for name, x in parts["logs"].items() if name != "step"}
            tqdm.write(str({name: f"{x:.4g}" if isinstance(x, float) else x for name, x in told.items()}))


class EarlyStoppingCallback(TrainerCallback):
    """End the run when `metric_for_best_model` has not become better by more than a threshold, patience times in a row.

    ValueError for a patience below 1, and, when training begins, for arguments without a metric or an evaluation.
    """

    def __init__(self, early_stopping_patience: int = 1, early_stopping_threshold: float = 0.0) -> None:
        self.early_stopping_patience = check_int("early_stopping_patience", early_stopping_patience, 1)
        self.early_stopping_threshold = check_number("early_stopping_threshold", early_stopping_threshold, 0)
        self.early_stopping_patience_counter = 0

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Refuse a run that cannot tell when to stop."""
        if args.metric_for_best_model is None or args.eval_strategy == "no":
            raise ValueError(
                "EarlyStoppingCallback needs metric_for_best_model and an eval_strategy of steps or epoch, got "
                f"{args.metric_for_best_model!r} and {args.eval_strategy!r}"
            )

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Count the evaluations since the last that was better; best_metric is still that of the ones before."""
        value, best = parts["metrics"][metric_name(args)], state.best_metric
        better = is_better(value, best, args.greater_is_better, self.early_stopping_threshold)
        self.early_stopping_patience_counter = 0 if better else self.early_stopping_patience_counter + 1
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        names = ("early_stopping_patience", "early_stopping_threshold")
        return {
            "args": {name: getattr(self, name) for name in names},
            "attributes": {"early_stopping_patience_counter": self.early_stopping_patience_counter},
        }


def metric_name(args: Any) -> str:
    """How the metric for the best model stands in what an evaluation gives."""
    name = args.metric_for_best_model
    return name if name.startswith("eval_") else f"eval_{name}"


def is_better(value: float, best: float | None, greater: bool | None, by_more_than: float = 0.0) -> bool:
    """Whether a metric is better than the best before. NaN never is: nothing could be better than it afterwards."""
    if math.isnan(value) or best is None:
        return not math.isnan(value)
    return (value - best if greater else best - value) > by_more_than


class Callbacks:
    """The callbacks of a run, in order: `call("on_step_end", args, state, control, ...)` asks each of them."""

    def __init__(self, callbacks: Iterable[Any] | None, prints: bool = False) -> None:
        """Classes are made into objects, as in transformers. ValueError for what has none of the events.

        prints: whether the entries of log_history are printed.
        """
        if callbacks is not None and not is_listing(callbacks):
            raise ValueError(f"callbacks must be a list of callbacks, got {describe(callbacks)}")
        self.every: list[Any] = [Flow()]
        for one in callbacks or ():
            self.add(one)
        if prints and not any(isinstance(one, PrinterCallback) for one in self.every):
            self.add(PrinterCallback)

    def add(self, callback: Any) -> None:
        """Put it behind the others."""
        made = callback() if isinstance(callback, type) else callback
        if not any(callable(getattr(made, event, None)) for event in EVENTS):
            raise ValueError(f"a callback must be like TrainerCallback(), got {describe(callback)}")
        self.every.append(made)

    def take(self, callback: Any) -> Any:
        """Take out this callback, or the first of this class, and return it; None if there is none."""
        for place, one in enumerate(self.every):
            if one is callback or (isinstance(callback, type) and type(one) is callback):
                return self.every.pop(place)
        return None

    def call(
        self, event: str, args: Any, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> TrainerControl:
        """Ask each callback; one that returns a TrainerControl puts it in the place of the old one."""
        for callback in self.every:
            method = getattr(callback, event, None)
            answer = None if method is None else method(args, state, control, **parts)
            control = answer if isinstance(answer, TrainerControl) else control
        return control

    def saved(self) -> list[dict[str, Any]]:
        """What the callbacks that have a `state()` want to be kept."""
        kept = [(type(one).__name__, one.state()) for one in self.every if hasattr(one, "state")]
        for name, state in kept:
            if not isinstance(state, dict) or not isinstance(state.get("attributes"), dict):
                raise ValueError(
                    f'{name}.state() must be a dict with "attributes", a dict, got {describe(state)}'
                )
        return [{"name": name, **state} for name, state in kept]

    def restore(self, saved: Iterable[dict[str, Any]]) -> None:
        """Give each callback what its namesake had; those of the same class are taken in order."""
        left = list(saved)
        for one in self.every:
            found = next((kept for kept in left if kept["name"] == type(one).__name__), None)
            if found is not None:
                left.remove(found)
                for name, value in found["attributes"].items():
                    setattr(one, name, value)


def restored(kind: type, values: dict[str, Any]) -> Any:
    """A TrainerState or TrainerControl from what `asdict` gave."""
    known = {one.name for one in fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in known})
