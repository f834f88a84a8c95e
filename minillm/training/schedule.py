"""Learning rate schedules: warm up in a straight line, then fall.

    step < warmup:  lr(step) = peak * step / warmup
    after it, with progress p = (step - warmup) / (last - warmup) from 0 to 1:
        cosine                floor + (peak - floor) * (1 + cos(pi * p)) / 2
        linear                peak * (1 - p)
        polynomial            end + (peak - end) * (1 - p)^power
        cosine_with_restarts  peak * (1 + cos(pi * (cycles * p mod 1))) / 2
        inverse_sqrt          peak * sqrt(timescale / (step + timescale - warmup))
        constant              peak

Early on Adam's averages are made of few gradients, so big steps would be steps in a random direction: hence
the warm-up. Late steps must be small to settle into a valley instead of jumping across it: hence the fall.

Book: 3.4 모델 학습시키기. Papers: Loshchilov & Hutter 2017 (SGDR), Vaswani et al. 2017 (inverse square root).
Held against: the schedules of transformers.optimization, whose names these are.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from minillm._checks import check_choice, check_int, check_number


def cosine_schedule(
    step: int,
    max_steps: int,
    learning_rate: float = 1.0,
    warmup_steps: int = 0,
    min_learning_rate: float = 0.0,
) -> float:
    """The learning rate at `step` (0 to max_steps; later steps stay at the minimum).

    With the default `learning_rate` of 1 this is the factor that peers multiply their learning rate by.
    Raises ValueError for a negative step, warmup_steps > max_steps, or a minimum above the peak.
    """
    check_int("step", step, 0)
    check_int("max_steps", max_steps, 1)
    check_int("warmup_steps", warmup_steps, 0, max_steps)
    check_number("learning_rate", learning_rate, 0)
    check_number("min_learning_rate", min_learning_rate, 0, learning_rate)
    if step < warmup_steps:
        # peak * step / warmup
        return learning_rate * step / warmup_steps
    if step >= max_steps:
        return min_learning_rate
    progress = (step - warmup_steps) / (max_steps - warmup_steps)
    # floor + (peak - floor) * (1 + cos(pi * progress)) / 2
    return min_learning_rate + (learning_rate - min_learning_rate) * 0.5 * (1 + math.cos(math.pi * progress))


def warmed_up(
    fall: Callable[..., float], step: int, max_steps: int, warmup_steps: int, **options: Any
) -> float:
    """The factor of the peak at `step`: the straight way up, then `fall(progress, ...)`."""
    if step < warmup_steps:
        return step / warmup_steps
    progress = (step - warmup_steps) / max(1, max_steps - warmup_steps)
    return max(0.0, fall(progress, **options))


def linear(progress: float) -> float:
    """1 to 0 in a straight line."""
    return 1 - progress


def cosine(progress: float, num_cycles: float = 0.5) -> float:
    """1 to 0 along half a wave; `num_cycles` waves in all."""
    return 0.5 * (1 + math.cos(2 * math.pi * num_cycles * progress))


def cosine_with_min_lr(progress: float, min_lr_rate: float = 0.0, num_cycles: float = 0.5) -> float:
    """1 to `min_lr_rate` along half a wave."""
    return min_lr_rate + (1 - min_lr_rate) * cosine(progress, num_cycles)


def cosine_with_restarts(progress: float, num_cycles: int = 1) -> float:
    """1 to 0 along half a wave, `num_cycles` times."""
    return 0.0 if progress >= 1 else 0.5 * (1 + math.cos(math.pi * (num_cycles * progress % 1)))


def polynomial(progress: float, end: float = 0.0, power: float = 1.0) -> float:
    """1 to `end`: the rest of the way, to a power."""
    return end + (1 - end) * (1 - min(progress, 1)) ** power


def constant(progress: float) -> float:
    """1."""
    return 1.0


FALLS: dict[str, Callable[..., float]] = {
    "linear": linear,
    "cosine": cosine,
    "cosine_with_min_lr": cosine_with_min_lr,
    "cosine_with_restarts": cosine_with_restarts,
    "polynomial": polynomial,
    "constant": constant,
    "constant_with_warmup": constant,
}
SCHEDULES = (*FALLS, "inverse_sqrt")


def schedule(
    kind: str,
    max_steps: int,
    learning_rate: float = 1.0,
    warmup_steps: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Callable[[int], float]:
    """The learning rate as a function of the step, by transformers' name; `options` are its `lr_scheduler_kwargs`.

    Steps count from 0, whose rate is 0 if there is a warm-up: as in transformers, whose first update then changes
    nothing. "constant" has no warm-up. ValueError for an unknown name or option.
    """
    check_choice("lr_scheduler_type", kind, SCHEDULES)
    options = dict(options or {})
    if kind == "inverse_sqrt":
        # peak * sqrt(timescale / (step + timescale - warmup))
        scale = options.pop("timescale", None) or warmup_steps or 10_000
        _no_more(kind, options, ("timescale",))
        return lambda step: (
            learning_rate
            * (
                step / warmup_steps
                if step < warmup_steps
                else math.sqrt(scale / (step + scale - warmup_steps))
            )
        )
    # the peers name some of these as rates, we take them as factors of the peak
    if kind == "polynomial":
        options["end"] = options.pop("lr_end", 1e-7) / learning_rate if learning_rate else 0.0
    if "min_lr" in options and kind == "cosine_with_min_lr":
        options["min_lr_rate"] = options.pop("min_lr") / learning_rate if learning_rate else 0.0
    fall = FALLS[kind]
    _no_more(kind, options, tuple(inspect.signature(fall).parameters)[1:])
    warmup = 0 if kind == "constant" else warmup_steps
    return lambda step: learning_rate * warmed_up(fall, step, max_steps, warmup, **options)


def _no_more(kind: str, options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"lr_scheduler_kwargs of {kind!r} may be {known or 'nothing'}, got {', '.join(unknown)}"
        )
