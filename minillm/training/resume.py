"""A run in a checkpoint: everything but weights and averages that decides how it goes on.

    where it is (step, epoch, place in the epoch), the records, the best metric, what callbacks count, the loss's scale

Random generators are not among it: every step draws from (seed, step), see randomness.py.

Book: 3.4 모델 학습시키기. Held against: the trainer_state.json of transformers.Trainer.
"""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minillm._checks import describe
from minillm.training.callbacks import TrainerControl, TrainerState, restored
from minillm.training.checkpoint import (
    checkpoint_meta,
    checkpoint_path,
    checkpoints,
    drafted,
    latest_checkpoint,
    load_checkpoint,
    remove_old,
    save_checkpoint,
    save_tokenizer,
    split_state,
    step_of,
    write_rest,
)
from minillm.training.config import TrainerConfig
from minillm.training.parts_of_checkpoint import write_part

# how an update is dealt to passes and processes, by the names of TrainingArguments and of TrainerConfig
BATCHES = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "batch_size",
    "gradient_accumulation",
)


def save_run(run: Any) -> None:
    """Write a checkpoint of a Trainer, and delete those that are no longer wanted; the best one is kept."""
    args, state = run.args, run.state
    folder = Path(args.output_dir)
    if state.best_global_step == state.global_step:
        state.best_model_checkpoint = str(checkpoint_path(folder, state.global_step))
    if run.strategy.cuts:
        save_parts(run, folder)
    elif run.processes.first:
        save_checkpoint(folder, state.global_step, run.model, run.optimizer, _meta(run), run.tokenizer)
    if run.processes.first:
        if isinstance(run.config, TrainerConfig):
            remove_old(folder, run.config.keep_last, last=state.global_step)
        elif (keep := args.save_total_limit) is not None:
            best = Path(state.best_model_checkpoint or folder)
            # as in transformers, the best is one of those that the limit allows, and the newest is kept, too
            ours = [path for path in checkpoints(folder) if step_of(path) <= state.global_step]
            if best != folder and best not in ours[-keep:]:
                keep = max(1, keep - 1)
            remove_old(folder, keep, best, last=state.global_step)
    run.processes.wait()


def save_parts(run: Any, folder: Path) -> None:
    """Write a checkpoint to which every process adds what it holds; process 0 gives it its name when all have."""
    processes, step = run.processes, run.state.global_step
    held = run.strategy.held()
    averages, counts, groups = split_state(run.optimizer)
    with ExitStack() as ends:
        draft = None
        if processes.first:
            meta = _meta(run)
            draft = ends.enter_context(drafted(checkpoint_path(folder, step), meta["eval_loss"]))
        draft = Path(processes.agreed({"draft": str(draft)})["draft"])
        tied = {"step": step, "mark": draft.name}
        write_part(draft, (processes.rank, processes.count), held, averages, tied)
        if processes.first:
            whole = {"counts": counts, "groups": groups, "meta": meta, "parts": processes.count}
            write_rest(draft, {}, whole | tied, run.tokenizer)
        processes.wait()


def check_savable(run: Any) -> None:
    """Before the first step: ValueError for a part of a Trainer of which its first checkpoint could not be written.

    A schedule or a callback that remembers what JSON cannot say, or a tokenizer that cannot be saved, would else end
    the run hours later. Warns of the checkpoints of another run in the folder.
    """
    if run.args.save_strategy == "no" or not run.processes.first:
        return
    parts = {
        "optimizers[0]": run.optimizer.state_dict()["param_groups"],
        "optimizers[1]": None if run.lr_scheduler is None else run.lr_scheduler.state_dict(),
        "the state() of the callbacks": run.callbacks.saved(),
    }
    for name, value in parts.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"a checkpoint cannot hold {name}: {error}; it must be numbers, texts, lists and dicts, or "
                'save_strategy="no"'
            ) from None
    if run.tokenizer is not None:
        with tempfile.TemporaryDirectory() as folder:
            save_tokenizer(run.tokenizer, Path(folder))
    folder = Path(run.args.output_dir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"output_dir must be a folder, {str(folder)!r} is a file")
    there = latest_checkpoint(folder)
    if run.state.global_step == 0 and there is not None:
        warnings.warn(
            f"{str(folder)!r} holds the checkpoints of another run, up to {there.name}. This run begins anew and "
            "writes its own among them; resume_from_checkpoint=True would go on from the newest, another output_dir "
            "keeps them apart",
            stacklevel=3,
        )


