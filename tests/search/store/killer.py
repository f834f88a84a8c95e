"""Kill -9 a process that writes into a store, again and again; run as a process of its own, without torch.

    python -m tests.search.store.killer FOLDER KILLS SEED

A forked child writes batch after batch into the same file and says on a pipe when each was acknowledged. It is killed
after a random time; then a fresh child opens the file and counts. Prints {"kills", "torn", "acknowledged", "batches in
doubt": written but not acknowledged}; anything that does not add up ends it with an error.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from minillm.search.store import VectorStore
from tests.processes import forked

SIZE = 40  # records of a batch
ALL, KEPT = "all", "kept"


def batch(number):
    """SIZE records of their own, and one that every batch replaces; of the batch before, half are deleted."""
    metadata = {"batch": number, "pad": "x" * 200}
    own = [
        {"id": f"{number:06d}-{i}", "values": [1, number, i, 7], "metadata": metadata} for i in range(SIZE)
    ]
    return [*own, {"id": "latest", "values": [2, number, 0, 7], "metadata": metadata}]


def write(path, start, pipe):
    """Batches from `start` on until the end of the world."""
    os.write(pipe, b"begun\n")
    store = VectorStore(4, "l2", path)
    number = start
    while True:
        store.upsert(batch(number), namespace=ALL)
        os.write(pipe, f"{number}\n".encode())
        store.upsert(batch(number), namespace=KEPT)
        store.delete(filter={"batch": {"$lt": number}}, namespace=KEPT)
        os.write(pipe, f"gone {number}\n".encode())
        number += 1


def count(path, last, gone, read_only):
    """The last batch that is there, `last` or one more; fails where one is half there, or an older one is missing, or
    one is back that was deleted when batch `gone` was kept."""
    store = VectorStore.open(path, read_only=read_only)
    ids = store.list(namespace=ALL)
    batches = {}
    for id in ids[:-1]:
        number, place = id.split("-")
        batches.setdefault(int(number), set()).add(int(place))
    highest = max(batches, default=-1)
    assert highest in (last, last + 1), f"batch {last} was acknowledged, {highest} is the last one there"
    assert sorted(batches) == list(range(highest + 1)), "a batch in between is missing"
    assert all(places == set(range(SIZE)) for places in batches.values()), "a batch is half there"
    assert ids[-1:] == ["latest"][: len(batches)]
    for number in {highest} - {-1}:
        found = store.fetch([record["id"] for record in batch(number)], namespace=ALL)["vectors"]
        assert list(found.values()) == batch(number), "a record is not what was written"
    kept = store.list(namespace=KEPT)
    rest = {int(id.split("-")[0]) for id in kept if id != "latest"}
    assert len(kept) == len(rest) * SIZE + bool(rest), "half a batch was deleted"
    assert all(gone <= number <= highest for number in rest), "an acknowledged deletion is undone"
    store.close()
    return highest


def asked(path, *known):
    """What `count` gives, asked in a process of its own, as a reader that comes after a crash would."""
    reading, writing = os.pipe()
    child = forked(lambda: os.write(writing, b"%d" % count(path, *known)))
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        answer = file.read()
    assert os.waitpid(child, 0)[1] == 0, "the store could not be read after a kill"
    return int(answer)


def main(folder, kills, seed):
    assert "torch" not in sys.modules
    rng, path = random.Random(seed), Path(folder) / "killed.db"
    last = gone = -1
    acknowledged = doubtful = torn = 0
    for _ in range(kills):
        reading, writing = os.pipe()
        child = forked(lambda: write(path, last + 1, writing))  # noqa: B023
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            file.readline()
            said = [
                file.readline() for _ in range(rng.randrange(4))
            ]  # a slow machine gets as far as a fast one
            time.sleep(rng.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
            said += file
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), "the writer ended by itself"
        torn += os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal") > 0
        acknowledged += len(said)
        for line in said:
            *deleted, number = line.split()
            gone, last = (int(number), last) if deleted else (gone, int(number))
        if path.exists() and last >= 0:
            before = asked(path, last, gone, True)
            highest = asked(path, last, gone, False)
            assert before == highest, "a reader and a writer do not agree"
            doubtful += highest - last
            last = highest
    print(json.dumps({"kills": kills, "torn": torn, "acknowledged": acknowledged, "in doubt": doubtful}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
