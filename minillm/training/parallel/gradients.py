"""Many gradients as one message: the flat form that is summed over ranks.

    [1 for each parameter that has a gradient, 0 for one that has none] + [all gradients, one behind the other]

The marks are summed, too: a parameter that no rank used keeps None, as in one process, and an optimiser leaves it be.

Book: 5.3.1 분산 학습.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pack_gradients(parameters: Sequence[Tensor], dtype: torch.dtype | None = None) -> Tensor:
    """The gradients as one tensor, zeros where there are none. dtype: None is that of the first parameter."""
    first = parameters[0]
    dtype = first.dtype if dtype is None else dtype
    marks = torch.tensor([p.grad is not None for p in parameters], dtype=dtype, device=first.device)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return torch.cat([marks, *(gradient.flatten().to(dtype) for gradient in gradients)])


def unpack_gradients(parameters: Sequence[Tensor], flat: Tensor) -> None:
    """Put what was summed back into `.grad`: views of `flat`, None for a parameter without a mark."""
    marks = flat[: len(parameters)].tolist()
    pieces = flat[len(parameters) :].split([parameter.numel() for parameter in parameters])
    for parameter, piece, mark in zip(parameters, pieces, marks):
        parameter.grad = piece.view_as(parameter).to(parameter.dtype) if mark else None
