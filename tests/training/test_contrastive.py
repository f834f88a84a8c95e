"""CLIP's loss on several processes: losses and gradients are those of one process with the whole batch."""

import torch
import torch.nn.functional as F

from minillm.training.contrastive import clip_loss
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
