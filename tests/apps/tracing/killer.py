"""Kill -9 a process that writes spans, again and again; run as a process of its own, without torch.

    python -m tests.apps.tracing.killer FOLDER KILLS SEED

Two forked children write into one file, in turn with each other, and say on a pipe which span has ended; one is killed
after a random time, the other one ends by itself. Then the file is read: every span that was said is there, whole.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from minillm.apps.tracing import Tracer, read_trace
from tests.processes import forked

TEXT = "긴 글 " * 700  # several pages of memory a line


def write(path, name, pipe, until):
    """Spans until the end of the world, or `until` of them."""
    tracer, number = Tracer(path), 0
    os.write(pipe, b"begun\n")
    while until is None or number < until:
        with tracer.trace("step", writer=name, number=number, text=TEXT):
            pass
        os.write(pipe, f"{name} {number}\n".encode())
        number += 1
    assert tracer.lost == 0


def main(folder, kills, seed):
    assert "torch" not in sys.modules
    rng, path, said, half = random.Random(seed), Path(folder) / "killed.jsonl", [], 0
    for turn in range(kills):
        reading, writing = os.pipe()
        victim = forked(lambda: write(path, f"victim{turn}", writing, None))  # noqa: B023
        other = forked(lambda: write(path, f"other{turn}", writing, 20))  # noqa: B023
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            for _ in range(1 + rng.randrange(4)):
                said.append(pipe.readline())
            time.sleep(rng.uniform(0, 0.01))
            os.kill(victim, signal.SIGKILL)
            said += pipe
        assert os.WIFSIGNALED(os.waitpid(victim, 0)[1]), "the writer ended by itself"
        assert os.waitpid(other, 0)[1] == 0, "the other writer failed"
        said = [line for line in said if line != b"begun\n"]
        found = read_trace(path)
        there = {(one.attributes["writer"], one.attributes["number"]) for one in found.records}
        assert len(there) == len(found.records), "a span is there twice"
        assert all(one.attributes["text"] == TEXT for one in found.records), (
            "half a span passed for a whole one"
        )
        lost = {(name, int(number)) for name, number in (line.decode().split() for line in said)} - there
        assert not lost, f"{len(lost)} spans that had ended are gone: {sorted(lost)[:3]}"
        half = found.damaged
        assert half <= turn + 1
    print(json.dumps({"kills": kills, "spans": len(said), "half": half}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
