"""The course's short form of the settings of a run: AdamW, a cosine schedule, a text as one stream of ids.

`long_form` (arguments.py) says the same as TrainingArguments; the Trainer reads only those.
Book: 3.4 모델 학습시키기, 5.2 단일 GPU 효율적으로 활용하기 (gradient_accumulation).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from minillm._checks import check_choice, check_int, check_number, describe
from minillm.training.schedule import cosine_schedule


@dataclass(frozen=True)
class TrainerConfig:
    """Raises ValueError for any value out of range. A step is one update of the weights.

    An update sees `batch_size * gradient_accumulation` rows of at most `context_length` targets; accumulation
    splits them into passes of `batch_size` rows to save memory, and gives the same gradient as one big batch.
    """

    max_steps: int
    batch_size: int = 16
    context_length: int = 128
    gradient_accumulation: int = 1
    learning_rate: float = 1e-3
    """peak of the cosine schedule"""
    min_learning_rate: float = 0.0
    warmup_steps: int = 0
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    """of tensors of two and more axes; norms and biases are not pulled to zero"""
    max_grad_norm: float | None = 1.0
    """length at which the gradient is clipped; None leaves it as it is"""
    precision: str = "auto"
    """ "fp32", "bf16" (float32 weights, matrix products in bfloat16), or "auto": bf16 where it is fast"""
    eval_every: int | None = None
    """steps between evaluations; None evaluates after the last step only"""
    eval_batches: int | None = None
    """how many batches an evaluation looks at, spread evenly; None takes all"""
    log_every: int = 1
    """steps between records of the history; the last step and evaluations are always recorded"""
    checkpoint_folder: str | Path | None = None
    checkpoint_every: int | None = None
    """steps between checkpoints; None writes one after the last step (if there is a folder)"""
    keep_last: int = 1
    """newest checkpoints to keep; the one with the lowest eval_loss is kept besides"""
    seed: int = 0
    device: str = "auto"
    """"cpu", "cuda", "cuda:1", ..., or "auto": the first GPU if there is one, else the CPU"""
    progress: bool = True
    """a progress bar on standard error, where that is a terminal"""

    def __post_init__(self) -> None:
        for name in (
            "max_steps",
            "batch_size",
            "context_length",
            "gradient_accumulation",
            "log_every",
            "keep_last",
        ):
            check_int(name, getattr(self, name), 1)
        for name in ("eval_every", "eval_batches", "checkpoint_every"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1)
        check_int("warmup_steps", self.warmup_steps, 0, self.max_steps)
        check_int("seed", self.seed, 0, 2**63 - 1)
        check_number("learning_rate", self.learning_rate, 0)
        check_number("min_learning_rate", self.min_learning_rate, 0, self.learning_rate)
        check_number("weight_decay", self.weight_decay, 0)
        check_number("eps", self.eps, 0)
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise ValueError(f"betas must be a pair of numbers, got {describe(self.betas)}")
        object.__setattr__(
            self, "betas", tuple(check_number("beta", beta, 0, 1 - 1e-9) for beta in self.betas)
        )
        if self.max_grad_norm is not None and check_number("max_grad_norm", self.max_grad_norm, 0) == 0:
            raise ValueError("max_grad_norm must be above 0, or None for no clipping, got 0")
        check_choice("precision", self.precision, ("fp32", "bf16", "auto"))
        check_choice("progress", self.progress, (True, False))
        if not isinstance(self.checkpoint_folder, (str, Path, type(None))):
            raise ValueError(
                f"checkpoint_folder must be a path or None, got {describe(self.checkpoint_folder)}"
            )
        if self.checkpoint_every is not None and self.checkpoint_folder is None:
            raise ValueError("checkpoint_every needs a checkpoint_folder, got None")
        pick_device(self.device)

    def rate(self, max_steps: int) -> Callable[[int], float]:
        """The learning rate of update number 0, 1, ..., max_steps - 1.

        The updates lie between the two ends of the curve, so that none is spent at rate zero.
        """
        shape = (max_steps + 1, self.learning_rate, self.warmup_steps, self.min_learning_rate)
        return lambda step: cosine_schedule(step + 1, *shape)

    def what_decides_the_weights(self) -> dict[str, Any]:
        """The settings that a resumed run must share with the run it goes on with, as JSON-able values."""
        free = {
            "eval_every",
            "eval_batches",
            "log_every",
            "checkpoint_folder",
            "checkpoint_every",
            "keep_last",
        }
        free |= {"device", "progress"}
        values = {key: value for key, value in asdict(self).items() if key not in free}
        return values | {"betas": list(self.betas), "precision": pick_precision(self.precision, self.device)}


def pick_device(device: str) -> torch.device:
    """The torch device a name stands for. ValueError if the name is unknown or the device is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device must be auto, cpu, cuda or the like, got {describe(device)}") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch sees no GPU here; expected auto or cpu")
    return found


def pick_precision(precision: str, device: str = "auto") -> str:
    """ "fp32" or "bf16": what "auto" means on this machine, read off its capability flags and never timed.

    A GPU counts from compute capability 8.0 (Ampere). A CPU counts if it multiplies bfloat16 itself
    (AVX512-BF16 or AMX), and if ONEDNN_MAX_CPU_ISA does not forbid it; on others bfloat16 is converted back and forth,
    which is slower than float32.
    """
    if check_choice("precision", precision, ("fp32", "bf16", "auto")) != "auto":
        return precision
    if pick_device(device).type == "cuda":
        return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp32"
    flags = torch.cpu.get_capabilities() if pick_device(device).type == "cpu" else {}
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    forbidden = not any(
        word in allowed.upper() for word in ("ALL", "DEFAULT", "BF16", "FP16", "AMX", "AVX10")
    )
    fast = flags.get("avx512_bf16") or flags.get("amx_bf16")
    return "bf16" if fast and not forbidden else "fp32"
