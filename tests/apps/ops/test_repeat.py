"""A run restored from its record gives the same weights, bit for bit; a change of any input is noticed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minillm.apps.ops import DataVersions, Runs, code_version, repeat_run, train_and_record
from minillm.apps.ops import repeat as room
from minillm.models import GPT2, GPT2Config
from minillm.training import Trainer, TrainerConfig
from minillm.training.checkpoint import weights_digest

CONFIG = {"learning_rate": 0.01, "max_steps": 4, "width": 16}


def train(folder, config, seed):
    ids = torch.tensor(list((folder / "글.txt").read_bytes()))
    model = GPT2(
        GPT2Config(vocab_size=256, n_positions=16, n_embd=config["width"], n_layer=1, n_head=2), seed=seed
    )
    settings = TrainerConfig(
        max_steps=config["max_steps"], batch_size=4, context_length=16, learning_rate=config["learning_rate"],
        seed=seed, device="cpu", precision="fp32", progress=False,
    )  # fmt: skip
    Trainer(model, settings, ids).train()
    return model


@pytest.fixture
def recorded(tmp_path, records):
    data = tmp_path / "data"
    data.mkdir()
    (data / "글.txt").write_text("나는 밥을 먹었다. " * 40, encoding="utf-8")
    versions = DataVersions(records)
    version = versions.add(data)
    run = Runs(records).start("repeat")
    model = train_and_record(run, versions, train, version, CONFIG, 3, "code one")
    run.end()
    return run, versions, model, data


def test_the_same_weights_bit_for_bit(recorded):
    run, versions, model, data = recorded
    (data / "글.txt").unlink()  # the record needs nothing but itself
    again, differences, same = repeat_run(run, versions, train, "code one")
    assert same
    assert differences == []
    pairs = list(zip(model.state_dict().items(), again.state_dict().items()))
    assert len(pairs) > 5
    for (name, one), (other_name, other) in pairs:
        assert name == other_name
        assert torch.equal(one, other)
    assert run.params["learning_rate"] == "0.01"
    assert run.params["seed"] == "3"


FRESH = """
import json, sys
import tests.conftest  # tests.portable: the products of the same processor
from minillm.apps.ops import DataVersions, Records, Runs, repeat_run
from minillm.training.checkpoint import weights_digest
from tests.apps.ops.test_repeat import train
records = Records(sys.argv[1])
model, differences, same = repeat_run(Runs(records).get(sys.argv[2]), DataVersions(records), train, "code one")
print(json.dumps([weights_digest(model), differences, same]))
"""


def test_the_same_weights_in_a_fresh_process(recorded, records):
    run, _, model, _ = recorded
    root = Path(__file__).resolve().parents[3]
    threads = str(torch.get_num_threads())
    place = os.environ | {"PYTHONPATH": str(root), "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-c", FRESH, str(records.folder), run.id]
    found = subprocess.run(command, env=place, cwd=root, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == [weights_digest(model), [], True]
    assert run.tags["weights"] == weights_digest(model)


@pytest.mark.parametrize("key", ["learning_rate", "seed", "data", "code"])
def test_a_recipe_that_was_changed_afterwards_is_refused(recorded, records, key):
    run, versions, _, data = recorded
    (data / "글.txt").write_text("나는 물을 마셨다. " * 40, encoding="utf-8")
    other = {"learning_rate": 0.02, "seed": 4, "data": versions.add(data), "code": "code two"}[key]
    recipe = json.loads(records.get(run.artifacts["recipe.json"]))
    (recipe["config"] if key == "learning_rate" else recipe)[key] = other
    Runs(records).resume(run.id).log_artifact("recipe.json", json.dumps(recipe).encode())
    with pytest.raises(ValueError, match=f"another {key}"):
        repeat_run(run, versions, train, "code one")


def test_a_run_has_one_recipe(recorded, records):
    run, versions, _, _ = recorded
    kept, weights = run.artifacts, run.tags["weights"]
    Runs(records).resume(run.id)
    with pytest.raises(ValueError, match="learning_rate"):
        train_and_record(
            run, versions, train, run.params["data"], CONFIG | {"learning_rate": 1.0}, 3, "code one"
        )
    assert (run.artifacts, run.tags["weights"]) == (kept, weights)
    fresh = Runs(records).start("repeat")
    for data, config in (("0" * 64, CONFIG), (run.params["data"], CONFIG | {"seed": 1})):
        with pytest.raises(ValueError):
            train_and_record(fresh, versions, train, data, config, 3, "code one")
    assert fresh.params == {} == fresh.artifacts


def test_a_change_of_any_input_changes_the_weights(recorded, records):
    run, versions, _, data = recorded
    (data / "글.txt").write_text("나는 밥을 먹었다! " * 40, encoding="utf-8")
    changed, old = versions.add(data), run.params["data"]
    for version, config, seed in (
        (changed, CONFIG, 3), (old, CONFIG | {"learning_rate": 0.02}, 3), (old, CONFIG | {"max_steps": 5}, 3),
        (old, CONFIG, 4),
    ):  # fmt: skip
        other = Runs(records).start("repeat")
        train_and_record(other, versions, train, version, config, seed, "code one")
        assert other.tags["weights"] != run.tags["weights"]
        assert room.recipe_of(other).differences(room.recipe_of(run))


def test_code_and_environment_that_changed_are_named(recorded, monkeypatch):
    run, versions, _, _ = recorded
    here = room.environment()
    monkeypatch.setattr(room, "environment", lambda: here | {"torch": "0.1"})
    _, differences, same = repeat_run(run, versions, train, "code two")
    assert differences == ["code", "environment.torch"]
    assert same

    def other(folder, config, seed):
        return train(folder, config, seed + 1)

    assert not repeat_run(run, versions, other, "code two")[2]


def test_the_code_version_follows_names_and_contents(tmp_path):
    (tmp_path / "a.py").write_text("x = 1")
    first = code_version(tmp_path)
    (tmp_path / "notes.txt").write_text("no code")
    assert code_version(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2")
    second = code_version(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, second, code_version(tmp_path), code_version(tmp_path, train)}) == 4
    assert code_version(tmp_path, train) != code_version(tmp_path, test_refusals)
    for bad in ((tmp_path, 3), (tmp_path, print), (tmp_path / "nothing",), (3,)):
        with pytest.raises(ValueError):
            code_version(*bad)


def test_refusals(recorded, records):
    run, versions, _, _ = recorded
    version = run.params["data"]
    fresh = Runs(records).start("repeat")
    for config in ({"betas": (1, 2)}, {"x": float("nan")}, {"x": object()}, 3):
        with pytest.raises(ValueError, match="config"):
            train_and_record(fresh, versions, train, version, config, 0, "c")
    with pytest.raises(ValueError, match="no recipe"):
        repeat_run(fresh, versions, train, "c")
    with pytest.raises(ValueError, match="torch module"):
        train_and_record(fresh, versions, lambda *_: 3, version, CONFIG, 0, "c")
    with pytest.raises(ValueError, match="did not end"):
        repeat_run(fresh, versions, train, "c")
