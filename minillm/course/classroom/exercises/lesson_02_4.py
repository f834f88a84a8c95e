"""Checkers of lesson 02_4, norms and feed-forward."""

import math
import re

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    DERIVATIVES,
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
from minillm.course.page.instruments import watch
from minillm.nn import EncoderBlock, FeedForward, RMSNorm, SwiGLU

BY_HAND = "by hand, without torch's or the library's norms and without autograd"
NORMS = (
    "torch.layer_norm", "torch.native_layer_norm", "torch.nn.functional.layer_norm", "torch.nn.LayerNorm.forward",
    "torch.rms_norm", "torch.batch_norm", "torch.group_norm", "torch.instance_norm",
    "torch.nn.functional.batch_norm", "torch.nn.functional.group_norm", "torch.nn.functional.instance_norm",
    "torch.nn.functional.rms_norm",
)  # fmt: skip
READY_MADE = re.compile("(layer|batch|group|rms|instance)_?norm")  # whatever name an operation was called by
PARTS = ("y", "the gradient for x", "the gradient for weight", "the gradient for bias")
HINTS = (
    "(x - mean) / √(variance + eps) · weight + bias over each row; the variance divides by C",
    "(g - mean(g) - n · mean(g · n)) / √(variance + eps), with g = grad · weight",
    "the sum over the rows of grad · n",
    "the sum over the rows of grad",
)


@exercise("02-4-a", points=3)
def norm_and_gradients(answer):
    """Layer norm and its gradient, by hand."""
    copied = copied_library(answer)
    assert not copied, f"{BY_HAND}: your answer uses {copied}"
    problems = [(case, *_problem(case)) for case in cases(
        rows=(1, 2, 7), width=(2, 3, 16), eps=(1e-8, 1e-5, 0.1, 1.0), scale=(0.01, 1.0, 30.0),
    )]  # fmt: skip
    with forbid(BY_HAND, *NORMS, *DERIVATIVES, answer=answer):
        for case, given, expected in problems:
            copies = [one.clone() for one in given]
            x, weight, bias, grad = copies
            with (
                torch.autograd.graph.saved_tensors_hooks(_no_autograd, _no_autograd),
                watch() as seen,
                Numbers() as numbers,
            ):
                found = answer(x, weight, bias, case.eps, grad)
            ready = [one.name for one in seen.operations if READY_MADE.search(one.name)]
            assert not ready, f"the exercise says: {BY_HAND}; your answer runs torch's {ready[0]}"
            assert not numbers.complex, (
                f"the exercise says: {BY_HAND} and without complex numbers; your answer makes some"
            )
            found = as_list(found, f"{case}: the result", 4)
            for what, one, wanted, hint in zip(PARTS, found, expected, HINTS):
                expect(one, wanted, 1e-9, f"{case}: {what}: {hint}; float64 throughout")
            for what, one, before in zip(("x", "weight", "bias", "grad"), copies, given):
                assert torch.equal(one, before), f"{case}: {what} must stay as it is"


def _problem(case):
    """([x, weight, bias, grad], [y and the three gradients]) of torch."""
    inputs = Inputs(case.seed)
    x, grad = (one.double() for one in inputs.tensors((case.rows, case.width), (case.rows, case.width)))
    weight, bias = (one.double() for one in inputs.tensors((case.width,), (case.width,)))
    x = (x + inputs.integer(-3, 3)) * case.scale
    leaves = [one.clone().requires_grad_() for one in (x, weight, bias)]
    y = F.layer_norm(leaves[0], (case.width,), leaves[1], leaves[2], case.eps)
    return [x, weight, bias, grad], [y.detach(), *torch.autograd.grad(y, leaves, grad)]


class Numbers(TorchDispatchMode):
    """Notes whether torch made complex numbers inside: a derivative is their imaginary part."""

    complex = False

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        made = result if isinstance(result, (tuple, list)) else (result,)
        self.complex |= any(isinstance(one, torch.Tensor) and one.is_complex() for one in made)
        return result


def _no_autograd(*_):
    raise AssertionError(f"the exercise says: {BY_HAND}; your answer asked for gradients")


EPS = 1e-6


def _rms_norm(row):
    root = math.sqrt(sum(one * one for one in row) / len(row) + EPS)
    return [one / root for one in row]


