"""AWQ (activation-aware weight quantization): spread the columns that meet large inputs, so that rounding hurts less.

    W x = (W · s) (x / s)            s (I,): a factor a column of W; its inverse goes into the layer before, for free
    s_i = (mean |x_i|)^α             α from 0 to 1: the one whose rounded layer has the least error on calibration text
    error(α) = ‖ (Q(W · s) / s - W) x ‖²  =  Σ over rows of  e H eᵀ,    e the row's error,  H = mean of x xᵀ

A few columns matter far more than the others: not those with large weights, those with large inputs. A factor above 1
makes such a column's weights use more of the grid, so its relative error falls; the others of its group pay for it.
After that, clipping: a group's largest weights are cut to a share of their size where the finer steps gain more.

Book: 7.2 양자화로 모델 용량 줄이기. Paper: Lin et al. 2023 (AWQ), equations 4 and 5. Held against the same search in
numpy on the inputs themselves. H takes the place of the inputs: an error of a layer needs no more of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minillm._checks import check_flag, check_int, describe, is_listing
from minillm.quantization.absmax import finite_floats
from minillm.quantization.groups import check_mean_of_products, fit_grid

TRIES = 20  # values of α: 0, 1/20, ..., 19/20
CLIPS = 10  # shares of the largest weight: 1, 19/20, ..., 11/20


def awq_scales(
    weights: Sequence[Tensor],
    second: Tensor,
    size: Tensor,
    bits: int = 4,
    group_size: int = 128,
    symmetric: bool = False,
) -> tuple[Tensor, float]:
    """(s (I,), α): the best factors for layers that share their input.

    weights: each (O, I). second (I, I) and size (I,): means of x xᵀ and of |x| over calibration text.
    Works in float32, or float64 where one of them is. Raises ValueError for shapes that do not fit, inf or NaN, a
    second that is not symmetric or has a negative diagonal, a negative size, or options out of range.
    """
    if not is_listing(weights) or not len(weights):
        raise ValueError(f"weights must be matrices, at least one, got {describe(weights)}")
    for weight in weights:
        _check_layer(weight, second, bits, group_size, symmetric)
    if tuple(finite_floats("size", size).shape) != (len(second),) or (size < 0).any():
        raise ValueError(f"size must be {len(second)} means of |x|, got {describe(size)}")
    weight, second, size = _of_one_dtype(torch.cat([one.detach() for one in weights]), second, size)
    tries = [step / TRIES for step in range(TRIES)]
    errors = [
        scaled_error(weight, factors(size, alpha), second, bits, group_size, symmetric) for alpha in tries
    ]
    best = tries[errors.index(min(errors))]
    return factors(size, best), best


def factors(size: Tensor, alpha: float) -> Tensor:
    """s (I,): the mean size of every input, to the power α; as many columns grow as shrink."""
    s = size.clamp(min=1e-4) ** alpha
    return s / (s.max() * s.min()).sqrt()


def scaled_error(
    weight: Tensor, s: Tensor, second: Tensor, bits: int, group_size: int, symmetric: bool = False
) -> float:
    """The mean of ‖(Q(W · s) / s - W) x‖²: what the layer (O, I) loses when W · s is rounded."""
    grid = fit_grid(weight * s, bits, group_size, symmetric)
    # e = Q(W · s) / s - W,  error(α) = Σ e H eᵀ
    error = grid.numbers(grid.round(weight * s)) / s - weight
    return ((error @ second) * error).sum().item()


def awq_clip(
    weight: Tensor, second: Tensor, bits: int = 4, group_size: int = 128, symmetric: bool = False
) -> Tensor:
    """The weight (O, I) with each group's largest numbers cut where that lowers e H eᵀ of the group: (O, I).

    second (I, I): the mean of x xᵀ. Dtypes and ValueError as for awq_scales.
    """
    _check_layer(weight, second, bits, group_size, symmetric)
    weight, second = _of_one_dtype(weight, second)
    width = weight.shape[1]
    clipped = weight.clone()
    for start in range(0, width, group_size):
        end = min(start + group_size, width)
        w, H = weight[:, start:end], second[start:end, start:end]  # (O, n), (n, n)
        largest = w.abs().amax(dim=1, keepdim=True)
        least = torch.full((len(w), 1), float("inf"), dtype=w.dtype)
        for step in range(CLIPS):
            limit = largest * (1 - step / (2 * CLIPS))
            cut = w.clamp(-limit, limit)
            grid = fit_grid(cut, bits, end - start, symmetric)
            error = grid.numbers(grid.round(cut)) - w
            loss = ((error @ H) * error).sum(dim=1, keepdim=True)
            better = loss < least
            least = torch.where(better, loss, least)
            clipped[:, start:end] = torch.where(better, cut, clipped[:, start:end])
    return clipped


def _check_layer(weight: Tensor, second: Tensor, bits: int, group_size: int, symmetric: bool) -> None:
    finite_floats("weight", weight), finite_floats("second", second)
    if weight.ndim != 2 or tuple(second.shape) != (weight.shape[1], weight.shape[1]):
        raise ValueError(
            f"weight must be (O, I) and second (I, I), got {tuple(weight.shape)} and {tuple(second.shape)}"
        )
    check_mean_of_products("second", second)
    check_int("bits", bits, 2, 8), check_int("group_size", group_size, 1), check_flag("symmetric", symmetric)


def _of_one_dtype(*tensors: Tensor) -> list[Tensor]:
    """Half precision, as a model's weights may be, has too few digits for sums over thousands of columns."""
    dtype = torch.float64 if any(one.dtype == torch.float64 for one in tensors) else torch.float32
    return [one.detach().to(dtype) for one in tensors]
