"""The losses of pairs against sentence-transformers: the same value and the same gradient of every embedding."""

from functools import partial

import pytest
import torch

from minillm.search import (
    contrastive_loss,
    cosine_similarity_loss,
    mnr_loss,
    online_contrastive_loss,
    triplet_loss,
)

losses = pytest.importorskip(
    "sentence_transformers.sentence_transformer.losses", reason="held against sentence-transformers"
)
util = pytest.importorskip("sentence_transformers.util", reason="held against sentence-transformers")

CLOSE = {"rtol": 1e-6, "atol": 1e-6}
BODY = torch.nn.Identity()  # the peer's losses hold a model, and are asked for embeddings alone here
BOTH_WAYS = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}


def batch(columns, seed=0, rows=12, width=7):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, width, generator=generator) for _ in range(columns)]


def assert_same(ours, theirs, columns, labels=None):
    """ours(*embeddings) and the peer's loss: value and gradients."""
    found = []
    for loss in (ours, lambda *parts: theirs.compute_loss_from_embeddings(list(parts), labels)):
        leaves = [one.clone().requires_grad_() for one in columns]
        value = loss(*leaves)
        found.append((value, torch.autograd.grad(value, leaves)))
    (value, gradients), (expected, theirs_gradients) = found
    torch.testing.assert_close(value, expected, **CLOSE)
    assert all(one.abs().max() > 0 for one in theirs_gradients)
    for one, other in zip(gradients, theirs_gradients, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("negatives", [0, 1, 3])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("similarity", "scale"), [("cosine", 20.0), ("cosine", 3.0), ("dot", 1.0)])
def test_multiple_negatives(negatives, symmetric, similarity, scale):
    theirs = losses.MultipleNegativesRankingLoss(
        BODY,
        scale=scale,
        similarity_fct=util.cos_sim if similarity == "cosine" else util.dot_score,
        **(BOTH_WAYS if symmetric else {}),
    )

    def ours(anchors, positives, *hard):
        stacked = torch.stack(hard, dim=1) if hard else None  # (B, n, D)
        return mnr_loss(anchors, positives, stacked, scale, symmetric, similarity)

    assert_same(ours, theirs, batch(2 + negatives))


@pytest.mark.parametrize(("distance", "margins"), [("euclidean", (5.0, 0.5)), ("cosine", (0.5, 0.1))])
def test_triplets(distance, margins):
    kind = getattr(losses.TripletDistanceMetric, distance.upper())
    for margin in margins:
        theirs = losses.TripletLoss(BODY, kind, margin)
        assert_same(partial(triplet_loss, margin=margin, distance=distance), theirs, batch(3, seed=1))


def test_pairs_with_a_score():
    labels = torch.rand(12, generator=torch.Generator().manual_seed(1))
    theirs = losses.CosineSimilarityLoss(BODY)
    assert_same(lambda u, v: cosine_similarity_loss(u, v, labels), theirs, batch(2), labels)


@pytest.mark.parametrize("share", [0.5, 0.0, 1.0])  # of pairs that belong together: some, all, none
@pytest.mark.parametrize("margin", [0.9, 1.4])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(contrastive_loss, "ContrastiveLoss"), (online_contrastive_loss, "OnlineContrastiveLoss")],
)
def test_pairs_that_belong_together_or_not(ours, theirs, margin, share):
    labels = (torch.rand(12, generator=torch.Generator().manual_seed(2)) > share).float()
    peer = getattr(losses, theirs)(BODY, margin=margin)
    assert_same(lambda u, v: ours(u, v, labels, margin), peer, batch(2, seed=4), labels)
