"""The clock of a child process: seconds in which it waits for a processor are not its own."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

BUSY = 9.0  # times its seconds that a child may wait for a processor, on a machine with more work than processors


def waited(child: int) -> float:
    """Seconds that the child was ready to work and had no processor; 0 where the system does not count them."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{child}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    return 0.0


def seconds_left(child: int, began: float, seconds: float, before: float = 0.0) -> float:
    """What is left to a child of its `seconds`, `began` in time.monotonic(); `before`: what it had waited till then."""
    return seconds + min(waited(child) - before, BUSY * seconds) - (time.monotonic() - began)
