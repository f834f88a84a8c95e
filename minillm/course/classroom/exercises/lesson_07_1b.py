"""Checkers of lesson 07_1b, the roofline and grouped key heads."""

import torch

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

BUILD = "work it out yourself"


@exercise("07-1b-a", points=2)
def best_batches(answer):
    """B* of a card in two formats, and a step of four times B*."""
    rate, bandwidth = 160e12, 800e9
    expected = [rate * 2 / (2 * bandwidth), rate * 0.5 / (2 * bandwidth), 800 / 200]
    hints = (
        "in 16 bit: reading a weight takes 2 / bandwidth, using it 2 · B / rate",
        "in 4 bit: a weight is half a byte, its operations stay",
        "a step of 800 texts is bound by the arithmetic, a step of one by the memory",
    )
    for found, right, hint in zip(as_floats(answer, "prediction", 3), expected, hints):
        assert abs(found - right) <= 0.01 * right, f"{hint}; got {shown(found)}"


@exercise("07-1b-b", points=3)
def decode_step(answer):
    """Seconds and limit of a decode step."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    names = [
        f"minillm.inference.roofline.{name}" for name in ("decode_work", "predicted_seconds", "best_batch")
    ]
    for case in cases(
        weights=(1000, 5_000_000), batch=(1, 7, 300), cached=(0, 90, 40_000), size=(0.5, 1, 2, 4), group=(1, 4),
        bandwidth=(3e5, 7e9), rate=(2.2e7, 3e11),
    ):  # fmt: skip
        reading = (case.weights + case.batch * case.cached) * case.size / case.bandwidth
        computing = 2 * case.batch * (case.weights + case.group * case.cached) / case.rate
        if abs(reading / computing - 1) < 0.01:
            continue  # the prompt promises that no case is a tie
        with forbid(BUILD, *names, answer=answer):
            found = answer(
                case.weights, case.batch, case.cached, case.size, case.group, case.bandwidth, case.rate
            )
        seconds, limit = as_list(found, "what decode_step returns", 2)
        assert isinstance(seconds, (int, float)), f"{case}: seconds must be a number, got {shown(seconds)}"
        right = max(reading, computing)
        assert abs(seconds - right) <= 1e-4 * right, (
            f"{case}: reading takes {reading:.4g} s, computing {computing:.4g} s, the step {right:.4g} s; "
            f"got {shown(seconds)}"
        )
        expect(limit, "memory" if reading > computing else "arithmetic", hint=f"{case}: the limit")


@exercise("07-1b-c", points=3)
def pool_heads(answer):
    """The mean head of each group."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    names = [
        f"minillm.models.uptraining.{name}" for name in ("mean_of_heads", "first_of_heads", "_in_groups")
    ]
    for case in cases(
        most=60, shape=((4, 2), (4, 1), (4, 4), (6, 3), (6, 2), (1, 1)), D=(1, 2, 5), columns=(None, 1, 7)
    ):
        heads, groups = case.shape
        shape = (heads * case.D,) if case.columns is None else (heads * case.D, case.columns)
        given = Inputs(case.seed).tensor(*shape)
        rows, size = given.tolist(), heads // groups
        if case.columns is None:
            rows = [[row] for row in rows]
        expected = [
            [
                sum(rows[(g * size + i) * case.D + d][c] for i in range(size)) / size
                for c in range(len(rows[0]))
            ]
            for g in range(groups)
            for d in range(case.D)
        ]
        if case.columns is None:
            expected = [row[0] for row in expected]
        kept = given.clone()
        with forbid(BUILD, *names, answer=answer):
            found = answer(given, heads, groups)
        hint = f"heads={heads}, groups={groups}, D={case.D}, weight {shape}"
        assert isinstance(found, torch.Tensor), f"{hint}: return a tensor, got {type(found).__name__}"
        expect(found, expected, 1e-5, hint)
        expect(given, kept, hint=f"{hint}: the tensor that you are given must stay as it is")


@exercise("07-1b-d", points=3)
def wrong_neighbours(answer):
    """What each query head reads when key heads are repeated in the wrong order."""
    expect_parts(answer, "reads", "misled", "finds", "reason")
    for name in ("reads", "misled"):
        assert callable(answer[name]), f"{name} must be a function, got {shown(answer[name])}"
    for kv_heads in (1, 2, 3, 4, 8):
        for group in (1, 2, 3, 4):
            heads = kv_heads * group
            numbers = torch.arange(kv_heads).view(1, kv_heads, 1, 1)
            wrong = numbers.repeat(1, group, 1, 1).flatten()
            right = numbers.repeat_interleave(group, dim=1).flatten()
            hint = f"{heads} query heads, {kv_heads} key heads"
            expect(answer["reads"](heads, kv_heads), wrong, hint=f"reads: {hint}")
            expect(answer["misled"](heads, kv_heads), int((wrong != right).sum()), hint=f"misled: {hint}")
    for name, right, letters in (("finds", "c", "abcd"), ("reason", "b", "abc")):
        letter = plain(answer[name], name)
        assert isinstance(letter, str), f"{name} must be a letter, got {shown(letter)}"
        letter = letter.strip().lower()
        assert letter in set(letters), f"{name} must be one of {', '.join(letters)}, got {shown(letter)}"
        assert letter == right, f"{name}: {letter!r} is not it; what does `misled` say of this case?"
