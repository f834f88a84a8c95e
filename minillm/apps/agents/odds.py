"""When does a second agent help? Closed forms for agents that are right with a known probability.

    vote      independent solvers, the majority wins:    P(more than half of n are right), ties by a coin
    cascade   each one reads the answers before it, and follows them once they lead by two
    review    a critic objects, the writer writes again: P = p (1 - a) + (p a + (1 - p) c) q

p: a draft is right. a (false alarm): the critic objects to a right draft. c (catch): it objects to a wrong one. q: what
is written after an objection is right. Book: 15.2.3 멀티 에이전트. Papers: Condorcet 1785; Bikhchandani, Hirshleifer,
Welch 1992 (cascades); Wang et al. 2023 (self-consistency). Held against counting all cases.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from minillm._checks import check_int, check_number, describe, is_listing

MOST = 5000  # solvers: the work grows with their square


def vote(ps: Sequence[float]) -> float:
    """The majority of solvers is right; solver i is right with probability ps[i], whatever the others say."""
    if not is_listing(ps):
        raise ValueError(f"ps must list a probability for each solver, got {describe(ps)}")
    check_int("the number of solvers", len(ps := [*ps]), 1, MOST)
    ps = [check_number("a probability", one, 0, 1) for one in ps]
    counts = [1.0]  # counts[k]: probability that k of those so far are right
    for p in ps:
        counts = [
            (counts[k] * (1 - p) if k < len(counts) else 0.0) + (counts[k - 1] * p if k else 0.0)
            for k in range(len(counts) + 1)
        ]
    n = len(ps)
    return sum(one * ((2 * k > n) + (2 * k == n) / 2) for k, one in enumerate(counts))


def cascade(n: int, p: float) -> float:
    """The majority is right when solvers answer in turn: its own view where the answers before it lead by less than
    two, else what they say. There are two answers; ties by a coin."""
    n, p = check_int("n", n, 1, MOST), check_number("p", p, 0, 1)
    leads = {0: 1.0}  # right answers minus wrong ones -> probability
    for _ in range(n):
        after: dict[int, float] = defaultdict(float)
        for lead, chance in leads.items():
            right = p if abs(lead) < 2 else float(lead > 0)
            after[lead + 1] += chance * right
            after[lead - 1] += chance * (1 - right)
        leads = after
    return sum(chance * ((lead > 0) + (lead == 0) / 2) for lead, chance in leads.items())


def review(p: float, a: float, c: float, q: float) -> float:
    """What goes out is right after one review."""
    p, a, c, q = (check_number(name, one, 0, 1) for name, one in zip("pacq", (p, a, c, q)))
    return p * (1 - a) + (p * a + (1 - p) * c) * q
