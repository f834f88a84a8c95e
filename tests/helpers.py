"""Small tools that several test files use."""

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]


def pyproject() -> dict[str, Any]:
    """The project's one file of settings."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def cuts(data: bytes, at_most: int = 60) -> list[int]:
    """Lengths at which to cut a file: every byte of a short one, else the ends and even steps between."""
    if len(data) <= at_most:
        return list(range(len(data)))
    step = max(1, len(data) // (at_most - 20))
    return sorted({*range(10), *range(len(data) - 10, len(data)), *range(0, len(data), step)})
