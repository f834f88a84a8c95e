"""How long llama.cpp takes for a token, in a process of its own: the peer of the compiled decode step.

    llama_cpp_seconds("model.gguf", [1, 2, 3], new=64)     ->  seconds a token, one number a round

It is started from outside, because the library imports none of the programs that it is held against. One thread or
several, as is asked; the end token does not stop it. Needs the package xllamacpp.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from minillm._checks import check_int, check_number

_PROGRAM = """
import json, sys
import xllamacpp
given = json.loads(sys.stdin.read())
options = xllamacpp.CommonParams()
options.model.path, options.n_ctx, options.n_parallel, options.warmup = given["path"], given["room"], 1, False
options.cpuparams.n_threads = options.cpuparams_batch.n_threads = given["threads"]
server, found = xllamacpp.Server(options), []
for _ in range(given["rounds"]):
    request = {"prompt": given["ids"], "max_tokens": given["new"], "temperature": 0, "cache_prompt": False}
    reply = server.handle_completions({**request, "ignore_eos": True})
    found.append(reply["timings"]["predicted_per_token_ms"] / 1000)
print("\\nANSWER " + json.dumps(found), flush=True)
"""


def llama_cpp_seconds(
    path: str | Path,
    ids: Sequence[int],
    new: int = 64,
    rounds: int = 3,
    threads: int = 1,
    deadline: float = 120,
) -> list[float]:
    """Seconds a new token, greedy, after the prompt `ids`: one number for each of `rounds` runs.

    Raises RuntimeError where llama.cpp ends without an answer, subprocess.TimeoutExpired after `deadline` seconds.
    """
    check_int("new", new, 1), check_int("rounds", rounds, 1), check_int("threads", threads, 1)
    check_number("deadline", deadline, 1)
    ids = [check_int("a token id", one, 0) for one in ids]
    given = {"path": str(path), "ids": ids, "new": new, "rounds": rounds, "threads": threads}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps(given | {"room": len(ids) + new + 8}),
        capture_output=True, encoding="utf-8", errors="replace", timeout=deadline, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    if done.returncode or not lines:
        raise RuntimeError(f"llama.cpp ended with {done.returncode}: {done.stderr[-800:]}")
    return json.loads(lines[-1].removeprefix("ANSWER "))
