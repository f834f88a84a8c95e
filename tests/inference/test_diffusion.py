"""Schedules and samplers against closed forms: a world so simple that the perfect network is known."""

import math

import pytest
import torch

from minillm.inference import NoiseSchedule, ddim_sample, ddim_step, ddpm_sample, ddpm_step, guided, mix_noise

SPREAD = 0.5  # pictures are N(0, SPREAD²), so the best guess of x_0 is known


def perfect(schedule):
    """E[x_0 | x_t] for that world, in the words of the schedule: the posterior mean of two Gaussians."""

    def model(x, t, condition=None, drop=None):
        left = schedule.alpha_bar[t]
        x0 = left.sqrt() * SPREAD**2 / (left * SPREAD**2 + 1 - left) * x
        noise = (x - left.sqrt() * x0) / (1 - left).sqrt()
        return {"eps": noise, "x0": x0, "v": left.sqrt() * noise - (1 - left).sqrt() * x0}[
            schedule.prediction
        ]

    return model


@pytest.mark.parametrize("kind", ["linear", "scaled_linear", "cosine"])
def test_many_small_steps_are_one_large_one(kind):
    schedule = NoiseSchedule(kind, steps=200)
    keep, variance = 1.0, 0.0
    for t, beta in enumerate(schedule.betas.double().tolist()):
        keep, variance = keep * math.sqrt(1 - beta), (1 - beta) * variance + beta
        assert math.isclose(keep**2, float(schedule.alpha_bar[t]), rel_tol=1e-4, abs_tol=1e-6)
        assert math.isclose(variance, 1 - float(schedule.alpha_bar[t]), rel_tol=1e-4, abs_tol=1e-6)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_what_the_network_says_gives_picture_and_noise_back(prediction):
    schedule = NoiseSchedule("cosine", steps=100, prediction=prediction)
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 6, 3, 4, 4, generator=generator).unbind(0)
    t = torch.tensor([0, 1, 20, 50, 80, 90])
    xt = schedule.add_noise(x0, noise, t)
    got = schedule.clean_and_noise(xt, schedule.target(x0, noise, t), t)
    torch.testing.assert_close(got[0], x0, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(got[1], noise, atol=1e-3, rtol=1e-3)


def test_the_steps_of_the_three_spacings():
    schedule = NoiseSchedule(steps=1000)
    assert schedule.timesteps(4) == [999, 749, 499, 249]
    assert schedule.timesteps(4, "leading") == [750, 500, 250, 0]
    assert schedule.timesteps(4, "linspace") == [999, 666, 333, 0]
    for spacing in ("trailing", "leading", "linspace"):
        assert schedule.timesteps(1000, spacing) == list(range(999, -1, -1))


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize(("steps", "eta"), [(100, 0.0), (100, 1.0), (100, None)])
def test_samples_have_the_spread_of_the_world(prediction, steps, eta):
    schedule = NoiseSchedule("cosine", steps=100, prediction=prediction)
    shape = (2000, 1, 2, 2)
    if eta is None:
        x = ddpm_sample(perfect(schedule), schedule, shape, steps, seed=3, clip=False)
    else:
        x = ddim_sample(perfect(schedule), schedule, shape, steps, seed=3, eta=eta, clip=False)
    assert abs(float(x.mean())) < 0.03
    assert abs(float(x.std()) / SPREAD - 1) < 0.06


def test_ddim_with_all_its_noise_is_ddpm():
    schedule = NoiseSchedule("linear", steps=50)
    generator = torch.Generator().manual_seed(0)
    x, said, z = torch.randn(3, 2, 3, 4, 4, generator=generator).unbind(0)
    for t, s in ((49, 48), (40, 30), (5, 0), (3, None)):
        ours = ddim_step(schedule, x, said, t, s, 1.0, z, clip=False)
        torch.testing.assert_close(
            ours, ddpm_step(schedule, x, said, t, s, z, clip=False), atol=2e-5, rtol=1e-4
        )


def test_guidance_is_a_line_through_both_answers():
    def model(x, t, condition=None, drop=None):
        wish = torch.zeros(len(x), 1) if condition is None else condition.float()
        return x + (wish if drop is None else torch.where(drop[:, None], 0, wish))[:, :, None, None]

    x, wish = torch.randn(2, 1, 2, 2), torch.tensor([[1], [3]])
    for w in (0.0, 1.0, 2.5):
        torch.testing.assert_close(guided(model, x, 1, wish, w), x + (1 + w) * wish[:, :, None, None])
    torch.testing.assert_close(guided(model, x, 1, None, 0.0), x)


def test_one_noise_one_picture_and_the_seed_says_which():
    schedule = NoiseSchedule(steps=50)
    model, shape = perfect(schedule), (2, 1, 4, 4)
    seen = []
    a = ddim_sample(model, schedule, shape, 10, seed=1, watch=lambda t, x: seen.append((t, x)))
    assert torch.equal(a, ddim_sample(model, schedule, shape, 10, seed=1))
    assert not torch.equal(a, ddim_sample(model, schedule, shape, 10, seed=2))
    assert [t for t, _ in seen] == schedule.timesteps(10)
    assert torch.equal(seen[-1][1], a)
    noise = torch.randn(shape)
    assert torch.equal(
        ddim_sample(model, schedule, shape, 10, seed=1, noise=noise),
        ddim_sample(model, schedule, shape, 10, seed=2, noise=noise),
    )


def test_clipped_pictures_stay_inside():
    schedule = NoiseSchedule(steps=50, prediction="x0")
    for sampler in (ddim_sample, ddpm_sample):
        assert float(sampler(lambda x, t: 9 * torch.ones_like(x), schedule, (2, 1, 4, 4), 5).max()) == 1.0


def test_a_walk_between_noises_keeps_their_length():
    a, b = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)).unbind(0)
    for share in (0.0, 0.3, 0.5, 1.0):
        assert abs(float(mix_noise(a, b, share).std()) - 1) < 0.05
    torch.testing.assert_close(mix_noise(a, b, 0.0), a)
    torch.testing.assert_close(mix_noise(a, b, 1.0), b)
    torch.testing.assert_close(mix_noise(a, a, 0.4), a)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"kind": "square"}, "kind"),
        ({"steps": 1}, "steps"),
        ({"prediction": "score"}, "prediction"),
        ({"start": 0.5, "end": 0.1}, "end"),
        ({"start": 0.0}, "start"),
        ({"kind": "linear", "start": 1e-9}, "start"),
        ({"kind": "linear", "steps": 100_000}, "nothing is left"),
    ],
)
def test_bad_schedules_are_named(options, names):
    with pytest.raises(ValueError, match=names):
        NoiseSchedule(**options)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"shape": (2, 3, 4)}, "shape"),
        ({"shape": (0, 3, 4, 4)}, "shape"),
        ({"steps": 51}, "count"),
        ({"steps": 0}, "count"),
        ({"guidance": -1.0}, "guidance"),
        ({"guidance": 1.0}, "guidance needs a condition"),
        ({"condition": torch.zeros(3, 1)}, "condition must have 2 rows"),
        ({"seed": -1}, "seed"),
        ({"eta": 1.5}, "eta"),
        ({"noise": torch.zeros(1, 1, 4, 4)}, "noise"),
        ({"spacing": "even"}, "spacing"),
        ({"schedule": None}, "schedule"),
    ],
)
def test_bad_requests_are_named_before_the_network_runs(options, names):
    def never(*_):
        raise AssertionError("the network ran")

    with pytest.raises(ValueError, match=names):
        ddim_sample(
            never, **{"schedule": NoiseSchedule(steps=50), "shape": (2, 1, 4, 4), "steps": 5} | options
        )


