"""ViT against transformers: states, gradients, other sizes, folders both ways; picture preprocessing against PIL."""

import numpy as np
import pytest
import torch

from minillm.models import ViT, ViTForImageClassification, load_model
from minillm.models.patches import embed_patches_plain

transformers = pytest.importorskip("transformers")


def theirs(kind: str, **changes):
    torch.manual_seed(0)
    values = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    values |= {
        "image_size": 16,
        "patch_size": 4,
        "num_labels": 5,
        "initializer_range": 0.3,
        "pooler_output_size": 24,
    }
    model = getattr(transformers, kind)(transformers.ViTConfig(**values | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("changes", [{}, {"qkv_bias": False, "hidden_act": "gelu_new"}])
@pytest.mark.parametrize("kind", ["ViTModel", "ViTForImageClassification"])
def test_equal_to_transformers_and_folders_both_ways(tmp_path, kind, changes):
    peer = theirs(kind, **changes)
    peer.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert isinstance(ours, ViT if kind == "ViTModel" else ViTForImageClassification)
    pixels = torch.randn(3, 3, 16, 16)
    name = "pooler_output" if kind == "ViTModel" else "logits"
    expected, got = peer(pixels)[name], getattr(ours(pixels), name)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    expected.square().sum().backward(), got.square().sum().backward()
    conv = ours.patches if kind == "ViTModel" else ours.body.patches
    want = (peer if kind == "ViTModel" else peer.vit).embeddings.patch_embeddings.projection.weight.grad
    torch.testing.assert_close(conv.projection.weight.grad, want, atol=1e-4, rtol=1e-4)
    ours.save_pretrained(tmp_path / "ours")
    back = getattr(transformers, kind).from_pretrained(tmp_path / "ours").eval()
    assert all(torch.equal(value, back.state_dict()[key]) for key, value in peer.state_dict().items())


@pytest.mark.parametrize("size", [(16, 16), (24, 24), (8, 20)])
def test_positions_stretch_as_in_transformers(tmp_path, size):
    peer = theirs("ViTModel")
    peer.save_pretrained(tmp_path)
    pixels = torch.randn(2, 3, *size)
    expected = peer(pixels, interpolate_pos_encoding=True).last_hidden_state
    got = ViT.from_pretrained(tmp_path)(pixels, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_cutting_and_one_product_is_the_convolution():
    peer = theirs("ViTModel").embeddings.patch_embeddings
    pixels, conv = torch.randn(2, 3, 16, 16), peer.projection
    torch.testing.assert_close(
        embed_patches_plain(pixels, conv.weight, conv.bias), peer(pixels), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("size", [(9, 30), (50, 20), (9, 10), (40, 50), (24, 40), (6, 14)])
@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_resize_is_pils_to_one_step_of_a_byte(size, kind):
    image = pytest.importorskip("PIL.Image")
    from minillm.models.pictures import resize

    picture = np.random.default_rng(0).integers(0, 256, (23, 31, 3)).astype(np.uint8)
    how = {"bilinear": image.Resampling.BILINEAR, "bicubic": image.Resampling.BICUBIC}[kind]
    expected = np.asarray(image.fromarray(picture).resize(size[::-1], how)).astype(int)
    assert np.abs(resize(picture, *size, kind).astype(int) - expected).max() <= 1
