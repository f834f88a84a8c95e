"""`minillm index --images` and `minillm search` as a user types them."""

import json
import os

import pytest

from minillm.cli import main
from minillm.course import small_clip
from minillm.course.small.clip import as_pixels
from minillm.data import read_scene, scenes
from minillm.data.picture_files import write_picture
from minillm.models import CLIP, CLIPConfig, picture_vectors
from minillm.search import VectorStore


@pytest.fixture(scope="module")
def world():
    return scenes(40, 32, seed=4_000)


@pytest.fixture
def folder(tmp_path, world):
    """Forty pictures in two folders, and what does not belong there."""
    for i, picture in enumerate(world.images):
        write_picture(tmp_path / "album" / f"{'가을' if i % 2 else 'b'}" / f"{i}.png", picture)
    (tmp_path / "album" / "notes.txt").write_text("no picture")
    return tmp_path / "album"


@pytest.fixture
def typed(capsys):
    def call(*arguments, code=0):
        assert main([*map(str, arguments)]) == code
        out = capsys.readouterr()
        return out.err if code else out.out

    return call


def test_pictures_are_found_by_words_and_by_a_picture(typed, folder, tmp_path, world):
    out = tmp_path / "out"
    assert f"{out}: 40 pictures" in typed("index", "--images", folder, "--out", out)
    vectors = picture_vectors(small_clip().model, as_pixels(world.images))
    rows = json.loads(typed("search", out, "--picture", folder / "b" / "6.png", "-k", 40, "--json"))
    numbers = [int(row["file"].split("/")[1].split(".")[0]) for row in rows]
    assert numbers[0] == 6
    assert rows[0]["path"] == str(folder.resolve() / "b" / "6.png")
    assert [row["score"] for row in rows] == pytest.approx((vectors @ vectors[6])[numbers], abs=1e-4)
    assert sorted(numbers) == list(range(40))
    for text, colour in (("a red thing", "red"), ("red thing", "red"), ("노란 도형", "yellow")):
        (row,) = json.loads(typed("search", out, text, "-k", 1, "--json"))
        number = int(row["file"].split("/")[1].split(".")[0])
        assert read_scene(world.images[number]).objects[0].colour == colour
    autumn = ["search", out, "a red thing", "-k", 40, "--filter", '{"folder": "가을"}']
    assert len([line for line in typed(*autumn).splitlines() if "가을/" in line]) == 20
    assert "no picture passes" in typed("search", out, "a red thing", "--filter", '{"folder": "x"}')


def test_a_second_run_reads_what_has_changed_and_a_stopped_one_goes_on(
    typed, folder, tmp_path, world, monkeypatch
):
    import minillm.models.picture_processor as files

    command, plain, count = (
        ["index", "--images", folder, "--out", tmp_path / "out", "--json"],
        files.read_picture,
        [],
    )

    def stopped(path, size=None):
        count.append(path)
        if len(count) > 35:
            raise KeyboardInterrupt
        return plain(path, size)

    monkeypatch.setattr(files, "read_picture", stopped)
    assert "stopped" in typed(*command, code=130)
    monkeypatch.setattr(files, "read_picture", plain)
    figures = json.loads(typed(*command))
    assert (figures["pictures"], figures["same"], figures["added"]) == (40, 32, 8)
    assert figures["others"] == {".txt": 1}
    (folder / "b" / "0.png").unlink()
    write_picture(folder / "b" / "2.png", world.images[3])
    write_picture(folder / "new.jpg", world.images[0])
    (folder / "b" / "4.png").write_bytes(b"cut")
    figures = json.loads(typed(*command))
    assert {key: figures[key] for key in ("pictures", "added", "changed", "removed", "same")} == {
        "pictures": 39, "added": 1, "changed": 1, "removed": 2, "same": 37,
    }  # fmt: skip
    assert "4.png' is refused: it is no PNG or JPEG picture" in figures["refused"]["b/4.png"]
    (row,) = json.loads(
        typed("search", tmp_path / "out", "--picture", folder / "b" / "2.png", "-k", 1, "--json")
    )
    assert row["file"] in ("b/2.png", "가을/3.png")
    assert row["score"] == pytest.approx(1, abs=1e-4)


