"""The U-Net: shapes, wishes, skips, files, bad input. Its parts are torch's, put together here once more by hand."""

import pytest
import torch
import torch.nn.functional as F

from minillm._files import BadFileError
from minillm.models import DiffusionPrior, UNet, UNetConfig
from minillm.models.unet import PictureAttention, ResBlock, time_features

SMALL = {"widths": (8, 16), "heads": 2, "time_width": 8}


def awake(model):
    """A model none of whose weights is zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in model.parameters():
            one.copy_(torch.randn(one.shape, generator=generator) * 0.2)
    return model.eval()


def test_a_block_is_torchs_own_layers():
    block = awake(ResBlock(8, 16, 6))
    x, emb = torch.randn(2, 8, 4, 4), torch.randn(2, 6)
    h = F.conv2d(
        F.silu(F.group_norm(x, 8, block.norm1.weight, block.norm1.bias)),
        block.conv1.weight,
        block.conv1.bias,
        padding=1,
    )
    h = F.group_norm(h, 8, block.norm2.weight, block.norm2.bias)
    film = F.linear(emb, block.film.weight, block.film.bias)
    h = h * (1 + film[:, :16, None, None]) + film[:, 16:, None, None]
    h = F.conv2d(F.silu(h), block.conv2.weight, block.conv2.bias, padding=1)
    want = h + F.conv2d(x, block.skip.weight, block.skip.bias)
    torch.testing.assert_close(block(x, emb), want)


def test_attention_over_places_is_torchs_own():
    layer = awake(PictureAttention(16, 2))
    x = torch.randn(3, 16, 4, 4)
    peer = torch.nn.MultiheadAttention(16, 2, batch_first=True)
    with torch.no_grad():
        peer.in_proj_weight.copy_(layer.qkv.weight)
        peer.in_proj_bias.copy_(layer.qkv.bias)
        peer.out_proj.weight.copy_(layer.out.weight)
        peer.out_proj.bias.copy_(layer.out.bias)
    places = layer.norm(x).flatten(2).transpose(1, 2)
    mixed = peer(places, places, places, need_weights=False)[0]
    torch.testing.assert_close(layer(x), x + mixed.transpose(1, 2).reshape(x.shape), atol=1e-5, rtol=1e-5)


def test_time_features_hold_the_2017_sines():
    got = time_features(torch.tensor([0, 3, 999]), 8)
    speeds = torch.tensor([1.0, 0.1, 0.01, 0.001])
    for row, t in zip(got, (0, 3, 999), strict=True):
        torch.testing.assert_close(
            row, torch.cat([torch.sin(t * speeds), torch.cos(t * speeds)]), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("size", [8, 16, 32])
@pytest.mark.parametrize("patch", [1, 2])
def test_it_gives_back_the_shape(size, patch):
    model = awake(UNet(UNetConfig(patch=patch, **SMALL)))
    x = torch.randn(2, 3, size, size)
    assert model(x, 5).shape == x.shape
    assert model(x[:, :, :, :4], 5).shape == (2, 3, size, 4)


def test_a_new_one_says_nothing_and_every_weight_is_trained():
    model = UNet(UNetConfig(classes=(3, 2), **SMALL))
    x, wish = torch.randn(4, 3, 8, 8), torch.tensor([[0, 1], [2, 0], [1, 1], [-1, 0]])
    assert float(model(x, 1, wish).detach().abs().max()) < 1.0  # only the last layer's bias
    model = awake(model)
    model(x, torch.tensor([0, 10, 500, 999]), wish).square().mean().backward()
    assert not [
        name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().max() > 0
    ]


@pytest.mark.parametrize("config", [{"classes": (3, 2)}, {"cond_dim": 5}])
def test_wishes_matter_row_by_row_and_a_dropped_one_is_no_wish(config):
    model = awake(UNet(UNetConfig(**SMALL, **config)))
    x = torch.randn(1, 3, 8, 8).expand(3, -1, -1, -1)
    wish = torch.randn(3, 5) if "cond_dim" in config else torch.tensor([[0, 1], [1, 1], [0, 0]])
    with_wish, without = model(x, 7, wish), model(x, 7)
    assert float((with_wish[0] - with_wish[1]).detach().abs().max()) > 1e-3
    assert float((with_wish[0] - with_wish[2]).detach().abs().max()) > 1e-3
    dropped = model(x, 7, wish, torch.tensor([True, False, True]))
    torch.testing.assert_close(dropped[0], without[0])
    torch.testing.assert_close(dropped[1], with_wish[1])
    torch.testing.assert_close(dropped[2], without[2])


def test_one_attribute_can_be_left_open():
    model = awake(UNet(UNetConfig(classes=(3, 2), **SMALL)))
    x = torch.randn(1, 3, 8, 8)
    open_both = model(x, 7, torch.tensor([[-1, -1]]))
    torch.testing.assert_close(open_both, model(x, 7))
    assert float((model(x, 7, torch.tensor([[1, -1]])) - open_both).detach().abs().max()) > 1e-3


def test_rows_do_not_see_each_other_and_time_matters():
    model = awake(UNet(UNetConfig(**SMALL)))
    x, t = torch.randn(3, 3, 8, 8), torch.tensor([1, 200, 900])
    alone = torch.cat([model(x[i : i + 1], int(t[i])) for i in range(3)])
    torch.testing.assert_close(model(x, t), alone, atol=1e-5, rtol=1e-5)
    assert float((model(x[:1], 1) - model(x[:1], 900)).detach().abs().max()) > 1e-3


def test_the_seed_says_the_weights_and_leaves_torchs_own_alone():
    before = torch.get_rng_state()
    a, b, c = (UNet(UNetConfig(**SMALL), seed=s).enter.weight for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(before, torch.get_rng_state())


def test_a_file_keeps_half_the_digits(tmp_path):
    model = awake(UNet(UNetConfig(classes=(3, 2), **SMALL)))
    half, full = model.save(tmp_path / "half"), model.save(tmp_path / "full", dtype=torch.float32)
    x, wish = torch.randn(2, 3, 8, 8), torch.tensor([[0, 1], [2, 0]])
    assert torch.equal(UNet.load(full)(x, 3, wish), model(x, 3, wish))
    assert UNet.load(half).config == model.config
    for ours, kept in zip(model.parameters(), UNet.load(half).parameters(), strict=True):
        assert torch.equal(ours.half().float(), kept)
    damaged = bytearray(half.read_bytes())
    damaged[-3] ^= 1
    half.write_bytes(damaged)
    with pytest.raises(BadFileError, match="U-Net"):
        UNet.load(half)


def test_a_folder_keeps_all_of_it_in_any_dtype(tmp_path):
    model = awake(UNet(UNetConfig(classes=(3, 2), **SMALL))).eval()
    x, wish = torch.randn(2, 3, 8, 8), torch.tensor([[0, 1], [2, 0]])
    model.save_pretrained(tmp_path / "a")
    again = UNet.from_pretrained(str(tmp_path / "a"))
    assert again.config == model.config
    assert not again.training
    assert torch.equal(again(x, 3, wish), model(x, 3, wish))
    wide = UNet.from_pretrained(tmp_path / "a", dtype=torch.float64)
    torch.testing.assert_close(wide(x.double(), 3, wish).float(), model(x, 3, wish), atol=1e-5, rtol=1e-4)
    model.bfloat16().save_pretrained(tmp_path / "b")
    assert UNet.from_pretrained(tmp_path / "b")(x.bfloat16(), 3, wish).dtype == torch.bfloat16
    with pytest.raises(BadFileError, match="expected a DiffusionPrior"):
        DiffusionPrior.from_pretrained(tmp_path / "a")


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"widths": (8, 12)}, "widths"),
        ({"widths": (8,)}, "widths"),
        ({"widths": 8}, "widths"),
        ({"heads": 0}, "heads"),
        ({"classes": (3, 0)}, "classes"),
        ({"classes": (3,), "cond_dim": 4}, "not both"),
        ({"time_width": 7}, "time_width"),
        ({"patch": 2.0}, "patch"),
    ],
)
def test_bad_sizes_are_named(config, names):
    with pytest.raises(ValueError, match=names):
        UNetConfig(**config)


@pytest.mark.parametrize(
    ("x", "t", "wish", "drop", "names"),
    [
        (torch.zeros(2, 3, 10, 8), 1, None, None, "divisible by 4"),
        (torch.zeros(2, 1, 8, 8), 1, None, None, "x must be"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.long), 1, None, None, "x must be"),
        (torch.zeros(2, 3, 8, 8).double(), 1, None, None, "x must be torch.float32 as the network is"),
        (torch.zeros(2, 3, 8, 8), 1.5, None, None, "t must be"),
        (torch.zeros(2, 3, 8, 8), torch.tensor([1, 2, 3]), None, None, "t must be"),
        (torch.zeros(2, 3, 8, 8), 1, torch.tensor([[0, 2], [0, 0]]), None, "condition must be"),
        (torch.zeros(2, 3, 8, 8), 1, torch.tensor([[0, -2], [0, 0]]), None, "condition must be"),
        (torch.zeros(2, 3, 8, 8), 1, torch.tensor([[0, 1]]), None, "condition must be"),
        (torch.zeros(2, 3, 8, 8), 1, torch.zeros(2, 2), None, "condition must be"),
        (torch.zeros(2, 3, 8, 8), 1, None, torch.tensor([1, 0]), "drop must be"),
    ],
)
def test_bad_input_is_named(x, t, wish, drop, names):
    with pytest.raises(ValueError, match=names):
        UNet(UNetConfig(classes=(3, 2), **SMALL))(x, t, wish, drop)
