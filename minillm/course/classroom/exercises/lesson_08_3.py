"""Checkers of lesson 08_3, kernel fusion."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    DERIVATIVES,
    Inputs,
    as_floats,
    as_list,
    cases,
    constants_of,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)
from minillm.course.classroom.largest import Largest
from minillm.course.classroom.launches import LaunchWatch


@exercise("08-3-a", points=2)
def trips(answer):
    """Launches and bytes of bias, GELU and residual."""
    for case in cases(rows=(1, 8, 33), width=(1, 100, 37), size=(2, 4, 8), fused=(False, True)):
        tensor, bias = case.rows * case.width * case.size, case.width * case.size
        found = as_list(answer(case.rows, case.width, case.size, case.fused), f"{case}: the result", 2)
        launches, times = (1, 3) if case.fused else (3, 7)
        expect(found[0], launches, hint=f"{case}: the launches: x + bias, GELU, + residual, or all in one")
        what = "what must come in and go out?" if case.fused else "what does each step read and write?"
        expect(found[1], times * tensor + bias, hint=f"{case}: {what} x has {tensor} bytes, the bias {bias}")


@exercise("08-3-b", points=3)
def add_layer_norm(answer):
    """A kernel of the student's own: the sum and its layer norm, one launch."""
    copied = copied_library(answer)
    assert not copied, f"build the kernel yourself: your answer uses {copied}"
    for seed, (rows, width, dtype, eps, middle, spread) in enumerate((
        (4, 32, torch.float32, 1e-5, 0.0, 1.0),
        (3, 7, torch.float32, 1e-5, 2.0, 1.0),
        (5, 100, torch.float32, 0.5, 0.0, 0.3),
        (1, 257, torch.float32, 1e-5, 3000.0, 1.0),
        (6, 300, torch.float16, 1e-5, 0.0, 60.0),
        (2, 1100, torch.float32, 1e-2, -5.0, 1.0),
        (3, 1, torch.float32, 1e-5, 0.0, 1.0),
        (4, 60, torch.float16, 1e-3, 1.0, 0.1),
    )):  # fmt: skip
        inputs, name = Inputs(seed), f"x {(rows, width)} {str(dtype).removeprefix('torch.')}, eps {eps}"
        x, residual = (inputs.tensor(rows, width, scale=spread).add(middle / 2).to(dtype) for _ in range(2))
        weight, bias = (inputs.tensor(width).to(dtype) for _ in range(2))
        given, watch = [one.clone() for one in (x, residual, weight, bias)], LaunchWatch()
        with np.errstate(all="ignore"):
            found = watch.run(answer, *given, eps)
        check_launches(name, watch)
        assert isinstance(found, (tuple, list)), f"{name}: return (y, s), got {type(found).__name__}"
        assert len(found) == 2, f"{name}: return (y, s), got {len(found)} values"
        for what, one in zip("ys", found):
            check_like(f"{name}: {what}", one, x)
            assert watch.wrote(one), f"{name}: not every number of {what} was stored by your kernel"
        for what, one, before in zip(("x", "residual", "weight", "bias"), given, (x, residual, weight, bias)):
            assert torch.equal(one, before), f"{name}: {what} is only read; write to new tensors"
        s = (x.float() + residual.float()).to(dtype)
        wanted = F.layer_norm(s.double(), (width,), weight.double(), bias.double(), eps)
        # float32 keeps 7 digits: what is left of them beside the mean; of float16, one step of its last digit
        allowed = 4e-6 * (1 + abs(middle)) if dtype == torch.float32 else 2.0**-10
        check_near(f"{name}: s", found[1], s.double(), 1e-6, "it is x + residual, rounded to the dtype of x")
        check_near(
            f"{name}: y", found[0], wanted, allowed,
            "is it the norm of the s that is stored, computed in float32, with the mean taken first? Do places past "
            "the end add to the variance? Are eps, weight and bias where the formula has them?",
        )  # fmt: skip


def check_launches(name: str, watch: LaunchWatch) -> None:
    """AssertionError unless one kernel did it all, within the rows."""
    assert not watch.astray, (
        f"{name}: {watch.astray}. Is every load and every store masked, and is there one program a row?"
    )
    assert watch.launches, f"{name}: no kernel was launched"
    assert not watch.torch_ran, (
        f"{name}: torch itself ran {', '.join(watch.torch_ran)}: let the kernel do it, into torch.empty_like(x)"
    )
    assert watch.launches == 1, f"{name}: {watch.launches} launches, one is enough"
    assert not watch.brought_in, f"{name}: {watch.brought_in}; it gets what you are given and new memory"


