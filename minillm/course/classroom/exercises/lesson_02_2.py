"""Checkers of lesson 02_2, embeddings and positions."""

import math

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)

READY_MADE = (
    "minillm.nn.rope.rotate_halves",
    "minillm.nn.rope.rotate_neighbours",
    "minillm.nn.rope.turning_table",
    "minillm.nn.rope.RoPE.forward",
    "minillm.nn.rope.RoPE.at",
    "minillm.nn.rope.RoPE.table",
    "minillm.nn.rope.Rotation.turn",
    "minillm.nn.rope.Rotation._turn",
    "minillm.nn.positions.sinusoids",
    "minillm.nn.rope_scaling.rope_frequencies",
    "minillm.nn.rope_scaling.scaled_frequencies",
)
BASE = 10000.0


def turned(row, position, base=BASE, interleaved=False):
    """One vector turned, in plain numbers."""
    half = len(row) // 2
    out = list(row)
    for i in range(half):
        first, second = (2 * i, 2 * i + 1) if interleaved else (i, i + half)
        angle = position * base ** (-i / half)
        a, b = row[first], row[second]
        out[first] = a * math.cos(angle) - b * math.sin(angle)
        out[second] = a * math.sin(angle) + b * math.cos(angle)
    return out


def dot(a, b):
    """a · b, rounded once."""
    return math.fsum(x * y for x, y in zip(a, b))


@exercise("02-2-a", points=3)
def turn(answer):
    """RoPE in the reader's own form."""
    copied = copied_library(answer)
    assert not copied, f"build the turn yourself: your answer uses {copied}"

    def ask(x, positions, *options, hint):
        expected = [turned(row, at, *options) for row, at in zip(x.tolist(), positions)]
        given = x.clone()
        with forbid("build the turn yourself", *READY_MADE, answer=answer):
            found = answer(given, list(positions), *options)
        expect(found, expected, 2e-3, hint)
        expect(given, x, hint="x must stay as it is")

    ask(torch.tensor([[1.0, 0.0]]), [1], hint="the arrow (1, 0) at position 1 becomes (cos 1, sin 1)")
    ask(torch.eye(4)[:1], [2], hint="D = 4, coordinate 0 alone at position 2: its partner is coordinate 2")
    ask(
        torch.eye(4)[:1],
        [2],
        BASE,
        True,
        hint="D = 4, interleaved, coordinate 0 alone: its partner is coordinate 1",
    )
    for case in cases(
        T=(1, 2, 5), D=(2, 4, 6, 16), base=(10000.0, 100.0, 500000.0), interleaved=(False, True), most=40
    ):
        inputs = Inputs(case.seed)
        positions = inputs.integers(case.T, 0, 1000 if case.seed % 2 else 20)
        ask(
            inputs.tensor(case.T, case.D),
            positions,
            case.base,
            case.interleaved,
            hint=f"{case}, positions={positions}",
        )
    ask(
        Inputs(99).tensor(4, 8),
        [7, 0, 7, 1000],
        hint="T=4, D=8, positions=[7, 0, 7, 1000], base and pairing left out",
    )


@exercise("02-2-b", points=2)
def blind(answer):
    """An input on which both pairings agree."""
    parts = as_list(answer, length=4)
    vectors = []
    for name, part in zip("qk", parts):
        numbers = as_list(part, name, 8)
        for number in numbers:
            fits = isinstance(number, (int, float)) and not isinstance(number, bool) and -10 <= number <= 10
            assert fits, (
                f"{name} must hold numbers between -10 and 10, got {shown(number)} in {shown(numbers)}"
            )
        assert sum(abs(number) >= 0.1 for number in numbers) >= 2, (
            f"{name} must have at least two numbers of size 0.1 or more, got {shown(numbers)}"
        )
        vectors.append(numbers)
    (q, k), (t, s) = vectors, parts[2:]
    for name, place in (("t", t), ("s", s)):
        whole = isinstance(place, int) and not isinstance(place, bool) and 0 <= place <= 100
        assert whole, f"{name} must be a whole number from 0 to 100, got {shown(place)}"
    assert t != s, f"t and s must differ, both are {t}"
    before = dot(q, k)
    halves, neighbours = (
        dot(turned(q, t, BASE, pairing), turned(k, s, BASE, pairing)) for pairing in (False, True)
    )
    assert abs(halves - before) >= 0.1, (
        f"q·k is {before:.4f} before the turns and {halves:.4f} after them: it must change by at least 0.1"
    )
    assert abs(halves - neighbours) <= 1e-3, (
        f"the test sees the difference: q·k is {halves:.4f} with halves and {neighbours:.4f} with neighbours"
    )


@exercise("02-2-c", points=2)
def places(answer):
    """Where the tokens of a padded batch stand."""
    for case in cases(rows=(1, 2, 4), longest=(1, 3, 7), side=("left", "right", "both", "full", "empty")):
        inputs, mask = Inputs(case.seed), []
        for _ in range(case.rows):
            length = {"full": case.longest, "empty": 0}.get(case.side, inputs.integer(0, case.longest))
            room = case.longest - length
            before = {"left": room, "right": 0}.get(case.side, inputs.integer(0, room))
            mask.append([0] * before + [1] * length + [0] * (room - before))
        expected = [[max(sum(row[: i + 1]) - 1, 0) if row[i] else 0 for i in range(len(row))] for row in mask]
        found = answer([list(row) for row in mask])
        expect(
            found, expected, hint=f"mask={shown(mask)}: the first token of each row has place 0, padding too"
        )


@exercise("02-2-d", points=1)
def prediction(answer):
    """Pairs that make less than one turn."""
    count = sum(2048 * BASE ** (-2 * i / 64) < 2 * math.pi for i in range(32))
    hint = "one pair after the other: its radians a token, times 2,048, against 2π"
    expect(plain(answer), count, hint=hint)
