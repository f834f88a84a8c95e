"""`minillm sft --lora`, `dpo --lora`, and what opens the adapter's folder then."""

import json

import numpy as np
import pytest

from minillm.cli import main
from minillm.commands._adapters import named_adapters
from minillm.models import load_model
from minillm.training import load_adapter, merge_lora
from tests.commands.test_alignment import QUICK, folders, lessons, likes, run, weights, write  # noqa: F401


@pytest.mark.parametrize("more", [[], ["--lora-layers", "1"], ["--qlora"]])
def test_an_adapter_is_taught_and_answers(folders, tmp_path, capsys, more):  # noqa: F811
    rows, out = write(tmp_path / "rows.jsonl", lessons()), tmp_path / "taught"
    before = weights(folders["chat"])
    printed = run(
        capsys, "sft", folders["chat"], rows, "--out", out, *QUICK, "--epochs", 4, "--lora", 4, *more
    ).out
    assert "nats a token saved, after against before: 4 wins, 0 losses" in printed
    assert "numbers have learned" in printed
    names = {one.name for one in out.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= names
    assert "model.safetensors" not in names
    assert all(np.array_equal(a, b) for a, b in zip(weights(folders["chat"]).values(), before.values()))
    told = json.loads(run(capsys, "generate", out, "say 3", "--max-tokens", 4, "--json").out)
    assert told["token_ids"]
    merged = tmp_path / "merged"
    run(capsys, "convert", out, merged)
    ours = merge_lora(load_adapter(load_model(folders["chat"]), out)).state_dict()
    assert all(np.array_equal(a, ours[name]) for name, a in weights(merged).items())
    again = json.loads(run(capsys, "generate", merged, "say 3", "--max-tokens", 4, "--json").out)
    assert again["token_ids"] == told["token_ids"]


def test_preferences_are_learned_by_an_adapter(folders, tmp_path, capsys):  # noqa: F811
    rows, out = write(tmp_path / "rows.jsonl", likes()), tmp_path / "taught"
    how = ["--out", out, *QUICK, "--epochs", 3, "--held-out", 0.2, "--lora", "--json"]
    told = json.loads(run(capsys, "dpo", folders["chat"], rows, *how).out)
    assert told["reward_accuracy"] == 1
    assert told["learned_numbers"] < told["all_numbers"]
    assert json.loads((out / "adapter_config.json").read_text())["r"] == 8
    # a base that was named by a path is found from elsewhere
    assert run(capsys, "generate", out, "say 3", "--max-tokens", 2, "--json").out


def test_what_does_not_fit_is_said_in_one_line(folders, tmp_path, capsys):  # noqa: F811
    rows = write(tmp_path / "rows.jsonl", lessons())
    out, place = tmp_path / "out", ["--out", tmp_path / "out"]
    for more, message in (
        (["--qlora"], "give --lora, too"),
        (["--lora-layers", 1], "give --lora, too"),
        (["--lora", "--lora-layers", 9], "at most the model's 1"),
        (["--lora", 999], "r must be at most"),
    ):
        assert message in run(capsys, "sft", folders["chat"], rows, *place, *QUICK, *more, code=1).err
        assert not out.exists()
    run(capsys, "sft", folders["chat"], rows, *place, *QUICK, "--epochs", 1, "--lora")
    second = ["sft", out, rows, "--out", tmp_path / "second", *QUICK]
    assert "holds an adapter, not a model" in run(capsys, *second, code=1).err
    config = out / "adapter_config.json"
    (out / "checksums.json").unlink()
    for base, message in (("/nowhere/at/all", "cannot be opened"), (None, "does not say which model")):
        config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": base}))
        assert message in run(capsys, "generate", out, "x", code=1).err


def test_adapters_by_name(folders, tmp_path, capsys):  # noqa: F811
    rows, out = write(tmp_path / "rows.jsonl", lessons()), tmp_path / "taught"
    run(capsys, "sft", folders["chat"], rows, "--out", out, *QUICK, "--epochs", 1, "--lora")
    assert named_adapters([f"a={out}", f"b={out}"]) == {"a": out, "b": out}
    for given, message in (("a", "NAME=FOLDER"), ("=x", "NAME=FOLDER"), (f"a={tmp_path}", "no folder with")):
        assert main(["serve", str(folders["chat"]), "--port", "0", "--adapter", given]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match="given twice"):
        named_adapters([f"a={out}", f"a={out}"])
