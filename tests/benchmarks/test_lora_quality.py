"""The table of LoRA's quality, and a step of both benchmarks on a small model."""

import numpy as np
import pytest

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
    rows = [run(lora_quality.BEFORE, 0, 0), run("LoRA", 0, 0.8, **trained), run("LoRA", 1, 0.5, **trained)]
    lines = {line[0]: line[1:] for line in lora_quality.lines_of({(r["method"], r["seed"]): r for r in rows})}
    assert all(len(line) + 1 == len(lora_quality.HEAD) for line in lines.values())
    assert lines["LoRA"][2:4] == ["0.80<br>0.50", "0.80<br>0.60"]
    assert lines["LoRA"][4].startswith("+0.80 [")
    assert lines["LoRA"][4].endswith("]<br>")  # seed 1 has nothing to be compared with
    assert lines["LoRA"][-2:] == ["200<br>200", "420<br>420"]
    assert lines[lora_quality.BEFORE][4] == ""


@pytest.mark.soak  # peft and transformers take seconds to import
def test_both_sides_of_a_step_learn():
    peft = pytest.importorskip("peft", reason="the peer: pip install -e '.[parity]'")
    rows = bench_lora_step.small(peft, None, quick=True)
    assert [row.peer for row in rows] == ["peft on the same model", "peft on transformers' model"]
    assert rows[0].ratio > 0
    assert rows[1].theirs is None
    batch = bench_lora_step.answer_batch(11, 2, 5, 3)
    assert np.array_equal((batch["labels"] == -100).numpy(), [[True] * 3 + [False] * 2] * 2)
