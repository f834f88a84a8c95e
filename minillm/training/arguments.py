"""The settings of a training run under the names that transformers' users know.

    TrainingArguments("out", num_train_epochs=2, learning_rate=3e-5, eval_strategy="epoch")

Names and defaults are transformers'. A name that is not here is refused, and what to write instead is said: a setting
that is silently left out would be believed to act. TrainerConfig (config.py) is the course's short form.

Book: 3.4.2 트레이너 API를 사용해 학습하기. Held against: transformers.TrainingArguments.
Leaves out: what belongs to services (trackers), to many machines (the Trainer's strategy) and to compilers.
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_flag, check_int, check_number, check_text, describe
from minillm.training.config import TrainerConfig, pick_device, pick_precision
from minillm.training.schedule import SCHEDULES, schedule

STRATEGIES = ("no", "steps", "epoch")
ORDERS = ("random", "sequential", "group_by_length")
ADAMW = ("adamw_torch", "adamw_torch_fused", "adamw_hf")
SMALLER = {  # averages of 8 bits (adamw8bit.py), or on disk (paged.py)
    "adamw_8bit": (8, False), "adamw_bnb_8bit": (8, False), "paged_adamw": (32, True), "paged_adamw_32bit": (32, True),
    "paged_adamw_8bit": (8, True),
}  # fmt: skip
# what decides nothing about the weights: a resumed run may change it
FREE = {
    "output_dir", "per_device_eval_batch_size", "eval_batches", "logging_strategy", "logging_steps",
    "logging_first_step", "save_total_limit", "device", "use_cpu", "disable_tqdm", "report_to", "ddp_timeout",
    "save_strategy", "save_steps", "do_train", "do_eval", "do_predict", "resume_from_checkpoint", "hub_model_id",
    "hub_private_repo", "push_to_hub", "optim", "dataloader_num_workers", "dataloader_pin_memory", "run_name",
    "gradient_checkpointing",
}  # fmt: skip
# what scripts say and we do not take: what to write instead
INSTEAD = {
    "evaluation_strategy": "its name is eval_strategy", "no_cuda": "its name is use_cpu",
    "per_gpu_train_batch_size": "its name is per_device_train_batch_size",
    "per_gpu_eval_batch_size": "its name is per_device_eval_batch_size",
    "overwrite_output_dir": "leave it out: a run begins anew unless train() is given resume_from_checkpoint",
    "logging_dir": "leave it out: the log is in trainer.state.log_history and in trainer_state.json",
    "save_safetensors": "leave it out: weights are always saved as safetensors",
    "gradient_checkpointing_kwargs": "leave it out: there is one way to checkpoint (minillm.training.checkpointed)",
    "hub_token": "pass token= to trainer.push_to_hub, so that no file holds it",
    "hub_strategy": "leave it out, and call trainer.push_to_hub() after train()",
    "predict_with_generate": "generate with the trained model (minillm.inference)",
    "torch_compile": "leave it out: there is no compiler here",
    "fsdp": 'give the Trainer strategy="fsdp", under torchrun',
    "deepspeed": 'give the Trainer strategy="fsdp", under torchrun: it cuts what ZeRO-3 cuts',
}  # fmt: skip


@dataclass(frozen=True)
class TrainingArguments:
    """Raises ValueError for a name it does not know and for a value out of range. A step is one update of the weights.

    An update sees `per_device_train_batch_size * gradient_accumulation_steps` examples (times the number of processes
    under torchrun). Steps given as a number below 1 are a share of all steps.
    """

    output_dir: str | Path | None = None
    """folder of the checkpoints; None writes none (transformers writes to "trainer_output")"""
    per_device_train_batch_size: int = 8
    per_device_eval_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    num_train_epochs: float = 3.0
    max_steps: int = -1
    """if above 0, it counts and num_train_epochs does not"""
    learning_rate: float = 5e-5
    lr_scheduler_type: str = "linear"
    lr_scheduler_kwargs: Mapping[str, Any] | None = None
    warmup_steps: float = 0
    warmup_ratio: float | None = None
    weight_decay: float = 0.0
    """of all but biases and norms"""
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float | None = 1.0
    """None or 0: gradients are not clipped"""
    label_smoothing_factor: float = 0.0
    bf16: bool = False
    """float32 weights, matrix products in bfloat16"""
    fp16: bool = False
    """float32 weights, matrix products in float16, the loss scaled so that small gradients survive"""
    gradient_checkpointing: bool = False
    """keep the inputs of the blocks only and compute the rest again: less memory, a third more work, the same bits"""
    train_sampling_strategy: str = "random"
    """ "random", "sequential", or "group_by_length": batches of texts of about the same length"""
    group_by_length: bool = False
    """transformers' older name of train_sampling_strategy="group_by_length" """
    length_column_name: str = "length"
    dataloader_drop_last: bool = False
    """leave out the last batch of an epoch if it is not full; an evaluation leaves out nothing"""
    remove_unused_columns: bool = True
    """columns that the model's forward does not take are left out before the collator sees them"""
    eval_strategy: str = "no"
    eval_steps: float | None = None
    eval_delay: float = 0
    """epochs or steps to wait before the first evaluation"""
    eval_on_start: bool = False
    logging_strategy: str = "steps"
    logging_steps: float = 500
    logging_first_step: bool = False
    save_strategy: str | None = None
    """ "no", "steps", "epoch" or "best"; None is "steps" if there is an output_dir"""
    save_steps: float = 500
    save_total_limit: int | None = None
    """how many checkpoints to keep; the best is one of them, and with 1 the newest is kept besides, to resume from"""
    load_best_model_at_end: bool = False
    metric_for_best_model: str | None = None
    greater_is_better: bool | None = None
    seed: int = 42
    data_seed: int | None = None
    """of the order of the data; None takes `seed`"""
    disable_tqdm: bool | None = None
    use_cpu: bool = False
    report_to: Any = "none"
    run_name: str | None = None
    """a name for trackers; nothing here reads it"""
    optim: str = "adamw_torch_fused"
    """AdamW, whatever its build, adamw_8bit, paged_adamw_32bit or paged_adamw_8bit; another optimiser is given to the
    Trainer as optimizers=(...)"""
    dataloader_num_workers: int = 0
    """of no effect: batches are made in this process (a warning says so)"""
    dataloader_pin_memory: bool = True
    """of no effect: a batch for a GPU is always copied from pinned memory"""
    do_train: bool = False
    """this and the next three are for the script that reads them, as in transformers; the Trainer does not"""
    do_eval: bool = False
    """True if there is an eval_strategy"""
    do_predict: bool = False
    resume_from_checkpoint: str | None = None
    push_to_hub: bool = False
    """False: nothing is uploaded while training; `trainer.push_to_hub()` does it after"""
    hub_model_id: str | None = None
    """ "owner/name": where `trainer.push_to_hub()` uploads to"""
    hub_private_repo: bool | None = None
    ddp_timeout: int = 1800
    """seconds that a process waits for the others under torchrun"""
    device: str = "auto"
    """ours: "cpu", "cuda", ..., or "auto": the first GPU if there is one"""
    context_length: int = 128
    """ours, for a text that is one long stream of ids: how many a row has"""
    eval_batches: int | None = None
    """ours: how many batches an evaluation looks at, spread evenly; None takes all"""

    def __new__(cls, *args: Any, **options: Any) -> TrainingArguments:
        unknown = [name for name in options if name not in cls.__dataclass_fields__]
        for name in unknown:
            near = difflib.get_close_matches(name, cls.__dataclass_fields__, 1)
            hint = f"; the nearest name is {near[0]}" if near else ""
            hint = f"; {INSTEAD[name]}" if name in INSTEAD else hint
            raise ValueError(f"TrainingArguments has no {name} (got {describe(options[name])}){hint}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        self._fill_in()
        for name, least in (
            ("per_device_train_batch_size", 1), ("per_device_eval_batch_size", 1), ("gradient_accumulation_steps", 1),
            ("max_steps", -1), ("seed", 0), ("ddp_timeout", 1), ("context_length", 1), ("dataloader_num_workers", 0),
        ):  # fmt: skip
            check_int(name, getattr(self, name), least)
        for name in ("save_total_limit", "eval_batches"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1)
        for name in (
            "num_train_epochs",
            "learning_rate",
            "warmup_steps",
            "weight_decay",
            "adam_epsilon",
            "eval_delay",
        ):
            check_number(name, getattr(self, name), 0)
        for name in ("adam_beta1", "adam_beta2"):
            check_number(name, getattr(self, name), 0, 1 - 1e-9)
        check_number("label_smoothing_factor", self.label_smoothing_factor, 0, 1)
        if self.max_grad_norm is not None:
            check_number("max_grad_norm", self.max_grad_norm, 0)
        for name in (
            "bf16", "fp16", "gradient_checkpointing", "group_by_length", "dataloader_drop_last",
            "remove_unused_columns", "eval_on_start", "logging_first_step", "load_best_model_at_end", "use_cpu",
            "do_train", "do_eval", "do_predict", "dataloader_pin_memory", "push_to_hub",
        ):  # fmt: skip
            check_flag(name, getattr(self, name))
        for name in ("greater_is_better", "disable_tqdm", "hub_private_repo"):
            check_choice(name, getattr(self, name), (None, True, False))
        self._check_choices()
        if self.max_steps <= 0 and self.num_train_epochs == 0:
            raise ValueError("num_train_epochs must be above 0 where max_steps is not given, got 0")
        # an unknown option of the schedule is found now, not after an hour
        self.rate(1000)

    def _fill_in(self) -> None:
        """The values that follow from others."""
        filled: dict[str, Any] = {}
        if self.save_strategy is None:
            filled["save_strategy"] = "no" if self.output_dir is None else "steps"
        if self.group_by_length is True:
            filled["train_sampling_strategy"] = "group_by_length"
        if self.use_cpu is True:
            filled["device"] = "cpu"
        if self.eval_strategy != "no":
            filled["do_eval"] = True
        if self.eval_strategy == "steps" and self.eval_steps is None:
            filled["eval_steps"] = self.logging_steps
        if self.metric_for_best_model is None and (
            self.load_best_model_at_end is True or self.save_strategy == "best"
        ):
            filled["metric_for_best_model"] = "loss"
        metric = filled.get("metric_for_best_model", self.metric_for_best_model)
        if isinstance(metric, str) and self.greater_is_better is None:
            filled["greater_is_better"] = not metric.endswith("loss")
        for name, value in filled.items():
            object.__setattr__(self, name, value)

    def _check_choices(self) -> None:
        check_choice("lr_scheduler_type", self.lr_scheduler_type, SCHEDULES)
        check_choice("eval_strategy", self.eval_strategy, STRATEGIES)
        check_choice("logging_strategy", self.logging_strategy, STRATEGIES)
        check_choice("save_strategy", self.save_strategy, (*STRATEGIES, "best"))
        check_choice("train_sampling_strategy", self.train_sampling_strategy, ORDERS)
        for name in ("logging_steps", "save_steps", "eval_steps"):
            value = getattr(self, name)
            if name == "eval_steps" and value is None:
                continue
            if check_number(name, value, 0) == 0 or (value > 1 and value != int(value)):
                raise ValueError(
                    f"{name} must be a whole number, or a share of all steps below 1, got {value}"
                )
        if self.warmup_ratio is not None:
            check_number("warmup_ratio", self.warmup_ratio, 0, 1)
        if not isinstance(self.output_dir, (str, Path, type(None))):
            raise ValueError(f"output_dir must be a path or None, got {describe(self.output_dir)}")
        if self.output_dir is None and self.save_strategy != "no":
            raise ValueError(f"save_strategy={self.save_strategy!r} needs an output_dir, got None")
        if self.report_to not in (None, "none", [], ["none"]):
            raise ValueError(
                f'report_to must be "none": minillm reports to no service, got {describe(self.report_to)}'
            )
        if self.optim not in ADAMW and self.optim not in SMALLER:
            raise ValueError(
                f"optim must be one of {', '.join((*ADAMW, *SMALLER))}, got {describe(self.optim)}; give another "
                "optimiser to the Trainer as optimizers=(optimizer, None)"
            )
        if self.push_to_hub:
            raise ValueError(
                "push_to_hub=True: minillm uploads nothing while it trains; call trainer.push_to_hub() after train()"
            )
        if self.hub_model_id is not None:
            check_text("hub_model_id", self.hub_model_id)
        if self.dataloader_num_workers:
            warnings.warn(
                f"dataloader_num_workers={self.dataloader_num_workers} has no effect: batches are made in this process",
                stacklevel=4,
            )
        if self.bf16 and self.fp16:
            raise ValueError("bf16 and fp16 exclude each other, got both")
        if self.load_best_model_at_end:
            self._check_best()
        device = pick_device(self.device)
        if self.fp16 and device.type not in ("cpu", "cuda"):
            raise ValueError(
                f"fp16=True is for a CPU or a CUDA device, got {device}; pass bf16=True or neither"
            )

    def _check_best(self) -> None:
        """What load_best_model_at_end needs: every checkpoint has been evaluated."""
        if self.save_strategy == "best" and self.eval_strategy != "no":
            return
        if self.eval_strategy == "no" or self.eval_strategy != self.save_strategy:
            raise ValueError(
                "load_best_model_at_end needs the same eval_strategy and save_strategy, steps or epoch; got "
                f"{self.eval_strategy!r} and {self.save_strategy!r}"
            )
        if self.eval_strategy == "steps" and self.save_steps >= 1 and self.save_steps % self.eval_steps:
            raise ValueError(
                f"load_best_model_at_end needs save_steps that are a multiple of eval_steps, got {self.save_steps} "
                f"and {self.eval_steps}"
            )

    def get_warmup_steps(self, max_steps: int) -> int:
        """How many of `max_steps` updates warm up."""
        if self.warmup_ratio and not self.warmup_steps:
            return math.ceil(max_steps * self.warmup_ratio)
        return int(self.warmup_steps) if self.warmup_steps >= 1 else math.ceil(max_steps * self.warmup_steps)

    def rate(self, max_steps: int) -> Callable[[int], float]:
        """The learning rate of update number 0, 1, ..., max_steps - 1."""
        warmup = self.get_warmup_steps(max_steps)
        return schedule(
            self.lr_scheduler_type, max_steps, self.learning_rate, warmup, self.lr_scheduler_kwargs
        )

    def what_decides_the_weights(self) -> dict[str, Any]:
        """The settings that a resumed run must share with the run it goes on with, as JSON-able values."""
        values = {name: value for name, value in asdict(self).items() if name not in FREE}
        return values | {"lr_scheduler_kwargs": dict(self.lr_scheduler_kwargs or {})}


def steps_of(every: float, max_steps: int) -> int:
    """Steps between two events: a whole number as it is, a number below 1 as a share of all steps."""
    return int(every) if every >= 1 else max(1, math.ceil(max_steps * every))


def long_form(config: TrainerConfig, evaluates: bool) -> TrainingArguments:
    """What a TrainerConfig says, as TrainingArguments; `config.rate` stays its own. evaluates: there is text for it."""
    saves = config.checkpoint_folder is not None
    return TrainingArguments(
        output_dir=config.checkpoint_folder,
        max_steps=config.max_steps,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        adam_beta1=config.betas[0],
        adam_beta2=config.betas[1],
        adam_epsilon=config.eps,
        max_grad_norm=config.max_grad_norm,
        bf16=pick_precision(config.precision, config.device) == "bf16",
        eval_strategy="steps" if evaluates else "no",
        eval_steps=config.eval_every or config.max_steps,
        logging_steps=config.log_every,
        save_strategy="steps" if saves else "no",
        save_steps=config.checkpoint_every or config.max_steps,
        save_total_limit=config.keep_last,
        seed=config.seed,
        disable_tqdm=None if config.progress else True,
        device=config.device,
        context_length=config.context_length,
        eval_batches=config.eval_batches,
    )