def test_another_clip_is_opened_and_not_mixed_with_ours(typed, folder, tmp_path):
    clip, model = small_clip(), tmp_path / "model"
    tiny = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    text = tiny | {"vocab_size": clip.tokenizer.vocab_size, "max_position_embeddings": 40, "bos_token_id": 0}
    text |= {"eos_token_id": clip.model.config.text_config.eos_token_id}
    vision = tiny | {"image_size": 16, "patch_size": 8}
    CLIP(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(model)
    clip.tokenizer.save(model)
    command = ["index", "--images", folder, "--model", model, "--out", tmp_path / "out"]
    assert "has no preprocessor_config.json" in typed(*command, code=1)
    (model / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 16}, "crop_size": 16}')
    assert "40 pictures" in typed(*command)
    assert len(typed("search", tmp_path / "out", "anything").splitlines()) == 5
    assert "indexed with another model" in typed(
        "index", "--images", folder, "--out", tmp_path / "out", code=1
    )
    with VectorStore.open(tmp_path / "out" / "pictures.db", read_only=True) as store:
        assert store.stats()["namespaces"] == {"pictures": {"vector_count": 40}}
    model.rename(tmp_path / "moved")
    assert "no longer at" in typed("search", tmp_path / "out", "anything", code=1)


def test_what_will_not_do_is_said_in_one_line(typed, folder, tmp_path):
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    index = ["index", "--images", folder, "--out"]
    assert "holds no picture (.png, .jpg, .jpeg)" in typed("index", "--images", empty, "--out", out, code=1)
    if hasattr(os, "mkfifo"):  # Windows has none
        os.mkfifo(tmp_path / "pipe.png")
        assert "no regular file" in typed(
            "index", "--images", tmp_path / "pipe.png", "--out", tmp_path / "p", code=1
        )
    assert "no file or folder at" in typed("index", "--images", tmp_path / "none", "--out", out, code=1)
    assert "got --store, too" in typed(*index, out, "--store", out, code=1)
    assert "got paths, too" in typed("index", folder, "--images", folder, "--out", out, code=1)
    assert "--model needs --images" in typed("index", folder, "--model", empty, "--out", out, code=1)
    assert "must be a folder of a CLIP" in typed(*index, out, "--model", empty, code=1)
    assert not out.exists()
    (empty / "a.png").write_bytes(b"")
    assert "can be read: picture" in typed("index", "--images", empty, "--out", out, code=1)
    assert "holds no pictures yet" in typed("search", out, "red", code=1)
    (out / "pictures.db").unlink()
    assert "holds no pictures yet" in typed("search", out, "red", code=1)
    typed(*index, out)
    search = ["search", out]
    assert "by a text or by --picture" in typed(*search, "red", "--picture", "a.png", code=1)
    assert "a.png' cannot be read" in typed(*search, "--picture", tmp_path / "a.png", code=1)
    assert "--store is for an index of texts" in typed(*search, "red", "--store", out, code=1)
    assert "--mode is for an index of texts" in typed(*search, "red", "--mode", "bm25", code=1)
    assert "--filter must be JSON" in typed(*search, "red", "--filter", "x", code=1)
    assert "must hold words" in typed(*search, " ", code=1)
    assert "no pictures at" in typed("search", folder, "--picture", "a.png", code=1)
    assert "holds pictures" in typed("index", folder, "--out", out, code=1)
    (out / "pictures.json").write_text("{}")
    assert "must hold root, model and probe" in typed(*search, "red", code=1)
    (out / "passages.json").write_text("{}")
    assert "holds an index of texts" in typed(*index, out, code=1)
