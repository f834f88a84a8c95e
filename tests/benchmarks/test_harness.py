"""The harness itself: ratios point the right way, calls take turns, the spread is that of the rounds."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.benchmarks import run
from tests.benchmarks.bench_ann_growth import exponent
from tests.benchmarks.harness import Row, Times, in_turn


def test_a_ratio_over_one_always_means_ours_is_faster():
    assert Row("w", "p", "tokens/s", ours=200, theirs=100).ratio == 2
    assert Row("w", "p", "s", ours=1, theirs=3, higher_is_better=False).ratio == 3
    assert Row("w", "p", "s", ours=1, theirs=None).ratio is None


def test_calls_take_turns_and_the_order_is_swapped():
    calls = []
    in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmup=1)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"


def test_the_spread_is_the_interquartile_range_of_the_rounds_ratios():
    times = Times({"ours": [1.0, 2.0, 1.0, 2.0, 1.0], "theirs": [1.0, 4.0, 3.0, 8.0, 5.0]})
    assert times == {"ours": 1.0, "theirs": 4.0}
    low, high = np.percentile([1, 2, 3, 4, 5], [25, 75])
    assert times.spread("theirs") == pytest.approx(high - low)
    assert times.spread("absent") is None
    assert Times({"ours": [1.0], "theirs": [2.0]}).spread("theirs") is None


def test_an_exponent_is_the_slope_of_a_power():
    sizes = (10, 300, 7000)
    assert exponent(sizes, [5 * size**1.25 for size in sizes]) == pytest.approx(1.25)
    assert exponent(sizes, [7.0] * 3) == pytest.approx(0)


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


def test_a_quick_measurement_is_not_recorded():
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.run", "adamw", "--quick", "--write"],
        cwd=run.ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "leave --quick out" in done.stderr


def test_rows_survive_json():
    row = Row("w", "p", "s", ours=1.0, theirs=2.0).as_dict()
    assert json.loads(json.dumps(row)) == row
