"""Folders of LoRA adapters on the command line: told from models, and opened with the model that they are for.

Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

CONFIG = "adapter_config.json"


def is_adapter(path: Path) -> bool:
    """Whether this is a folder with an adapter in it, and no model."""
    return (path / CONFIG).is_file() and not (path / "config.json").exists()


def base_of(path: Path) -> Path:
    """A model's path as it is; of an adapter's folder the path of the model that it is for.

    ValueError where the folder names none, or one that is not here.
    """
    if not is_adapter(path):
        return path
    from minillm._files import read_json
    from minillm.commands._find import find_model

    values = read_json(path / CONFIG, "adapter config")
    named = values.get("base_model_name_or_path") if isinstance(values, dict) else None
    if not isinstance(named, str) or not named:
        raise ValueError(f"{path} holds an adapter that does not say which model it is for")
    try:
        found = find_model(Path(named))
    except ValueError as error:
        raise ValueError(f"{path} holds an adapter for {named}, which cannot be opened: {error}") from None
    if is_adapter(found):
        raise ValueError(f"{path} holds an adapter for {found}, which is an adapter itself")
    return found


def open_merged(path: Path) -> Any:
    """The model that an adapter's folder is for, the adapter in its weights: it runs as fast as any other."""
    from minillm.models import load_model
    from minillm.training.adapters import load_adapter
    from minillm.training.lora_merge import merge_lora

    return merge_lora(load_adapter(load_model(base_of(path)), path))


def named_adapters(given: list[str]) -> dict[str, Path]:
    """{name: folder} of options NAME=FOLDER; ValueError for what is none of these, and for a name twice."""
    found: dict[str, Path] = {}
    for one in given:
        name, equals, folder = one.partition("=")
        if not (name and equals and folder):
            raise ValueError(f"--adapter must be NAME=FOLDER, got {one!r}")
        if name in found:
            raise ValueError(f"--adapter {name} is given twice")
        if not is_adapter(Path(folder)):
            raise ValueError(f"--adapter {name}: {folder} is no folder with {CONFIG} in it")
        found[name] = Path(folder)
    return found
