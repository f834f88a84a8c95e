"""The emoji: counted, laid on white as Pillow does it by hand, refused by name where the files are wrong."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from minillm._files import BadFileError
from minillm.data import DownloadError, emoji_pictures
from minillm.data import emoji as room


def test_every_picture_has_its_two_captions(real_data):
    rows = [
        json.loads(line)
        for line in real_data("images/noto_emoji/captions.shared.jsonl").read_text("utf-8").splitlines()
    ]
    found = emoji_pictures()
    assert found.images.shape == (len(rows), 72, 72, 3)
    assert found.images.dtype == np.uint8
    assert found.captions == [row["caption_en"] for row in rows]
    assert found.captions_ko == [row["caption_ko"] for row in rows]
    assert found.keywords_ko[10] == rows[10]["keywords_ko"]
    assert found.symbols[found.captions.index("green heart")] == "\U0001f49a"
    heart = found.images[found.captions.index("green heart")]
    assert (heart[0, 0] == 255).all()  # the paper
    middle = heart[30, 36].astype(int)
    assert middle[1] > middle[0] + 50  # green


def png(size, colour):
    held = io.BytesIO()
    Image.new("RGBA", size, colour).save(held, "PNG")
    return held.getvalue()


def test_half_transparent_ink_is_half_paper():
    found = room.on_white(png((72, 72), (255, 0, 0, 128)))
    # 128/255 of red over white
    assert np.abs(found[0, 0].astype(int) - [255, 127, 127]).max() <= 1


def folder_with(tmp_path, monkeypatch, pictures):
    """The room reads these pictures in place of its own."""
    path = tmp_path / "pictures.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in pictures.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    row = {
        "file": "a.png",
        "emoji": "a",
        "caption_en": "a",
        "caption_ko": "가",
        "keywords_en": [],
        "keywords_ko": [],
    }
    parts = {"captions": [row], "images": {path.name: path}}
    monkeypatch.setattr(room, "load_dataset", lambda name, split: parts[split])


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ({}, "no picture 'a.png'"),
        ({"a.png": b"no picture"}, "no picture 'a.png'"),
        ({"a.png": png((72, 72), "red")[:60]}, "no picture 'a.png'"),
        ({"a.png": png((9, 72), "red")}, "72 x 72"),
    ],
)
def test_a_bad_picture_is_named(tmp_path, monkeypatch, pictures, message):
    folder_with(tmp_path, monkeypatch, pictures)
    with pytest.raises(BadFileError, match=message):
        emoji_pictures()


def test_a_folder_that_is_none_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    monkeypatch.setenv("MINILLM_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="MINILLM_DATA must name a folder"):
        emoji_pictures()
    monkeypatch.setenv("MINILLM_DATA", str(tmp_path))
    with pytest.raises(DownloadError, match="MINILLM_DATA"):
        emoji_pictures()