def check_like(name: str, found: object, x: Tensor) -> None:
    """AssertionError unless `found` is a tensor like x, without NaN."""
    assert isinstance(found, Tensor), f"{name} must be a tensor, got {type(found).__name__}"
    assert found.shape == x.shape, f"{name} must have the shape of x, got {tuple(found.shape)}"
    assert found.dtype == x.dtype, f"{name} must have the dtype of x, got {found.dtype}"
    missing = int(found.isnan().sum())
    assert not missing, (
        f"{name}: {missing} of {found.numel()} numbers are NaN: never written, or computed from what was never written"
    )


def check_near(name: str, found: Tensor, wanted: Tensor, allowed: float, hint: str) -> None:
    """Every number within `allowed`, counted from the larger of 1 and its size."""
    off = (found.double() - wanted).abs() / wanted.abs().clamp(min=1)
    row, column = divmod(int(off.argmax()), found.shape[1])
    assert off[row, column] <= allowed, (
        f"{name}[{row}, {column}] is {found[row, column].item():.6g}, expected {wanted[row, column].item():.6g}: {hint}"
    )


NO_COMPLEX = "the closed form of the gradient needs no complex numbers"


class ByHand(Largest):
    """Refuses torch's own loss and complex numbers, too; `stop`, as the hook of what autograd wants to keep, refuses
    torch's gradients."""

    def called(self, name: str) -> None:
        if "nll_loss" in name or "cross_entropy" in name:
            self.stop()

    def made(self, one: Tensor) -> None:
        if one.is_complex():
            self.refuse(NO_COMPLEX)

    def stop(self, *_):
        self.refuse("by hand: without F.cross_entropy, F.nll_loss and autograd")


@exercise("08-3-c", points=3, seconds=20)
def head_loss(answer):
    """The last layer and its loss in chunks, by hand."""
    copied = copied_library(answer)
    assert not copied, f"by hand: your answer uses {copied}"
    imaginary = any(
        isinstance(one, complex) for one in constants_of(answer)
    )  # numpy's steps are seen by nobody else
    assert not imaginary, NO_COMPLEX
    problems = [
        problem(seed, *shape) for seed, shape in enumerate(SHAPES)
    ]  # before derivatives are forbidden
    hints = (
        "the mean over the rows that count of log Σ exp(logits) - logits[target]; logits may be large",
        "G @ weight, with G = (softmax - 1 at the target) / the rows that count, and 0 in ignored rows",
        "the sum over the chunks of G.T @ h",
    )
    with forbid("by hand, without derivatives by torch", *DERIVATIVES, answer=answer):
        for (T, V, C, rows, skipped, scale), (given, expected) in zip(SHAPES, problems, strict=True):
            name = f"T = {T}, V = {V}, C = {C}, rows = {rows}, {skipped} rows ignored"
            found = as_list(by_hand(answer, name, given, rows), f"{name}: the result", 3)
            for what, one, wanted, hint in zip(("loss", "d_hidden", "d_weight"), found, expected, hints):
                # of logits as large as 1,000 the softmax keeps three digits fewer
                expect(one, wanted, 1e-12 * max(1.0, scale), f"{name}: {what}: {hint}; float64 throughout")


SHAPES = (  # T, V, C, rows, rows ignored, scale of the weights
    (1, 3, 2, 1, 0, 1.0),
    (12, 5, 2, 4, 0, 1.0),
    (23, 7, 3, 5, 6, 1.0),
    (9, 4, 2, 50, 8, 1.0),
    (30, 40, 3, 8, 3, 300.0),
    (16, 20_000, 2, 16, 2, 1.0),
    (1500, 2000, 2, 3, 100, 1.0),
)


