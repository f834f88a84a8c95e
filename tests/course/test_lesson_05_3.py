"""The checkers of lesson 05_3 against the papers' formulas, torch's AdamW and sums that are worked out otherwise."""

import math

import pytest
import torch

from minillm.course.classroom.exercises import lesson_05_3


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_messages_of_a_ring(ranks):
    """Every rank sends 2 (n - 1) messages; the sums are those of all; what one sends, its neighbour can use."""
    start = [[[rank * 10 + chunk, -rank] for chunk in range(ranks)] for rank in range(ranks)]
    sent, sums = lesson_05_3.ring_messages(start)
    assert sums == [[sum(r * 10 + chunk for r in range(ranks)), -sum(range(ranks))] for chunk in range(ranks)]
    assert [len(messages) for messages in sent] == [2 * (ranks - 1)] * ranks
    for rank in range(ranks):
        if ranks > 1:  # the second half begins with the rank's own chunk, and passes on what came
            assert sent[rank][ranks - 1] == sums[rank]
            assert sent[rank][ranks:] == sent[rank - 1][ranks - 1 : -1]


@pytest.mark.parametrize(("ranks", "m"), [(1, 1), (2, 3), (4, 8), (5, 2)])
def test_slots_of_gpipe(ranks, m):
    """Huang et al. 2019: 2 (m + p - 1) slots; and orders that wait for each other have none."""
    gpipe = [("F", i) for i in range(m)] + [("B", i) for i in range(m)]
    assert lesson_05_3.slots_of([gpipe] * ranks) == 2 * (m + ranks - 1)
    assert lesson_05_3.slots_of([[("B", 0), ("F", 0)], [("F", 0), ("B", 0)]]) is None


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_pieces_of_zero(ranks):
    """Equal pieces, which are the numbers and zeros behind them."""
    pieces = lesson_05_3.in_pieces([1.0, 2.0, 3.0, 4.0], ranks)
    assert {len(one) for one in pieces} == {math.ceil(4 / ranks)}
    assert [number for piece in pieces for number in piece] == [1.0, 2.0, 3.0, 4.0] + [0.0] * (-4 % ranks)


def test_the_update_is_that_of_torch():
    """Four steps of torch's own AdamW on the whole, and of the checker's on three pieces."""
    random = torch.Generator().manual_seed(0)
    whole = torch.nn.Parameter(torch.randn(7, generator=random, dtype=torch.float64))
    optimizer = torch.optim.AdamW([whole], lr=lesson_05_3.RATE, weight_decay=0.0)
    mine = [[one, [0.0] * 3, [0.0] * 3] for one in lesson_05_3.in_pieces(whole.tolist(), 3)]
    for step in range(1, 5):
        whole.grad = torch.randn(7, generator=random, dtype=torch.float64)
        optimizer.step()
        gradients = lesson_05_3.in_pieces(whole.grad.tolist(), 3)
        mine = [lesson_05_3.adamw_update(w, g, m, v, step) for (w, m, v), g in zip(mine, gradients)]
    together = [number for w, _, _ in mine for number in w]
    assert together == pytest.approx([*whole.tolist(), 0.0, 0.0], abs=1e-12)
