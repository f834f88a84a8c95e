"""Randomness that can be drawn again: step s of a run draws from (seed, s), whatever was drawn before.

Dropout reads torch's global generator; with the generator seeded anew before each step, a run that is stopped and
resumed draws what it would have drawn, and no state of a generator has to be saved.

Book: 3.4 모델 학습시키기. Held against: transformers.Trainer, which saves the states of four generators instead.
"""

from __future__ import annotations

import numpy as np
import torch

from minillm._checks import check_int


def seed_step(seed: int, step: int, rank: int = 0, device: torch.device | None = None) -> None:
    """Seed torch's generators (of the CPU, and of `device` if it is a GPU) for a step; each process draws its own.
    ValueError for a negative number."""
    check_int("seed", seed, 0)
    check_int("step", step, 0)
    key = [seed, step, rank] if rank else [seed, step]
    (drawn,) = np.random.SeedSequence(key).generate_state(1)
    # torch.manual_seed would look for every kind of device first, which costs more than a small step
    torch.default_generator.manual_seed(int(drawn))
    if device is not None and device.type == "cuda":
        torch.cuda.manual_seed(int(drawn))
