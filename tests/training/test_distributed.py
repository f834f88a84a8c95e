"""Two processes under torchrun: the loss curve of one, one of them writes, and nothing hangs."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from minillm.training import checkpoints
from minillm.training.distributed import Processes
from tests.training.two_processes import make

SCRIPT = Path(__file__).with_name("two_processes.py")
ROOT = SCRIPT.parents[2]

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="torchrun's gloo needs a build of torch with libuv"),
    pytest.mark.timeout(280),
]


def start(folder, kind, *more):
    """Run the script in two processes; what torchrun said."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, str(SCRIPT), str(folder), kind, *more],
        env=environment, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip


def found(folder, rank):
    return json.loads((folder / f"found-{rank}.json").read_text())


@pytest.mark.parametrize("kind", [pytest.param("stream", marks=pytest.mark.soak), "texts", "classes"])
def test_two_processes_have_the_loss_curve_of_one(tmp_path, kind):
    """Ten steps; rank 1 of the classifier even starts with other weights."""
    done = start(tmp_path, kind)
    assert done.returncode == 0, done.stderr[-2000:]
    two, other = found(tmp_path, 0), found(tmp_path, 1)
    run = make(kind, tmp_path / "alone", processes=1)
    history = run.train()
    losses = [record["train_loss"] for record in history]
    assert len(losses) == len(two["loss"]) == 10
    assert two["loss"] == pytest.approx(losses, abs=1e-5)
    assert two["tokens"] == history[-1]["tokens"]
    assert losses[0] - losses[-1] > 1e-3
    assert other == two  # the same weights to the bit
    if kind == "classes":
        expected = [record["eval_loss"] for record in history if record["eval_loss"]]
        assert [loss for loss in two["eval"] if loss] == pytest.approx(expected, abs=1e-5)
        # rank 0 alone prints: ten losses, five evaluations, the end
        lines = done.stdout.splitlines()
        assert [len(lines), sum("eval_loss" in line for line in lines)] == [16, 5]
        steps = [path.name for path in checkpoints(tmp_path / "run")]
        assert steps == ["checkpoint-4", "checkpoint-8", "checkpoint-10"]


@pytest.mark.soak
def test_two_processes_resume(tmp_path):
    assert start(tmp_path, "classes").returncode == 0
    unbroken = found(tmp_path, 0)
    shutil.rmtree(tmp_path / "run" / "checkpoint-10")
    again = start(tmp_path, "classes", "resume")
    assert again.returncode == 0, again.stderr[-2000:]
    assert found(tmp_path, 0)["weights"] == unbroken["weights"]


@pytest.mark.parametrize("kind", ["raises", pytest.param("sleeps", marks=pytest.mark.soak)])
def test_a_process_that_fails_or_hangs_ends_all(tmp_path, kind):
    begin = time.monotonic()
    done = start(tmp_path, kind)
    assert done.returncode != 0
    assert time.monotonic() - begin < 200
    assert not list(tmp_path.glob("found-*"))
    assert ("rank 1 has had enough" in done.stderr) == (kind == "raises")


def test_several_processes_are_for_cpus_and_gpus(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"on CPUs or CUDA GPUs, got meta"):
        Processes(torch.device("meta"))
