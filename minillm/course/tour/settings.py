"""The sizes of a tour, and what they ask of the machine. Nothing heavy is imported here: the command line looks first.

Book: 1장 LLM 지도.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TourSettings:
    """The sizes of a tour. The defaults fit two laptop cores and three minutes; `quick()` fits 45 seconds."""

    vocab_size: int = 2048
    layers: int = 4
    width: int = 192  # model width C; heads are 64 wide
    context: int = 128  # tokens a training sequence
    batch_size: int = 4  # small, so that the same tokens make more steps: the best use of a minute
    steps: int = 1600
    learning_rate: float = 2e-3
    new_tokens: int = 120
    dense_steps: int = 400
    answer_tokens: int = 50  # of a real model's answer at the end, where there is one; 0: it is not asked
    seed: int = 0
    threads: int | None = None  # None: OMP_NUM_THREADS, else two, or one where there is one

    def quick(self) -> TourSettings:
        """The same tour with a smaller model and fewer steps."""
        return replace(self, steps=350, new_tokens=60, dense_steps=200, answer_tokens=30)


def available_cores() -> int:
    """The processor cores that this process may use, at least 1: in a container they can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """The threads of OMP_NUM_THREADS where it names some (the first of "4,2"), else two, or one on a one-core machine.

    More than two rarely help models as small as these.
    """
    named = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(named) if named.isdecimal() and int(named) > 0 else min(2, available_cores())


def training_bytes(settings: TourSettings) -> int:
    """Bytes that training a model of these sizes takes at least: float32 weights, gradients and AdamW's two averages
    (16 bytes a weight), and about 15 vectors of the model's width a token and layer that the way back needs."""
    weights = settings.layers * 12 * settings.width**2 + settings.vocab_size * settings.width
    tokens = settings.batch_size * settings.context
    return 16 * weights + 60 * tokens * settings.layers * settings.width


def machine_bytes() -> int | None:
    """The bytes of main memory of this machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
