"""Trainer(strategy="ddp" | "fsdp"): the curve of one process, and checkpoints that any number of ranks reads."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from minillm._files import BadFileError
from minillm.models import load_model
from minillm.training import Trainer, TrainerConfig, checkpoints
from minillm.training.checkpoint import load_weights
from minillm.training.parallel import run_ranks
from tests.training.parallel import trainers
from tests.training.toy import COUNTING

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="gloo on Windows needs a build of torch with libuv"),
    pytest.mark.timeout(280),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("strategies")


@pytest.fixture(scope="module")
def alone(folder):
    """One process, with checkpoints."""
    found = {}
    for kind in ("stream", "texts", "spare"):
        run = trainers.make(kind, folder=folder / "alone" if kind == "stream" else None)
        run.train()
        found[kind] = trainers.figures(run)
    for objective in trainers.OBJECTIVES:
        run = trainers.run_of(objective, None, 1)
        run.train()
        found[objective] = trainers.figures(run)
    return found


@pytest.fixture(scope="module")
def two(folder, alone):
    """Two ranks."""
    return run_ranks(trainers.runs, 2, folder, folder / "alone" / "checkpoint-4", seconds=200)


def same(found, expected, within=2e-5):
    assert found["loss"] == pytest.approx(expected["loss"], abs=1e-5)
    assert found["norm"] == pytest.approx(expected["norm"], rel=1e-4, abs=1e-5)
    assert found["eval"] == pytest.approx(expected["eval"], abs=1e-5)
    assert found["tokens"] == expected["tokens"]
    assert found["weights"].keys() == expected["weights"].keys()
    for name, tensor in expected["weights"].items():
        assert (found["weights"][name] - tensor).abs().max() < within, name


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("kind", ["stream", "texts", "spare", *trainers.OBJECTIVES])
def test_two_ranks_have_the_curve_of_one_process(kind, strategy, alone, two):
    expected = alone[kind]
    assert expected["loss"][0] - expected["loss"][-1] > (0.1 if kind not in trainers.OBJECTIVES else 0.02)
    for found in two:
        same(found[kind, strategy], expected)


def test_fsdp_holds_half_of_everything(two):
    parameters = sum(p.numel() for p in trainers.model().parameters())
    held, averages = zip(*(found["bytes"] for found in two))
    # 11 rows are cut into 6 and 5, which FSDP fills up to 6
    assert parameters * 4 <= sum(held) <= parameters * 4 + 4 * 12 * 2
    assert sum(averages) == 2 * 4 * parameters
    assert max(averages) - min(averages) < 0.1 * sum(averages)


def test_what_fsdp_saves_opens_in_one_process(folder, two, alone):
    model = load_model(folder / "saved")
    for name, tensor in alone["stream"]["weights"].items():
        assert (model.state_dict()[name] - tensor).abs().max() < 2e-5
    for found in two:
        assert found["evaluated"] == pytest.approx(alone["stream"]["eval"][-1], abs=1e-5)
        assert found["predicted"] > 0


def test_checkpoints_of_fsdp_are_in_parts(folder, two):
    steps = checkpoints(folder / "stream-fsdp")
    assert [path.name for path in steps] == ["checkpoint-4", "checkpoint-8", "checkpoint-10"]
    for path in steps:
        parts = sorted(file.name for file in path.glob("part-*"))
        assert parts == ["part-0-of-2.state", "part-1-of-2.state"]
        assert not list(path.glob("model*"))
    sizes = [(steps[0] / name).stat().st_size for name in parts]
    assert max(sizes) < 1.2 * min(sizes)
    assert sorted(path.name for path in checkpoints(folder / "stream-ddp")) == sorted(
        path.name for path in steps
    )
    assert not list((folder / "stream-fsdp").glob(".checkpoint*"))


def test_a_checkpoint_of_one_process_goes_on_under_fsdp(two, alone):
    for found in two:
        same(found["from plain"], alone["stream"])


def test_parts_go_on_in_one_process(folder, two, alone):
    checkpoint = folder / "stream-fsdp" / "checkpoint-4"
    same(trainers.resumed(checkpoint, None, 1, folder / "one"), alone["stream"])


def test_batches_cut_otherwise(folder, alone):
    """The same rows in an update, in two passes instead of one: the same run, unless the rows of a batch meet."""
    checkpoint = folder / "alone" / "checkpoint-4"
    run = trainers.make("stream", folder=folder / "halves", processes=2, gradient_accumulation=2)
    run.train(resume_from_checkpoint=str(checkpoint))
    same(trainers.figures(run), alone["stream"])
    run = trainers.make("stream", folder=folder / "halves", processes=2, gradient_accumulation=2)
    run.objective = trainers.RowsMeet()
    with pytest.raises(ValueError, match="batch_size 8 -> 4, gradient_accumulation 1 -> 2"):
        run.train(resume_from_checkpoint=str(checkpoint))
    run = trainers.make("stream", folder=folder / "halves")
    run.objective = trainers.RowsMeet()
    with pytest.raises(ValueError, match=r"batches that depend on their sizes None -> \[8, 1, 1\]"):
        run.train(resume_from_checkpoint=str(checkpoint))


@pytest.mark.soak
def test_parts_of_two_go_on_in_four(folder, two, alone):
    checkpoint = folder / "stream-fsdp" / "checkpoint-4"
    for found in run_ranks(trainers.resumed_here, 4, checkpoint, "fsdp", folder / "four", seconds=200):
        same(found, alone["stream"])
    parts = sorted(file.name for file in (folder / "four" / "checkpoint-10").glob("part-*"))
    assert parts == [f"part-{rank}-of-4.state" for rank in range(4)]


@pytest.mark.soak
def test_parts_of_two_go_on_in_three_and_by_ddp(folder, two, alone):
    """Batches of 8 rows do not divide by 3: another number of rows in an update is refused."""
    checkpoint = folder / "stream-fsdp" / "checkpoint-4"
    for found in run_ranks(trainers.resumed_here, 2, checkpoint, "ddp", folder / "by-ddp", seconds=200):
        same(found, alone["stream"])
    with pytest.raises(RuntimeError, match=r"rows of an update|batch_size"):
        run_ranks(trainers.resumed_here, 3, checkpoint, "fsdp", folder / "three", seconds=200)


@pytest.mark.soak
def test_the_best_model_comes_back(folder):
    """With a learning rate that overshoots, the best step is not the last."""
    for found in run_ranks(trainers.best_of_all, 2, folder / "best", seconds=200):
        assert found["again"] == pytest.approx(min(found["eval"]), abs=1e-5)
        assert found["eval"][found["best"] - 1] == min(found["eval"])


@pytest.mark.parametrize("damage", ["missing", "cut", "of another step"])
def test_damaged_parts_are_refused(damage, folder, two, tmp_path):
    path = tmp_path / "checkpoint-8"
    shutil.copytree(folder / "stream-fsdp" / "checkpoint-8", path)
    part = path / "part-1-of-2.state"
    if damage == "missing":
        part.unlink()
    elif damage == "cut":
        part.write_bytes(part.read_bytes()[:-7])
    else:
        shutil.copy(folder / "stream-fsdp" / "checkpoint-4" / part.name, part)
    model = trainers.model(seed=4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(BadFileError, match="part-1-of-2"):
        load_weights(path, model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_refusals(two):
    for found in two:
        said = found["refused"]
        assert said.keys() == {"optimizers", "fp16", "name", "other batches"}
        assert "leave optimizers out" in said["optimizers"]
        assert "fp16" in said["fp16"]
        assert "strategy must be one of None, 'ddp', 'fsdp', got 'zero'" in said["name"]
        assert "rows of an update, over all processes, 8 -> 16" in said["other batches"]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_strategy_needs_processes(strategy):
    with pytest.raises(ValueError, match=rf'strategy="{strategy}" needs a group of processes.*torchrun'):
        Trainer(trainers.model(), TrainerConfig(1), COUNTING, strategy=strategy)


def torchrun(*arguments, seconds=250):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.mark.soak
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_under_torchrun(strategy, tmp_path, alone):
    script = Path(__file__).with_name("under_torchrun.py")
    done = torchrun(script, tmp_path / "found.json", strategy, "well")
    assert done.returncode == 0, done.stderr[-2000:]
    losses = [float(line) for line in (tmp_path / "found.json").read_text().split()]
    assert losses == pytest.approx(alone["stream"]["loss"], abs=1e-5)


@pytest.mark.soak
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_rank_that_is_killed_under_torchrun_ends_the_others(strategy, tmp_path):
    script = Path(__file__).with_name("under_torchrun.py")
    done = torchrun(script, tmp_path / "killed-at", strategy, "killed")
    assert done.returncode != 0
    assert time.time() - float((tmp_path / "killed-at").read_text()) < 30
    assert "SIGKILL" in done.stderr
