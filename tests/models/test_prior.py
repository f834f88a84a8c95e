"""The prior of DALL-E 2: its parts are torch's, put together here once more; files and bad input."""

import pytest
import torch
import torch.nn.functional as F

from minillm._files import BadFileError
from minillm.models import DiffusionPrior, PriorConfig, UNet, UNetConfig, at_noise_scale
from tests.models.test_unet import awake

SMALL = PriorConfig(dim=6, width=8, blocks=2, time_width=4)


def by_hand(model, x, t, told):
    """The network in torch's own functions."""
    linear = lambda layer, value: F.linear(value, layer.weight, layer.bias)  # noqa: E731
    norm = lambda layer, value: F.layer_norm(value, value.shape[-1:], layer.weight, layer.bias)  # noqa: E731
    sines = [[float(torch.tensor(v).sin()) for v in (s, s * 0.01)]
             + [float(torch.tensor(v).cos()) for v in (s, s * 0.01)] for s in map(float, t)]  # fmt: skip
    emb, h = linear(model.time, torch.tensor(sines)) + told, linear(model.enter, x)
    for block in model.blocks:
        h = h + linear(block.down, F.silu(linear(block.up, norm(block.norm, h) + emb)))
    return linear(model.leave, norm(model.norm, h))


def test_the_network_is_torchs_own_layers():
    model = awake(DiffusionPrior(SMALL))
    x, wish, t = torch.randn(5, 6), torch.randn(5, 6), torch.tensor([0, 3, 50, 500, 999])
    told = F.linear(wish, model.text.weight, model.text.bias)
    torch.testing.assert_close(model(x, t, wish), by_hand(model, x, t, told), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model(x, 7), by_hand(model, x, [7] * 5, model.null), atol=1e-4, rtol=1e-4)
    drop = torch.tensor([True, False, False, True, False])
    mixed = torch.where(drop[:, None], model.null, told)
    torch.testing.assert_close(model(x, t, wish, drop), by_hand(model, x, t, mixed), atol=1e-4, rtol=1e-4)


def test_vectors_are_made_as_large_as_noise():
    vectors = torch.randn(20, 9) * torch.rand(20, 1)
    scaled = at_noise_scale(vectors)
    torch.testing.assert_close(scaled.square().mean(1), torch.ones(20))
    torch.testing.assert_close(torch.cosine_similarity(scaled, vectors), torch.ones(20))


def test_a_file_brings_back_the_same_network(tmp_path):
    model = awake(DiffusionPrior(SMALL))
    x, wish = torch.randn(2, 3, 6).unbind(0)
    model.save(tmp_path / "a", torch.float32)
    assert torch.equal(DiffusionPrior.load(tmp_path / "a")(x, 5, wish), model(x, 5, wish))
    model.save(tmp_path / "b")
    halves = DiffusionPrior.load(tmp_path / "b")
    assert all(torch.equal(a, b.half().float()) for a, b in zip(halves.parameters(), model.parameters()))
    UNet(UNetConfig(widths=(8, 8))).save(tmp_path / "c")
    with pytest.raises(BadFileError, match="U-Net"):
        DiffusionPrior.load(tmp_path / "c")
    with pytest.raises(BadFileError, match="diffusion prior"):
        UNet.load(tmp_path / "a")


def test_the_seed_says_which_network_it_is():
    before = torch.get_rng_state()
    first, same, other = (DiffusionPrior(SMALL, seed=s).enter.weight for s in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda m: m(torch.zeros(2, 5), 0), "x must be floats"),
        (lambda m: m(torch.zeros(2, 6).long(), 0), "x must be floats"),
        (lambda m: m(torch.zeros(0, 6), 0), "x must be floats"),
        (lambda m: m(torch.zeros(2, 6), 0, torch.zeros(3, 6)), "condition must have 2 rows"),
        (lambda m: m(torch.zeros(2, 6), 0, torch.zeros(2, 5)), "condition must be floats"),
        (lambda m: m(torch.zeros(2, 6), torch.zeros(3).long()), "t must be"),
        (lambda m: m(torch.zeros(2, 6), 0.5), "t must be"),
        (lambda m: m(torch.zeros(2, 6), 0, None, torch.zeros(2)), "drop must be 2 bools"),
        (lambda m: m(torch.zeros(2, 6).double(), 0), "x must be torch.float32"),
        (lambda m: at_noise_scale(torch.zeros(6)), "vectors must be floats"),
        (lambda m: at_noise_scale(torch.zeros(2, 6)), "row 0 has length 0"),
        (lambda m: at_noise_scale(torch.tensor([[1.0, 0.0], [1.0, torch.nan]])), "row 1 has length nan"),
        (lambda m: at_noise_scale(torch.tensor([[1.0, torch.inf]])), "row 0 has length inf"),
        (lambda m: DiffusionPrior(UNetConfig()), "config must be a PriorConfig"),
        (lambda m: PriorConfig(width=0), "width"),
        (lambda m: PriorConfig(time_width=5), "time_width must be even"),
        (lambda m: m.save("nowhere", torch.int8), "dtype"),
    ],
)
def test_bad_input_is_named(call, names):
    with pytest.raises(ValueError, match=names):
        call(DiffusionPrior(SMALL))
