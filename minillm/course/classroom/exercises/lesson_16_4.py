"""Checkers of lesson 16_4, Mamba."""

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
    forbid,
    shown,
)

OWN = "build the layer yourself"
READY_MADE = (
    "minillm.models.mamba.MambaMixer",
    "minillm.models.mamba.MambaBlock",
    "minillm.models.mamba.MambaBody",
    "minillm.models.mamba2.Mamba2Mixer",
    "minillm.nn.mamba.causal_conv",
    "minillm.nn.mamba.mamba_scan_plain",
    "minillm.nn.mamba.mamba_scan",
    "minillm.nn.mamba.mamba_step",
    "minillm.nn.scans.scan_loop",
    "minillm.nn.scans.scan_associative",
    "minillm.nn.scans.scan_tree",
    "minillm.nn.scans.scan_chunked",
    "minillm.nn.scan_compiled.scan_compiled",
    "minillm.nn.scan_compiled.selective_scan",
)


@exercise("16-4-a", points=5)
def read(answer):
    """A layer of Mamba from the names of its weights."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}: your answer uses {copied}"
    with forbid(OWN, *READY_MADE, answer=answer):
        for case in cases(most=14, T=(1, 2, 5), K=(1, 2, 4), D=(1, 6), N=(1, 3), R=(1, 2)):
            inputs = Inputs(case.seed)
            w, C = _weights(inputs, case), 4
            x = inputs.tensor(case.T, C).double()
            conv, h = (
                inputs.tensor(case.K, case.D)[1:].double(),
                inputs.tensor(case.D, case.N).double(),
            )
            kept = [{name: one.clone() for name, one in w.items()}, x.clone(), conv.clone(), h.clone()]
            found = as_list(answer(w, x, conv, h), f"{case}: the answer", 3)
            _unchanged(case, kept, w, x, conv, h)
            for name, one, right in zip(("y", "conv", "h"), found, _read(w, x, conv, h)):
                expect(one, right, 1e-6, f"{case}: {name}")


def _weights(inputs, case, C=4):
    """Random weights by transformers' names; steps and decays of sensible sizes."""
    D, N, R, K = case.D, case.N, case.R, case.K
    shapes = {
        "in_proj.weight": (2 * D, C), "conv1d.weight": (D, 1, K), "conv1d.bias": (D,),
        "x_proj.weight": (R + 2 * N, D), "dt_proj.weight": (D, R), "dt_proj.bias": (D,), "A_log": (D, N),
        "D": (D,), "out_proj.weight": (C, D),
    }  # fmt: skip
    return {name: inputs.tensor(*shape, scale=0.7).double() for name, shape in shapes.items()}


def _unchanged(case, kept, w, *others):
    before, *rest = kept
    same = set(w) == set(before) and all(torch.equal(w[name], before[name]) for name in before)
    assert same, f"{case}: w must stay as it is"
    for name, now, old in zip(("x", "conv", "h"), others, rest):
        assert torch.equal(now, old), f"{case}: {name} must stay as it is"


def _read(w, x, conv, h):
    """All tokens at once: torch's convolution, and each state as a sum over all tokens before."""
    (T, _), K = x.shape, w["conv1d.weight"].shape[2]
    (D, N), R = w["A_log"].shape, w["dt_proj.weight"].shape[1]
    entered, z = (x @ w["in_proj.weight"].T).split(D, dim=1)
    entered = torch.cat([conv, entered])
    u = torch.nn.functional.conv1d(entered.T[None], w["conv1d.weight"], w["conv1d.bias"], groups=D)[0].T
    u = u * torch.sigmoid(u)
    raw, B, C = (u @ w["x_proj.weight"].T).split([R, N, N], dim=1)
    dt = torch.log1p(torch.exp(raw @ w["dt_proj.weight"].T + w["dt_proj.bias"]))
    since = torch.cat([torch.zeros(1, D).double(), dt.cumsum(0)])  # (T + 1, D)
    A = -torch.exp(w["A_log"])
    states = []
    for t in range(T):
        fade = torch.exp((since[t + 1] - since[: t + 2])[..., None] * A)  # (t + 2, D, N); the last one is 1
        wrote = (dt * u)[: t + 1, :, None] * B[: t + 1, None]
        states.append(fade[0] * h + (fade[1 : t + 2] * wrote).sum(0))
    y = (torch.stack(states) * C[:, None]).sum(2) + w["D"] * u
    return (y * z * torch.sigmoid(z)) @ w["out_proj.weight"].T, entered[len(entered) - (K - 1) :], states[-1]


