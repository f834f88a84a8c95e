"""The tasks of chapter 16's table: every answer is in the text, what is asked for can be known; and its lines."""

import pytest
import torch

from tests.benchmarks import architectures_quality as table


def generator():
    return torch.Generator().manual_seed(0)


def test_selective_copy_asks_for_the_letters_in_their_order():
    ids, targets = table.selective_copy(generator(), 20, 40)
    for text, wanted in zip(ids.tolist(), targets.tolist()):
        assert [one for one in text if one < 16] == [one for one in wanted if one != table.SILENT]
        assert text[-8:] == [17] * 8
        assert set(wanted[:-8]) == {table.SILENT}
        assert len([one for one in text[:-8] if one == 16]) == 24


def test_induction_asks_only_for_what_was_seen_before():
    ids, targets = table.induction(generator(), 20, 50)
    for text, wanted in zip(ids.tolist(), targets.tolist()):
        after = {}
        for t, (letter, answer) in enumerate(zip(text, wanted)):
            assert (answer != table.SILENT) == (letter in after)
            if answer != table.SILENT:
                assert after[letter] == answer
            if t + 1 < len(text):
                after[letter] = text[t + 1]


def test_recall_asks_for_the_value_of_each_key():
    for length in (32, 64):
        ids, targets = table.recall(generator(), 20, length)
        assert ids.shape == (20, length)
        for text, wanted in zip(ids.tolist(), targets.tolist()):
            pairs = dict(zip(text[: length // 2 : 2], text[1 : length // 2 : 2]))
            assert len(pairs) == length // 4
            asked = {key: answer for key, answer in zip(text, wanted) if answer != table.SILENT}
            assert asked == pairs


def test_models_are_of_one_size():
    for name in table.MODELS:
        width = table.sized(name, 32, 30_000)
        assert abs(table.MODELS[name](32, width).num_parameters() / 30_000 - 1) < 0.2, name


def test_a_run_and_its_line():
    task = table.Task(18, (16, 24), table.selective_copy)
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
