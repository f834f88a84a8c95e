"""Checkers of lesson 05_2, gradient accumulation and checkpointing."""

import math

import torch
from torch import nn

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
from minillm.training.saved_memory import SavedMemory

BUILD = "build it yourself"
READY = (
    "minillm.training.checkpointing.checkpointed_plain",
    "minillm.training.checkpointing_hooks.checkpointed",
    "minillm.training.gradient_cache.cached_loss",
    "torch.utils.checkpoint.checkpoint",
    "torch.utils.checkpoint.checkpoint_sequential",
    "torch.utils.checkpoint.CheckpointFunction.apply",
    "torch.utils.checkpoint._checkpoint_without_reentrant_generator",  # what its wrappers for modules call
    # what their parts are made of, for who calls these in a class of his own
    "torch.utils.checkpoint.detach_variable",
    "torch.utils.checkpoint.check_backward_validity",
    "minillm.training.checkpointing.Recomputed.forward",
    "minillm.training.checkpointing.Call.__init__",
    "minillm.training.checkpointing_hooks.Part.number",
)


@exercise("05-2-a", points=2)
def combined(answer):
    """Gradients of passes put together."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    for case in cases(passes=(1, 2, 3, 8), size=(1, 4), high=(1, 9, 5000), empty=(False, True)):
        inputs = Inputs(case.seed)
        counts = inputs.integers(case.passes, 1, case.high)
        gradients = inputs.matrix(case.passes, case.size, -5.0, 5.0)
        if case.empty and case.passes > 1:
            place = inputs.integer(0, case.passes - 1)
            counts[place], gradients[place] = 0, [math.nan] * case.size
        given = [list(row) for row in gradients], list(counts)
        expected = [
            sum(n * row[i] for n, row in zip(counts, gradients) if n) / sum(counts) for i in range(case.size)
        ]
        found = as_floats(answer(*given), f"{case}: the gradient", case.size)
        expect(found, expected, 1e-6, hint=f"gradients={shown(gradients)}, counts={counts}")
        expect(given, (gradients, counts), hint=f"{case}: the lists must stay as they were")


@exercise("05-2-b", points=4)
def saving(answer):
    """A checkpoint of one's own."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    choices = {"rows": (40, 80), "dropout": (0.0, 0.5), "asks": (True, False), "scale": (1.0, -3.0)}
    for case in cases(most=8, **choices, change_between=(False, True)):
        net = _Net(Inputs(case.seed), case.dropout)
        x = Inputs(case.seed + 100).tensor(case.rows, 64)
        expected = _run(None, net, x, case)
        with forbid(BUILD, *READY, answer=answer):
            found = _run(answer, net, x, case)
        for what, one, other in zip(_Run._fields, found, expected):
            if what not in ("kept", "runs"):
                expect(one, other, hint=f"{case}: {what}")
        allowed = x.nbytes + 6000  # and the state of a generator
        assert found.kept <= allowed, (
            f"{case}: {found.kept:,} bytes are kept for backward; x has {x.nbytes:,}, plain training keeps "
            f"{expected.kept:,}"
        )
        assert found.runs == 2, (
            f"{case}: the function must run twice, once in backward; it ran {found.runs} times"
        )


class _Net(nn.Module):
    """Weights, dropout, and x used twice; counts its runs."""

    def __init__(self, inputs, dropout):
        super().__init__()
        self.up, self.down = (nn.Parameter(0.1 * inputs.tensor(*shape)) for shape in ((64, 128), (128, 64)))
        self.dropout, self.runs = dropout, 0

    def forward(self, x):
        self.runs += 1
        return x + nn.functional.dropout(torch.tanh(x @ self.up), self.dropout, self.dropout > 0) @ self.down


class _Run(tuple):
    _fields = ("y", "the gradient of x", "the gradient of the first weights", "the gradient of the second weights",
               "the generator after forward", "the generator after backward", "kept", "runs")  # fmt: skip
    kept, runs = property(lambda self: self[6]), property(lambda self: self[7])


def _run(answer, net, x, case):
    """One forward and backward pass of answer(net, x), and all that it leaves; None: of net(x), without a checkpoint.

    change_between: the weights change between forward and backward, so that activations that were hidden somewhere give
    other gradients than a second run.
    """
    x = x.clone().requires_grad_(case.asks)
    net.zero_grad()
    net.runs = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.seed)
        with SavedMemory(net) as memory:
            y = net(x) if answer is None else answer(net, x)
            assert isinstance(y, torch.Tensor), f"{case}: saving must give a tensor, got {shown(y)}"
            assert y.requires_grad, f"{case}: what saving gives has no gradient to ask for"
            kept, first, graph = memory.now, torch.rand(3), y
            if case.change_between:
                net.up.data.mul_(0.5)  # and back below: exact
            if case.change_between and answer is None:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(case.seed)
                    graph = net(x)
            graph.mul(torch.linspace(case.scale, 1.0, y.shape[1])).sum().backward()
        second = torch.rand(3)
    if case.change_between:
        net.up.data.mul_(2)
    gradients = [None if p.grad is None else p.grad.clone() for p in (x, net.up, net.down)]
    return _Run((y.detach(), *gradients, first, second, kept, net.runs))


@exercise("05-2-c", points=2)
def segments_for(answer):
    """The number of segments with the least memory."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    for case in cases(layers=(1, 2, 5, 16, 24, 80, 100), x=(1, 10, 4096), more=(1, 2, 5, 16)):
        inside = case.x * case.more + (case.more > 1) * (case.layers % 3)
        sizes = {
            s: s * case.x + math.ceil(case.layers / s) * inside - case.x for s in range(1, case.layers + 1)
        }
        expected = min(sizes, key=sizes.get)
        found = plain(answer(case.layers, case.x, inside))
        hint = f"layers={case.layers}, x={case.x}, inside={inside}"
        whole = isinstance(found, int) and not isinstance(found, bool)
        assert whole, f"{hint}: give a whole number, got {shown(found)}"
        expect(found, expected, hint=f"{hint}: {sizes[expected]} bytes are the least")


@exercise("05-2-d", points=2)
def mean_of_means(answer):
    """Passes on which the mean of means is far off."""
    expect_parts(answer, "counts", "values", "good_counts")
    values = as_floats(answer["values"], "values")
    assert 2 <= len(values) <= 6, f"values must be 2 to 6 losses, got {len(values)}"
    assert 0.1 <= min(values) <= max(values) <= 10, f"values must lie between 0.1 and 10, got {shown(values)}"
    assert min(values) < max(values), f"values must not all be equal, got {shown(values)}"
    wrong = sum(values) / len(values)
    means = {}
    for name in ("counts", "good_counts"):
        found = as_list(answer[name], name, len(values))
        fits = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 10_000 for n in found)
        assert fits, f"{name} must be whole numbers from 1 to 10,000, got {shown(found)}"
        means[name] = sum(n * v for n, v in zip(found, values)) / sum(found)
    assert wrong >= 4 * means["counts"], (
        f"with counts the mean of means is {wrong:.4g}, the true mean {means['counts']:.4g}: less than 4 times as much"
    )
    good = means["good_counts"]
    assert abs(wrong - good) <= 1e-9 * wrong, f"with good_counts the true mean is {good:.6g}, not {wrong:.6g}"
