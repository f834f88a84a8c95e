"""Kill -9 a process that asks a cache, again and again; run as a process of its own.

    python -m tests.apps.llm_cache.killer FOLDER KILLS SEED

A forked child asks for answer after answer and says on a pipe which it has got. It is killed after a random time;
then a fresh child opens the file: every answer that was said is there, whole, and nothing else is; and a request that
was being made when the process died is made again without waiting for the dead.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from minillm.apps.llm_cache import LLMCache
from tests.processes import forked

PAD = "글" * 3_000


def write(path, start, pipe):
    """Answers from `start` on until the end of the world; some are slow to make, so that a kill falls into one."""
    os.write(pipe, b"begun\n")
    cache, number = LLMCache(path, most=None), start
    while True:
        cache.get_or_create(f"question {number}", lambda: time.sleep(0.001) or f"{number} {PAD}")  # noqa: B023
        os.write(pipe, f"{number}\n".encode())
        number += 1


def check(path, last):
    """All answers up to `last` are there; the next one may be; it is made within the patience of nobody."""
    with LLMCache(path, most=None, patience=30.0) as cache:
        there = cache.stats()["entries"]
        assert there in (last + 1, last + 2), f"answer {last} was acknowledged, {there} are there"
        for number in range(max(0, last - 20), there):
            found = cache.answer(f"question {number}", lambda: "lost")
            assert found == (f"{number} {PAD}", "exact", None), number
        begun = time.monotonic()
        cache.get_or_create(f"question {there}", lambda: f"{there} {PAD}")
        assert time.monotonic() - begun < 20, "waited for a dead process"


def main(folder, kills, seed):
    rng, path, last = random.Random(seed), Path(folder) / "killed.db", -1
    for _ in range(kills):
        reading, writing = os.pipe()
        child = forked(lambda: write(path, last + 1, writing))  # noqa: B023
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = [pipe.readline() for _ in range(1 + rng.randrange(4))]
            time.sleep(rng.uniform(0, 0.01))
            os.kill(child, signal.SIGKILL)
            said += pipe
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "the writer ended by itself"
        last = max([last, *(int(line) for line in said if line != b"begun\n")])
        if path.exists():
            checking = forked(lambda: check(path, last))  # noqa: B023
            assert os.waitpid(checking, 0)[1] == 0, "the cache does not hold what it said"
            last = forked_count(path) - 1
    print(json.dumps({"kills": kills, "answers": last + 1}))


def forked_count(path):
    """How many answers there are, asked in a process of its own."""
    reading, writing = os.pipe()
    child = forked(lambda: os.write(writing, b"%d" % len(LLMCache(path))))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        count = int(pipe.read())
    os.waitpid(child, 0)
    return count


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
