"""Losses that pull texts of one meaning together: u, v, n are embeddings (B, D) of texts, s = cos(u, v), d a distance.

    cosine similarity:    mean (s - label)^2                                        label: how alike, -1..1
    contrastive:          mean 1/2 [label d^2 + (1 - label) max(0, margin - d)^2]   d = 1 - s, label 0 or 1
    online contrastive:   the same sum, of the pairs alone that are still on the wrong side of some other pair
    triplet:              mean max(0, d(u, v) - d(u, n) + margin)                   n is wrong for u, v is right
    multiple negatives:   mean -log softmax_j(scale * cos(u_i, v_j)) at j = i       every other v of the batch is wrong

All raise ValueError for tensors of other shapes or of several dtypes, labels or settings that are out of range.

Book: 11.2 언어 모델을 임베딩 모델로 만들기, 11.3 임베딩 모델 미세 조정하기 (MNR 손실). Papers: Hadsell et al. 2006;
Schroff et al. 2015 (FaceNet); Henderson et al. 2017, "Efficient Natural Language Response Suggestion".
Peer: sentence_transformers.losses of the same names. Left out: distances between the texts of one side, margins in MNR.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from minillm._checks import check_choice, check_flag, check_number, describe


def _check_embeddings(name: str, value: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or value.ndim != 2 or not value.is_floating_point():
        raise ValueError(f"{name} must be a float tensor of shape (B, D), got {describe(value)}")
    if value.numel() == 0 or (like is not None and value.shape[1] != like.shape[1]):
        width = "D, one at least" if like is None else like.shape[1]
        raise ValueError(f"{name} must have rows of width {width}, got {describe(value)}")
    if like is not None and value.dtype != like.dtype:
        raise ValueError(f"{name} must be of {like.dtype}, as the first tensor is, got {describe(value)}")
    return value


def _check_pair(first: torch.Tensor, second: torch.Tensor, names: tuple[str, str]) -> None:
    _check_embeddings(names[0], first)
    _check_embeddings(names[1], second, first)
    if len(first) != len(second):
        raise ValueError(f"{names[0]} and {names[1]} must be pairs, got {len(first)} and {len(second)} rows")


def _check_labels(labels: torch.Tensor, count: int, lowest: float) -> torch.Tensor:
    if not isinstance(labels, torch.Tensor) or labels.shape != (count,) or labels.is_complex():
        raise ValueError(f"labels must be a tensor of shape ({count},), got {describe(labels)}")
    labels = labels if labels.is_floating_point() else labels.float()  # float64 stays float64
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
    labels = _check_labels(labels, len(first), 0)
    margin = check_number("margin", margin, minimum=0)
    distance, labels = 1 - F.cosine_similarity(first, second), labels.to(first.dtype)  # (B,) both
    # 1/2 [label d^2 + (1 - label) max(0, margin - d)^2]
    return 0.5 * (labels * distance**2 + (1 - labels) * F.relu(margin - distance) ** 2).mean()


def online_contrastive_loss(
    first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor, margin: float = 0.5
) -> torch.Tensor:
    """The contrastive loss of the hard pairs of a batch: those that stand on the wrong side of some other pair.

    A pair with label 1 counts when it is farther apart than the nearest pair with label 0, and the other way round;
    pairs that are told apart already no longer dilute the mean, and a sum is taken, as in the peer. In a batch of one
    label alone, pairs on the wrong side of their own mean count. Embeddings (B, D), labels (B,) of 0 and 1; a scalar.
    """
    _check_pair(first, second, ("first", "second"))
    labels = _check_labels(labels, len(first), 0)
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {describe(labels.tolist())}")
    margin = check_number("margin", margin, minimum=0)
    distance = 1 - F.cosine_similarity(first, second)  # (B,)
    alike, others = distance[labels == 1], distance[labels == 0]
    # "not at most" in place of "above": a NaN is neither, counts as hard, and so the loss shows it
    hard_alike = alike[~(alike <= (others.min() if len(others) else alike.mean()))]
    hard_others = others[~(others >= (alike.max() if len(alike) else others.mean()))]
    # sum d^2 of hard pairs that belong together + sum max(0, margin - d)^2 of hard pairs that do not
    return (hard_alike**2).sum() + (F.relu(margin - hard_others) ** 2).sum()


DISTANCES = {
    "cosine": lambda u, v: 1 - F.cosine_similarity(u, v),
    "euclidean": lambda u, v: torch.linalg.vector_norm(u - v, dim=1),
}


def triplet_loss(
    anchors: torch.Tensor,
    positives: torch.Tensor,
    negatives: torch.Tensor,
    margin: float = 5.0,
    distance: str = "euclidean",
) -> torch.Tensor:
    """An anchor must be nearer to its positive than to its negative, by `margin` at least.

    Three tensors (B, D), row i of each belongs together; margin >= 0 in units of the distance: "euclidean" of the
    vectors as they are (the peer's default, with 5), or "cosine", 0 to 2, for which 0.5 is usual. Returns a scalar.
    """
    _check_pair(anchors, positives, ("anchors", "positives"))
    _check_pair(anchors, negatives, ("anchors", "negatives"))
    margin = check_number("margin", margin, minimum=0)
    check_choice("distance", distance, DISTANCES)
    far = DISTANCES[distance]
    # mean max(0, d(u, v) - d(u, n) + margin)
    return F.relu(far(anchors, positives) - far(anchors, negatives) + margin).mean()


def check_negatives(negatives: torch.Tensor | None, anchors: torch.Tensor) -> None:
    """ValueError for anything but None, (M, D), or (B, n, D) of B anchors (B, D)."""
    if isinstance(negatives, torch.Tensor) and negatives.ndim == 3:
        if len(negatives) != len(anchors):
            raise ValueError(
                f"negatives (B, n, D) must have a row for each of {len(anchors)} anchors, got {describe(negatives)}"
            )
        negatives = negatives.flatten(0, 1)
    if negatives is not None:
        _check_embeddings("negatives", negatives, anchors)


def mnr_loss(
    anchors: torch.Tensor,
    positives: torch.Tensor,
    negatives: torch.Tensor | None = None,
    scale: float = 20.0,
    symmetric: bool = False,
    similarity: str = "cosine",
) -> torch.Tensor:
    """Multiple negatives ranking loss: anchor i must find positive i among all positives (and `negatives`).

    anchors, positives (B, D); negatives: texts that are wrong for every anchor, (M, D), or (B, n, D) where each anchor
    has n hard ones of its own. scale >= 0 is the inverse of the softmax temperature. symmetric: the mean of this loss
    and of its mirror, in which positive i must find anchor i among the anchors. similarity: "cosine", or "dot" for
    vectors whose lengths count (with a scale of 1 or so). Returns a scalar: log(B + M) when nothing is learned, near 0
    when all are found.
    """
    _check_pair(anchors, positives, ("anchors", "positives"))
    scale = check_number("scale", scale, minimum=0)
    check_flag("symmetric", symmetric)
    check_choice("similarity", similarity, ("cosine", "dot"))
    check_negatives(negatives, anchors)
    candidates = positives
    if negatives is not None:
        candidates = torch.cat([positives, negatives.flatten(0, -2)])  # (B, n, D) -> (M, D)
    if similarity == "cosine":
        anchors, candidates = F.normalize(anchors, dim=1), F.normalize(candidates, dim=1)
    # scale * cos(u_i, v_j)
    scores = scale * anchors @ candidates.T  # (B, B + M)
    right = torch.arange(len(anchors), device=anchors.device)
    loss = F.cross_entropy(scores, right)
    if not symmetric:
        return loss
    return (loss + F.cross_entropy(scores[:, : len(anchors)].T, right)) / 2
