"""Checkers of lesson 05_3, distributed training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    expect_parts,
    forbid,
    plain,
    shown,
)

RING = "write the ring yourself"
RINGS = [
    "torch.distributed.all_reduce",
    "torch.distributed.all_gather",
    "torch.distributed.reduce_scatter",
    "minillm.training.parallel.ring.ring_all_reduce",
]
ORDER = "work out the order yourself"
ORDERS = [f"minillm.training.parallel.schedules.{name}" for name in ("gpipe", "one_forward_one_backward")]
Numbers = list[int]


def ring_messages(start: Sequence[Sequence[Numbers]]) -> tuple[list[list[Numbers]], list[Numbers]]:
    """(the messages that each rank sends, in order; the sums) of an all-reduce of start[rank][chunk]."""
    ranks = len(start)
    held = [[list(chunk) for chunk in chunks] for chunks in start]
    sent: list[list[Numbers]] = [[] for _ in range(ranks)]
    for step in range(1, ranks):
        for rank in range(ranks):
            sent[rank].append(list(held[rank][(rank - step) % ranks]))
        for rank in range(ranks):
            own = held[rank][(rank - step - 1) % ranks]
            own[:] = [a + b for a, b in zip(own, sent[rank - 1][-1])]
    sums = [
        [sum(numbers) for numbers in zip(*(start[rank][i] for rank in range(ranks)))] for i in range(ranks)
    ]
    for step in range(ranks - 1):
        for rank in range(ranks):
            sent[rank].append(list(sums[(rank - step) % ranks]))
    return sent, sums


class Neighbours:
    """What stands left and right of the rank that is tried. It knows what the left one sends, and nothing of what the
    rank must send: an answer that looks into it learns only what it is given anyway.
    """

    def __init__(self, receives: list[Numbers], hint: str) -> None:
        self.receives, self.hint = receives, hint
        self.sent: list[Numbers] = []
        self.received = 0

    def send(self, numbers: Any) -> None:
        """A message of the rank."""
        self.sent.append(list(plain(numbers, "what is sent")))

    def receive(self) -> Numbers:
        """A message for it."""
        most = len(self.receives)
        assert self.received < most, f"{self.hint}: it waits for more than {most} messages"
        assert self.received < len(self.sent), (  # at once: a mark could be wiped off
            f"{self.hint}: it waits for a message before it has sent its own: all ranks would wait for ever"
        )
        self.received += 1
        return list(self.receives[self.received - 1])


def check_messages(sent: list[Numbers], expected: list[Numbers], hint: str) -> None:
    """What a rank has sent."""
    for number, (found, right) in enumerate(zip(sent, expected), 1):
        assert found == right, f"{hint}: message {number} must be {right}, got {shown(found)}"
    assert len(sent) == len(expected), f"{hint}: it must send {len(expected)} messages, got {len(sent)}"


@exercise("05-3-a", points=4)
def ring(answer):
    """One rank of an all-reduce around the ring."""
    copied = copied_library(answer)
    assert not copied, f"{RING}: your answer uses {copied}"
    for case in cases(most=24, ranks=(1, 2, 3, 5), longest=(0, 1, 4), large=(9, 1000)):
        draw = Inputs(case.seed)
        lengths = [length % (case.longest + 1) for length in draw.integers(case.ranks, 0, 100)]
        start = [
            [[int(n) - case.large // 2 for n in draw.integers(length, 0, case.large)] for length in lengths]
            for _ in range(case.ranks)
        ]
        sent, sums = ring_messages(start)
        for rank in sorted({0, case.ranks - 1, case.ranks // 2}):
            hint = f"rank {rank} of {case.ranks}, whose chunks are {shown(start[rank])}"
            others = Neighbours([list(numbers) for numbers in sent[rank - 1]], hint)
            given = [list(chunk) for chunk in start[rank]]
            with forbid(RING, *RINGS, answer=answer):
                found = answer(rank, case.ranks, given, others.send, others.receive)
            check_messages(others.sent, sent[rank], hint)
            expect(as_list(found, f"{hint}: what ring returns", case.ranks), sums, hint=hint)
            expect(given, start[rank], hint=f"{hint}: the lists that you are given must stay as they are")


def slots_of(orders: Sequence[Sequence[tuple[str, int]]]) -> int | None:
    """Slots until all ranks are done; None if they wait for each other for ever."""
    ended: dict[tuple[int, str, int], int] = {}  # (rank, work, micro-batch) -> the slot after it
    places, clocks = [0] * len(orders), [0] * len(orders)
    moved = True
    while moved:
        moved = False
        for rank, work in enumerate(orders):
            while places[rank] < len(work):
                kind, i = work[places[rank]]
                other = rank - 1 if kind == "F" else rank + 1
                ready = ended.get((other, kind, i)) if 0 <= other < len(orders) else 0
                if ready is None:
                    break
                clocks[rank] = max(clocks[rank], ready) + 1
                ended[rank, kind, i] = clocks[rank]
                places[rank] += 1
                moved = True
    done = all(place == len(work) for place, work in zip(places, orders))
    return max(clocks) if done else None


@exercise("05-3-b", points=4)
def order(answer):
    """The order of a pipeline's rank: little is remembered, and no slot is wasted."""
    copied = copied_library(answer)
    assert not copied, f"{ORDER}: your answer uses {copied}"
    for case in cases(most=30, ranks=(1, 2, 3, 4, 6), m=(1, 2, 3, 5, 8, 13)):
        orders = []
        for rank in range(case.ranks):
            hint = f"rank={rank}, ranks={case.ranks}, microbatches={case.m}"
            with forbid(ORDER, *ORDERS, answer=answer):
                found = answer(rank, case.ranks, case.m)
            orders.append([_entry(one, hint) for one in as_list(found, f"{hint}: what order returns")])
            _check_order(orders[-1], case.m, min(case.m, case.ranks - rank), hint)
        total, best = slots_of(orders), 2 * (case.m + case.ranks - 1)
        hint = f"ranks={case.ranks}, microbatches={case.m}"
        assert total is not None, f"{hint}: the ranks wait for each other for ever"
        assert total == best, f"{hint}: all must be done after {best} slots, it took {total}"


