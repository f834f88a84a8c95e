"""Search by words and by pictures, against plain cosines over the towers' own vectors."""

import numpy as np
import pytest
import torch
from PIL import Image

from minillm._files import BadFileError
from minillm.course import small_clip
from minillm.course.small.clip import as_pixels
from minillm.data import read_scene, scenes
from minillm.data.picture_files import write_picture
from minillm.models import CLIP, CLIPConfig, PictureProcessor
from minillm.models.clip_use import caption_vectors, picture_vectors
from minillm.search import PictureSearch, VectorStore


@pytest.fixture(scope="module")
def clip():
    return small_clip()


@pytest.fixture(scope="module")
def world():
    return scenes(60, 32, seed=5_000)


@pytest.fixture
def filled(clip, world):
    found = PictureSearch(clip.model, clip.tokenizer, VectorStore(64))
    found.add(world.images, metadata=[{"background": ground} for ground in world.backgrounds])
    return found


def best(vectors, query, k, allowed=None):
    """The k largest cosines, in float64."""
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    if allowed is not None:
        scores[~allowed] = -2
    return np.sort(scores)[::-1][:k]


def test_both_questions_rank_as_cosines_do_with_and_without_a_filter(filled, clip, world):
    u = picture_vectors(clip.model, as_pixels(world.images))
    texts = ["a large red circle on a black background", "흰색 배경에 작은 파란 별이 있다", "a star"]
    v = caption_vectors(clip.model, clip.tokenizer, texts)
    black = np.array([ground == "black" for ground in world.backgrounds])
    for filter, allowed in ((None, None), ({"background": "black"}, black)):
        by_text = filled.by_text(texts, 7, filter)
        by_picture = filled.by_picture(world.images[:3], 7, filter)
        for matches, query in [*zip(by_text, v), *zip(by_picture, u)]:
            found = [one["score"] for one in matches]
            assert found == pytest.approx(best(u, query, 7, allowed), abs=1e-6)
            places = [int(one["id"].removeprefix("picture-")) for one in matches]
            assert len(set(places)) == 7
            assert found == pytest.approx(u[places] @ query, abs=1e-6)
        assert len(by_text[0]) == 7


def test_one_by_one_is_as_all_at_once(filled, clip, world, tmp_path):
    single = PictureSearch(clip.model, clip.tokenizer, VectorStore(64))
    for i in range(70):  # more than a part
        single.add(world.images[i % 60 : i % 60 + 1], [str(i)])
    many = PictureSearch(clip.model, clip.tokenizer, VectorStore(64))
    many.add(np.concatenate([world.images, world.images[:10]]), [str(i) for i in range(70)])
    one, all = (found.store.fetch(map(str, range(70)), "pictures")["vectors"] for found in (single, many))
    gaps = [np.abs(np.subtract(one[id]["values"], all[id]["values"])).max() for id in one]
    assert len(gaps) == len(single) == len(many) == 70
    assert max(gaps) < 1e-6
    queries = ["a red thing", "파란 별"]
    for text, listed in zip(queries, filled.by_text(queries, 3)):
        found = filled.by_text(text, 3)
        assert [row["score"] for row in found] == pytest.approx([row["score"] for row in listed], abs=1e-6)
    path = write_picture(tmp_path / "a.png", world.images[4])
    tensor = torch.from_numpy(world.images[4])
    same = (path, str(path), tensor, tensor.bfloat16(), tensor.flip(2).numpy()[:, :, ::-1])
    assert {filled.by_picture(one, 1)[0]["id"] for one in same} == {"picture-4"}
    assert filled.by_picture([path, world.images[5]], 1)[1][0]["id"] == "picture-5"


def test_the_nearest_picture_has_the_colour_that_was_asked_for(filled, world):
    """Judged by the oracle, which reads pixels and knows no vectors."""
    asked = {one.colour for (one,) in world.objects}
    right = [
        read_scene(world.images[int(filled.by_text(f"a {c} thing", 1)[0]["id"][8:])]).objects[0].colour == c
        for c in asked
    ]
    assert len(right) == 8
    assert sum(right) >= 7


def test_pictures_of_any_size_and_files_go_the_same_way(clip, tmp_path):
    world = scenes(3, 64, seed=1)
    files = [write_picture(tmp_path / f"{i}.png", picture) for i, picture in enumerate(world.images)]
    found = PictureSearch(clip.model, clip.tokenizer, VectorStore(64, path=tmp_path / "kept.db"))
    assert found.add(files) == [str(file) for file in files]
    assert found.add(world.images) == ["picture-3", "picture-4", "picture-5"]
    kept = found.store.fetch([*map(str, files), "picture-3", "picture-4", "picture-5"], "pictures")["vectors"]
    rows = np.array([one["values"] for one in kept.values()])
    assert np.abs(rows[:3] - rows[3:]).max() < 1e-5
    found.store.close()
    again = PictureSearch(clip.model, clip.tokenizer, VectorStore.open(tmp_path / "kept.db"))
    assert len(again) == 6
    assert again.by_picture(files[1], 1)[0]["score"] == pytest.approx(1, abs=1e-6)
    opened = [Image.open(file) for file in files]
    assert again.by_picture(opened[1], 1)[0]["score"] == pytest.approx(1, abs=1e-5)
    assert np.abs(again.encode_pictures(opened) - rows[:3]).max() < 1e-5
    assert again.processor(opened[0].convert("RGBA")).shape == (1, 3, 32, 32)


