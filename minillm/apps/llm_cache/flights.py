"""Single flight (단일 실행): of equal requests at the same time one is made, and the others wait for its answer.

    first to come     makes the answer, keeps it, tells the others
    the others        sleep until then, and take it
    the first fails   its caller gets the error; one of the others makes the answer itself
    it takes too long after `patience` seconds the others stop waiting, and make their own, all of them

Without it a cache is no help at the worst moment: a thousand people ask the same thing in the second before the first
answer is there (cache stampede). Threads wait on an event; processes see each other in a table of the cache's file.
Book 9.2.1 LLM 캐시 작동 원리.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, bytes]
Maker, Packer = Callable[[], Any], Callable[[Any], Any]


@dataclass
class Flight:
    """An answer in the making."""

    maker: int  # the thread
    done: threading.Event = field(default_factory=threading.Event)
    packed: Any = None


class Flights:
    """Of one process. patience: seconds that somebody waits for another's answer."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._lock = threading.Lock()
        self._running: dict[Key, Flight] = {}

    def fly(self, key: Key, look: Maker, make: Maker, pack: Packer, unpack: Packer) -> Any:
        """What `look` finds (None for nothing), else what `make` gives; `make` runs once at a time for a key.

        Those who waited get unpack(pack(result)), packed before the first one can change it. ValueError where `make`
        asks for its own answer.
        """
        until = time.monotonic() + self.patience
        mine = Flight(threading.get_ident())
        while True:
            with self._lock:
                flight = self._running.setdefault(key, mine)
            if flight is mine:
                break
            if flight.maker == mine.maker:
                raise ValueError("make asked the cache for the very answer that it is making")
            if not flight.done.wait(max(0.0, until - time.monotonic())):
                return make()  # the other one takes too long
            if flight.packed is not None:
                return unpack(flight.packed)  # else it failed, and one of those who waited is next
        try:
            found = look()  # it may have come between our look and our turn
            found = make() if found is None else found
            mine.packed = pack(found)
            return found
        finally:
            with self._lock:
                del self._running[key]
            mine.done.set()


# --- between processes ---

TABLE = (
    "CREATE TABLE flights (namespace TEXT NOT NULL, key BLOB NOT NULL, owner TEXT NOT NULL, until REAL NOT NULL, "
    "PRIMARY KEY (namespace, key)) WITHOUT ROWID"
)


def own_name() -> str:
    """host:process:random, by which others can see whether we still live."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"


def clean(connection: Any, now: float) -> None:
    """Drop what processes left behind that ended in the middle."""
    connection.execute("DELETE FROM flights WHERE until < ?", (now,))


def take(connection: Any, key: Key, owner: str, now: float, patience: float) -> bool:
    """Whether it is our turn to make this answer. A row of a process that is gone, or is late, counts no more: late
    by its own patience, which may be another one than ours."""
    row = connection.execute(
        "SELECT owner, until FROM flights WHERE namespace = ? AND key = ?", key
    ).fetchone()
    if row is not None and row[1] > now and not _gone(row[0]):
        return False
    connection.execute("INSERT OR REPLACE INTO flights VALUES (?, ?, ?, ?)", (*key, owner, now + patience))
    return True


def release(connection: Any, key: Key, owner: str) -> None:
    """Our turn is over."""
    connection.execute("DELETE FROM flights WHERE namespace = ? AND key = ? AND owner = ?", (*key, owner))


def _gone(owner: str) -> bool:
    """Whether the process of that name on this machine has ended. Where that cannot be seen: no. A name that no process
    wrote (damage) is nobody's."""
    try:
        host, number, _ = str(owner).rsplit(":", 2)
        pid = int(number)
    except ValueError:
        return True
    if os.name != "posix" or host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False