def _entry(one: Any, hint: str) -> tuple[str, int]:
    pair = as_list(one, f"{hint}: an entry", 2)
    assert pair[0] in ("F", "B"), f"{hint}: an entry begins with 'F' or 'B', got {shown(one)}"
    whole = isinstance(pair[1], int) and not isinstance(pair[1], bool)
    assert whole, f"{hint}: an entry ends with a whole number, got {shown(one)}"
    return pair[0], pair[1]


def _check_order(work: list[tuple[str, int]], m: int, most: int, hint: str) -> None:
    for kind in "FB":
        numbers = [i for one, i in work if one == kind]
        assert numbers == list(range(m)), (
            f"{hint}: the {kind} must be those of 0 to {m - 1}, in order, got {numbers}"
        )
    kept = 0
    for place, (kind, i) in enumerate(work):
        kept += 1 if kind == "F" else -1
        assert kept >= 0, f"{hint}: entry {place} is B of micro-batch {i}, whose F has not been done"
        assert kept <= most, (
            f"{hint}: after entry {place} the rank remembers {kept} micro-batches, at most {most}"
        )


@exercise("05-3-c", points=3)
def mean_of_means(answer):
    """Uneven ranks."""
    expect_parts(answer, "counts", "sums", "shares", "reason")
    counts = as_list(answer["counts"], "counts", 4)
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 100 for n in counts)
    assert whole, f"counts must be whole numbers from 1 to 100, got {shown(counts)}"
    sums = as_floats(answer["sums"], "sums", 4)
    assert all(-100 <= n <= 100 for n in sums), f"sums must be numbers from -100 to 100, got {shown(sums)}"
    true, mean = sum(sums) / sum(counts), sum(a / b for a, b in zip(sums, counts)) / 4
    assert true >= 0.5, f"the true gradient must be at least 0.5, it is {true:.3f}"
    assert mean <= -0.5, f"the colleague's must be at most -0.5, it is {mean:.3f}"
    shares = as_floats(answer["shares"], "shares", 4)
    for rank, (share, count) in enumerate(zip(shares, counts)):
        assert math.isclose(share, count / sum(counts), rel_tol=1e-6, abs_tol=1e-9), (
            f"with sums that are 0 but on rank {rank}, share {shares[rank]:.4f} does not give the true gradient"
        )
    reason = plain(answer["reason"], "reason")
    assert isinstance(reason, str), f"reason must be a letter, got {shown(reason)}"
    reason = reason.strip().lower().rstrip(").:")
    assert reason in {"a", "b", "c", "d"}, f"reason must be one letter, a to d, got {shown(reason)}"
    assert reason == "b", (
        f"reason {reason!r} is not it: look at what the rank with the fewest targets contributes"
    )


ZERO = "write the step yourself"
READY = [
    "torch.distributed.all_gather", "torch.distributed.reduce_scatter", "torch.optim.Optimizer.__init__",
    "minillm.training.adamw.AdamW.__init__", "minillm.training.adamw.AdamW.step",
]  # fmt: skip
RATE, FIRST, SECOND, EPS = 0.01, 0.9, 0.999, 1e-8


