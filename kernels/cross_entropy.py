"""Cross-entropy (교차 엔트로피) of logits and its gradient in one pass over the logits.

    loss_i = log Σ_j exp(x_ij) - x_it     with smoothing ε:  (1-ε)·that + ε · mean_j (log Σ exp - x_ij)
    ∂loss_i/∂x_ij = softmax(x_i)_j - (1-ε)·[j = t] - ε/V

Unfused, log_softmax writes the (N, V) log-probabilities, and the gradient reads them and writes (N, V) again: 2 reads
and 2 writes of what is often the largest tensor of a training step. Fused, a program reads a row, knows its maximum and
sum, and writes the row's gradient while the row is still in registers or in the L2 cache: 1 read and 1 write. What is
left for the backward pass is to multiply by the gradient that comes in, and it leaves at once if that is 1.

Book 8.3.1 커널 퓨전 (kernel fusion). Papers: Milakov and Gimelshein 2018; Szegedy et al. 2016 (smoothing). Held against
F.cross_entropy. Leaves out: class weights, targets that are probabilities, gradients of gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels._checks import check_flag, check_int, check_launch, check_number, describe
from kernels._cross_entropy import check_out_dtype, check_targets, launch, scale_rows
from kernels._rows import as_rows, check_rows, count_rows

REDUCTIONS = ("mean", "sum", "none")


def cross_entropy_plain(
    logits: Tensor,
    targets: Tensor,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """The formula: logits (..., V), targets (...) -> a scalar, or losses (...) if reduction is "none"."""
    x = logits.float()
    counted = targets != ignore_index
    log_p = x - x.logsumexp(dim=-1, keepdim=True)  # (..., V)
    # loss = -(1-ε) log p_t - ε mean_j log p_j
    loss = -log_p.gather(-1, targets.where(counted, 0)[..., None])[..., 0]
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_p.mean(dim=-1)
    loss = loss.where(counted, 0)
    if reduction == "none":
        return loss.to(logits.dtype)
    return (loss.sum() / counted.sum() if reduction == "mean" else loss.sum()).to(logits.dtype)


def _losses_and_gradient(
    logits: Tensor,
    targets: Tensor,
    ignore_index: int,
    smoothing: float,
    reduction: str,
    gradient: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """(loss, what backward must still multiply the gradient by, or an empty tensor); writes the gradient (N, V)."""
    rows, flat = as_rows(logits), targets.reshape(-1).contiguous()
    losses = torch.empty(len(rows), dtype=torch.float32, device=logits.device)
    late, scale = losses.new_empty(0), None
    if reduction == "mean":
        counted = (flat != ignore_index).sum().float()
        scale = 1 / counted.clamp(min=1)
        if logits.dtype == torch.float16:  # p/N would vanish in float16 before loss scaling makes it larger
            late, scale = scale, None
    if logits.numel():
        launch(rows, flat, losses, gradient, scale, ignore_index, smoothing)
    if reduction == "none":
        return losses.reshape(targets.shape), late
    return losses.sum() / counted if reduction == "mean" else losses.sum(), late


def _outputs(logits, targets, reduction):
    shape = targets.shape if reduction == "none" else ()
    deferred = () if reduction == "mean" and logits.dtype == torch.float16 else 0
    return tuple(torch.empty(size, dtype=torch.float32, device=logits.device) for size in (shape, deferred))


@torch.library.custom_op("minillm_kernels::cross_entropy", mutates_args=())
def _cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int, smoothing: float, reduction: str, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, late factor, gradient (N, V) or an empty tensor)."""
    gradient = logits.new_empty((targets.numel(), logits.shape[-1]) if with_gradient else 0)
    wanted = gradient if with_gradient else None
    return *_losses_and_gradient(logits, targets, ignore_index, smoothing, reduction, wanted), gradient


@_cross_entropy.register_fake
def _(logits, targets, ignore_index, smoothing, reduction, with_gradient):
    gradient = logits.new_empty((targets.numel(), logits.shape[-1]) if with_gradient else 0)
    return *_outputs(logits, targets, reduction), gradient


@torch.library.custom_op("minillm_kernels::cross_entropy_overwrite", mutates_args=("logits",))
def _cross_entropy_overwrite(
    logits: Tensor, targets: Tensor, ignore_index: int, smoothing: float, reduction: str
) -> tuple[Tensor, Tensor]:
    """(loss, late factor); the logits become the gradient."""
    return _losses_and_gradient(logits, targets, ignore_index, smoothing, reduction, as_rows(logits))


