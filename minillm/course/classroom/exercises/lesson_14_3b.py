"""Checkers of lesson 14_3b, DALL-E 2."""

import math

import torch

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

OWN = "build it yourself"
HERE = "minillm.course.classroom.exercises.lesson_14_3b"
READY_MADE = (
    "minillm.inference.diffusion.ddim_sample",
    "minillm.inference.diffusion.ddim_step",
    "minillm.inference.diffusion.step_back",
    "minillm.inference.diffusion.guided",
    "minillm.inference.diffusion.mix_noise",
    "minillm.inference.unclip.draw_embeddings",
    "minillm.inference.unclip.blend_embeddings",
    "minillm.inference.unclip.edit_embeddings",
    "minillm.models.noise_schedule.NoiseSchedule.clean_and_noise",
)


@exercise("14-3b-a", points=3)
def by_hand(answer):
    """Six numbers."""
    hints = (
        "1: one token for each place of the grid",
        "2: the text's tokens stand before the picture's",
        "3: each loss times its weight, added up",
        "4: the dot product of the mean's direction with the vectors is, on average, the mean's length",
        "5: the dot product of two independent draws is, on average, the mean's with itself",
        "6: slerp goes a share of the angle",
    )
    expected = (1024, 1280, 4.25, 0.9, 0.81, 15)
    for number, right, hint in zip(as_floats(answer, "the prediction", 6), expected, hints):
        expect(number, right, 2e-3 / max(1, abs(right)), hint)


@exercise("14-3b-b", points=5)
def draw(answer):
    """The chain in angles, beside the answer's; of all noises the nearest to the text."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}: your answer uses {copied}"
    paths = ([4], [7, 2], [9, 5, 4, 0], [8, 6, 3, 1])
    for case in cases(most=16, path=paths, noises=(1, 2, 4), D=(2, 7), w=(0.0, 0.5, 3.0)):
        inputs = Inputs(case.seed)
        left = sorted(inputs.floats(10, 0.02, 0.98), reverse=True)
        noises = [inputs.tensor(case.D).double() for _ in range(case.noises)]
        text = torch.nn.functional.normalize(inputs.tensor(case.D).double(), dim=0)
        slope = inputs.tensor(case.D, case.D).double()

        def network(x, t, told, slope=slope, D=case.D):
            assert isinstance(x, torch.Tensor), f"network must get a tensor, it got {shown(x)}"
            assert tuple(x.shape) == (D,), f"network must get one x of shape {(D,)}, it got {tuple(x.shape)}"
            said = -0.3 if told is None else 2.0 * told
            return torch.sin(slope @ x) + 0.1 * t + said

        kept = [one.clone() for one in (*noises, text)]
        given, route, first = list(left), list(case.path), list(noises)
        found_all = [_chain(network, left, case.path, x, text, case.w) for x in noises]
        expected = max(found_all, key=lambda z: float(z @ text))
        with forbid(OWN, *READY_MADE, f"{HERE}._chain", answer=answer):
            found = answer(network, given, route, first, text, case.w)
        same = len(first) == len(noises) and all(map(torch.equal, kept, (*first, text)))
        assert same, f"{case}: noises and text must stay as they are"
        assert (given, route) == (left, list(case.path)), f"{case}: alpha_bar and path must stay as they are"
        expect(found, expected.tolist(), 1e-6, f"{case}: the embedding")


def _chain(network, left, path, x, text, w):
    """x = cos(a) x_0 + sin(a) e: from angle to angle, then length 1."""
    angles = [math.acos(math.sqrt(left[t])) for t in path] + [0.0]
    for t, angle, aim in zip(path, angles, angles[1:]):
        x0 = (1 + w) * network(x, t, text) - w * network(x, t, None)
        x = (math.cos(aim) - math.sin(aim) / math.tan(angle)) * x0 + math.sin(aim) / math.sin(angle) * x
    return x / torch.linalg.vector_norm(x)


@exercise("14-3b-c", points=4)
def edit(answer):
    """The point at an angle, found by an orthonormal pair of axes."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}: your answer uses {copied}"
    for case in cases(most=16, D=(2, 3, 16), share=(0.0, 0.3, 0.5, 1.0), long=(1.0, 4.0)):
        inputs = Inputs(case.seed)
        image, new, old = (inputs.tensor(case.D).double() for _ in range(3))
        image, new, old = case.long * image, new, old / case.long
        kept = [one.clone() for one in (image, new, old)]
        start = image / image.square().sum().sqrt()
        way = new / new.square().sum().sqrt() - old / old.square().sum().sqrt()
        across = way - (way @ start) * start
        angle = case.share * math.atan2(float(across.square().sum().sqrt()), float(way @ start))
        expected = math.cos(angle) * start + math.sin(angle) * across / across.square().sum().sqrt()
        with forbid(OWN, *READY_MADE, answer=answer):
            found = answer(image, new, old, case.share)
        assert all(map(torch.equal, kept, (image, new, old))), f"{case}: the vectors must stay as they are"
        expect(found, expected.tolist(), 1e-6, f"{case}: the turned embedding")


