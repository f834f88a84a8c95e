"""A checkpoint in parts: each process writes what it holds of weights and averages; any number of them reads it.

    checkpoint-500/
      training.state            as in every checkpoint, without averages; it says how many parts there are
      part-0-of-4.state         rows of every weight and of its two averages, as process 0 holds them
      part-1-of-4.state         the rows behind those, ...

A reader lays the rows of all parts one below the other, and cuts again by its own number of processes. The parts carry
the step and a mark of their checkpoint: those of two checkpoints are refused. All processes see one file system.

Book: 5.3.2 데이터 병렬화에서 중복 저장 줄이기(ZeRO). Held against: the weights of one process.
Peer: torch.distributed.checkpoint, whose reader takes only what it needs; ours reads every part whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from minillm._files import BadFileError
from minillm._tensors import load_tensors, save_tensors

PART_KIND = "training part"


class Cutter(Protocol):
    """What holds a part of a model (fsdp.py)."""

    def cut(self, tensor: Tensor) -> Tensor:
        """What this process holds of a tensor."""

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Put its part of whole weights into the model; ValueError for those of another model."""


def write_part(
    draft: Path,
    place: tuple[int, int],
    held: Mapping[str, tuple[Tensor, bool]],
    averages: Mapping[str, Tensor],
    tied: Mapping[str, Any],
) -> None:
    """Write what process `place` = (rank, count) holds.

    held: of each tensor of the model (what the process has, whether that is a piece); what is whole is written by
    process 0. averages: by "index.name", pieces all. tied: what the parts of one checkpoint share, JSON-able.
    """
    rank, count = place
    tensors = {f"piece.{name}": tensor for name, (tensor, is_piece) in held.items() if is_piece}
    if rank == 0:
        tensors |= {f"whole.{name}": tensor for name, (tensor, is_piece) in held.items() if not is_piece}
    tensors |= {f"average.{name}": tensor for name, tensor in averages.items()}
    save_tensors(draft / f"part-{rank}-of-{count}.state", PART_KIND, tensors, dict(tied))


def read_parts(path: Path, found: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(weights, averages) of a checkpoint in parts, whole. found: what its training.state says.

    BadFileError for a part that is missing, cut or damaged, or of another checkpoint.
    """
    rows: dict[str, list[Tensor]] = {}
    for rank in range(found["parts"]):
        file = path / f"part-{rank}-of-{found['parts']}.state"
        tensors, tied = load_tensors(file, PART_KIND)
        if tied != {"step": found["step"], "mark": found["mark"]}:
            raise BadFileError(f"{str(file)!r} is refused: it is a part of another checkpoint")
        for name, tensor in tensors.items():
            rows.setdefault(name, []).append(tensor)
    kinds: dict[str, dict[str, Tensor]] = {"piece": {}, "whole": {}, "average": {}}
    for name, pieces in rows.items():
        kind, _, rest = name.partition(".")
        kinds[kind][rest] = pieces[0] if kind == "whole" else torch.cat(pieces)
    return kinds["piece"] | kinds["whole"], kinds["average"]
