"""Checkers of lesson 12_5, multimodal search."""

import itertools
import math

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
    shown,
)

OWN = "build it yourself"
VALUES = (("red", "blue", "green"), ("star", "ring"), ("small", "large", "tiny", "huge"))
EXTRA = ((), ("alone", "lonely"), ("twin", "twin"))  # what is left of them without their kind's mean is 0
KINDS = (("picture",), ("picture", "prompt"), ("a", "b", "c"))


# --- a picture described by sums ---


@exercise("12-5-a", points=4)
def describe(answer):
    """The most probable value of each place, by sums of a softmax."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(
        most=40, K=(1, 2, 5, 24), D=(1, 3, 8), places=(1, 2, 3), scale=(0.5, 3.0, 40.0, 2000.0)
    ):
        u, vectors, labels, expected = _sentences(case)
        given = u.copy(), vectors.copy(), list(labels)
        where = f"{case}: u {shown(u)}, vectors {shown(vectors)}, labels {shown(labels)}"
        found = as_list(answer(*given, case.scale), f"what describe returns ({where})", case.places)
        for place, (one, (value, probability)) in enumerate(zip(found, expected)):
            pair = as_list(one, f"place {place} ({where})", 2)
            expect(pair[0], value, hint=f"the value of place {place} ({where})")
            expect(pair[1], probability, 1e-6, f"the probability of {value!r} ({where})")
        for name, mine, theirs in zip(("u", "vectors", "labels"), given, (u, vectors, labels)):
            expect(mine, theirs, hint=f"{name} must stay as it is")


def _sentences(case):
    """Inputs in which no place has two values that are nearly as probable; and what describe returns."""
    for again in range(100):
        inputs = Inputs(1000 * case.seed + again)
        vectors = np.array(inputs.matrix(case.K, case.D))
        u = np.array(inputs.floats(case.D))
        labels = [
            tuple(values[inputs.integer(0, len(values) - 1)] for values in VALUES[: case.places])
            for _ in range(case.K)
        ]
        scores = [case.scale * math.fsum(a * b for a, b in zip(row, u)) for row in vectors.tolist()]
        weights = [math.exp(one - max(scores)) for one in scores]
        expected, clear = [], True
        for place in range(case.places):
            total = {}
            for label, weight in zip(labels, weights):
                total[label[place]] = total.get(label[place], 0.0) + weight / math.fsum(weights)
            ranked = sorted(total.items(), key=lambda item: -item[1])
            clear &= len(ranked) == 1 or ranked[0][1] - ranked[1][1] > 1e-3
            expected.append(ranked[0])
        if clear:
            return u, vectors, labels, expected
    raise ValueError(f"no clear case found for {case}")


# --- one list for two kinds ---


@exercise("12-5-b", points=4)
def one_list(answer):
    """Cosines after each kind's mean is taken away."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(most=40, N=(1, 2, 6, 15), D=(2, 5), names=KINDS, k=(1, 3, 40), extra=EXTRA):
        query, kind, vectors, kinds, expected = _mixture(case)
        given = query.copy(), kind, vectors.copy(), list(kinds)
        where = f"{case}: query {shown(query)}, a {kind}; vectors {shown(vectors)}, {shown(kinds)}"
        right = expected[: case.k]
        found = as_list(answer(*given, case.k), f"what one_list returns ({where})", len(right))
        pairs = [as_list(one, f"a pair ({where})", 2) for one in found]
        expect([one[0] for one in pairs], [place for place, _ in right], hint=f"the places ({where})")
        for (place, cosine), (_, mine) in zip(right, pairs):
            expect(mine, cosine, 1e-6, f"the cosine of vector {place} ({where})")
        for name, mine, theirs in zip(
            ("query", "kind", "vectors", "kinds"), given, (query, kind, vectors, kinds)
        ):
            expect(mine, theirs, hint=f"{name} must stay as it is")


def _mixture(case):
    """Vectors of kinds that lie apart; no two cosines nearly equal but those of exactly 0. And the whole ranking."""
    for again in range(100):
        inputs = Inputs(1000 * case.seed + again)
        kinds = [case.names[inputs.integer(0, len(case.names) - 1)] for _ in range(case.N)]
        kinds += case.extra
        centre = {name: inputs.floats(case.D, -3, 3) for name in (*case.names, *case.extra)}
        rows = [[c + x for c, x in zip(centre[name], inputs.floats(case.D))] for name in kinds]
        if "twin" in kinds:
            rows[-1] = list(rows[-2])
        kind = kinds[inputs.integer(0, len(kinds) - 1)]
        query = [c + x for c, x in zip(centre[kind], inputs.floats(case.D))]
        mean = {
            name: [
                math.fsum(column) / kinds.count(name)
                for column in zip(*(r for r, n in zip(rows, kinds) if n == name))
            ]
            for name in set(kinds)
        }
        asked = [a - b for a, b in zip(query, mean[kind])]
        cosines = []
        for row, name in zip(rows, kinds):
            rest = [a - b for a, b in zip(row, mean[name])]
            cosines.append(_cosine(asked, rest) if math.hypot(*rest) > 1e-9 else 0.0)
        ranked = sorted(enumerate(cosines), key=lambda item: (-item[1], item[0]))
        gaps = [a - b for (_, a), (_, b) in itertools.pairwise(ranked) if (a, b) != (0.0, 0.0)]
        if min(gaps, default=1.0) > 1e-4:
            return np.array(query), kind, np.array(rows), kinds, ranked
    raise ValueError(f"no clear case found for {case}")


