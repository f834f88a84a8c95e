"""Where things are: the library's own files, the checkout they stand in, the folder of the tour's results, and whether
a folder that a user named can be read from or written to, which is asked before the work begins.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]  # minillm/; kernels/ stands beside it
PARTS = {
    "model": "config.json",
    "index": "passages.json",
}  # folders of a tour, and the file that each one has


def find_checkout() -> Path | None:
    """The repository this library runs from (it holds notebooks/ and tests/), or None for a plain install."""
    root = LIBRARY.parent
    return root if (root / "notebooks").is_dir() and (root / "pyproject.toml").is_file() else None


def checkout() -> Path:
    """As `find_checkout`, with a ValueError that says what to do when there is no checkout."""
    root = find_checkout()
    if root is None:
        raise ValueError("this needs the repository: clone it and install with `pip install -e .` there")
    return root


def tour_folder() -> Path:
    """tour/ in the current folder: model/, index/ and tour.html."""
    return Path.cwd() / "tour"


def find_part(given: Path | None, part: str) -> Path:
    """The "model" or "index" folder that the user named: that folder, or the tour's folder that holds it.

    given: None for the tour's in the current folder. A model may also be a .gguf or a llama2.c .bin file. Raises
    ValueError, saying what to do, where there is no such part.
    """
    if given is None:
        folder = tour_folder() / part
        if not folder.is_dir():
            raise ValueError(
                f"no {part} at {folder}: run `minillm tour` here first, or name one with --{part}"
            )
        return folder
    if not given.exists():
        raise ValueError(f"no {part} at {given}: no such file or folder")
    if not given.is_dir():
        if part == "model" and given.suffix in (".bin", ".gguf"):
            return given
        bin_file = ", a .gguf or a llama2.c .bin file" if part == "model" else ""
        raise ValueError(f"no {part} at {given}: it is a file, expected a folder{bin_file}")
    if (given / PARTS[part]).exists():
        return given
    if not (given / part).is_dir():
        raise ValueError(f"no {part} at {given}: the folder holds neither {PARTS[part]} nor {part}/")
    return given / part


def check_out(folder: Path, *inside: str) -> Path:
    """`folder`, if it and the folders `inside` it can be made and written into; ValueError that says why not.

    Nothing is left behind: a temporary file without a name tries the nearest folder that is there.
    """
    for path in (folder, *(folder / name for name in inside)):
        there = next(one for one in (path, *path.absolute().parents) if os.path.lexists(one))
        if not there.is_dir():
            raise ValueError(f"cannot write to folder {path}: {there} is no folder")
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            raise ValueError(
                f"cannot write to folder {path}: no file can be made in {there} ({error.strerror})"
            ) from None
    return folder