def in_pieces(numbers: Sequence[float], ranks: int) -> list[list[float]]:
    """Filled up with zeros, in `ranks` equal pieces."""
    size = -(-len(numbers) // ranks)
    filled = [*numbers, *[0.0] * (ranks * size - len(numbers))]
    return [filled[rank * size : (rank + 1) * size] for rank in range(ranks)]


def adamw_update(
    weights: Sequence[float], gradients: Sequence[float], m: Sequence[float], v: Sequence[float], step: int
) -> list[list[float]]:
    """[weights, m, v] after an update of AdamW without decay."""
    rows = []
    for w, g, first, second in zip(weights, gradients, m, v):
        first, second = FIRST * first + (1 - FIRST) * g, SECOND * second + (1 - SECOND) * g * g
        size = math.sqrt(second / (1 - SECOND**step)) + EPS
        rows.append((w - RATE * first / (1 - FIRST**step) / size, first, second))
    return [list(column) for column in zip(*rows)]


class Others:
    """The other ranks, as the rank that is tried meets them in its two calls. They know their own part alone: an answer
    that looks into them learns only what it is given anyway.
    """

    def __init__(self, rank: int, summed: list[float], pieces: list[list[float]], hint: str) -> None:
        self.rank, self.summed, self.pieces, self.hint = rank, summed, pieces, hint
        self.scattered: list[list[float]] | None = None
        self.gathered: list[float] | None = None

    def reduce_scatter(self, pieces: Any) -> list[float]:
        """This rank's piece of the sum."""
        assert self.scattered is None, f"{self.hint}: reduce_scatter must be called once"
        what = f"{self.hint}: what reduce_scatter is given"
        self.scattered = [
            as_floats(one, what, len(self.summed)) for one in as_list(pieces, what, len(self.pieces))
        ]
        return [own + other for own, other in zip(self.scattered[self.rank], self.summed)]

    def all_gather(self, piece: Any) -> list[list[float]]:
        """The new pieces of all ranks."""
        assert self.scattered is not None, f"{self.hint}: reduce_scatter comes before all_gather"
        assert self.gathered is None, f"{self.hint}: all_gather must be called once"
        self.gathered = as_floats(piece, f"{self.hint}: what all_gather is given", len(self.summed))
        return [list(self.gathered if i == self.rank else one) for i, one in enumerate(self.pieces)]


@exercise("05-3-d", points=4)
def zero_step(answer):
    """One rank's part in a step of ZeRO's second stage."""
    copied = copied_library(answer)
    assert not copied, f"{ZERO}: your answer uses {copied}"
    for case in cases(most=24, ranks=(1, 2, 3, 5), size=(1, 4, 7, 12), step=(1, 2, 40), scale=(0.1, 3.0)):
        draw = Inputs(case.seed)
        weights = draw.floats(case.size)
        gradients = [draw.floats(case.size, -case.scale, case.scale) for _ in range(case.ranks)]
        m, v = draw.floats(case.size), draw.floats(case.size, 0.0, case.scale)
        parts = [in_pieces(one, case.ranks) for one in (weights, m, v)]
        sums = in_pieces([sum(column) for column in zip(*gradients)], case.ranks)
        updates = [
            adamw_update(
                parts[0][r], [one / case.ranks for one in sums[r]], parts[1][r], parts[2][r], case.step
            )
            for r in range(case.ranks)
        ]
        for rank in sorted({0, case.ranks - 1}):
            _try_rank(answer, case, rank, weights, gradients, parts, updates)


def _try_rank(
    answer: Callable[..., Any],
    case: Any,
    rank: int,
    weights: list[float],
    gradients: list[list[float]],
    parts: list[list[list[float]]],
    updates: list[list[list[float]]],
) -> None:
    hint = f"rank {rank} of {case.ranks}, {case.size} weights, step {case.step}"
    own = in_pieces(gradients[rank], case.ranks)
    theirs = [in_pieces(one, case.ranks)[rank] for r, one in enumerate(gradients) if r != rank]
    summed = [sum(column) for column in zip(*theirs)] or [0.0] * len(own[0])
    others = Others(rank, summed, [[] if r == rank else one[0] for r, one in enumerate(updates)], hint)
    given = [list(one) for one in (weights, gradients[rank], parts[1][rank], parts[2][rank])]
    before = [list(one) for one in given]
    with forbid(ZERO, *READY, answer=answer):
        found = answer(rank, case.ranks, *given, case.step, others.reduce_scatter, others.all_gather)
    expect(given, before, hint=f"{hint}: the lists that you are given must stay as they are")
    assert others.gathered is not None, f"{hint}: reduce_scatter and all_gather must be called, once each"
    expect(
        others.scattered, own, 1e-6, f"{hint}: reduce_scatter takes the pieces of your gradients as they are"
    )
    expect(others.gathered, updates[rank][0], 1e-6, f"{hint}: all_gather takes your new piece of the weights")
    found = as_list(found, f"{hint}: what zero_step returns", 3)
    whole = [one for update in updates for one in update[0]][: case.size]
    for name, one, right in zip(("the weights", "m", "v"), found, (whole, *updates[rank][1:])):
        expect(one, right, 1e-6, f"{hint}: {name}")
