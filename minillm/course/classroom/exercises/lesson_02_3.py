"""Checkers of lesson 02_3, attention."""

import math

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    ATTENTION,
    BY_HAND,
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    packages_of,
)
from minillm.course.page.instruments import watch
from minillm.nn import MultiHeadAttention

READY_MADE = (
    *ATTENTION,
    "minillm.nn.heads.OneHead.scores",
    "minillm.nn.heads.CrossHead.scores",
)
MASKS = (
    "minillm.nn.backends.causal_mask",
    "minillm.nn.backends.window_mask",
    "minillm.nn.attention.padding_mask",
)
ARRAYS = tuple(
    f"numpy.{name}" for name in ("inner", "dot", "matmul", "einsum", "exp2", "expm1", "asmatrix", "matrix")
)
SOFTMAX = ("torch.softmax", "torch.Tensor.softmax", "torch.nn.functional.softmax")


def attended(query, keys, values):
    """One query in float64: the mean of the values by softmax(q · k / √D)."""
    scores = [math.fsum(a * b for a, b in zip(query, key)) / math.sqrt(len(query)) for key in keys]
    powers = [math.exp(score - max(scores)) for score in scores]
    columns = zip(*values)
    return [math.fsum(p * x for p, x in zip(powers, column)) / math.fsum(powers) for column in columns]


@exercise("02-3-a", points=2)
def attend(answer):
    """One query, with lists of numbers."""
    copied = copied_library(answer) or packages_of(answer, "torch", "numpy", "scipy")
    assert not copied, f"write the attention yourself, with plain numbers and math: your answer uses {copied}"

    with forbid("plain numbers and math only", *READY_MADE, *SOFTMAX, *BY_HAND, *ARRAYS, answer=answer):
        for query, keys, values, hint in _questions():
            with watch() as seen:
                found = answer(list(query), [list(key) for key in keys], [list(value) for value in values])
            made = [one.name for one in seen.operations]
            assert not made, (
                f"the exercise says: plain numbers and math only; your answer runs torch's {made[0]}"
            )
            found = as_floats(found, length=len(values[0]))
            expect(found, attended(query, keys, values), 1e-6, hint)


def _questions():
    """(query, keys, values, hint) of every question."""
    asked = []

    def ask(*question):
        asked.append(question)

    ask([1.0, 0.0], [[0.0, 1.0], [0.0, -1.0]], [[2.0, 0.0], [4.0, 8.0]],
        "both keys are at right angles to the query, so the shares are equal")  # fmt: skip
    ask([2.0, 0.0, 0.0, 0.0], [[1.0, 0, 0, 0], [0.0, 0, 0, 0]], [[1.0], [0.0]],
        "the dot products 2 and 0 are divided by √D = 2 before the softmax")  # fmt: skip
    for scores in (
        [0.0, 2000.0, 1999.0],
        [-3000.0, 2000.0, 1999.0],
        [-2000.0, -2001.0, -2000.5],
        [5000.0, -5000.0],
    ):
        ask([1.0], [[score] for score in scores], [[float(i), 1.0] for i in range(len(scores))],
            f"scores {scores}, D = 1: subtract the largest score before exp")  # fmt: skip
    for case in cases(D=(1, 2, 5), S=(1, 2, 6), width=(1, 3), scale=(0.5, 3.0, 40.0)):
        inputs = Inputs(case.seed)
        query, keys = inputs.floats(case.D, -case.scale, case.scale), inputs.matrix(case.S, case.D, -3, 3)
        ask(query, keys, inputs.matrix(case.S, case.width), f"{case}")
    return asked


