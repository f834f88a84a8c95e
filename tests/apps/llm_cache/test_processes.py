"""Several processes, one cache: one generation for all, and nothing lost or half kept when one is killed."""

import json
import os
import sys

import pytest

from tests.helpers import soak_count
from tests.processes import run

FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason=f"{sys.platform} has no fork")


@FORK
def test_every_kept_answer_survives_kill_9(tmp_path):
    kills = soak_count(50)
    found = json.loads(run("-m", "tests.apps.llm_cache.killer", str(tmp_path), str(kills), "0"))
    assert found["kills"] == kills
    assert found["answers"] >= kills


SAME = """
import os, sys, time
from minillm.apps.llm_cache import LLMCache

path, log = sys.argv[1:]
LLMCache(path).close()

def make():
    with open(log, "a") as file:
        file.write("made\\n")
    time.sleep(0.3)
    return "답"

children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        with LLMCache(path) as cache:
            os._exit(0 if cache.get_or_create("q", make) == "답" else 1)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
"""


@FORK
def test_eight_processes_make_one_answer(tmp_path):
    assert run("-c", SAME, str(tmp_path / "c.db"), str(tmp_path / "log")) == f"{[0] * 8}\n"
    assert (tmp_path / "log").read_text() == "made\n"
