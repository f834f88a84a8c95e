"""Small tools that several test files use."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from minillm.data.real_models import available, how_to_fetch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]


def pyproject() -> dict[str, Any]:
    """The project's one file of settings."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def needs_model(*names: str) -> pytest.MarkDecorator:
    """A mark for tests that need real models: they are skipped, with the command to run, where one was not fetched."""
    lacking = [how_to_fetch(name) for name in names if not available(name)]
    return pytest.mark.skipif(bool(lacking), reason=f"needs a real model: {' and '.join(lacking)}")


class HostReads(TorchDispatchMode):
    """Counts what asks a tensor for its numbers: .item(), if tensor, nonzero, a mask as index. On a GPU each waits."""

    READERS = ("_local_scalar_dense", "item", "nonzero", "masked_select", "equal", "is_nonzero", "unique")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masks = [x for x in (args[1] if name.startswith("index") and len(args) > 1 else []) if x is not None]
        by_mask = any(isinstance(x, torch.Tensor) and x.dtype == torch.bool for x in masks)
        self.count += name in self.READERS or by_mask
        return function(*args, **(kwargs or {}))


def soak_count(many: int) -> int:
    """How many of `many` random examples to run: a twentieth, or the share that MINILLM_SOAK_SHARE names.

    `make soak` sets it to 1; everything else, CI too, leaves it alone. At least five, however small the share.
    """
    share = float(os.environ.get("MINILLM_SOAK_SHARE", "0.05"))
    return max(min(many, 5), round(many * share))


def soak_seeds(seeds: Iterable[int]) -> list[Any]:
    """The seeds that a lesson's figures are recorded with: all in `make soak`, none elsewhere, which is said."""
    every = list(seeds)
    if soak_count(100) == 100:
        return every
    reason = "strict nbval runs the lesson and its proofs with seed 0, `make soak` all seeds"
    return [pytest.param(seed, marks=pytest.mark.skip(reason=reason)) for seed in every]


def cuts(data: bytes, at_most: int = 60) -> list[int]:
    """Lengths at which to cut a file: every byte of a short one, else the ends and even steps between."""
    if len(data) <= at_most:
        return list(range(len(data)))
    step = max(1, len(data) // (at_most - 20))
    return sorted({*range(10), *range(len(data) - 10, len(data)), *range(0, len(data), step)})


def edit_config(folder, **changes):
    """Change keys of a folder's config.json by hand, and delete its checksums, as the refusal advises; the file."""
    path = Path(folder) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes))
    (path.parent / "checksums.json").unlink(missing_ok=True)
    return path
