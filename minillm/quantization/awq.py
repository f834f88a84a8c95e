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

from minillm.quantization.groups import fit_grid

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
    """
    weight = torch.cat(list(weights))
    best, least, chosen = torch.ones_like(size), float("inf"), 0.0
    for step in range(TRIES):
        alpha = step / TRIES
        s = size.clamp(min=1e-4) ** alpha
        s = s / (s.max() * s.min()).sqrt()  # as many grow as shrink
        grid = fit_grid(weight * s, bits, group_size, symmetric)
        # error(α) = Σ e H eᵀ,  e = Q(W · s) / s - W
        error = grid.numbers(grid.round(weight * s)) / s - weight
        loss = ((error @ second) * error).sum().item()
        if loss < least:
            best, least, chosen = s, loss, alpha
    return best, chosen


def awq_clip(
    weight: Tensor, second: Tensor, bits: int = 4, group_size: int = 128, symmetric: bool = False
) -> Tensor:
    """The weight (O, I) with each group's largest numbers cut where that lowers e H eᵀ of the group: (O, I)."""
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
