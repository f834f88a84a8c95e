"""The cosine schedule: warm up in a straight line, then fall along half a cosine wave.

    step < warmup:  lr(step) = peak * step / warmup
    after it:       lr(step) = floor + (peak - floor) * (1 + cos(pi * (step - warmup) / (last - warmup))) / 2

Early on Adam's averages are made of few gradients, so big steps would be steps in a random direction: hence
the warm-up. Late steps must be small to settle into a valley instead of jumping across it: hence the fall.

Book: 3.4 모델 학습시키기. Paper: Loshchilov & Hutter 2017 (SGDR), without restarts.
Held against: transformers.get_cosine_schedule_with_warmup and its min-lr variant.
"""

from __future__ import annotations

import math

from minillm._checks import check_int, check_number


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
