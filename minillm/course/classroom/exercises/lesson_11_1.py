"""Checkers of lesson 11_1, two ways to better search; contrastive training."""

import math

import torch

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
from minillm.evaluation import spearman
from minillm.search.losses import contrastive_loss

OWN = "work the gradient out by hand"
EXACT = 1e-13  # float64; quotients of differences, of four points too, are farther off
KINDS = ("ones", "zeros", "mixed", "between")


@exercise("11-1-a", points=3)
def contrastive(answer):
    """The contrastive loss and its gradients, without automatic derivatives."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}, with nothing of minillm; your answer uses {copied}"
    for case in cases(
        pairs=(1, 2, 5), width=(2, 3, 8), margin=(0.3, 0.5, 1.0, 1.9), labels=KINDS, near=(False, True)
    ):
        u, v, labels = inputs_of(case)
        leaves = [one.clone().requires_grad_() for one in (u, v)]
        loss = contrastive_loss(*leaves, labels, case.margin)
        expected = [loss.item(), *torch.autograd.grad(loss, leaves)]
        given = [one.clone() for one in (u, v, labels)]
        no_graph = (
            torch.inference_mode()
        )  # an answer that ends it is refused: then nothing of torch differentiates
        with (
            forbid(
                OWN,
                *DERIVATIVES,
                "torch.inference_mode",
                "minillm.search.losses.contrastive_loss",
                answer=answer,
            ),
            no_graph,
        ):
            found = answer(*given, case.margin)
        found = as_list(found, f"what contrastive returns ({case})", 3)
        expect(found[0], expected[0], EXACT, f"the loss, {case}")
        for name, one, right in zip(("u", "v"), found[1:], expected[1:]):
            rows = as_list(one, f"the gradient of {name} ({case})", case.pairs)
            for row in rows:
                as_floats(row, f"a row of the gradient of {name} ({case})", case.width)
            expect(rows, right, EXACT, f"the gradient of {name}, {case}")
        for one, before in zip(given, (u, v, labels)):
            expect(one, before, hint="the tensors that you are given must stay as they are")


def inputs_of(case):
    """u, v (B, C), float64, of lengths 0.5 to 2, and labels (B,). near: v is u, turned a little."""
    inputs = Inputs(case.seed)
    while True:
        u, v = (one.double() for one in inputs.tensors(*[(case.pairs, case.width)] * 2))
        if case.near:
            v = u + 0.5 * v
        u, v = (
            one
            / one.norm(dim=1, keepdim=True)
            * torch.tensor(inputs.floats(case.pairs, 0.5, 2.0), dtype=torch.float64)[:, None]
            for one in (u, v)
        )
        labels = {
            "ones": [1.0] * case.pairs,
            "zeros": [0.0] * case.pairs,
            "mixed": [float(n % 2) for n in range(case.pairs)],
            "between": inputs.floats(case.pairs, 0.1, 0.9),
        }[case.labels]
        distance = 1 - torch.cosine_similarity(u, v)
        if ((distance - case.margin).abs() > 0.01).all():  # at the bend itself any slope between is right
            return u, v, torch.tensor(labels, dtype=torch.float64)


TOGETHER, APART, NOTHING = "together", "apart", "nothing"
MOVES = (
    (TOGETHER, "a pair with label 1 is pulled as long as its distance is not 0"),
    (NOTHING, "its distance is 0 already"),
    (APART, "its distance is 0.4, and the margin 0.5"),
    (NOTHING, "its distance is 0.7, beyond the margin"),
    (APART, "its cosine is above its label"),
    (TOGETHER, "its cosine is below its label"),
    (APART, "0.3 - 0.4 + 0.2 is above 0: the triplet still costs something"),
    (NOTHING, "0.7 - 1.0 + 0.2 is below 0: the triplet costs nothing"),
)


@exercise("11-1-b", points=2)
def moves(answer):
    """Which pairs a step moves, and where."""
    found = as_list(answer, "prediction", len(MOVES))
    for place, (one, (right, because)) in enumerate(zip(found, MOVES), start=1):
        assert one in (TOGETHER, APART, NOTHING), (
            f"each item is 'together', 'apart' or 'nothing'; number {place} is {shown(one)}"
        )
        assert one == right, f"number {place} is not {shown(one)}: {because}"


MARGIN, WORST = 0.1, -0.1


@exercise("11-1-c", points=3)
def blind(answer):
    """A triplet loss of zero, and an order that is upside down."""
    rows = as_list(answer, "rows")
    assert 3 <= len(rows) <= 6, f"rows has three to six rows, got {len(rows)}"
    cosines, scores = [], []
    for place, row in enumerate(rows):
        near, far, high, low = as_floats(row, f"row {place}", 4)
        for angle in (near, far):
            assert 0 <= angle <= 180, f"an angle lies between 0 and 180, got {shown(angle)} in row {place}"
        assert 3 <= high <= 5, f"the positive's score lies between 3 and 5, got {shown(high)} in row {place}"
        assert 0 <= low < 3, (
            f"the negative's score is at least 0 and below 3, got {shown(low)} in row {place}"
        )
        pair = [math.cos(math.radians(angle)) for angle in (near, far)]
        lacks = (1 - pair[0]) - (1 - pair[1]) + MARGIN
        assert lacks <= 1e-9, (
            f"row {place} costs {lacks:.3f}: its cosines are {pair[0]:.3f} and {pair[1]:.3f}, and the first must be "
            f"higher by {MARGIN}"
        )
        cosines += pair
        scores += [high, low]
    order = spearman(cosines, scores)
    assert order <= WORST, f"Spearman of the {len(scores)} pairs must be at most {WORST}, it is {order:.3f}"


@exercise("11-1-d", points=2)
def triplets(answer):
    """Triplets of texts, from pairs with a score."""
    copied = copied_library(answer)
    assert not copied, f"write it yourself, with nothing of minillm; your answer uses {copied}"
    for case in cases(pairs=(0, 1, 4, 12, 30), firsts=(1, 2, 5), line=(1.0, 3.0, 4.5), dealt=(False, True)):
        pairs = scored_pairs(case)
        given = list(pairs)
        expected = sorted(
            [first, positive, negative]
            for first, positive, high in pairs
            for other, negative, low in pairs
            if first == other and high >= case.line > low
        )
        found = plain(answer(given, case.line), f"what triplets returns ({case})")
        expect(given, pairs, hint="the list that you are given must stay as it is")
        found = as_list(found, f"what triplets returns ({case})")
        for one in found:
            texts = as_list(one, f"a triplet ({case})", 3)
            assert all(isinstance(text, str) for text in texts), f"a triplet is three texts, got {shown(one)}"
        few = f" of {pairs}" if len(pairs) <= 4 else ""
        expect(sorted(found), expected, hint=f"the triplets{few}, sorted ({case})")


def scored_pairs(case):
    """(first, second, score): no second stands twice with the same first, though with two firsts; dealt: firsts
    alternate."""
    inputs = Inputs(case.seed)
    pairs, counts = [], {}
    for number in range(case.pairs):
        place = number % case.firsts if case.dealt else number * case.firsts // case.pairs
        score = inputs.integer(0, 10) / 2
        counts[place] = counts.get(place, 0) + 1
        pairs.append((f"문장 {place}", f"text {counts[place]}", score))
    return pairs