@exercise("16-4-b", points=4)
def choose(answer):
    """A program run by a scan whose tokens choose."""
    for case in cases(most=18, names=(1, 2, 5), length=(2, 12, 60), sets=(0.3, 0.7), scale=(1.0, 1000.0)):
        inputs = Inputs(case.seed)
        names = [f"{letter}{case.seed % 7}" for letter in ("x", "나", "total", "i", "값")][: case.names]
        program, expected = _program(inputs, names, case)
        D = len(names)
        h, found = torch.zeros(D, D).double(), []
        chosen = {}
        for place in inputs.shuffled(range(len(program))):  # in any order: an answer may remember nothing
            chosen[place] = _chosen(answer, program[place], names)
        for place, instruction in enumerate(program):
            x, dt, B, C = chosen[place]
            h = torch.exp(-dt)[:, None] * h + (dt * x)[:, None] * B
            if instruction[0] == "get":
                found.append(float((h * C).sum()))
        for number, (one, right) in enumerate(zip(found, expected)):
            assert abs(one - right) <= 1e-6 * max(1.0, abs(right)), (
                f"{case}: question {number} of the program must give {right:.6g}, the scan gives {one:.6g}"
            )


def _program(inputs, names, case):
    """Instructions, and what a dict answers to each question; one question at the end at least."""
    program, held, expected = [], {}, []
    for place in range(case.length):
        name = names[inputs.integer(0, len(names) - 1)]
        last = place == case.length - 1
        if not last and inputs.floats(1, 0, 1)[0] < case.sets:
            value = inputs.floats(1, -case.scale, case.scale)[0]
            held[name] = value
            program.append(("set", name, value))
        else:
            program.append(("get", name))
            expected.append(held.get(name, 0.0))
    return program, expected


def _chosen(answer, instruction, names):
    """x, dt, B, C of an instruction as float64 tensors; feedback for what a layer cannot choose."""
    given = list(names)
    parts = as_list(answer(instruction, given), f"choose({shown(instruction)}, ...)", 4)
    assert given == names, "names must stay as it is"
    rows = []
    for what, one in zip(("x", "dt", "B", "C"), parts):
        row = as_floats(one, f"{what} for {shown(instruction)}", len(names))
        assert all(math.isfinite(number) and abs(number) <= 1e6 for number in row), (
            f"{what} for {shown(instruction)} must be numbers up to 1e6 in size, got {shown(row)}"
        )
        rows.append(torch.tensor(row, dtype=torch.float64))
    assert float(rows[1].min()) >= 0, (
        f"dt for {shown(instruction)} must not be below 0, got {shown(parts[1])}"
    )
    return rows


@exercise("16-4-c", points=4)
def confusable(answer):
    """Two books with one state."""
    for case in cases(
        most=16, N=(1, 2, 5), more=(1, 2, 6), kind=("random", "equal keys", "a key of zeros", "small")
    ):
        inputs = Inputs(case.seed)
        n = case.N + case.more
        keys = inputs.tensor(n, case.N).double()
        if case.kind == "equal keys":
            keys[n - 1] = keys[0]
        if case.kind == "a key of zeros":
            keys[n // 2] = 0.0
        if case.kind == "small":
            keys *= 0.01
        given = keys.clone()
        books = as_list(answer(given), f"{case}: the answer", 2)
        assert torch.equal(given, keys), f"{case}: keys must stay as it is"
        one, two = (
            torch.tensor(as_floats(book, f"{case}: a book", n), dtype=torch.float64) for book in books
        )
        for book in (one, two):
            assert bool((book.abs() <= 10 + 1e-9).all()), f"{case}: values are from -10 to 10"
        apart = float((one - two).abs().max())
        assert apart >= 1 - 1e-9, (
            f"{case}: the books must differ by 1 in some place, they differ by {apart:.3g}"
        )
        states = float(((one - two) @ keys).abs().max())
        assert states <= 1e-6, f"{case}: the states must be the same, they differ by {states:.3g}"


@exercise("16-4-d", points=3)
def by_hand(answer):
    """Seven numbers."""
    hints = (
        "1: D N of the scan and D (K - 1) of the convolution in each layer, four bytes a number",
        "2: keys and values of all layers, four bytes a number; round down",
        "3: (2D, C) and (C, D)",
        "4: hidden_size / 16, rounded up",
        "5: exp(-0.02 t) must be at most one half",
        "6: the token itself, and those that look back at it",
        "7: a state adds; it writes over nothing unless it fades",
    )
    expected = (152_000, 19, 60_000, 7, 35, 4, 5)
    for number, right, hint in zip(as_floats(answer, "the prediction", 7), expected, hints):
        assert abs(number - right) <= 5e-3, f"{hint}: got {shown(number)}"