def _layer_norm(row):
    mean = sum(row) / len(row)
    root = math.sqrt(sum((one - mean) ** 2 for one in row) / len(row) + EPS)
    return [(one - mean) / root for one in row]


def _furthest(first, second):
    return max(abs(a - b) for a, b in zip(first, second))


@exercise("02-4-b", points=3)
def rows(answer):
    """Rows on which the norms part and agree."""
    found = plain(answer)
    assert isinstance(found, dict), f"the answer is a dict of rows, got {shown(found)}"
    row = {}
    for key in ("eps", "agree", "apart", "equal"):
        assert key in found, f"the dict needs the key {key!r}, it has {shown(list(found))}"
        row[key] = as_floats(found[key], repr(key), 4)
        wrong = [one for one in row[key] if not -1000 <= one <= 1000]
        assert not wrong, f"the numbers of {key!r} must lie between -1000 and 1000, got {shown(wrong[0])}"
    outside = math.sqrt(sum(one * one for one in row["eps"]) / 4) + EPS
    gap = _furthest(_rms_norm(row["eps"]), [one / outside for one in row["eps"]])
    assert gap > 0.8, (
        f"'eps': inside and outside the root differ by {gap:.3g} at most, more than 0.8 is asked for"
    )
    largest = max(map(abs, row["agree"]))
    assert largest >= 1, f"'agree': a number of size 1 or more is asked for, the largest has {largest:.3g}"
    gap = _furthest(_rms_norm(row["agree"]), _layer_norm(row["agree"]))
    assert gap < 0.001, f"'agree': RMS norm and layer norm differ by {gap:.3g}, less than 0.001 is asked for"
    smallest = min(map(abs, _rms_norm(row["apart"])))
    assert smallest > 0.9, (
        f"'apart': a number of its RMS norm has size {smallest:.3g}, above 0.9 is asked for"
    )
    largest = max(map(abs, _layer_norm(row["apart"])))
    assert largest < 0.001, (
        f"'apart': a number of its layer norm has size {largest:.3g}, below 0.001 is asked for"
    )
    given = [1.0, 2.0, 3.0, 4.0]
    assert len(set(row["equal"])) == 4, (
        f"'equal': the four numbers must be different, got {shown(row['equal'])}"
    )
    gap = _furthest(_layer_norm(row["equal"]), _layer_norm(given))
    assert gap < 0.001, f"'equal': its layer norm differs from that of {given} by {gap:.3g}"
    gap = _furthest(_rms_norm(row["equal"]), _rms_norm(given))
    assert gap > 0.3, (
        f"'equal': its RMS norm differs from that of {given} by {gap:.3g} only, above 0.3 is asked for"
    )


STAYS = {
    "times 3": ("LRB", "a factor on all numbers is in every mean and spread"),
    "plus 10": ("LB", "10 on all numbers is in every mean; RMS norm subtracts none"),
    "token plus": ("L", "the mean over a token's own numbers; batch norm's means run over tokens"),
    "token times": ("LR", "a factor of one token is in that token's own spread only"),
    "vector plus": ("B", "what is added to one coordinate of all tokens is in the mean over the tokens"),
    "other text": ("LR", "which norm looks at other texts?"),
    "copy": ("LRB", "means and spreads of a batch that is there twice are those of the batch"),
}


@exercise("02-4-c", points=2)
def prediction(answer):
    """What leaves each norm as it was."""
    found = plain(answer)
    assert isinstance(found, dict), f"the answer is a dict of texts, got {shown(found)}"
    for key, (letters, hint) in STAYS.items():
        assert key in found, f"the dict needs the key {key!r}, it has {shown(list(found))}"
        given = found[key]
        if isinstance(given, (list, set)) and all(isinstance(one, str) for one in given):
            given = "".join(given)
        assert isinstance(given, str), f"{key!r} must be a text such as 'LB', got {shown(given)}"
        given = set(given.upper()) - set(" ,")
        assert given <= set("LRB"), f"{key!r}: the letters are L, R and B, got {shown(found[key])}"
        assert given == set(letters), f"{key!r}: {found[key]!r} is not it; {hint}"


