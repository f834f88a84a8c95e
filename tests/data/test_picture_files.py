"""Pictures in files, against pixels that we wrote into a PNG byte by byte, and against models/pictures."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from minillm._files import BadFileError
from minillm.data.picture_files import list_pictures, png_bytes, read_picture, read_pixels, write_picture
from minillm.models.pictures import preprocess


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: np.ndarray, kind: int, depth: int = 8, extra: bytes = b"") -> bytes:
    """A PNG by its specification: one row after another, without filters. kind: 0 grey, 2 RGB, 3 palette, 6 RGBA."""
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, kind, 0, 0, 0)
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_every_kind_of_png_has_the_colours_that_were_written(tmp_path, pixels):
    path, grey = tmp_path / "a.png", pixels[:, :, 0]

    def read(data):
        path.write_bytes(data)
        picture = read_picture(path)
        assert picture.dtype == np.float32
        return picture * 255

    assert np.abs(read(png(pixels, 2)) - pixels.transpose(2, 0, 1)).max() < 1e-4
    assert np.abs(read(png(grey, 0)) - grey).max() < 1e-4
    assert (
        np.abs(read(png(grey.astype(">u2") * 257, 0, 16)) - grey).max() < 1e-4
    )  # 16 bits are not cut off at 255
    table = chunk(b"PLTE", bytes(range(0, 240)))  # colour i is (3i, 3i + 1, 3i + 2)
    index = grey % 80
    assert (
        np.abs(read(png(index, 3, extra=table)) - (3 * index.astype(int) + np.arange(3)[:, None, None])).max()
        < 1e-4
    )
    alpha = np.random.default_rng(1).choice(np.array([0, 255, 128], np.uint8), grey.shape)
    found = read(png(np.dstack([pixels, alpha]), 6))
    over = (
        alpha[None] / 255 * pixels.transpose(2, 0, 1) + (1 - alpha[None] / 255) * 255
    )  # what is clear is white
    assert np.abs(found - over).max() <= 1
    clear = table + chunk(b"tRNS", bytes([0] * 80))
    assert (read(png(index, 3, extra=clear)) == 255).all()


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photo_stands_as_the_camera_was_held(tmp_path, pixels, turn):
    """The eight values of EXIF's orientation, as its standard says: what row 0 and column 0 of the file are."""
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    seen = {1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1]}
    across = pixels.transpose(1, 0, 2)
    seen |= {5: across, 6: across[:, ::-1], 7: across[::-1, ::-1], 8: across[::-1]}
    assert (read_pixels(tmp_path / "a.png") == seen[turn]).all()


@pytest.mark.parametrize("shape", [(20, 31), (31, 20), (8, 8), (3, 5), (64, 64)])
def test_a_square_of_the_models_size_is_the_one_of_preprocess(tmp_path, shape):
    given = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    Image.fromarray(given).save(tmp_path / "a.png")
    ours = preprocess([given], 8, (0, 0, 0), (1, 1, 1), "bicubic", crop=True)[0].numpy()
    gaps = (
        np.abs(read_picture(tmp_path / "a.png", 8) - ours) * 255
    )  # of 255: the passes may go in another order
    assert gaps.max() < 1.01
    assert (gaps > 0.01).mean() < 0.3


def test_what_is_written_is_read_again_and_a_jpeg_nearly(tmp_path, pixels):
    picture = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    assert (read_picture(write_picture(tmp_path / "b" / "a.png", picture)) == picture).all()
    smooth = np.broadcast_to(np.linspace(0, 1, 16, dtype=np.float32), (3, 16, 16))
    assert np.abs(read_picture(write_picture(tmp_path / "a.JPG", smooth)) - smooth).max() < 0.05
    for wrong, why in [
        (smooth + 1, "0..1"), (smooth * np.nan, "0..1"), (smooth[0], r"\(3, H, W\)"), (pixels, r"\(3, H, W\)"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=why):
            write_picture(tmp_path / "c.png", wrong)
    with pytest.raises(ValueError, match=r"must end in \.png"):
        write_picture(tmp_path / "c.tif", smooth)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.JPG", "b"]


def test_what_is_no_picture_is_refused_by_name(tmp_path, pixels):
    whole = png(np.tile(pixels, (9, 9, 1)), 2)
    bomb = png(np.zeros((1, 1, 3), np.uint8), 2)
    heads = [chunk(b"IHDR", struct.pack(">IIBBBBB", n, n, 8, 2, 0, 0, 0)) for n in (60_000, 10_000)]
    broken = {
        "empty": (b"", "the file is empty"), "text": (b"no picture at all" * 9, "no PNG or JPEG"),
        "cut": (whole[: len(whole) // 2], "refused"), "head": (whole[:20], "refused"),
        "bomb": (bomb[:8] + heads[0] + bomb[33:], "at most 64,000,000 pixels"),
        "gif": (b"GIF89a" + bytes(40), "no PNG"),
        "large": (bomb[:8] + heads[1] + bomb[33:], "at most 64,000,000 pixels"),
        "strip": (png(np.zeros((1, 51, 3), np.uint8), 2), "a side may be 50 times"),
        "flipped": (whole[:50] + bytes([whole[50] ^ 255]) + whole[51:], "refused"),
    }  # fmt: skip
    for name, (data, why) in broken.items():
        (tmp_path / f"{name}.png").write_bytes(data)
        with pytest.raises(BadFileError, match=why) as error:
            read_picture(tmp_path / f"{name}.png")
        assert f"{name}.png" in str(error.value)
        assert "0x" not in str(error.value)
    for absent in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(BadFileError, match="cannot be read"):
            read_picture(absent)
    for size in (0, 1_000_000):  # a square of a million pixels a side has 3 terabytes
        with pytest.raises(ValueError, match="size must be between 1 and 8000"):
            read_picture(tmp_path / "text.png", size)
    if hasattr(os, "mkfifo"):  # Windows has none
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(BadFileError, match=r"pipe\.png' cannot be read: it is no regular file"):
            read_picture(tmp_path / "pipe.png")


def test_a_folder_lists_its_pictures(tmp_path):
    for name in ("b.PNG", "a/c.jpeg", "a/notes.txt", ".hidden.png", "d.jpg", "out/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    from collections import Counter

    others = Counter()
    found = list_pictures(tmp_path, print, others, leave_out=tmp_path / "out")
    assert [name for name, _ in found] == ["a/c.jpeg", "b.PNG", "d.jpg"]
    assert others == {".txt": 1}
    with pytest.raises(BadFileError, match="no file or folder"):
        list_pictures(tmp_path / "none", print)


def test_bytes_of_a_png_are_the_picture(tmp_path):
    picture = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    from matplotlib.image import imread

    found = imread(io.BytesIO(png_bytes(picture)), format="png")  # (4, 5, 3)
    assert np.abs(found[..., :3].transpose(2, 0, 1) - picture).max() <= 0.5 / 255 + 1e-6
    for bad in (
        np.zeros((1, 4, 4)),
        np.zeros((3, 0, 4)),
        np.full((3, 2, 2), 2.0),
        np.full((3, 2, 2), np.nan),
        "x",
    ):
        with pytest.raises(ValueError, match="picture must"):
            png_bytes(bad)
