"""Checkpoints: a folder for each saved step, which `load_model` opens and training resumes from bit for bit.

    checkpoint-500/
      config.json, model.safetensors          the model in the Hugging Face layout (model.save_pretrained)
      tokenizer.json, tokenizer_config.json   if the Trainer was given a tokenizer
      trainer_state.json                      where the run was, and its log_history, for a reader
      training.state                          step, settings, history, AdamW's averages, a digest of the weights

strategy="fsdp" writes weights and averages in parts instead (parts_of_checkpoint.py); any Trainer resumes from either.

A checkpoint is written beside its final name and moved into place by one rename, so a folder called checkpoint-...
is always whole. The digest ties weights and averages together: files of two different steps are refused.

Book: 3.4 모델 학습시키기. Held against: resume_from_checkpoint of transformers.Trainer, whose folders have the same
names; it also saves the state of random generators, ours has none to save, see batches.py.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from minillm._checks import describe
from minillm._files import BadFileError, write_json
from minillm._tensors import load_tensors, save_tensors, to_array
from minillm.nn.lora import BASE, adapters_of
from minillm.training.adamw import AdamW
from minillm.training.adapters import save_adapter
from minillm.training.parts_of_checkpoint import Cutter, read_parts

STATE = "training.state"
KIND = "training state"
WEIGHTS = "weights.state"
ABANDONED = 3600.0  # seconds after which nobody still writes a draft that has not grown
# eval_loss of state files that this process has read or written, by (inode, size, time of change): a run that keeps
# six checkpoints would else read all six whole again at every save
_known_losses: dict[tuple[int, int, int], float | None] = {}


def learned_state(model: nn.Module) -> dict[str, Tensor]:
    """All weights and saved buffers; of a model with LoRA adapters those, and what else of it can learn."""
    state = model.state_dict()
    if adapters_of(model) is None:
        return state
    learn = {name for name, one in model.named_parameters(remove_duplicate=False) if one.requires_grad}
    own = re.compile(r"\.(lora_[AB]|copies)\.")
    return {name: tensor for name, tensor in state.items() if name in learn or own.search(f".{name}")}


def base_digest(model: nn.Module) -> str | None:
    """sha256 of what stays frozen below LoRA adapters, of up to 1,024 numbers of each tensor; None without adapters.

    It is no proof against forgery: it tells one base from another of the same shape, in milliseconds.
    """
    if adapters_of(model) is None:
        return None
    digest, learned = hashlib.sha256(), learned_state(model)
    for name, tensor in model.state_dict().items():
        if name not in learned:
            array, dtype = to_array(tensor.reshape(-1)[:: 1 + tensor.numel() // 1024])
            digest.update(f"{name}|{dtype}|{tuple(tensor.shape)}|".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8))
    return digest.hexdigest()


def weights_digest(model: nn.Module) -> str:
    """sha256 of the names, shapes, dtypes and bytes of what `learned_state` gives."""
    return digest_of(learned_state(model))


def digest_of(state: Mapping[str, Tensor]) -> str:
    """The same of what `state_dict` gave."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        array, dtype = to_array(tensor)
        digest.update(f"{name}|{dtype}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def whole_digest(model: nn.Module) -> str:
    """A text that tells a model from others: what has learned, and the base below it."""
    return weights_digest(model) + (base_digest(model) or "")


def digests_of(model: nn.Module) -> dict[str, str | None]:
    """What a state belongs to: what has learned, and the frozen base below it."""
    return {"weights": weights_digest(model), "base": base_digest(model)}


def save_checkpoint(
    folder: str | Path,
    step: int,
    model: nn.Module,
    optimizer: AdamW,
    meta: dict[str, Any],
    tokenizer: Any = None,
) -> Path:
    """Write `folder/checkpoint-N` whole or not at all, and return it; a checkpoint of that step is replaced.

    `meta` is JSON-able and comes back from `checkpoint_meta`. A model without `save_pretrained` has its
    weights written to weights.state in our own container; one with LoRA adapters has the adapters there, and the active
    one beside it in peft's format, too. Its frozen base is not stored: a digest of it is.
    """
    with drafted(checkpoint_path(folder, step), meta.get("eval_loss")) as draft:
        shared = adapters_of(model)
        if shared is not None and shared.active != BASE:
            save_adapter(model, draft)
        if shared is None and hasattr(model, "save_pretrained"):
            model.save_pretrained(draft)
        else:
            save_tensors(draft / WEIGHTS, "weights", learned_state(model), None)
        averages, counts, groups = split_state(optimizer)
        whole = {"step": step, "counts": counts, "groups": groups, "meta": meta}
        write_rest(draft, averages, whole | digests_of(model), tokenizer)
    return checkpoint_path(folder, step)


def split_state(
    optimizer: AdamW,
) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """An optimiser's state as (tensors by "index.name", other values by index, settings of the groups)."""
    state = optimizer.state_dict()
    averages = {
        f"{index}.{name}": value
        for index, entry in state["state"].items()
        for name, value in entry.items()
        if isinstance(value, Tensor)
    }
    counts = {
        str(index): {name: value for name, value in entry.items() if not isinstance(value, Tensor)}
        for index, entry in state["state"].items()
    }
    return averages, counts, state["param_groups"]


def write_rest(draft: Path, averages: dict[str, Tensor], whole: dict[str, Any], tokenizer: Any) -> None:
    """Everything of a checkpoint but the weights."""
    if tokenizer is not None:
        save_tokenizer(tokenizer, draft)
    if "state" in whole["meta"]:
        write_json(draft / "trainer_state.json", whole["meta"]["state"])
    save_tensors(draft / STATE, KIND, averages, whole)


@contextmanager
def drafted(target: Path, eval_loss: float | None) -> Iterator[Path]:
    """A folder that gets the name `target` when the block has ended well; nothing is left of it otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target.parent)
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    old = draft.with_name(f"{draft.name}.old")
    try:
        yield draft
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o777 & ~umask)
        if target.exists():
            target.rename(old)
        draft.rename(target)
        _known_losses[_stamp(target)] = eval_loss
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def checkpoint_path(folder: str | Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return Path(folder) / f"checkpoint-{step}"


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer's files into a folder: one of transformers, or anything with `save(folder)`."""
    save = tokenizer.save_pretrained if hasattr(tokenizer, "save_pretrained") else tokenizer.save
    save(folder)


def remove_abandoned(folder: Path) -> None:
    """Delete what a killed process left half written or half deleted: hidden folders in which nothing is written."""
    for path in folder.glob(".checkpoint-*"):
        try:
            newest = max(one.stat().st_mtime for one in (path, *path.iterdir()))
        except OSError:  # another process is about to rename or delete it
            continue
        if time.time() - newest > ABANDONED:
            shutil.rmtree(path, ignore_errors=True)


def checkpoint_meta(path: str | Path) -> dict[str, Any]:
    """The `meta` a checkpoint was saved with. Raises BadFileError if its state is missing, cut or damaged."""
    _, found = load_tensors(Path(path) / STATE, KIND)
    return found["meta"]


def load_checkpoint(
    path: str | Path, model: nn.Module, optimizer: AdamW, cutter: Cutter | None = None
) -> int:
    """Put the weights and averages of a checkpoint into `model` and `optimizer`; returns its step.

    cutter: where this process holds a part of them. Raises BadFileError (a ValueError) if a file is missing, cut or
    damaged, or belongs to another step, and ValueError if the checkpoint is of another model; in either case model and
    optimiser keep what they had.
    """
    path = Path(path)
    averages, found = load_tensors(path / STATE, KIND)
    weights = None
    if "parts" in found:
        weights, averages = read_parts(path, found)
    states: dict[int, dict[str, Any]] = {int(index): dict(count) for index, count in found["counts"].items()}
    for name, tensor in averages.items():
        index, _, part = name.partition(".")
        states[int(index)][part] = tensor if cutter is None else cutter.cut(tensor)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        _fill(model, path, found, weights, cutter)
        optimizer.load_state_dict({"state": states, "param_groups": found["groups"]})
    except BaseException:
        model.load_state_dict(before)
        raise
    return found["step"]


def load_weights(path: str | Path, model: nn.Module, cutter: Cutter | None = None) -> None:
    """Put the weights of a checkpoint into `model`; raises as `load_checkpoint` does, the model as it was."""
    path = Path(path)
    _, found = load_tensors(path / STATE, KIND)
    weights = read_parts(path, found)[0] if "parts" in found else None
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        _fill(model, path, found, weights, cutter)
    except BaseException:
        model.load_state_dict(before)
        raise


def _fill(
    model: nn.Module,
    path: Path,
    found: dict[str, Any],
    weights: dict[str, Tensor] | None,
    cutter: Cutter | None,
) -> None:
    """The weights of a checkpoint, if they have the digests of its state; those of parts were checked part by part."""
    in_parts, adapted = weights is not None, adapters_of(model) is not None
    if weights is None:
        if (path / WEIGHTS).exists() or adapted or not hasattr(type(model), "from_pretrained"):
            weights, _ = load_tensors(path / WEIGHTS, "weights")
        else:
            weights = type(model).from_pretrained(path).state_dict()
    without_base = adapted and not in_parts
    try:
        if cutter is not None:
            cutter.take(weights)
        elif without_base and weights.keys() != learned_state(model).keys():
            raise RuntimeError("it has other adapters")
        else:
            model.load_state_dict(weights, strict=not without_base)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"checkpoint {str(path)!r} is of another model: {error}") from None
    if in_parts:
        return
    if cutter is None and base_digest(model) != found.get("base"):
        raise ValueError(
            f"checkpoint {str(path)!r} is of adapters on another base: the frozen weights of this model are others"
        )
    if (weights_digest(model) if cutter is None else digest_of(weights)) != found["weights"]:
        raise BadFileError(
            f"checkpoint {str(path)!r} is refused: its weights are not those its state was saved with"
        )


