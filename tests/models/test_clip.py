"""CLIP's own options, what is refused, classes from words."""

import numpy as np
import pytest
import torch

from minillm.models import (
    CLIP,
    CLIPConfig,
    CLIPTextConfig,
    caption_vectors,
    load_model,
    picture_vectors,
    zero_shot,
)
from minillm.models.clip_use import class_vectors
from minillm.tokenizer import load_tokenizer
from minillm.training.contrastive import clip_loss, pair_loss

TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXT = TOWER | {"vocab_size": 20, "max_position_embeddings": 6, "eos_token_id": 19}
VISION = TOWER | {"image_size": 16, "patch_size": 4, "stem_widths": [8, 16]}


def tiny(**changes):
    return CLIP(
        CLIPConfig(**{"text_config": TEXT, "vision_config": VISION, "projection_dim": 8} | changes)
    ).eval()


def test_a_stem_comes_back_from_a_folder_and_every_weight_learns(tmp_path):
    model = tiny()
    ids, pixels = torch.tensor([[1, 2, 19], [3, 19, 19]]), torch.rand(2, 3, 16, 16)
    model.save_pretrained(tmp_path)
    assert torch.equal(
        load_model(tmp_path)(ids, pixels).logits_per_image, model(ids, pixels).logits_per_image
    )
    out = model(ids, pixels)
    clip_loss(out.image_embeds, out.text_embeds, model.logit_scale).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_caption_is_its_end_token_which_sees_what_came_before_alone():
    model = tiny()
    plain = model.encode_text(torch.tensor([[1, 2, 19]]))
    assert torch.allclose(plain, model.encode_text(torch.tensor([[1, 2, 19, 5, 6]])), atol=1e-6)
    assert not torch.allclose(plain, model.encode_text(torch.tensor([[2, 1, 19]])), atol=1e-3)


def test_duplicates_share_and_are_not_pushed_apart():
    u = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    v = u[[0, 0, 2, 3]].clone().requires_grad_()
    scale, same = torch.tensor(3.0), torch.tensor([5, 5, 7, 8])
    # the entropy of the targets is the least that is left: log 2 for each of the two equal captions
    floor = 2 * np.log(2) / 4
    assert clip_loss(u[[0, 0, 2, 3]], v, scale * 2, same) >= floor - 1e-6
    # rows 0 and 1 are the same pair: their gradients are the same, whichever of the two is meant
    (gradient,) = torch.autograd.grad(clip_loss(u[[0, 0, 2, 3]], v, scale, same), v)
    torch.testing.assert_close(gradient[0], gradient[1])


def test_what_transformers_calls_otherwise_is_said():
    model = tiny()
    for kind in ("image", "text"):
        with pytest.raises(AttributeError, match=f"write encode_{kind}"):
            getattr(model, f"get_{kind}_features")
    with pytest.raises(ValueError, match=r"CLIP takes no return_loss: .*clip_loss"):
        model(torch.tensor([[1, 19]]), torch.rand(1, 3, 16, 16), return_loss=True)


def test_the_scale_is_held():
    model = tiny(logit_scale_init_value=9.0)
    model.clamp_scale()
    assert model.logit_scale.exp().item() == pytest.approx(100.0, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.encode_text(torch.tensor([[1, 2, 3]])), "end token 19, row 0"),
        (lambda m: m.encode_text(torch.tensor([[1, 2, 3, 4, 5, 6, 19]])), "7 tokens"),
        (lambda m: m.encode_text(torch.tensor([[1, 99, 19]])), "99"),
        (lambda m: m.encode_image(torch.rand(1, 3, 20, 20)), "pixel_values"),
        (lambda m: m.encode_image(torch.rand(1, 1, 16, 16)), "pixel_values"),
        (lambda m: clip_loss(torch.rand(3, 4), torch.rand(2, 4), m.logit_scale), "pairs"),
        (lambda m: clip_loss(torch.rand(3, 4), torch.rand(3, 4), m.logit_scale, torch.arange(2)), "same"),
        (lambda m: clip_loss(torch.eye(3).long(), torch.eye(3).long(), m.logit_scale), "pairs"),
        (lambda m: clip_loss([[1.0]], [[1.0]], m.logit_scale), "pairs"),
        (lambda m: clip_loss(torch.eye(3), torch.eye(3), 0.0), "logit_scale"),
        (lambda m: clip_loss(torch.eye(3), torch.eye(3), m.logit_scale, [0, 1, 2]), "same"),
        (lambda m: pair_loss(torch.rand(2, 3)), r"scores must be floats \(B, B\)"),
        (lambda m: pair_loss(torch.rand(0, 0)), "scores"),
        (lambda m: pair_loss(torch.eye(3).long()), "scores"),
        (lambda m: pair_loss(torch.rand(3, 3), torch.arange(2)), "same"),
        (lambda m: picture_vectors(m, torch.full((1, 3, 16, 16), torch.nan)), "NaN"),
        (lambda m: picture_vectors(m, "a picture"), "images"),
        (lambda m: picture_vectors(m, np.zeros((0, 3, 16, 16), np.float32)), "images"),
        (lambda m: caption_vectors(m, None, "one text"), "texts"),
        (lambda m: caption_vectors(m, None, 3), "texts"),
        (lambda m: class_vectors(m, None, "circle", ["a {}"]), "names"),
        (lambda m: class_vectors(m, None, [], ["a {}"]), "names"),
        (lambda m: class_vectors(m, None, [1, 2], ["a {}"]), "names"),
        (lambda m: CLIPConfig(text_config=3), "text_config"),
        (lambda m: CLIPConfig(text_config={"hidden_size": 0}), "text_config: hidden_size"),
        (lambda m: CLIPTextConfig(eos_token_id=None), "eos_token_id"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(tiny())


def test_an_ensemble_is_the_mean_of_its_templates(real_data):
    tokenizer = load_tokenizer(real_data("tokenizers/clip/bpe_simple_vocab_16e6.txt.gz"))
    text = TOWER | {"vocab_size": 49408, "max_position_embeddings": 12, "eos_token_id": 49407}
    model, names = tiny(text_config=text), ["cat", "고양이", "dog"]
    lazy = class_vectors(model, tokenizer, (name for name in names), np.array(["a {}"]))
    one, two = (class_vectors(model, tokenizer, names, [t]) for t in ("a {}", "a photo of a {}"))
    assert np.array_equal(lazy, one)
    both = class_vectors(model, tokenizer, names, ["a {}", "a photo of a {}"])
    mean = (one + two) / np.linalg.norm(one + two, axis=1, keepdims=True)
    np.testing.assert_allclose(both, mean, atol=1e-6)
    probabilities = zero_shot(model, tokenizer, torch.rand(2, 3, 16, 16), names, ["a {}"])
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    with pytest.raises(ValueError, match="template"):
        zero_shot(model, tokenizer, torch.rand(2, 3, 16, 16), names, ["a photo"])
