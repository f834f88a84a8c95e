"""A run that can be repeated: the same data, settings, seed, code and environment give the same weights, bit for bit.

    recipe = (data version, config, seed, code version, environment)        weights = train(recipe)

`train_and_record` writes the recipe before it trains and the checksum of the weights after; `repeat_run` restores the
data, says what of the recipe is no longer so, trains again and compares.

Book: 13.1 MLOps (재현성). The environment names what changes the rounding: versions, processor, threads. Left out:
GPUs, whose sums may come in another order from run to run.
"""

from __future__ import annotations

import inspect
import json
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from minillm._checks import check_int, check_path, describe
from minillm._files import read_bytes
from minillm.apps.ops.data_versions import DataVersions
from minillm.apps.ops.records import address
from minillm.apps.ops.runs import Run
from minillm.training.checkpoint import weights_digest

RECIPE = "recipe.json"
# train(folder of data, config, seed) -> the trained model
Train = Callable[[Path, dict[str, Any], int], nn.Module]


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights."""

    data: str
    config: dict[str, Any]
    seed: int
    code: str
    environment: dict[str, str]

    def differences(self, other: Recipe) -> list[str]:
        """What is not the same, by name: "data", "config.learning_rate", "environment.torch", ..."""
        found = [name for name in ("data", "seed", "code") if getattr(self, name) != getattr(other, name)]
        for name in ("config", "environment"):
            mine, others = getattr(self, name), getattr(other, name)
            keys = sorted(mine.keys() | others.keys())
            found += [f"{name}.{key}" for key in keys if mine.get(key, ...) != others.get(key, ...)]
        return found


def environment() -> dict[str, str]:
    """What of this machine changes how numbers round."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": str(torch.get_num_threads()),
    }


def code_version(folder: str | Path, *functions: Callable[..., Any]) -> str:
    """The checksum of all .py files below a folder, names and contents, as of the disk, and of functions that are
    written elsewhere (in a notebook). ValueError for no such file, and for a function without source."""
    folder = check_path("folder", folder)
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py") if path.is_file()}
    if not files:
        raise ValueError(f"there is no .py file below {str(folder)!r}")
    pairs = [[name, address(read_bytes(files[name], "source file"))] for name in sorted(files)]
    try:
        pairs += [[function.__qualname__, inspect.getsource(function)] for function in functions]
    except (AttributeError, OSError, TypeError) as error:
        raise ValueError(
            f"functions must be functions with a source, got {describe(functions)}: {error}"
        ) from None
    return address(json.dumps(pairs, ensure_ascii=False).encode())


def train_and_record(
    run: Run, versions: DataVersions, train: Train, data: str, config: Mapping[str, Any], seed: int, code: str
) -> nn.Module:
    """Train on a data version and keep the recipe and the weights' checksum with the run; the run stays open.

    config: values that JSON can hold, by names other than data, seed and code. code: what `code_version` gave.
    """
    recipe = Recipe(data, _plain(config), check_int("seed", seed, 0), str(code), environment())
    versions.files(data)  # ValueError for a version that there is not, before anything is written
    run.log_params(_params(recipe))  # refused for a run that has another recipe
    run.log_artifact(RECIPE, json.dumps(asdict(recipe), ensure_ascii=False, sort_keys=True).encode())
    model = _train(versions, train, recipe)
    run.set_tag("weights", weights_digest(model))
    return model


def recipe_of(run: Run) -> Recipe:
    """The recipe that is kept with a run; ValueError where there is none, or one that its params contradict."""
    kept, params = run.artifacts, run.params
    if RECIPE not in kept:
        raise ValueError(f"run {run.id} keeps no recipe")
    recipe = Recipe(**json.loads(run.runs.records.get(kept[RECIPE])))
    wrong = [key for key, value in _params(recipe).items() if params.get(key) != value]
    if wrong:
        raise ValueError(
            f"the recipe of run {run.id} was changed: its params have another {', '.join(wrong)}"
        )
    return recipe


def repeat_run(
    run: Run, versions: DataVersions, train: Train, code: str
) -> tuple[nn.Module, list[str], bool]:
    """(model, differences, same): trained again from the record; are the weights the same, bit for bit?

    differences: what of the recipe is not so any more here ("code", "environment.torch"), [] when all is.
    """
    recipe = recipe_of(run)
    if "weights" not in run.tags:
        raise ValueError(f"run {run.id} keeps no checksum of weights: its training did not end")
    now = Recipe(recipe.data, recipe.config, recipe.seed, str(code), environment())
    model = _train(versions, train, recipe)
    return model, recipe.differences(now), weights_digest(model) == run.tags["weights"]


def _params(recipe: Recipe) -> dict[str, str]:
    own = {"data": recipe.data, "seed": recipe.seed, "code": recipe.code}
    return {key: str(value) for key, value in (recipe.config | own).items()}


def _train(versions: DataVersions, train: Train, recipe: Recipe) -> nn.Module:
    with tempfile.TemporaryDirectory() as place:
        folder = versions.restore(recipe.data, Path(place) / "data")
        model = train(folder, dict(recipe.config), recipe.seed)
    if not isinstance(model, nn.Module):
        raise ValueError(f"train must return a torch module, got {describe(model)}")
    return model


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain = json.loads(json.dumps(dict(config), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"config must be a dict that JSON can hold, got {describe(config)}: {error}"
        ) from None
    if plain.keys() & {"data", "seed", "code"}:
        raise ValueError(
            f"config must not name data, seed or code, which the recipe has, got {describe(config)}"
        )
    if plain != dict(config):  # a tuple comes back as a list, a number as a key as text
        raise ValueError(f"config must be the same after JSON, got {describe(config)}")
    return plain
