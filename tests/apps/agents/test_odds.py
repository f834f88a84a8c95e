"""Chances of several agents against the binomial sum, all cases counted, and agents that talk."""

import itertools
import math
import random

import pytest

from minillm.apps.agents.group import ChatAgent, GroupChat
from minillm.apps.agents.odds import cascade, review, vote


def every_case(ps):
    for rights in itertools.product([True, False], repeat=len(ps)):
        chance = 1.0
        for p, right in zip(ps, rights):
            chance *= p if right else 1 - p
        yield rights, chance


def majority(rights):
    return (2 * sum(rights) > len(rights)) + (2 * sum(rights) == len(rights)) / 2


def test_a_vote_is_the_binomial_and_all_cases_counted():
    for n, p in itertools.product((1, 3, 9, 101), (0.0, 0.3, 0.5, 0.8, 1.0)):
        expected = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n // 2 + 1, n + 1))
        assert vote([p] * n) == pytest.approx(expected, abs=1e-12)
    draw = random.Random(0)
    for n in range(1, 9):
        ps = [draw.random() for _ in range(n)]
        assert vote(ps) == pytest.approx(sum(c * majority(rights) for rights, c in every_case(ps)), abs=1e-12)
    for bad in ([], [1.2], ["a"], 0.7, "0.7", [0.5] * 10**6, [float("nan")]):
        with pytest.raises(ValueError, match=r"probability|number of solvers"):
            vote(bad)
    assert vote(iter([0.9, 0.6, 0.6])) == pytest.approx(0.9 * 0.84 + 0.1 * 0.36)


def follow(views):
    said = []
    for view in views:
        lead = 2 * sum(said) - len(said)
        said.append(view if abs(lead) < 2 else lead > 0)
    return said


def test_a_cascade_is_all_cases_counted_and_the_gamblers_ruin():
    for n, p in itertools.product((1, 2, 3, 4, 7, 10), (0.0, 0.4, 0.7, 1.0)):
        counted = sum(chance * majority(follow(views)) for views, chance in every_case([p] * n))
        assert cascade(n, p) == pytest.approx(counted, abs=1e-12)
    for p in (0.3, 0.6, 0.9):
        assert cascade(301, p) == pytest.approx(p * p / (p * p + (1 - p) ** 2), abs=1e-12)
    for n, p in ((0, 0.5), (2.0, 0.5), (10**9, 0.5), (3, 1.1)):
        with pytest.raises(ValueError, match=r"n must|p must"):
            cascade(n, p)


def test_a_review_is_all_cases_counted():
    draw = random.Random(1)
    for _ in range(50):
        p, a, c, q = (draw.random() for _ in range(4))
        counted = 0.0
        for (right, alarmed, caught, mended), chance in every_case([p, a, c, q]):
            counted += chance * (mended if (alarmed if right else caught) else right)
        assert review(p, a, c, q) == pytest.approx(counted, abs=1e-12)
    assert review(0.7, 0.0, 1.0, 0.7) == pytest.approx(1 - 0.3**2)
    assert review(0.7, 0.4, 0.4, 0.7) == pytest.approx(0.7)  # a critic that tosses a coin changes nothing


def test_agents_that_talk_come_near_the_closed_form():
    draw = random.Random(2)

    def solver(name, p, reads):
        def answer(told):
            said = [
                one["content"].endswith("맞음") for one in told if one["content"].endswith(("맞음", "틀림"))
            ]
            lead = 2 * sum(said) - len(said)
            right = draw.random() < p if abs(lead) < 2 or not reads else lead > 0
            return "맞음" if right else "틀림"

        return ChatAgent(name, model=answer)

    for reads, expected in ((False, vote([0.7] * 7)), (True, cascade(7, 0.7))):
        group = [solver(str(i), 0.7, reads) for i in range(7)]
        rights = 0
        for _ in range(600):
            chat = GroupChat(group, max_round=8).run("얼마예요?")
            rights += sum(one["content"] == "맞음" for one in chat.messages) > 3
        assert abs(rights / 600 - expected) < 0.07  # four deviations of 600 draws
