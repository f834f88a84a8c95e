"""Optional parts of a lesson: what a cell needs that not every reader has, and whether it is there.

    if needs("smollm2"):            # in a cell tagged needs-smollm2, at the end of the lesson
        model = load_model(...)

`needs` says why a part is left out and gives False, so that the lesson runs to its end everywhere. The notebook
runners (nbval, the authoring command) skip such cells by their tag. A NAME is a data set that `load_dataset` knows
("klue_nli", or one split of it, "klue_nli.validation"), a real model that `fetch` knows, "gpu", or "xllamacpp".
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch

from minillm._checks import check_choice, check_text
from minillm.data import REAL_MODELS, available, cache_folder, dataset_info, dataset_names

TAG = "needs-"


def needs(*names: str) -> bool:
    """True when everything named is on this machine; otherwise False, and one line says what is missing.

    Raises ValueError for a name that is neither a data set, nor a model that `fetch` knows, nor "gpu" or "xllamacpp".
    """
    if not names:
        raise ValueError("needs takes at least one name, got none")
    reasons = [reason for reason in map(missing, names) if reason]
    if reasons:
        print(f"skipped: {'; '.join(reasons)}")
    return not reasons


def missing(name: str) -> str:
    """Why `name` cannot be used here, "" when it can. ValueError for an unknown name."""
    check_text("name", name)
    if name == "gpu":
        return "" if torch.cuda.is_available() else "needs an NVIDIA GPU"
    if name == "xllamacpp":
        there = importlib.util.find_spec(name) is not None
        return "" if there else "needs llama.cpp: `pip install -e '.[xllamacpp]'` brings it"
    if name in REAL_MODELS:
        return "" if available(name) else f"needs the model {name}: `minillm fetch {name}` brings it"
    data, _, split = name.partition(".")
    check_choice("name of what a cell needs", data, [*dataset_names(), *REAL_MODELS, "gpu", "xllamacpp"])
    splits = dataset_info(data).splits
    wanted = [splits[check_choice(f"split of {data}", split, list(splits))]] if split else splits.values()
    sources = [source for sources in wanted for source in sources]
    if any(all(map(_on_disk, source.files)) for source in sources):
        return ""
    return f"needs the data set {name}: dataset_info({data!r}) says where it is from"


def names_of(tags: list[str]) -> list[str]:
    """The names in a cell's needs-NAME tags."""
    return [tag.removeprefix(TAG) for tag in tags if tag.startswith(TAG)]


def _folders() -> list[Path]:
    own = os.environ.get("MINILLM_DATA")
    return [*([Path(own)] if own else []), cache_folder(), cache_folder() / "datasets"]


def _on_disk(file: str) -> bool:
    return any((folder / file).is_file() for folder in _folders())
