"""The table of LoRA's quality, and a step of both benchmarks on a small model."""

from types import SimpleNamespace

import numpy as np
import pytest

from minillm.models import Llama, LlamaConfig
from tests.benchmarks import bench_lora_step, lora_quality


def run(method, seed, right, **more):
    scores = [[True, True, i < 10 * right, 1.0] for i in range(10)]
    return {"method": method, "seed": seed, "loss": 0.5, "model_bytes": 540e6, "scores": scores,
            "new_wording": [i % 2 == 0 for i in range(10)], **more}  # fmt: skip


def test_a_line_holds_every_seed_and_the_change_from_before():
    trained = {
        "tokens": 84_000,
        "seconds": 420.0,
        "optimizer_bytes": 29e6,
        "kept_bytes": 1e6,
        "adapter_bytes": 9.8e6,
    }
    before = run(lora_quality.BEFORE, 0, 0)  # once, for all seeds
    rows = [before, run("LoRA", 0, 0.8, **trained), run("LoRA", 1, 0.5, **trained)]
    lines = {line[0]: line[1:] for line in lora_quality.lines_of({(r["method"], r["seed"]): r for r in rows})}
    assert all(len(line) + 1 == len(lora_quality.HEAD) for line in lines.values())
    assert lines["LoRA"][2:4] == ["0.80<br>0.50", "0.80<br>0.60"]
    assert [cell.split(" ")[0] for cell in lines["LoRA"][4].split("<br>")] == ["+0.80", "+0.50"]
    assert lines["LoRA"][-2:] == ["200<br>200", "420<br>420"]
    assert lines[lora_quality.BEFORE][4] == ""


class Stopped(Exception):
    """In the middle of a run."""


def test_a_run_that_was_stopped_goes_on_with_the_seconds_it_had(monkeypatch, tmp_path):
    """A model of two blocks in SmolLM2's place; it stops at step 30, after the checkpoint of step 25."""
    world = lora_quality.World.__new__(lora_quality.World)
    world.seed, world.taught = 0, list(range(12))
    world.examples = lambda part: [
        {"input_ids": [n, 1, 2, 3, n], "labels": [-100, -100, 2, 3, n]} for n in part
    ]

    def model():
        return Llama(LlamaConfig(vocab_size=16, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                                 num_attention_heads=2, num_key_value_heads=2))  # fmt: skip

    monkeypatch.setattr(lora_quality, "STEPS", 40)
    seconds = iter(range(10_000))
    monkeypatch.setattr(lora_quality, "time", SimpleNamespace(process_time=lambda: next(seconds)))
    whole = lora_quality.teach(world, model(), tmp_path / "whole")
    end = lora_quality.Clock.on_step_end

    def stop(clock, args, state, control, **parts):
        end(clock, args, state, control, **parts)
        if state.global_step == 30:
            raise Stopped

    monkeypatch.setattr(lora_quality.Clock, "on_step_end", stop)
    with pytest.raises(Stopped):
        lora_quality.teach(world, model(), tmp_path / "cut")
    monkeypatch.setattr(lora_quality.Clock, "on_step_end", end)
    again = lora_quality.teach(world, model(), tmp_path / "cut")
    assert again == whole
    assert again["seconds"] == 40  # our clock counts its steps: those before the stop, and none of them twice


@pytest.mark.soak  # peft and transformers take seconds to import
def test_both_sides_of_a_step_learn():
    peft = pytest.importorskip("peft", reason="the peer: pip install -e '.[parity]'")
    rows = bench_lora_step.small(peft, None, quick=True)
    assert [row.peer for row in rows] == ["peft on the same model", "peft on transformers' model"]
    assert rows[0].ratio > 0
    assert rows[1].theirs is None
    batch = bench_lora_step.answer_batch(11, 2, 5, 3)
    assert np.array_equal((batch["labels"] == -100).numpy(), [[True] * 3 + [False] * 2] * 2)
