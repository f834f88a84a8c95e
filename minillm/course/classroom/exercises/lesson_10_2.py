"""Checkers of lesson 10_2, sentence encoders: bi, cross, pooling."""

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
    forbid,
    plain,
    shown,
)
from minillm.search.sentence_encoder import POOLINGS

OWN = "build it yourself, with nothing of minillm"
PARTS = (
    *(f"minillm.search.sentence_encoder.SentenceEncoder.{name}" for name in ("similarity", "encode")),
    *(f"{pool.__module__}.{pool.__name__}" for pool in POOLINGS.values()),
    "minillm.search.static_encoder.embed_batch",  # the mean of rows
    *(  # a loss tells the cosine
        f"minillm.search.losses.{name}"
        for name in (
            "cosine_similarity_loss",
            "contrastive_loss",
            "online_contrastive_loss",
            "triplet_loss",
            "mnr_loss",
        )
    ),
)
HINTS = {
    "cls": "cls is the vector of the first token, made 1 long",
    "mean": "is padding left out of the sum, and of the count?",
    "max": "is padding left out where all values of the text are negative?",
}


@exercise("10-2-a", points=3)
def cosines(answer):
    """Pool both sides, and compare each text of the one with each of the other."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(
        pooling=("cls", "mean", "max"), texts=((1, 1), (3, 2), (2, 5), (4, 1)), longest=((1, 4), (6, 3), (5, 8)),
        width=(2, 7), shift=(0.0, -4.0, 4.0), scale=(1.0, 1000.0),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        sides = [
            side(inputs, count, longest, case.width, case.shift, case.scale)
            for count, longest in zip(case.texts, case.longest)
        ]
        pooled = [F.normalize(POOLINGS[case.pooling](*one).double(), dim=1) for one in sides]
        expected = pooled[0] @ pooled[1].T  # (B, D)
        tensors = [*sides[0], *sides[1]]
        given = [one.clone() for one in tensors]
        with forbid(OWN, *PARTS, answer=answer):
            found = answer(*given, case.pooling)
        where = f"{case}, texts of {[both[1].sum(1).tolist() for both in sides]} tokens"
        rows = as_list(found, f"what cosines returns ({where})", case.texts[0])
        for row in rows:
            as_floats(row, f"a row of the cosines ({where})", case.texts[1])
        expect(rows, expected, 1e-4, f"{HINTS[case.pooling]} ({where})")
        for one, other in zip(tensors, given):
            expect(other, one, hint="the tensors that you are given must stay as they are")


def side(inputs, count, longest, width, shift, scale):
    """hidden (count, longest, width), mask (count, longest): texts of 1 to `longest` tokens, then padding."""
    lengths = torch.tensor([longest, *inputs.integers(count - 1, 1, longest)])
    mask = (torch.arange(longest) < lengths[:, None]).long()
    hidden = (inputs.tensor(count, longest, width) + shift).clamp(-10, 10)
    padding = inputs.tensor(count, longest, width, scale=40.0)
    return torch.where(mask[:, :, None] == 1, hidden, padding) * scale, mask


@exercise("10-2-b", points=2)
def cost(answer):
    """Tokens that go through the model, by three ways to search."""
    found = as_floats(answer, "prediction = (bi, cross, both)", 3)
    bi = 200 * (30 + 2) + 50 * (10 + 2)
    hints = (
        (bi, "each text is read once and each question once, each with its [CLS] and [SEP]"),
        (50 * 200 * (10 + 30 + 3), "every question is read with every text: [CLS] question [SEP] text [SEP]"),
        (
            bi + 50 * 10 * (10 + 30 + 3),
            "the bi-encoder reads what it reads, then ten pairs a question are read",
        ),
    )
    for place, (one, (expected, hint)) in enumerate(zip(found, hints), start=1):
        assert one == expected, f"number {place} is not {one:,.10g}: {hint}"


TOY = {"hot": (4, 0, 2), "cold": (0, 4, 2), "warm": (2, 2, 2), "tea": (1, 1, 4), "milk": (2, 1, 0)}


def toy_vector(words, pooling):
    """What a pooling makes of a text whose tokens have the vectors of TOY, whatever stands around them."""
    columns = list(zip(*(TOY[word] for word in words)))
    if pooling == "cls":
        return [float(column[0]) for column in columns]
    return [max(column) if pooling == "max" else sum(column) / len(words) for column in columns]


def toy_cosine(first, second):
    dot = sum(a * b for a, b in zip(first, second))
    return dot / math.sqrt(sum(a * a for a in first)) / math.sqrt(sum(b * b for b in second))


@exercise("10-2-c", points=3)
def alike(answer):
    """For each pooling two texts that it makes the same, and the other two poolings tell apart."""
    found = plain(answer, "alike")
    assert isinstance(found, dict), f"alike is a dict, got {shown(found)}"
    expect(sorted(map(str, found)), ["cls", "max", "mean"], hint="the keys of alike")
    for pooling, pair in found.items():
        pair = as_list(pair, f"alike[{pooling!r}]", 2)
        for text in pair:
            assert isinstance(text, str), f"alike[{pooling!r}] holds two texts, got {shown(text)}"
            unknown = [word for word in text.split() if word not in TOY]
            assert not unknown, (
                f"the words are {', '.join(TOY)}; got {shown(unknown[0])} in alike[{pooling!r}]"
            )
            assert 1 <= len(text.split()) <= 6, f"a text has one to six words, got {shown(text)}"
        for other in POOLINGS:
            vectors = [toy_vector(text.split(), other) for text in pair]
            said = f"{other} makes {shown(vectors[0])} of {pair[0]!r} and {shown(vectors[1])} of {pair[1]!r}"
            if other == pooling:
                gap = max(abs(a - b) for a, b in zip(*vectors))
                assert gap < 1e-9, f"alike[{pooling!r}]: the two vectors must be the same, but {said}"
            else:
                cosine = toy_cosine(*vectors)
                apart = f"alike[{pooling!r}]: {other} must tell the two apart (cosine below 0.98), but {said}"
                assert cosine < 0.98, f"{apart}: cosine {cosine:.3f}"
