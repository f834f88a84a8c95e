"""Three losses that pull texts of one meaning together: u, v are embeddings of pairs, s = cos(u, v), all (B, D).

    cosine similarity:   mean (s - label)^2                                        label: how alike, -1..1
    contrastive:         mean 1/2 [label d^2 + (1 - label) max(0, margin - d)^2]   d = 1 - s, label 0 or 1
    multiple negatives:  mean -log softmax_j(scale * cos(u_i, v_j)) at j = i       every other v of the batch is wrong

Book: 11.3 임베딩 모델 미세 조정하기 (MNR 손실), 10.2 문장 임베딩 방식. Papers: Hadsell et al. 2006; Henderson et al.
2017, "Efficient Natural Language Response Suggestion". Peer: sentence_transformers.losses of the same names.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from minillm._checks import check_number, describe


def _check_embeddings(name: str, value: torch.Tensor, width: int | None = None) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or value.ndim != 2 or not value.is_floating_point():
        raise ValueError(f"{name} must be a float tensor of shape (B, D), got {describe(value)}")
    if len(value) == 0 or (width is not None and value.shape[1] != width):
        raise ValueError(f"{name} must have rows of width {width or 'D'}, got {describe(value)}")
    return value


def _check_pair(first: torch.Tensor, second: torch.Tensor, names: tuple[str, str]) -> None:
    _check_embeddings(names[0], first)
    _check_embeddings(names[1], second, first.shape[1])
    if len(first) != len(second):
        raise ValueError(f"{names[0]} and {names[1]} must be pairs, got {len(first)} and {len(second)} rows")


def _check_labels(labels: torch.Tensor, count: int, lowest: float) -> torch.Tensor:
    if not isinstance(labels, torch.Tensor) or labels.shape != (count,):
        raise ValueError(f"labels must be a tensor of shape ({count},), got {describe(labels)}")
    labels = labels.float()
    if not ((labels >= lowest) & (labels <= 1)).all():
        raise ValueError(
            f"labels must lie between {lowest:g} and 1, got {labels.min():g} to {labels.max():g}"
        )
    return labels


def cosine_similarity_loss(first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the cosine against `labels` (B,) in -1..1; embeddings (B, D); returns a scalar."""
    _check_pair(first, second, ("first", "second"))
    labels = _check_labels(labels, len(first), -1)
    # mean (cos(u, v) - label)^2
    return F.mse_loss(F.cosine_similarity(first, second), labels.to(first.dtype))


def contrastive_loss(
    first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor, margin: float = 0.5
) -> torch.Tensor:
    """Pairs with label 1 are pulled together, pairs with label 0 pushed apart until 1 - cos reaches `margin`.

    Embeddings (B, D), labels (B,) in 0..1, margin >= 0; returns a scalar.
    """
    _check_pair(first, second, ("first", "second"))
    labels = _check_labels(labels, len(first), 0).to(first.dtype)
    margin = check_number("margin", margin, minimum=0)
    distance = 1 - F.cosine_similarity(first, second)  # (B,)
    # 1/2 [label d^2 + (1 - label) max(0, margin - d)^2]
    return 0.5 * (labels * distance**2 + (1 - labels) * F.relu(margin - distance) ** 2).mean()


def mnr_loss(
    anchors: torch.Tensor,
    positives: torch.Tensor,
    negatives: torch.Tensor | None = None,
    scale: float = 20.0,
) -> torch.Tensor:
    """Multiple negatives ranking loss: anchor i must find positive i among all positives (and `negatives`).

    anchors, positives (B, D); negatives (M, D), texts that are wrong for every anchor; scale >= 0, the inverse of
    the softmax temperature. Returns a scalar: log(B + M) when nothing is learned, near 0 when all are found.
    """
    _check_pair(anchors, positives, ("anchors", "positives"))
    scale = check_number("scale", scale, minimum=0)
    candidates = positives
    if negatives is not None:
        candidates = torch.cat([positives, _check_embeddings("negatives", negatives, anchors.shape[1])])
    # scale * cos(u_i, v_j)
    similarity = scale * F.normalize(anchors, dim=1) @ F.normalize(candidates, dim=1).T  # (B, B + M)
    return F.cross_entropy(similarity, torch.arange(len(anchors), device=anchors.device))
