"""The losses of pairs against their formulas by hand (the peer is in tests/parity)."""

import math

import pytest
import torch

from minillm.search import (
    contrastive_loss,
    cosine_similarity_loss,
    mnr_loss,
    online_contrastive_loss,
    triplet_loss,
)

RIGHT, UP = [1.0, 0.0], [0.0, 2.0]
U = torch.tensor([RIGHT, RIGHT])
V = torch.tensor([[3.0, 0.0], UP])  # cosines 1 and 0


def test_values_by_hand():
    assert cosine_similarity_loss(U, V, torch.tensor([0.5, 0.0])).item() == pytest.approx((0.25 + 0) / 2)
    # label 1 at distance 0 costs nothing; label 0 at distance 1 is beyond the margin; the wrong way round costs
    assert contrastive_loss(U, V, torch.tensor([1, 0])).item() == pytest.approx(0)
    assert contrastive_loss(U, V, torch.tensor([0, 1])).item() == pytest.approx(0.5 * (0.25 + 1) / 2)
    # row 0: scores (2, 0), row 1: scores (2, 0), where place 0 and place 1 are right
    expected = -(math.log(1 / (1 + math.exp(-2))) + math.log(1 / (1 + math.exp(2)))) / 2
    assert mnr_loss(U, V, scale=2.0).item() == pytest.approx(expected)


def test_labels_of_float64_are_not_rounded():
    found = cosine_similarity_loss(U.double(), V.double(), torch.tensor([0.1, 0.7], dtype=torch.float64))
    assert found.item() == pytest.approx((0.9**2 + 0.7**2) / 2, abs=1e-14)
    found = contrastive_loss(U.double(), V.double(), torch.tensor([0.1, 0.7], dtype=torch.float64))
    assert found.item() == pytest.approx(0.5 * (0.9 * 0.5**2 + 0.7) / 2, abs=1e-14)


def test_where_nothing_is_learned_the_loss_is_log_of_the_candidates():
    same = torch.ones(8, 4)
    assert mnr_loss(same, same).item() == pytest.approx(math.log(8))
    assert mnr_loss(same, same, negatives=torch.ones(3, 4)).item() == pytest.approx(math.log(11))


def test_a_triplet_costs_what_its_distances_lack():
    u, v, n = torch.tensor([RIGHT, RIGHT]), torch.tensor([[3.0, 0.0], UP]), torch.tensor([UP, [3.0, 0.0]])
    # euclidean: 2 and sqrt 5 apart; cosine: 0 and 1
    near, far = 2.0, math.sqrt(5)
    expected = (max(0, near - far + 1) + max(0, far - near + 1)) / 2
    assert triplet_loss(u, v, n, margin=1).item() == pytest.approx(expected)
    assert triplet_loss(u, v, n, margin=0.5, distance="cosine").item() == pytest.approx((0 + 1.5) / 2)


def test_online_contrastive_takes_the_pairs_on_the_wrong_side_alone():
    u = torch.tensor([RIGHT] * 4)
    v = torch.tensor([RIGHT, [1.0, 1.0], UP, [-1.0, 0.0]])  # distances 0, d, 1, 2
    d = 1 - math.sqrt(0.5)
    # every right pair is nearer than every wrong one: nothing is left to do
    assert online_contrastive_loss(u, v, torch.tensor([1, 1, 0, 0])).item() == 0
    # the right pair at 2 is beyond both wrong ones, of which the one at d is within the margin; the one at 0 is well
    found = online_contrastive_loss(u, v, torch.tensor([1, 0, 0, 1]))
    assert found.item() == pytest.approx(2**2 + (0.5 - d) ** 2)