def _meta(run: Any) -> dict[str, Any]:
    """What a checkpoint holds besides weights and averages, as JSON-able values."""
    return {
        "config": run.config.what_decides_the_weights(), "objective": _of_objective(run), "history": run.history,
        "eval_loss": run.history[-1]["eval_loss"], "state": asdict(run.state), "control": asdict(run.control),
        "place": run.place, "logged": run.logged, "callbacks": run.callbacks.saved(),
        "loss_scale": run.loss_scale.state_dict(),
        "batches": _batches(run, run.config.what_decides_the_weights()),
        "schedule": None if run.lr_scheduler is None else run.lr_scheduler.state_dict(),
    }  # fmt: skip


def _of_objective(run: Any) -> dict[str, Any]:
    """The settings of an objective that a resumed run must share, if it has any: a teacher, its share of the loss."""
    ask = getattr(run.objective, "what_decides_the_weights", None)
    return ask() if callable(ask) else {}


def _batches(run: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """What an update reads, however it is dealt to processes: its rows, and in which order they come.

    Batches of texts of one length, data that deal their own batches, what the end of an epoch leaves out, and a loss in
    which the rows of a batch meet depend on how large those are.
    """
    sizes = [settings[key] for key in BATCHES if key in settings]
    args, data = run.args, getattr(run.train_feed, "data", None)
    deals = args.train_sampling_strategy == "group_by_length" or hasattr(data, "epoch_batches")
    deals = deals or args.dataloader_drop_last or not getattr(run.objective, "rows_apart", False)
    return {
        "rows": math.prod(sizes) * run.processes.count,
        "dealt": [*sizes, run.processes.count] if deals else None,
    }


def resume_run(run: Any, checkpoint: bool | str | Path) -> None:
    """Put a Trainer where a checkpoint left one: True takes the newest of its folder, if there is one.

    Raises ValueError, and changes nothing, for a checkpoint that is damaged, of another model, or of a run with other
    settings, another objective (such as one with another teacher) or data.
    """
    if checkpoint is True:
        if run.args.output_dir is None:
            name = "checkpoint_folder" if isinstance(run.config, TrainerConfig) else "output_dir"
            raise ValueError(f"resume_from_checkpoint=True needs a {name}, got None")
        checkpoint = latest_checkpoint(run.args.output_dir)
        if checkpoint is None:
            return
    if not isinstance(checkpoint, (str, Path)):
        raise ValueError(f"resume_from_checkpoint must be True, False or a path, got {describe(checkpoint)}")
    meta = checkpoint_meta(checkpoint)
    ours, theirs = run.config.what_decides_the_weights(), meta["config"]
    # the same rows in an update, by another number of processes
    batches, of_then = _batches(run, ours), meta.get("batches")
    spared = BATCHES if batches == of_then else ()
    changed = [
        f"{key} {theirs.get(key)!r} -> {ours[key]!r}"
        for key in ours
        if ours[key] != theirs.get(key) and key not in spared
    ]
    if of_then is not None and batches != of_then and not changed:
        names = {
            "rows": "rows of an update, over all processes,",
            "dealt": "batches that depend on their sizes",
        }
        key = next(key for key in names if batches[key] != of_then.get(key))
        changed = [f"{names[key]} {of_then.get(key)} -> {batches[key]}"]
    ours, theirs = _of_objective(run), meta.get("objective", {})
    keys = [*theirs, *(key for key in ours if key not in theirs)]
    changed += [
        f"objective's {key} {theirs.get(key)!r} -> {ours.get(key)!r}"
        for key in keys
        if ours.get(key) != theirs.get(key)
    ]
    if changed:
        raise ValueError(
            f"checkpoint {str(checkpoint)!r} has other settings: {', '.join(changed)}; to go on from "
            "its weights as a new run, give the Trainer load_model(checkpoint) and resume from nothing"
        )
    if meta["state"]["max_steps"] != run.state.max_steps:
        raise ValueError(
            f"checkpoint {str(checkpoint)!r} is of a run of {meta['state']['max_steps']} updates, this one has "
            f"{run.state.max_steps}: the data are not as many as they were"
        )
    load_checkpoint(checkpoint, run.model, run.optimizer, run.strategy if run.strategy.cuts else None)
    run.state = restored(TrainerState, meta["state"])
    run.state.is_local_process_zero = run.state.is_world_process_zero = run.processes.first
    if run.state.best_model_checkpoint is not None and run.args.output_dir is not None:
        # the folder may have been moved
        run.state.best_model_checkpoint = str(
            Path(run.args.output_dir) / Path(run.state.best_model_checkpoint).name
        )
    run.control = restored(TrainerControl, meta["control"])
    run.place, run.logged = tuple(meta["place"]), meta["logged"]
    run.callbacks.restore(meta["callbacks"])
    run.records.load(meta["history"])
    run.loss_scale.load_state_dict(meta["loss_scale"])
    if run.lr_scheduler is not None:
        run.lr_scheduler.load_state_dict(meta["schedule"])
