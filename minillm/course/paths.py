"""Where things are: the library's own files, the checkout they stand in, and the folder of the tour's results."""

from __future__ import annotations

from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]  # minillm/; kernels/ stands beside it


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
    """tour/ in the checkout, or in the current folder for a plain install: model/, index/ and tour.html."""
    return (find_checkout() or Path.cwd()) / "tour"
