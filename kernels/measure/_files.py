"""Files written whole or not at all: the results of kernels/measure/bench.py and kernels/measure/compile_ahead.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write(temporary)` make a file beside `path`, then move it into place in one step; folders are made.

    Whoever reads finds the old file or the new one, never a part; if `write` fails, the old one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file (UTF-8) in one step."""
    replace_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
