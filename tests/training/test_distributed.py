"""Two processes under torchrun: the loss curve of one, one of them writes, and nothing hangs."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minillm.training import checkpoints

SCRIPT = Path(__file__).with_name("two_processes.py")
ROOT = SCRIPT.parents[2]

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="torchrun's gloo needs a build of torch with libuv"),
    pytest.mark.timeout(280),
]


def start(folder, kind, processes, *more):
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    command = [*(launcher if processes > 1 else [sys.executable]), str(SCRIPT), str(folder), kind, *more]
    import os

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)
    return done


def found(folder, processes, rank=0):
    return json.loads((folder / f"found-{processes}-{rank}.json").read_text())


@pytest.mark.parametrize("kind", ["stream", "texts", "classes"])
def test_two_processes_have_the_loss_curve_of_one(tmp_path, kind):
    """Ten steps; rank 1 of the classifier even starts with other weights."""
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        done = start(folder, kind, processes)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = found(tmp_path / "1", 1), found(tmp_path / "2", 2)
    assert len(one["loss"]) == len(two["loss"]) == 10
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
    assert two["tokens"] == one["tokens"]
    assert one["loss"][0] - one["loss"][-1] > 1e-3
    other = found(tmp_path / "2", 2, rank=1)
    assert other["weights"] == two["weights"]
    assert other["loss"] == two["loss"]
    if kind == "classes":
        assert [x for x in two["eval"] if x] == pytest.approx([x for x in one["eval"] if x], abs=1e-5)
        steps = [path.name for path in checkpoints(tmp_path / "2" / "run")]
        assert steps == ["step-000004", "step-000008", "step-000010"]
        again = start(tmp_path / "2", kind, 2, "resume")
        assert again.returncode == 0, again.stderr[-2000:]
        assert found(tmp_path / "2", 2)["weights"] == two["weights"]


@pytest.mark.parametrize("kind", ["raises", "sleeps"])
def test_a_process_that_fails_or_hangs_ends_all(tmp_path, kind):
    begin = time.monotonic()
    done = start(tmp_path, kind, 2)
    assert done.returncode != 0
    assert time.monotonic() - begin < 200
    assert not list(tmp_path.glob("found-*"))
    assert ("rank 1 has had enough" in done.stderr) == (kind == "raises")
