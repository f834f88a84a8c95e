"""A run restored from its record gives the same weights, bit for bit; a change of any input is noticed."""

import pytest
import torch

from minillm.apps.ops import DataVersions, Runs, code_version, repeat_run, train_and_record
from minillm.apps.ops import repeat as room
from minillm.models import GPT2, GPT2Config
from minillm.training import Trainer, TrainerConfig

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
    assert len({first, second, code_version(tmp_path)}) == 3


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
