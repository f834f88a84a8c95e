"""Checkers of lesson 07_2b, GPTQ, AWQ and the compiled decode step."""

import numpy as np

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

HERE = "minillm.course.classroom.exercises.lesson_07_2b"
LIBRARY = [
    *(
        f"minillm.quantization.gptq.{one}"
        for one in ("gptq", "gptq_plain", "gptq_in_blocks", "inverse_factor")
    ),
    *(f"minillm.quantization.awq.{one}" for one in ("awq_scales", "factors", "scaled_error")),
    f"{HERE}._gptq",
    f"{HERE}._awq_errors",
]
CLEAR = 0.02  # no number that is rounded comes nearer than this to the middle of two codes


def _gptq(w, H, scale, order, damping):
    """(the row by optimal brain quantization, H of the columns left inverted anew; how near a tie it came)."""
    w, done, near = np.array(w, float), np.zeros(len(w)), 1.0
    H = np.array(H, float) + damping * np.diag(H).mean() * np.eye(len(w))
    for place, q in enumerate(order):
        left = list(order[place:])
        inverse = np.linalg.inv(H[np.ix_(left, left)])
        near = min(near, abs(w[q] / scale % 1 - 0.5))
        done[q] = np.round(w[q] / scale) * scale
        w[left] -= (w[q] - done[q]) / inverse[0, 0] * inverse[0]
    return done, near


def _row(case):
    """w, H and an order of the case's width; drawn again until no rounding is a matter of taste."""
    for attempt in range(1000):
        inputs = Inputs(1000 * case.seed + attempt)
        X = (
            inputs.tensor(3 * case.width, case.width).double()
            @ inputs.tensor(case.width, case.width).double()
        )
        w = 2 * case.scale * inputs.tensor(case.width).double()
        order = inputs.shuffled(range(case.width)) if case.shuffled else list(range(case.width))
        H = X.T @ X / len(X)
        expected, near = _gptq(w.numpy(), H.numpy(), case.scale, order, case.damping)
        if near > CLEAR:
            return w, H, order, expected.tolist()
    raise RuntimeError(f"no clear row for {case}")


@exercise("07-2b-a", points=3)
def gptq_row(answer):
    """One row by GPTQ, for any order of its columns."""
    copied = copied_library(answer)
    assert not copied, f"write GPTQ yourself: your answer uses {copied}"
    for case in cases(width=(1, 2, 4, 7), scale=(1.0, 0.25), damping=(0.01, 0.8), shuffled=(False, True)):
        w, H, order, expected = _row(case)
        given = w.clone(), H.clone(), list(order)
        with forbid("write GPTQ yourself", *LIBRARY, answer=answer):
            found = answer(*given[:2], case.scale, given[2], case.damping)
        hint = f"{case}, order {order}: w = {shown(w)}"
        expect(found, expected, 1e-4, hint)
        expect(given[0], w, hint="w must stay as it is")
        expect(given[1], H, hint="H must stay as it is")
        expect(given[2], order, hint="order must stay as it is")


def _awq_errors(W, X, alphas, top):
    """(error of each α, how near a tie the rounding came)."""
    W, X, errors, near = W.numpy(), X.numpy(), [], 1.0
    for alpha in alphas:
        s = np.abs(X).mean(0) ** alpha
        step = np.abs(W * s).max(1, keepdims=True) / top
        inner = np.abs(W * s) < np.abs(W * s).max(1, keepdims=True)  # the largest itself is never in doubt
        near = min(near, np.abs((W * s / step) % 1 - 0.5)[inner].min(initial=1.0))
        difference = np.round(W * s / step) * step / s - W
        errors.append(((X @ difference.T) ** 2).sum(1).mean())
    return errors, near


@exercise("07-2b-b", points=3)
def search_scales(answer):
    """AWQ's search of one layer."""
    copied = copied_library(answer)
    assert not copied, f"search yourself: your answer uses {copied}"
    choices = ((0.0, 0.5), (0.75, 0.25, 0.0), (1.0, 0.3, 0.6, 0.0))
    for case in cases(rows=(1, 4), columns=(2, 6), tokens=(5, 20), top=(1, 3, 7), alphas=choices):
        W, X, errors = _layer(case)
        given = W.clone(), X.clone(), list(case.alphas)
        with forbid("search yourself", *LIBRARY, answer=answer):
            found = answer(*given, case.top)
        found = as_list(found, f"{case}: the answer", 2)
        expect(found[1], errors, 1e-4, f"{case}: the errors")
        best = case.alphas[errors.index(min(errors))]
        expect(found[0], best, 1e-9, f"{case}: errors {shown(errors)}: the best alpha")
        for name, now, before in zip(("W", "X", "alphas"), given, (W, X, case.alphas)):
            expect(now, before, hint=f"{name} must stay as it is")


