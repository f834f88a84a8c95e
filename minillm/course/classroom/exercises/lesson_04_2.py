"""Checkers of lesson 04_2, reward models and PPO."""

import numpy as np
import torch
import torch.nn.functional as F

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    BY_HAND,
    DERIVATIVES,
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

OWN = "write it in plain Python with math"
READY = [
    *BY_HAND, *DERIVATIVES,
    *(f"minillm.training.alignment.policy_gradient.{name}" for name in (
        "gae", "policy_gradient_loss", "ppo_loss", "clipped_objective", "clip_fraction",
    )),
    "minillm.training.alignment.reward.bradley_terry_loss", "minillm.training.alignment.preference_losses.dpo_losses",
    *(f"numpy.{name}" for name in (
        "concatenate", "cumsum", "dot", "empty", "fromiter", "full", "log", "log1p", "matmul", "minimum", "maximum",
        "ones", "stack", "where", "zeros",
    )),
    *(f"torch.{name}" for name in (
        "DoubleTensor", "FloatTensor", "empty", "from_numpy", "full", "log", "log1p", "sigmoid", "minimum", "maximum",
        "ones", "zeros", "nn.functional.logsigmoid", "nn.functional.softplus", "Tensor.exp", "Tensor.sigmoid",
    )),
]  # fmt: skip


def by_hand(answer, *given):
    """What the answer gives; the lists it is given must come back as they were, and nothing ready-made is called."""
    copied = copied_library(answer) or packages_of(answer, "torch", "numpy", "scipy")
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    before = plain(given)
    with forbid(OWN, *READY, answer=answer):
        found = answer(*given)
    expect(plain(given), before, hint="the lists that you are given must stay as they are")
    return found


