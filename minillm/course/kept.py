"""What the course trains once and keeps: made by whoever needs it first, found by everybody after.

    folder of the cache/models/NAME-KEY/       whatever `build` wrote into it, whole or not at all
    folder of the cache/models/NAME-KEY.lock   held while it is made or opened

Two processes that ask at once: one builds, the other waits and then opens. The lock is the operating system's (through
filelock), so it is gone when its process is, however that ended; a builder that died leaves a folder named .part, which
the next one removes. The cache folder is that of the data sets: $MINILLM_CACHE, else the platform's.

Left out: keeping different machines apart that share one cache folder over a network.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from minillm._checks import check_number
from minillm._files import BadFileError
from minillm.data import cache_folder

DEADLINE = 900.0  # seconds to wait for another process that builds: ten times what a build may take
Made = TypeVar("Made")


def key_of(*parts: object) -> str:
    """Twelve hexadecimal digits that change when anything does that decides what is built (its repr is read)."""
    return hashlib.sha256(repr(parts).encode("utf-8")).hexdigest()[:12]


def kept_folder(name: str, key: str) -> Path:
    """Where `kept` keeps it, whether it is there yet or not."""
    return cache_folder() / "models" / f"{name}-{key}"


def kept(
    name: str,
    key: str,
    build: Callable[[Path], None],
    load: Callable[[Path], Made],
    rebuild: bool = False,
    deadline: float = DEADLINE,
) -> Made:
    """What `load(folder)` returns for the folder that `build(folder)` filled, now or some time before.

    key: of everything that decides the result (`key_of`); another key is another folder. A folder that `load` refuses
    with BadFileError is built anew, once. rebuild=True builds in any case. Raises TimeoutError when another process
    holds the lock for more than `deadline` seconds; what `build` raises leaves the folder as it was.
    """
    deadline = check_number("deadline", deadline, 0)
    folder = kept_folder(name, key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f"{folder.name}.lock")
    try:
        with FileLock(lock, timeout=deadline):
            if folder.is_dir() and not rebuild:
                try:
                    return load(folder)
                except BadFileError:
                    pass  # damaged: it is made again
            _build(folder, build)
            return load(folder)
    except Timeout:
        raise TimeoutError(
            f"another process has been making {name} for {deadline:g} s; if none is, delete {str(lock)!r}"
        ) from None


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    """Under the lock: build beside, then take the old one's place."""
    for left in folder.parent.glob(f".{folder.name}-*.part"):  # of builders that died
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-", suffix=".part"))
    try:
        build(fresh)
        fresh.chmod(0o755)  # mkdtemp's are private
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
