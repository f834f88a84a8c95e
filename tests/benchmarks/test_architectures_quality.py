"""Chapter 16's table: models of one size, a run, and its lines."""

import pytest
import torch

from minillm.data import selective_copy
from tests.benchmarks import architectures_quality as table


def test_models_are_of_one_size():
    for name in table.MODELS:
        width = table.sized(name, 32, 30_000)
        assert abs(table.MODELS[name](32, width).num_parameters() / 30_000 - 1) < 0.2, name


def test_a_run_and_its_line():
    task = table.Task(18, (16, 24), selective_copy)
    done = {}
    for name in (table.TRANSFORMER, "LSTM"):
        row = table.train(name, task._replace(lengths=(16,)), 0, 300, 0.0)
        assert len(row["tokens"]["16"]) == table.ITEMS
        assert row["curve"][-1][0] >= 300
        done["selective copy", name, 0] = row | {"seconds": row["tokens"], "tokens_then": 512}
    lines = table.lines_of(done)
    assert [line[0] for line in lines] == ["selective copy, 16, transformer", "selective copy, 16, LSTM"]
    scores = [
        torch.tensor(done["selective copy", name, 0]["tokens"]["16"]) for name in (table.TRANSFORMER, "LSTM")
    ]
    assert float(lines[1][2].split()[0]) == pytest.approx(float((scores[1] - scores[0]).mean()), abs=1e-3)
    assert lines[0][2] == ""
    assert lines[1][4] == "512"