def _cosine(a, b):
    return math.fsum(x * y for x, y in zip(a, b)) / (math.hypot(*a) * math.hypot(*b))


# --- where was it lost? ---


@exercise("12-5-c", points=3)
def lost(answer):
    """Four counts an attribute."""
    for case in cases(most=30, N=(1, 2, 7, 40), A=(1, 2, 4), values=(2, 3)):
        inputs = Inputs(case.seed)
        tables = [[inputs.integers(case.A, 0, case.values - 1) for _ in range(case.N)] for _ in range(3)]
        given = [[list(row) for row in table] for table in tables]
        expected = [[0, 0, 0, 0] for _ in range(case.A)]
        for true, said, drawn in zip(*tables):
            for a in range(case.A):
                place = {(1, 1): 0, (0, 0): 1, (1, 0): 2, (0, 1): 3}[
                    int(true[a] == said[a]), int(true[a] == drawn[a])
                ]
                expected[a][place] += 1
        where = f"truth {shown(tables[0])}, said {shown(tables[1])}, drawn {shown(tables[2])}"
        found = as_list(answer(*given), f"what lost returns ({where})", case.A)
        for a, (one, right) in enumerate(zip(found, expected)):
            counts = as_floats(one, f"attribute {a} ({where})", 4)
            expect(
                counts, right, hint=f"kept, lost in words, lost in drawing, luck of attribute {a} ({where})"
            )
        expect(given, tables, hint="the lists must stay as they are")


# --- a hub ---


@exercise("12-5-d", points=4)
def hub(answer):
    """A prompt that comes first for every picture, until the means are taken away."""
    expect_parts(answer, "pictures", "captions", "hub")
    pictures = [as_floats(one, "a picture") for one in as_list(answer["pictures"], "pictures")]
    captions = [as_floats(one, "a caption") for one in as_list(answer["captions"], "captions")]
    centre = as_floats(answer["hub"], "hub")
    assert 4 <= len(pictures) <= 8, f"there must be 4 to 8 pictures, got {len(pictures)}"
    assert len(captions) == len(pictures), (
        f"there must be one caption for each picture, got {len(captions)} for {len(pictures)}"
    )
    widths = {len(one) for one in (*pictures, *captions, centre)}
    assert len(widths) == 1, f"all vectors must have one dimension, got {sorted(widths)}"
    assert 1 <= widths.pop() <= 20, f"the dimension must be 1 to 20, got {len(centre)}"
    for name, rows in (("picture", pictures), ("caption", captions), ("the hub", [centre])):
        for i, row in enumerate(rows):
            length = math.hypot(*row)
            assert abs(length - 1) <= 1e-6, f"{name} {i} must have length 1, it has {length:.7f}"
    p, c, h = np.array(pictures), np.array(captions), np.array(centre)
    for i in range(len(p)):
        for j in range(i):
            cosine = float(p[i] @ p[j])
            assert cosine <= 0.6 + 1e-9, (
                f"pictures {j} and {i} have a cosine of {cosine:.3f}, at most 0.6 is allowed"
            )
    table = p @ c.T
    for i in range(len(p)):
        own, first = float(table[i, i]), float(p[i] @ h)
        assert own >= 0.6 - 1e-9, (
            f"picture {i} and its caption have a cosine of {own:.3f}, it must be 0.6 at least"
        )
        other = max(float(table[i, j]) for j in range(len(p)) if j != i)
        assert own > other, f"caption {i} must be nearest to picture {i}: {own:.3f}, another one {other:.3f}"
        assert first >= own + 0.02 - 1e-9, (
            f"the hub must beat caption {i} by 0.02: {first:.3f} against {own:.3f}"
        )
    texts = np.concatenate([c, h[None]])
    left, right = p - p.mean(0), texts - texts.mean(0)
    cured = _units(left) @ _units(right).T  # (N, N + 1)
    for i in range(len(p)):
        own, other = float(cured[i, i]), max(float(x) for j, x in enumerate(cured[i]) if j != i)
        assert own >= other + 0.02 - 1e-9, (
            f"after the cure caption {i} must come first by 0.02: {own:.3f}, the next one has {other:.3f}"
        )


def _units(rows):
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > 1e-9, rows / np.maximum(lengths, 1e-9), 0.0)
