"""LLaVA's own: what it refuses, where pictures go, tiles. What it computes: tests/parity/test_llava.py."""

import pytest
import torch

from minillm.inference import SamplingParams, generate, generate_batch
from minillm.models import (
    CLIPVision,
    CLIPVisionConfig,
    LinearProjector,
    LLaVA,
    LLaVAConfig,
    Seeing,
    load_model,
)
from minillm.models.llava import expand_image_tokens, place_pictures
from minillm.models.llava_tiles import cut_tiles

IMAGE, N = 20, 4
VISION = {
    "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16,
    "patch_size": 8,
}  # fmt: skip
TEXT = {
    "vocab_size": 21, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 40,
}  # fmt: skip


def config(**options):
    return LLaVAConfig(vision_config=VISION, text_config=TEXT, image_token_index=IMAGE, **options)


@pytest.fixture(scope="module")
def model():
    return LLaVA(config()).eval()


def pictures(count, seed=0):
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def text(*ids):
    return torch.tensor([expand_image_tokens(ids, IMAGE, N)])


def test_place_pictures_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    words, tokens = torch.randn(3, 9, 5, generator=generator), torch.randn(4, 2, 5, generator=generator)
    here = torch.zeros(3, 9, dtype=torch.bool)
    here[0, 2:4] = here[2, 0:2] = here[2, 5:7] = here[1, 7:9] = True
    expected, rows = words.clone(), iter(tokens.flatten(0, 1))
    for b in range(3):
        for t in range(9):
            if here[b, t]:
                expected[b, t] = next(rows)
    assert torch.equal(place_pictures(words, here, tokens), expected)


@pytest.mark.parametrize(
    ("ids", "count", "said"),
    [
        ((1, IMAGE, 2), 2, "8 for 2, got 4"),
        ((1, IMAGE, 2, IMAGE), 1, "4 for 1, got 8"),
        ((1, IMAGE, 2), 0, "0 for 0, got 4"),
        ((1, 2), 1, "4 for 1, got 0"),
    ],
)
def test_as_many_image_tokens_as_pictures(model, ids, count, said):
    pixels = pictures(count) if count else None
    with pytest.raises(ValueError, match=said):
        model(text(*ids), pixel_values=pixels)


@pytest.mark.parametrize("shape", [(1, 3, 16, 8), (1, 3, 32, 32), (1, 1, 16, 16), (3, 16, 16)])
def test_refuses_pictures_of_another_size(model, shape):
    with pytest.raises(ValueError, match=r"pixel_values must be"):
        model(text(1, IMAGE), pixel_values=torch.rand(shape))


def test_a_text_too_long_with_its_pictures_is_refused_before_the_tower_works(model, monkeypatch):
    monkeypatch.setattr(model, "look", lambda pixels: pytest.fail("the tower worked"))
    cache = model.new_cache(1, 40)
    with pytest.raises(ValueError, match="41 tokens do not fit into the context window of 40"):
        model(text(*[IMAGE] * 10, 1), pixel_values=pictures(10), cache=cache)
    assert cache.length == 0


def test_a_failed_call_leaves_the_cache_as_it_was(model):
    cache = model.new_cache(1, 40)
    with torch.no_grad():
        model(text(1, IMAGE), cache=cache, pixel_values=pictures(1))
        for wrong in (text(2, IMAGE), torch.tensor([[99]])):
            with pytest.raises(ValueError, match=r"image tokens|ids must lie"):
                model(wrong, cache=cache)
        assert cache.length == 5
        with pytest.raises(ValueError, match=r"in generate Seeing\(model, pixel_values\)"):
            generate(model, [1, IMAGE], SamplingParams(max_tokens=1))
        whole = model(text(1, IMAGE, 3), pixel_values=pictures(1)).logits[:, -1]
        torch.testing.assert_close(model(torch.tensor([[3]]), cache=cache).logits[:, -1], whole)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_token_index": 21}, "image_token_id"),
        ({"vision_feature_layer": 3}, "vision_feature_layer"),
        ({"vision_feature_layer": []}, "vision_feature_layer"),
        ({"vision_feature_select_strategy": "some"}, "vision_feature_select_strategy"),
        ({"projector_hidden_act": "sin"}, "projector_hidden_act"),
        ({"projector_type": "qformer"}, "projector_type"),
        ({"text_config": 3}, "text_config must be"),
        ({"text_config": {"model_type": "gpt2"}}, "text_config: LlamaConfig reads"),
        ({"vision_config": VISION | {"image_size": 17}}, "vision_config: image_size"),
    ],
)
def test_refuses_settings_by_name(options, said):
    given = {"vision_config": VISION, "text_config": TEXT, "image_token_index": IMAGE} | options
    with pytest.raises(ValueError, match=said):
        LLaVAConfig(**given)


