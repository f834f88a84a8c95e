"""`load_model`: open a model without knowing its class; config.json or the file's ending says which it is."""

from __future__ import annotations

from pathlib import Path

from minillm._checks import describe
from minillm._files import BadFileError
from minillm.models.base import PretrainedModel
from minillm.models.gpt2 import GPT2
from minillm.models.llama import Llama
from minillm.models.llama2c import load_llama2c
from minillm.models.weights import read_config

CLASSES: tuple[type[PretrainedModel], ...] = (GPT2, Llama)


def load_model(path: str | Path) -> PretrainedModel:
    """The model in a Hugging Face folder (its config.json picks the class) or in a llama2.c .bin file.

    Evaluation mode, weights in the dtype they were saved in. Raises BadFileError (a ValueError) naming what
    is missing, cut, damaged or of a kind we do not have.
    """
    if not isinstance(path, (str, Path)):
        raise ValueError(f"load_model takes the path of a folder or a .bin file, got {describe(path)}")
    if Path(path).suffix == ".bin" and not Path(path).is_dir():
        return load_llama2c(path)
    config = read_config(path)
    kind, architectures = config.get("model_type"), config.get("architectures") or []
    for model_class in CLASSES:
        if kind in model_class.config_class.model_types:
            return model_class.from_pretrained(path)
    known = ", ".join(name for model_class in CLASSES for name in model_class.config_class.model_types)
    raise BadFileError(
        f"model folder {str(path)!r} holds model_type {kind!r} ({architectures}), we have: {known}"
    )
