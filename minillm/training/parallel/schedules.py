"""In which order a rank of a pipeline does its work: m forward and m backward passes, one a micro-batch.

    p = 3 ranks, m = 4 micro-batches, a pass takes one slot; a rank waits for its neighbour's pass

    gpipe   rank 0  F0 F1 F2 F3 .  .  .  .  B0 B1 B2 B3        1f1b   rank 0  F0 F1 F2 .  .  B0 F3 B1 .  B2 .  B3
            rank 1  .  F0 F1 F2 F3 .  .  B0 B1 B2 B3 .                rank 1  .  F0 F1 .  B0 F2 B1 F3 B2 .  B3 .
            rank 2  .  .  F0 F1 F2 F3 B0 B1 B2 B3 .  .                rank 2  .  .  F0 B0 F1 B1 F2 B2 F3 B3 .  .

Both leave the same share of slots empty, the bubble, (p - 1) / (m + p - 1). But until its backward pass a micro-batch's
activations are kept: m of them in GPipe, at most p - rank in 1F1B, where a backward pass comes as soon as it can.

Book: 5.3 분산 학습과 ZeRO. Papers: Huang et al. 2019 (GPipe), Narayanan et al. 2019 and 2021 (1F1B).
Leaves out: several stages a rank (interleaving), backward passes cut in two (zero bubble).
"""

from __future__ import annotations

from minillm._checks import check_int

Work = tuple[str, int]  # ("F" or "B", number of the micro-batch)


def gpipe(rank: int, ranks: int, microbatches: int) -> list[Work]:
    """All forward passes, then all backward passes. ValueError for a rank that is none of the ranks."""
    check_place(rank, ranks, microbatches)
    every = range(microbatches)
    return [("F", i) for i in every] + [("B", i) for i in every]


def one_forward_one_backward(rank: int, ranks: int, microbatches: int) -> list[Work]:
    """As many forward passes as there are ranks behind, then one backward for one forward, then the rest."""
    check_place(rank, ranks, microbatches)
    ahead = min(ranks - rank - 1, microbatches)
    order = [("F", i) for i in range(ahead)]
    for i in range(microbatches - ahead):
        order += [("F", ahead + i), ("B", i)]
    return order + [("B", i) for i in range(microbatches - ahead, microbatches)]


def check_place(rank: int, ranks: int, microbatches: int) -> None:
    """ValueError below one rank or micro-batch, and for a rank that is none of 0 to ranks - 1."""
    check_int("ranks", ranks, 1)
    check_int("rank", rank, 0, ranks - 1)
    check_int("microbatches", microbatches, 1)


SCHEDULES = {"gpipe": gpipe, "1f1b": one_forward_one_backward}


def bubble(ranks: int, microbatches: int) -> float:
    """The share of empty slots of both: (p - 1) / (m + p - 1). ValueError below one rank or micro-batch."""
    check_int("ranks", ranks, 1)
    check_int("microbatches", microbatches, 1)
    return (ranks - 1) / (microbatches + ranks - 1)
