"""Checkers of lesson 08_1, batching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    expect_parts,
    forbid,
    plain,
    shown,
)

BUILD = "build the scheduler yourself"
ENGINE = [
    f"minillm.inference.engine.{name}"
    for name in ("engine.Engine.__init__", "scheduler.Scheduler.__init__", "scheduler.Scheduler.schedule")
] + ["minillm.course.classroom.exercises.lesson_08_1.schedule"]
Key = Callable[[int], Any]


def seats(
    arrivals: Sequence[int], lengths: Sequence[int], slots: int, first: Key = lambda number: number
) -> list[int]:
    """The step at which each request gets a slot in continuous batching; in line the least by `first` goes."""
    began, free = [-1] * len(lengths), [0] * slots  # the step from which each slot is free
    line = set(range(len(lengths)))
    while line:
        slot = min(range(slots), key=free.__getitem__)
        step = max(free[slot], min(arrivals[number] for number in line))
        number = min((number for number in line if arrivals[number] <= step), key=first)
        began[number], free[slot] = step, step + lengths[number]
        line.remove(number)
    return began


def static_steps(lengths: Sequence[int], slots: int) -> int:
    """Steps of static batching when all are there."""
    return sum(max(lengths[start : start + slots]) for start in range(0, len(lengths), slots))


def continuous_steps(lengths: Sequence[int], slots: int) -> int:
    """Steps of continuous batching when all are there."""
    return max(began + length for began, length in zip(seats([0] * len(lengths), lengths, slots), lengths))


def schedule(requests: Sequence[tuple[int, int, int]], slots: int, budget: int) -> list[dict[int, int]]:
    """What `serve` should return."""
    steps: list[dict[int, int]] = []
    unread = [prompt for _, prompt, _ in requests]
    missing = [new for _, _, new in requests]
    seated: list[int] = []
    came = 0  # requests before this one have had a slot
    while came < len(requests) or seated:
        step = {number: 1 for number in seated if not unread[number]}
        left = budget - len(step)
        for number in seated:
            if unread[number] and left:
                step[number] = min(unread[number], left)
                left -= step[number]
        while came < len(requests) and requests[came][0] <= len(steps) and len(seated) < slots and left:
            seated.append(came)
            step[came] = min(unread[came], left)
            left -= step[came]
            came += 1
        for number, many in step.items():
            unread[number] -= min(unread[number], many)
            missing[number] -= not unread[number]
        seated = [number for number in seated if missing[number]]
        steps.append(step)
    return steps


@exercise("08-1-a", points=2)
def two_slots(answer):
    """Steps and waste of two policies."""
    lengths = [9, 2, 3, 4]
    steps = static_steps(lengths, 2), continuous_steps(lengths, 2)
    right = [*steps, *(2 * one - sum(lengths) for one in steps)]
    hints = (
        "static batching: a batch of two takes as long as its longer text",
        "continuous batching: write down who sits in each slot at each step",
        "static batching: 2 places in each step, and 18 tokens that somebody wanted",
        "continuous batching: 2 places in each step, and 18 tokens that somebody wanted",
    )
    given = whole_numbers(as_list(answer, "prediction", 4), "prediction", 0, 1000)
    for found, expected, hint in zip(given, right, hints):
        assert found == expected, f"{hint}; got {shown(found)}"


@exercise("08-1-b", points=4)
def serve(answer):
    """Continuous batching with chunked prefill."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    tried = [
        ([], 1, 1),
        ([(0, 1, 1)], 1, 1),
        ([(3, 1, 1), (3, 1, 1)], 1, 2),
        ([(0, 9, 2), (0, 3, 2), (1, 4, 1)], 3, 4),
    ]
    for case in cases(
        requests=(2, 5, 12), slots=(1, 2, 4), more=(0, 3, 30), prompt=(1, 4, 20), new=(1, 7), gap=(0, 2, 9)
    ):
        draw, arrives, made = Inputs(case.seed), 0, []
        numbers = draw.integers(3 * case.requests, 0, 1000)
        for gap, prompt, new in zip(numbers[::3], numbers[1::3], numbers[2::3]):
            arrives += gap % (case.gap + 1)
            made.append((arrives, 1 + prompt % case.prompt, 1 + new % case.new))
        tried.append((made, case.slots, case.slots + case.more))
    for requests, slots, budget in tried:
        expected, given = schedule(requests, slots, budget), list(requests)
        with forbid(BUILD, *ENGINE, answer=answer):
            found = answer(given, slots, budget)
        hint = f"requests={requests}, slots={slots}, budget={budget}"
        steps = as_list(found, f"{hint}: what serve returns")
        for number, (one, right) in enumerate(zip(steps, expected)):
            assert isinstance(one, dict), f"{hint}: step {number} must be a dict, got {shown(one)}"
            expect(one, right, hint=f"{hint}: step {number}")
        assert len(steps) == len(expected), f"{hint}: expected {len(expected)} steps, got {len(steps)}"
        expect(given, requests, hint=f"{hint}: the list that you are given must stay as it is")


