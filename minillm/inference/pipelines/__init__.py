"""`pipeline(task, path)`: from a model folder to answers about texts, in one line.

    classify = pipeline("text-classification", "folder")
    classify("새로운 반도체 공장이 문을 열었다")           # [{"label": "경제", "score": 0.97}]

Six tasks, one file each; base.py is what they share. Book 3.5.1 파이프라인을 활용한 추론. Held against
transformers.pipeline: the same names, options and shapes of results.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from minillm._checks import check_int, describe
from minillm._tensors import check_place
from minillm.data.hub import find
from minillm.inference.pipelines.answers import QuestionAnswering
from minillm.inference.pipelines.base import Pipeline
from minillm.inference.pipelines.classes import TextClassification
from minillm.inference.pipelines.entities import TokenClassification
from minillm.inference.pipelines.features import FeatureExtraction
from minillm.inference.pipelines.masks import FillMask
from minillm.inference.pipelines.texts import TextGeneration
from minillm.models.auto import ARCHITECTURES, FILES, load_model
from minillm.models.base import PretrainedModel
from minillm.models.heads import ModelWithHead
from minillm.models.weights import read_config
from minillm.tokenizer import Tokenizer, load_tokenizer

TASKS: dict[str, type[Pipeline]] = {
    one.task: one
    for one in (
        TextClassification,
        TokenClassification,
        QuestionAnswering,
        FillMask,
        TextGeneration,
        FeatureExtraction,  # last: any model fits
    )
}
ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}


def pipeline(
    task: str | None = None,
    model: str | Path | PretrainedModel | None = None,
    tokenizer: str | Path | Tokenizer | None = None,
    device: torch.device | str | int | None = None,
    batch_size: int = 1,
    dtype: torch.dtype | str | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    **defaults: Any,
) -> Pipeline:
    """The pipeline of a task on a model.

    task: "text-classification" ("sentiment-analysis"), "token-classification" ("ner"), "question-answering",
    "fill-mask", "text-generation", "feature-extraction"; None: what the model's head is made for. model: what
    load_model opens (a folder, a file, "smollm2", or "owner/name" of the hub), or a model. tokenizer: what
    load_tokenizer opens, or a tokenizer; None: the one beside the model. device: "cpu", "cuda", ..., or the number of a
    GPU (-1: the CPU). batch_size, defaults: of calls that say nothing. dtype: of the weights, a torch.dtype or its name
    (torch_dtype, as older programs say it, too). revision, token, local_files_only: of the hub, as in load_model.

    Raises BadFileError (a ValueError) for a folder that cannot be opened, DownloadError (an OSError) for a name that
    the hub does not give, ValueError for an unknown task, a model whose head does not fit the task, a model without a
    tokenizer, and options that the task does not have (before any weight is read, if the task is named).
    """
    known = ", ".join((*TASKS, *ALIASES))
    if task is not None and (not isinstance(task, str) or ALIASES.get(task, task) not in TASKS):
        raise ValueError(f"task must be one of {known}, got {describe(task)}")
    chosen = None if task is None else TASKS[ALIASES.get(task, task)]
    if "torch_dtype" in defaults:
        if dtype is not None:
            raise ValueError("dtype and torch_dtype say the same: give one of them")
        dtype = defaults.pop("torch_dtype")
    place = check_place(dtype := _dtype(dtype), _device(device))
    check_int("batch_size", batch_size, 1)
    if chosen is not None:
        chosen.changed(chosen.options_class(), defaults)
    hub = {"revision": revision, "token": token, "local_files_only": local_files_only}
    if isinstance(model, PretrainedModel):
        if tokenizer is None:
            raise ValueError("a model needs its tokenizer: pipeline(task, model, tokenizer)")
        what = f"the {type(model).__name__}"
        chosen = _fitting(chosen, type(model), what)
        model = model.to(device=None if device is None else place, dtype=dtype)
    elif isinstance(model, (str, os.PathLike)):
        what = f"model {str(model)!r}"
        tokenizer = model if tokenizer is None else tokenizer
        model = find(model, "model", **hub)
        if model.is_dir() or model.suffix not in FILES:  # said before the weights are read
            named = read_config(model).get("architectures")
            named = named[0] if isinstance(named, list) and named else None
            head = ARCHITECTURES.get(named) if isinstance(named, str) else None
            if head is not None and issubclass(head, ModelWithHead):  # a body may open as a language model
                chosen = _fitting(chosen, head, what)
        tokenizer = tokenizer if isinstance(tokenizer, Tokenizer) else load_tokenizer(tokenizer, **hub)
        model = load_model(model, dtype, place)
        chosen = _fitting(chosen, type(model), what)
    else:
        raise ValueError(f"model must be a path or a model of minillm, got {describe(model)}")
    if isinstance(tokenizer, (str, os.PathLike)):
        tokenizer = load_tokenizer(tokenizer, **hub)
    return chosen(model, tokenizer, batch_size, **defaults)


def _fitting(chosen: type[Pipeline] | None, model_class: type, what: str) -> type[Pipeline]:
    """The chosen pipeline if the model fits it, or the first that the model fits; ValueError if there is none."""
    if chosen is not None:
        chosen.check_model(model_class, what)
        return chosen
    for one in TASKS.values():
        if one.fits(model_class):
            return one
    raise ValueError(f"{what} holds a {model_class.__name__}, which fits none of {', '.join(TASKS)}")


def _device(device: Any) -> Any:
    if isinstance(device, int) and not isinstance(device, bool):
        return "cpu" if device < 0 else f"cuda:{device}"
    return device


def _dtype(dtype: Any) -> Any:
    """The dtype of a name, as transformers takes it: "bfloat16"; "auto" is what the folder says."""
    if isinstance(dtype, str):
        found = None if dtype == "auto" else getattr(torch, dtype, dtype)
        return found
    return dtype


__all__ = ["ALIASES", "TASKS", "Pipeline", "pipeline"]
