"""LLaVA against transformers' LlavaForConditionalGeneration: logits, gradients, folders both ways, written tokens."""

import json

import pytest
import torch
from safetensors.torch import load_file

from minillm.inference import SamplingParams, generate, generate_batch
from minillm.models import CLIPVision, CLIPVisionConfig, LLaVA, LLaVAConfig, Seeing, load_model
from minillm.models.llava import expand_image_tokens
from minillm.models.llava_tiles import best_size
from tests.parity.folders import LLAMA, V, close, ids, spread, transformers

IMAGE = V - 1
VISION = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 16,
    "patch_size": 8, "projection_dim": 12,
}  # fmt: skip
CASES = {  # of 2 x 2 patches: N tokens a picture
    "llama": ({}, {}, 4),
    "mistral, full": ({"vision_feature_select_strategy": "full"}, {"model_type": "mistral"}, 5),
    "qwen2, last layer, no bias": (
        {"vision_feature_layer": -1, "multimodal_projector_bias": False}, {"model_type": "qwen2"}, 4),
    "two layers, tied": ({"vision_feature_layer": [-2, 1]}, {"tie_word_embeddings": True}, 4),
    "relu": ({"projector_hidden_act": "relu", "vision_feature_layer": 1}, {}, 4),  # 0 is none to transformers 5.24
}  # fmt: skip


def peer(options, text):
    kind = text.get("model_type", "llama")
    text = transformers.CONFIG_MAPPING[kind](**LLAMA | text)
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION), text_config=text, image_token_index=IMAGE,
        image_seq_length=4, **options,
    )  # fmt: skip
    return spread(transformers.LlavaForConditionalGeneration(config))


@pytest.fixture(scope="module", params=CASES)
def opened(request, tmp_path_factory):
    options, text, count = CASES[request.param]
    theirs, folder = peer(options, text), tmp_path_factory.mktemp("llava")
    theirs.save_pretrained(folder)
    return theirs, load_model(folder), count, folder


