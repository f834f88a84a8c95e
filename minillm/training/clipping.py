"""Gradient clipping: when the whole gradient is longer than a limit, shorten it and keep its direction.

    norm = sqrt(sum over all parameters of g^2)
    g <- g * max_norm / norm       if norm > max_norm

One bad batch can give a gradient a hundred times the usual length; one such step undoes many good ones.

Book: 3.4 모델 학습시키기. Paper: Pascanu et al. 2013. Held against: torch.nn.utils.clip_grad_norm_, whose
1e-6 beside the norm is kept. Leaves out: other norms than the Euclidean one.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from minillm._checks import check_number, describe, is_listing


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Euclidean length of all gradients together, a 0-d float32 tensor; a parameter without one counts as zero.

    Raises ValueError if `parameters` is not an iterable of tensors.
    """
    return _length(_gradients(parameters))


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale gradients in place to a common length of at most `max_norm`; returns the length before, 0-d float32.

    A tensor on the gradients' device, as torch's: on a GPU nothing waits for it. A length of inf or NaN is returned
    as it is and the gradients are left alone: scaling by 0 or NaN would hide which parameter went wrong (torch turns
    them all into NaN). The caller must then skip the update or stop. Raises ValueError for a max_norm that is not
    above 0, or parameters that are no tensors.
    """
    if check_number("max_norm", max_norm, 0) == 0:
        raise ValueError("max_norm must be above 0, got 0")
    gradients = _gradients(parameters)
    norm = _length(gradients)
    # g <- g * max_norm / norm
    scale = torch.where(norm.isfinite(), max_norm / (norm + 1e-6), 1.0).clamp(max=1.0)
    # where asking costs nothing, multiplying by 1 is saved
    if gradients and (norm.device.type != "cpu" or scale < 1):
        torch._foreach_mul_(gradients, scale)
    return norm


def _length(gradients: list[Tensor]) -> Tensor:
    if not gradients:
        return torch.zeros(())
    # the length of the vector of lengths is the length of everything laid end to end
    lengths = [length.to(gradients[0].device, torch.float32) for length in torch._foreach_norm(gradients)]
    return torch.linalg.vector_norm(torch.stack(lengths))


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    if isinstance(given, dict) or not is_listing(given):
        raise ValueError(f"parameters must be an iterable of tensors, got {describe(parameters)}")
    given = list(given)
    if not all(isinstance(parameter, Tensor) for parameter in given):
        raise ValueError(f"parameters must be an iterable of tensors, got {describe(given)}")
    return [parameter.grad.detach() for parameter in given if parameter.grad is not None]
