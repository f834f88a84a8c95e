"""Checkers of lesson 14_2, CLIP."""

import hashlib
import math

import torch
import torch.nn.functional as F

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
)
from minillm.training import pair_loss

OWN = "build it yourself, of plain numbers"
READY_MADE = (
    "minillm.training.contrastive.pair_loss",
    "minillm.training.contrastive.clip_loss",
    "minillm.search.losses.mnr_loss",
    "minillm.models.clip_use.class_vectors",
    "minillm.models.clip_use.zero_shot",
    "torch.nn.functional.cross_entropy",
    "torch.nn.functional.normalize",
)


def _plain_python(answer):
    copied = copied_library(answer) or packages_of(answer, "torch", "numpy", "scipy")
    assert not copied, f"use Python and math alone: your answer uses {copied}"


def _unit(rows):
    return F.normalize(torch.tensor(rows, dtype=torch.float64), dim=-1, eps=0.0)


@exercise("14-2-a", points=4)
def loss(answer):
    """Against the log-softmax of torch in float64, each row's targets written out."""
    _plain_python(answer)
    numbers = ([0, 1, 2, 3, 4], [7, 7, 7, 7, 7], [3, 1, 3, 1, 2], [-1, 4, 4, 4, 9])
    for case in cases(most=16, B=(1, 2, 3, 5), D=(1, 2, 4), scale=(0.3, 10.0, 5000.0), same=numbers):
        inputs = Inputs(case.seed)
        pictures, captions = (inputs.matrix(case.B, case.D, -3.0, 3.0) for _ in range(2))
        same = case.same[: case.B]
        given = [[list(row) for row in pictures], [list(row) for row in captions], case.scale, list(same)]
        with forbid(OWN, *READY_MADE, answer=answer):
            found = answer(*given)
        expect(
            given[:2] + given[3:],
            [pictures, captions, same],
            hint=f"{case}: what is given must stay as it is",
        )
        (found,) = as_floats([found], f"{case}: the loss", 1)
        scores = case.scale * _unit(pictures) @ _unit(captions).T
        alike = torch.tensor([[float(a == b) for b in same] for a in same], dtype=torch.float64)
        right = alike / alike.sum(1, keepdim=True)
        parts = [-(right * table.log_softmax(1)).sum(1).mean() for table in (scores, scores.T)]
        expect(found, float(sum(parts)) / 2, 1e-6, f"{case}: the loss")


def _encoder(width, seed):
    """Texts -> vectors of any length but 0, the same for the same text."""

    def encode(text):
        assert isinstance(text, str), f"encode takes a text, it got {text!r}"
        drawn = hashlib.sha256(f"{seed} {text}".encode()).digest()
        return [(drawn[i] - 127.5) * (1 + drawn[20]) / 100 for i in range(width)]

    return encode


@exercise("14-2-b", points=4)
def classify(answer):
    """Against torch in float64."""
    _plain_python(answer)
    words = ["cat", "고양이", "red circle", "dog"]
    wordings = ["a photo of a {}", "{}", "{} 사진", "not a {}, but a {}"]
    for case in cases(most=14, names=(1, 2, 4), templates=(1, 2, 4), D=(2, 5), scale=(0.5, 20.0, 5000.0)):
        inputs = Inputs(case.seed)
        encode = _encoder(case.D, case.seed)
        names, templates = inputs.shuffled(words)[: case.names], inputs.shuffled(wordings)[: case.templates]
        picture = [5 * x for x in inputs.floats(case.D)]
        given = list(picture), list(names), list(templates)
        with forbid(OWN, *READY_MADE, answer=answer):
            found = answer(encode, *given, case.scale)
        expect(list(given), [picture, names, templates], hint=f"{case}: what is given must stay as it is")
        found = as_floats(found, f"{case}: the probabilities", len(names))
        texts = [[encode(one.replace("{}", name)) for one in templates] for name in names]
        classes = F.normalize(_unit(texts).mean(1), dim=1, eps=0.0)  # (K, D)
        expected = (case.scale * classes @ _unit(picture)).softmax(0)
        expect(found, expected.tolist(), 1e-6, f"{case}: the probabilities")


@exercise("14-2-c", points=3)
def two_tables(answer):
    """Sizes, values, misses and losses of the two tables."""
    expect_parts(answer, "better_loss", "better_recall")
    tables = {}
    for name in ("better_loss", "better_recall"):
        rows = as_list(plain(answer[name], name), name)
        assert 3 <= len(rows) <= 8, f"{name} must have 3 to 8 rows, got {len(rows)}"
        tables[name] = [as_floats(row, f"row {i} of {name}", len(rows)) for i, row in enumerate(rows)]
        wild = [x for row in tables[name] for x in row if abs(x) > 1]
        assert not wild, f"cosines lie from -1 to 1, {name} has {wild[0]:g}"
    sizes = {name: len(rows) for name, rows in tables.items()}
    assert len(set(sizes.values())) == 1, f"both tables must have the same size, got {sizes}"
    for way, turned in (("row", False), ("column", True)):
        margins = {
            name: _margins(list(zip(*rows)) if turned else rows) for name, rows in tables.items()
        }  # own cosine minus the largest other
        close = [i for i, margin in enumerate(margins["better_recall"]) if margin < 0.001 - 1e-12]
        assert not close, f"better_recall: in {way}s {close} the own cosine is not the largest by 0.001"
        missed = sum(margin <= -0.001 + 1e-12 for margin in margins["better_loss"])
        wanted = math.ceil(sizes["better_loss"] / 4)
        assert missed >= wanted, (
            f"better_loss: in {missed} {way}s another is larger, it must be in at least {wanted}"
        )
    losses = {
        name: float(pair_loss(20 * torch.tensor(rows, dtype=torch.float64))) for name, rows in tables.items()
    }
    gap = losses["better_recall"] - losses["better_loss"]
    assert gap >= 0.2, f"the loss of better_loss must be lower by 0.2; the losses are {losses}"


def _margins(rows):
    return [row[i] - max(x for j, x in enumerate(row) if j != i) for i, row in enumerate(rows)]


@exercise("14-2-d", points=2)
def by_hand(answer):
    """Five numbers."""
    hints = (
        "1: each tower runs once for each of its own inputs",
        "2: every one of the 32 is equally probable",
        "3: two scores that differ by 10 times 0.1",
        "4: two right answers can have one half each at best; the other two pairs can reach 0; take the mean of four",
        "5: two scores that differ by 40 times 0.05",
    )
    expected = (20_300, math.log(32), math.log(1 + math.exp(-1)), math.log(2) / 2, 1 / (1 + math.exp(-2)))
    found = as_floats(answer, "the prediction", 5)
    for place, (number, right, hint) in enumerate(zip(found, expected, hints)):
        assert abs(number - right) <= (1e-3 if place else 1e-9), f"{hint}; got {number:g}"