@_cross_entropy_overwrite.register_fake
def _(logits, targets, ignore_index, smoothing, reduction):
    return _outputs(logits, targets, reduction)


def _setup(ctx, inputs, output):
    ctx.shape = inputs[0].shape
    ctx.save_for_backward(*output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx, g, *_):
    if getattr(ctx, "given", False):
        raise RuntimeError(
            "cross_entropy gave its gradient away in the first backward pass and cannot be differentiated again: "
            "compute the loss a second time"
        )
    late, gradient = ctx.saved_tensors
    g = (g * late if late.numel() else g).reshape((-1, 1) if g.dim() else ()).contiguous()
    # traced: a compiler joins the product to what follows
    if torch.compiler.is_compiling() or type(gradient) is not Tensor:
        gradient = (gradient.float() * g).to(gradient.dtype)
    else:
        ctx.given = True  # in place: it is the only copy
        scale_rows(gradient, g.flatten() if g.dim() else g)
    return gradient.reshape(ctx.shape), None, None, None, None, None


_cross_entropy.register_autograd(_backward, setup_context=_setup)


class _Overwriting(torch.autograd.Function):
    """Cross-entropy whose gradient takes the place of the logits."""

    @staticmethod
    def forward(ctx, logits, *arguments):
        logits = logits.detach()  # the same memory and the same version: whoever else saved it is warned
        loss, late = _cross_entropy_overwrite(logits, *arguments)
        ctx.shape = logits.shape
        ctx.save_for_backward(late, as_rows(logits))
        return loss

    @staticmethod
    def backward(ctx, g):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
            raise RuntimeError("cross_entropy that overwrites its logits has no gradient of its gradient")
        return _backward(ctx, g)[:5]


def _check_overwritable(logits: Tensor) -> None:
    """ValueError unless as_rows(logits) is the same memory, each number of it once, and somebody's result."""
    if torch.is_grad_enabled() and logits.requires_grad and logits.is_leaf:
        raise ValueError(f"a leaf that requires a gradient must not be overwritten, got {describe(logits)}")
    repeated = any(stride == 0 and size > 1 for stride, size in zip(logits.stride(), logits.shape))
    try:
        one_memory = logits.view(count_rows(logits), logits.shape[-1]).stride(1) == 1
    except RuntimeError:  # the leading axes do not make one
        one_memory = False
    if repeated or not one_memory:
        raise ValueError(
            f"logits to overwrite must be rows of contiguous numbers, got {describe(logits)}, strides {logits.stride()}"
        )


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    overwrite_logits: bool = False,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """Cross-entropy of logits (..., V) and int64 targets (...): a scalar, or losses (...) if reduction is "none".

    The result has the dtype of the logits, float16, bfloat16 or float32, or out_dtype, one of these; the arithmetic is
    float32. Targets equal to ignore_index count for nothing, and their rows are not read; "mean" divides by the number
    of the others (NaN if there are none). Other targets outside of [0, V) raise ValueError on the CPU; on a GPU, where
    asking would mean waiting, their rows' losses and gradients are NaN. label_smoothing: ε in [0, 1].

    The gradient is made in the forward pass, if the logits require one, and given away by the first backward: a second
    one raises RuntimeError. overwrite_logits: keep it in the logits' own memory, whose numbers are lost; they must
    be rows of contiguous numbers that nothing else needs, and no leaf. ValueError for shapes, dtypes or devices that
    do not fit.
    """
    if check_rows("logits", logits).shape[-1] == 0:
        raise ValueError(f"logits must be of one class at least, got {describe(logits)}")
    check_targets(targets, logits, logits.shape[:-1])
    check_int("ignore_index", ignore_index, -(2**63), 2**63 - 1)
    smoothing = check_number("label_smoothing", label_smoothing, 0.0, 1.0)
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {describe(reduction)}")
    check_out_dtype(out_dtype)
    check_launch(logits, targets)
    if check_flag("overwrite_logits", overwrite_logits):
        _check_overwritable(logits)
        loss = _Overwriting.apply(logits, targets, ignore_index, smoothing, reduction)
    else:
        with_gradient = torch.is_grad_enabled() and logits.requires_grad
        loss = _cross_entropy(logits, targets, ignore_index, smoothing, reduction, with_gradient)[0]
    return loss.to(out_dtype or logits.dtype)