@exercise("02-4-d", points=2)
def widths(answer):
    """SwiGLU's hidden width, and what share of a block it makes."""
    assert isinstance(answer, dict), f"check a dict, as the test cell does, got {shown(answer)}"
    for name in ("swiglu_width", "feed_forward_share"):
        assert callable(answer.get(name)), f"{name} must be a function, got {shown(answer.get(name))}"
    for case in cases(width=(1, 2, 64, 192, 768, 1000, 4096, 5120), multiple=(1, 7, 64, 256)):
        hidden = math.ceil(8 * case.width // 3 / case.multiple) * case.multiple
        found = answer["swiglu_width"](case.width, case.multiple)
        expect(found, hidden, hint=f"{case}: 8/3 of the width without its fraction, rounded up to a multiple")
        share = 3 * hidden / (3 * hidden + 4 * case.width)
        found = answer["feed_forward_share"](case.width, case.multiple)
        expect(found, share, 1e-9, f"{case}: three matrices here, four of width x width in attention")


# --- the block ---

OWN_BLOCK = "build the block yourself, with nothing of minillm"
PIECES = (
    "minillm.nn.blocks.EncoderBlock.forward", "minillm.nn.blocks.DecoderBlock.forward",
    "minillm.nn.blocks.FeedForward.forward", "minillm.nn.blocks.SwiGLU.forward", "minillm.nn.blocks.RMSNorm.forward",
    "minillm.nn.blocks.rms_norm_plain", "minillm.nn.blocks.gelu_plain",
    "minillm.course.classroom.exercises.lesson_02_4.of_the_library",
)  # fmt: skip


class Map(nn.Module):
    """Attention with a ready-made map."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, x, mask=None, positions=None):
        """x (B, T, C) -> (B, T, C)."""
        return self.attention @ x


@exercise("02-4-e", points=4)
def block(answer):
    """The three orders, with both feed-forward layers, against the library's block."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN_BLOCK}; your answer uses {copied}"
    for case in cases(
        48, order=("pre", "post", "parallel"), gate=(False, True), texts=(1, 3), length=(1, 4), width=(2, 5, 8),
        hidden=(1, 7, 16), scale=(0.001, 1.0, 30.0),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        x = case.scale * inputs.tensor(case.texts, case.length, case.width).double()
        attention = inputs.tensor(case.texts, case.length, case.length).double().softmax(dim=-1)
        norms = tuple(1 + 0.5 * inputs.tensor(case.width).double() for _ in range(2))
        names = ("gate", "up") if case.gate else ("up",)
        feed = {name: inputs.tensor(case.hidden, case.width).double() for name in names}
        feed["down"] = inputs.tensor(case.width, case.hidden).double()
        with torch.no_grad():
            expected = of_the_library(x, attention, norms, feed, case.order)
        given = [x, attention, *norms, *feed.values()]
        before = [one.clone() for one in given]
        with forbid(OWN_BLOCK, *PIECES, answer=answer):
            found = answer(x, attention, norms, dict(feed), case.order)
        hint = {
            "pre": "x + f(norm(x)), twice; the second part reads the result of the first",
            "post": "norm(x + f(x)), twice",
            "parallel": "one norm, read by both parts, and three terms in one sum",
        }[case.order]
        expect(found, expected, 1e-8, f"{case}: {hint}; float64 throughout")
        for one, copy in zip(given, before):
            assert torch.equal(one, copy), f"{case}: what you are given must stay as it is"


def of_the_library(x, attention, norms, feed, order):
    """What EncoderBlock makes of x; for "parallel", the sum of its parts."""
    hidden, width = feed["up"].shape
    kind = SwiGLU if "gate" in feed else FeedForward
    whole = EncoderBlock(
        width,
        1,
        pre_norm=order != "post",
        norm=RMSNorm,
        attention=Map(attention),
        feed_forward=kind(width, hidden, bias=False),
    ).double()
    for norm, weight in zip((whole.norm1, whole.norm2), norms):
        norm.weight.copy_(weight)
    for name, weight in feed.items():
        getattr(whole.feed_forward, f"{name}_proj").weight.copy_(weight)
    if order == "parallel":
        z = whole.norm1(x)
        return x + whole.attention(z) + whole.feed_forward(z)
    return whole(x)
