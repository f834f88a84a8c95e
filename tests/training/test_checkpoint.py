"""Checkpoints: resumed to the bit, whole after any interruption, refused when damaged or of another run."""

import dataclasses
import json
import shutil

import pytest
import torch

from minillm._files import BadFileError
from minillm.models import load_model
from minillm.training import best_checkpoint, checkpoints, latest_checkpoint
from minillm.training import checkpoint as module
from tests.helpers import cuts
from tests.training.test_trainer import same, tiny_models, trainer
from tests.training.toy import COUNTING, ToyLM


class Interrupted(BaseException):
    """Stands for Ctrl-C."""


def stop_after(step):
    def on_step(record):
        if record["step"] == step:
            raise Interrupted

    return on_step


MODELS = {"toy": ToyLM, "llama": lambda: tiny_models()[0], "gpt2": lambda: tiny_models()[1]}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_five_and_five_are_ten_bit_for_bit(tmp_path, name, precision):
    settings = {"eval_data": COUNTING[:60], "eval_every": 3, "precision": precision, "warmup_steps": 2}
    straight = trainer(MODELS[name](), **settings)
    straight.train()
    cut = trainer(
        MODELS[name](), on_step=stop_after(5), checkpoint_folder=tmp_path, checkpoint_every=5, **settings
    )
    with pytest.raises(Interrupted):
        cut.train()
    resumed = trainer(MODELS[name](), checkpoint_folder=tmp_path, **settings)
    resumed.train(resume_from_checkpoint=True)
    assert same(straight.model, resumed.model)
    for a, b in zip(straight.optimizer.state.values(), resumed.optimizer.state.values()):
        assert a["step"] == b["step"] == 10
        assert torch.equal(a["m"], b["m"])
        assert torch.equal(a["v"], b["v"])
    keys = ("step", "train_loss", "eval_loss", "learning_rate", "gradient_norm", "tokens")
    assert [[r[k] for k in keys] for r in straight.history] == [[r[k] for k in keys] for r in resumed.history]


def test_resuming_starts_anew_without_a_checkpoint_and_goes_on_from_a_path(tmp_path):
    run = trainer(max_steps=4, checkpoint_folder=tmp_path / "runs", checkpoint_every=2, keep_last=9)
    run.train(resume_from_checkpoint=True)
    assert [path.name for path in checkpoints(tmp_path / "runs")] == ["checkpoint-2", "checkpoint-4"]
    other = trainer(max_steps=4)
    other.train(resume_from_checkpoint=tmp_path / "runs" / "checkpoint-2")
    assert other.history[0]["step"] == 1
    assert len(other.history) == 4
    assert same(run.model, other.model)


def test_the_last_and_the_best_are_kept(tmp_path):
    losses = iter([3.0, 1.0, 2.0, 2.5, 1.0, 4.0])
    run = trainer(
        max_steps=6, eval_data=COUNTING[:40], eval_every=1, checkpoint_folder=tmp_path, checkpoint_every=1
    )
    run.evaluate = lambda: {"eval_loss": next(losses)}
    run.train()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-5", "checkpoint-6"]
    assert best_checkpoint(tmp_path).name == "checkpoint-5"  # the later of two equals
    assert latest_checkpoint(tmp_path).name == "checkpoint-6"
    assert latest_checkpoint(tmp_path / "nowhere") is None
    assert best_checkpoint(tmp_path / "nowhere") is None


def test_a_run_reads_back_none_of_the_checkpoints_it_wrote(tmp_path, monkeypatch):
    read = []
    import minillm._files as files

    real = files.read_bytes
    monkeypatch.setattr(files, "read_bytes", lambda path, *rest: read.append(path) or real(path, *rest))
    settings = {"checkpoint_folder": tmp_path, "checkpoint_every": 1, "keep_last": 6}
    trainer(max_steps=9, **settings).train()
    assert len(checkpoints(tmp_path)) == 6
    assert read == []
    # another process knows nothing of them: it reads each once, to find the best
    monkeypatch.setattr("minillm.training.checkpoint._known_losses", {})
    for _ in range(3):
        module.remove_old(tmp_path, 6)
    assert sorted(path.parent.name for path in read) == [path.name for path in checkpoints(tmp_path)]


def test_a_state_file_that_has_changed_is_read_again(tmp_path):
    run = trainer(
        max_steps=3, eval_data=COUNTING[:40], eval_every=1, checkpoint_folder=tmp_path, checkpoint_every=1
    )
    losses = iter([1.0, 2.0, 3.0])
    run.evaluate = lambda: {"eval_loss": next(losses)}
    run.config = dataclasses.replace(run.config, keep_last=3)
    run.train()
    state = tmp_path / "checkpoint-1" / module.STATE
    state.write_bytes(state.read_bytes()[:-3])  # damaged: never the best
    module.remove_old(tmp_path, 1)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-3"]
    (tmp_path / "checkpoint-2" / module.STATE).unlink()
    module.remove_old(tmp_path, 1)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-3"]