def test_what_will_not_do_is_named_and_nothing_is_written(filled, clip, world, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    good = write_picture(tmp_path / "good.png", world.images[0])
    images = world.images[:2]
    wrong = [
        (lambda: filled.add([good, bad]), "bad.png"), (lambda: filled.add(images * 2), "values in 0..1"),
        (lambda: filled.add([]), "at least one"), (lambda: filled.add(images[0]), r"\(P, 3, H, W\)"),
        (lambda: filled.add((images * 255).astype(np.uint8)), "floats"), (lambda: filled.add("a.png"), "list"),
        (lambda: filled.add(images, ["a"]), "list of 2"), (lambda: filled.add(images, ["a", "a"]), "different"),
        (lambda: filled.add(images, {"a", "b"}), "ids must be a list of 2"),  # a set has no order
        (lambda: filled.add(images, ["a", 3]), "must be a str"), (lambda: filled.add(images, "ab"), "ids"),
        (lambda: filled.add(images, ["a", "b"], [{}]), "metadata must be a list of 2"),
        (lambda: filled.add(images, ["a", "b"], [{}, {"x": None}]), "leave the key out"),
        (lambda: filled.by_text(""), "hold words"), (lambda: filled.by_text([]), "hold words"),
        (lambda: filled.by_text(3), "list of str"), (lambda: filled.by_text("a", 0), "top_k"),
        (lambda: filled.by_picture(None), "pictures"), (lambda: filled.by_text("a", filter={"$x": 1}), r"\$x"),
    ]  # fmt: skip
    for call, why in wrong:
        with pytest.raises(ValueError, match=why):
            call()
    with pytest.raises(ValueError, match="sides like 1 to 50"):
        filled.by_picture(np.zeros((3, 1, 51), np.float32))
    assert len(filled) == 60
    filled.store.delete(["picture-0"], namespace="pictures")
    with pytest.raises(ValueError, match="'picture-59', is taken"):
        filled.add(world.images[:1])
    with pytest.raises(ValueError, match="store must be a VectorStore of dim 64"):
        PictureSearch(clip.model, clip.tokenizer, VectorStore(3))
    with pytest.raises(ValueError, match="model must be a CLIP"):
        PictureSearch(None, clip.tokenizer, VectorStore(3))
    for made in (PictureProcessor(), "clip"):
        with pytest.raises(ValueError, match="pictures of 32 pixels"):
            PictureSearch(clip.model, clip.tokenizer, VectorStore(64), processor=made)
    with pytest.raises(ValueError, match="tokenizer must be a Tokenizer, got None"):
        PictureSearch(clip.model, None, VectorStore(64))
    with pytest.raises(ValueError, match='by "cosine" or "ip", got "l2"'):
        PictureSearch(clip.model, clip.tokenizer, VectorStore(64, metric="l2"))
    with pytest.raises(ValueError, match="namespace must be a str"):
        PictureSearch(clip.model, clip.tokenizer, VectorStore(64), 3)
    with pytest.raises(ValueError, match="size must be between 1 and 8000"):
        PictureProcessor(1_000_000)


def test_a_folder_says_how_its_pictures_are_made(tmp_path):
    path = tmp_path / "preprocessor_config.json"
    with pytest.raises(BadFileError, match=r"has no preprocessor_config\.json"):
        PictureProcessor.from_pretrained(tmp_path)
    path.write_text(
        '{"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}, "resample": 2}'
    )
    assert PictureProcessor.from_pretrained(tmp_path) == PictureProcessor(24, kind="bilinear")
    for text, why in [
        ('{"size": 3, "crop_size": 2}', "one number"), ('{"resample": 1}', "resample"), ("[]", "table"), ("{", "JSON"),
        ('{"do_normalize": false}', "do_normalize"), ('{"image_std": [0, 1, 1]}', "std"), ('{"size": {}}', "size"),
        ('{"image_mean": [1]}', "three numbers"), ('{"rescale_factor": 1}', "1/255"),
    ]:  # fmt: skip
        path.write_text(text)
        with pytest.raises(BadFileError, match=why):
            PictureProcessor.from_pretrained(tmp_path)


def test_a_model_of_another_shape_works():
    """Random weights of CLIP's own form, without a stem."""
    tiny = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = CLIPConfig(text_config=tiny | {"vocab_size": 800, "max_position_embeddings": 20, "eos_token_id": 1},
                        vision_config=tiny | {"image_size": 16, "patch_size": 8}, projection_dim=24)  # fmt: skip
    clip = small_clip()
    found = PictureSearch(CLIP(config), clip.tokenizer, VectorStore(24), "p", PictureProcessor(16))
    found.add(scenes(2, 32, seed=1).images)
    assert len(found.by_text("anything", 5)) == 2
