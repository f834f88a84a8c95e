"""CLIP's loss on several processes: losses and gradients are those of one process with the whole batch."""

import pytest
import torch
import torch.nn.functional as F

from minillm.training import clip_loss, pair_loss
from minillm.training.parallel import run_ranks


def batch():
    draw = torch.Generator().manual_seed(3)
    return (
        torch.randn(6, 5, generator=draw),
        torch.randn(6, 5, generator=draw),
        torch.tensor([1, 2, 2, 3, 1, 4]),
    )


def loss_and_gradients(rows):
    """Loss, and its gradients by the vectors of these rows and by the scale."""
    images, texts, same = batch()
    x, y = images[rows].requires_grad_(), texts[rows].requires_grad_()
    scale = torch.tensor(1.5, requires_grad=True)
    loss = clip_loss(F.normalize(x, dim=1), F.normalize(y, dim=1), scale, same[rows])
    loss.backward()
    return loss.item(), x.grad, y.grad, scale.grad.item()


def on_rank():
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    rows = 6 // ranks
    return loss_and_gradients(slice(rank * rows, (rank + 1) * rows))


def test_gathered_across_ranks():
    loss, x, y, scale = loss_and_gradients(slice(None))
    for ranks in (2, 3):
        found = run_ranks(on_rank, ranks)
        assert len(found) == ranks
        for rank, (one, x_rank, y_rank, scale_rank) in enumerate(found):
            rows = slice(rank * 6 // ranks, (rank + 1) * 6 // ranks)
            assert abs(one - loss) < 1e-6
            # the mean over ranks, which a data-parallel step takes, of gradients that only this rank has: 1/W of them
            torch.testing.assert_close(x_rank / ranks, x[rows], atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(y_rank / ranks, y[rows], atol=1e-6, rtol=1e-5)
            assert abs(scale_rank - scale) < 1e-6


def test_what_is_no_batch_of_pairs_is_named():
    u, scale = torch.ones(2, 3), torch.tensor(1.0)
    for call, message in (
        (lambda: clip_loss(u, u.double(), scale), "floats of one dtype, got"),
        (lambda: clip_loss(u, u[:1], scale), "images and texts must be pairs"),
        (lambda: clip_loss(u, u, torch.tensor(1j)), "logit_scale must be a tensor of one number"),
        (lambda: clip_loss(u, u, scale, torch.tensor([0.0, 1.0])), "same must be whole numbers"),
        (lambda: pair_loss(torch.ones(2, 3)), "scores must be floats"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_sharing_matters_where_equal_captions_differ_in_their_vectors():
    """Of equal vectors what one row loses another gains; by hand: -log of what both hold together, and log 2."""
    draw = torch.Generator().manual_seed(0)
    pictures, table = torch.randn(6, 5, generator=draw), torch.randn(4, 5, generator=draw)
    which, scale, found = torch.tensor([0, 0, 1, 2, 0, 3]), torch.tensor(2.0), []
    for same in (None, which):
        x, y = pictures.clone().requires_grad_(), table.clone().requires_grad_()
        loss = clip_loss(F.normalize(x, dim=1), F.normalize(y[which], dim=1), scale, same)
        found.append([loss, *torch.autograd.grad(loss, (x, y))])
    for plain, shared in zip(*found):
        torch.testing.assert_close(plain, shared, atol=1e-5, rtol=1e-5)
    # the same meaning in other words: four vectors, of which two say the same
    scores = torch.tensor([[4.0, 2.0, 0.0], [4.0, 2.0, 0.0], [0.0, 0.0, 5.0]])
    plain, shared = pair_loss(scores), pair_loss(scores, torch.tensor([7, 7, 8]))
    assert shared.item() == pytest.approx(plain.item(), abs=1e-6)  # equal pictures, so the same holds
    scores[1] = torch.tensor([1.0, 3.0, 0.0])
    rows, columns = scores.double().log_softmax(1), scores.double().log_softmax(0)
    by_hand = (
        -(rows[:2, :2].mean() * 2 + rows[2, 2]) / 3 / 2 - (columns[:2, :2].mean() * 2 + columns[2, 2]) / 3 / 2
    )
    assert pair_loss(scores, torch.tensor([7, 7, 8])).item() == pytest.approx(by_hand.item(), abs=1e-6)
    assert abs(by_hand.item() - pair_loss(scores).item()) > 0.05
