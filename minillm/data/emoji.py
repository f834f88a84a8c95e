"""Real pictures with captions in two languages: the emoji (이모지) of Noto, each with its Unicode name and keywords.

    emoji = emoji_pictures();   emoji.images[0], emoji.captions[0], emoji.captions_ko[0], emoji.keywords[0]

The made scenes have a caption for everything that is in them; a name such as "steaming bowl" says what people call a
picture, not what it looks like. Files: the data set "noto_emoji" of datasets.json, checked by sha256. A picture is
laid on white, as its file has an alpha channel. Book 14.2.4 CLIP 모델 직접 활용하기, 10.2.3. Left out: other sizes.
"""

from __future__ import annotations

import tarfile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minillm._files import BadFileError
from minillm.data.datasets import load_dataset
from minillm.data.picture_files import unpack_pixels

PIXELS = 72


class Emoji(NamedTuple):
    """N pictures (N, 72, 72, 3) of bytes and what is said of each: row i of every field belongs together."""

    images: NDArray[np.uint8]
    symbols: list[str]
    captions: list[str]
    captions_ko: list[str]
    keywords: list[list[str]]
    keywords_ko: list[list[str]]


def emoji_pictures() -> Emoji:
    """All of them, in the order of the file of captions.

    Raises DownloadError where the data set is not on disk (it says which folder MINILLM_DATA must name), ValueError
    where MINILLM_DATA names no folder, BadFileError for a file that is not the one expected.
    """
    rows = list(load_dataset("noto_emoji", "captions"))
    (path,) = load_dataset("noto_emoji", "images").values()
    with tarfile.open(path) as tar:
        images = []
        for row in rows:
            try:
                images.append(on_white(tar.extractfile(row["file"]).read()))
            except (KeyError, OSError) as error:
                raise BadFileError(
                    f"data file {str(path)!r} has no picture {row['file']!r}: {error}"
                ) from None
    columns = {name: [row[name] for row in rows] for name in ("emoji", "caption_en", "caption_ko")}
    words = [[row[name] for row in rows] for name in ("keywords_en", "keywords_ko")]
    return Emoji(np.stack(images), *columns.values(), *words)


def on_white(data: bytes) -> NDArray[np.uint8]:
    """A PNG file (RGBA) as bytes (H, W, 3): where it is transparent the paper is seen. OSError for another size."""
    pixels = unpack_pixels(data)
    if pixels.shape[:2] != (PIXELS, PIXELS):
        raise OSError(f"it must have {PIXELS} x {PIXELS} pixels, got {pixels.shape[1]} x {pixels.shape[0]}")
    return pixels
