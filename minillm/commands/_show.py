"""What a command prints."""

from __future__ import annotations

import json
from typing import Any


def print_json(value: Any) -> None:
    """One JSON value, Korean text as it is."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
