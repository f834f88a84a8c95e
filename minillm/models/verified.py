"""A checksum that was right need not be taken again until its file changes.

    sha256 of 538 MB: 0.3 s each time, eight times what opening them takes      (size, times, inode): a microsecond

A large file whose checksum held is remembered in the cache folder by what the system says of it: size, the times of
its last change, inode. Whatever writes to a file, or puts another in its place, changes one of them, and the checksum
is taken again. What an answer rests on is looked at before the file is opened, so that a file which is replaced in
between is never remembered under the other's checksum.

Not remembered, so read through each time, are files of which the system's word is not enough:

- changed within the last FRESH seconds: the clock of some file systems has coarse ticks, and a change within the same
  tick would go unseen (the rule that git follows for its index). A file that we wrote ourselves need not wait so long:
  where the clock shows parts of a millisecond its tick is short, and is waited for (`wrote`);
- whose time of change is not later than the time of writing, which programs may set: Windows has no time of change,
  and sshfs, FAT and some network drives show another time in its place. (A file that we saved has a later one.)

What is not seen: a disk that loses a bit by itself, and a program that writes through a shared map (numpy's
`memmap(mode="r+")`), of which the system takes note late, or in memory-backed folders never. `verify_weights` looks at
every byte (as an empty cache folder does).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from minillm._files import BadFileError, read_json, write_whole
from minillm.data.datasets import cache_folder

LARGE = 1 << 24  # bytes; smaller files are read through each time, which takes less than ten milliseconds
FRESH = 3.0
TICK = (
    0.02  # seconds; twice the longest tick of a clock that shows parts of a millisecond (Linux: 1 to 10 ms)
)
_FOLDER = "verified"


def picture(path: Path) -> dict[str, int] | None:
    """What the system says of a file, to be asked before the file is opened; None where its word is not enough."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if os.name == "nt" or found.st_size < LARGE or found.st_ctime_ns <= found.st_mtime_ns:
        return None
    return {
        "size": found.st_size, "written": found.st_mtime_ns, "changed": found.st_ctime_ns, "inode": found.st_ino,
        "device": found.st_dev,
    }  # fmt: skip


def holds(
    path: Path, expected: str, digest: Callable[[], str], before: dict[str, int] | None, anew: bool = False
) -> bool:
    """Whether the checksum of a file is `expected`; `digest()` takes it, and is spared where it is known to hold.

    before: the `picture` of the file, made before it was opened. anew: take the checksum in any case.
    """
    same = (
        before is not None and picture(path) == before
    )  # else another file stands there than the one that is open
    if same and not anew and _known(path) == {**before, "sha256": expected}:
        return True
    now = time.time()
    good = digest() == expected
    if not good:
        _drop(path)
    elif same and before["changed"] < (now - FRESH) * 1e9 and picture(path) == before:
        _remember(path, {**before, "sha256": expected})
    return good


def wrote(path: Path, checksum: str) -> None:
    """Remember a file that was just written under this checksum, so that its first load need not read it through."""
    time.sleep(TICK)  # whoever changes the file from now on gives it another time
    now = picture(path)
    if now is not None and now["changed"] % 1_000_000:
        _remember(path, {**now, "sha256": checksum})


def forget(path: Path) -> None:
    """Take the checksum of this file anew at the next load. OSError for a cache that cannot be written."""
    _note(path).unlink(missing_ok=True)


def _drop(path: Path) -> None:
    """What was remembered of a file whose checksum does not hold is wrong: the disk has lost a bit, say."""
    with contextlib.suppress(OSError, RuntimeError):
        forget(path)


def _note(path: Path) -> Path:
    name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return cache_folder() / _FOLDER / f"{name}.json"


def _known(path: Path) -> object:
    try:
        return read_json(_note(path), "note")
    except (BadFileError, OSError, RuntimeError):  # none yet, damaged, no home folder: the checksum is taken
        return None


def _remember(path: Path, note: dict[str, object]) -> None:
    try:
        write_whole(_note(path), json.dumps(note))
    except (OSError, RuntimeError):  # a cache that cannot be written: the checksum is taken each time
        return
