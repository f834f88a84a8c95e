"""Checkers of lesson 04_3, best-of-n, DPO, GRPO."""

import itertools
import math
from fractions import Fraction

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    BY_HAND,
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    packages_of,
    plain,
    shown,
)
from minillm.training.alignment.grpo import group_advantages, grpo_loss
from minillm.training.alignment.preference_losses import dpo_loss

OWN = "write it in plain Python with math"
HERE = "minillm.course.classroom.exercises.lesson_04_3"
READY = [
    *BY_HAND, "torch.sigmoid", "torch.nn.functional.logsigmoid",
    "minillm.training.alignment.preference_losses.dpo_loss", "minillm.training.alignment.grpo.grpo_loss",
    "minillm.training.alignment.grpo.group_advantages", "minillm.training.alignment.preference_losses.dpo_losses",
    f"{HERE}.loss_weights_pulls", f"{HERE}.every_way", f"{HERE}.by_counting", f"{HERE}.rows_of",
]  # fmt: skip
EXACT = 1e-9


def refuse_copies(answer, *packages):
    copied = copied_library(answer) or packages_of(answer, "torch", "numpy", "scipy", *packages)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"


# --- DPO ---


@exercise("04-3-a", points=3)
def dpo(answer):
    """The loss, the weights and the pulls of pairs of padded sequences."""
    refuse_copies(answer)
    for case in cases(
        most=14, pairs=(1, 2, 4), widths=((3, 3), (5, 2), (2, 6)), beta=(0.05, 0.3, 2.0), size=(0.3, 4.0),
        first=("close", "won by far", "lost by far"), left_out=("nothing", "infinite", "nan"),
    ):  # fmt: skip
        sides = sides_of(case)
        expected = loss_weights_pulls(sides, case.beta)
        given = [{name: [list(row) for row in rows] for name, rows in side.items()} for side in sides]
        with forbid(OWN, *READY, answer=answer):
            found = as_list(answer(*given, case.beta), f"what dpo returns ({case})", 3)
        loss, weights, pulls = found
        kind = plain(loss)
        assert isinstance(kind, float), f"the loss is a float, got {shown(loss)} ({case})"
        expect(kind, expected[0], EXACT, f"the loss ({case})")
        expect(
            as_floats(weights, f"the weights ({case})", case.pairs),
            expected[1],
            EXACT,
            f"the weights ({case})",
        )
        for name, rows, right in zip(("chosen", "rejected"), as_list(pulls, "the pulls", 2), expected[2]):
            for row, one in zip(as_list(rows, f"the pulls of {name} ({case})", case.pairs), right):
                as_floats(row, f"a row of the pulls of {name} ({case})", len(one))
            expect(rows, right, EXACT, f"the pulls of {name} ({case})")
        expect(given, list(sides), hint="the dicts that you are given must stay as they are")


def sides_of(case):
    """(chosen, rejected): log probabilities, and what is no answer: a prompt before it, padding behind."""
    inputs = Inputs(case.seed)
    outside = {"nothing": -1.5, "infinite": -math.inf, "nan": math.nan}[case.left_out]
    sides = []
    for width in case.widths:
        side = {"policy": [], "reference": [], "answer": []}
        for _ in range(case.pairs):
            first = inputs.integer(0, width - 1)
            last = inputs.integer(first, width - 1)
            counts = [int(first <= t <= last) for t in range(width)]
            for name in ("policy", "reference"):
                drawn = inputs.floats(width, -case.size, 0.0)
                side[name].append([value if one else outside for value, one in zip(drawn, counts)])
            side["answer"].append(counts)
        sides.append(side)
    if case.first != "close":  # exp(9000) is no float
        far = sides[case.first == "won by far"]
        far["policy"][0][far["answer"][0].index(1)] -= 9000 / case.beta
    return tuple(sides)


def loss_weights_pulls(sides, beta):
    """The same by the library's loss, and torch's derivative."""
    masks = [torch.tensor(side["answer"], dtype=torch.float64) for side in sides]
    known = {
        name: [torch.tensor(side[name], dtype=torch.float64).nan_to_num(0.0, neginf=0.0) for side in sides]
        for name in ("policy", "reference")
    }
    leaves = [one.requires_grad_() for one in known["policy"]]
    policy = [(one * mask).sum(1) for one, mask in zip(leaves, masks)]
    reference = [(one * mask).sum(1) for one, mask in zip(known["reference"], masks)]
    loss = dpo_loss(*policy, *reference, beta)
    pulls = [one.tolist() for one in torch.autograd.grad(loss, leaves)]
    difference = (policy[0] - reference[0]) - (policy[1] - reference[1])
    return loss.item(), torch.sigmoid(-beta * difference).tolist(), pulls


# --- best-of-n ---


