"""Checkers of lesson 14_3, diffusion."""

import math
from itertools import pairwise

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

OWN = "build the sampler yourself"
READY_MADE = (
    "minillm.inference.diffusion.ddim_sample",
    "minillm.inference.diffusion.ddim_step",
    "minillm.inference.diffusion.ddpm_step",
    "minillm.inference.diffusion.step_back",
    "minillm.inference.diffusion.guided",
    "minillm.models.noise_schedule.NoiseSchedule.clean_and_noise",
)


@exercise("14-3-a", points=3)
def by_hand(answer):
    """Six numbers."""
    hints = (
        "1: the root of ā times the picture, and the root of 1 - ā times the noise",
        "2: the two roots change places, and the picture is taken away",
        "3: take the noise off x_t, then divide by the root of ā",
        "4: mix both at the new ā",
        "5: from the answer with the wish, w times the way from the other to it",
        "6: the product of what each step keeps, 1 - β",
    )
    expected = (-0.5, -1.0, 0.875, 1.1, 0.8, 0.36)
    for number, right, hint in zip(as_floats(answer, "the prediction", 6), expected, hints):
        expect(number, right, 2e-3, hint)


@exercise("14-3-b", points=5)
def sample(answer):
    """DDIM as a turn of (x_0, e) by an angle, beside the answer's."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}: your answer uses {copied}"
    paths = ([4], [7, 2], [9, 5, 4, 0], [8, 6, 3, 1, 0])
    for case in cases(
        most=12, path=paths, shape=((1,), (2, 3), (1, 2, 2, 2)), wish=(0, 3), w=(0.0, 0.7, 4.0)
    ):
        inputs = Inputs(case.seed)
        left = sorted(inputs.floats(10, 0.02, 0.98), reverse=True)
        x = inputs.tensor(*case.shape).double()
        slope, shift = inputs.floats(2, 0.2, 0.9)

        def network(x, t, wish, slope=slope, shift=shift, shape=tuple(case.shape)):
            assert tuple(x.shape) == shape, f"network must get x of shape {shape}, it got {tuple(x.shape)}"
            said = -1.0 if wish is None else float(wish)
            return torch.sin(slope * x + shift * said) + 0.1 * t

        before, given, route = x.clone(), list(left), list(case.path)
        expected = _turned(network, left, case.path, x.clone(), case.wish, case.w)
        with forbid(OWN, *READY_MADE, answer=answer):
            found = answer(network, given, route, x, case.wish, case.w)
        assert torch.equal(x, before), f"{case}: x must stay as it is"
        assert (given, route) == (left, list(case.path)), f"{case}: alpha_bar and path must stay as they are"
        # wide enough for an answer that works in float32
        expect(found, expected.tolist(), 1e-4 * (1 + float(expected.abs().max())), f"{case}: the picture")


def _turned(network, left, path, x, wish, w):
    """v is (x_0, e) turned by a quarter: x at the angle of s is x cos d - v sin d, d the angle between the levels."""
    angles = [math.acos(math.sqrt(left[t])) for t in path] + [0.0]
    for t, angle, aim in zip(path, angles, angles[1:]):
        v = (1 + w) * network(x, t, wish) - w * network(x, t, None)
        x = x * math.cos(angle - aim) - v * math.sin(angle - aim)
    return x


@exercise("14-3-c", points=4)
def leak(answer):
    """Ratios, a schedule that looks noisy and is not, and the reason."""
    expect_parts(answer, "snr", "leaky", "why")
    function = answer["snr"]
    assert callable(function), f"snr must be a function, got {shown(function)}"
    copied = copied_library(function)
    assert not copied, f"work it out yourself: your answer uses {copied}"
    for case in cases(most=12, T=(1, 2, 7, 30), top=(0.01, 0.3, 0.9)):
        betas = Inputs(case.seed).floats(case.T, 0.001, case.top)
        given, expected = list(betas), _ratios(betas)
        found = as_list(function(given), f"{case}: the ratios", case.T)
        assert given == betas, f"{case}: betas must stay as it is"
        for t, (one, right) in enumerate(zip(found, expected)):
            expect(one, right, 1e-3 * right + 1e-9, f"{case}: the ratio of step {t}")  # float32 passes
    leaky = as_floats(answer["leaky"], "leaky", 10)
    assert all(0.001 <= beta <= 0.5 for beta in leaky), (
        f"each β must be from 0.001 to 0.5, got {shown(leaky)}"
    )
    assert all(a <= b for a, b in pairwise(leaky)), (
        f"no β may be smaller than the one before, got {shown(leaky)}"
    )
    assert sum(leaky) >= 1 - 1e-9, f"the sum of leaky must be at least 1, it is {sum(leaky):.3f}"
    last = _ratios(leaky)[-1]
    assert last >= 0.3, f"the last ratio of leaky must be at least 0.3, it is {last:.3f}"
    expect(plain(answer["why"], "why"), "b", hint="compare what the last step saw with where sampling starts")


def _ratios(betas):
    """By logarithms."""
    sums = [math.fsum(math.log1p(-beta) for beta in betas[: t + 1]) for t in range(len(betas))]
    return [math.exp(one) / -math.expm1(one) for one in sums]


@exercise("14-3-d", points=4)
def between(answer):
    """Mean and variance by Bayes: precisions add up."""
    copied = copied_library(answer)
    assert not copied, f"work it out yourself: your answer uses {copied}"
    for case in cases(most=20, a_s=(0.999999, 0.9, 0.5, 0.05), share=(0.99, 0.5, 0.01)):
        x_t, x0 = Inputs(case.seed).floats(2, -2, 2)
        a_t = case.a_s * case.share
        sharp0 = 1 / (1 - case.a_s)  # what x0 says: mean √a_s x0, variance 1 - a_s
        sharp_t = case.share / (1 - case.share)  # what x_t says: mean x_t / √share
        variance = 1 / (sharp0 + sharp_t)
        mean = variance * (sharp0 * math.sqrt(case.a_s) * x0 + sharp_t * x_t / math.sqrt(case.share))
        with forbid("work it out yourself", *READY_MADE, answer=answer):
            given = answer(a_t, case.a_s, x_t, x0)
        found = as_floats(given, f"{case}: mean and variance", 2)
        expect(found[0], mean, 1e-6, f"{case}: the mean")
        expect(found[1], variance, 2e-6 * variance, f"{case}: the variance")
