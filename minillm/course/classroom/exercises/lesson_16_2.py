"""Checkers of lesson 16_2, S4."""

import cmath
import math

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
    packages_of,
    plain,
    shown,
)
from minillm.nn import bilinear, run_flow

OWN = "build the steps and the kernel yourself"
READY_MADE = (
    "minillm.nn.hippo.bilinear",
    "minillm.nn.hippo.zero_order_hold",
    "minillm.nn.hippo.run_flow",
    "minillm.nn.s4d.bilinear_steps",
    "minillm.nn.s4d.held_steps",
    "minillm.nn.s4d.powers",
    "minillm.nn.s4d.s4d_kernel",
    "minillm.nn.s4d.s4d_kernel_plain",
    "minillm.nn.s4d.s4d_recurrence",
)
EXPM1 = ("torch.expm1", "torch.Tensor.expm1", "torch.special.expm1", "numpy.expm1")


@exercise("16-2-a", points=3)
def by_hand(answer):
    """Six numbers."""
    hints = (
        "1: (1 + Δ/2 a) / (1 - Δ/2 a) with Δ a = -1",
        "2: (exp(Δ a) - 1) / a",
        "3: K_0 is C B̄, and each step multiplies by Ā",
        "4: K_0 u_2 + K_1 u_1 + K_2 u_0",
        "5: the slowest wave has the frequency π; it turns once when π Δ l = 2 π",
        "6: 64 fine ones and 64 coarse ones",
    )
    expected = (1 / 3, (1 - math.exp(-1)) / 2, 0.75, 7, 200, 128)
    for number, right, hint in zip(as_floats(answer, "the prediction", 6), expected, hints):
        assert abs(number - right) <= 5e-3, f"{hint}: got {shown(number)}"


@exercise("16-2-b", points=5)
def kernel(answer):
    """The answer of the library's own steps to a pulse."""
    copied = copied_library(answer) or packages_of(answer, "scipy")
    assert not copied, f"{OWN}: your answer uses {copied}"
    rows = []
    for case in cases(most=16, N=(1, 2, 3, 5), step=(0.05, 0.5, 1.5), length=(1, 2, 7, 40)):
        inputs = Inputs(case.seed)
        A = inputs.tensor(case.N, case.N, scale=0.7).double() - 2 * torch.eye(case.N).double()
        B, C = (one.double() for one in inputs.tensors((case.N,), (case.N,)))
        pulse = torch.zeros(case.length).double()
        pulse[0] = 1.0
        rows.append((case, (A, B, C), run_flow(*bilinear(A, B, case.step), pulse) @ C))
    with forbid(OWN, *READY_MADE, answer=answer):  # once: it looks through all modules
        for case, inputs, expected in rows:
            given = [one.clone() for one in inputs]
            found = answer(*given, case.step, case.length)
            for name, now, old in zip("ABC", given, inputs):
                assert torch.equal(now, old), f"{case}: {name} must stay as it is"
            expect(as_list(found, f"{case}: the kernel", case.length), expected.tolist(), 1e-6, f"{case}: K")


@exercise("16-2-c", points=4)
def held(answer):
    """Ā and B̄ of a diagonal, relative to the size of each."""
    copied = copied_library(answer) or packages_of(answer, "torch", "numpy", "scipy")
    assert not copied, f"use math and cmath alone: your answer uses {copied}"
    sizes = (0.0, 1e-12, 1e-8, 1e-5, 1e-3, 0.02, 0.3, 1.0, 50.0)
    rows = []
    for case in cases(most=27, count=(0, 1, 3), size=sizes, step=(0.01, 0.3, 1.0)):
        inputs = Inputs(case.seed)
        angles = inputs.floats(case.count, math.pi / 2, 3 * math.pi / 2)  # of flows that fade
        a = [cmath.rect(case.size * inputs.floats(1, 0.3, 1.0)[0], angle) for angle in angles]
        a[1:2] = [0j] * len(a[1:2])  # beside others there is one that is zero
        expected = [
            [cmath.exp(case.step * one) for one in a],
            [case.step * _ratio(case.step * one) for one in a],
        ]
        rows.append((case, a, expected))
    with forbid("use math and cmath alone", *READY_MADE, *EXPM1, answer=answer):
        for case, a, expected in rows:
            given = list(a)
            parts = as_list(answer(given, case.step), f"{case}: the answer", 2)
            assert given == a, f"{case}: a must stay as it is"
            for name, part, right in zip(("Ā", "B̄"), parts, expected):
                numbers = as_list(part, f"{case}: the list of {name}", case.count)
                for number, of, one in zip(numbers, right, a):
                    _near(number, of, f"{case}: {name} of a = {one:.3g}")


def _near(number, right, of):
    known = isinstance(number, (int, float, complex)) and not isinstance(number, bool)
    assert known, f"{of} must be a number, got {shown(number)}"
    off = abs(number - right) / abs(right)
    assert off <= 1e-9, f"{of}: expected {right:.12g}, got {complex(number):.12g}"


def _ratio(z):
    """(exp(z) - 1) / z: by torch's expm1, 1 at zero."""
    return complex(torch.expm1(torch.tensor(z, dtype=torch.complex128)) / z) if z else 1.0


@exercise("16-2-d", points=4)
def broken(answer):
    """Euler's steps, a flow with which they explode, and two waves that a step cannot tell apart."""
    expect_parts(answer, "euler", "explodes", "alike", "why")
    function = answer["euler"]
    assert callable(function), f"euler must be a function, got {shown(function)}"
    for case in cases(most=12, a=(-2.0, -0.5, 0.0, 0.3), step=(0.1, 1.0, 3.0), count=(0, 1, 2, 9)):
        found = plain(function(case.a, case.step, case.count), "the last x")
        assert isinstance(found, (int, float)), f"{case}: euler returns one number, got {shown(found)}"
        expect(found, (1 + case.step * case.a) ** case.count, 1e-6, f"{case}: the last x")
    a, step = as_floats(answer["explodes"], "explodes", 2)
    assert -100 <= a < 0, f"a of explodes must be from -100 to below 0, got {a:g}"
    assert 0 < step <= 100, f"the step of explodes must be above 0 and at most 100, got {step:g}"
    euler, other = abs(1 + step * a), abs((1 + step * a / 2) / (1 - step * a / 2))
    assert 50 * math.log(max(euler, 1e-9)) > math.log(1e6), (
        f"after 50 steps of Euler x must be above 1,000,000 in size; the factor of a step is {euler:.3g}"
    )
    assert other < 0.9, f"the factor of a bilinear step must stay below 0.9 in size, it is {other:.3g}"
    v, w, step = as_floats(answer["alike"], "alike", 3)
    assert 0 <= v <= 100, f"the frequencies must be from 0 to 100, got {v:g}"
    assert 0 <= w <= 100, f"the frequencies must be from 0 to 100, got {w:g}"
    assert abs(v - w) >= 1, f"the frequencies must differ by at least 1, got {v:g} and {w:g}"
    assert 0.1 <= step <= 1, f"the step of alike must be from 0.1 to 1, got {step:g}"
    apart = max(abs(cmath.exp(1j * v * step * k) - cmath.exp(1j * w * step * k)) for k in range(1, 21))
    assert apart <= 1e-6, f"within the first 20 steps the waves are {apart:.3g} apart"
    expect(plain(answer["why"], "why"), "b", hint="how far does each wave turn within one step?")
