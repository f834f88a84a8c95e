"""GPTQ: quantize a weight column by column, and let the columns that are left make good what rounding broke.

    H     = mean of x xᵀ over calibration inputs x, + λ on its diagonal      what an error in each column costs
    U     = upper Cholesky factor of H⁻¹                                      Uᵀ U = H⁻¹
    for each column i:   q_i = nearest code of w_i
                         w_j = w_j - (w_i - q_i) / U_ii · U_ij                for the columns j after i

Rounding (round-to-nearest) makes each weight's error small. GPTQ makes the layer's error ‖(W - Q) x‖² small: inputs
hang together, so an error in one column can be undone in another. Row i of U holds what a lone formula (optimal brain
surgeon) would have to work out anew for each column.

    lazy blocks   columns further on than the block wait, and get all of its corrections in one product: same numbers
    act-order     columns with large inputs first, while many are left to help; groups keep their place and get their
                  scales beforehand. In the plain order a group's scales are found when it is reached.

Book: 7.2 양자화로 모델 용량 줄이기. Paper: Frantar et al. 2022 (GPTQ), algorithm 1. Held against the paper's
equations in numpy, with H inverted anew after each column.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minillm._checks import check_flag, check_int, check_number
from minillm.quantization.absmax import finite_floats
from minillm.quantization.groups import (
    Grid,
    GroupQuantized,
    check_mean_of_products,
    finite_matrix,
    fit_grid,
)

BLOCK = 128  # columns that are corrected at once


def gptq_plain(weight: Tensor, hessian: Tensor, grid: Grid, order: Tensor, damping: float = 0.01) -> Tensor:
    """The algorithm: weight (O, I) and H (I, I) float64 -> codes uint8 (O, I) on a given grid, columns in `order`."""
    w = weight[:, order].clone()
    U = inverse_factor(hessian[order][:, order], damping)
    codes = torch.empty_like(w, dtype=torch.uint8)
    for i, column in enumerate(order.tolist()):
        # q_i = nearest code of w_i
        codes[:, column] = grid.round(w[:, i : i + 1], column)[:, 0]
        error = w[:, i] - grid.numbers(codes[:, column : column + 1], column)[:, 0]
        # w_j = w_j - (w_i - q_i) / U_ii · U_ij
        w[:, i + 1 :] -= torch.outer(error / U[i, i], U[i, i + 1 :])
    return codes


def inverse_factor(hessian: Tensor, damping: float) -> Tensor:
    """U, upper triangular, with Uᵀ U = (H + λ I)⁻¹; λ is `damping` times the mean of the diagonal."""
    damped = hessian.clone()
    damped.diagonal().add_(damping * hessian.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)


def gptq(
    weight: Tensor,
    hessian: Tensor,
    bits: int = 4,
    group_size: int = 128,
    act_order: bool = True,
    symmetric: bool = False,
    damping: float = 0.01,
) -> GroupQuantized:
    """Quantize a weight (O, I) for inputs whose mean of x xᵀ is `hessian` (I, I). Fast because of lazy blocks.

    bits: 2 to 8. group_size: columns that share a scale. damping: λ as a share of the mean of H's diagonal, above 0.
    Works in float64. Raises ValueError for no float matrices, inf or NaN, a Hessian of another size or not
    symmetric with a diagonal of 0 or more or no mean of x xᵀ, or options out of range.
    """
    weight, hessian = finite_matrix("weight", weight).double(), _checked_hessian(hessian, weight)
    check_int("bits", bits, 2, 8), check_int("group_size", group_size, 1)
    check_flag("act_order", act_order), check_flag("symmetric", symmetric)
    check_number("damping", damping, 1e-6, 1.0)
    silent = hessian.diagonal() == 0  # inputs that are always 0: whatever stands there
    hessian.diagonal()[silent] = 1
    weight = weight.masked_fill(silent, 0)
    grid = fit_grid(weight, bits, min(group_size, weight.shape[1]), symmetric)
    order = columns_in_order(hessian, act_order)
    try:
        codes = gptq_in_blocks(weight, hessian, grid, order, damping, late=not act_order, symmetric=symmetric)
    except torch.linalg.LinAlgError:
        raise ValueError(
            f"hessian is no mean of x xᵀ: with a damping of {damping} it has no Cholesky factor"
        ) from None
    return GroupQuantized(codes, grid._replace(scales=grid.scales.float()))


def columns_in_order(hessian: Tensor, act_order: bool) -> Tensor:
    """The columns (I,) as they are taken: those with the largest inputs first, or from left to right."""
    if act_order:
        return torch.argsort(hessian.diagonal(), descending=True, stable=True)
    return torch.arange(len(hessian))


def gptq_in_blocks(
    weight: Tensor,
    hessian: Tensor,
    grid: Grid,
    order: Tensor,
    damping: float = 0.01,
    late: bool = False,
    symmetric: bool = False,
) -> Tensor:
    """`gptq_plain`, fast: one product corrects all columns behind a block. late: a group's scales are found when it is
    reached, in the plain order; the grid is changed in place."""
    size = grid.group_size
    step = size * max(1, BLOCK // size) if late else BLOCK  # a late group lies in one block
    w, U = weight[:, order].clone(), inverse_factor(hessian[order][:, order], damping)
    codes = torch.empty_like(w, dtype=torch.uint8)
    for start in range(0, w.shape[1], step):
        block, upper = w[:, start : start + step], U[start : start + step, start : start + step]
        errors = torch.empty_like(block)
        for i, column in enumerate(order[start : start + step].tolist()):
            if late and column % size == 0:
                refit(grid, column // size, block[:, i : i + size], symmetric)
            codes[:, column] = grid.round(block[:, i : i + 1], column)[:, 0]
            error = block[:, i] - grid.numbers(codes[:, column : column + 1], column)[:, 0]
            errors[:, i] = error / upper[i, i]
            block[:, i + 1 :] -= torch.outer(errors[:, i], upper[i, i + 1 :])
        # the columns behind the block get all of its corrections at once
        w[:, start + step :] -= errors @ U[start : start + step, start + step :]
    return codes


def refit(grid: Grid, group: int, weight: Tensor, symmetric: bool) -> None:
    """Give a group of the grid the scales and zeros of its weights (O, n) as they are now."""
    new = fit_grid(weight, grid.bits, grid.group_size, symmetric)
    grid.scales[:, group], grid.zeros[:, group] = new.scales[:, 0], new.zeros[:, 0]


def _checked_hessian(hessian: Tensor, weight: Tensor) -> Tensor:
    finite_floats("hessian", hessian)
    H, width = hessian.detach().double(), weight.shape[1]
    if tuple(H.shape) != (width, width):
        raise ValueError(f"hessian must be ({width}, {width}), a row for each input, got {tuple(H.shape)}")
    check_mean_of_products("hessian", H)
    return (H + H.T) / 2