def checkpoints(folder: str | Path) -> list[Path]:
    """All checkpoints below `folder`, oldest step first; an absent folder has none."""
    if not isinstance(folder, (str, Path)):
        raise ValueError(f"folder must be a path, got {describe(folder)}")
    return sorted((p for p in Path(folder).glob("checkpoint-*") if step_of(p) is not None), key=step_of)


def step_of(path: Path) -> int | None:
    """The step of a checkpoint by the name of its folder; None for another name."""
    found = re.fullmatch(r"checkpoint-(0|[1-9]\d*)", path.name, re.ASCII)
    return int(found[1]) if found else None


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint of the highest step below `folder`, or None."""
    found = checkpoints(folder)
    return found[-1] if found else None


def best_checkpoint(folder: str | Path) -> Path | None:
    """The whole checkpoint with the lowest eval_loss below `folder` (the later of equals), or None.

    Reads every state file to be sure that it is whole.
    """
    return _best([(_eval_loss(path), path) for path in checkpoints(folder)])


def _best(losses: list[tuple[float | None, Path]]) -> Path | None:
    scored = [(loss, -place, path) for place, (loss, path) in enumerate(losses) if loss is not None]
    return min(scored)[2] if scored else None


def remove_old(folder: str | Path, keep_last: int, best: Path | None = None, last: int | None = None) -> None:
    """Delete all checkpoints but the newest `keep_last` and `best`, by default the one with the lowest eval_loss.

    last: the step that was just saved. Later ones are of an earlier run in the same folder; they are not ours to
    delete, and do not push out those of this run. A state file is read once in a process, and again only if it has
    changed.
    """
    ours = [path for path in checkpoints(folder) if last is None or step_of(path) <= last]
    if best is None:
        best = _best([(_remembered_loss(path), path) for path in ours])
    for path in ours[:-keep_last]:
        if path != best:
            # a half-deleted folder must not look whole, and the name must be free: a killed process may have left one
            hidden = Path(tempfile.mkdtemp(dir=folder, prefix=f".{path.name}."))
            with suppress(FileNotFoundError):  # another run in this folder was quicker
                path.rename(hidden / "old")
            shutil.rmtree(hidden, ignore_errors=True)


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when the state file of a checkpoint is written anew."""
    found = (path / STATE).stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _remembered_loss(path: Path) -> float | None:
    try:
        stamp = _stamp(path)
    except OSError:  # no state file: nothing to be the best with
        return None
    if stamp not in _known_losses:
        _known_losses[stamp] = _eval_loss(path)
    return _known_losses[stamp]


def _eval_loss(path: Path) -> float | None:
    """The loss noted in a checkpoint; None if none was or the file is damaged: that one is never the best."""
    try:
        return checkpoint_meta(path).get("eval_loss")
    except BadFileError:
        return None
