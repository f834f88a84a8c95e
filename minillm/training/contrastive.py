"""CLIP's loss: every picture of a batch must find its own caption, and every caption its own picture.

    loss = 1/2 [ -log softmax_j(s u_i·v_j) at j = i  +  -log softmax_j(s v_i·u_j) at j = i ],  s = exp(logit_scale)

In-batch duplicates: captions with equal numbers are all right, each for an equal share of the probability. Where their
vectors are equal, too, that changes neither loss nor gradient (what one row loses another gains); where they say the
same in other words, a loss without it pushes them apart. On several processes each gives its rows to all others
(`gather`): B·W pairs are told apart, not B; gradients flow back to the process that a row came from.
Book 14.2.2 CLIP 모델의 학습 방법. Papers: Oord et al. 2018 (InfoNCE); Radford et al. 2021. Held against transformers'
CLIPModel(return_loss=True); without duplicates it is search.losses.mnr_loss, symmetric, on vectors of length 1.
Left out: losses without a softmax (SigLIP).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from minillm._checks import describe


def clip_loss(images: Tensor, texts: Tensor, logit_scale: Tensor, same: Tensor | None = None) -> Tensor:
    """The loss of pairs: images, texts (B, D) of length 1, row i of each belongs together; a scalar.

    logit_scale: a scalar tensor, the logarithm of s. same: (B,) int64, equal numbers for captions that say the same.
    Inside torch.distributed the rows of all processes count, and each process gets the whole loss: averaged gradients
    are those of one process with the whole batch. ValueError for rows that are no pairs, a scale that is no tensor.
    """
    if not (_is_table(images) and _is_table(texts)) or (images.shape, images.dtype) != (
        texts.shape,
        texts.dtype,
    ):
        raise ValueError(
            f"images and texts must be pairs (B, D) of floats of one dtype, got {describe(images)} and "
            f"{describe(texts)}"
        )
    if not isinstance(logit_scale, Tensor) or logit_scale.numel() != 1 or logit_scale.is_complex():
        raise ValueError(f"logit_scale must be a tensor of one number, got {describe(logit_scale)}")
    _check_same(same, len(images))
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        images, texts = gather(images), gather(texts)
        same = None if same is None else gather(same)
    return pair_loss(logit_scale.exp() * images @ texts.T, same)


def pair_loss(scores: Tensor, same: Tensor | None = None) -> Tensor:
    """The symmetric cross-entropy of scores (B, B), pictures down, captions across; same: as in clip_loss.

    ValueError for scores that are no square table of floats, and for a `same` that does not number its columns.
    """
    if not _is_table(scores) or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"scores must be floats (B, B), got {describe(scores)}")
    _check_same(same, len(scores))
    B = len(scores)
    if same is None:
        right = torch.arange(B, device=scores.device)
    else:
        alike = (same[:, None] == same).to(scores.dtype)  # (B, B)
        right = alike / alike.sum(1, keepdim=True)
    return (F.cross_entropy(scores, right) + F.cross_entropy(scores.T, right)) / 2


def _is_table(x: object) -> bool:
    return isinstance(x, Tensor) and x.dim() == 2 and x.is_floating_point() and x.numel() > 0


def _check_same(same: object, B: int) -> None:
    """ValueError for what does not number B captions."""
    if same is not None and (
        not isinstance(same, Tensor) or same.shape != (B,) or same.is_floating_point() or same.is_complex()
    ):
        raise ValueError(f"same must be whole numbers ({B},), got {describe(same)}")


class _Gather(torch.autograd.Function):
    """Rows of every process, one below the other, and gradients back to where each row came from."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)  # every process' loss depends on these rows
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather(x: Tensor) -> Tensor:
    """x (B, ...) of every process as (W·B, ...), in the order of the ranks; the same B everywhere. Differentiable."""
    return _Gather.apply(x)