@exercise("08-1-c", points=3)
def shortest_first(answer):
    """A request that starves."""
    expect_parts(answer, "arrivals", "lengths", "who", "reason", "cannot")
    arrivals = whole_numbers(answer["arrivals"], "arrivals", 0, 1000)
    lengths = whole_numbers(answer["lengths"], "lengths", 1, 100)
    assert len(arrivals) == len(lengths), f"{len(arrivals)} arrivals for {len(lengths)} lengths"
    assert 1 <= len(lengths) <= 100, f"there must be 1 to 100 requests, got {len(lengths)}"
    assert arrivals == sorted(arrivals), f"arrivals must be in order, got {shown(arrivals)}"
    [who] = whole_numbers([answer["who"]], "who", 0, len(lengths) - 1)
    fair = seats(arrivals, lengths, 2)
    unfair = seats(arrivals, lengths, 2, first=lambda number: (lengths[number], number))
    more = unfair[who] - fair[who]
    assert more >= 100, (
        f"request {who} gets its slot at step {unfair[who]} with shortest first and at step {fair[who]} with first "
        f"come, first served: it must wait at least 100 steps longer, and waits {more} longer"
    )
    letter(answer["reason"], "reason", "b", "abcd", "what happens whenever a slot is free?")
    letter(
        answer["cannot"],
        "cannot",
        "c",
        "abcd",
        "what does the toy's `continuous` know of a text that it has not written?",
    )


@exercise("08-1-d", points=3)
def order_decides(answer):
    """Two orders of the same lengths."""
    expect_parts(answer, "bad", "good", "trick")
    bad, good = (whole_numbers(answer[name], name, 1, 50) for name in ("bad", "good"))
    for name, one in (("bad", bad), ("good", good)):
        assert len(one) == 16, f"{name} must have 16 lengths, got {len(one)}"
    assert sorted(bad) == sorted(good), "bad and good must hold the same lengths"
    for name, one in (("bad", bad), ("good", good)):
        steps = static_steps(one, 4), continuous_steps(one, 4)
        fine = steps[0] >= 3 * steps[1] if name == "bad" else steps[0] < 1.3 * steps[1]
        wish = "at least 3 times as many" if name == "bad" else "fewer than 1.3 times as many"
        assert fine, f"{name}: static takes {steps[0]} steps, continuous {steps[1]}; static must take {wish}"
    letter(answer["trick"], "trick", "a", "abc", "which lengths are together in a batch of `good`?")


def whole_numbers(value: Any, name: str, low: int, high: int) -> list[int]:
    """A list of whole numbers in a range, or feedback."""
    found = as_list(value, name)
    for one in found:
        wish = f"{name} must hold whole numbers from {low} to {high}, got {shown(one)}"
        assert isinstance(one, (int, float)), wish
        assert not isinstance(one, bool), wish
        assert low <= one <= high, wish
        assert one == int(one), wish
    return [int(one) for one in found]


def letter(value: Any, name: str, right: str, letters: str, hint: str) -> None:
    """One letter, or feedback."""
    found = plain(value, name)
    assert isinstance(found, str), f"{name} must be a letter, got {shown(found)}"
    found = found.strip().lower().rstrip(").")  # "b)", as the prompt writes it
    assert found in set(letters), f"{name} must be one of {', '.join(letters)}, got {shown(found)}"
    assert found == right, f"{name}: {found!r} is not it; {hint}"