@exercise("04-3-b", points=3)
def expected_best(answer):
    """The mean value of the best of n, over all ways to take n of N."""
    refuse_copies(answer, "itertools")
    for case in cases(
        most=20, count=(1, 2, 5, 8, 60), share=(0.0, 0.3, 0.6, 1.0), levels=(1, 3, 1000), order=("drawn", "falling"),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        n = max(1, round(case.share * case.count))
        scores = [float(one) for one in inputs.integers(case.count, 1, case.levels)]
        scores = sorted(scores, reverse=True) if case.order == "falling" else scores
        values = inputs.floats(case.count, -5.0, 5.0)
        expected = (every_way if case.count <= 8 else by_counting)(scores, values, n)
        given = [list(scores), list(values)]
        with forbid(OWN, *READY, "itertools.combinations", answer=answer):
            found = plain(answer(*given, n))
        where = f"N = {case.count}, n = {n}, scores {shown(scores)}"
        assert isinstance(found, (int, float)), f"a number is expected, got {shown(found)} ({where})"
        expect(found, expected, EXACT, f"the mean value of the best ({where})")
        expect(given, [scores, values], hint="the lists that you are given must stay as they are")


def every_way(scores, values, n):
    """All ways written out, for a few answers."""
    ways = list(itertools.combinations(range(len(scores)), n))
    return math.fsum(values[max(way, key=lambda i: scores[i])] for way in ways) / len(ways)


def by_counting(scores, values, n):
    """Exactly, in fractions: an answer is kept if no other of the n stands before it."""
    total = Fraction(0)
    for i, score in enumerate(scores):
        behind = sum(other < score or (other == score and j > i) for j, other in enumerate(scores))
        total += Fraction(math.comb(behind, n - 1)) * Fraction(values[i])
    return float(total / math.comb(len(scores), n))


# --- GRPO ---


@exercise("04-3-c", points=3)
def first_step(answer):
    """The derivative by each token's log probability at ratio 1."""
    refuse_copies(answer)
    for case in cases(
        most=16, groups=(1, 2, 3), group=(2, 3, 5), width=(1, 2, 5), average=("grpo", "bnpo", "dr_grpo"),
        scores=("drawn", "equal", "one group equal", "far"), prompt=(False, True),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        mask = mask_of(inputs, case.groups * case.group, case.width, case.prompt)
        scores = scores_of(inputs, case)
        expected = rows_of(scores, mask, case.group, case.average)
        given = [list(scores), [list(row) for row in mask]]
        with forbid(OWN, *READY, answer=answer):
            found = plain(answer(*given, case.group, case.average))
        where = f"{case}, scores {shown(scores)}, mask {shown(mask)}"
        for row in as_list(found, f"what first_step returns ({where})", len(mask)):
            as_floats(row, f"a row ({where})", case.width)
        expect(found, expected, EXACT, f"the derivatives ({where})")
        expect(given, [scores, mask], hint="the lists that you are given must stay as they are")


def scores_of(inputs, case):
    """Scores (N,), group after group."""
    found = []
    for number in range(case.groups):
        if case.scores == "equal" or (case.scores == "one group equal" and number == 0):
            found += [inputs.integer(-3, 3) / 4] * case.group
        else:
            high = 50 if case.scores == "far" else 2
            found += [one / 4 + 10 * number for one in inputs.integers(case.group, -high, high)]
    return found


def mask_of(inputs, rows, width, prompt):
    """1 from the answer's first token to its last; a row may have none. prompt: no answer fills its row."""
    mask = []
    for _ in range(rows):
        first, last = inputs.integer(0, width - 1), inputs.integer(-1, width - 1)
        mask.append([int(max(first, prompt) <= t <= last) for t in range(width)])
    mask[inputs.integer(0, rows - 1)][width - 1] = 1
    return mask


def rows_of(scores, mask, group, average):
    """The same by the library's loss, and torch's derivative."""
    counts = torch.tensor(mask, dtype=torch.float64)
    advantages = group_advantages(torch.tensor(scores, dtype=torch.float64), group, average != "dr_grpo")
    logprobs = torch.zeros_like(counts, requires_grad=True)
    loss = grpo_loss(logprobs, torch.zeros_like(counts), advantages, counts, loss_type=average)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    return gradient.tolist()


# --- likelihood displacement ---


@exercise("04-3-d", points=3)
def features(answer):
    """A pair that is won, and a chosen answer that dies out."""
    rows = as_list(answer, "features")
    assert 3 <= len(rows) <= 6, f"features has 3 to 6 rows, got {len(rows)}"
    width = len(as_list(rows[0], "row 0"))
    assert 1 <= width <= 4, f"a row has 1 to 4 numbers, row 0 has {width}"
    f = [as_floats(row, f"row {place}", width) for place, row in enumerate(rows)]
    for place, row in enumerate(f):
        assert max(map(abs, row)) <= 3, f"the numbers lie between -3 and 3, row {place} is {shown(row)}"
    apart = sum((a - b) ** 2 for a, b in zip(f[0], f[1]))
    assert apart > 0, "the chosen and the rejected answer have the same features: no w tells them apart"
    delta = 0.0  # w stays a multiple of f0 - f1, so one number says all
    for _ in range(200):
        delta += 0.1 / (1 + math.exp(delta)) * apart
    loss = math.log1p(math.exp(-delta))
    assert loss < 0.1, f"the pair is not won: the loss is {loss:.3f} and must be below 0.1"
    along = [sum(x * (a - b) for x, a, b in zip(row, f[0], f[1])) * delta / apart for row in f]
    shares = [math.exp(one - max(along)) for one in along]
    chosen, limit = shares[0] / sum(shares), 1 / len(f) / 5
    assert chosen < limit, (
        f"the chosen answer has probability {chosen:.3f} at the end; it must be below {limit:.3f}, a fifth of "
        f"1/{len(f)}. An answer that shares more of what tells chosen from rejected would take it away"
    )