def test_bad_steps_and_noises_are_named():
    schedule = NoiseSchedule(steps=50)
    x = torch.zeros(2, 1, 4, 4)
    for t in (50, -1, 1.0, torch.tensor([1, 2, 3])):
        with pytest.raises(ValueError, match="t must"):
            schedule.add_noise(x, x, t)
    with pytest.raises(ValueError, match="noise"):
        schedule.add_noise(x, x[:1], 1)
    with pytest.raises(ValueError, match="said"):
        schedule.clean_and_noise(x, x[:1], 1)
    for a, b, said in (
        (x + 1, x[:1] + 1, "shape"),
        (x, x + 1, "length above 0"),
        (x + 1, -x - 1, "opposite"),
        (x + float("nan"), x + 1, "finite"),
        (x + 1, [1.0], "floats"),
        (x.long() + 1, x + 1, "floats"),
    ):
        with pytest.raises(ValueError, match=said):
            mix_noise(a, b, 0.5)
    for t, s in ((5, 5), (5, 9), (0, -1)):
        for step in (ddim_step, lambda *given: ddpm_step(*given, x)):
            with pytest.raises(ValueError, match="s must be"):
                step(schedule, x, x, t, s)
    with pytest.raises(ValueError, match="z must be given"):
        ddim_step(schedule, x, x, 5, 4, 1.0)
    with pytest.raises(ValueError, match="eta"):
        ddim_step(schedule, x, x, 5, 4, 2.0, x)