def texts(count, pictures=(1, 2), seed=0):
    """(ids (B, T), pixels (P, 3, S, S)): rows with so many pictures each, in words that are no image tokens."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number in pictures:
        words = torch.randint(0, IMAGE, (14 - number,), generator=generator).tolist()
        for place in range(number):
            words.insert(1 + 3 * place, IMAGE)
        row = expand_image_tokens(words, IMAGE, count)
        rows.append(row + words[-1:] * (14 + (count - 1) * max(pictures) - len(row)))
    pixels = torch.randn(sum(pictures), 3, 16, 16, generator=generator)
    return torch.tensor(rows), pixels


@torch.no_grad()
def test_equal_logits(opened):
    theirs, ours, count, _ = opened
    assert isinstance(ours, LLaVA)
    assert ours.config.picture_tokens == count
    x, pixels = texts(count)
    expected = theirs(input_ids=x, pixel_values=pixels).logits
    close(ours(x, pixel_values=pixels).logits, expected)
    close(ours(x, picture_states=ours.look(pixels)).logits, expected)
    close(ours(x, pixel_values=pixels, logits_to_keep=3).logits, expected[:, -3:])
    words = ids().clamp(max=IMAGE - 1)
    close(ours(words).logits, theirs(input_ids=words).logits)  # without a picture a language model


def test_equal_gradients(opened):
    theirs, ours, count, _ = opened
    x, pixels = texts(count, seed=1)
    for model in (theirs, ours):
        model.zero_grad()
        logits = model(input_ids=x, pixel_values=pixels).logits
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), x[:, 1:].flatten()).backward()
    other = theirs.model
    pairs = [
        (ours.projector.linear_1.weight, other.multi_modal_projector.linear_1.weight),
        (ours.projector.linear_2.weight, other.multi_modal_projector.linear_2.weight),
        (ours.language.body.tokens.weight, other.language_model.embed_tokens.weight),
        (ours.language.body.norm.weight, other.language_model.norm.weight),
    ]
    for mine, expected in pairs:
        torch.testing.assert_close(mine.grad, expected.grad, atol=1e-4, rtol=1e-4)
    tower = dict(other.vision_tower.named_parameters())
    name = next(name for name in tower if name.endswith("patch_embedding.weight"))
    found = next(p for p in ours.vision.parameters() if p.shape == tower[name].shape)
    torch.testing.assert_close(found.grad, tower[name].grad, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_transformers_opens_what_we_save(opened, tmp_path):
    theirs, ours, count, folder = opened
    ours.save_pretrained(tmp_path)
    again, report = transformers.LlavaForConditionalGeneration.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    x, pixels = texts(count, seed=2)
    close(
        again.eval()(input_ids=x, pixel_values=pixels).logits,
        theirs(input_ids=x, pixel_values=pixels).logits,
    )
    names = [set(load_file(one / "model.safetensors")) for one in (folder, tmp_path)]
    # published folders say vision_tower.vision_model, this transformers writes and opens it without
    assert names[0] == {name.replace("vision_tower.vision_model.", "vision_tower.") for name in names[1]}


@torch.no_grad()
def test_opens_the_names_of_today(opened, tmp_path):
    theirs, ours, count, _ = opened
    today = {name: tensor for name, tensor in theirs.state_dict().items() if "position_ids" not in name}
    config = LLaVAConfig.from_dict(json.loads(theirs.config.to_json_string(use_diff=False)))
    again = LLaVA.from_tensors(config, today)
    x, pixels = texts(count, seed=3)
    close(again(x, pixel_values=pixels).logits, ours(x, pixel_values=pixels).logits)


@torch.no_grad()
def test_writes_what_transformers_writes(opened):
    theirs, ours, count, _ = opened
    x, pixels = texts(count, pictures=(2, 2), seed=4)
    options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, "suppress_tokens": [IMAGE]}
    options["attention_mask"] = torch.ones_like(x)  # else its 0s would be taken for padding
    expected = theirs.generate(input_ids=x, pixel_values=pixels, **options)[:, x.shape[1] :].tolist()
    params = SamplingParams(max_tokens=8, temperature=0)
    for i in range(2):
        eyes = Seeing(ours, pixels[2 * i : 2 * i + 2])
        assert generate(eyes, x[i].tolist(), params) == expected[i]
        assert generate(eyes, x[i].tolist(), params, cache=False) == expected[i]
    both = Seeing(ours, [pixels[:2], pixels[2:]])
    found = generate_batch(both, x.tolist(), params)
    assert [one.token_ids for one in found] == expected


def test_the_size_that_next_picks():
    """LLaVA-NeXT's choice of a grid of tiles, over sizes and shapes of pictures."""
    try:
        from transformers.image_processing_utils import select_best_resolution
    except ImportError:
        from transformers.models.llava_next.image_processing_llava_next import select_best_resolution
    sizes = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    generator = torch.Generator().manual_seed(0)
    for height, width in torch.randint(20, 1500, (200, 2), generator=generator).tolist():
        assert best_size((height, width), sizes) == tuple(select_best_resolution((height, width), sizes))


@torch.no_grad()
def test_the_tower_alone(tmp_path):
    theirs = spread(transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**VISION)))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert isinstance(ours, CLIPVision)
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = theirs(pixels, output_hidden_states=True)
    found = ours(pixels, output_hidden_states=True)
    close(found.pooler_output, expected.pooler_output)
    for mine, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        close(mine, other)
    ours.save_pretrained(tmp_path / "ours")
    again = transformers.CLIPVisionModel.from_pretrained(tmp_path / "ours").eval()
    close(again(pixels).pooler_output, expected.pooler_output)


def test_first_weights_of_the_tower_have_the_size_of_transformers():
    sizes = VISION | {"hidden_size": 64, "intermediate_size": 128, "image_size": 64}
    ours = CLIPVision(CLIPVisionConfig(**sizes))
    theirs = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes))
    expected = {name.rpartition(".")[0].rpartition(".")[2]: p.std() for name, p in theirs.named_parameters()}
    assert abs(ours.patches.weight.std() / expected["patch_embedding"] - 1) < 0.1
    assert abs(ours.class_token.std() * 8 - 1) < 0.4