def _layer(case):
    """W and X of the case, drawn again until roundings and the best alpha are clear."""
    for attempt in range(3000):
        inputs = Inputs(5000 * case.seed + attempt)
        sizes = inputs.tensor(case.columns).double().exp()
        X = (inputs.tensor(case.tokens, case.columns).double() + 0.5) * sizes
        W = inputs.tensor(case.rows, case.columns).double()
        errors, near = _awq_errors(W, X, case.alphas, case.top)
        first, second = sorted(errors)[:2]
        if near > 1e-3 and second > 1.05 * first:
            return W, X, [float(one) for one in errors]
    raise RuntimeError(f"no clear layer for {case}")


@exercise("07-2b-c", points=3)
def overfitted(answer):
    """Inputs on which GPTQ helps, and inputs of the same sizes on which the same codes do harm."""
    expect_parts(answer, "w", "calibration", "held_out", "why")
    w = np.array(as_floats(answer["w"], "w"))
    assert 2 <= len(w) <= 8, f"w must have 2 to 8 weights, got {len(w)}"
    assert np.abs(w).max() <= 100, f"weights must lie between -100 and 100, got {shown(w)}"
    both = {name: _rows(answer[name], name, len(w)) for name in ("calibration", "held_out")}
    sizes = {name: (rows**2).mean(0) for name, rows in both.items()}
    for i, (one, other) in enumerate(zip(*sizes.values())):
        assert one >= 0.01, f"the mean square of calibration input {i} must be at least 0.01, got {one:.4g}"
        assert abs(other - one) <= 0.01 * one, (
            f"input {i} must have the same mean square in both: {one:.4g} in calibration, {other:.4g} in held_out"
        )
    rows = both["calibration"]
    found, near = _gptq(w, rows.T @ rows / len(rows), 1.0, range(len(w)), 0.01)
    assert near > 1e-3, "a weight comes too near to the middle of two whole numbers: move it a little"
    rounded = np.round(w)
    assert np.abs(np.abs(w % 1) - 0.5).min() > 1e-3, "a weight is too near to the middle of two whole numbers"
    errors = {
        name: [float(((one @ (q - w)) ** 2).mean()) for q in (found, rounded)] for name, one in both.items()
    }
    gptq, rtn = errors["calibration"]
    assert gptq <= 0.5 * rtn, (
        f"calibration: GPTQ's error must be at most half of rounding's, got {gptq:.4g} and {rtn:.4g}"
    )
    gptq, rtn = errors["held_out"]
    assert gptq >= max(2 * rtn, rtn + 0.01), (
        f"held_out: GPTQ's error must be at least twice rounding's, and 0.01 more, got {gptq:.4g} and {rtn:.4g}"
    )
    letter = plain(answer["why"], "why")
    assert isinstance(letter, str), f"why must be a letter, got {shown(letter)}"
    letter = letter.strip().lower()
    assert letter in {"a", "b", "c", "d"}, f"why must be 'a', 'b', 'c' or 'd', got {shown(letter)}"
    assert letter == "b", f"why: {letter!r} is not it; what differs between your two sets of inputs?"


def _rows(value, name, width):
    rows = [as_floats(row, f"a row of {name}", width) for row in as_list(value, name)]
    assert 1 <= len(rows) <= 64, f"{name} must have 1 to 64 rows, got {len(rows)}"
    array = np.array(rows)
    assert np.abs(array).max() <= 1000, f"{name} must hold numbers between -1000 and 1000"
    return array


@exercise("07-2b-d", points=2)
def tokens_a_second(answer):
    """What the memory allows."""
    found = as_floats(answer, "prediction", 4)
    bytes_read = 120e6 * 4, 120e6, 120e6 * (0.5 + 4 / 32)
    expected = [15e9 / one for one in bytes_read]
    what = ("float32", "int8", "4-bit codes in groups", "4-bit codes, two texts")
    for name, one, right in zip(what, found, [*expected, 2 * expected[-1]]):
        assert abs(one - right) <= 0.01 * right, (
            f"{name}: not {one:.4g}; count the bytes of all weights, scales included, and divide"
        )
