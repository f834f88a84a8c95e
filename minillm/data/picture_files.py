"""Pictures in files: PNG and JPEG -> (3, H, W) float32 in 0..1, and back.

    bytes -> Pillow -> turned as the camera was held (EXIF) -> what is transparent lies on white -> three colours / 255

A file that is empty, cut short, no picture, or too large to be unpacked is refused by name, before its pixels take
memory: a small file can unpack to gigabytes.

Book 12.5.1 데이터셋. Pillow unpacks. Cutting to a square of the model's size is as in models/pictures.py, to which it
is held. Left out: animations, colour profiles, other formats.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minillm._arrays import as_array
from minillm._checks import check_int, check_path, describe
from minillm._files import BadFileError, read_bytes, replace_whole
from minillm.data.text_files import list_files

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_BYTES = 100_000_000
MAX_PIXELS = 64_000_000
MAX_SIZE = 8_000  # MAX_PIXELS as a square
MAX_RATIO = 50  # of the longer side to the shorter one: a square of a longer strip shows nothing of it


def read_picture(path: str | Path, size: int | None = None) -> NDArray[np.float32]:
    """A PNG or JPEG file as (3, H, W) float32 in 0..1. size: the short side becomes it, and the middle square is kept.

    Raises BadFileError (a ValueError) naming the file and what is wrong with it.
    """
    return floats_of(read_pixels(path, size))


def read_pixels(path: str | Path, size: int | None = None) -> NDArray[np.uint8]:
    """As `read_picture`, as bytes (H, W, 3), which take a quarter of the memory."""
    path = check_path("path", path)
    if size is not None:
        check_int("size", size, 1, MAX_SIZE)
    data = read_picture_bytes(path)
    if not data:
        raise BadFileError(f"picture {str(path)!r} is refused: the file is empty")
    try:
        return unpack_pixels(data, size)
    except MemoryError:
        raise
    except Exception as error:  # Pillow says that a file is broken by many names, SyntaxError among them
        known = {
            "UnidentifiedImageError": "it is no PNG or JPEG picture",
            "DecompressionBombError": f"it is too large: at most {MAX_PIXELS:,} pixels are read",
        }
        name = type(error).__name__
        why = known.get(name) or str(error).split("<")[0].strip() or name  # no address of an object
        raise BadFileError(f"picture {str(path)!r} is refused: {why}") from None


def read_picture_bytes(path: str | Path) -> bytes:
    """The bytes of a picture's file. BadFileError for one that is too large, and for a pipe, which might never end."""
    path = check_path("path", path)
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise BadFileError(
            f"picture {str(path)!r} has {path.stat().st_size:,} bytes, at most {MAX_BYTES:,} are read"
        )
    if path.exists() and not path.is_file() and not path.is_dir():
        raise BadFileError(f"picture {str(path)!r} cannot be read: it is no regular file")
    return read_bytes(path, "picture")


def unpack_pixels(data: bytes, size: int | None = None) -> NDArray[np.uint8]:
    """The bytes of a picture's file as (H, W, 3); raises what Pillow raises for what is none."""
    Image, ImageOps = _pillow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large pictures, which are refused below
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} are too many: at most {MAX_PIXELS:,} pixels are read")
    check_sides(width, height)
    return pixels_of(ImageOps.exif_transpose(image), size)


def check_sides(width: int, height: int) -> None:
    """ValueError for a strip: cut to a square, it is enlarged without bounds."""
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ValueError(f"{width} x {height} pixels, a side may be {MAX_RATIO} times the other")


def floats_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bytes (H, W, 3) as (3, H, W) in 0..1."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)


def is_image(value: Any) -> bool:
    """Whether a value is a picture of Pillow's."""
    return hasattr(value, "getbands") and hasattr(value, "convert")


def pixels_of(image: Any, size: int | None = None) -> NDArray[np.uint8]:
    """Pillow's picture as bytes (H, W, 3), on white where it is transparent; size: as in `read_picture`."""
    Image, _ = _pillow()
    check_sides(*image.size)
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would cut them off at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    if size is not None:
        (width, height), short = image.size, min(image.size)
        image = image.resize((size * width // short, size * height // short), Image.Resampling.BICUBIC)
        left, top = (image.width - size) // 2, (image.height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return np.array(image)


def write_picture(path: str | Path, picture: Any) -> Path:
    """Write a picture (3, H, W) of values in 0..1 (array or tensor) as a .png, or with losses as a .jpg.

    The file is written whole or not at all. Raises ValueError for another suffix, shape or value.
    """
    path = check_path("path", path)
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise ValueError(f"path must end in {', '.join(PICTURE_SUFFIXES)}, got {str(path)!r}")
    image, form = _image(picture), "PNG" if path.suffix.lower() == ".png" else "JPEG"
    return replace_whole(
        path, lambda part: image.save(part, form, **({"quality": 95} if form == "JPEG" else {}))
    )


def png_bytes(picture: Any) -> bytes:
    """A picture (3, H, W) of values in 0..1 as the bytes of a PNG file. ValueError as `write_picture`."""
    with io.BytesIO() as part:
        _image(picture).save(part, "PNG")
        return part.getvalue()


def _image(picture: Any) -> Any:
    pixels = (check_picture("picture", picture).transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
    return _pillow()[0].fromarray(pixels)


def check_picture(name: str, picture: Any) -> NDArray:
    """An array or a tensor (3, H, W) as an array; ValueError unless it holds floats in 0..1."""
    values = as_array(picture)
    if values.ndim != 3 or values.shape[0] != 3 or not values.size or values.dtype.kind != "f":
        raise ValueError(f"{name} must be floats (3, H, W), got {describe(picture)}")
    if not (values.min() >= 0 and values.max() <= 1):  # NaN too
        raise ValueError(f"{name} must have values in 0..1, got {values.min():g} to {values.max():g}")
    return values if values.itemsize > 2 else values.astype(np.float32)  # 16 bits are too few for 255 steps


def list_pictures(
    path: str | Path,
    refuse: Callable[[OSError], None],
    others: Counter[str] | None = None,
    leave_out: Path | None = None,
) -> list[tuple[str, Path]]:
    """(name, file) of a picture, or of every picture in a folder and below it, in order of their names.

    Hidden files and folders are passed over, links to folders are not followed. refuse: called for a folder that is
    closed to us. others: counts the files of other suffixes. BadFileError for a path that is not there.
    """
    return sorted(list_files(path, PICTURE_SUFFIXES, refuse, others, leave_out))


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ImportError("pictures in files need Pillow: pip install pillow") from None
    return Image, ImageOps
