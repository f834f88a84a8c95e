"""The checkers of lesson 05_3 against the papers' formulas and sums that are worked out otherwise."""

import pytest

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


def test_gpus_of_the_paper():
    """Rajbhandari et al. 2020, figure 1: 7.5 billion weights on 64 GPUs take 31.4, 16.6 and 1.9 GB."""
    for stage, size in ((1, 31.4e9), (2, 16.6e9), (3, 1.9e9)):
        assert lesson_05_3._needed(7_500_000_000, round(size * 1.005), stage) in range(55, 65)
    assert lesson_05_3._needed(7_500_000_000, 15_000_000_000, 2) is None