@pytest.mark.parametrize("labels", [[1, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
def test_online_contrastive_shows_an_encoder_that_gives_nan(labels):
    u, v = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    v[1] = float("nan")
    assert online_contrastive_loss(u, v, torch.tensor(labels)).isnan()


def test_symmetric_is_the_mean_of_both_directions_and_dot_sees_lengths():
    generator = torch.Generator().manual_seed(3)
    u, v, n = (torch.randn(size, 6, generator=generator) for size in (5, 5, 10))
    both = (mnr_loss(u, v, n) + mnr_loss(v, u)) / 2
    torch.testing.assert_close(mnr_loss(u, v, n, symmetric=True), both)
    torch.testing.assert_close(mnr_loss(u, v, n.reshape(5, 2, 6)), mnr_loss(u, v, n))
    torch.testing.assert_close(mnr_loss(3 * u, v), mnr_loss(u, v))
    dot = mnr_loss(u, v, scale=1.0, similarity="dot")
    torch.testing.assert_close(mnr_loss(3 * u, v / 3, scale=1.0, similarity="dot"), dot)
    expected = torch.nn.functional.cross_entropy(u @ v.T, torch.arange(5))
    torch.testing.assert_close(dot, expected)


def test_gradients_pull_pairs_together():
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(6, 5, generator=generator, requires_grad=True)
    v = torch.randn(6, 5, generator=generator)
    before = torch.cosine_similarity(u, v).mean().item()
    for _ in range(50):
        (gradient,) = torch.autograd.grad(mnr_loss(u, v), u)
        u = (u - 0.1 * gradient).detach().requires_grad_()
    assert torch.cosine_similarity(u, v).mean().item() > before + 0.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mnr_loss(None, V), "anchors must be a float tensor"),
        (lambda: mnr_loss(U, V.tolist()), "positives must be a float tensor"),
        (lambda: mnr_loss(U, V.long()), "positives must be a float tensor"),
        (lambda: mnr_loss(U, V[:1]), "must be pairs, got 2 and 1 rows"),
        (lambda: mnr_loss(U, torch.ones(2, 3)), "rows of width 2"),
        (lambda: mnr_loss(U[:0], V[:0]), "anchors must have rows"),
        (lambda: mnr_loss(U[:, :0], V[:, :0]), "anchors must have rows of width D, one at least"),
        (lambda: mnr_loss(U, V.double()), "positives must be of torch.float32, as the first tensor is, got"),
        (lambda: mnr_loss(U, V, V.double()), "negatives must be of torch.float32"),
        (lambda: mnr_loss(U, V, torch.ones(3, 1, 2)), "a row for each of 2 anchors, got"),
        (lambda: mnr_loss(U, V, torch.ones(2, 0, 2)), "negatives must have rows of width 2"),
        (lambda: triplet_loss(U, V, V.double()), "negatives must be of torch.float32"),
        (lambda: contrastive_loss(U, V, torch.tensor([1j, 0])), "labels must be a tensor"),
        (lambda: mnr_loss(U, V, torch.ones(2, 3)), "negatives must have rows of width 2"),
        (lambda: mnr_loss(U, V, scale=float("nan")), "scale must be a finite number"),
        (lambda: mnr_loss(U, V, symmetric=1), "symmetric must be True or False, got 1"),
        (lambda: mnr_loss(U, V, similarity="l2"), "similarity must be one of"),
        (lambda: triplet_loss(U, V, V[:1]), "anchors and negatives must be pairs, got 2 and 1 rows"),
        (lambda: triplet_loss(U, V, V, distance="manhattan"), "distance must be one of"),
        (lambda: online_contrastive_loss(U, V, torch.tensor([0.5, 1.0])), "labels must be 0 or 1"),
        (lambda: contrastive_loss(U, V, torch.tensor([1, -1])), "labels must lie between 0 and 1"),
        (lambda: contrastive_loss(U, V, torch.tensor([1])), r"labels must be a tensor of shape \(2,\)"),
        (lambda: contrastive_loss(U, V, torch.tensor([1, 0]), margin=-1), "margin must be at least 0"),
        (lambda: cosine_similarity_loss(U, V, [1.0, 0.0]), "labels must be a tensor"),
        (lambda: cosine_similarity_loss(U, V, torch.tensor([2.0, 0.0])), "labels must lie between -1 and 1"),
        (lambda: cosine_similarity_loss(U, V, torch.tensor([float("nan"), 0.0])), "labels must lie"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
