"""A file from the web, whole and checked, or not at all: the standard library's urllib under three promises.

1. Nothing half-downloaded is left: bytes go to a temporary file that takes its name only at the end.
2. What arrives is what was meant: the number of bytes and the sha256 (a fingerprint of the content) must be right.
3. When it fails, the error says which address, what happened, and nothing else changed.

Book: 3.2 허깅페이스 허브 탐색하기 (what `from_pretrained` and `load_dataset` do before they load).
Left out: resuming, several connections at once, credentials.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from minillm._checks import check_int, check_number, check_text
from minillm._files import BadFileError, replace_whole

MOST_BYTES = 4_000_000_000  # where a file's size is not known beforehand
SLOWEST = 1000  # bytes a second that must come, over any `timeout` seconds: a server that drips holds nobody


class DownloadError(OSError):
    """A file could not be fetched: no network, no such address, cut short, or not the content that was meant."""


def cache_folder() -> Path:
    """Where downloads are kept: $MINILLM_CACHE, else the platform's place for caches."""
    if chosen := os.environ.get("MINILLM_CACHE"):
        return Path(chosen).expanduser()  # in a file of settings no shell replaces the ~
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "minillm" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "minillm"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minillm"


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file's content, 64 hexadecimal digits; BadFileError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise BadFileError(f"file {str(path)!r} cannot be read: {error.strerror or error}") from None
    return digest.hexdigest()


def download(
    url: str,
    path: str | Path,
    sha256: str | None = None,
    size: int | None = None,
    timeout: float = 30.0,
    progress: Callable[[int, int | None], None] | None = None,
) -> str:
    """Fetch `url` into the file `path` and return the sha256 of its content.

    sha256, size: what the content must be, where known (size in bytes). timeout: seconds without an answer, or with
    less than SLOWEST bytes a second.
    progress: called with (bytes so far, bytes in all or None) after every block.

    Raises DownloadError when the file cannot be fetched or is not the one that was meant; `path` is then as it
    was before. Raises ValueError for an address that is not http or https.
    """
    if urllib.parse.urlsplit(check_text("url", url)).scheme not in {"http", "https"}:
        raise ValueError(f"url must begin with http:// or https://, got {url!r}")
    timeout = check_number("timeout", timeout, 0.001)
    size = None if size is None else check_int("size", size, 0)
    digest = hashlib.sha256()

    def fetch(temporary: Path) -> None:
        request = urllib.request.Request(url, headers={"User-Agent": "minillm"})
        with urllib.request.urlopen(request, timeout=timeout) as answer, temporary.open("wb") as file:
            stated = answer.headers.get("Content-Length")
            total = int(stated) if stated and stated.isdigit() else size
            if size is not None and total != size:
                raise DownloadError(f"{url} offers {total:,} bytes, expected {size:,}")
            done, since, before = 0, time.monotonic(), 0
            while block := answer.read1(1 << 16):  # what is there; `read` would wait for all of it
                done += len(block)
                if (now := time.monotonic()) - since > timeout:
                    if done - before < SLOWEST * timeout:
                        raise DownloadError(f"{url} broke off: less than {SLOWEST:,} bytes a second came")
                    since, before = now, done
                if done > (MOST_BYTES if total is None else total):
                    raise DownloadError(f"{url} sent more than the expected {total or MOST_BYTES:,} bytes")
                file.write(block)
                digest.update(block)
                if progress is not None:
                    progress(done, total)
            if total is not None and done < total:
                raise DownloadError(f"{url} was cut short: {done:,} of {total:,} bytes came")
        if sha256 is not None and digest.hexdigest() != sha256:
            raise DownloadError(
                f"{url} has sha256 {digest.hexdigest()}, expected {sha256}: it is another file"
            )

    try:
        replace_whole(path, fetch)
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{url} answered {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise DownloadError(f"{url} cannot be reached: {error.reason}") from None
    except (TimeoutError, http.client.HTTPException, ConnectionError) as error:
        raise DownloadError(f"{url} broke off: {error or type(error).__name__}") from None
    return digest.hexdigest()