@exercise("02-3-b", points=2)
def visible(answer):
    """Who sees whom."""
    copied = copied_library(answer)
    assert not copied, f"build the mask yourself: your answer uses {copied}"
    hints = (
        (3, 3, None, "with as many queries as keys, query t sees the keys 0 to t"),
        (2, 4, None, "the last query stands at the last key: of 2 queries and 4 keys, the first sees 3"),
        (3, 3, 2, "a window of 2 is the token itself and the one before it"),
    )
    every = cases(T=(1, 2, 3, 5), past=(0, 1, 4), window=(None, 1, 2, 3, 12))
    asked = (*hints, *((case.T, case.T + case.past, case.window, "") for case in every))
    with forbid("build the mask yourself", *MASKS, answer=answer):
        for T, S, window, hint in asked:
            here = f"T={T}, S={S}, window={window}"
            expected = [[0 <= S - T + t - s < (window or S) for s in range(S)] for t in range(T)]
            found = answer(T, S) if window is None else answer(T, S, window)
            expect(as_list(found, length=T), expected, hint=f"{here}{': ' if hint else ''}{hint}")


@exercise("02-3-c", points=4)
def multi_head(answer):
    """The grouped multi-head layer, on one text and on two, against the library's."""
    copied = copied_library(answer)
    assert not copied, f"build the layer yourself: your answer uses {copied}"
    for case in cases(
        B=(1, 3),
        T=(1, 2, 5),
        S=(None, 1, 4, 7),
        heads=(1, 2, 4, 6),
        share=(1, 2, 3),
        D=(1, 2, 5),
        C=(4, 7),
        masked=("no", "some", "padding"),
        most=48,
    ):
        heads, kv_heads, S = case.heads * case.share, case.heads, case.S or case.T
        layer = MultiHeadAttention(case.C, heads, kv_heads, bias=False, head_dim=case.D)
        inputs = Inputs(case.seed)
        parts = (layer.q_proj, layer.k_proj, layer.v_proj, layer.o_proj)
        weights = [inputs.tensor(*part.weight.shape) for part in parts]
        x = inputs.tensor(case.B, case.T, case.C)
        context = inputs.tensor(case.B, S, case.C) if case.S else None
        mask = None
        if case.masked == "some":
            mask = inputs.tensor(case.B, case.T, S) > 0
        if case.masked == "padding":  # of the last text nothing is left
            lengths = torch.tensor([*inputs.integers(case.B - 1, 1, S), 0])
            mask = (torch.arange(S) < lengths[:, None, None]).expand(case.B, case.T, S)
        with torch.no_grad():
            for part, weight in zip(parts, weights):
                part.weight.copy_(weight)
            expected = layer(x, context, None if mask is None else mask[:, None])
            copies = [one.clone() for one in (x, *weights)]
            given = [None if one is None else one.clone() for one in (mask, context)]
            with forbid("build the layer yourself", *READY_MADE, answer=answer), watch() as seen:
                found = answer(*copies, heads, kv_heads, *given)
        ready = [one.name for one in seen.operations if "scaled_dot_product" in one.name]
        assert not ready, f"build the attention yourself: your answer runs PyTorch's {ready[0]}"
        where = (
            f"B={case.B}, T={case.T}, C={case.C}, H={heads}, K={kv_heads}, D={case.D}, "
            f"context={f'{S} tokens' if case.S else None}, mask={case.masked}"
        )
        assert isinstance(found, torch.Tensor), f"{where}: return a tensor, got {type(found).__name__}"
        hint = (
            f"{where}: is it √D, a softmax over the keys, do neighbouring query heads share a key head, "
            "and do queries that may look at nothing find zeros?"
        )
        expect(found, expected, 1e-4, hint)


@exercise("02-3-d", points=3)
def breaks(answer):
    """What two wrong masks do to the weights."""
    names = ("what the first query loses when the mask comes after the softmax",
             "what the last query gives to keys that the mask at the first key hides")  # fmt: skip
    for case in cases(T=(1, 2, 4), past=(0, 1, 3), scale=(0.0, 1.0, 5.0)):
        S = case.T + case.past
        scores = Inputs(case.seed).tensor(case.T, S, scale=case.scale)
        rows = [attended([1.0], [[score] for score in row], torch.eye(S).tolist()) for row in scores.tolist()]
        expected = [sum(rows[0][case.past + 1 :]), sum(rows[-1][case.T :])]
        found = as_floats(answer(scores.clone()), length=2)
        for name, one, other in zip(names, found, expected):
            expect(one, other, 1e-4, f"T={case.T}, S={S}: {name}")
