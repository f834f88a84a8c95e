"""What a Trainer is made of, from what it was given: settings, batches, an objective, an optimiser.

Book: 3.4.2 트레이너 API를 사용해 학습하기. Held against: what transformers.Trainer does when it is made.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from minillm._checks import describe
from minillm.training.adamw import AdamW
from minillm.training.adamw8bit import AdamW8bit
from minillm.training.arguments import SMALLER, TrainingArguments, long_form
from minillm.training.batches import as_source
from minillm.training.collators import DataCollatorWithPadding, default_data_collator
from minillm.training.config import TrainerConfig
from minillm.training.feed import ExampleFeed, SourceFeed, has_columns
from minillm.training.groups import decay_groups
from minillm.training.objectives import objective_for
from minillm.training.paged import PagedAdamW


def one_of(what: str, names: tuple[str, str], values: tuple[Any, Any]) -> Any:
    """The one of two values that was given, or None; ValueError for both."""
    given = [value for value in values if value is not None]
    if len(given) > 1:
        raise ValueError(f"{names[0]} and {names[1]} both are {what}: give one of them")
    return given[0] if given else None


def make_settings(given: Any, evaluates: bool) -> tuple[Any, TrainingArguments]:
    """(the settings as they came, as TrainingArguments). evaluates: there are data for it."""
    if isinstance(given, TrainerConfig):
        return given, long_form(given, evaluates)
    if not isinstance(given, TrainingArguments):
        raise ValueError(f"config must be a TrainerConfig or TrainingArguments, got {describe(given)}")
    if given.eval_strategy != "no" and not evaluates:
        raise ValueError(f"eval_strategy={given.eval_strategy!r} needs an eval_dataset, got None")
    return given, given


def make_feed(
    name: str,
    data: Any,
    model: nn.Module,
    settings: Any,
    args: TrainingArguments,
    collate: Any,
    tokenizer: Any,
) -> ExampleFeed | SourceFeed:
    """The batches of `data`: examples by the collator, or a source of batches.py, which a TrainerConfig always means.

    Without a collator examples are padded if there is a tokenizer, and else must be of one length, as in transformers.
    """
    examples = has_columns(data) and not (isinstance(settings, TrainerConfig) and collate is None)
    if examples:
        if collate is None:
            pads = tokenizer is not None and hasattr(tokenizer, "pad_token_id")
            collate = DataCollatorWithPadding(tokenizer) if pads else default_data_collator
        return ExampleFeed(name, data, collate, model, args)
    if isinstance(settings, TrainingArguments) and isinstance(data, Sequence) and not data:
        raise ValueError(f"{name} must hold at least one example, got none")
    try:
        source = as_source(data)
    except ValueError as error:
        raise ValueError(f"{name} is no sequence of dicts: {error}") from None
    feed = SourceFeed(name, source, args)
    limits = getattr(model, "config", None)
    vocabulary, window = getattr(limits, "vocab_size", None), getattr(limits, "max_length", None)
    if vocabulary is not None and getattr(feed.source, "largest_id", 0) >= vocabulary:
        raise ValueError(
            f"{name} holds id {feed.source.largest_id}, the model's vocabulary ends at {vocabulary - 1}"
        )
    if window is not None and args.context_length > window:
        raise ValueError(f"context_length must be at most the model's {window}, got {args.context_length}")
    return feed


def make_objective(model: nn.Module, objective: Any, settings: Any, label_smoothing: float) -> Any:
    """The objective that was given, or the one that the model's head is for.

    With TrainingArguments a metric gets the logits of a causal model as in transformers: all places, not shifted.
    """
    if objective is None:
        return objective_for(model, label_smoothing, shifted=isinstance(settings, TrainerConfig))
    for method in ("__call__", "count"):
        if not callable(getattr(objective, method, None)):
            raise ValueError(f"objective must be like CausalLMObjective(), got {describe(objective)}")
    if label_smoothing:
        raise ValueError(
            "label_smoothing_factor and an objective of one's own: give the smoothing to the objective"
        )
    return objective


def make_optimizer(
    model: nn.Module, args: TrainingArguments, given: Any, own: Callable[[list[Any]], list[Any]]
) -> tuple[Any, Any, list[float] | None]:
    """(optimiser, schedule or None, peak rate of each group of an optimiser that was given, else None).

    own: the groups of parameters, as this process holds them.
    """
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise ValueError(f"optimizers must be a pair (optimizer, lr_scheduler), got {describe(given)}")
    optimizer, scheduler = given
    if optimizer is None:
        if scheduler is not None:
            raise ValueError("a schedule of one's own needs its optimizer, got optimizers=(None, ...)")
        groups = own(decay_groups(model, args.weight_decay))
        betas = (args.adam_beta1, args.adam_beta2)
        settings = (groups, args.learning_rate, betas, args.adam_epsilon)
        bits, paged = SMALLER.get(args.optim, (32, False))
        if paged:
            return PagedAdamW(*settings, bits=bits), None, None
        return (AdamW if bits == 32 else AdamW8bit)(*settings), None, None
    if not isinstance(optimizer, (AdamW, torch.optim.Optimizer)):
        raise ValueError(f"optimizers[0] must be an AdamW or one of torch.optim, got {describe(optimizer)}")
    if scheduler is not None and not callable(getattr(scheduler, "step", None)):
        raise ValueError(
            f"optimizers[1] must be a schedule of torch.optim.lr_scheduler, got {describe(scheduler)}"
        )
    known = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in known for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError("optimizers[0] holds no parameter of this model: was it made for another one?")
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError("optimizers[1] is a schedule of another optimizer than optimizers[0]")
    for name, one in (("optimizers[0]", optimizer), ("optimizers[1]", scheduler)):
        asked = [] if one is None else asked_for(type(one).step)
        if asked:
            raise ValueError(
                f"{name}: step() of a {type(one).__name__} needs {', '.join(asked)}, the Trainer gives it nothing"
            )
    return optimizer, scheduler, [group["lr"] for group in optimizer.param_groups]


def asked_for(method: Any) -> list[str]:
    """The arguments without which a method of a class cannot be called on an object of it."""
    every = list(inspect.signature(method).parameters.values())[1:]
    named = [one for one in every if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return [one.name for one in named if one.default is one.empty]


def set_rates(optimizer: Any, scheduler: Any, peaks: list[float] | None, rate: float, peak: float) -> float:
    """Give the groups their learning rate for this update, and return the first group's.

    A schedule of one's own has set them already. Groups of an optimiser of one's own keep their proportion.
    """
    if scheduler is None:
        for group, own in zip(optimizer.param_groups, peaks or [None] * len(optimizer.param_groups)):
            group["lr"] = rate if own is None else own * rate / peak if peak else 0.0
    return optimizer.param_groups[0]["lr"]


def in_a_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
