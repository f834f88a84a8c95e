"""huggingface_hub with limits: nothing in it waits for ever, and what goes wrong is one line that says what to do.

The library sets no time for uploads and for some of its requests, and tries others again for minutes. Here a request
gets a limit, and a whole piece of work is given up when nothing has come of it for a while.

Book 3.2 허깅페이스 허브 탐색하기. Works with huggingface_hub from 1.0 on.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from minillm._files import BadFileError
from minillm.data.downloads import DownloadError


def library(why: str) -> Any:
    """huggingface_hub; ImportError, which begins with `why`, where it is not installed."""
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        raise ImportError(f"{why} it needs huggingface_hub ({error}): pip install -e '.[hub]'") from None
    return huggingface_hub


@contextlib.contextmanager
def bounded(hub: Any, seconds: float) -> Iterator[None]:
    """Requests for which the library sets no limit, uploads above all, get one: so many seconds without any byte."""
    session = hub.get_session()
    before, session.timeout = session.timeout, seconds
    try:
        yield
    finally:
        session.timeout = before


def watched(work: Callable[[], Any], patience: float, grown: Callable[[], int] = lambda: 0) -> Any:
    """What work() returns or raises; DownloadError after `patience` seconds in which `grown()` stayed the same.

    The work is done in a thread of its own, which is left behind then: the library has no other way to stop it.
    """
    outcome: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:  # it belongs to the caller's thread
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True, name=__name__)
    thread.start()
    size, since = grown(), time.monotonic()
    while thread.is_alive():
        thread.join(min(1.0, patience / 4))
        if (now := grown()) != size:
            size, since = now, time.monotonic()
        if thread.is_alive() and time.monotonic() - since > patience:
            raise DownloadError(f"nothing came for {patience:,.0f} seconds")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


def size_of(folder: Path) -> int:
    """Bytes in the files of a folder; those that vanish meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*") if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def unreachable(hub: Any, error: BaseException) -> bool:
    """Whether the hub gave no answer at all, so that what is in the cache may serve."""
    if isinstance(error, hub.errors.OfflineModeIsEnabled) or (_status(error) or 0) >= 500:
        return True
    return isinstance(error, hub.errors.HTTPError) and _status(error) is None


def mended(
    hub: Any, name: str, repo_type: str, revision: str | None, error: BaseException, verb: str = "downloaded"
) -> BaseException:
    """An error of the library as one line that says what to do."""
    errors, status, what = hub.errors, _status(error), {"model": "model", "dataset": "data set"}[repo_type]
    if isinstance(error, BadFileError) or getattr(error, "errno", None) == errno.ENOSPC:
        return error
    cause = error
    while cause is not None and not isinstance(cause, errors.HTTPError):  # an upload's is wrapped
        cause = cause.__cause__
    status = _status(cause) if status is None and cause is not None else status
    if isinstance(error, errors.HFValidationError):
        return ValueError(f"{name!r} is no path here and no name that the hub takes: a name is owner/name")
    if isinstance(error, errors.GatedRepoError):
        reason = (
            "its owner asks for consent: accept the terms on its page, then pass token= or `hf auth login`"
        )
    elif isinstance(error, errors.RevisionNotFoundError):
        reason = f"it has no revision {revision!r}"
    elif isinstance(error, errors.RepositoryNotFoundError):
        reason = f"the hub has no {what} of this name, or it is private (then pass token=)"
        if verb == "pushed":
            reason = "the hub does not know the owner, or the token"
    elif status in (401, 403):
        reason = "the hub refuses the token: make one that may " + (
            "write" if verb == "pushed" else "read it"
        )
    elif status == 429:
        reason = "the hub has had too many requests: wait some minutes"
    elif isinstance(error, errors.OfflineModeIsEnabled):
        reason = "it is not in the hub's cache, and HF_HUB_OFFLINE forbids to ask the hub: unset it once"
    elif status is not None:
        reason = f"the hub answered {status}: try again later"
    elif isinstance(cause, errors.HTTPError):
        late = "timeout" in type(cause).__name__.lower()
        found = "does not answer" if late else "cannot be reached"
        reason = f"the hub ({hub.constants.ENDPOINT}) {found}"
        if verb == "downloaded":
            reason += ". Load it once with a network, or give the path of a copy"
    else:
        reason = " ".join(str(error).split())[:200]
    begun = (
        f"{name} cannot be pushed"
        if verb == "pushed"
        else f"{name!r} is no path here and cannot be downloaded"
    )
    return DownloadError(f"{begun}: {reason}")
