"""The harness itself: ratios point the right way, calls take turns, records replace themselves."""

import json
import subprocess
import sys

import pytest

from tests.benchmarks import run
from tests.benchmarks.harness import Row, in_turn


def test_a_ratio_over_one_always_means_ours_is_faster():
    assert Row("w", "p", "tokens/s", ours=200, theirs=100).ratio == 2
    assert Row("w", "p", "s", ours=1, theirs=3, higher_is_better=False).ratio == 3
    assert Row("w", "p", "s", ours=1, theirs=None).ratio is None


def test_calls_take_turns_and_the_order_is_swapped():
    calls = []
    in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmup=1)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"


def test_a_recorded_table_is_replaced_and_not_added_twice(tmp_path, monkeypatch):
    record = tmp_path / "BENCHMARKS.md"
    record.write_text("# Benchmarks\n\nwords stay\n", encoding="utf-8")
    monkeypatch.setattr(run, "RECORD", record)
    rows = [Row("work", "peer", "s", ours=1.0, theirs=2.0, target=1.5, higher_is_better=False).as_dict()]
    run.record("demo", rows)
    run.record("demo", [rows[0] | {"work": "other work"}])
    text = record.read_text(encoding="utf-8")
    assert text.count("<!-- bench:demo -->") == 1
    assert "words stay" in text
    assert "| other work | peer | 1 | 2 | s | **2x** | 1.5x | 1 |" in text
    assert "| work | peer | 1 " not in text


def test_every_benchmark_file_has_a_run_function():
    import importlib

    for name in run.names():
        assert callable(importlib.import_module(f"tests.benchmarks.bench_{name}").run), name


@pytest.mark.parametrize(("arguments", "code"), [(["--list"], 0), (["no_such_benchmark"], 2)])
def test_the_command_line_lists_and_refuses(arguments, code):
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.run", *arguments],
        cwd=run.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    listed = done.stdout.split() if code == 0 else done.stderr
    assert all(name in listed for name in run.names())


def test_rows_survive_json():
    row = Row("w", "p", "s", ours=1.0, theirs=2.0).as_dict()
    assert json.loads(json.dumps(row)) == row