def test_image_token_id_is_another_name():
    values = config().to_dict()
    values["image_token_id"] = values.pop("image_token_index")
    assert LLaVAConfig.from_dict(values).image_token_id == IMAGE


def test_the_first_llavas_projector_is_kept_in_our_folder(tmp_path):
    first = LLaVA(config(projector_type="linear"), seed=3).eval()
    assert type(first.projector) is LinearProjector
    first.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    x, pixels = text(1, IMAGE, 2), pictures(1)
    assert torch.equal(first(x, pixel_values=pixels).logits, again(x, pixel_values=pixels).logits)


def test_a_tower_with_a_stem_is_kept(tmp_path):
    sizes = VISION | {"stem_widths": [6, 8, 12]}
    tower = CLIPVision(CLIPVisionConfig(**sizes), seed=1).eval()
    tower.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert torch.equal(tower(pictures(2)).last_hidden_state, again(pictures(2)).last_hidden_state)
    assert tower(pictures(2)).last_hidden_state.shape == (2, 5, 12)


def test_rows_of_a_batch_write_what_they_write_alone(model):
    params = SamplingParams(max_tokens=6, temperature=0)
    rows = [text(IMAGE, 3, 4)[0].tolist(), text(1, 2, IMAGE, 5, IMAGE, 6)[0].tolist()]
    seen = [pictures(1), pictures(2, seed=1)]
    big = LLaVA(config()).eval()
    with torch.no_grad():
        for weight in big.parameters():
            weight.mul_(6)  # far from ties
    alone = [generate(Seeing(big, one), row, params) for one, row in zip(seen, rows)]
    found = generate_batch(
        Seeing(big, seen), rows, params
    )  # the first row is padded with its own image token
    assert [one.token_ids for one in found] == alone
    several = generate_batch(
        Seeing(big, seen), rows, SamplingParams(max_tokens=6, temperature=1e-6, n=2, seed=0)
    )
    assert [one.token_ids for one in several] == [row for row in alone for _ in range(2)]


def test_never_writes_the_image_token(model):
    params = SamplingParams(max_tokens=20, temperature=5.0, seed=0, logit_bias={IMAGE: 100.0})
    assert IMAGE not in generate(Seeing(model, pictures(1)), text(IMAGE, 1)[0].tolist(), params)


def test_seeing_refuses_texts_that_do_not_fit(model):
    params = SamplingParams(max_tokens=2)
    with pytest.raises(ValueError, match=r"text 0 holds 4 image tokens, its pictures are 8"):
        generate(Seeing(model, pictures(2)), text(IMAGE, 1)[0].tolist(), params)
    with pytest.raises(ValueError, match="3 texts do not go with the pictures of 2"):
        generate_batch(Seeing(model, [pictures(1)] * 2), [text(IMAGE)[0].tolist()] * 3, params)
    with pytest.raises(ValueError, match="pictures must be"):
        Seeing(model, [])


# Tiles


def test_tiles_are_the_picture():
    picture = torch.rand(3, 48, 32, generator=torch.Generator().manual_seed(0))
    tiles = cut_tiles(picture, 16)
    assert tiles.shape == (7, 3, 16, 16)
    for row in range(3):
        for column in range(2):
            expected = picture[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            assert torch.equal(tiles[1 + 2 * row + column], expected)


def test_the_overview_is_the_picture_made_small():
    picture = torch.zeros(3, 64, 64)
    picture[0, :, :32], picture[2, :, 32:] = 1.0, 1.0
    overview = cut_tiles(picture, 16)[0]
    assert overview[0, :, :6].min() > 0.99
    assert overview[2, :, 10:].min() > 0.99
    assert overview[1].abs().max() == 0


def test_a_picture_that_fills_no_grid_keeps_its_shape():
    picture = torch.zeros(3, 40, 20)
    picture[:, 10:30] = 1.0
    tiles = cut_tiles(picture, 16, sizes=[(32, 32)])
    whole = tiles[1:].reshape(2, 2, 3, 16, 16).permute(2, 0, 3, 1, 4).reshape(3, 32, 32)
    assert torch.allclose(whole[:, :, :8], torch.tensor(0.5))  # 16 of 32 columns are the picture's
    assert torch.allclose(whole[:, :, 24:], torch.tensor(0.5))
    assert whole[:, 12:20, 8:24].min() > 0.99


@pytest.mark.parametrize("sizes", [[], [(15, 32)], [(32,)], [(0, 32)]])
def test_refuses_grids_of_no_tiles(sizes):
    with pytest.raises(ValueError, match="sizes must be"):
        cut_tiles(torch.rand(3, 32, 32), 16, sizes)
