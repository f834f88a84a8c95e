"""The last layer and its loss (마지막 층과 손실), without the logits ever being there as a whole.

    loss = cross_entropy(h Wᵀ + b)      with G = ∂loss/∂logits (N, V):   ∂h = G W,   ∂W = Gᵀ h,   ∂b = Σ_rows G

8,192 tokens of Llama 3 have 2 GB of bfloat16 logits and as much gradient. But G needs its own row of logits only.
So the rows come in chunks (덩어리): a chunk's logits are made, the kernel of cross_entropy.py turns them into their
gradient where they lie, and two products take that into ∂h and ∂W before the next chunk takes its place. All of it
happens in the forward pass; what is left for the backward pass is to multiply by the gradient that comes in.
The products are torch's own: the same 6·N·V·C operations as unfused, and no logits to be made a second time.

Book 8.3.1 커널 퓨전 (kernel fusion). Papers: Hsu et al. 2024 (Liger kernel), Wijmans et al. 2024 (cut cross-entropy; it
also skips what rounds to zero in G: left out here, as are class weights). Held against F.cross_entropy(F.linear()).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from kernels._checks import capability, check_int, check_launch, check_number, check_tensor, describe
from kernels._cross_entropy import check_out_dtype, check_targets, launch, scaled
from kernels._rows import as_rows, check_rows
from kernels.cross_entropy import cross_entropy_plain

REDUCTIONS = ("mean", "sum")


def linear_cross_entropy_plain(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    chunk_rows: int | None = None,
) -> Tensor:
    """The formula: hidden (..., C), weight (V, C), bias (V,), targets (...) -> a scalar. chunk_rows changes nothing."""
    logits = hidden @ weight.T  # (..., V)
    if bias is not None:
        logits = logits + bias
    return cross_entropy_plain(logits, targets, ignore_index, label_smoothing, reduction)


def rows_of_chunk(N: int, V: int, C: int) -> int:
    """How many rows a chunk has by default.

    As many as make the logits of a chunk as large as h. But 1,024 at least: for every chunk all of W is read once or
    twice and the float32 sum of ∂W read and written, 8 bytes a weight, and with fewer rows the products would wait
    for that (2 operations a row and weight, and a Hopper does some 200 a byte). And never more than a quarter of all.
    """
    most = min(max(1024, N * C // V), max(1, triton.cdiv(N, 4)))
    even = triton.cdiv(N, max(1, triton.cdiv(N, most)))  # no small chunk at the end
    return max(16, triton.cdiv(even, 16) * 16)


def _add_product(total: Tensor, a: Tensor, b: Tensor, first: bool) -> None:
    """total (float32) += a @ b, or = a @ b at first; a and b of any dtype, every sum in float32."""
    beta = 0 if first else 1  # 0: what `total` held, even NaN, is not read
    if a.is_cuda and a.dtype != torch.float32 and capability(a) >= (8, 0):  # older GPUs have no such product
        torch.addmm(total, a, b, out_dtype=torch.float32, beta=beta, out=total)
    else:
        torch.addmm(total, a.float(), b.float(), beta=beta, out=total)


def _loss_and_gradients(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, ignore_index: int, smoothing: float,
    reduction: str, chunk_rows: int, wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """(loss, 1 / the number of rows it is the mean of, ∂hidden, ∂weight, ∂bias): what the operator below returns."""
    N, V = hidden.shape[0], weight.shape[0]
    loss, factor, d_hidden, d_weight, d_bias = _outputs(
        hidden, weight, targets, bias, ignore_index, smoothing, reduction, chunk_rows, wanted
    )
    losses = torch.empty(N, dtype=torch.float32, device=hidden.device)
    # rows of logits start at multiples of 64 numbers, so that products and kernel move 16 bytes at a time
    buffer = hidden.new_empty((min(chunk_rows, N), triton.cdiv(V, 64) * 64))[:, :V]
    for start in range(0, N, chunk_rows):
        rows = slice(start, start + chunk_rows)
        h = hidden[rows]  # (n, C)
        logits = buffer[: len(h)]  # (n, V)
        if bias is None:
            torch.mm(h, weight.T, out=logits)
        else:
            torch.addmm(bias, h, weight.T, out=logits)
        # from here on the logits are their gradient, p - (1-ε)·[j = t] - ε/V. Divided by the number of tokens it might
        # vanish in float16; that waits for the backward pass, where a loss scale may stand against it
        gradient = logits if any(wanted) else None
        launch(logits, targets[rows], losses[rows], gradient, None, ignore_index, smoothing)
        if wanted[0]:
            torch.mm(logits, weight, out=d_hidden[rows])  # ∂h = G W
        if wanted[1]:
            _add_product(d_weight, logits.T, h, first=start == 0)  # ∂W = Gᵀ h
        if wanted[2]:
            d_bias += logits.sum(dim=0, dtype=torch.float32)
    if N == 0:
        d_weight.zero_()
    counted = (targets != ignore_index).sum().float() if reduction == "mean" else torch.ones_like(factor)
    factor.copy_(1 / counted.clamp(min=1))
    return loss.copy_(losses.sum() / counted), factor, d_hidden, d_weight, d_bias


def _outputs(
    hidden, weight, targets, bias, ignore_index, smoothing, reduction, chunk_rows, wanted
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    def new(shape: tuple, dtype: torch.dtype = torch.float32, make: Any = torch.empty) -> Tensor:
        return make(shape, dtype=dtype, device=hidden.device)

    d_hidden = new(hidden.shape if wanted[0] else (0,), hidden.dtype)
    d_weight = new(weight.shape if wanted[1] else (0,))
    d_bias = new((weight.shape[0],) if wanted[2] else (0,), make=torch.zeros)
    return new(()), new(()), d_hidden, d_weight, d_bias


@torch.library.custom_op("minillm_kernels::linear_cross_entropy", mutates_args=())
def _linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, ignore_index: int, smoothing: float,
    reduction: str, chunk_rows: int, wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """(loss, 1 / the number of rows it is the mean of or 1, ∂hidden (N, C), ∂weight (V, C), ∂bias (V,)). The gradients
    are those of the sum of the losses, the last two in float32. wanted: which of the three; the others are empty."""
    return _loss_and_gradients(
        hidden, weight, targets, bias, ignore_index, smoothing, reduction, chunk_rows, wanted
    )


_linear_cross_entropy.register_fake(_outputs)


def _setup(ctx, inputs, output):
    ctx.dtype, ctx.wanted = inputs[1].dtype, inputs[-1]
    ctx.save_for_backward(*output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx, g, *_):
    factor, *gradients = ctx.saved_tensors
    g = g * factor  # float32
    d_hidden, d_weight, d_bias = (
        scaled(gradient, g, ctx.dtype) if wanted else None for gradient, wanted in zip(gradients, ctx.wanted)
    )
    return d_hidden, d_weight, None, d_bias, None, None, None, None, None


_linear_cross_entropy.register_autograd(_backward, setup_context=_setup)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    chunk_rows: int | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """Cross-entropy of the logits hidden @ weightᵀ + bias, a scalar, holding chunk_rows rows of logits at a time.

    hidden: (..., C) float16, bfloat16 or float32; weight: (V, C) and bias: (V,) of its dtype; targets: (...) int64. The
    loss has that dtype, too, or out_dtype, one of these; logits are rounded to hidden's as F.linear does, and ∂weight
    is summed in float32. ignore_index, label_smoothing, targets out of range: as cross_entropy. reduction: "mean" or
    "sum". chunk_rows: rows a chunk, or None for rows_of_chunk().

    Differentiable once, in hidden, weight and bias; gradients nobody wants are not computed. The forward pass holds
    chunk_rows · V numbers (V rounded up to 64) and the gradients, ∂weight in float32; the backward pass makes those it
    returns from these. ValueError for shapes, dtypes or devices that do not fit.
    """
    check_tensor("weight", weight, "V C", like=check_rows("hidden", hidden))
    C, V = hidden.shape[-1], weight.shape[0]
    if weight.dtype != hidden.dtype or weight.shape[1] != C or V == 0:
        raise ValueError(f"weight must be (V, {C}) to fit hidden, {describe(hidden)}, got {describe(weight)}")
    if bias is not None:
        check_tensor("bias", bias, "V", (hidden.dtype,), like=hidden)
        if bias.shape[0] != V:
            raise ValueError(f"bias must be ({V},) to fit weight, {describe(weight)}, got {describe(bias)}")
    check_targets(targets, hidden, hidden.shape[:-1])
    check_int("ignore_index", ignore_index, -(2**63), 2**63 - 1)
    smoothing = check_number("label_smoothing", label_smoothing, 0.0, 1.0)
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {describe(reduction)}")
    check_out_dtype(out_dtype)
    check_launch(hidden, weight, targets, bias)
    h, flat = as_rows(hidden), targets.reshape(-1).contiguous()
    if chunk_rows is None:
        chunk_rows = rows_of_chunk(len(h), V, C)
    chunk = check_int("chunk_rows", chunk_rows, 1, 2**63 - 1)
    wanted = [torch.is_grad_enabled() and x is not None and x.requires_grad for x in (hidden, weight, bias)]
    loss = _linear_cross_entropy(h, weight, flat, bias, ignore_index, smoothing, reduction, chunk, wanted)[0]
    return loss.to(out_dtype or hidden.dtype)
