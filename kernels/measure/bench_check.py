"""Whether a kernel computes what its float64 reference does: asked before it is timed (bench.py, bench_tune.py)."""

from __future__ import annotations

import torch

from kernels.measure.bench_works import Pair, Trial

# ||got - expected|| / ||expected||: 16-bit numbers carry 8 or 11 bits; float32 results here are losses of such numbers
TOLERANCES = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float32: 1e-3, torch.float64: 1e-6}


def wrong(pair: Pair) -> str:
    """What is wrong with a result, "" if nothing is. NaN is never right."""
    got, expected = pair.got.detach().double(), pair.expected.detach().double()
    if got.shape != expected.shape:
        return f"{pair.what}: shape {tuple(got.shape)} instead of {tuple(expected.shape)}"
    size = expected.norm().item()
    error = (got - expected).norm().item() / (size or 1.0)
    if error <= TOLERANCES[pair.got.dtype]:
        return ""
    return f"{pair.what}: off by {error:.2g} of its size, allowed {TOLERANCES[pair.got.dtype]:.2g}"


def check(trial: Trial) -> str:
    """The first thing wrong with what a trial's kernel computes, "" if nothing is."""
    try:
        pairs = trial.pairs()
        return next(filter(None, map(wrong, pairs)), "") if pairs else "nothing was compared"
    except Exception as error:  # the other kernels are still worth measuring
        return shortened(error)


def shortened(error: Exception) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
