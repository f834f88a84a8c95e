"""Checkers of lesson 08_1b, Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)
from minillm.course.classroom.launches import LaunchWatch


def laid_out(seed: int, rows: int, columns: int, layout: str) -> Tensor:
    """A random (rows, columns) tensor that lies in memory as `layout` says."""
    inputs = Inputs(seed)
    if layout == "transposed":
        return inputs.tensor(columns, rows).T
    if layout == "every second column":
        return inputs.tensor(rows, 2 * columns)[:, ::2]
    return inputs.tensor(rows, columns)


@exercise("08-1b-a", points=3)
def centered_relu(answer):
    """A kernel of the student's own: max(x - mean of the row, 0), one launch."""
    copied = copied_library(answer)
    assert not copied, f"write the kernel yourself: your answer uses {copied}"
    for case in cases(
        18,
        rows=(1, 3, 6),
        columns=(1, 7, 32, 100, 1100),
        layout=("plain", "transposed", "every second column"),
    ):
        x = laid_out(case.seed, case.rows, case.columns, case.layout) + 3.0
        before, watch = x.clone(), LaunchWatch()
        exact = torch.relu(x.double() - x.double().mean(1, keepdim=True))
        with forbid("the kernel computes", "torch.Tensor.numpy", "torch.Tensor.tolist", answer=answer):
            found = watch.run(answer, x)
        assert not watch.astray, f"{case}: {watch.astray}. Is every load and every store masked?"
        assert isinstance(found, Tensor), f"{case}: return a tensor, got {shown(found)}"
        assert watch.launches, f"{case}: no kernel was launched"
        assert not watch.torch_ran, (
            f"{case}: torch itself ran {', '.join(watch.torch_ran)}; the kernel does all of it, torch only makes room"
        )
        assert not watch.read_others, (
            f"{case}: your kernel read numbers that are not x's; it works x out itself"
        )
        assert watch.launches == 1, f"{case}: one launch is asked for, got {watch.launches}"
        assert not watch.brought_in, f"{case}: {watch.brought_in}; it gets x and new memory for y"
        expect(list(found.shape), [case.rows, case.columns], hint=f"{case}: the shape of y")
        expect(x, before, hint=f"{case}: x is only read")
        assert watch.wrote(found), f"{case}: not every number of the result was stored by your kernel"
        missing = int(found.isnan().sum())
        assert not missing, f"{case}: {missing} of {found.numel()} numbers were never written"
        expect(found, exact, 1e-5, hint=f"{case}: max(x - mean of the row, 0)")


def careless(row: list[float], width: int = 8) -> list[float]:
    """The softmax of a row whose lanes beyond the end hold 0."""
    lanes = torch.tensor(row + [0.0] * (width - len(row)), dtype=torch.float32)
    return torch.softmax(lanes, 0)[: len(row)].tolist()


@exercise("08-1b-b", points=2)
def rows(answer):
    """Two rows: the wrong padding does no harm to one, and ruins the other."""
    harmless, harmful = (
        as_floats(row, name, 5) for row, name in zip(as_list(answer, "rows", 2), ("harmless", "harmful"))
    )
    for name, row in (("harmless", harmless), ("harmful", harmful)):
        assert max(map(abs, row)) <= 50, f"{name}: numbers between -50 and 50, got {shown(row)}"
    right, found = torch.softmax(torch.tensor(harmless), 0).tolist(), careless(harmless)
    apart = max(abs(a - b) for a, b in zip(right, found))
    assert apart <= 1e-6, (
        f"harmless = {shown(harmless)}: a weight is wrong by {apart:.6f}, more than 0.000001"
    )
    total = sum(careless(harmful))
    assert total < 0.01, (
        f"harmful = {shown(harmful)}: the five weights add up to {total:.3f}, not to less than 0.01"
    )


@exercise("08-1b-c", points=1)
def place(answer):
    """Where an element of a transposed tensor lies."""
    found, x = plain(answer), torch.empty(6, 10).T
    assert type(found) is int, f"a whole number, got {shown(answer)}"
    right = 7 * x.stride(0) + 2 * x.stride(1)
    assert found == right, (
        f"element (7, 2) of x.T does not lie {found} numbers from the start. What are x.T's strides?"
    )