@exercise("04-2-a", points=3)
def preference_loss(answer):
    """The loss of preference pairs with margins and ties, and its derivatives."""
    for case in cases(
        most=40, pairs=(1, 2, 5, 9), labels=("first", "second", "tie", "mixed"), margin=(0.0, 0.7, 3.0),
        size=(0.5, 4.0, 9000.0),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        first, second = (inputs.floats(case.pairs, -case.size, case.size) for _ in range(2))
        fixed = {"first": [1.0], "second": [0.0], "tie": [0.5], "mixed": [1.0, 0.0, 0.5]}[case.labels]
        labels = [fixed[place % len(fixed)] for place in range(case.pairs)]
        margins = [case.margin * one for one in inputs.floats(case.pairs, 0.5, 1.5)]
        expected = loss_of_pairs(first, second, labels, margins)
        found = as_list(
            by_hand(answer, first, second, labels, margins), f"what preference_loss returns ({case})", 3
        )
        assert isinstance(plain(found[0]), float), f"the loss is a float, got {shown(found[0])} ({case})"
        expect(found[0], expected[0], 1e-6, f"the loss ({case}, labels {labels})")
        for name, one, right in zip(("first", "second"), found[1:], expected[1:]):
            as_floats(one, f"the derivatives by {name} ({case})", case.pairs)
            expect(one, right, 1e-8, f"the derivatives by {name} ({case}, labels {labels})")


def loss_of_pairs(first, second, labels, margins):
    """The same by torch."""
    a, b = (torch.tensor(one, dtype=torch.float64, requires_grad=True) for one in (first, second))
    label, margin = (torch.tensor(one, dtype=torch.float64) for one in (labels, margins))
    wins, loses = F.logsigmoid(a - b - margin), F.logsigmoid(b - a - margin)
    level = (F.logsigmoid(a - b) + F.logsigmoid(b - a)) / 2
    each = torch.where(label == 0.5, level, torch.where(label == 1.0, wins, loses))
    loss = -each.mean()
    loss.backward()
    return [loss.item(), a.grad.tolist(), b.grad.tolist()]


@exercise("04-2-b", points=3)
def stream_advantages(answer):
    """GAE over one stream of steps, in which episodes end and which breaks off."""
    for case in cases(
        most=40, steps=(1, 2, 6, 15), ends=("none", "some", "last", "all"), discount=(0.0, 0.7, 1.0),
        trace=(0.0, 0.6, 1.0), last=(0.0, -2.5, 4.0),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        rewards, values = (inputs.floats(case.steps, -2, 2) for _ in range(2))
        chance = {"none": 0, "last": 0, "some": 1, "all": 3}[case.ends]  # thirds
        ends = [inputs.integer(0, 2) < chance for _ in range(case.steps)]
        if case.ends == "last":
            ends[-1] = True
        expected = sums_of_surprises(rewards, values, ends, case.last, case.discount, case.trace)
        given = (rewards, values, ends, case.last, case.discount, case.trace)
        found = as_list(by_hand(answer, *given), f"what stream_advantages returns ({case})", 2)
        for name, one, right in zip(("advantages", "returns"), found, expected):
            as_floats(one, f"the {name} ({case})", case.steps)
            expect(one, right, 1e-9, f"the {name} ({case}, ends {ends})")


def sums_of_surprises(rewards, values, ends, last, discount, trace):
    """Every advantage as its own sum, not from the next one."""
    after = [*values[1:], last]
    surprises = [
        r + (0.0 if end else discount * v) - value
        for r, value, end, v in zip(rewards, values, ends, after, strict=True)
    ]
    found = []
    for start in range(len(rewards)):
        stop = next((t for t in range(start, len(ends)) if ends[t]), len(ends) - 1)
        weights = (discount * trace) ** np.arange(stop + 1 - start)
        found.append(float(weights @ np.array(surprises[start : stop + 1])))
    return [found, [one + value for one, value in zip(found, values)]]


@exercise("04-2-c", points=3)
def clipped_loss(answer):
    """PPO's loss of the policy and its derivative by every log probability."""
    for case in cases(
        most=40, shape=((1, 1), (2, 3), (4, 6)), clip=(0.05, 0.2, 0.5), apart=(0.02, 0.4, 2.0),
        sign=(-1, 0, 1), hidden=(False, True),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        rows, columns = case.shape
        mask = [
            [0 if case.hidden and inputs.integer(0, 1) else 1 for _ in range(columns)] for _ in range(rows)
        ]
        mask[-1][0] = 1
        old = inputs.matrix(rows, columns, -4, -0.1)
        moved = inputs.matrix(rows, columns, -case.apart, case.apart)
        new = [[o + m for o, m in zip(*both)] for both in zip(old, moved)]
        advantages = [
            [abs(a) * case.sign if case.sign else a * (inputs.integer(0, 3) > 0) for a in row]
            for row in inputs.matrix(rows, columns, -2, 2)
        ]
        expected = loss_and_derivatives(new, old, advantages, mask, case.clip)
        for table, value in ((new, 4000.0), (old, -4000.0), (advantages, 1e6)):  # nothing may be read there
            for row, there in zip(table, mask):
                row[:] = [one if here else value for one, here in zip(row, there)]
        found = by_hand(answer, new, old, advantages, mask, case.clip)
        loss, moves = as_list(found, f"what clipped_loss returns ({case})", 2)
        assert isinstance(plain(loss), float), f"the loss is a float, got {shown(loss)} ({case})"
        expect(loss, expected[0], 1e-7, f"the loss ({case}, mask {mask})")
        for row in as_list(moves, f"the derivatives ({case})", rows):
            as_floats(row, f"a row of the derivatives ({case})", columns)
        expect(moves, expected[1], 1e-7, f"the derivatives ({case}, mask {mask})")


def loss_and_derivatives(new, old, advantages, mask, clip):
    """The same by torch, before anything stands at the masked places."""
    logprobs = torch.tensor(new, dtype=torch.float64, requires_grad=True)
    before, a, there = (torch.tensor(one, dtype=torch.float64) for one in (old, advantages, mask))
    ratio = torch.exp(logprobs - before)
    gained = torch.where(a > 0, ratio.clamp(max=1 + clip), ratio.clamp(min=1 - clip)) * a
    loss = -(gained * there).sum() / there.sum()
    loss.backward()
    return [loss.item(), logprobs.grad.tolist()]


@exercise("04-2-d", points=3)
def hacked(answer):
    """A bandit on which a moving reference lets the true score fall."""
    reference, proxy, true, rounds = as_list(answer, "hacked = (reference, proxy, true, rounds)", 4)
    reference = as_floats(reference, "reference")
    count = len(reference)
    assert 3 <= count <= 6, f"reference has 3 to 6 answers, got {count}"
    proxy, true = as_floats(proxy, "proxy", count), as_floats(true, "true", count)
    assert min(reference) > 0, f"every probability of the reference is above 0, got {shown(reference)}"
    assert abs(sum(reference) - 1) < 1e-6, f"the reference must sum to 1, it sums to {sum(reference):.4g}"
    assert max(map(abs, proxy)) <= 5, f"a proxy reward lies between -5 and 5, got {shown(proxy)}"
    assert min(true) >= 0, f"a true score lies between 0 and 1, got {shown(true)}"
    assert max(true) <= 1, f"a true score lies between 0 and 1, got {shown(true)}"
    rounds = plain(rounds)
    assert type(rounds) is int, f"rounds is a whole number, got {shown(rounds)}"
    assert 2 <= rounds <= 20, f"rounds lies between 2 and 20, got {rounds}"
    p, r, t = (np.array(one) for one in (reference, proxy, true))
    better = np.outer(p, p) * (t[:, None] > t)  # the chance to draw i, then j, of which i is truly better
    share = 2 * better.sum()
    assert share >= 0.2, (
        f"two answers drawn from the reference must differ in truth in 0.2 of all draws, got {share:.3f}"
    )
    ranked = (better * ((r[:, None] > r) + 0.5 * (r[:, None] == r))).sum() / better.sum()
    assert ranked >= 0.9, (
        f"the proxy must rank 0.9 of such pairs as the true score does, it ranks {ranked:.3f}"
    )
    start, first, last = (expected_truth(p, r, t, k) for k in (0, 1, rounds))
    assert first >= start + 0.05, (
        f"after one round the true score must be 0.05 above {start:.3f}, it is {first:.3f}"
    )
    assert last <= start - 0.05, (
        f"after {rounds} rounds with a moving reference the true score must be 0.05 below {start:.3f}, it is {last:.3f}"
    )


def expected_truth(p, r, t, rounds):
    """The true score after so many rounds at β = 1, each from where the last one ended."""
    weights = p * np.exp(rounds * (r - r.max()))
    return float(weights @ t / weights.sum())
