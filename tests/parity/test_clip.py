"""CLIP against transformers: logits, vectors, gradients, loss, folders both ways; its tokenizer on hostile text."""

import pytest
import torch

from minillm.models import CLIP, CLIPText, CLIPVision, load_model, text_ids
from minillm.search import mnr_loss
from minillm.tokenizer import load_tokenizer
from minillm.training.contrastive import clip_loss, pair_loss

transformers = pytest.importorskip("transformers")

TEXT = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
TEXT |= {"num_attention_heads": 4, "max_position_embeddings": 12, "eos_token_id": 59, "bos_token_id": 58}
VISION = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 3}
VISION |= {"image_size": 16, "patch_size": 4}


def theirs(kind="CLIPModel", **text):
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=TEXT | text, vision_config=VISION, projection_dim=20)
    model = getattr(transformers, kind)(config if kind == "CLIPModel" else config.text_config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "logit_scale":
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def captions():
    ids = torch.randint(0, 50, (4, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    for row, end in enumerate((8, 5, 3, 8)):
        ids[row, end:], mask[row, end + 1 :] = 59, 0
    return ids, mask


@pytest.mark.parametrize("eos", [59, 2])  # 2: configs from before the rule
def test_equal_to_transformers_and_folders_both_ways(tmp_path, eos):
    peer = theirs(eos_token_id=eos)
    peer.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert isinstance(ours, CLIP)
    (ids, mask), pixels = captions(), torch.randn(4, 3, 16, 16)
    expected = peer(input_ids=ids, pixel_values=pixels, attention_mask=mask, return_loss=True)
    got = ours(ids, pixels, mask)
    for name in ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds"):
        torch.testing.assert_close(getattr(got, name), expected[name], atol=1e-5, rtol=1e-5)
    loss = clip_loss(got.image_embeds, got.text_embeds, ours.logit_scale)
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-5)
    expected.loss.backward(), loss.backward()
    gradients = ours.to_hugging_face({name: p.grad for name, p in ours.named_parameters()})
    compared = 0
    for name, parameter in peer.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-4, rtol=1e-4)
        compared += 1
    assert compared == len(gradients) > 80
    ours.save_pretrained(tmp_path / "ours")
    back = transformers.CLIPModel.from_pretrained(tmp_path / "ours").eval()
    assert all(torch.equal(value, back.state_dict()[key]) for key, value in peer.state_dict().items())


def test_text_tower_alone(tmp_path):
    peer = theirs("CLIPTextModel")
    peer.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert isinstance(ours, CLIPText)
    ids, mask = captions()
    expected, got = peer(ids, mask), ours(ids, mask)
    torch.testing.assert_close(got.pooler_output, expected.pooler_output, atol=1e-5, rtol=1e-5)
    # rows of padding are nobody's: compared is what the mask shows
    shown = mask.bool()
    torch.testing.assert_close(
        got.last_hidden_state[shown], expected.last_hidden_state[shown], atol=1e-5, rtol=1e-5
    )


def test_both_towers_open_from_one_folder(tmp_path):
    theirs().save_pretrained(tmp_path)
    whole = load_model(tmp_path)
    text = CLIPText.from_tensors(whole.config.text_config, whole.to_hugging_face(whole.state_dict()))
    ids, mask = captions()
    assert torch.equal(text(ids, mask).pooler_output, whole.text(ids, mask).pooler_output)
    # as transformers' CLIPTextModel and CLIPVisionModel do
    text, vision = CLIPText.from_pretrained(tmp_path), CLIPVision.from_pretrained(tmp_path)
    assert torch.equal(text(ids, mask).pooler_output, whole.text(ids, mask).pooler_output)
    peer, pixels = transformers.CLIPVisionModel.from_pretrained(tmp_path).eval(), torch.randn(2, 3, 16, 16)
    found, expected = vision(pixels).pooler_output, peer(pixels).pooler_output
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert "visual_projection.weight" in vision.left_out


def test_without_duplicates_it_is_mnr():
    u, v = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    u, v = torch.nn.functional.normalize(u, dim=1), torch.nn.functional.normalize(v, dim=1)
    expected = mnr_loss(u, v, scale=14.0, symmetric=True)
    torch.testing.assert_close(clip_loss(u, v, torch.tensor(14.0).log()), expected)
    torch.testing.assert_close(pair_loss(14.0 * u @ v.T, torch.arange(7)), expected)


TEXTS = [
    "a photo of a cat", "A PHOTO OF A CAT!!!", "hello, it's 2024's (best) picture -- isn't it?", "naïve café Ünïcode",
    "고양이 사진", "왼쪽 위에 작은 빨간 원이 있다", "한국어 and English 섞인 text", "日本語 テスト", "🙂🙃 👩‍👩‍👧", "",
    "   spaces \t and\nlines  ", "<|endoftext|>", "a<|startoftext|>b", "x" * 300, "1234567 3.14", "é é", "؟ مرحبا",
]  # fmt: skip


def test_bpe_of_clip_is_transformers_tokenizers(real_data, tmp_path):
    ours = load_tokenizer(real_data("tokenizers/clip/bpe_simple_vocab_16e6.txt.gz"))
    vocab = {ours.id_to_token(i): i for i in range(ours.vocab_size)}
    merges = [tuple(pair.split(" ")) for pair in ours.to_json()["model"]["merges"]]
    peer = transformers.CLIPTokenizer(vocab=vocab, merges=merges)
    for text in TEXTS:
        assert ours(text)["input_ids"] == peer(text)["input_ids"], text
    ids, mask = text_ids(ours, TEXTS, 77)
    batch = peer(TEXTS, padding=True, truncation=True, max_length=77, return_tensors="pt")
    assert torch.equal(ids, batch["input_ids"])
    assert torch.equal(mask, batch["attention_mask"])
