"""Checkers of lesson 16_1, RNN and LSTM."""

import math

import torch
from torch import nn

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    DERIVATIVES,
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

OWN = "work out the derivative yourself"
EXACT = 1e-10
LOGITS = (
    "torch.logit", "torch.special.logit", "torch.Tensor.logit", "torch.distributions.utils.probs_to_logits",
)  # fmt: skip
READY_MADE = (
    "torch.nn.LSTM",
    "torch.nn.LSTMCell",
    "torch.nn.modules.rnn.LSTM.forward",
    "torch.nn.modules.rnn.LSTMCell.forward",
    "torch.lstm_cell",
    "torch.lstm",
    "torch.ops.aten.lstm",
    "torch.ops.aten.lstm_cell",
    "minillm.nn.recurrent.lstm_step",
    "minillm.nn.recurrent.run_layer",
    "minillm.nn.recurrent.LSTMLayers",
)


@exercise("16-1-a", points=3)
def by_hand(answer):
    """Six numbers."""
    hints = (
        "1: each step multiplies by 0.5",
        "2: the old c times the forget gate, and the new part times the input gate",
        "3: the output gate times tanh of the new c",
        "4: a quarter of n, and three quarters of the old h",
        "5: W has 4H · C numbers, U has 4H · H, b has 4H",
        "6: h and c of each layer, 4 bytes a number; how long the text is does not matter",
    )
    expected = (0.125, 1.25, 0.4 * math.tanh(0.5), 3, 48, 128)
    for number, right, hint in zip(as_floats(answer, "the prediction", 6), expected, hints):
        expect(number, right, 5e-3, hint)


@exercise("16-1-b", points=5)
def lstm(answer):
    """A whole text through one layer, beside torch's."""
    copied = copied_library(answer)
    assert not copied, f"build the steps yourself: your answer uses {copied}"
    for case in cases(most=14, T=(1, 2, 7), C=(1, 3), H=(1, 2, 4)):
        inputs = Inputs(case.seed)
        shapes = (
            (case.T, case.C),
            (4 * case.H, case.C),
            (4 * case.H, case.H),
            (4 * case.H,),
            (case.H,),
            (case.H,),
        )
        given = [inputs.tensor(*shape).double() for shape in shapes]
        before = [one.clone() for one in given]
        shown_h, last_c = _of_torch(*given)
        with forbid("build the steps yourself", *READY_MADE, answer=answer):
            found = answer(*given)
        for name, now, old in zip(("x", "W", "U", "b", "h", "c"), given, before):
            assert torch.equal(now, old), f"{case}: {name} must stay as it is"
        parts = as_list(found, f"{case}: the answer", 2)
        expect(parts[0], shown_h.tolist(), 1e-6, f"{case}: h of every token")
        expect(parts[1], last_c.tolist(), 1e-6, f"{case}: the last c")


def _of_torch(x, W, U, b, h, c):
    """(h of every token, last c) of torch's own layer."""
    layer = nn.LSTM(x.shape[1], len(h)).double()
    with torch.no_grad():
        for name, value in (
            ("weight_ih", W),
            ("weight_hh", U),
            ("bias_ih", b),
            ("bias_hh", torch.zeros_like(b)),
        ):
            getattr(layer, f"{name}_l0").copy_(value)
        y, (_, last) = layer(x, (h[None], c[None]))
    return y, last[0]


@exercise("16-1-c", points=4)
def reach(answer):
    """A derivative, two inputs that make it large and small, and the reason."""
    expect_parts(answer, "reach", "exploding", "vanishing", "why")
    function = answer["reach"]
    assert callable(function), f"reach must be a function, got {shown(function)}"
    copied = copied_library(function)
    assert not copied, f"{OWN}: your answer uses {copied}"
    for case in cases(T=(1, 2, 4, 30), w=(0.5, -1.5, 2.0), size=(0.1, 1.0)):
        xs = Inputs(case.seed).floats(case.T, -case.size, case.size)
        given, expected = list(xs), _reach(case.w, xs)
        with forbid(OWN, *DERIVATIVES, answer=function):
            found = plain(function(case.w, given), "the reach")
        assert given == xs, f"{case}: xs must stay as it is"
        assert isinstance(found, (int, float)), f"{case}: reach returns one number, got {shown(found)}"
        # beside what is expected: a quotient of small differences is some 1e-9 off
        close = math.isfinite(found) and abs(found / expected - 1) <= EXACT
        assert close, f"{case}: |∂h_T / ∂x_1|: expected {expected:.12g}, got {found:.12g}"
    sizes = {}
    for name in ("exploding", "vanishing"):
        w, xs = as_list(plain(answer[name], name), name, 2)
        xs = as_floats(xs, f"the tokens of {name}", 40)
        assert isinstance(w, (int, float)), f"w of {name} must be a number, got {shown(w)}"
        assert 1.5 <= w <= 3, f"w of {name} must be from 1.5 to 3, got {w:g}"
        assert all(-1 <= x <= 1 for x in xs), f"the tokens of {name} must be from -1 to 1"
        sizes[name] = w, _reach(w, xs)
    assert sizes["exploding"][0] == sizes["vanishing"][0], "both must have the same w"
    assert sizes["exploding"][1] >= 1000, f"exploding must reach 1,000, it has {sizes['exploding'][1]:.3g}"
    assert sizes["vanishing"][1] <= 1e-6, (
        f"vanishing must be at most 0.000001, it is {sizes['vanishing'][1]:.3g}"
    )
    expect(plain(answer["why"], "why"), "b", hint="look at the states of your vanishing text")


def _reach(w, xs):
    """By torch's gradient."""
    tokens = torch.tensor(xs, dtype=torch.float64, requires_grad=True)
    h = torch.zeros((), dtype=torch.float64)
    for x in tokens:
        h = torch.tanh(w * h + x)
    return abs(float(torch.autograd.grad(h, tokens)[0][0]))


@exercise("16-1-d", points=3)
def forget_bias(answer):
    """The bias of a gate that keeps a share of the cell."""
    copied = packages_of(answer, "scipy")
    assert not copied, f"work it out yourself: your answer uses {copied}"
    for case in cases(most=20, tokens=(1, 2, 10, 100, 10_000), keep=(0.01, 0.1, 0.5, 0.9, 0.999)):
        with forbid("work it out yourself", *LOGITS, answer=answer):
            found = plain(answer(case.tokens, case.keep), "the bias")
        assert isinstance(found, (int, float)), f"{case}: return one number, got {shown(found)}"
        left = math.exp(-case.tokens * math.log1p(math.exp(-found))) if abs(found) < 700 else math.nan
        expect(left, case.keep, 1e-6, f"{case}: σ(b) to the power of {case.tokens}")