@exercise("14-3b-d", points=4)
def crowd(answer):
    """Two cosines by all couples, a crowd whose mean is near none of it, and the reason."""
    expect_parts(answer, "scores", "crowd", "why")
    function = answer["scores"]
    assert callable(function), f"scores must be a function, got {shown(function)}"
    copied = copied_library(function)
    assert not copied, f"work it out yourself: your answer uses {copied}"
    for case in cases(most=12, N=(1, 2, 5, 30), D=(2, 3, 9), spread=(0.1, 1.0)):
        inputs = Inputs(case.seed)
        rows = [inputs.tensor(case.D).double() * case.spread for _ in range(case.N)]
        rows = [(row + torch.eye(case.D, dtype=torch.float64)[0]) for row in rows]
        vectors = [(row / row.square().sum().sqrt()).tolist() for row in rows]
        given = [list(row) for row in vectors]
        with forbid("work it out yourself", f"{HERE}._scores", answer=function):
            said = function(given)
        found = as_floats(said, f"{case}: the scores", 2)
        assert given == vectors, f"{case}: the vectors must stay as they are"
        mean, pair = _scores(vectors)
        expect(found[0], mean, 1e-6, f"{case}: the mean's direction against a vector")
        expect(found[1], pair, 1e-6, f"{case}: one draw against another")
    rows = as_list(answer["crowd"], "crowd")
    assert 4 <= len(rows) <= 20, f"crowd must have 4 to 20 vectors, got {len(rows)}"
    width = len(as_list(rows[0], "the first vector"))
    assert 2 <= width <= 20, f"a vector must have 2 to 20 numbers, got {width}"
    vectors = [as_floats(row, f"vector {i}", width) for i, row in enumerate(rows)]
    for i, row in enumerate(vectors):
        length = math.sqrt(math.fsum(x * x for x in row))
        assert abs(length - 1) < 1e-4, f"vector {i} must have length 1, it has {length:.4f}"
        for j, other in enumerate(vectors[:i]):
            dot = math.fsum(a * b for a, b in zip(row, other))
            assert dot > -1e-4, f"vectors {j} and {i} are more than 90 degrees apart: cosine {dot:.3f}"
    mean = _scores(vectors)[0]
    assert mean <= 0.35, (
        f"the mean's direction must have a cosine of at most 0.35 on average, it has {mean:.3f}"
    )
    expect(plain(answer["why"], "why"), "b", hint="how near is the mean to the nearest of the crowd?")


def _scores(vectors):
    """Over all couples, each vector with itself, too: their mean cosine is the square of the mean's length."""
    n = len(vectors)
    pair = math.fsum(math.fsum(a * b for a, b in zip(u, v)) for u in vectors for v in vectors) / n / n
    return math.sqrt(pair), pair