def test_a_checkpoint_is_a_model_folder(tmp_path):
    class Words:
        def save(self, folder):
            (folder / "tokenizer.json").write_text("{}")

    run = trainer(tiny_models()[0], max_steps=2, checkpoint_folder=tmp_path)
    run.tokenizer = Words()
    run.train()
    folder = latest_checkpoint(tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "checksums.json",
        "config.json",
        "model.safetensors",
        "training.state",
        "tokenizer.json",
        "trainer_state.json",
    }
    ids = COUNTING[None, :8]
    with torch.no_grad():
        assert torch.equal(load_model(folder)(ids).logits, run.model.eval()(ids).logits)


@pytest.mark.parametrize("model", ["toy", "llama"])
def test_whatever_stops_a_save_leaves_only_whole_checkpoints(tmp_path, monkeypatch, model):
    run = trainer(MODELS[model](), max_steps=4, checkpoint_folder=tmp_path, checkpoint_every=2)
    import minillm.training.checkpoint as module

    saved, calls = module.save_tensors, []

    def broken(path, kind, *rest):
        calls.append(path)
        if len(calls) > (2 if model == "toy" else 1):
            path.write_bytes(b"half")
            raise Interrupted
        return saved(path, kind, *rest)

    monkeypatch.setattr(module, "save_tensors", broken)
    with pytest.raises(Interrupted):
        run.train()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    monkeypatch.undo()
    resumed = trainer(MODELS[model](), max_steps=4, checkpoint_folder=tmp_path)
    assert len(resumed.train(resume_from_checkpoint=True)) == 4


def test_saving_a_step_again_replaces_it(tmp_path):
    for seed in (0, 1):
        run = trainer(ToyLM(seed=seed), max_steps=2, checkpoint_folder=tmp_path)
        run.train()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]

    resumed = trainer(ToyLM(), max_steps=2)
    resumed.train(resume_from_checkpoint=tmp_path / "checkpoint-2")
    assert same(resumed.model, run.model)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    trainer(tiny_models()[0], max_steps=2, checkpoint_folder=folder).train()
    return folder / "checkpoint-2"


@pytest.mark.parametrize("file", ["training.state", "model.safetensors", "config.json"])
def test_a_file_cut_anywhere_is_refused_and_nothing_half_loaded(tmp_path, saved, file):
    data = (saved / file).read_bytes()
    folder = shutil.copytree(saved, tmp_path / "copy")
    run = trainer(tiny_models()[0], max_steps=2)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    for length in cuts(data, 30):
        (folder / file).write_bytes(data[:length])
        with pytest.raises(
            BadFileError, match=file.split(".")[0] if file != "training.state" else "training state"
        ):
            run.train(resume_from_checkpoint=folder)
    (folder / file).unlink()
    with pytest.raises(BadFileError):
        run.train(resume_from_checkpoint=folder)
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())
    assert run.step == 0
    assert not run.optimizer.state


def test_flipped_bits_and_mixed_steps_are_refused(tmp_path, saved):
    folder = shutil.copytree(saved, tmp_path / "copy")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(BadFileError):
        trainer(tiny_models()[0], max_steps=2).train(resume_from_checkpoint=folder)
    trainer(tiny_models()[0], max_steps=5, checkpoint_folder=tmp_path).train()
    shutil.copy(tmp_path / "checkpoint-5" / "model.safetensors", folder)
    with pytest.raises(BadFileError, match="not those its state"):
        trainer(tiny_models()[0], max_steps=2).train(resume_from_checkpoint=folder)


def test_other_settings_and_other_models_are_named(saved):
    with pytest.raises(ValueError, match="seed 0 -> 7"):
        trainer(tiny_models()[0], max_steps=2, seed=7).train(resume_from_checkpoint=saved)
    with pytest.raises(ValueError, match=r"gpt2|lacks|refused"):
        trainer(tiny_models()[1], max_steps=2).train(resume_from_checkpoint=saved)
    with pytest.raises(ValueError):
        trainer(ToyLM(), max_steps=2).train(resume_from_checkpoint=saved)


@pytest.mark.parametrize("checkpoint", ["nowhere", 3, ["a"]])
def test_no_such_checkpoint(checkpoint):
    with pytest.raises(ValueError):
        trainer().train(resume_from_checkpoint=checkpoint)
    with pytest.raises(ValueError, match="checkpoint_folder"):
        trainer().train(resume_from_checkpoint=True)


def test_nothing_in_a_checkpoint_is_pickled(saved):
    for path in saved.iterdir():
        data = path.read_bytes()
        # everything is JSON, or a safetensors file, which begins with a JSON header and its length
        header = data if path.suffix == ".json" else data[8 : 8 + int.from_bytes(data[:8], "little")]
        assert isinstance(json.loads(header), dict), path.name