def problem(
    seed: int, T: int, V: int, C: int, rows: int, skipped: int, scale: float
) -> tuple[list[Tensor], list[Tensor]]:
    """([hidden, weight, targets], [loss, d_hidden, d_weight])."""
    inputs = Inputs(seed)
    hidden, weight = (one.double() for one in inputs.tensors((T, C), (V, C)))
    weight *= scale
    targets = torch.tensor(inputs.integers(T, 0, V - 1))
    targets[inputs.shuffled(range(T))[:skipped]] = -100
    leaves = [hidden.clone().requires_grad_(), weight.clone().requires_grad_()]
    loss = F.cross_entropy(leaves[0] @ leaves[1].T, targets)
    return [hidden, weight, targets], [loss.detach(), *torch.autograd.grad(loss, leaves)]


def by_hand(answer: Callable, name: str, inputs: list[Tensor], rows: int) -> object:
    """What the answer returns, refused torch's loss and more memory than `rows` rows of logits take."""
    (T, C), V = inputs[0].shape, len(inputs[1])
    most = max(min(rows, T) * V, T * C, V * C)
    given, mode = [one.clone() for one in inputs], ByHand(most)
    # What numpy and lists take; torch's memory is seen by the mode. Only where all logits are far more than a chunk,
    # and after smaller problems, so that nothing is imported for the first time.
    measured = 100 * most < T * V
    if measured:
        tracemalloc.start()
    try:
        with mode, torch.autograd.graph.saved_tensors_hooks(mode.stop, mode.stop):
            found = answer(*given, rows)
        taken = tracemalloc.get_traced_memory()[1] if measured else 0
    finally:
        tracemalloc.stop()
    assert not mode.refused, f"{name}: {mode.refused}"
    allowed = 18 * most * 8 + 2**16  # numpy takes 7 numbers for each, and 32 rows of 2,000 logits 22
    assert taken < allowed, (
        f"{name}: {taken // 1000:,} kB taken at once; for {rows} rows of logits {allowed // 1000:,} kB are enough"
    )
    for what, one, before in zip(("hidden", "weight", "targets"), given, inputs):
        assert torch.equal(one, before), f"{name}: {what} must stay as it is"
    return found


@exercise("08-3-d", points=2)
def broken(answer):
    """Rows on which a float16 sum and a missing mask go wrong, and one on which the mask is not missed."""
    found = plain(answer)
    assert isinstance(found, dict), f"the answer is a dict, got {shown(found)}"
    for key in ("vanishes", "width", "lost", "harmless"):
        assert key in found, f"the dict needs the key {key!r}, it has {shown(list(found))}"
    row = as_floats(found["vanishes"], "'vanishes'", 64)
    outside = [one for one in row if abs(one) > 40]
    assert not outside, f"the numbers of 'vanishes' must lie between -40 and 40, got {shown(outside[0])}"
    total = torch.tensor(row).half().square().double().sum().item()
    assert total >= 65_520, (
        f"the squares of 'vanishes' add up to {total:,.0f}, which float16 can hold: y is not 0"
    )
    width = found["width"]
    assert type(width) is int, f"'width' must be a whole number, got {shown(width)}"
    assert width >= 1024, f"{width} squares of 8.0 add up to {64 * width:,}: float16 holds that"
    assert width <= 1024, f"width {width} is not the smallest: what do {width - 1} squares of 8.0 add up to?"
    right, careless = losses(as_floats(found["lost"], "'lost'", 5))
    assert right < 2, f"the right loss of 'lost' must be below 2, it is {right:.4g}"
    assert math.isinf(careless), f"the careless loss of 'lost' must be infinite, it is {careless:.4g}"
    row = as_floats(found["harmless"], "'harmless'", 5)
    assert max(row) < 0, f"all logits of 'harmless' must be below 0, got {shown(max(row))}"
    assert len({*torch.tensor(row).tolist()}) > 1, (
        f"the logits of 'harmless' must not be all equal in float32, got {shown(row)}"
    )
    right, careless = losses(row)
    assert abs(right - careless) < 1e-5, (
        f"'harmless' must leave the loss right: it is {careless:.6g}, and the right one is {right:.6g}"
    )


def losses(row: list[float]) -> tuple[float, float]:
    """The loss of float32 logits for target 0, in float64, and with the maximum taken over the row and a 0."""
    x = torch.tensor(row)
    largest = x.max().clamp(min=0)
    careless = (x - largest).exp().sum().log() + largest - x[0]
    return F.cross_entropy(x.double()[None], torch.tensor([0])).item(), careless.item()
