"""Embeddings drawn, blended and turned: against worlds of Gaussians whose best network is known, and plain geometry."""

import math

import numpy as np
import pytest
import torch

from minillm.inference import (
    blend_embeddings,
    draw_embeddings,
    edit_embeddings,
    prior_schedule,
    regress_embeddings,
)

D = 256


def perfect(spread, turn=1):
    """The best network of a world in which x_0 is the wish (rolled by `turn`), plus noise of deviation `spread`."""
    schedule = prior_schedule()

    def model(x, t, condition=None, drop=None):
        middle = torch.zeros_like(x) if condition is None else condition.roll(turn, 1)
        if drop is not None:
            middle = torch.where(drop[:, None], 0, middle)
        signal, sigma = schedule.at(t, x)
        # E[x_0 | x_t] of a Gaussian seen through Gaussian noise
        return middle + signal * spread**2 / (signal**2 * spread**2 + sigma**2) * (x - signal * middle)

    return model


def texts(n=200, seed=0):
    return torch.nn.functional.normalize(torch.randn(n, D, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("spread", [0.05, 0.5, 1.0])
def test_draws_have_the_spread_of_the_world(spread):
    text = texts()
    drawn = draw_embeddings(perfect(spread), text, steps=250, seed=3, candidates=1)
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(len(text)))
    # the wish is sqrt(D) long, the noise spread * sqrt(D), and they stand at right angles
    expected = 1 / math.sqrt(1 + spread**2)
    assert abs(float(torch.cosine_similarity(drawn, text.roll(1, 1)).mean()) - expected) < 0.012
    again = draw_embeddings(perfect(spread), text, steps=250, seed=4, candidates=1)
    # two draws share the wish alone: cosine 1 / (1 + spread²)
    assert abs(float(torch.cosine_similarity(drawn, again).mean()) - expected**2) < 0.012


def test_regression_is_the_middle_of_what_is_drawn():
    text = texts(20)
    mean = regress_embeddings(perfect(0.7), text)
    torch.testing.assert_close(mean, text.roll(1, 1), atol=1e-3, rtol=0)
    drawn = [draw_embeddings(perfect(0.7), text, steps=20, seed=s, candidates=1) for s in range(60)]
    middle = torch.nn.functional.normalize(torch.stack(drawn).mean(0), dim=1)
    assert float(torch.cosine_similarity(middle, mean).min()) > 0.99


def test_of_several_draws_the_nearest_to_the_text_is_kept():
    text, network = texts(800), perfect(1.0, turn=0)
    fit = [
        torch.cosine_similarity(draw_embeddings(network, text, 20, seed=5, candidates=k), text)
        for k in (1, 2, 8)
    ]
    assert bool((fit[1] >= fit[0] - 1e-6).all())
    # the largest of 2 and of 8 normal numbers lies .564 and 1.424 deviations above the mean
    for k, above in ((1, 0.564), (2, 1.424)):
        assert abs(float((fit[k] - fit[0]).mean() / fit[0].std()) - above) < 0.15
    assert torch.equal(
        draw_embeddings(network, text, 5, seed=1), draw_embeddings(network, text, 5, seed=1)
    )  # one seed, one answer


def test_guidance_goes_away_from_no_text():
    text = texts(10)
    drawn = {w: draw_embeddings(perfect(0.5), text, 20, w, seed=1, candidates=1) for w in (0.0, 3.0)}
    cosine = {w: float(torch.cosine_similarity(z, text.roll(1, 1)).mean()) for w, z in drawn.items()}
    assert (
        cosine[3.0] > cosine[0.0] + 0.03
    )  # without a text the network says 0: guidance makes the wish longer


def test_a_blend_is_an_angle():
    a, b = (texts(12, seed).numpy().astype(np.float64) for seed in (1, 2))
    whole = np.arccos((a * b).sum(1))
    side = b - (a * b).sum(1)[:, None] * a
    side /= np.linalg.norm(side, axis=1)[:, None]
    for share in (0.0, 0.3, 0.5, 1.0):
        angle = share * whole[:, None]
        expected = np.cos(angle) * a + np.sin(angle) * side  # a turned towards b
        found = blend_embeddings(5 * torch.from_numpy(a), torch.from_numpy(b) / 3, share)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_an_edit_turns_towards_what_is_new():
    image, new, old = (texts(9, seed) for seed in (3, 4, 5))
    way = new - old
    torch.testing.assert_close(edit_embeddings(3 * image, new, old, 0.0), image)
    whole = torch.arccos(torch.cosine_similarity(image, way))
    for share in (0.2, 0.7, 1.0):
        turned = edit_embeddings(image, 2 * new, old, share)
        left = torch.arccos(torch.cosine_similarity(turned, way).clamp(-1, 1))
        torch.testing.assert_close(left, (1 - share) * whole, atol=2e-3, rtol=0)
    one = edit_embeddings(image, new[:1], old[:1], 0.4)
    torch.testing.assert_close(one[3:4], edit_embeddings(image[3:4], new[:1], old[:1], 0.4))


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda z: draw_embeddings(perfect(1), z[0]), "text must be floats"),
        (lambda z: draw_embeddings(perfect(1), z, candidates=0), "candidates"),
        (lambda z: draw_embeddings(perfect(1), z, steps=0), "count"),
        (lambda z: draw_embeddings(perfect(1), z, guidance=-1.0), "guidance"),
        (lambda z: draw_embeddings(perfect(1), z, seed=-1), "seed"),
        (lambda z: regress_embeddings(perfect(1), z.long()), "text must be floats"),
        (lambda z: blend_embeddings(z, z[:2], 0.5), "equally many rows"),
        (lambda z: blend_embeddings(z, z[:, :5], 0.5), "b must be floats"),
        (lambda z: blend_embeddings(z, z, 1.5), "share"),
        (lambda z: draw_embeddings(perfect(1), 0 * z), "text must have a direction"),
        (lambda z: regress_embeddings(perfect(1), z * math.nan), "text must have a direction"),
        (lambda z: blend_embeddings(z, 0 * z, 0.5), "b must have a direction"),
        (lambda z: blend_embeddings(z, -2 * z, 0.5), "opposite"),
        (lambda z: blend_embeddings(z, z.double(), 0.5), "one type"),
        (lambda z: edit_embeddings(z, z, 0 * z), "old must have a direction"),
        (lambda z: edit_embeddings(z, z, 2 * z), "different things"),
        (lambda z: edit_embeddings(z, z[:, :3], z), "new must be floats"),
        (lambda z: edit_embeddings(z, z[:2], -z[:2]), "new must have 3 rows"),
    ],
)
def test_bad_input_is_named(call, names):
    with pytest.raises(ValueError, match=names):
        call(texts(3))
