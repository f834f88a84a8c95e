"""ViT's own options: a stem, the mean, sines; folders of them; what is refused."""

import pytest
import torch

from minillm.models import ViT, ViTConfig, ViTForImageClassification, load_model
from minillm.models.patches import sincos_positions

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 16,
    "patch_size": 4,
}


@pytest.mark.parametrize(
    "options",
    [
        {"stem_widths": [8, 16]},
        {"pooling": "mean"},
        {"positions": "sincos"},
        {"pooling": "mean", "positions": "sincos"},
    ],
)
def test_our_options_come_back_from_a_folder(tmp_path, options):
    model = ViTForImageClassification(ViTConfig(**TINY, **options, num_labels=3), seed=1).eval()
    model.save_pretrained(tmp_path)
    pixels = torch.rand(2, 3, 16, 16)
    assert torch.equal(load_model(tmp_path)(pixels).logits, model(pixels).logits)


def test_every_parameter_learns():
    model = ViTForImageClassification(ViTConfig(**TINY, stem_widths=[8, 16], num_labels=3))
    model(torch.rand(4, 3, 16, 16)).logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_sincos_of_a_moved_place_is_a_turn():
    table = sincos_positions(3, 4, 8).reshape(3, 4, 8)
    # equal steps have equal scalar products, wherever they start: sin sin + cos cos = cos of the difference
    torch.testing.assert_close((table[0, 0] * table[1, 2]).sum(), (table[1, 1] * table[2, 3]).sum())


@pytest.mark.parametrize(
    "bad",
    [
        {"patch_size": 5},
        {"num_attention_heads": 3},
        {"pooling": "max"},
        {"stem_widths": [8]},
        {"positions": "none"},
    ],
)
def test_configs_that_cannot_be_are_named(bad):
    with pytest.raises(
        ValueError, match=next(iter(bad)) if "num_attention_heads" not in bad else "hidden_size"
    ):
        ViTConfig(**TINY | bad)


@pytest.mark.parametrize(
    "bad",
    [
        torch.rand(3, 16, 16),
        torch.rand(1, 1, 16, 16),
        torch.rand(1, 3, 20, 20),
        torch.rand(1, 3, 16, 16).double(),
    ],
)
def test_what_is_no_picture_is_named(bad):
    with pytest.raises(ValueError, match="pixel_values must"):
        ViT(ViTConfig(**TINY))(bad)
